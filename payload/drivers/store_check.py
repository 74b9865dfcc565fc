"""Is the product store sound: SQLite looks at every page, beside whatever else is going on."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from payload.errors import StoreError


class StoreCheck:
    """One check after the other of the store at ``path``; each in a thread, with its own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread: threading.Thread | None = None
        self._found = ""

    def is_passed(self) -> bool:
        """True once a check has found nothing wrong; the first call of a check starts it.

        Raises:
            StoreError: the file is damaged; the next call starts anew.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._check, daemon=True)
            self._thread.start()
            return False
        if self._thread.is_alive():
            return False
        self._thread = None
        if self._found != "ok":
            raise StoreError(f"{self._path}: damaged: {self._found}; move it away")
        return True

    def _check(self) -> None:
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                self._found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            self._found = str(error)
