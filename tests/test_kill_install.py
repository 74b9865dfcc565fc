"""kill -9 at the entry, in the middle and at the exit of every step of an installation.

Each child installs the next model into the folder that the last killed child left, and is killed
at one point of its way: before or after a call to the disk, in the middle of a write, or while
the device is asked. Then the payload starts, and what runs must be a model that it has verified.
`python -m tests.test_kill_install FOLDER TIMES` runs every point TIMES times.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from payload.core.slots import SlotName, SlotState
from payload.drivers.weight_slots import SlotFolder
from payload.errors import PayloadError
from payload.install import Asked
from tests.update_bench import Bench, small_files, small_package

VERSIONS = 8
PACKAGES = {version: small_package(version, rollback_index=1) for version in range(1, VERSIONS + 1)}
WEIGHTS = {small_files(version)["net.bin"]: version for version in PACKAGES}


class KillingDisk(SlotFolder):
    """A real folder; the process dies at call ``at`` (from 0), before, inside or after it."""

    def __init__(self, folder: Path, at: int | None = None, moment: str = "entry") -> None:
        super().__init__(folder)
        self.at, self.moment = at, moment
        self.calls: list[str] = []

    def _passes(self, name: str, moment: str) -> None:
        if moment == "entry":
            self.calls.append(name)
        if self.at == len(self.calls) - 1 and self.moment == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        self._passes("write", "entry")
        super().write(name, self._halfway(blocks))
        self._passes("write", "exit")

    def _halfway(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for number, block in enumerate(blocks):
            yield block[: len(block) // 2]
            if number == 1 or len(block) < 4096:
                self._passes("write", "middle")
            yield block[len(block) // 2 :]

    def sync(self, name: str) -> None:
        self._passes("sync", "entry")
        super().sync(name)
        self._passes("sync", "exit")

    def rename(self, name: str, to: str) -> None:
        self._passes("rename", "entry")
        super().rename(name, to)
        self._passes("rename", "exit")

    def sync_folder(self) -> None:
        self._passes("sync_folder", "entry")
        super().sync_folder()
        self._passes("sync_folder", "exit")

    def forget_cached(self, name: str) -> None:
        self._passes("forget_cached", "entry")
        super().forget_cached(name)
        self._passes("forget_cached", "exit")

    def ask(self, bench: Bench, asked: Asked) -> list[np.ndarray[Any, Any]]:
        """The device, with a point before and after its answer."""
        self._passes("ask", "entry")
        answers = bench.prove(asked)
        self._passes("ask", "exit")
        return answers


class KilledBench(Bench):
    """A bench whose device can die with the process, too."""

    def prove(self, asked: Asked) -> list[np.ndarray[Any, Any]]:
        assert isinstance(self.disk, KillingDisk)
        return self.disk.ask(_plain(self), asked)


def _plain(bench: Bench) -> Bench:
    plain = object.__new__(Bench)
    plain.__dict__.update(bench.__dict__)
    return plain


def install_and_confirm(disk: KillingDisk, version: int) -> None:
    """What a child does: one model from the package to its last tile on trial."""
    bench = KilledBench(disk)
    bench.slots.start()
    bench.confirm()  # what an earlier child left on trial
    bench.install(PACKAGES[version])
    bench.confirm()


def points(folder: Path) -> list[tuple[int, str]]:
    """Every call of one installation, with the moments at which it can be cut."""
    disk = KillingDisk(folder)
    install_and_confirm(disk, 1)
    install_and_confirm(disk, 2)  # the second is the one that has something to lose
    third = KillingDisk(folder)
    install_and_confirm(third, 3)
    moments = {"write": ("entry", "middle", "exit")}
    return [
        (number, moment)
        for number, name in enumerate(third.calls)
        for moment in moments.get(name, ("entry", "exit"))
    ]


def killed(folder: Path, at: int, moment: str, version: int) -> bool:
    """Whether the child was killed there; its way may have been shorter."""
    child = os.fork()
    if child == 0:
        try:
            install_and_confirm(KillingDisk(folder, at, moment), version)
        except PayloadError:
            os._exit(3)
        except BaseException:
            os._exit(4)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def running_version(folder: Path) -> int:
    """Starts the payload: the version of the model that runs, 0 for the factory's.

    Raises:
        AssertionError: it is none that was verified, or the record is impossible.
    """
    bench = Bench(SlotFolder(folder))
    before = bench.record
    bench.slots.start()
    record = bench.record
    assert record.rollback_index >= before.rollback_index
    weights = bench.active_weights()
    if weights is None:
        return 0
    assert weights in WEIGHTS, "an unverified model runs"
    assert record.slots[record.active].state in (SlotState.GOOD, SlotState.TRIAL)
    assert record.slots[record.active].version == WEIGHTS[weights]
    return WEIGHTS[weights]


def campaign(folder: Path, times: int) -> dict[str, int]:
    """Every point so many times; counts of what ran afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        all_points = points(Path(scratch) / "first")
    counts = {"points": len(all_points), "kills": 0, "old": 0, "new": 0, "factory": 0}
    for at, moment in all_points:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            place = Path(scratch) / "slots"
            install_and_confirm(KillingDisk(place), 1)
            install_and_confirm(KillingDisk(place), 2)
            running = 2
            for turn in range(times):
                version = (running + turn) % VERSIONS + 1
                if version == running:
                    version = version % VERSIONS + 1
                was_killed = killed(place, at, moment, version)
                after = running_version(place)
                assert after in (running, version), f"{after} runs after {running} and {version}"
                assert after != 0
                counts["kills"] += was_killed
                counts["new" if after == version else "old"] += 1
                running = after
    return counts


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: what a killed process wrote is there without any sync."""
    shared_memory = Path("/dev/shm")
    place = shared_memory if os.access(shared_memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def test_after_a_kill_at_any_point_a_verified_model_runs(scratch: Path) -> None:
    counts = campaign(scratch, 1)
    print(counts)
    assert counts["points"] >= 40
    assert counts["kills"] == counts["points"]
    assert counts["factory"] == 0
    assert min(counts["old"], counts["new"]) > 10, "points before and after the activation"


@pytest.mark.slow
def test_after_many_kills_at_every_point_a_verified_model_runs(scratch: Path) -> None:
    counts = campaign(scratch, 250)
    print(counts)
    assert counts["kills"] >= 40 * 250


def test_the_active_slot_is_where_nothing_is_written(scratch: Path) -> None:
    disk = KillingDisk(scratch)
    install_and_confirm(disk, 1)
    active = Bench(disk).record.active
    assert active is SlotName.A
    before = {path.name: path.stat().st_mtime_ns for path in scratch.glob("scene.a.*")}
    install_and_confirm(disk, 2)
    assert {path.name: path.stat().st_mtime_ns for path in scratch.glob("scene.a.*")} == before


if __name__ == "__main__":
    print(json.dumps(campaign(Path(sys.argv[1]), int(sys.argv[2]))))
