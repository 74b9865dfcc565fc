"""What the service still knows after a power cut: names and values in one small SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from payload.errors import StoreError
from payload.ports import FlightMemory

APPLICATION_ID = 0x534B594D  # "SKYM", in the file's header
_CACHE_KIB = 128
_LARGE = "#"
"""Starts the text of a whole number of more than SQLite's 63 bits."""


class SqliteFlightMemory(FlightMemory):
    """Implements `ports.FlightMemory`; one process has it at a time."""

    def __init__(self, path: Path) -> None:
        """Opens the file at ``path``, and makes it if it is not there.

        Raises:
            StoreError: another service has it, or it is damaged or something else.
        """
        self._path = path
        with self._storing("opened; is another payload flying here?"):
            self._db = sqlite3.connect(path, timeout=0.0, isolation_level=None)
            self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._begin()

    def _begin(self) -> None:
        (application_id,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application_id, tables) != (0, 0) and application_id != APPLICATION_ID:
            raise StoreError(f"{self._path}: not what the service remembers; use another service.state")
        if tables:  # nothing is written where nothing must be: the disk may be full
            return
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("CREATE TABLE fact (name TEXT PRIMARY KEY, value NOT NULL)")
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute("COMMIT")

    def get(self, name: str) -> int | float | str | None:
        """What is under ``name``."""
        with self._storing("read"):
            row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        value: int | float | str = row[0]
        return int(value[1:]) if isinstance(value, str) and value.startswith(_LARGE) else value

    def put(self, name: str, value: int | float | str) -> None:
        """``value`` is under ``name``, on the disk."""
        self.put_all({name: value})

    def put_all(self, values: Mapping[str, int | float | str]) -> None:
        """Each value is under its name, on the disk: all or nothing."""
        rows = [(name, _stored(value)) for name, value in values.items()]
        with self._storing("written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", rows)
                self._db.execute("COMMIT")
            except sqlite3.Error:
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself
                    self._db.execute("ROLLBACK")
                raise

    def drop(self, name: str) -> None:
        """Nothing is under ``name``."""
        with self._storing("written"):
            self._db.execute("DELETE FROM fact WHERE name = ?", (name,))

    def names(self, prefix: str) -> list[str]:
        """All names that start with ``prefix``."""
        with self._storing("read"):
            rows = self._db.execute(
                "SELECT name FROM fact WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
            ).fetchall()
        return [name for (name,) in rows]

    def close(self) -> None:
        """Nothing more can be remembered."""
        self._db.close()

    @contextmanager
    def _storing(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}; cannot be {done}") from error


def _stored(value: int | float | str) -> int | float | str:
    assert not (isinstance(value, str) and value.startswith(_LARGE)), value
    return f"{_LARGE}{value}" if isinstance(value, int) and value >= 1 << 63 else value
