"""The contact walk on a real store, a real folder, and links that break."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.config import AgeingConfig
from payload.contact import run_contact
from payload.core.downlink import DownlinkQueue
from payload.core.sealed import SEAL_BYTES, sealed
from payload.drivers.link import FolderLink
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.store_lock import Role
from payload.errors import LinkError
from payload.types import Contact, Product, ProductKind, QueueEntry, SceneStats, TileRecord, Window
from tests.drivers.test_product_store import damage

STRIP = "S2A_TEST"


def contact(capacity_bytes: int) -> Contact:
    return Contact(0, 1.0, 8.0 * capacity_bytes)


def body_of(number: int, size: int) -> bytes:
    return sealed([np.random.default_rng(number).bytes(size - SEAL_BYTES)])


def filled(path: Path, sizes: list[int]) -> SqliteProductStore:
    """A store with one tile of products of the given sizes, the first worth the most per byte."""
    store = SqliteProductStore(path)
    pairs = []
    for number, size in enumerate(sizes):
        body = body_of(number, size)
        kind, value = ProductKind.CLASSES, float(size * (len(sizes) - number))
        product = Product(f"P{number}", STRIP, kind, 0, Window(0, 0, 1, 1), value, "why", 7, body)
        entry = QueueEntry(store.next_entry_id(), product.product_id, kind, size, value, 7, "why")
        pairs.append((entry, product))
    stats = SceneStats(1, 0, 1.0, 0.0, 0.0, 0.0, 1.0)
    thumbnail = np.zeros((7, 1, 1), np.uint8)
    store.commit_tile(TileRecord(STRIP, 0, Window(0, 0, 1, 1), stats, {}, {}, {}, thumbnail), pairs, [])
    return store


def queue_of(store: SqliteProductStore) -> DownlinkQueue:
    return DownlinkQueue(1 << 30, 10_000, store.entries())


class BreakingLink:
    """Implements `ports.Link`: takes ``good`` products, then the contact is gone."""

    def __init__(self, good: int) -> None:
        self.good = good
        self.sent: dict[str, bytes] = {}

    def send(self, name: str, body: bytes) -> bool:
        if len(self.sent) == self.good:
            raise LinkError("no carrier")
        self.sent[name] = body
        return True


class PickyLink:
    """Implements `ports.Link`: refuses the products of the given names."""

    def __init__(self, refused: set[str]) -> None:
        self.refused = refused
        self.sent: dict[str, bytes] = {}

    def send(self, name: str, body: bytes) -> bool:
        if name in self.refused:
            return False
        self.sent[name] = body
        return True


def test_the_best_that_fits_goes_down_and_leaves_the_queue(tmp_path: Path) -> None:
    store = filled(tmp_path / "q", [100, 300, 50, 200])
    queue = queue_of(store)
    room = contact(360)
    report = run_contact(store, queue, FolderLink(tmp_path / "ground", room), room)
    # 900 + 100 points; by value per byte P0 would have gone first, and P1 not at all: 500.
    assert report.sent == ("P1", "P2")
    assert (report.sent_bytes, report.idle_bytes, report.broken) == (350, 10, "")
    assert (report.waiting_entries, report.waiting_bytes) == (2, 300)
    assert [e.product_id for e in store.entries()] == ["P0", "P3"]
    assert sorted(p.name for p in (tmp_path / "ground").iterdir()) == ["P1.skp", "P2.skp"]
    for number, size in ((1, 300), (2, 50)):
        body = (tmp_path / "ground" / f"P{number}.skp").read_bytes()
        assert body == body_of(number, size)
    store.close()


def test_what_was_damaged_in_the_queue_is_not_sent_and_leaves_its_room_to_the_rest(tmp_path: Path) -> None:
    filled(tmp_path / "q", [100, 300, 200]).close()
    with sqlite3.connect(tmp_path / "q") as db:
        (body,) = db.execute("SELECT body FROM body WHERE entry_id = 2").fetchone()
        flipped = bytes([body[0] ^ 1]) + body[1:]
        db.execute("UPDATE body SET body = ? WHERE entry_id = 2", (flipped,))
    db.close()
    store = SqliteProductStore(tmp_path / "q")
    room = contact(500)
    report = run_contact(store, queue_of(store), FolderLink(tmp_path / "ground", room), room)
    assert (report.sent, report.damaged) == (("P0", "P2"), ("P1",))
    assert (report.sent_bytes, report.waiting_entries, report.waiting_bytes) == (300, 0, 0)
    assert list(store.entries()) == []
    assert (store.counters().acknowledged_entries, store.counters().evicted_entries) == (2, 1)
    store.close()


@pytest.mark.parametrize("offset", [100, 150_000])
def test_what_cannot_be_read_is_set_aside_and_all_others_go_in_every_contact(
    tmp_path: Path, offset: int
) -> None:
    filled(tmp_path / "q", [300_000] * 5).close()
    damage(tmp_path / "q", body_of(2, 300_000), offset)
    store = SqliteProductStore(tmp_path / "q")
    queue = queue_of(store)
    report = run_contact(store, queue, PickyLink({"P3"}), contact(2_000_000))
    assert (report.sent, report.damaged, report.refused) == (("P0", "P1", "P4"), ("P2",), ("P3",))
    assert (report.waiting_entries, store.held()) == (2, set())
    report = run_contact(store, queue, PickyLink(set()), contact(2_000_000))
    assert (report.sent, report.damaged) == (("P3",), ("P2",))
    assert [entry.product_id for entry in store.entries()] == ["P2"]
    store.close()


@given(sizes=st.lists(st.integers(SEAL_BYTES, 300), min_size=1, max_size=12), capacity=st.integers(300, 700))
@settings(max_examples=15, deadline=None)
def test_the_next_contact_goes_on_where_the_last_one_stopped(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], capacity: int
) -> None:
    folder = tmp_path_factory.mktemp("contact")
    filled(folder / "q", sizes).close()
    sent: list[str] = []
    room = contact(capacity)
    while True:
        store = SqliteProductStore(folder / "q")  # every contact is a new process
        report = run_contact(store, queue_of(store), FolderLink(folder / "ground", room), room)
        sent += report.sent
        counters = store.counters()
        store.close()
        assert report.sent_bytes + report.idle_bytes == capacity
        if not report.sent:
            break
    assert sorted(sent) == sorted(f"P{i}" for i in range(len(sizes)))
    assert (counters.acknowledged_entries, counters.acknowledged_bytes) == (len(sizes), sum(sizes))


def test_what_was_not_acknowledged_when_the_contact_broke_off_waits_again(tmp_path: Path) -> None:
    store = filled(tmp_path / "q", [100, 200, 300])
    queue = queue_of(store)
    report = run_contact(store, queue, BreakingLink(good=1), contact(1000))
    assert (report.sent, report.broken) == (("P0",), "no carrier")
    assert [e.product_id for e in store.entries()] == ["P1", "P2"]
    assert [e.product_id for e in queue.waiting()] == ["P1", "P2"]
    report = run_contact(store, queue, BreakingLink(good=9), contact(1000))
    assert (report.sent, report.waiting_entries) == (("P1", "P2"), 0)
    store.close()


def test_a_refused_product_waits_again_and_the_contact_goes_on(tmp_path: Path) -> None:
    store = filled(tmp_path / "q", [100, 200, 300])
    queue = queue_of(store)
    report = run_contact(store, queue, PickyLink({"P0"}), contact(1000))
    assert (report.refused, report.sent) == (("P0",), ("P1", "P2"))
    assert [e.product_id for e in store.entries()] == ["P0"]
    assert [e.product_id for e in queue.waiting()] == ["P0"]
    store.close()


def add_tile(store: SqliteProductStore, rows: list[tuple[str, ProductKind, int, float, int]]) -> None:
    """A tile more: name, kind, size, value and when it was made (UTC, ns) of each product."""
    pairs = []
    for name, kind, size, value, made_ns in rows:
        body = body_of(size, size)
        product = Product(name, STRIP, kind, 1, Window(0, 0, 1, 1), value, "why", made_ns, body)
        entry_id = store.next_entry_id() + len(pairs)
        pairs.append((QueueEntry(entry_id, name, kind, size, value, made_ns, "why"), product))
    stats = SceneStats(1, 0, 1.0, 0.0, 0.0, 0.0, 1.0)
    tile = TileRecord(STRIP, 1, Window(0, 0, 1, 1), stats, {}, {}, {}, np.zeros((7, 1, 1), np.uint8))
    store.commit_tile(tile, pairs, [])


def test_what_has_expired_goes_after_what_is_worth_anything(tmp_path: Path) -> None:
    store = filled(tmp_path / "q", [100, 100])
    hour_ns = 3_600_000_000_000
    add_tile(store, [("NEW", ProductKind.CLASSES, 100, 1.0, hour_ns)])
    now = Contact(hour_ns, 1.0, 8 * 250.0)
    ageing = AgeingConfig(decay_s=1e9, deadline_s=3000.0)
    report = run_contact(store, queue_of(store), PickyLink(set()), now, ageing)
    assert report.sent == ("NEW", "P0")
    store.close()


def test_a_product_too_large_for_the_contact_leaves_it_to_the_others_of_its_layer(tmp_path: Path) -> None:
    store = filled(tmp_path / "q", [500])
    add_tile(
        store,
        [
            ("S.0.surface_10m", ProductKind.SURFACE_10M, 400, 400.0, 7),
            ("S.0.surface_20m", ProductKind.SURFACE_20M, 100, 1.0, 7),
        ],
    )
    report = run_contact(store, queue_of(store), PickyLink(set()), contact(300))
    assert (report.sent, report.idle_bytes) == (("S.0.surface_20m",), 200)
    store.close()


def payload_json(*arguments: object) -> Any:
    command = [sys.executable, "-m", "payload", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("board", [(), ("--config", "firmware_configs/flatsat.yaml")])
def test_the_queue_is_shown_in_the_order_in_which_a_contact_sends(
    tmp_path: Path, board: tuple[str, ...]
) -> None:
    """With layers and groups, and with the board's ageing if it is given."""
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    now_ns = time.time_ns()
    old_ns = now_ns - 30 * 86_400 * 10**9
    rows = [
        ("A.0.raw", ProductKind.RAW, 100, 90.0, now_ns),
        ("A.0.quicklook", ProductKind.QUICKLOOK, 500, 1.0, now_ns),
        ("B.0.classes", ProductKind.CLASSES, 100, 30.0, now_ns),
        ("OLD.0.classes", ProductKind.CLASSES, 100, 40.0, old_ns),
    ]
    add_tile(store, rows)
    store.close()
    shown = [entry["product_id"] for entry in payload_json("queue", tmp_path, *board)]
    fresh = ["B.0.classes", "A.0.quicklook", "A.0.raw"]  # by value per byte, A's raw would be first
    assert shown == ([*fresh, "OLD.0.classes"] if board else ["OLD.0.classes", *fresh])
    pass_ = ("--rate-bit-s", 8000, "--duration-s", 1, "--to", tmp_path / "ground")
    assert payload_json("contact", "--out", tmp_path, *pass_, *board)["sent"] == shown


