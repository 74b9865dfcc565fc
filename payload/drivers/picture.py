"""Pictures as PNG files."""

from __future__ import annotations

import os
from pathlib import Path

import imagecodecs

from payload.errors import StoreError
from payload.types import U8

_LEVEL = 2
"""Of zlib: half the time of its own choice, for 4 % more bytes."""


def write_png(path: Path, picture: U8) -> None:
    """``picture``, uint8 (row, col, 3), is in ``path``, on the disk: whole, or not at all.

    Raises:
        StoreError: the disk refuses it.
    """
    partial = path.with_suffix(".part")
    try:
        with partial.open("wb") as file:
            file.write(imagecodecs.png_encode(picture, level=_LEVEL))
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot write the picture: {error.strerror}") from error
