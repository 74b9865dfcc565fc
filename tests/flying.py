"""A real `payload fly` in a process of its own, and a ground that talks to it over real sockets."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from payload.core.guard import seal
from payload.core.packets import request_of
from payload.core.telecommands import command_named
from payload.core.wire import Value
from tools.telemetry import Reader, Reading

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / "firmware_configs" / "ci_cpu.yaml"
KEY = bytes(range(32))
APID = 100
PATIENCE_S = 60.0


class Flight:
    """The service, its folders, and one connection to it."""

    def __init__(self, folder: Path, housekeeping_s: float = 0.5, under: Sequence[str] = ()) -> None:
        """``under``: the words of a program that runs the service."""
        self._under = under
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.inbox = folder / "inbox"
        self.state = folder / "state"
        self.config = folder / "board.yaml"
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.settimeout(PATIENCE_S)
        (folder / "command.key").write_text(KEY.hex() + "\n")
        text = CONFIG.read_text().replace("../models", str(REPOSITORY / "models"))
        for old, new in (
            ("../build/flight", str(self.state)),
            ("../build/inbox", str(self.inbox)),
            ("../build/command.key", str(folder / "command.key")),
            ("../build/scratch", str(folder / "scratch")),
            ("127.0.0.1:10025", "127.0.0.1:0"),
            ("127.0.0.1:10026", "127.0.0.1:0"),
            ("127.0.0.1:10015", f"127.0.0.1:{self.udp.getsockname()[1]}"),
            ("watchdog: none", f"watchdog: {folder / 'watchdog'}"),
        ):
            assert old in text, old
            text = text.replace(old, new)
        text = re.sub(r"housekeeping_s: [0-9.]+", f"housekeeping_s: {housekeeping_s}", text)
        self.config.write_text(text)
        self.counter = 0
        self.sequence = 0
        self.seen: list[Reading] = []
        self._unread: deque[Reading] = deque()
        self.process: subprocess.Popen[str]
        self.tcp: socket.socket
        self.start()

    def start(self) -> None:
        """The service runs and the ground is connected."""
        command = [*self._under, sys.executable, "-m", "payload", "fly", "--config", str(self.config)]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"UDP 127.0.0.1:(\d+) .*TCP 127.0.0.1:(\d+)", line)
        assert found, line + self.process.stderr.read()
        self.udp_address = ("127.0.0.1", int(found[1]))
        self.tcp = socket.create_connection(("127.0.0.1", int(found[2])), timeout=PATIENCE_S)
        self.reader = Reader(APID)
        self._unread.clear()

    def sealed(self, name: str, *groups: dict[str, Value | bytes]) -> bytes:
        """A command packet with the next counter."""
        self.counter += 1
        self.sequence += 1
        command = command_named(name)
        content = command.pack(*groups)
        return seal(KEY, self.counter, APID, command.service, command.subtype, self.sequence, content)

    def send(self, name: str, *groups: dict[str, Value | bytes]) -> bytes:
        """The command is sent; its packet, to recognise the answers."""
        packet = self.sealed(name, *groups)
        self.tcp.sendall(packet)
        return packet

    def wait(self, is_it: Callable[[Reading], bool], patience_s: float = PATIENCE_S) -> Reading:
        """The first reading that is it, after those waited for before; all are remembered."""
        ends_s = time.monotonic() + patience_s
        while (left_s := ends_s - time.monotonic()) > 0:
            while self._unread:
                self.seen.append(self._unread.popleft())
                if is_it(self.seen[-1]):
                    return self.seen[-1]
            self.tcp.settimeout(left_s)
            chunk = self.tcp.recv(65536)
            assert chunk, "the payload closed the connection"
            self._unread += self.reader.feed(chunk)
        raise AssertionError(f"not seen; the last: {[r.name for r in self.seen[-20:]]}")

    def wait_for(self, name: str, **values: Value) -> Reading:
        """The first reading of that name with these values."""
        return self.wait(
            lambda reading: reading.name == name and values.items() <= dict(reading.values).items()
        )

    def do(self, name: str, *groups: dict[str, Value | bytes]) -> list[Reading]:
        """Command and wait for the end of it; the readings that speak of it, in order."""
        start = len(self.seen)
        request = request_of(self.send(name, *groups)).fields()
        ends = ("command_completed", "command_not_completed", "command_not_accepted", "command_not_started")

        def is_about(reading: Reading) -> bool:
            return request.items() <= dict(reading.values).items()

        self.wait(lambda reading: reading.name in ends and is_about(reading))
        return [reading for reading in self.seen[start:] if is_about(reading)]

    def kill(self) -> None:
        """`kill -9`, and whoever it started is gone too."""
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self._ended()

    def close(self) -> None:
        """Nothing is left running or open."""
        if self.process.poll() is None:
            self.kill()
        self.udp.close()

    def resident_bytes(self) -> int:
        """Of the service alone."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGESIZE")

    def _ended(self) -> int:
        code = self.process.wait(PATIENCE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.tcp.close()
        return code
