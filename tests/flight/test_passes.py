"""Rules of `payload.flight.passes`, with real stores and journals and a ground on the other side."""

from __future__ import annotations

import random
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from payload.core.sealed import SEAL_BYTES, sealed
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.store_lock import Role
from payload.errors import StoreError
from payload.flight.calls import Now
from payload.flight.passes import TURN_S, WORK_S
from payload.types import Product, ProductKind, QueueEntry, SceneStats, TileRecord, Window
from tests.drivers.test_product_store import damage
from tests.flight.passing import EPOCH_NS, Flight, Ground, Link, board, contact

STATS = SceneStats(1, 0, 1.0, 0.0, 0.0, 0.0, 1.0)


def fill(folder: Path, sizes: list[int], first: int = 0, dearest_first: bool = True) -> dict[str, bytes]:
    """One tile with products of the given sizes, worth less and less per byte; their bodies."""
    store = SqliteProductStore(folder / "queue.sqlite", roles=(Role.MAKER,))
    pairs = []
    for number, size in enumerate(sizes, start=first):
        body = sealed([np.random.default_rng(number).bytes(size - SEAL_BYTES)])
        value = float(size * (1000 - number if dearest_first else number))
        name = f"S.{number:05d}.classes"
        product = Product(
            name, "S", ProductKind.CLASSES, number, Window(0, 0, 1, 1), value, "", EPOCH_NS, body
        )
        entry = QueueEntry(store.next_entry_id(), name, product.kind, size, value, EPOCH_NS, "")
        pairs.append((entry, product))
    record = TileRecord("S", first, Window(0, 0, 1, 1), STATS, {}, {}, {}, np.zeros((7, 1, 1), np.uint8))
    store.commit_tile(record, pairs, [])
    store.close()
    return {product.product_id: product.body for _, product in pairs}


def queued(flight: Flight) -> list[str]:
    return [entry.product_id for entry in flight.store.entries()]


def check_nothing_lost(flight: Flight, ground: Ground, bodies: dict[str, bytes]) -> None:
    """Every product is queued, or on the ground byte for byte."""
    there = set(queued(flight))
    for name, body in bodies.items():
        assert name in there or ground.body(name) == body, name


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.3])
def test_everything_comes_down_and_leaves_the_queue_only_then(tmp_path: Path, loss: float) -> None:
    bodies = fill(tmp_path, [170, 5_000, 60_000, SEAL_BYTES, 20_000, 3_000])
    flight, ground = Flight(tmp_path, (contact(0, 60),)), Ground(tmp_path / "ground")
    link = Link(flight, ground, loss, seed=1)
    while queued(flight):
        assert link.mono_ns < 50e9
        link.turn()
        check_nothing_lost(flight, ground, bodies)
    link.run(2.0)
    assert sorted(ground.came) == sorted(bodies)
    assert {name: ground.body(name) for name in bodies} == bodies
    assert flight.store.counters().acknowledged_entries == len(bodies)
    assert flight.journal.load()[0] == ground.journal.load()[0] == []


def test_what_was_damaged_in_the_queue_is_told_and_not_sent(tmp_path: Path) -> None:
    bodies = fill(tmp_path, [5_000, 3_000, 4_000])
    with sqlite3.connect(tmp_path / "queue.sqlite") as db:
        db.execute("UPDATE body SET body = zeroblob(3000) WHERE length(body) = 3000")
    db.close()
    flight, ground = Flight(tmp_path, (contact(0, 60),)), Ground(tmp_path / "ground")
    Link(flight, ground).run(10.0)
    assert sorted(ground.came) == sorted(name for name, body in bodies.items() if len(body) != 3_000)
    assert queued(flight) == []
    assert flight.telemetry.counts["product_damaged"] == 1


@pytest.mark.parametrize("offset", [100, 150_000])
def test_what_cannot_be_read_is_set_aside_and_all_others_come_down(tmp_path: Path, offset: int) -> None:
    bodies = fill(tmp_path, [300_000] * 4)
    lost = "S.00002.classes"
    others = sorted(bodies.keys() - {lost})
    damage(tmp_path / "queue.sqlite", bodies[lost], offset)
    flight, ground = Flight(tmp_path, (contact(0, 20), contact(30, 5))), Ground(tmp_path / "ground")
    Link(flight, ground).run(40.0)
    assert sorted(ground.came) == others
    assert queued(flight) == [lost]
    assert flight.telemetry.counts["product_damaged"] == 2  # once in each pass
    assert "store_error" not in flight.telemetry.counts
    assert flight.store.held() == set()


