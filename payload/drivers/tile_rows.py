"""Rows of a tiled image, every tile decoded exactly once.

A row of tiles of all bands of a Sentinel-2 product is 134 MB decoded, more than a whole
memory budget. So a decoded tile goes to a scratch file at once and rows are read back from
there::

    tiled image --decode--> one tile --pwrite--> scratch: one row of tiles --pread--> rows

Rules:
    every tile whose rows are read is decoded once, and no other
    at most one row of tiles per image lies in the scratch file
    a tile that does not decode is 0 and named once
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from payload.errors import StripError
from payload.types import U16, Window

_SAMPLE_BYTES = 2


class TiledImage(Protocol):
    """One or more planes of the same size, cut into the same tiles, row of tiles by row."""

    @property
    def planes(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def columns(self) -> int: ...

    @property
    def tile_rows(self) -> int: ...

    @property
    def tile_columns(self) -> int: ...

    @property
    def decode_bytes(self) -> int:
        """Most memory that `decode` takes, the tile it returns included."""
        ...

    def decode(self, down: int, across: int) -> U16:
        """Tile number ``down`` from the top and ``across`` from the left.

        Returns:
            uint16 (plane, row, col), cut to the image.

        Raises:
            StripError: the tile is damaged or missing.
        """
        ...

    def close(self) -> None: ...


class Scratch:
    """An unlinked file of fixed size; gone when it is closed, also after a power cut."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        """Takes the whole room at once, so that a full disk shows before the first row.

        Raises:
            StripError: no such folder, or not enough room.
        """
        self.size_bytes = size_bytes
        self._descriptor = -1
        try:
            self._descriptor, name = tempfile.mkstemp(dir=folder, prefix="strip-")
            Path(name).unlink()
            os.posix_fallocate(self._descriptor, 0, max(size_bytes, 1))
        except OSError as error:
            self.close()
            raise StripError(
                f"scratch folder {folder}: {error.strerror}; reading this strip needs {size_bytes} bytes "
                "there: make room, or name another folder"
            ) from error

    def write(self, tile: U16, offset: int) -> None:
        """Puts ``tile`` at ``offset``.

        Raises:
            StripError: the disk does not take it.
        """
        left = np.ascontiguousarray(tile).data.cast("B")
        try:
            while left:
                written = os.pwrite(self._descriptor, left, offset)
                left, offset = left[written:], offset + written
        except OSError as error:
            raise StripError(f"scratch file: {error.strerror}: check the disk") from error

    def read(self, out: U16, offset: int) -> None:
        """Fills ``out`` (contiguous) from ``offset``.

        Raises:
            StripError: the disk does not give it back.
        """
        left = out.data.cast("B")
        try:
            while left:
                count = os.preadv(self._descriptor, [left], offset)
                if not count:
                    raise StripError("scratch file: cut short: check the disk")
                left, offset = left[count:], offset + count
        except OSError as error:
            raise StripError(f"scratch file: {error.strerror}: check the disk") from error

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def row_of_tiles_bytes(image: TiledImage) -> int:
    """What one row of decoded tiles takes in the scratch file."""
    return image.planes * min(image.tile_rows, image.rows) * image.columns * _SAMPLE_BYTES


class TileRows:
    """Consecutive rows of one tiled image."""

    def __init__(self, image: TiledImage, name: str, scratch: Scratch, offset: int) -> None:
        """Reads ``image`` through `row_of_tiles_bytes` at ``offset`` of ``scratch``.

        ``name`` says in faults which image it is.
        """
        self._image = image
        self._name = name
        self._scratch = scratch
        self._offset = offset
        self._staged: int | None = None
        self._lost: set[int] = set()
        self.lost_parts: list[Window] = []
        """What the last `read` left 0 because its tile is damaged, in pixels of the image."""

    def read(self, row: int, out: U16) -> list[str]:
        """Fills ``out``, uint16 (plane, rows, columns), from ``row`` on; rows only ever grow.

        Returns:
            One sentence for each damaged tile met for the first time.
        """
        faults: list[str] = []
        self.lost_parts.clear()
        tile_rows, start, end = self._image.tile_rows, row, row + out.shape[1]
        while row < end:
            down = row // tile_rows
            top, bottom = down * tile_rows, min((down + 1) * tile_rows, self._image.rows)
            stop = min(end, bottom)
            part = out[:, row - start : stop - start]
            if row == top and stop == bottom:
                self._decode(down, part, faults)
            else:
                if self._staged != down:
                    self._stage(down, faults)
                self._copy(down, row - top, part)
            row = stop
        return faults

    def _decode(self, down: int, out: U16, faults: list[str]) -> None:
        """A whole row of tiles goes straight to ``out``."""
        for across, left, right in self._columns():
            tile = self._tile(down, across, faults)
            if tile is None:
                self._leave_out(down * self._image.tile_rows, left, right, out)
            else:
                out[:, :, left:right] = tile

    def _stage(self, down: int, faults: list[str]) -> None:
        """Decodes a row of tiles into the scratch file, one after the other."""
        self._lost.clear()
        for across, left, _ in self._columns():
            tile = self._tile(down, across, faults)
            if tile is None:
                self._lost.add(across)
            else:
                self._scratch.write(tile, self._tile_offset(down, left))
        self._staged = down

    def _copy(self, down: int, skipped: int, out: U16) -> None:
        """Rows of the staged tiles, the first ``skipped`` left out, go to ``out``."""
        planes, rows, _ = out.shape
        height = self._height(down)
        buffer = np.empty(rows * min(self._image.tile_columns, self._image.columns), np.uint16)
        for across, left, right in self._columns():
            if across in self._lost:
                self._leave_out(down * self._image.tile_rows + skipped, left, right, out)
                continue
            width = right - left
            piece = buffer[: rows * width]
            for plane in range(planes):
                pixel = (plane * height + skipped) * width
                self._scratch.read(piece, self._tile_offset(down, left) + pixel * _SAMPLE_BYTES)
                out[plane, :, left:right] = piece.reshape(rows, width)

    def _leave_out(self, row: int, left: int, right: int, out: U16) -> None:
        out[:, :, left:right] = 0
        self.lost_parts.append(Window(row, left, out.shape[1], right - left))

    def _tile(self, down: int, across: int, faults: list[str]) -> U16 | None:
        try:
            return self._image.decode(down, across)
        except StripError as error:
            top, left = down * self._image.tile_rows, across * self._image.tile_columns
            faults.append(
                f"{self._name}: tile at row {top}, column {left} ({self._height(down)} rows) is 0: {error}"
            )
            return None

    def _columns(self) -> Iterator[tuple[int, int, int]]:
        """Number, first column and end column of each tile of a row of tiles."""
        width, columns = self._image.tile_columns, self._image.columns
        for across in range(-(-columns // width)):
            yield across, across * width, min((across + 1) * width, columns)

    def _height(self, down: int) -> int:
        return min(self._image.tile_rows, self._image.rows - down * self._image.tile_rows)

    def _tile_offset(self, down: int, left: int) -> int:
        """Tiles lie one behind the other in the scratch file, each (plane, row, col)."""
        return self._offset + self._image.planes * self._height(down) * left * _SAMPLE_BYTES
