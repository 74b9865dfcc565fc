"""kill -9 at the entry, in the middle and at the exit of every step, in every state of an installation.

Each child does one walk over real files and is killed at one point of it: before or after a call
to the disk, in the middle of a write, or while the device is asked. Then the payload starts, and
what runs must be a model that it has verified, with nothing half installed beside it. Children
are forked from this process, so a kill costs milliseconds and not the start of an interpreter.

`python -m tests.test_kill_install FOLDER TIMES` runs every point TIMES times and prints the counts.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from payload.core.slots import UNFINISHED, SlotName, SlotState
from payload.drivers.weight_slots import SlotFolder
from payload.errors import PayloadError
from tests.killing_disk import IDLE, KilledBench, KillingDisk
from tests.update_bench import Bench, small_files, small_package

VERSIONS = 8
PACKAGES = {version: small_package(version, rollback_index=1) for version in range(1, VERSIONS + 1)}
WEIGHTS = {small_files(version)["net.bin"]: version for version in PACKAGES}
AGAIN_EACH = 25
"""After so many kills the same command is given again, and nobody is killed."""

Walk = Callable[[Bench, int], None]


def _install(bench: Bench, version: int) -> None:
    bench.install(PACKAGES[version])
    bench.confirm()


def _give_up(bench: Bench, version: int) -> None:
    """A model whose tiles are bad: the last good one comes back."""
    bench.install(PACKAGES[version])
    while bench.record.is_trial:
        bench.slots.tile_done(is_good=False)


def _leave_half(bench: Bench, version: int) -> None:
    """What a kill leaves: a slot half written, and a block of the active model damaged since."""
    _install(bench, version)
    active = bench.record.active
    assert isinstance(bench.disk, SlotFolder)
    name = f"scene.{active.value}.1"
    content = bytearray(bench.disk.read(name, 0, 1 << 20))
    content[5000] ^= 4
    bench.disk.write(name, [bytes(content)])
    bench.slots.begin(bench.record.slots[active])


def _start(bench: Bench, _version: int) -> None:
    bench.slots.start()


def _nothing(_bench: Bench, _version: int) -> None:
    """The walk needs nothing before it."""


WALKS: dict[str, tuple[Walk, Walk]] = {
    "install and confirm": (_nothing, _install),
    "install and give up": (_nothing, _give_up),
    "start after a cut": (_leave_half, _start),
}
"""What is done before, unharmed, and what is killed."""


@dataclass(frozen=True)
class Point:
    """A call of a walk and a moment of it; ``state`` is what the disk says of the installation then."""

    walk: str
    at: int
    moment: str
    state: str


@dataclass
class Counts:
    """What came of a campaign; ``states``: kills by walk, state and moment."""

    points: int = 0
    kills: int = 0
    old: int = 0
    new: int = 0
    interrupted: int = 0
    repeated: int = 0
    fewest: int = 1 << 30
    states: Counter[str] = field(default_factory=Counter)


def prepare(bench: Bench, walk: str, version: int) -> None:
    """The bench is as the walk wants it: started, nothing on trial."""
    bench.slots.start()
    bench.confirm()
    WALKS[walk][0](bench, version)


def points(folder: Path, walk: str) -> list[Point]:
    """Every call of one walk, with the moments at which it can be cut."""
    _install(Bench(SlotFolder(folder)), 1)
    _install(Bench(SlotFolder(folder)), 2)  # the second is the one that has something to lose
    disk = KillingDisk(folder)
    bench = KilledBench(disk)
    prepare(bench, walk, 3)
    disk.arm()
    WALKS[walk][1](bench, 4)
    return [
        Point(walk, number, moment, state)
        for number, (state, call) in enumerate(disk.calls)
        for moment in _moments(call)
    ]


def _moments(call: str) -> tuple[str, ...]:
    return ("entry", "middle", "exit") if call.startswith(("write", "ask")) else ("entry", "exit")


def killed(folder: Path, point: Point, version: int) -> bool:
    """Whether the child was killed there."""
    child = os.fork()
    if child == 0:
        try:
            disk = KillingDisk(folder, point.at, point.moment)
            bench = KilledBench(disk)
            disk.arm()
            WALKS[point.walk][1](bench, version)
        except PayloadError:
            os._exit(3)
        except BaseException:
            os._exit(4)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def started(folder: Path) -> tuple[Bench, int]:
    """The payload after a start, and the version that runs.

    Raises:
        AssertionError: it is none that was verified, or something is half installed.
    """
    bench = Bench(SlotFolder(folder))
    before = bench.record
    bench.slots.start()
    record, weights = bench.record, bench.active_weights()
    assert record.rollback_index >= before.rollback_index
    assert all(slot.state not in UNFINISHED for slot in record.slots.values())
    assert weights in WEIGHTS, "an unverified model runs, or the factory's"
    assert record.slots[record.active].state in (SlotState.GOOD, SlotState.TRIAL)
    assert record.slots[record.active].version == WEIGHTS[weights]
    return bench, WEIGHTS[weights]


def kill_at(folder: Path, point: Point, times: int, counts: Counts) -> None:
    """One point so many times, each after the last."""
    _install(Bench(SlotFolder(folder)), 1)
    _install(Bench(SlotFolder(folder)), 2)
    running, kills = 2, 0
    for turn in range(times):
        version = running % VERSIONS + 1
        bench = Bench(SlotFolder(folder))
        prepare(bench, point.walk, version)
        running = bench.record.slots[bench.record.active].version
        version = running % VERSIONS + 1
        kills += killed(folder, point, version)
        bench, after = started(folder)
        assert after in (running, version), f"{after} runs after {running} and {version}"
        counts.new += after == version
        counts.old += after == running
        counts.interrupted += bench.telemetry.counts.get("install_interrupted", 0)
        running = after
        if turn % AGAIN_EACH == AGAIN_EACH - 1:
            bench.confirm()
            again = running % VERSIONS + 1
            _install(bench, again)
            assert started(folder)[1] == again
            counts.repeated += 1
    counts.points += 1
    counts.kills += kills
    counts.fewest = min(counts.fewest, kills)
    counts.states[f"{point.walk}, {point.state}, {point.moment}"] += kills


def in_order(found: Iterable[Point]) -> list[Point]:
    """The first point of each walk, state and moment first, then the second of each: what a campaign
    that is cut short has seen is spread over all of them."""
    ranks: Counter[tuple[str, str, str]] = Counter()
    ranked = []
    for point in found:
        kind = point.walk, point.state, point.moment
        ranked.append((ranks[kind], point))
        ranks[kind] += 1
    return [point for _, point in sorted(ranked, key=lambda pair: pair[0])]


def all_points(folder: Path) -> list[Point]:
    """Of every walk."""
    found = []
    for walk in WALKS:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            found += points(Path(scratch), walk)
    return in_order(found)


def campaign(folder: Path, times: int) -> Counts:
    """Every point of every walk so many times."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = Counts()
    for point in all_points(folder):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            kill_at(Path(scratch), point, times, counts)
        print(f"{counts.points} points, {counts.kills} kills: {point}", file=sys.stderr, flush=True)
    return counts


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: what a killed process wrote is there without any sync."""
    shared_memory = Path("/dev/shm")
    place = shared_memory if os.access(shared_memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def check(counts: Counts, times: int) -> None:
    """Every point was cut every time, in every state at its entry, in its middle and at its exit."""
    print(json.dumps(vars(counts), indent=1))
    assert counts.points >= 40
    assert counts.kills == times * counts.points
    assert counts.fewest == times
    for state in (IDLE, *(one.value for one in UNFINISHED), SlotState.TRIAL.value):
        for moment in ("entry", "middle", "exit"):
            assert counts.states[f"install and confirm, {state}, {moment}"] >= times, (state, moment)
    assert min(counts.old, counts.new) > 10 * times, "points before and after the activation"
    assert counts.interrupted > 0


def test_after_a_kill_at_any_point_a_verified_model_runs(scratch: Path) -> None:
    check(campaign(scratch, 1), 1)


@pytest.mark.slow
def test_after_many_kills_at_every_point_a_verified_model_runs(scratch: Path) -> None:
    check(campaign(scratch, 250), 250)


def test_the_active_slot_is_where_nothing_is_written(scratch: Path) -> None:
    disk = SlotFolder(scratch)
    _install(Bench(disk), 1)
    active = Bench(disk).record.active
    assert active is SlotName.A
    before = {path.name: path.stat().st_mtime_ns for path in scratch.glob("scene.a.*")}
    _install(Bench(disk), 2)
    assert {path.name: path.stat().st_mtime_ns for path in scratch.glob("scene.a.*")} == before


if __name__ == "__main__":
    print(json.dumps(vars(campaign(Path(sys.argv[1]), int(sys.argv[2]))), indent=1))