def test_what_can_no_longer_be_read_in_the_middle_of_its_way_is_given_up_for_the_others(
    tmp_path: Path,
) -> None:
    bodies = fill(tmp_path, [300_000] * 3)
    lost, *others = bodies
    flight, ground = Flight(tmp_path, (contact(0, 0.5), contact(10, 60))), Ground(tmp_path / "ground")
    link = Link(flight, ground)
    link.run(5.0)
    assert 0 < link.bytes_down < 300_000
    flight.store.close()
    damage(tmp_path / "queue.sqlite", bodies[lost], 150_000)
    flight.restart()
    link.run(30.0)
    assert sorted(ground.came) == others
    assert queued(flight) == [lost]
    assert flight.telemetry.counts["product_damaged"] == 1
    assert "store_error" not in flight.telemetry.counts
    assert flight.journal.load()[0] == ground.journal.load()[0] == []


def test_the_dearest_per_byte_comes_first(tmp_path: Path) -> None:
    fill(tmp_path, [40_000] * 6, dearest_first=False)
    flight, ground = Flight(tmp_path, (contact(0, 60),)), Ground(tmp_path / "ground")
    Link(flight, ground).run(10.0)
    assert ground.came == [f"S.{number:05d}.classes" for number in range(5, -1, -1)]


def test_the_link_gets_its_rate_and_no_more_and_is_never_idle_while_something_waits(tmp_path: Path) -> None:
    fill(tmp_path, [600_000, 600_000])
    flight = Flight(tmp_path, (contact(0, 60, 4e6, overhead=0.1),))
    link = Link(flight, Ground(tmp_path / "ground"))
    link.run(0.1)
    sent = [link.turn() for _ in range(100)]  # two seconds
    rate_bytes_s = 4e6 / 8 * 0.9
    assert sum(sent) == pytest.approx(2 * rate_bytes_s, abs=2200)
    assert max(sent) <= rate_bytes_s * 0.02 + 2200
    assert min(sent) >= rate_bytes_s * 0.02 - 2200


def test_on_a_link_faster_than_the_payload_a_turn_is_short_and_the_next_begins_at_once(
    tmp_path: Path,
) -> None:
    bodies = fill(tmp_path, [600_000, 600_000])
    flight, ground = Flight(tmp_path, (contact(0, 60, 1e9),)), Ground(tmp_path / "ground")
    flight.spent_ns = 5_000_000
    link = Link(flight, ground)
    link.run(0.1)
    flight.passes.poll(Now(EPOCH_NS + 10**9, 10**9))
    assert len(flight.sent) == WORK_S / 5e-3
    assert flight.passes.pause_s() == 0.0
    link.mono_ns = 10**9
    link.run(50.0, until=lambda: not queued(flight))
    link.run(1.0)
    assert {name: ground.body(name) for name in bodies} == bodies
    assert flight.passes.pause_s() == TURN_S


def test_outside_a_contact_there_is_silence_and_what_comes_is_not_taken(tmp_path: Path) -> None:
    fill(tmp_path, [5_000])
    flight, ground = Flight(tmp_path, (contact(5, 60),)), Ground(tmp_path / "ground")
    ground.put("plan", b"x" * 2000)
    link = Link(flight, ground)
    link.run(4.9)
    assert link.bytes_down == 0
    assert flight.telemetry.counts == {}
    link.run(10.0)
    assert ground.came == ["S.00000.classes"]
    assert [ended.is_delivered for ended in ground.left] == [True]


def test_a_file_goes_up_while_products_come_down(tmp_path: Path) -> None:
    bodies = fill(tmp_path, [50_000])
    flight, ground = Flight(tmp_path, (contact(0, 60),)), Ground(tmp_path / "ground")
    ground.put("../plan.yaml", b"contacts" * 5000)
    Link(flight, ground, loss=0.1, seed=3).run(30.0)
    assert flight.files.path_of("../plan.yaml").read_bytes() == b"contacts" * 5000
    assert flight.files.path_of("../plan.yaml").parent == tmp_path / "uplink"
    assert flight.telemetry.counts["file_received"] == 1
    check_nothing_lost(flight, ground, bodies)


def test_the_next_pass_goes_on_in_the_middle_of_a_file(tmp_path: Path) -> None:
    bodies = fill(tmp_path, [400_000])
    flight = Flight(tmp_path, (contact(0, 1), contact(100, 60)))
    ground = Ground(tmp_path / "ground")
    link = Link(flight, ground)
    link.run(99.0)
    first_bytes = link.bytes_down
    assert 200_000 < first_bytes < 260_000
    assert queued(flight) == list(bodies)
    assert flight.telemetry.counts == {"contact_started": 1, "contact_finished": 1}
    link.run(30.0)
    assert {name: ground.body(name) for name in bodies} == bodies
    assert link.bytes_down <= 400_000 * 1.04


