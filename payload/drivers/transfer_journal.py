"""The journal of file transfers: one SQLite file that survives a power cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from payload.drivers.exclusive_sqlite import ExclusiveSqlite
from payload.errors import StoreError
from payload.transfer_ports import CLOSED_TRANSFERS_MAX, ClosedTransfer, Key

APPLICATION_ID = 0x534B5943  # "SKYC", in the file's header
SCHEMA_VERSION = 2

_KEY = "source INTEGER NOT NULL, sequence INTEGER NOT NULL"
_SCHEMA = (
    f"CREATE TABLE opened ({_KEY}, snapshot TEXT NOT NULL, PRIMARY KEY (source, sequence))",
    f"CREATE TABLE closed (number INTEGER PRIMARY KEY, {_KEY}, condition INTEGER NOT NULL, "
    "checksum INTEGER, size_bytes INTEGER)",
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class SqliteTransferJournal:
    """Implements `transfer_ports.TransferJournal`; one process has it at a time."""

    def __init__(self, path: Path, first_sequence: int) -> None:
        """Opens the file at ``path``, and makes it if it is not there.

        Args:
            first_sequence: the next sequence number of a journal that is made; one that a journal
                lost before this one has not used.

        Raises:
            StoreError: another process has it, or it is damaged, of another version or something else.
        """
        self._file = ExclusiveSqlite(
            path,
            APPLICATION_ID,
            (*_SCHEMA, f"INSERT INTO counter VALUES ('next_sequence', {first_sequence:d})"),
            "is another station or payload running here?",
            "an SQLite file, but no journal of transfers; use another folder",
        )
        with self._file.storing("read"):
            (version,) = self._file.db.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            self._file.close()
            raise StoreError(
                f"{path}: a journal of transfers of another version; let the program that made it finish "
                "them, then move it away"
            )

    def load(self) -> tuple[list[str], dict[Key, ClosedTransfer], int]:
        """The open transfers, the latest closed ones, the next sequence number."""
        with self._file.storing("read"):
            texts = [text for (text,) in self._file.db.execute("SELECT snapshot FROM opened")]
            rows = self._file.db.execute(
                "SELECT source, sequence, condition, checksum, size_bytes FROM closed ORDER BY number"
            )
            closed = {
                (source, sequence): ClosedTransfer(condition, None if size is None else (checksum, size))
                for source, sequence, condition, checksum, size in rows
            }
            (next_sequence,) = self._file.db.execute("SELECT value FROM counter").fetchone()
        return texts, closed, next_sequence

    def commit(
        self, opened: Mapping[Key, str], closed: Mapping[Key, ClosedTransfer | None], next_sequence: int
    ) -> None:
        """All of this is on the disk, or nothing."""
        with self._file.transaction():
            self._write(opened, closed, next_sequence)

    def _write(
        self, opened: Mapping[Key, str], closed: Mapping[Key, ClosedTransfer | None], next_sequence: int
    ) -> None:
        run = self._file.db.executemany
        run("INSERT OR REPLACE INTO opened VALUES (?, ?, ?)", [(*key, text) for key, text in opened.items()])
        run("DELETE FROM opened WHERE source = ? AND sequence = ?", list(closed))
        rows = [(*key, one.condition, *(one.eof or (None, None))) for key, one in closed.items() if one]
        run(
            "INSERT INTO closed (source, sequence, condition, checksum, size_bytes) VALUES (?, ?, ?, ?, ?)",
            rows,
        )
        if rows:
            self._file.db.execute(
                "DELETE FROM closed WHERE number <= (SELECT max(number) FROM closed) - ?",
                (CLOSED_TRANSFERS_MAX,),
            )
        self._file.db.execute("UPDATE counter SET value = max(value, ?)", (next_sequence,))

    def close(self) -> None:
        """Nothing more can be remembered."""
        self._file.close()
