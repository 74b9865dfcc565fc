"""The walk of a new model: taken, refused with its number, mended, and on the disk before it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import pytest

from payload.core.refusals import Refusal
from payload.core.slots import Slot, SlotName, SlotRecord, SlotState
from payload.errors import EngineFault, InstallError
from payload.install import ABSENT, AskedDevice
from payload.types import Target
from tests.crash_disk import CrashDisk, Files, Site
from tests.packages import STRANGER, changed, document_of, packed
from tests.update_bench import Bench, small_files, small_package

WEIGHTS = {version: small_files(version)["net.bin"] for version in range(1, 6)}


def installed(disk: CrashDisk, *versions: int) -> Bench:
    """A bench on which these versions were installed and confirmed, one after the other."""
    bench = Bench(disk)
    for version in versions:
        bench.install(small_package(version))
        bench.confirm()
    return bench


def test_a_model_is_installed_tried_and_confirmed() -> None:
    bench = Bench(CrashDisk())
    found = bench.install(small_package(1))
    assert (found.model, found.slot) == ("scene_s2_v1", "a")
    assert bench.active_weights() == WEIGHTS[1]
    assert bench.record.is_trial
    assert bench.record.rollback_index == 0
    bench.confirm()
    assert (bench.record.active, bench.record.rollback_index) == (SlotName.A, 1)
    told = [record["event"] for record in bench.telemetry.take_events(0)]
    assert told == [
        *["slot_changed", "slot_changed", "known_answers_passed", "slot_changed", "slot_changed"],
        *["model_activated", "slot_changed", "model_confirmed"],
    ]


def test_the_next_model_goes_into_the_other_slot_and_comes_back_after_a_start() -> None:
    disk = CrashDisk()
    bench = installed(disk, 1, 2)
    assert (bench.record.active, bench.active_weights()) == (SlotName.B, WEIGHTS[2])
    again = Bench(disk)
    again.slots.start()
    assert again.record == bench.record
    again.install(small_package(3))
    assert (again.record.active, again.active_weights()) == (SlotName.A, WEIGHTS[3])


def test_while_a_model_is_on_trial_no_other_is_taken() -> None:
    bench = Bench(CrashDisk())
    bench.install(small_package(1))
    before = bench.record
    with pytest.raises(InstallError) as refused:
        bench.install(small_package(2))
    assert refused.value.code == Refusal.TRIAL_RUNS
    assert bench.record == before


def test_after_a_failed_trial_the_last_good_model_runs() -> None:
    bench = installed(CrashDisk(), 1)
    bench.install(small_package(2))
    assert not bench.slots.tile_done(is_good=False)
    assert bench.slots.tile_done(is_good=False), "another model is active"
    assert bench.active_weights() == WEIGHTS[1]
    assert bench.record.rollback_index == 1
    assert bench.record.slots[SlotName.B].state is SlotState.BAD


FILES = small_files(2)
DOCUMENT = document_of(FILES, 2)


def _device(fault: EngineFault) -> Callable[[Bench], None]:
    def set_fault(bench: Bench) -> None:
        bench.fault = fault

    return set_fault


def _set(**values: object) -> Callable[[Bench], None]:
    def apply(bench: Bench) -> None:
        for name, value in values.items():
            setattr(bench, name, value)

    return apply


def _full(bench: Bench) -> None:
    assert isinstance(bench.disk, CrashDisk)
    bench.disk.free = 100


REFUSED = {
    "wrong key": (small_package(2, signers=[STRANGER]), None, Refusal.TOO_FEW_SIGNATURES),
    "old index": (small_package(2, rollback_index=0), None, Refusal.OLD_INDEX),
    "wrong hardware": (small_package(2), _set(targets=(Target.MYRIAD,)), Refusal.WRONG_HARDWARE),
    "does not fit": (small_package(2), _set(refused_halo_px=72), Refusal.DOES_NOT_FIT),
    "no root": (small_package(2), _set(root=None), Refusal.NO_ROOT),
    "no room": (small_package(2), _full, Refusal.NO_ROOM),
    "truncated": (small_package(2)[:-9], None, Refusal.WRONG_LENGTH),
    "damaged": (small_package(2)[:-9] + b"?" * 9, None, Refusal.WRONG_HASH),
    "too large": (bytes(2 << 20), None, Refusal.TOO_LARGE),
    "failed known answer": (small_package(2), _set(offset=9), Refusal.WRONG_ANSWER),
    "too slow": (small_package(2), _device(EngineFault.LATE), Refusal.TOO_SLOW),
    "too big": (small_package(2), _device(EngineFault.MEMORY), Refusal.TOO_BIG),
    "crashes": (small_package(2), _device(EngineFault.DIED), Refusal.DEVICE_LOST),
    "does not load": (small_package(2), _device(EngineFault.BAD_NETWORK), Refusal.DEVICE_LOST),
    "no tiles": (
        packed(changed(DOCUMENT, "update.known_answers.file", DOCUMENT["update"]["card"]), FILES),
        None,
        Refusal.MALFORMED,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_leaves_the_old_model_running_bit_for_bit(name: str) -> None:
    content, prepare, refusal = REFUSED[name]
    bench = installed(CrashDisk(), 1)
    if prepare:
        prepare(bench)
    with pytest.raises(InstallError) as refused:
        bench.install(content)
    assert refused.value.code == refusal
    assert bench.active_weights() == WEIGHTS[1]
    assert (bench.record.active, bench.record.rollback_index) == (SlotName.A, 1)
    assert not bench.record.is_trial
    _set(targets=(Target.CPU,), root=bench.root, fault=None, offset=0)(bench)


def test_a_known_answer_within_the_tolerance_passes() -> None:
    bench = Bench(CrashDisk(), offset=8)
    bench.install(small_package(1))
    assert bench.asked == 1


MYRIAD = AskedDevice("myriad", Target.MYRIAD, is_reference=False)
SECOND = AskedDevice("second", Target.CPU, is_reference=False)


def with_device(device: AskedDevice, fault: EngineFault | None = None) -> Bench:
    """A bench on which the task's order has another device before the reference."""
    bench = Bench(CrashDisk())
    bench.devices = (*bench.devices, device)
    if fault is not None:
        bench.faults[device.name] = fault
    return bench