@pytest.mark.parametrize("seed", range(2))
def test_restarts_in_mid_pass_lose_nothing_and_cost_at_most_a_window_each(tmp_path: Path, seed: int) -> None:
    bodies = fill(tmp_path, [170, 90_000, 30_000, 9_000])
    flight, ground = Flight(tmp_path, (contact(0, 600),)), Ground(tmp_path / "ground")
    link, source = Link(flight, ground), random.Random(seed)
    restarts = 0
    while queued(flight):
        assert link.mono_ns < 500e9
        link.run(source.uniform(0.02, 0.3))
        flight.restart()
        restarts += 1
        check_nothing_lost(flight, ground, bodies)
    link.run(5.0)
    assert {name: ground.body(name) for name in bodies} == bodies
    assert sorted(ground.came) == sorted(bodies)  # none delivered twice
    total = sum(map(len, bodies.values()))
    assert restarts > 3
    assert link.bytes_down <= total * 1.05 + restarts * (board().downlink.window_bytes + 4096)


def test_a_product_that_the_ground_refuses_is_offered_again_in_the_next_pass(tmp_path: Path) -> None:
    bodies = fill(tmp_path, [30_000, 2_000])
    flight = Flight(tmp_path, (contact(0, 10), contact(20, 10)))
    strict = Ground(tmp_path / "strict", file_max_bytes=10_000)
    link = Link(flight, strict)
    link.run(15.0)
    assert queued(flight) == ["S.00000.classes"]
    assert flight.telemetry.counts["product_unacknowledged"] == 1  # not again and again in one pass
    ground = Ground(tmp_path / "ground")
    link.ground = ground
    link.run(15.0)
    assert queued(flight) == []
    assert ground.body("S.00000.classes") == bodies["S.00000.classes"]


def test_what_is_made_during_the_pass_goes_by_its_worth(tmp_path: Path) -> None:
    fill(tmp_path, [200_000] * 5)
    flight, ground = Flight(tmp_path, (contact(0, 60),)), Ground(tmp_path / "ground")
    link = Link(flight, ground)
    link.run(1.0)
    fill(tmp_path, [3_000], first=900, dearest_first=False)
    store = sqlite3.connect(tmp_path / "queue.sqlite")
    with store:
        store.execute("UPDATE product SET value = 1e12 WHERE product_id = 'S.00900.classes'")
    store.close()
    link.run(2.6)
    assert "S.00900.classes" in ground.came
    assert ground.came.index("S.00900.classes") <= 2


@pytest.mark.parametrize("seed", range(3))
def test_a_clock_that_is_not_set_or_jumps_costs_time_and_nothing_else(tmp_path: Path, seed: int) -> None:
    bodies = fill(tmp_path, [170, 60_000, 30_000, 9_000, 200_000])
    flight, ground = Flight(tmp_path, (contact(0, 600),)), Ground(tmp_path / "ground")
    link, source = Link(flight, ground, loss=0.05, seed=seed), random.Random(seed)
    year_ns = 365 * 86_400 * 1_000_000_000
    wrong = [-EPOCH_NS, year_ns, -year_ns, 3_000_000_000, -200_000_000, 0]  # the first: 1970
    jumps = 0
    while queued(flight):
        assert link.mono_ns < 300e9
        link.wrong_ns = 0 if jumps % 2 else source.choice(wrong)
        jumps += 1
        link.run(source.uniform(0.05, 0.3))
        check_nothing_lost(flight, ground, bodies)
    link.wrong_ns = 0
    link.run(5.0)
    assert jumps > 5
    assert {name: ground.body(name) for name in bodies} == bodies
    assert sorted(ground.came) == sorted(bodies)
    assert flight.telemetry.counts["contact_started"] > 1


