"""A small SQLite file that survives a power cut and that one process has at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from payload.errors import StoreError

_CACHE_KIB = 128


@contextmanager
def atomic(db: sqlite3.Connection) -> Iterator[None]:
    """All that is run inside happens, or nothing of it; what SQLite says against it is raised."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself
            db.execute("ROLLBACK")
        raise


def is_damage(error: Exception) -> bool:
    """Whether SQLite met a page that cannot be right, by its words for SQLITE_CORRUPT."""
    return "malformed" in str(error)


def advice_on(error: Exception) -> str:
    """What to do, by the words that SQLite has for its result codes."""
    words = str(error)
    if "full" in words or "disk I/O" in words:
        return "; what was queued is still there: free some disk space and run again"
    if "not a database" in words or "malformed" in words or "decode" in words:
        return "; the file is damaged or no queue: move it away or use another --out"
    return ""


class ExclusiveSqlite:
    """The file, opened; ``db`` runs statements inside `storing`."""

    def __init__(
        self, path: Path, application_id: int, schema: Sequence[str], taken: str, foreign: str
    ) -> None:
        """Opens the file at ``path``, and makes it with the statements of ``schema`` if it is not there.

        Args:
            taken: asks who else may have it, where it cannot be opened.
            foreign: what it is not, and what to do, where it is something else.

        Raises:
            StoreError: another process has it, or it is damaged or something else.
        """
        self._path = path
        with self.storing(f"opened; {taken}"):
            self.db = sqlite3.connect(path, timeout=0.0, isolation_level=None)
            self.db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self.db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = FULL")
            self._begin(application_id, schema, foreign)

    def _begin(self, application_id: int, schema: Sequence[str], foreign: str) -> None:
        (found,) = self.db.execute("PRAGMA application_id").fetchone()
        (tables,) = self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (found, tables) != (0, 0) and found != application_id:
            raise StoreError(f"{self._path}: {foreign}")
        if tables:  # nothing is written where nothing must be: the disk may be full
            return
        with atomic(self.db):
            for statement in schema:
                self.db.execute(statement)
            self.db.execute(f"PRAGMA application_id = {application_id}")

    @contextmanager
    def storing(self, done: str) -> Iterator[None]:
        """What SQLite says against it is a StoreError that says what could not be ``done``."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}; cannot be {done}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is run inside is on the disk, or nothing of it."""
        with self.storing("written"), atomic(self.db):
            yield

    def close(self) -> None:
        """The file is free for another."""
        self.db.close()
