"""The SQLite file of the product store: how it is opened and written, and what room it leaves the disk.

Who fills the disk writes only with ballast beside the file. Who empties it throws the ballast out
where the disk is full, and from then on gives the disk back what the file no longer needs, a step
at a time, until there is room for ballast again. Both happen under SQLite's lock of the writers,
so that neither takes from the other the room that it has found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from payload.drivers.ballast import Ballast
from payload.drivers.exclusive_sqlite import advice_on, atomic
from payload.drivers.store_rows import APPLICATION_ID, SCHEMA, SCHEMA_VERSION
from payload.errors import StoreError

_PAGE_BYTES = 65536  # a body of a megabyte is sixteen pages: half the time of pages of 8192
_CACHE_KIB = 1024
_LOG_BYTES = 16 << 20
_BALLAST_BYTES = 2 * _LOG_BYTES  # for what is in the log to go over into the file, and the log to go on
_STEP_PAGES = _LOG_BYTES // 4 // _PAGE_BYTES  # a step takes a part of the log, and of a turn of the service
_BUSY_TIMEOUT_S = 5.0


class StoreFile:
    """The file at ``path``, open."""

    def __init__(self, path: Path, read_only: bool, empties: bool) -> None:
        """Opens the file; makes it unless ``read_only``.

        Args:
            empties: who opens it takes products out, and needs room even on a full disk.

        Raises:
            StoreError: of another version, no store, or damaged.
        """
        self._path = path
        self._ballast = Ballast(path.with_name(f"{path.name}.ballast"), _BALLAST_BYTES)
        self._db: sqlite3.Connection | None = None
        if empties:
            self._ballast.drop_if_full()
        try:
            with self.storing("opened"):
                self._open(read_only)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing more can be read or written; a second call does nothing."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def make_room(self) -> None:
        """A full disk takes something again, as long as there is ballast to throw out."""
        self._ballast.drop_if_full()

    def run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement, inside `storing` or a transaction."""
        assert self._db is not None, "the store is closed"
        return self._db.execute(statement, values)

    @contextmanager
    def storing(self, done: str) -> Iterator[None]:
        """What SQLite says against it is a StoreError that says what could not be ``done``."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: of a damaged schema
            raise StoreError(f"{self._path}: cannot be {done}: {error}{advice_on(error)}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is run inside happens, or nothing of it."""
        assert self._db is not None, "the store is closed"
        with self.storing("written; nothing changed"), atomic(self._db):
            yield

    @contextmanager
    def filling(self) -> Iterator[None]:
        """A transaction of who fills the disk.

        Raises:
            StoreError: there is no room for ballast; nothing changed.
        """
        while not self._ballast.has_room() and self._give_back():
            pass
        with self.transaction():
            self._ballast.take()
            yield

    @contextmanager
    def emptying(self) -> Iterator[None]:
        """A transaction of who empties the disk."""
        with self.transaction():
            self._ballast.drop_if_full()
            yield
        if not self._ballast.is_there():
            self._give_back()

    def _give_back(self) -> bool:
        """Some of what the file no longer needs is the disk's again; False if nothing is.

        All of it where little is left in the file. Where somebody else is at work in it, or the disk
        is too full even for that, it stays as it is. A file that was made without auto_vacuum gives
        nothing until then; from then on it has it.
        """
        assert self._db is not None, "the store is closed"
        with suppress(sqlite3.Error):
            (pages,) = self.run("PRAGMA page_count").fetchone()
            free = self._free_pages()
            if free * _PAGE_BYTES > _LOG_BYTES >= (pages - free) * _PAGE_BYTES:
                self._db.executescript("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
            elif free:  # a script, because execute() ends after the first page
                self._db.executescript(f"PRAGMA incremental_vacuum({_STEP_PAGES}); PRAGMA wal_checkpoint")
            return self._free_pages() < free
        return False

    def _free_pages(self) -> int:
        (free,) = self.run("PRAGMA freelist_count").fetchone()
        return int(free)

    def _open(self, read_only: bool) -> None:
        if read_only and not self._path.exists():
            raise StoreError(f"{self._path}: there is no queue; `payload run` makes one")
        uri = f"{self._path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        self._db = sqlite3.connect(uri, timeout=_BUSY_TIMEOUT_S, isolation_level=None, uri=True)
        is_new = self._is_new()
        if read_only and is_new:
            raise StoreError(f"{self._path}: the queue is empty and not set up yet; `payload run` does it")
        if is_new:
            self.run(f"PRAGMA page_size = {_PAGE_BYTES}")
        self.run(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if not read_only:
            self.run("PRAGMA auto_vacuum = INCREMENTAL")  # of a file that is there: from its next VACUUM on
            self.run("PRAGMA journal_mode = WAL")
            self.run("PRAGMA synchronous = FULL")
            self.run("PRAGMA secure_delete = OFF")  # or all that leaves is written once more, as zeros
            self.run(f"PRAGMA wal_autocheckpoint = {_LOG_BYTES // _PAGE_BYTES}")
            self.run(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        if is_new:
            with self.transaction():
                for statement in SCHEMA:
                    self.run(statement)

    def _is_new(self) -> bool:
        """Whether the file holds nothing at all; what it holds must be ours."""
        (application_id,) = self.run("PRAGMA application_id").fetchone()
        (version,) = self.run("PRAGMA user_version").fetchone()
        (tables,) = self.run("SELECT count(*) FROM sqlite_master").fetchone()
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