@contextmanager
def disk_full() -> Iterator[None]:
    """The kernel refuses every byte written to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_the_pass_and_loses_nothing(tmp_path: Path) -> None:
    bodies = fill(tmp_path, [30_000] * 6)
    flight = Flight(tmp_path, (contact(0, 20), contact(30, 60)))
    ground = Ground(tmp_path / "ground")
    link = Link(flight, ground)
    link.run(30.0, until=lambda: bool(ground.came))
    poll = flight.passes.poll

    def refused(now: Now) -> None:
        with disk_full():
            poll(now)

    flight.passes.poll = refused  # type: ignore[method-assign]
    link.run(10.0)
    flight.passes.poll = poll  # type: ignore[method-assign]
    assert flight.telemetry.counts["store_error"] == 1
    assert flight.telemetry.counts["contact_finished"] == 1
    assert queued(flight)
    check_nothing_lost(flight, ground, bodies)
    link.run(40.0)
    assert queued(flight) == []
    assert {name: ground.body(name) for name in bodies} == bodies
    assert sorted(ground.came) == sorted(bodies)


def test_a_full_disk_at_the_start_is_tried_again_at_the_contact(tmp_path: Path) -> None:
    bodies = fill(tmp_path, [200_000])
    flight = Flight(tmp_path, (contact(0, 0.5), contact(10, 60)))
    ground = Ground(tmp_path / "ground")
    link = Link(flight, ground)
    link.run(5.0)  # in the middle of the file: its product must be held again
    hold = SqliteProductStore.hold

    def refused(_: SqliteProductStore, entry_id: int) -> bool:
        raise StoreError(f"disk full at {entry_id}")

    SqliteProductStore.hold = refused  # type: ignore[method-assign]
    try:
        flight.restart()
    finally:
        SqliteProductStore.hold = hold  # type: ignore[method-assign]
    assert flight.telemetry.counts == {"store_error": 1}
    link.run(20.0)
    assert {name: ground.body(name) for name in bodies} == bodies


def test_a_full_disk_on_the_ground_takes_nothing_out_of_the_queue(tmp_path: Path) -> None:
    bodies = fill(tmp_path, [50_000])
    flight, ground = Flight(tmp_path, (contact(0, 20),)), Ground(tmp_path / "ground")
    link = Link(flight, ground)
    link.run(0.06)
    settle = ground.transfers.settle

    def refused() -> None:
        with disk_full():
            settle()

    ground.transfers.settle = refused  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="free some disk space"):
        link.run(5.0)
    assert queued(flight) == list(bodies)


@pytest.mark.parametrize("is_clock_set", [True, False])
def test_a_lost_journal_on_board_loses_no_product(tmp_path: Path, is_clock_set: bool) -> None:
    """Where the clock is not set its numbers begin where the lost ones did, at the worst."""
    first = fill(tmp_path, [5_000, 3_000, 170])
    flight = Flight(tmp_path, tuple(contact(after_s, 10) for after_s in (0, 20, 40, 60)))
    ground = Ground(tmp_path / "ground")
    link = Link(flight, ground)
    link.run(15.0)
    assert sorted(ground.came) == sorted(first)
    flight.lose_the_journal(1_800_000_000 if is_clock_set else 1)
    bodies = first | fill(tmp_path, [4_000, 2_000], first=100)
    link.run(20.0)
    check_nothing_lost(flight, ground, bodies)
    assert bool(queued(flight)) is not is_clock_set
    link.run(40.0)
    assert queued(flight) == []
    assert {name: ground.body(name) for name in bodies} == bodies
    assert sorted(ground.came) == sorted(bodies)


@pytest.mark.parametrize("is_clock_set", [True, False])
def test_a_station_with_a_new_folder_is_told_nothing_of_files_that_are_not_on_board(
    tmp_path: Path, is_clock_set: bool
) -> None:
    flight = Flight(tmp_path, (contact(0, 60),))
    one = Ground(tmp_path / "one")
    one.put("one.bin", b"1" * 5000)
    link = Link(flight, one)
    link.run(10.0)
    assert [ended.is_delivered for ended in one.left] == [True]
    two = Ground(tmp_path / "two", 1_800_000_000 if is_clock_set else 1)
    two.put("two.bin", b"2" * 9000)
    link.ground = two
    link.run(10.0)
    assert [ended.is_delivered for ended in two.left] == [is_clock_set]
    assert flight.files.path_of("two.bin").exists() is is_clock_set
    assert flight.files.path_of("one.bin").read_bytes() == b"1" * 5000


def test_an_empty_file_takes_the_place_of_another(tmp_path: Path) -> None:
    flight, ground = Flight(tmp_path, (contact(0, 60),)), Ground(tmp_path / "ground")
    link = Link(flight, ground)
    for body in (b"x" * 3000, b"", b"y"):
        ground.put("a.bin", body)
        link.run(5.0)
        assert flight.files.path_of("a.bin").read_bytes() == body
    assert [ended.is_delivered for ended in ground.left] == [True] * 3
    assert list((tmp_path / "flight_parts").iterdir()) == []


@pytest.mark.parametrize("gap_s", [0.0, 0.1])
def test_what_comes_in_the_last_turn_of_a_pass_has_left_before_the_next_is_planned(
    tmp_path: Path, gap_s: float
) -> None:
    bodies = fill(tmp_path, [2_000] * 400)
    passes = tuple(contact(number * (0.1 + gap_s), 0.1, 8e6) for number in range(40))
    flight, ground = Flight(tmp_path, passes), Ground(tmp_path / "ground")
    link = Link(flight, ground)
    link.run(40 * (0.1 + gap_s))
    check_nothing_lost(flight, ground, bodies)
    assert flight.store.counters().acknowledged_entries > 100
    assert len(set(ground.came)) == len(ground.came)
