"""What the service still knows after a power cut: names and values in one small SQLite file.

Where the disk takes nothing, whoever keeps room is asked to make some, once for each write: the ground
must be able to command a payload whose disk is full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from payload.drivers.exclusive_sqlite import ExclusiveSqlite
from payload.errors import StoreError
from payload.ports import FlightMemory

APPLICATION_ID = 0x534B594D  # "SKYM", in the file's header
_LARGE = "#"
"""Starts the text of a whole number of more than SQLite's 63 bits, and a text that starts so itself."""


class SqliteFlightMemory(FlightMemory):
    """Implements `ports.FlightMemory`; one process has it at a time."""

    def __init__(self, path: Path, make_room: Callable[[], None] = lambda: None) -> None:
        """Opens the file at ``path``, and makes it if it is not there.

        Args:
            make_room: frees what can be freed of a full disk.

        Raises:
            StoreError: another service has it, or it is damaged or something else.
        """
        self._file = ExclusiveSqlite(
            path,
            APPLICATION_ID,
            ("CREATE TABLE fact (name TEXT PRIMARY KEY, value NOT NULL)",),
            "is another payload flying here?",
            "not what the service remembers; use another service.state",
        )
        self._make_room = make_room

    def get(self, name: str) -> int | float | str | None:
        """What is under ``name``."""
        with self._file.storing("read"):
            row = self._file.db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        value: int | float | str = row[0]
        if not isinstance(value, str) or not value.startswith(_LARGE):
            return value
        text = value.removeprefix(_LARGE)
        return text if text.startswith(_LARGE) else int(text)

    def put(self, name: str, value: int | float | str) -> None:
        """``value`` is under ``name``, on the disk."""
        self.put_all({name: value})

    def put_all(self, values: Mapping[str, int | float | str | None]) -> None:
        """Each value is under its name, and nothing for None, on the disk: all or nothing."""
        try:
            self._put_all(values)
        except StoreError:
            self._make_room()
            self._put_all(values)

    def _put_all(self, values: Mapping[str, int | float | str | None]) -> None:
        rows = [(name, _stored(value)) for name, value in values.items() if value is not None]
        gone = [(name,) for name, value in values.items() if value is None]
        with self._file.transaction():
            self._file.db.executemany("DELETE FROM fact WHERE name = ?", gone)
            self._file.db.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", rows)

    def drop(self, name: str) -> None:
        """Nothing is under ``name``."""
        self.put_all({name: None})

    def names(self, prefix: str) -> list[str]:
        """All names that start with ``prefix``."""
        with self._file.storing("read"):
            rows = self._file.db.execute(
                "SELECT name FROM fact WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
            ).fetchall()
        return [name for (name,) in rows]

    def close(self) -> None:
        """Nothing more can be remembered."""
        self._file.close()


def _stored(value: int | float | str) -> int | float | str:
    if isinstance(value, str):
        is_marked = value.startswith(_LARGE)
    else:
        is_marked = isinstance(value, int) and value >= 1 << 63
    return f"{_LARGE}{value}" if is_marked else value
