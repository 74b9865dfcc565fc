"""A child process that speaks the frames of `engine_worker`: its life, its pipes, its last words.

What a child says is believed in nothing: it may be of any length, and no sense.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from payload.drivers import engine_worker as protocol
from payload.errors import EngineFault, EngineLostError

Frame = tuple[bytes, int, int, bytes]
"""Kind, number, value, body."""

_BODY_MAX_BYTES = 64 << 10
"""Of a frame; facts and faults take less than 1 KiB."""
_TAKEN_MAX_BYTES = 256 << 10
"""Of what a child has sent, at one time: the rest stays in the pipe, and the child waits."""
_TEXT_MAX = 400
_LOG_MAX_BYTES = 4096
_KILL_WAIT_S = 1.0
_NO_MEMORY = (b"MemoryError", b"bad_alloc", b"Cannot allocate memory")


class WorkerChild:
    """One child, from its start to its end; a new start is a new one."""

    def __init__(self, python: str, worker: Path, descriptors: Sequence[int]) -> None:
        """The child runs ``worker``; ``descriptors`` follow those of its pipes.

        Raises:
            EngineLostError: the interpreter cannot be run.
        """
        request_end, self._requests = os.pipe()
        self._answers, answer_end = os.pipe()
        self._printed, log_end = os.pipe()
        passed = (request_end, answer_end, *descriptors)
        self._python = python
        try:
            self._process = subprocess.Popen(
                [python, "-I", str(worker), *map(str, passed)],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=log_end,
                stderr=log_end,
                start_new_session=True,  # Ctrl-C reaches this program, which ends the child
                env={**os.environ, "MALLOC_ARENA_MAX": "2"},
            )
        except OSError as error:
            self._close_pipes()
            raise EngineLostError(
                f"{python} cannot be run: {error.strerror}; set its path in the configuration",
                EngineFault.NO_PYTHON,
            ) from error
        finally:
            for end in (request_end, answer_end, log_end):
                os.close(end)
        for end in (self._answers, self._printed):
            os.set_blocking(end, False)
        self.pid = self._process.pid
        self.has_ended = False
        self._ended_for: tuple[EngineFault, str] | None = None
        self._received = bytearray()
        self._log = b""

    def send(self, kind: bytes, number: int, value: int, body: bytes) -> None:
        """A frame is on its way; that nobody is there to read it will show when listening."""
        with suppress(BrokenPipeError):
            os.write(self._requests, protocol.FRAME.pack(kind, number, value, len(body)) + body)

    def frames(self, timeout_s: float) -> list[Frame]:
        """What the child has sent since; waits at most ``timeout_s`` for something.

        Raises:
            ValueError: no frame is that long.
        """
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        poll.register(self._printed, select.POLLIN)
        has_exited = self._process.poll() is not None  # what it forked may hold the pipes open
        ready = {end for end, _ in poll.poll(0 if has_exited else timeout_s * 1000)}
        if self._printed in ready:
            self._drain_log()
        if self._answers in ready:
            self._drain_answers()
        self.has_ended |= has_exited
        return self._whole_frames()

    def _drain_answers(self) -> None:
        with suppress(BlockingIOError):
            while len(self._received) < _TAKEN_MAX_BYTES:
                content = os.read(self._answers, 65536)
                if not content:
                    self.has_ended = True
                    return
                self._received += content

    def _drain_log(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(_TAKEN_MAX_BYTES // 65536):
                content = os.read(self._printed, 65536)
                if not content:
                    return
                self._log = (self._log + content)[-_LOG_MAX_BYTES:]

    def _whole_frames(self) -> list[Frame]:
        found: list[Frame] = []
        size = protocol.FRAME.size
        while len(self._received) >= size:
            kind, number, value, body_bytes = protocol.FRAME.unpack_from(self._received)
            if body_bytes > _BODY_MAX_BYTES:
                raise ValueError(f"a frame of {body_bytes} bytes")
            if len(self._received) < size + body_bytes:
                break
            found.append((kind, number, value, bytes(self._received[size : size + body_bytes])))
            del self._received[: size + body_bytes]
        return found

    def reason_of_end(self) -> tuple[EngineFault, str]:
        """Why a child that has closed its pipe did so: it was ended, or by exit code and last words."""
        if self._ended_for is not None:
            return self._ended_for
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_WAIT_S)
        self._drain_log()
        said = protocol.last_line(self._log.decode(errors="replace")) if self._log else "it said nothing"
        if b"mutex initialization failed" in self._log:
            return EngineFault.MUTEX_TAKEN, f"the plugin ended the process: {said}"
        if b"ModuleNotFoundError" in self._log:
            return EngineFault.NO_RUNTIME, f"{self._python}: {said}"
        if any(word in self._log for word in _NO_MEMORY):
            return EngineFault.MEMORY, f"it got no more memory: {said}"
        code = self._process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return EngineFault.DIED, f"the process ended with {how}; last words: {said}"

    def resident_bytes(self) -> int:
        """Resident memory now, shared tensors included; 0 once it has ended."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        except (FileNotFoundError, ProcessLookupError):
            return 0
        return int(pages) * resource.getpagesize()

    def end(self, fault: EngineFault, text: str) -> None:
        """The child ends for that reason; what it has sent can still be read."""
        self._ended_for = fault, text
        self._kill_session()

    def kill(self) -> None:
        """The child is gone, with whatever it was doing and had begun."""
        self._kill_session()
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: nothing else can be done
            self._process.wait(_KILL_WAIT_S)
        self._close_pipes()

    def _kill_session(self) -> None:
        """The child leads a session: what it forked dies with it."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _close_pipes(self) -> None:
        for end in (self._requests, self._answers, self._printed):
            os.close(end)


def texts_of(body: bytes, *names: str) -> list[str]:
    """The texts under ``names`` in the JSON of a frame's body, each cut to one short line.

    Raises:
        ValueError: the body is no JSON, or has none of them.
    """
    try:
        found = json.loads(body)
    except RecursionError as error:
        raise ValueError("JSON too deep") from error
    if not isinstance(found, dict):
        raise ValueError("no mapping")
    texts = [found.get(name) for name in names]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"no text under one of {', '.join(names)}")
    return [" ".join(str(text).split())[:_TEXT_MAX] for text in texts]
