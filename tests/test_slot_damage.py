"""Slots on a disk that goes bad: a whole verified model runs, whatever else cannot be read or written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from payload.core.refusals import Refusal
from payload.core.signed import Root
from payload.core.slots import SlotName, SlotState, read_record
from payload.core.telemetry import Telemetry
from payload.drivers.weight_slots import SlotFolder
from payload.errors import InstallError
from payload.root_store import RootStore
from tests.packages import SIGNERS
from tests.update_bench import Bench, small_files, small_package
from tools.package.keys import root_file

WEIGHTS = {version: small_files(version)["net.bin"] for version in range(1, 4)}
RECORDS = ("scene.record.0", "scene.record.1")


def bench_with(folder: Path, *versions: int) -> Bench:
    """A bench on real files, these versions installed and confirmed."""
    bench = Bench(SlotFolder(folder))
    for version in versions:
        bench.install(small_package(version))
        bench.confirm()
    return bench


def started(folder: Path) -> Bench:
    """The payload after a start, its model at work."""
    bench = Bench(SlotFolder(folder))
    bench.slots.start()
    bench.slots.count_start()
    return bench


def make_unreadable(path: Path) -> None:
    """Reading or replacing ``path`` fails, for root too."""
    path.unlink(missing_ok=True)
    path.mkdir()


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["scene.a.0", "scene.a.1", *RECORDS, "lock"])
def test_one_file_that_cannot_be_read_stops_nobody(tmp_path: Path, name: str) -> None:
    bench_with(tmp_path, 1)
    make_unreadable(tmp_path / name)
    bench = started(tmp_path)
    assert bench.active_weights() == WEIGHTS[1]
    assert bench.slots.scrub().lost == ()
    assert ("copy_not_mended" in bench.telemetry.counts) == (name != "lock")
    assert len(bench.slots.known_models()) == 1


@pytest.mark.parametrize("name", RECORDS)
def test_a_trial_goes_on_and_is_confirmed_with_one_record_that_cannot_be_replaced(
    tmp_path: Path, name: str
) -> None:
    bench_with(tmp_path, 1).install(small_package(2))
    make_unreadable(tmp_path / name)
    bench = started(tmp_path)
    assert bench.record.is_trial
    bench.confirm()
    assert Bench(SlotFolder(tmp_path)).record.rollback_index == 2


def fill(folder: Path) -> None:
    """Nothing more can be written to ``folder``: every file on its way there is a folder."""
    for name in (*RECORDS, "scene.a.0", "scene.a.1", "scene.b.0", "scene.b.1", "root.0", "root.1"):
        (folder / f"{name}.part").mkdir()


def test_a_trial_whose_start_cannot_be_counted_is_none_and_the_last_good_model_runs(tmp_path: Path) -> None:
    bench_with(tmp_path, 1).install(small_package(2))
    fill(tmp_path)
    bench = Bench(SlotFolder(tmp_path))
    bench.slots.start()
    assert bench.slots.count_start(), "another model runs than was loaded"
    assert bench.active_weights() == WEIGHTS[1]
    assert not bench.record.is_trial
    assert bench.telemetry.counts["record_not_kept"] == 1
    bench.slots.read_again()
    assert not bench.record.is_trial, "a round of checks does not bring it back in this process"
    for name in tmp_path.glob("*.part"):
        name.rmdir()
    assert started(tmp_path).record.is_trial, "on a disk that takes it the trial goes on"


def test_a_tile_that_cannot_be_counted_ends_the_trial_in_this_process(tmp_path: Path) -> None:
    bench_with(tmp_path, 1).install(small_package(2))
    bench = started(tmp_path)
    fill(tmp_path)
    assert bench.slots.tile_done(is_good=True)
    assert bench.active_weights() == WEIGHTS[1]


def test_a_mend_that_cannot_be_written_costs_no_model_that_is_whole_once(tmp_path: Path) -> None:
    bench_with(tmp_path, 1)
    flip(tmp_path / "scene.a.1", 77)
    fill(tmp_path)
    bench = started(tmp_path)
    assert bench.active_weights() == WEIGHTS[1]
    assert bench.telemetry.counts["copy_not_mended"] == 1
    assert not (tmp_path / "scene.a.1.part").is_file()


def test_a_damaged_slot_on_a_full_disk_gives_way_to_the_other_one(tmp_path: Path) -> None:
    bench_with(tmp_path, 1, 2)
    for copy in (0, 1):
        flip(tmp_path / f"scene.b.{copy}", 77)
    fill(tmp_path)
    bench = started(tmp_path)
    assert bench.active_weights() == WEIGHTS[1]
    assert bench.telemetry.counts["record_not_kept"] == 1


@pytest.mark.parametrize("damage", ["start", "scrub"])
def test_a_damaged_record_is_whole_again_before_the_other_one_is_damaged(tmp_path: Path, damage: str) -> None:
    bench = bench_with(tmp_path, 1, 2)
    before = bench.record
    for name in RECORDS:
        flip(tmp_path / name, 50)
        again = Bench(SlotFolder(tmp_path))
        again.slots.start() if damage == "start" else again.slots.scrub()
        assert again.record == before
    assert [read_record((tmp_path / name).read_bytes()) for name in RECORDS] == [before, before]


def test_a_rollback_index_that_has_risen_stands_twice_at_once(tmp_path: Path) -> None:
    bench_with(tmp_path, 1, 2)
    for name in RECORDS:
        copied = tmp_path / f"without_{name}"
        shutil.copytree(tmp_path, copied, ignore=shutil.ignore_patterns("without_*"))
        flip(copied / name, 50)
        assert Bench(SlotFolder(copied)).record.rollback_index == 2


def test_without_a_record_the_index_is_that_of_the_packages_and_the_factorys_model_runs(
    tmp_path: Path,
) -> None:
    bench_with(tmp_path, 1, 2)
    for name in RECORDS:
        flip(tmp_path / name, 50)
    bench = started(tmp_path)
    assert bench.telemetry.counts["record_lost"] == 1
    assert (bench.record.active, bench.record.rollback_index) == (SlotName.FACTORY, 2)
    with pytest.raises(InstallError) as refused:
        bench.install(small_package(1))
    assert refused.value.code == Refusal.OLD_INDEX
    bench.install(small_package(3))
    bench.confirm()
    assert started(tmp_path).active_weights() == WEIGHTS[3]


def test_two_damaged_seals_cost_no_package_whose_content_is_whole(tmp_path: Path) -> None:
    bench_with(tmp_path, 1)
    before = (tmp_path / "scene.a.0").read_bytes()
    flip(tmp_path / "scene.a.0", -30)
    flip(tmp_path / "scene.a.1", -40)
    bench = started(tmp_path)
    assert bench.active_weights() == WEIGHTS[1]
    assert [(tmp_path / f"scene.a.{copy}").read_bytes() for copy in (0, 1)] == [before, before]


def test_a_slot_that_a_round_of_checks_loses_is_no_model_any_more(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, 1, 2)
    for copy in (0, 1):
        flip(tmp_path / f"scene.b.{copy}", 77)
    assert bench.slots.scrub().lost == (SlotName.B,)
    assert bench.record.slots[SlotName.B].state is SlotState.BAD
    assert bench.active_weights() == WEIGHTS[1]
    assert bench.slots.scrub().lost == ()


def roots() -> list[bytes]:
    """Root files of version 1, 2 and 3, each signed by everybody."""
    keys = tuple(bytes(key.verify_key) for key in SIGNERS)
    return [root_file(Root(version, 2, keys), SIGNERS) for version in (1, 2, 3)]


@pytest.mark.parametrize("copy", [0, 1])
def test_of_two_roots_the_later_counts_and_stands_twice_again(tmp_path: Path, copy: int) -> None:
    _, second, third = roots()
    (tmp_path / f"root.{copy}").write_bytes(third)
    (tmp_path / f"root.{1 - copy}").write_bytes(second)
    store = RootStore(SlotFolder(tmp_path), Telemetry())
    found = store.read()
    assert found is not None
    assert found.version == 3
    store.mend()
    flip(tmp_path / f"root.{copy}", 50)
    assert store.read() == found
    assert "root_lost" not in (store._telemetry.counts)


def test_a_root_that_is_lost_in_both_copies_is_told(tmp_path: Path) -> None:
    telemetry = Telemetry()
    store = RootStore(SlotFolder(tmp_path), telemetry)
    store.keep(roots()[1])
    for copy in (0, 1):
        flip(tmp_path / f"root.{copy}", 50)
    assert store.read() is None
    assert telemetry.counts["root_lost"] == 1
