"""The journal of file transfers: one SQLite file that survives a power cut."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from payload.errors import StoreError

APPLICATION_ID = 0x534B5943  # "SKYC", in the file's header
CLOSED_MAX = 4096
_CACHE_KIB = 128

Key = tuple[int, int]


class SqliteTransferJournal:
    """Implements `transfers.TransferJournal`; one process has it at a time."""

    def __init__(self, path: Path) -> None:
        """Opens the file at ``path``, and makes it if it is not there.

        Raises:
            StoreError: another process has it, or it is damaged or something else.
        """
        self._path = path
        with self._storing("opened; is another station or payload running here?"):
            self._db = sqlite3.connect(path, timeout=0.0, isolation_level=None)
            for pragma in (
                f"cache_size = -{_CACHE_KIB}",
                "locking_mode = EXCLUSIVE",
                "journal_mode = WAL",
                "synchronous = FULL",
            ):
                self._db.execute(f"PRAGMA {pragma}")
            self._begin()

    def _begin(self) -> None:
        (application_id,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application_id, tables) != (0, 0) and application_id != APPLICATION_ID:
            raise StoreError(f"{self._path}: an SQLite file, but no journal of transfers; use another folder")
        if tables:  # nothing is written where nothing must be: the disk may be full
            return
        self._db.execute("BEGIN IMMEDIATE")
        key = "source INTEGER NOT NULL, sequence INTEGER NOT NULL"
        for table in (
            f"opened ({key}, snapshot TEXT NOT NULL, PRIMARY KEY (source, sequence))",
            f"closed (number INTEGER PRIMARY KEY, {key}, condition INTEGER NOT NULL)",
            "counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
        ):
            self._db.execute(f"CREATE TABLE {table}")
        self._db.execute("INSERT INTO counter VALUES ('next_sequence', 1)")
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute("COMMIT")

    def load(self) -> tuple[list[str], dict[Key, int], int]:
        """The open transfers, the latest closed ones, the next sequence number."""
        with self._storing("read"):
            texts = [text for (text,) in self._db.execute("SELECT snapshot FROM opened")]
            rows = self._db.execute("SELECT source, sequence, condition FROM closed ORDER BY number")
            closed = {(source, sequence): condition for source, sequence, condition in rows}
            (next_sequence,) = self._db.execute("SELECT value FROM counter").fetchone()
        return texts, closed, next_sequence

    def commit(self, opened: Mapping[Key, str], closed: Mapping[Key, int], next_sequence: int) -> None:
        """All of this is on the disk, or nothing."""
        with self._storing("written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._write(opened, closed, next_sequence)
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself
                    self._db.execute("ROLLBACK")
                raise

    def _write(self, opened: Mapping[Key, str], closed: Mapping[Key, int], next_sequence: int) -> None:
        run = self._db.executemany
        run("INSERT OR REPLACE INTO opened VALUES (?, ?, ?)", [(*key, text) for key, text in opened.items()])
        run("DELETE FROM opened WHERE source = ? AND sequence = ?", list(closed))
        run(
            "INSERT INTO closed (source, sequence, condition) VALUES (?, ?, ?)",
            [(*key, condition) for key, condition in closed.items()],
        )
        if closed:
            self._db.execute(
                "DELETE FROM closed WHERE number <= (SELECT max(number) FROM closed) - ?", (CLOSED_MAX,)
            )
        self._db.execute("UPDATE counter SET value = max(value, ?)", (next_sequence,))

    def close(self) -> None:
        """Nothing more can be remembered."""
        self._db.close()

    @contextmanager
    def _storing(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}; cannot be {done}") from error
