"""Products, tile records and counters in one SQLite file that survives a power cut.

Write-ahead log with synchronous=FULL: what was committed is on the disk when the call returns,
what was not is gone as a whole (https://www.sqlite.org/wal.html, pragma.html#pragma_synchronous).
One process makes products and one sends them; it may be the same, or both at a time on their
own. Each keeps others of its role out. Any may look on through a store opened with no role.
What the sender holds is on its way to the ground and cannot be evicted by the maker. A full
disk stops the maker and never the sender (`drivers.ballast`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from payload.drivers.ballast import Ballast
from payload.drivers.exclusive_sqlite import advice_on, atomic, shrink
from payload.drivers.store_lock import BOTH, Role, lock_store
from payload.drivers.store_rows import (
    APPLICATION_ID,
    FORGET_THUMBNAILS,
    SCHEMA,
    SCHEMA_VERSION,
    StoreCounters,
    entry_of,
    key_of,
    record_of,
    text_of,
)
from payload.errors import StoreError
from payload.types import Product, QueueEntry, TileRecord

_PAGE_BYTES = 65536  # a body of a megabyte is sixteen pages: half the time of pages of 8192
_CACHE_KIB = 1024
_LOG_BYTES = 16 << 20
_BALLAST_BYTES = 2 * _LOG_BYTES  # for what is in the log to go over into the file, and the log to go on
_BUSY_TIMEOUT_S = 5.0
_ENTRIES_AT_ONCE = 500
_RECORDS_AT_ONCE = 20
_ENTRY_COLUMNS = "entry_id, product_id, kind, size_bytes, value, created_utc_ns, reason"

_Parsed = TypeVar("_Parsed")


class SqliteProductStore:
    """Implements `ports.ProductStore` on one file."""

    def __init__(self, path: Path, read_only: bool = False, roles: Collection[Role] = BOTH) -> None:
        """Opens the store at ``path``; makes it unless ``read_only``, which is to have no role.

        A new sender holds nothing.

        Raises:
            StoreError: in use by another process, of another version, no store, or damaged.
        """
        self._path = path
        self._ballast = Ballast(path.with_name(f"{path.name}.ballast"), _BALLAST_BYTES)
        self._locks: list[int] = []
        self._db: sqlite3.Connection | None = None
        self._seen_version = 0
        try:
            for role in () if read_only else roles:
                self._locks.append(lock_store(path, role))
            if not read_only and Role.SENDER in roles:
                self._ballast.drop_if_full()
            with self._storing("opened"):
                self._open(read_only)
                self._next_entry_id = self._counter("next_entry_id")
                if not read_only and Role.SENDER in roles:
                    self._run("DELETE FROM hold")
                self.has_changed()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing more can be read or written; a second call does nothing."""
        if self._db is not None:
            self._db.close()
            self._db = None
        while self._locks:
            os.close(self._locks.pop())

    def begin_strip(self, strip_id: str, fingerprint: str, earlier: Collection[str] = ()) -> bool:
        """Tiles of ``strip_id`` may follow, all made alike; True if those that are here were not.

        Args:
            fingerprint: of all that decides a tile's products: configuration, models, strip.
            earlier: fingerprints that differ by a model that was replaced since: what is here was
                made so, says which model made it, and stays.

        Raises:
            StoreError: tiles of this strip are here and were made otherwise.
        """
        with self._transaction():
            self._run("INSERT OR IGNORE INTO strip VALUES (?, ?)", (strip_id, fingerprint))
            (begun,) = self._run("SELECT fingerprint FROM strip WHERE strip_id = ?", (strip_id,)).fetchone()
            if begun == fingerprint:
                return False
            if begun not in earlier:
                raise StoreError(
                    f"{self._path}: strip {strip_id} was begun here with another configuration, model or "
                    f"strip file ({begun[:8]}, now {fingerprint[:8]}); go on with those, or use another --out"
                )
            self._run("UPDATE strip SET fingerprint = ? WHERE strip_id = ?", (fingerprint, strip_id))
            return True

    def entries(self) -> Iterator[QueueEntry]:
        """All that is queued, in order of entry_id."""
        last = -1
        while True:
            with self._storing("read"):
                rows = self._run(
                    f"SELECT {_ENTRY_COLUMNS} FROM product WHERE entry_id > ? ORDER BY entry_id LIMIT ?",
                    (last, _ENTRIES_AT_ONCE),
                ).fetchall()
            for row in rows:
                yield self._parse(entry_of, *row)
            if len(rows) < _ENTRIES_AT_ONCE:
                return
            last = rows[-1][0]

    def next_entry_id(self) -> int:
        """An id that no entry of this store ever had."""
        entry_id = self._next_entry_id
        self._next_entry_id += 1
        return entry_id

    def commit_tile(
        self,
        record: TileRecord,
        accepted: Sequence[tuple[QueueEntry, Product]],
        evicted: Sequence[int],
        refused: Sequence[QueueEntry] = (),
    ) -> None:
        """The tile is finished, its products queued, evicted ones gone, refused ones counted: all or nothing.

        An entry to evict that the sender holds, or that has left meanwhile, is passed over:
        `has_changed` is true then, and the queue can follow.

        Raises:
            StoreError: nothing changed; disk full, damaged, or the tile is here already.
        """
        self._ballast.take()
        with self._transaction():
            self._insert_tile(record)
            for entry, product in accepted:
                self._insert_product(entry, product)
            self._evict(evicted)
            for entry in refused:
                self._count("accepted", entry.size_bytes)
                self._count("evicted", entry.size_bytes)

    def evict(self, entry_ids: Collection[int]) -> None:
        """They are gone for good, but for what the sender holds; StoreError: nothing changed."""
        with self._transaction():
            self._evict(entry_ids)

    def has_changed(self) -> bool:
        """Whether another process wrote since the last call, or since the store was opened."""
        with self._storing("read"):
            (version,) = self._run("PRAGMA data_version").fetchone()
        seen, self._seen_version = self._seen_version, version
        return bool(version != seen)

    def held(self) -> set[int]:
        """What the sender holds: it is on its way to the ground."""
        with self._storing("read"):
            return self._held()

    def hold(self, entry_id: int) -> bool:
        """The entry stays until it is acknowledged or released; False if it is there no more.

        Raises:
            StoreError: nothing changed; disk full or damaged.
        """
        self.make_room()
        with self._transaction():
            if not self._is_queued(entry_id):
                return False
            self._run("INSERT OR IGNORE INTO hold VALUES (?)", (entry_id,))
            return True

    def make_room(self) -> None:
        """A full disk takes something again, as long as there is ballast to throw out."""
        self._ballast.drop_if_full()

    def release(self, entry_id: int) -> None:
        """The entry waits again like any other.

        Raises:
            StoreError: nothing changed; disk full or damaged.
        """
        with self._transaction():
            self._run("DELETE FROM hold WHERE entry_id = ?", (entry_id,))

    def drop_waiting(self) -> tuple[int, int]:
        """All that waits and is not held has been evicted: how many entries and bytes.

        Raises:
            StoreError: nothing changed; disk full or damaged.
        """
        with self._transaction():
            held = self._held()
            rows = self._run("SELECT entry_id, size_bytes FROM product").fetchall()
            dropped = [(entry_id, size) for entry_id, size in rows if entry_id not in held]
            for entry_id, _ in dropped:
                self._remove(entry_id, "evicted")
        return len(dropped), sum(size for _, size in dropped)

    def tile_records(self, strip_id: str) -> Iterator[TileRecord]:
        """The finished tiles of a strip, in order of their index."""
        last = -1
        while True:
            with self._storing("read"):
                rows = self._run(
                    "SELECT tile_index, record, thumbnail FROM tile WHERE strip_id = ? AND tile_index > ?"
                    " ORDER BY tile_index LIMIT ?",
                    (strip_id, last, _RECORDS_AT_ONCE),
                ).fetchall()
            for row in rows:
                yield self._parse(record_of, strip_id, *row)
            if len(rows) < _RECORDS_AT_ONCE:
                return
            last = rows[-1][0]

    def forget_thumbnails(self, strip_id: str) -> None:
        """The strip's tiles stay finished; their thumbnails have gone, and the room is another's.

        Raises:
            StoreError: nothing changed; disk full or damaged.
        """
        with self._transaction():
            self._run(FORGET_THUMBNAILS, (strip_id,))

    def body(self, entry_id: int) -> bytes:
        """The whole product.

        Raises:
            StoreError: it is not queued, or cannot be read.
        """
        with self._storing("read"):
            row = self._run("SELECT body FROM body WHERE entry_id = ?", (entry_id,)).fetchone()
        if row is None:
            raise StoreError(f"{self._path}: entry {entry_id} is not queued; it left, or the file is damaged")
        body: bytes = row[0]
        return body

    def acknowledge(self, entry_id: int) -> None:
        """The product is on the ground: it leaves the queue for good.

        Raises:
            StoreError: nothing changed; disk full, damaged, or no such entry.
        """
        with self._transaction():
            self._remove(entry_id, "acknowledged")
        if self._db is not None and not self._ballast.is_there():
            with self._storing("read"):
                shrink(self._db, _LOG_BYTES)

    def discard(self, entry_id: int) -> None:
        """The entry is damaged and leaves for good: it counts as evicted.

        Raises:
            StoreError: nothing changed; disk full, damaged, or no such entry.
        """
        with self._transaction():
            self._remove(entry_id, "evicted")

    def counters(self) -> StoreCounters:
        """What ever came and went."""
        with self._storing("read"):
            values = dict(self._run("SELECT name, value FROM counter").fetchall())
        return StoreCounters(**{name: values[name] for name in StoreCounters.__slots__})

    def queued(self) -> tuple[int, int]:
        """Entries and bytes that are here: what came and neither went down nor out."""
        c = self.counters()
        return (
            c.accepted_entries - c.evicted_entries - c.acknowledged_entries,
            c.accepted_bytes - c.evicted_bytes - c.acknowledged_bytes,
        )

    def _open(self, read_only: bool) -> None:
        if read_only and not self._path.exists():
            raise StoreError(f"{self._path}: there is no queue; `payload run` makes one")
        uri = f"{self._path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        self._db = sqlite3.connect(uri, timeout=_BUSY_TIMEOUT_S, isolation_level=None, uri=True)
        is_new = self._is_new()
        if read_only and is_new:
            raise StoreError(f"{self._path}: the queue is empty and not set up yet; `payload run` does it")
        if is_new:
            self._run(f"PRAGMA page_size = {_PAGE_BYTES}")
        self._run(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if not read_only:
            self._run("PRAGMA journal_mode = WAL")
            self._run("PRAGMA synchronous = FULL")
            self._run(f"PRAGMA wal_autocheckpoint = {_LOG_BYTES // _PAGE_BYTES}")
            self._run(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        if is_new:
            with self._transaction():
                for statement in SCHEMA:
                    self._run(statement)

    def _is_new(self) -> bool:
        """Whether the file holds nothing at all; what it holds must be ours."""
        (application_id,) = self._run("PRAGMA application_id").fetchone()
        (version,) = self._run("PRAGMA user_version").fetchone()
        (tables,) = self._run("SELECT count(*) FROM sqlite_master").fetchone()
        if (application_id, version, tables) == (0, 0, 0):
            return True
        if application_id != APPLICATION_ID:
            raise StoreError(f"{self._path}: an SQLite file, but no queue of ours; use another --out")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: queue of version {version}, this program reads version {SCHEMA_VERSION}; "
                "empty it with the program that made it, or use another --out"
            )
        return False

    def _insert_tile(self, record: TileRecord) -> None:
        if self._run("SELECT 1 FROM tile WHERE strip_id = ? AND tile_index = ?", key_of(record)).fetchone():
            raise StoreError(f"{self._path}: tile {record.index} of {record.strip_id} is finished already")
        self._run(
            "INSERT INTO tile VALUES (?, ?, ?, ?)",
            (*key_of(record), text_of(record), record.thumbnail.tobytes()),
        )

    def _insert_product(self, entry: QueueEntry, product: Product) -> None:
        assert entry.size_bytes == len(product.body), entry.product_id
        values = (entry.entry_id, entry.product_id, entry.kind.value, entry.size_bytes, entry.value)
        self._run(
            f"INSERT INTO product ({_ENTRY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*values, entry.created_utc_ns, entry.reason),
        )
        self._run("INSERT INTO body VALUES (?, ?)", (entry.entry_id, product.body))
        self._count("accepted", entry.size_bytes)
        self._run(
            "UPDATE counter SET value = max(value, ?) WHERE name = 'next_entry_id'", (entry.entry_id + 1,)
        )

    def _evict(self, entry_ids: Collection[int]) -> None:
        held = self._held()
        for entry_id in entry_ids:
            if entry_id not in held and self._is_queued(entry_id):
                self._remove(entry_id, "evicted")

    def _remove(self, entry_id: int, fate: str) -> None:
        row = self._run("SELECT size_bytes FROM product WHERE entry_id = ?", (entry_id,)).fetchone()
        if row is None:
            raise StoreError(f"{self._path}: entry {entry_id} cannot be {fate}: it is not queued")
        self._run("DELETE FROM product WHERE entry_id = ?", (entry_id,))
        self._run("DELETE FROM body WHERE entry_id = ?", (entry_id,))
        self._run("DELETE FROM hold WHERE entry_id = ?", (entry_id,))
        self._count(fate, row[0])

    def _held(self) -> set[int]:
        return {entry_id for (entry_id,) in self._run("SELECT entry_id FROM hold").fetchall()}

    def _is_queued(self, entry_id: int) -> bool:
        return self._run("SELECT 1 FROM product WHERE entry_id = ?", (entry_id,)).fetchone() is not None

    def _count(self, fate: str, size_bytes: int) -> None:
        add = "UPDATE counter SET value = value + ? WHERE name = ?"
        self._run(add, (1, f"{fate}_entries"))
        self._run(add, (size_bytes, f"{fate}_bytes"))

    def _parse(self, parser: Callable[..., _Parsed], *columns: Any) -> _Parsed:
        """SQLite has no checksums: what was flipped on the disk may well be read."""
        try:
            return parser(*columns)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{self._path}: damaged at {columns[:2]}: {error}; use another --out") from error

    def _counter(self, name: str) -> int:
        row = self._run("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise StoreError(f"{self._path}: damaged: no counter {name}; use another --out")
        return int(row[0])

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        assert self._db is not None, "the store is closed"
        return self._db.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that is run inside happens, or nothing of it."""
        assert self._db is not None, "the store is closed"
        with self._storing("written; nothing changed"), atomic(self._db):
            yield

    @contextmanager
    def _storing(self, done: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: of a damaged schema
            raise StoreError(f"{self._path}: cannot be {done}: {error}{advice_on(error)}") from error
