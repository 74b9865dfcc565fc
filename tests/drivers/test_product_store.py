"""The product store on real SQLite files: all or nothing, one writer, clear errors."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from payload.core.sealed import SEAL_BYTES, is_sealed, sealed
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.store_lock import Role
from payload.drivers.store_rows import APPLICATION_ID, SCHEMA, SCHEMA_VERSION
from payload.errors import StoreError, StripError
from payload.types import Product, ProductKind, QueueEntry, SceneStats, TileRecord, Window

STRIP = "S2A_TEST"
STATS = SceneStats(90, 10, 0.1, 0.2, 0.3, 0.4, 1 / 3)


def record(index: int, strip_id: str = STRIP) -> TileRecord:
    thumbnail = np.arange(7 * 4 * 5, dtype=np.uint8).reshape(7, 4, 5) + np.uint8(index)
    return TileRecord(
        strip_id,
        index,
        Window(0, 10 * index, 10, 10),
        STATS,
        {"scene": "cpu openvino int8 scene_v1"},
        {"classes": 100, "statistics": 20},
        {"classes": 0.1 + 0.2, "statistics": 10.0},
        thumbnail,
    )


def pair(store: SqliteProductStore, name: str, size_bytes: int = 100) -> tuple[QueueEntry, Product]:
    entry_id = store.next_entry_id()
    body = sealed([np.random.default_rng(entry_id).bytes(size_bytes - SEAL_BYTES)])
    kind = ProductKind.CLASSES
    product = Product(name, STRIP, kind, 0, Window(0, 0, 1, 1), 0.1 * entry_id, "why", 10**18 + 1, body)
    return QueueEntry(
        entry_id, name, kind, size_bytes, product.value, product.created_utc_ns, product.reason
    ), product


def state(store: SqliteProductStore) -> tuple[object, ...]:
    """All that a store shows."""
    entries = list(store.entries())
    records = [(r.index, r.thumbnail.tobytes()) for r in store.tile_records(STRIP)]
    return entries, [store.body(e.entry_id) for e in entries], records, store.counters()


def test_what_was_committed_is_there_after_opening_again(tmp_path: Path) -> None:
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    store.begin_strip(STRIP, "f" * 64)
    pairs = [pair(store, f"P{i}", 1000 * i + SEAL_BYTES) for i in range(3)]
    store.commit_tile(record(0), pairs, [])
    store.commit_tile(record(1), [], [pairs[1][0].entry_id])
    before = state(store)
    store.close()
    store.close()  # a second call does nothing

    again = SqliteProductStore(tmp_path / "queue.sqlite")
    assert state(again) == before
    assert list(again.entries()) == [pairs[0][0], pairs[2][0]]
    assert again.body(pairs[2][0].entry_id) == pairs[2][1].body
    assert astuple(again.counters()) == (3, 3012, 1, 1004, 0, 0)
    found = next(again.tile_records(STRIP))
    expected = record(0)
    assert (found.inner, found.stats, found.engines) == (expected.inner, STATS, expected.engines)
    assert (found.product_bytes, found.product_values) == (expected.product_bytes, expected.product_values)
    np.testing.assert_array_equal(found.thumbnail, expected.thumbnail)
    again.close()


def test_forgotten_thumbnails_leave_the_tiles_finished_and_their_room_to_others(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    store = SqliteProductStore(path)
    sizes_bytes = []
    for strip in range(6):
        strip_id = f"S{strip}"
        for index in range(12):
            picture = np.full((7, 80, 80), index, np.uint8)
            store.commit_tile(replace(record(index, strip_id), thumbnail=picture), [], [])
        before = list(store.tile_records(strip_id))
        store.forget_thumbnails(strip_id)
        after = list(store.tile_records(strip_id))
        assert [astuple(replace(one, thumbnail=b"")) for one in after] == [  # type: ignore[arg-type]
            astuple(replace(one, thumbnail=b""))  # type: ignore[arg-type]
            for one in before
        ]
        assert {one.thumbnail.shape for one in after} == {(7, 0, 80)}
        with pytest.raises(StoreError, match="finished already"):
            store.commit_tile(record(3, strip_id), [], [])
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        sizes_bytes.append(path.stat().st_size)
    store.close()
    assert sizes_bytes[-1] <= sizes_bytes[0] + 2 * 65536


def test_entries_and_records_come_in_order_however_many_there_are(tmp_path: Path) -> None:
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    count = 1003
    pairs = [pair(store, f"P{i}", 10) for i in range(count)]
    for index in reversed(range(45)):
        store.commit_tile(record(index), pairs[index::45], [])
    assert [e.entry_id for e in store.entries()] == sorted(e.entry_id for e, _ in pairs)
    assert [r.index for r in store.tile_records(STRIP)] == list(range(45))
    assert list(store.tile_records("another strip")) == []
    store.close()


def test_an_entry_id_is_never_used_again_also_after_its_product_has_gone(tmp_path: Path) -> None:
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    pairs = [pair(store, f"P{i}") for i in range(3)]
    store.commit_tile(record(0), pairs, [])
    for entry, _ in pairs:
        store.acknowledge(entry.entry_id)
    store.close()
    again = SqliteProductStore(tmp_path / "queue.sqlite")
    assert again.next_entry_id() > pairs[-1][0].entry_id
    assert again.next_entry_id() > pairs[-1][0].entry_id + 1
    again.close()


def test_an_acknowledged_product_has_left_for_good_and_is_counted(tmp_path: Path) -> None:
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    entry, product = pair(store, "P")
    store.commit_tile(record(0), [(entry, product)], [])
    store.acknowledge(entry.entry_id)
    assert list(store.entries()) == []
    assert astuple(store.counters()) == (1, 100, 0, 0, 1, 100)
    before = state(store)
    with pytest.raises(StoreError, match="not queued"):
        store.body(entry.entry_id)
    with pytest.raises(StoreError, match="cannot be acknowledged"):
        store.acknowledge(entry.entry_id)
    assert state(store) == before
    store.close()


def test_a_commit_happens_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    first = pair(store, "P1")
    store.commit_tile(record(0), [first], [])
    before = state(store)
    fresh = pair(store, "P2")
    same_name = pair(store, "P1")
    for tile, accepted, evicted in (
        (record(0), [fresh], [first[0].entry_id]),  # the tile is finished already
        (record(1), [fresh, same_name], []),  # a product id that is there
    ):
        with pytest.raises(StoreError):
            store.commit_tile(tile, accepted, evicted)
        assert state(store) == before
    store.commit_tile(record(1), [fresh], [first[0].entry_id])
    store.close()


def test_a_strip_goes_on_only_as_it_was_begun(tmp_path: Path) -> None:
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    store.begin_strip(STRIP, "aaaa")
    store.begin_strip(STRIP, "aaaa")
    store.begin_strip("another strip", "bbbb")
    with pytest.raises(StripError, match="begun here with another configuration"):
        store.begin_strip(STRIP, "bbbb")
    store.close()


def test_a_second_writer_is_refused_while_the_first_is_there(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    store = SqliteProductStore(path)
    with pytest.raises(StoreError, match=r"another payload run, contact or fly is using it \(as maker\)"):
        SqliteProductStore(path)
    store.close()
    SqliteProductStore(path).close()


def test_others_may_look_on_while_one_writes(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    store = SqliteProductStore(path)
    store.commit_tile(record(0), [pair(store, "P1")], [])
    onlooker = SqliteProductStore(path, read_only=True)
    assert state(onlooker) == state(store)
    store.commit_tile(record(1), [pair(store, "P2")], [])
    assert state(onlooker) == state(store)
    before = state(store)
    with pytest.raises(StoreError, match="readonly"):
        onlooker.acknowledge(1)
    assert state(store) == before
    onlooker.close()
    store.close()
    late = SqliteProductStore(path, read_only=True)
    assert state(late) == before
    late.close()


def test_a_queue_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    SqliteProductStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"queue of version 3, this program reads version 2; empty it"):
            SqliteProductStore(path, read_only=read_only)
    assert path.read_bytes() == before


def test_a_file_that_is_no_queue_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_bytes(b"this is no database at all, it only looks long enough " * 40)
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE somebody (elses INTEGER)")
    db.close()
    for path, reason in ((text, "not a database"), (foreign, "no queue of ours")):
        before = path.read_bytes()
        with pytest.raises(StoreError, match=reason):
            SqliteProductStore(path)
        assert path.read_bytes() == before


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="writable folder"):
        SqliteProductStore(tmp_path / "not there" / "queue.sqlite")
    with pytest.raises(StoreError, match="there is no queue"):
        SqliteProductStore(tmp_path / "queue.sqlite", read_only=True)
    (tmp_path / "queue.sqlite").touch()
    with pytest.raises(StoreError, match="not set up yet"):
        SqliteProductStore(tmp_path / "queue.sqlite", read_only=True)
    SqliteProductStore(tmp_path / "queue.sqlite").close()


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    store = SqliteProductStore(path)
    store.commit_tile(record(0), [pair(store, f"P{i}", 30_000) for i in range(20)], [])
    store.close()
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    outcomes = set()
    for _ in range(60):
        broken = whole.copy()
        for start in rng.integers(100, len(whole) - 400, 4):  # behind the 100 bytes of SQLite's header
            broken[start : start + 400] = rng.bytes(400)
        path.write_bytes(broken)
        try:
            store = SqliteProductStore(path)
        except StoreError:
            outcomes.add("refused")
            continue
        try:
            state(store)
            outcomes.add("read")
        except StoreError as error:
            outcomes.add("damaged" if "damaged" in str(error) else str(error))
        store.close()
    assert {"read", "damaged"} <= outcomes <= {"read", "damaged", "refused"}


def test_a_damaged_record_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    store = SqliteProductStore(path)
    store.commit_tile(record(0), [pair(store, "P")], [])
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE tile SET record = substr(record, 9)")
        db.execute("UPDATE product SET kind = 'claxxes'")
    db.close()
    store = SqliteProductStore(path)
    with pytest.raises(StoreError, match="damaged"):
        list(store.tile_records(STRIP))
    with pytest.raises(StoreError, match="damaged"):
        list(store.entries())
    store.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from payload.drivers.store_lock import Role
from payload.errors import StoreError
from tests.drivers.test_product_store import SqliteProductStore, pair, record, state
store = SqliteProductStore(Path(sys.argv[1]))
store.commit_tile(record(0), [pair(store, "P0", 50_000)], [])
before = state(store)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
big = [pair(store, f"B{i}", 100_000) for i in range(5)]
try:
    store.commit_tile(record(1), big, [])
except StoreError as error:
    print(error)
    assert not error.is_disk_full  # the kernel says so in other words
assert state(store) == before
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
store.commit_tile(record(1), big, [1])
store.close()
"""


