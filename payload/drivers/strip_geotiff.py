"""A strip in one GeoTIFF: 13 uint16 bands on one grid, averaged to the native grids.

Read by the file's own segments (strips or tiles of pixels), never as a whole. The bands are
in the order B01 .. B08, B8A, B09 .. B12. A ``.yaml`` file of the same name beside it may say
what the picture does not (`strip_header.Sidecar`).
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from payload.drivers.geokeys import TIFF_ERRORS, georeference_of
from payload.drivers.strip_header import read_sidecar, strip_of_pictures
from payload.drivers.strip_tiled import BandImage, TiledStrip
from payload.errors import StripError
from payload.types import U16, Band

_CONTIGUOUS = 1
_SAMPLE_BYTES = 2
_SIDE_MAX_PX = 100_000
_SEGMENT_BYTES = 128
"""Offset and length of a segment as Python numbers in two tuples."""


def open_geotiff(path: Path, scratch: Path) -> TiledStrip:
    """The strip in ``path``, read through a file in folder ``scratch``.

    Raises:
        StripError: not such a file; the message says what it is instead.
    """
    sidecar = read_sidecar(path.with_suffix(".yaml"))
    try:
        file = path.open("rb")
    except OSError as error:
        raise StripError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        page = tifffile.TiffFile(file).pages.first
        georeference, ground_sample_m = georeference_of(page)
        images = _images(path, file, page)
        first = images[0].image
        info = strip_of_pictures(
            sidecar,
            strip_id=path.stem,
            rows=first.rows,
            columns=first.columns,
            georeference=georeference,
            ground_sample_m=ground_sample_m,
        )
        return TiledStrip(info, images, is_native=False, scratch=scratch)
    except StripError:
        file.close()
        raise
    except TIFF_ERRORS as error:
        file.close()
        raise StripError(f"{path}: damaged TIFF ({error}): fetch the file again") from error


def _images(path: Path, file: BinaryIO, page: tifffile.TiffPage) -> list[BandImage]:
    """One image with all bands, or one per band, as the file keeps them."""
    bands = tuple(Band)
    if page.samplesperpixel != len(bands):
        raise StripError(
            f"{path}: {page.samplesperpixel} bands a pixel; a strip needs all 13: "
            f"{' '.join(band.value for band in bands)}"
        )
    if page.dtype != np.dtype(np.uint16):
        raise StripError(f"{path}: samples are {page.dtype}; a strip needs uint16")
    size = (page.imagelength, page.imagewidth)
    if not 0 < min(size) <= max(size) <= _SIDE_MAX_PX or page.imagedepth != 1:
        raise StripError(f"{path}: impossible size: {size[0]} x {size[1]} pixels: fetch the file again")
    if page.planarconfig == _CONTIGUOUS:
        return [BandImage(path.name, bands, TiffTiles(file, page, len(bands), 0))]
    return [
        BandImage(f"{band.value} ({path.name})", (band,), TiffTiles(file, page, 1, number))
        for number, band in enumerate(bands)
    ]


class TiffTiles:
    """A `TiledImage`: planes of a TIFF page that lie in the same segments."""

    def __init__(self, file: BinaryIO, page: tifffile.TiffPage, planes: int, plane: int) -> None:
        """``planes`` planes from number ``plane`` on, as many as a segment of ``page`` holds."""
        self.planes = planes
        self.rows, self.columns = int(page.imagelength), int(page.imagewidth)
        tile = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, self.columns)
        self.tile_rows, self.tile_columns = min(int(tile[0]), self.rows), min(int(tile[1]), self.columns)
        self._file = file
        self._page = page
        self._across = -(-self.columns // self.tile_columns)
        self._first = plane * self._across * -(-self.rows // self.tile_rows)
        segment_px = int(tile[0]) * int(tile[1]) if page.is_tiled else self.tile_rows * self.columns
        self._segment_bytes = planes * segment_px * _SAMPLE_BYTES

    @property
    def decode_bytes(self) -> int:
        """The coded segment, at worst as long as the decoded, two steps of decoding, the tile."""
        return 4 * self._segment_bytes + _SEGMENT_BYTES * len(self._page.dataoffsets)

    def decode(self, down: int, across: int) -> U16:
        """See `TiledImage.decode`. A segment that was never written is 0 and no fault."""
        rows = min(self.tile_rows, self.rows - down * self.tile_rows)
        columns = min(self.tile_columns, self.columns - across * self.tile_columns)
        index = self._first + down * self._across + across
        try:
            start, count = self._page.dataoffsets[index], self._page.databytecounts[index]
            if not count:
                return np.zeros((self.planes, rows, columns), np.uint16)
            coded = self._coded(start, count)
            segment = self._page.decode(coded, index)[0]
        except TIFF_ERRORS as error:
            raise StripError(f"does not decode ({error})") from error
        if segment is None or segment.ndim != 4 or segment.shape[3] != self.planes:
            raise StripError("decodes to something else than pixels")
        tile = np.moveaxis(segment[0, :rows, :columns], 2, 0)
        if tile.shape != (self.planes, rows, columns) or tile.dtype != np.dtype(np.uint16):
            raise StripError(f"decodes to {tile.dtype} {tile.shape}")
        nodata = self._page.nodata
        return np.where(tile == nodata, np.uint16(0), tile) if nodata else tile

    def close(self) -> None:
        self._file.close()

    def _coded(self, start: int, count: int) -> bytes:
        """The bytes of a segment; no more than a segment can have, whatever the file says."""
        if count > 2 * self._segment_bytes + 1024:
            raise ValueError(f"{count} bytes for {self._segment_bytes} bytes of pixels")
        self._file.seek(start)
        coded = self._file.read(count)
        if len(coded) != count:
            raise ValueError("cut off: the file ends in it")
        return coded