def test_a_product_whose_acknowledgement_was_lost_is_sent_again_as_the_same_file(tmp_path: Path) -> None:
    store = filled(tmp_path / "q", [100, 200])
    room = contact(100)
    # Down, but the power went before the store heard of it.
    FolderLink(tmp_path / "ground", room).send("P0", store.body(1))
    report = run_contact(store, queue_of(store), FolderLink(tmp_path / "ground", room), room)
    assert report.sent == ("P0",)
    assert [p.name for p in (tmp_path / "ground").iterdir()] == ["P0.skp"]
    store.close()


class MeanwhileLink:
    """Implements `ports.Link`: while it sends its first product, another process makes ``then``."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.then: Callable[[], None] | None = then
        self.sent: list[str] = []

    def send(self, name: str, body: bytes) -> bool:
        assert body
        self.sent.append(name)
        if self.then is not None:
            self.then, then = None, self.then
            then()
        return True


def test_a_run_may_make_and_evict_while_a_contact_is_under_way(tmp_path: Path) -> None:
    filled(tmp_path / "q", [100, 200, 300]).close()
    maker = SqliteProductStore(tmp_path / "q", roles=(Role.MAKER,))
    sender = SqliteProductStore(tmp_path / "q", roles=(Role.SENDER,))

    def make() -> None:
        product = Product(
            "NEW", STRIP, ProductKind.CLASSES, 1, Window(0, 0, 1, 1), 9e9, "why", 7, sealed([b"1"])
        )
        entry = QueueEntry(maker.next_entry_id(), "NEW", product.kind, 5, 9e9, 7, "why")
        stats = SceneStats(1, 0, 1.0, 0.0, 0.0, 0.0, 1.0)
        thumbnail = np.zeros((7, 1, 1), np.uint8)
        tile = TileRecord(STRIP, 1, Window(0, 0, 1, 1), stats, {}, {}, {}, thumbnail)
        maker.commit_tile(tile, [(entry, product)], [1, 2])  # P0 is on its way, P1 is not

    link = MeanwhileLink(make)
    report = run_contact(sender, queue_of(sender), link, contact(10_000))
    assert link.sent == ["P0", "NEW", "P2"]
    assert report.waiting_entries == 0
    assert list(maker.entries()) == []
    assert maker.held() == set()
    maker.close()
    sender.close()


def test_an_empty_queue_leaves_the_contact_idle(tmp_path: Path) -> None:
    store = SqliteProductStore(tmp_path / "q")
    report = run_contact(store, queue_of(store), BreakingLink(good=0), contact(1000))
    assert (report.sent, report.idle_bytes, report.waiting_entries, report.broken) == ((), 1000, 0, "")
    store.close()
