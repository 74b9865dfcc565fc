"""The contact plan as a file that may be replaced while the service runs."""

from __future__ import annotations

import stat
from pathlib import Path

from payload.config.contact_plan import load_contact_plan
from payload.errors import ConfigError
from payload.types import Contact


class PlanFile:
    """Looks whether the plan has changed."""

    def __init__(self, path: Path | None) -> None:
        """``path`` is None where there is no plan, and so never a contact."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> tuple[Contact, ...] | None:
        """The plan, if it is another than at the last call; no file is a plan without contacts.

        Raises:
            ConfigError: it is another and cannot be used; said once for each that was seen.
        """
        if self._path is None:
            return None
        try:
            found = self._path.stat()
            is_file = stat.S_ISREG(found.st_mode)
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            is_file, seen = False, (0, 0, 0)
        if seen == self._seen:
            return None
        self._seen = seen
        if any(seen) and not is_file:  # to open a FIFO is to wait for its writer
            raise ConfigError(f"{self._path}: not a file; put a contact plan there")
        return load_contact_plan(self._path) if is_file else ()