def told_of(bench: Bench, event: str) -> list[object]:
    records = [record for record in bench.telemetry.take_events(0) if record["event"] == event]
    return [cast("dict[str, object]", record["parameters"])["device"] for record in records]


def test_every_device_of_the_order_answers_the_known_tiles() -> None:
    bench = with_device(SECOND)
    bench.install(small_package(1))
    assert bench.asked == 2
    assert told_of(bench, "known_answers_passed") == ["openvino", "second"]


@pytest.mark.parametrize("fault", sorted(ABSENT, key=lambda fault: fault.value))
def test_a_device_that_the_board_does_not_have_is_named_and_the_others_decide(fault: EngineFault) -> None:
    bench = with_device(SECOND, fault)
    bench.install(small_package(1))
    assert told_of(bench, "known_answers_not_asked") == ["second"]


def test_a_device_without_an_artifact_is_named() -> None:
    bench = with_device(MYRIAD)
    bench.install(small_package(1))
    assert told_of(bench, "known_answers_not_asked") == ["myriad"]


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        (EngineFault.LATE, Refusal.TOO_SLOW),
        (EngineFault.MEMORY, Refusal.TOO_BIG),
        (EngineFault.DIED, Refusal.DEVICE_LOST),
        (EngineFault.FAILED, Refusal.DEVICE_LOST),
        (EngineFault.BAD_NETWORK, Refusal.DEVICE_LOST),
    ],
)
def test_a_device_that_is_there_and_fails_refuses_the_model(fault: EngineFault, refusal: Refusal) -> None:
    bench = with_device(SECOND, fault)
    with pytest.raises(InstallError) as refused:
        bench.install(small_package(1))
    assert refused.value.code == refusal
    assert bench.active_weights() is None


@pytest.mark.parametrize("fault", sorted(ABSENT, key=lambda fault: fault.value))
def test_the_reference_must_be_there(fault: EngineFault) -> None:
    bench = Bench(CrashDisk(), fault=fault)
    with pytest.raises(InstallError) as refused:
        bench.install(small_package(1))
    assert refused.value.code == Refusal.DEVICE_LOST


def test_an_installation_that_was_cut_is_undone_at_the_next_start_and_may_be_repeated() -> None:
    disk = CrashDisk()
    bench = installed(disk, 1)
    bench.slots.begin(Slot(package_sha256="ab" * 32, size_bytes=9, model="scene_s2_v2", version=2))
    again = Bench(disk)
    again.slots.start()
    assert again.record.slots[SlotName.B].state is SlotState.BAD
    assert again.telemetry.counts["install_interrupted"] == 1
    assert again.active_weights() == WEIGHTS[1]
    again.install(small_package(2))
    assert again.active_weights() == WEIGHTS[2]


def flip(disk: CrashDisk, name: str, place: int) -> None:
    held = disk._names[name]
    held.now = held.synced = held.now[:place] + bytes([held.now[place] ^ 4]) + held.now[place + 1 :]


@pytest.mark.parametrize("places", [{0: [5]}, {1: [9000]}, {0: [5, 9000], 1: [5000]}, {0: [-1]}, {1: [-9]}])
def test_a_slot_is_mended_from_its_second_copy(places: dict[int, list[int]]) -> None:
    disk = CrashDisk()
    bench = installed(disk, 1)
    before = {name: disk.read(name, 0, 1 << 20) for name in ("scene.a.0", "scene.a.1")}
    for copy, where in places.items():
        for place in where:
            name = f"scene.a.{copy}"
            flip(disk, name, place % len(before[name]))
    found = bench.slots.scrub()
    assert found.mended_blocks >= sum(map(len, places.values()))
    for name, content in before.items():
        assert disk.read(name, 0, 1 << 20) == content
    assert bench.slots.scrub().mended_blocks == 0
    assert bench.active_weights() == WEIGHTS[1]


