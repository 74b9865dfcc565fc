"""What the C library keeps although nobody holds it."""

from __future__ import annotations

import ctypes


def give_back_freed_memory() -> None:
    """Compiling leaves tens of MiB free inside the C heap; the plan counts on having them."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:  # a C library other than glibc has no such call and no such habit
        return
