"""The journal of file transfers: one SQLite file that survives a power cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from payload.drivers.exclusive_sqlite import ExclusiveSqlite
from payload.ports import CLOSED_TRANSFERS_MAX

APPLICATION_ID = 0x534B5943  # "SKYC", in the file's header

Key = tuple[int, int]

_KEY = "source INTEGER NOT NULL, sequence INTEGER NOT NULL"
_SCHEMA = (
    f"CREATE TABLE opened ({_KEY}, snapshot TEXT NOT NULL, PRIMARY KEY (source, sequence))",
    f"CREATE TABLE closed (number INTEGER PRIMARY KEY, {_KEY}, condition INTEGER NOT NULL)",
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "INSERT INTO counter VALUES ('next_sequence', 1)",
)


class SqliteTransferJournal:
    """Implements `transfers.TransferJournal`; one process has it at a time."""

    def __init__(self, path: Path) -> None:
        """Opens the file at ``path``, and makes it if it is not there.

        Raises:
            StoreError: another process has it, or it is damaged or something else.
        """
        self._file = ExclusiveSqlite(
            path,
            APPLICATION_ID,
            _SCHEMA,
            "is another station or payload running here?",
            "an SQLite file, but no journal of transfers; use another folder",
        )

    def load(self) -> tuple[list[str], dict[Key, int], int]:
        """The open transfers, the latest closed ones, the next sequence number."""
        with self._file.storing("read"):
            texts = [text for (text,) in self._file.db.execute("SELECT snapshot FROM opened")]
            rows = self._file.db.execute("SELECT source, sequence, condition FROM closed ORDER BY number")
            closed = {(source, sequence): condition for source, sequence, condition in rows}
            (next_sequence,) = self._file.db.execute("SELECT value FROM counter").fetchone()
        return texts, closed, next_sequence

    def commit(self, opened: Mapping[Key, str], closed: Mapping[Key, int], next_sequence: int) -> None:
        """All of this is on the disk, or nothing."""
        with self._file.transaction():
            self._write(opened, closed, next_sequence)

    def _write(self, opened: Mapping[Key, str], closed: Mapping[Key, int], next_sequence: int) -> None:
        run = self._file.db.executemany
        run("INSERT OR REPLACE INTO opened VALUES (?, ?, ?)", [(*key, text) for key, text in opened.items()])
        run("DELETE FROM opened WHERE source = ? AND sequence = ?", list(closed))
        run(
            "INSERT INTO closed (source, sequence, condition) VALUES (?, ?, ?)",
            [(*key, condition) for key, condition in closed.items()],
        )
        if closed:
            self._file.db.execute(
                "DELETE FROM closed WHERE number <= (SELECT max(number) FROM closed) - ?",
                (CLOSED_TRANSFERS_MAX,),
            )
        self._file.db.execute("UPDATE counter SET value = max(value, ?)", (next_sequence,))

    def close(self) -> None:
        """Nothing more can be remembered."""
        self._file.close()