def test_a_block_damaged_in_both_copies_ends_the_model() -> None:
    disk = CrashDisk()
    bench = installed(disk, 1, 2)
    for copy in (0, 1):
        flip(disk, f"scene.b.{copy}", 100)
    again = Bench(disk)
    again.slots.start()
    assert again.active_weights() == WEIGHTS[1]
    for copy in (0, 1):
        flip(disk, f"scene.a.{copy}", 100)
    last = Bench(disk)
    last.slots.start()
    assert (last.record.active, bench.record.rollback_index) == (SlotName.FACTORY, 2)
    assert last.record.rollback_index == 2, "and still no older model is taken"


# The order of syncs


class Noticed(Exception):  # noqa: N818  # not an error: what the test waits for
    """A violation was seen; nothing more need be looked at."""


class Watched:
    """A scenario on a crash disk; every state that a power cut may leave is started from."""

    def __init__(self, ignored: Site | None = None) -> None:
        self.disk = CrashDisk(ignored=ignored, after_each=self._cut)
        self.told_whole: tuple[SlotName, ...] = ()
        self.bench = Bench(self.disk)
        self.violations: set[str] = set()
        self.states = 0
        self._seen: set[int] = set()
        self._is_mutant = ignored is not None

    def run(self) -> None:
        """Two models installed and confirmed, one refused, one damaged and mended, one given up."""
        for version in (1, 2):
            self.bench.install(small_package(version))
            self.bench.confirm()
        self.bench.offset = 99
        with pytest.raises(InstallError):
            self.bench.install(small_package(3))
        self.bench.offset = 0
        flip(self.disk, "scene.b.1", 77)
        assert self.bench.slots.scrub().mended_blocks == 1
        self.told_whole = (SlotName.A, SlotName.B)
        self.disk.after_each()
        self.told_whole = ()
        self.bench.install(small_package(4))
        self.bench.slots.start()
        for _ in range(2):
            self.bench.slots.tile_done(is_good=False)

    def _cut(self) -> None:
        told = self.bench.slots.record
        for files in self.disk.after_power_cut():
            key = hash(
                (
                    told.sequence,
                    self.told_whole,
                    *sorted((name, hash(content)) for name, content in files.items()),
                )
            )
            if key not in self._seen:
                self._seen.add(key)
                self.states += 1
                self.violations.update(violations_of(files, told, self.told_whole))
        if self.violations and self._is_mutant:
            raise Noticed

    def sites(self) -> set[Site]:
        return self.disk.sites


def violations_of(files: Files, told: SlotRecord, told_whole: Sequence[SlotName]) -> set[str]:
    """What is wrong with a payload that starts from ``files`` after it had told ``told``."""
    found = set()
    disk = CrashDisk(files)
    bench = Bench(disk)
    record = bench.record
    if record.sequence < told.sequence:
        found.add("a state that was told is lost")
    for name, slot in record.slots.items():
        if slot.state in (SlotState.WRITTEN, SlotState.PROVEN, SlotState.TRIAL, SlotState.GOOD):
            whole = [bench.slots.files.is_whole(name, slot, copy) for copy in (0, 1)]
            if name in told_whole and not all(whole):
                found.add("a slot that was told to be mended is not")
            if not any(whole):
                found.add("a slot is not what the record says")
            elif not all(whole) and record.slots[name] != told.slots[name]:
                found.add("a slot has one copy less than the record says")
    before = record.rollback_index
    bench.slots.start()
    weights = bench.active_weights()
    if weights is not None and weights not in WEIGHTS.values():
        found.add("an unverified model runs")
    if bench.record.rollback_index < before:
        found.add("the rollback index fell")
    return found


def test_no_power_cut_leaves_an_unverified_model_or_forgets_what_was_told() -> None:
    watched = Watched()
    watched.run()
    print(
        f"{watched.states} states after {watched.disk.calls} calls, {len(watched.sites())} places that sync"
    )
    assert watched.violations == set()
    assert watched.states > 150


def places_that_sync() -> list[Site]:
    watched = Watched()
    watched.disk.after_each = lambda: None
    watched.run()
    return sorted(watched.sites())


@pytest.mark.parametrize("site", places_that_sync(), ids=lambda site: f"{site[0]}:{site[1]}")
def test_every_sync_that_is_forgotten_is_noticed(site: Site) -> None:
    with pytest.raises(Noticed):
        Watched(ignored=site).run()
