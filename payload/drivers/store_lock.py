"""Who may do what with a product store at a time."""

from __future__ import annotations

import fcntl
import os
from enum import Enum, unique
from pathlib import Path

from payload.errors import StoreError


@unique
class Role(Enum):
    """What a process does with the store; the value names its lock file."""

    MAKER = "maker"
    SENDER = "sender"


BOTH = (Role.MAKER, Role.SENDER)


def lock_store(path: Path, role: Role) -> int:
    """Keeps others of the role out until it is closed, be it by the kernel after a kill.

    On a file of its own: closing any descriptor of the database would drop SQLite's locks.
    """
    try:
        lock = os.open(f"{path}.{role.value}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be opened: {error.strerror}; is --out a writable folder?"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreError(
            f"{path}: another payload run, contact or fly is using it (as {role.value}); wait for it to "
            "end, or use another --out"
        ) from error
    return lock
