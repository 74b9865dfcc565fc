"""A folder of slots in which a process dies at a chosen call: `kill -9`, before, inside or after it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from payload.core.slots import UNFINISHED
from payload.drivers.weight_slots import SlotFolder
from payload.install import Answers, Asked
from tests.update_bench import Bench

IDLE = "idle"
"""The state of an installation that has not begun, or is over."""


class KillingDisk(SlotFolder):
    """Implements `ModelDisk`; counts its calls from `arm` on, and ends the process at one of them."""

    def __init__(self, folder: Path, at: int | None = None, moment: str = "entry") -> None:
        super().__init__(folder)
        self.at, self.moment = at, moment
        self.calls: list[tuple[str, str]] = []  # state of the installation, call
        self._is_armed = False
        self._state = IDLE
        self._record = b""

    def arm(self) -> None:
        """Calls are counted, and killed, from here on."""
        self._is_armed = True

    def _passes(self, call: str, moment: str) -> None:
        if not self._is_armed:
            return
        if moment == "entry":
            self.calls.append((self._state, call))
        if self.at == len(self.calls) - 1 and self.moment == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        call = f"write {_file_of(name)}"
        self._passes(call, "entry")
        super().write(name, self._halfway(name, call, blocks))
        self._passes(call, "exit")

    def _halfway(self, name: str, call: str, blocks: Iterable[bytes]) -> Iterable[bytes]:
        if "record" in name:
            self._record = b""
        for number, block in enumerate(blocks):
            if "record" in name:
                self._record += block
            yield block[: len(block) // 2]
            if number == 1 or len(block) < 4096:
                self._passes(call, "middle")
            yield block[len(block) // 2 :]

    def sync(self, name: str) -> None:
        call = f"sync {_file_of(name)}"
        self._passes(call, "entry")
        super().sync(name)
        self._passes(call, "exit")

    def rename(self, name: str, to: str) -> None:
        call = f"rename to {_file_of(to)}"
        self._passes(call, "entry")
        super().rename(name, to)
        if "record" in to:
            self._state = _state_in(self._record)
        self._passes(call, "exit")

    def sync_folder(self) -> None:
        self._passes("sync folder", "entry")
        super().sync_folder()
        self._passes("sync folder", "exit")

    def forget_cached(self, name: str) -> None:
        call = f"read back {_file_of(name)}"
        self._passes(call, "entry")
        super().forget_cached(name)
        self._passes(call, "exit")

    def ask(self, bench: Bench, asked: Asked) -> Answers:
        """The device, with a point before, between and after its answers."""
        self._passes("ask the device", "entry")
        answers = bench.prove(asked)
        self._passes("ask the device", "middle")
        answers = bench.prove(asked)
        self._passes("ask the device", "exit")
        return answers


class KilledBench(Bench):
    """A bench whose device can die with the process, too."""

    def prove(self, asked: Asked) -> Answers:
        assert isinstance(self.disk, KillingDisk)
        plain = object.__new__(Bench)
        plain.__dict__.update(self.__dict__)
        return self.disk.ask(plain, asked)


def _file_of(name: str) -> str:
    """What kind of file it is; the two records and the two slots take turns."""
    return "record" if "record" in name else f"copy {name.removesuffix('.part')[-1]}"


def _state_in(record: bytes) -> str:
    """What is under way by a record on the disk: an installation's state, trial, or idle."""
    document = json.loads(record.partition(b"\n")[2])
    states = [slot["state"] for slot in document["slots"].values()]
    busy = [state for state in states if state in {*(one.value for one in UNFINISHED), "trial"}]
    return busy[0] if busy else IDLE
