"""Files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_way(path: Path) -> None:
    """The folder of ``path`` is there, and no folder stands where the file is to be: asked before the work,
    not after it.

    Raises:
        OSError: that cannot be.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file")
    path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write to the name that this gives: once all is written, that is ``path``.

    What was there stays until then; where writing fails, nothing is left but that.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
