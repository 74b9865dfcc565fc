"""Products, tile records and counters in one SQLite file that survives a power cut.

Write-ahead log with synchronous=FULL: what was committed is on the disk when the call returns,
what was not is gone as a whole (https://www.sqlite.org/wal.html, pragma.html#pragma_synchronous).
One process makes products and one sends them; it may be the same, or both at a time on their
own. Each keeps others of its role out. Any may look on through a store opened with no role.
What the sender holds is on its way to the ground and cannot be evicted by the maker. A full
disk stops the maker and never the sender (`drivers.store_file`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

from payload.drivers.exclusive_sqlite import is_damage
from payload.drivers.store_file import StoreFile
from payload.drivers.store_lock import BOTH, Role, lock_store
from payload.drivers.store_rows import (
    FORGET_THUMBNAILS,
    StoreCounters,
    entry_of,
    key_of,
    record_of,
    text_of,
)
from payload.errors import StoreError, StripError
from payload.types import Product, QueueEntry, TileRecord

_ENTRIES_AT_ONCE = 500
_RECORDS_AT_ONCE = 20
_DELETE_BODY = "DELETE FROM body WHERE entry_id = ?"
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
        self._seen_version = 0
        is_sender = not read_only and Role.SENDER in roles
        with ExitStack() as opened:
            for role in () if read_only else roles:
                opened.callback(os.close, lock_store(path, role))
            self._file = StoreFile(path, read_only, is_sender)
            opened.callback(self._file.close)
            with self._file.storing("opened"):
                self._next_entry_id = self._counter("next_entry_id")
            if is_sender:
                with self._file.emptying():
                    self._run("DELETE FROM hold")
            self.has_changed()
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Nothing more can be read or written; a second call does nothing."""
        self._opened.close()

    def begin_strip(self, strip_id: str, fingerprint: str, earlier: Collection[str] = ()) -> bool:
        """Tiles of ``strip_id`` may follow, all made alike; True if those that are here were not.

        Args:
            fingerprint: of all that decides a tile's products: configuration, models, strip.
            earlier: fingerprints that differ by a model that was replaced since: what is here was
                made so, says which model made it, and stays.

        Raises:
            StripError: tiles of this strip are here and were made otherwise.
            StoreError: nothing changed; disk full or damaged.
        """
        with self._file.transaction():
            self._run("INSERT OR IGNORE INTO strip VALUES (?, ?)", (strip_id, fingerprint))
            (begun,) = self._run("SELECT fingerprint FROM strip WHERE strip_id = ?", (strip_id,)).fetchone()
            if begun == fingerprint:
                return False
            if begun not in earlier:
                raise StripError(
                    f"{self._path}: strip {strip_id} was begun here with another configuration, model or "
                    f"strip file ({begun[:8]}, now {fingerprint[:8]}); go on with those, or use another "
                    "strip_id or --out"
                )
            self._run("UPDATE strip SET fingerprint = ? WHERE strip_id = ?", (fingerprint, strip_id))
            return True

    def entries(self) -> Iterator[QueueEntry]:
        """All that is queued, in order of entry_id."""
        last = -1
        while True:
            with self._file.storing("read"):
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

        def commit() -> dict[int, int]:
            self._insert_tile(record)
            for entry, product in accepted:
                self._insert_product(entry, product)
            for entry in refused:
                self._count("accepted", entry.size_bytes)
                self._count("evicted", entry.size_bytes)
            return self._evict(evicted)

        self._removing(self._file.filling, commit)

    def evict(self, entry_ids: Collection[int]) -> None:
        """They are gone for good, but for what the sender holds; StoreError: nothing changed."""
        self._removing(self._file.emptying, lambda: self._evict(entry_ids))

    def has_changed(self) -> bool:
        """Whether another process wrote since the last call, or since the store was opened."""
        with self._file.storing("read"):
            (version,) = self._run("PRAGMA data_version").fetchone()
        seen, self._seen_version = self._seen_version, version
        return bool(version != seen)

    def held(self) -> set[int]:
        """What the sender holds: it is on its way to the ground."""
        with self._file.storing("read"):
            return self._held()

    def hold(self, entry_id: int) -> bool:
        """The entry stays until it is acknowledged or released; False if it is there no more.

        Raises:
            StoreError: nothing changed; disk full or damaged.
        """
        with self._file.emptying():
            if not self._is_queued(entry_id):
                return False
            self._run("INSERT OR IGNORE INTO hold VALUES (?)", (entry_id,))
            return True

    def make_room(self) -> None:
        """A full disk takes something again, as long as there is ballast to throw out."""
        self._file.make_room()

    def release(self, entry_id: int) -> None:
        """The entry waits again like any other.

        Raises:
            StoreError: nothing changed; disk full or damaged.
        """
        with self._file.emptying():
            self._run("DELETE FROM hold WHERE entry_id = ?", (entry_id,))

    def drop_waiting(self) -> tuple[int, int]:
        """All that waits and is not held has been evicted: how many entries and bytes.

        Raises:
            StoreError: nothing changed; disk full or damaged.
        """

        def evict() -> dict[int, int]:
            return self._evict([entry_id for (entry_id,) in self._run("SELECT entry_id FROM product")])

        dropped = self._removing(self._file.emptying, evict)
        return len(dropped), sum(dropped.values())

    def tile_records(self, strip_id: str) -> Iterator[TileRecord]:
        """The finished tiles of a strip, in order of their index."""
        last = -1
        while True:
            with self._file.storing("read"):
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
        with self._file.transaction():
            self._run(FORGET_THUMBNAILS, (strip_id,))

    def body(self, entry_id: int) -> bytes:
        """The whole product.

        Raises:
            StoreError: it is not queued, or cannot be read.
        """
        with self._file.storing("read"):
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
        self._removing(self._file.emptying, lambda: self._remove([entry_id], "acknowledged"))

    def discard(self, entry_id: int) -> None:
        """The entry is damaged and leaves for good: it counts as evicted.

        Raises:
            StoreError: nothing changed; disk full, damaged, or no such entry.
        """
        self._removing(self._file.emptying, lambda: self._remove([entry_id], "evicted"))

    def counters(self) -> StoreCounters:
        """What ever came and went."""
        with self._file.storing("read"):
            values = dict(self._run("SELECT name, value FROM counter").fetchall())
        return StoreCounters(**{name: values[name] for name in StoreCounters.__slots__})

    def queued(self) -> tuple[int, int]:
        """Entries and bytes that are here: what came and neither went down nor out."""
        c = self.counters()
        return (
            c.accepted_entries - c.evicted_entries - c.acknowledged_entries,
            c.accepted_bytes - c.evicted_bytes - c.acknowledged_bytes,
        )

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

    def _removing(
        self, transaction: Callable[[], AbstractContextManager[None]], remove: Callable[[], dict[int, int]]
    ) -> dict[int, int]:
        """What ``remove`` took out has gone with its bodies, all in one ``transaction``; bytes by entry.

        A body whose pages are damaged keeps their room, and no entry here. SQLite lets no transaction
        go on that has met a damaged page (https://www.sqlite.org/rescode.html#corrupt), so there it
        is done again without the bodies, and they go one by one.
        """
        try:
            with transaction():
                removed = remove()
                for entry_id in removed:
                    self._run(_DELETE_BODY, (entry_id,))
            return removed
        except StoreError as error:
            if not is_damage(error):
                raise
        with transaction():
            removed = remove()
        for entry_id in removed:
            with suppress(StoreError), self._file.transaction():
                self._run(_DELETE_BODY, (entry_id,))
        return removed

    def _evict(self, entry_ids: Collection[int]) -> dict[int, int]:
        """Those that are here and not held have gone, but for their bodies."""
        held = self._held()
        there = [entry_id for entry_id in entry_ids if entry_id not in held and self._is_queued(entry_id)]
        return self._remove(there, "evicted")

    def _remove(self, entry_ids: Collection[int], fate: str) -> dict[int, int]:
        """They have gone, but for their bodies; the bytes of each."""
        removed = {}
        for entry_id in entry_ids:
            row = self._run("SELECT size_bytes FROM product WHERE entry_id = ?", (entry_id,)).fetchone()
            if row is None:
                raise StoreError(f"{self._path}: entry {entry_id} cannot be {fate}: it is not queued")
            self._run("DELETE FROM product WHERE entry_id = ?", (entry_id,))
            self._run("DELETE FROM hold WHERE entry_id = ?", (entry_id,))
            self._count(fate, row[0])
            removed[entry_id] = int(row[0])
        return removed

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
        return self._file.run(statement, values)