def test_a_full_disk_changes_nothing_and_the_store_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """In a process of its own that may not write files beyond 200 000 bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert hard == resource.RLIM_INFINITY or hard > 10_000_000
    path = tmp_path / "queue.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "nothing changed" in done.stdout
    assert "free some disk space" in done.stdout
    store = SqliteProductStore(path, read_only=True)
    assert [e.product_id for e in store.entries()] == [f"B{i}" for i in range(5)]
    store.close()


def test_the_database_says_when_it_is_full_and_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    store = SqliteProductStore(path)
    store.commit_tile(record(0), [pair(store, "P0")], [])
    before = state(store)
    store._run("PRAGMA max_page_count = 20")
    with pytest.raises(StoreError, match=r"full; what was queued is still there") as full:
        store.commit_tile(record(1), [pair(store, "P1", 1_000_000)], [])
    assert full.value.is_disk_full
    assert state(store) == before
    store.close()


def test_the_file_says_what_it_is_and_how_it_is_written(tmp_path: Path) -> None:
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    expected = {
        "application_id": APPLICATION_ID,
        "user_version": SCHEMA_VERSION,
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "cache_size": -1024,
        "auto_vacuum": 2,  # INCREMENTAL
        "secure_delete": 0,
    }
    assert {name: store._run(f"PRAGMA {name}").fetchone()[0] for name in expected} == expected
    store.close()


def test_a_file_that_was_made_without_auto_vacuum_works_and_has_it_once_it_was_nearly_empty(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.sqlite"
    with sqlite3.connect(path, isolation_level=None) as db:
        for statement in ("PRAGMA page_size = 65536", "PRAGMA journal_mode = WAL", *SCHEMA):
            db.execute(statement)
    db.close()
    store = SqliteProductStore(path)
    for index in range(30):
        store.commit_tile(record(index), [pair(store, f"P{index}", 900_000)], [])
    before = state(store)
    store.close()
    store = SqliteProductStore(path)
    assert store._run("PRAGMA auto_vacuum").fetchone() == (0,)
    assert state(store) == before
    Path(f"{path}.ballast").unlink()  # as on a full disk
    for entry in list(store.entries()):
        store.acknowledge(entry.entry_id)
    assert store._run("PRAGMA auto_vacuum").fetchone() == (2,)
    assert list(store.tile_records(STRIP))
    assert path.stat().st_size < 4 << 20
    store.close()


def test_what_leaves_is_not_written_once_more(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    store = SqliteProductStore(path)
    for index in range(60):
        store.commit_tile(record(index), [pair(store, f"P{index}", 900_000)], [])
    store.hold(7)
    assert store.drop_waiting() == (59, 59 * 900_000)
    assert [entry.entry_id for entry in store.entries()] == [7]
    assert Path(f"{path}-wal").stat().st_size < 20 << 20
    store.close()


def damage(path: Path, body: bytes, offset: int) -> None:
    """A page of the file at ``path`` begins with 4096 zeros: that with the bytes of ``body`` at ``offset``.

    There SQLite keeps what it needs to find the rest. No connection may be open.
    """
    found = path.read_bytes().index(body[offset : offset + 64])
    with path.open("r+b") as file:
        file.seek(found // 65536 * 65536)
        file.write(bytes(4096))


@pytest.mark.parametrize("offset", [100, 150_000])
def test_a_product_whose_pages_are_damaged_can_be_taken_out_and_keeps_no_other(
    tmp_path: Path, offset: int
) -> None:
    for how in ("discarded", "evicted", "dropped", "made way"):
        path = tmp_path / how
        store = SqliteProductStore(path)
        for index in range(6):
            store.commit_tile(record(index), [pair(store, f"P{index}", 300_000)], [])
        body = store.body(3)
        store.close()
        damage(path, body, offset)
        store = SqliteProductStore(path)
        with pytest.raises(StoreError, match="damaged"):
            store.body(3)
        if how == "discarded":
            store.discard(3)
        elif how == "evicted":
            store.evict([2, 3])
        elif how == "dropped":
            assert store.drop_waiting() == (6, 1_800_000)
        else:
            store.commit_tile(record(6), [pair(store, "P6", 300_000)], [3])
        left = {"discarded": "012345", "evicted": "02345", "dropped": "", "made way": "0123456"}[how]
        names = [f"P{digit}" for digit in left if digit != "2"]
        assert [entry.product_id for entry in store.entries()] == names
        assert store.queued() == (len(names), 300_000 * len(names))
        assert all(is_sealed(store.body(entry.entry_id)) for entry in store.entries())
        store.commit_tile(record(7), [pair(store, "P7")], [])
        store.close()


def test_the_log_beside_the_file_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    store = SqliteProductStore(path)
    largest = 0
    for index in range(90):
        store.commit_tile(record(index), [pair(store, f"P{index}", 400_000)], [])
        largest = max(largest, Path(f"{path}-wal").stat().st_size)
    assert largest < 20 << 20 < path.stat().st_size
    for entry in list(store.entries()):
        store.acknowledge(entry.entry_id)
    size = path.stat().st_size
    for index in range(90, 180):  # what was freed is used again
        store.commit_tile(record(index), [pair(store, f"P{index}", 400_000)], [])
    store.close()
    assert path.stat().st_size < 1.1 * size


def test_one_may_make_while_another_sends_and_each_sees_what_the_other_did(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    maker = SqliteProductStore(path, roles=(Role.MAKER,))
    sender = SqliteProductStore(path, roles=(Role.SENDER,))
    assert (sender.has_changed(), maker.has_changed()) == (False, True)  # the sender has let go of all
    maker.commit_tile(record(0), [pair(maker, name) for name in ("A", "B", "C")], [])
    assert (sender.has_changed(), sender.has_changed(), maker.has_changed()) == (True, False, False)
    assert sender.hold(1)
    sender.acknowledge(2)
    assert maker.has_changed()
    assert maker.held() == {1}
    assert [entry.product_id for entry in maker.entries()] == ["A", "C"]
    # What is held, or has left, is passed over by an eviction; the tile is committed all the same.
    maker.commit_tile(record(1), [], [1, 2, 3])
    assert [entry.product_id for entry in sender.entries()] == ["A"]
    assert not sender.hold(3)
    counters = sender.counters()
    assert (counters.acknowledged_entries, counters.evicted_entries) == (1, 1)
    sender.release(1)
    assert sender.drop_waiting() == (1, 100)
    assert list(maker.entries()) == []
    maker.close()
    sender.close()


def test_what_is_evicted_has_left_but_for_what_the_sender_holds(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    maker, sender = (SqliteProductStore(path, roles=(role,)) for role in (Role.MAKER, Role.SENDER))
    maker.commit_tile(record(0), [pair(maker, name) for name in ("A", "B", "C", "D")], [])
    sender.hold(1)
    sender.acknowledge(2)
    maker.evict([1, 2, 3])
    assert [entry.product_id for entry in sender.entries()] == ["A", "D"]
    assert maker.counters().evicted_entries == 1
    assert maker.queued() == (2, 200)
    maker.close()
    sender.close()


def test_a_new_sender_holds_nothing(tmp_path: Path) -> None:
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    store.commit_tile(record(0), [pair(store, "A")], [])
    assert store.hold(1)
    store.close()
    maker = SqliteProductStore(tmp_path / "queue.sqlite", roles=(Role.MAKER,))
    assert maker.held() == {1}
    maker.close()
    again = SqliteProductStore(tmp_path / "queue.sqlite")
    assert again.held() == set()
    again.close()
