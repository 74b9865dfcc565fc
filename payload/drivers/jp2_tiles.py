"""One JPEG 2000 image, decoded tile by tile.

OpenJPEG decodes whole images only through imagecodecs, which would take 834 MB for one 10 m
band. So the file is indexed here and a codestream of a single tile is put together::

    boxes -> SOC SIZ COD QCD .. | SOT tile 0 | SOT tile 1 | .. | EOC       (the file)
             SOC SIZ'COD QCD ..              | SOT'tile 0      | EOC       (one tile)

where SIZ' describes an image that is just that tile, at its place on the same grid (so that
the wavelet's phase and the code-blocks stay the same), and SOT' says tile 0. Marker segments
are those of ITU-T T.800 annex A, boxes those of annex I.

Rules:
    a main header that does not hold together, or asks for what Sentinel-2's never do, is refused at opening
    the decoder is never asked for more pixels than one tile of the opened image has
    a tile-part with a wrong length costs nothing: the next one is found by its marker
    a tile that is missing, cut off, does not decode or decodes to another shape is damaged
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from payload.errors import StripError
from payload.types import U16

SIDE_MAX_PX = 100_000
TILE_MAX_PX = 1 << 27
"""A 10 m band of Sentinel-2 as one tile has 2 ** 26.8; anything above is damage."""

DECODED_BYTES_PER_PX = 12
"""OpenJPEG 2.5 per pixel of the tile, measured: samples as int32 twice, the uint16 result, and
its bookkeeping; the codestream itself (at most 2 bytes a pixel) comes on top."""

_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_GEOJP2_UUID = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
_GEOJP2_MAX_BYTES = 65536
_BOXES_MAX = 256
_SEGMENTS_MAX = 256
_LAYERS_MAX = 100
_LEVELS_MAX = 32
_PX_PER_PRECINCT = 64
_PRECINCTS_FREE = 4096
"""A tile may have one precinct for so many pixels, and so many for nothing: the decoder keeps
some 300 bytes for each, which smaller ones would make more than the samples take."""

_SOC, _SOD, _EOC = b"\xff\x4f", b"\xff\x93", b"\xff\xd9"
_SOT = b"\xff\x90\x00\x0a"
_SOT_BYTES = 12
_SIZ, _COD, _QCD, _SOT_CODE = 0xFF51, 0xFF52, 0xFF5C, 0xFF90
_SIZ_BYTES = 43  # of an image with one component
_COD_BYTES_MIN = 14
_UNNEEDED = {0xFF55, 0xFF57, 0xFF58, 0xFF63, 0xFF64}
"""TLM, PLM, PLT, CRG, COM: lengths and remarks, left out of what the decoder is given. Whatever
else is not SIZ, COD or QCD (progressions, regions, packed headers, coding of a single tile or
component) no Sentinel-2 image has, and the decoder's memory and time would follow it."""

_SCAN_BYTES = 1 << 20


@dataclass(slots=True)
class _Parts:
    """The tile-parts of one tile: (first byte, end byte) each, and what is wrong with them."""

    spans: list[tuple[int, int]]
    expected: int
    fault: str


class Jp2Tiles:
    """A `TiledImage` with one plane."""

    planes = 1

    def __init__(self, path: Path) -> None:
        """Indexes ``path`` without decoding anything.

        Raises:
            StripError: not a readable JPEG 2000 image of one unsigned or signed plane of at
                most 16 bits.
        """
        self._path = path
        self.geojp2 = b""
        """Content of the GeoJP2 box (a small GeoTIFF), empty if there is none."""
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StripError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            self._file_end = os.fstat(self._descriptor).st_size
            start, self._end = self._find_codestream()
            self._segments = b""
            first_part = self._read_main_header(start)
            self._parts = self._index(first_part)
        except StripError:
            self.close()
            raise

    @property
    def decode_bytes(self) -> int:
        tile_px: int = self.tile_rows * self.tile_columns
        longest = max(sum(end - start for start, end in parts.spans) for parts in self._parts.values())
        return DECODED_BYTES_PER_PX * tile_px + 2 * longest

    def decode(self, down: int, across: int) -> U16:
        """Tile ``down``, ``across``: uint16 (1, row, col). Negative samples become 0.

        Raises:
            StripError: the tile is damaged.
        """
        across_count = -(-self.columns // self.tile_columns)
        top, left = down * self.tile_rows, across * self.tile_columns
        bottom, right = min(top + self.tile_rows, self.rows), min(left + self.tile_columns, self.columns)
        stream = self._stream_of(down * across_count + across, (left, top, right, bottom))
        try:
            tile = imagecodecs.jpeg2k_decode(stream, numthreads=1)
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise StripError(f"does not decode ({_first_line(error)})") from error
        if (
            tile.shape != (bottom - top, right - left)
            or tile.dtype.kind not in "ui"
            or tile.dtype.itemsize > 2
        ):
            raise StripError(f"decodes to {tile.dtype} {tile.shape}")
        if tile.dtype.kind == "i":
            np.maximum(tile, 0, out=tile)
        counts: U16 = tile.astype(np.uint16, copy=False)[np.newaxis]
        return counts

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _refuse(self, what: str) -> StripError:
        return StripError(f"{self._path}: {what}: fetch or write the file again")

    def _pread(self, start: int, count: int) -> bytes:
        try:
            return os.pread(self._descriptor, count, start)
        except OSError as error:
            raise StripError(f"{self._path}: cannot be read: {error.strerror}") from error

    def _find_codestream(self) -> tuple[int, int]:
        """First and end byte of the codestream; keeps the GeoJP2 box on the way."""
        opening = self._pread(0, len(_SIGNATURE))
        if opening[:4] == _SOC + b"\xff\x51":
            return 0, self._file_end
        if opening != _SIGNATURE:
            raise self._refuse(f"not JPEG 2000 ({self._file_end} bytes, starting {opening[:8]!r})")
        for kind, start, end in self._boxes():
            if kind == b"jp2c":
                return start, end
            if kind == b"uuid" and self._pread(start, 16) == _GEOJP2_UUID:
                self.geojp2 = self._pread(start + 16, min(end - start - 16, _GEOJP2_MAX_BYTES))
        raise self._refuse("holds no codestream")

    def _boxes(self) -> Iterator[tuple[bytes, int, int]]:
        """Type, first byte and end byte of the content of each box of the file."""
        start = 0
        for _ in range(_BOXES_MAX):
            header = self._pread(start, 16)
            if len(header) < 8:
                return
            size, kind = struct.unpack_from(">I4s", header)
            header_bytes = 8
            if size == 1 and len(header) == 16:
                (size,) = struct.unpack_from(">Q", header, 8)
                header_bytes = 16
            end = start + size if size else self._file_end
            if end < start + header_bytes:
                raise self._refuse(f"damaged box at byte {start}")
            yield kind, start + header_bytes, min(end, self._file_end)
            start = end

    def _read_main_header(self, start: int) -> int:
        """Keeps what every tile needs; returns where the first tile-part starts."""
        if self._pread(start, 2) != _SOC:
            raise self._refuse("the codestream does not start where its box says")
        position = start + 2
        codes: list[int] = []
        for _ in range(_SEGMENTS_MAX):
            header = self._pread(position, 4)
            if len(header) < 4:
                raise self._refuse("cut off in its main header")
            code, size = struct.unpack(">HH", header)
            if code == _SOT_CODE:
                break
            segment = self._pread(position, 2 + size)
            if size < 2 or len(segment) < 2 + size or (code == _SIZ) != (not codes):
                raise self._refuse(f"damaged main header at byte {position}")
            self._keep_segment(code, segment)
            codes.append(code)
            position += 2 + size
        else:
            raise self._refuse("no tile follows its main header")
        if sorted(code for code in codes if code not in _UNNEEDED) != [_SIZ, _COD, _QCD]:
            raise self._refuse("its main header has not one SIZ, one COD and one QCD")
        return position

    def _keep_segment(self, code: int, segment: bytes) -> None:
        if code == _SIZ:
            self._read_size(segment)
        elif code in (_COD, _QCD):
            if code == _COD:
                self._check_coding(segment)
            self._segments += segment
        elif code not in _UNNEEDED:
            raise self._refuse(f"marker {code:04X} in its main header, which is not understood")

    def _read_size(self, segment: bytes) -> None:
        """SIZ (T.800 A.5.1): image and tile size, one component."""
        if len(segment) != _SIZ_BYTES or segment[38:40] != b"\x00\x01":
            raise self._refuse("not one plane (the band's own file is wanted, not a colour image)")
        self._size = segment
        columns, rows, left, top, tile_columns, tile_rows, tile_left, tile_top = struct.unpack_from(
            ">8I", segment, 6
        )
        depth, step_across, step_down = segment[40:]
        if (left, top, tile_left, tile_top) != (0, 0, 0, 0) or (step_across, step_down) != (1, 1):
            raise self._refuse("its image or tiles do not start at pixel 0")
        if not (0 < columns <= SIDE_MAX_PX and 0 < rows <= SIDE_MAX_PX and tile_columns and tile_rows):
            raise self._refuse(f"impossible size: {rows} x {columns} pixels")
        if (depth & 0x7F) + 1 > 16:
            raise self._refuse(f"{(depth & 0x7F) + 1} bits a pixel; at most 16 are understood")
        self.rows, self.columns = rows, columns
        self.tile_rows, self.tile_columns = min(tile_rows, rows), min(tile_columns, columns)
        if self.tile_rows * self.tile_columns > TILE_MAX_PX:
            raise self._refuse(f"impossible tiles: {self.tile_rows} x {self.tile_columns} pixels")
        self._tile_size = (tile_columns, tile_rows)

    def _check_coding(self, segment: bytes) -> None:
        """COD (A.6.1): bounds on layers and precincts, which the decoder's memory and time follow."""
        if len(segment) < _COD_BYTES_MIN:
            raise self._refuse("damaged main header: COD is too short")
        (layers,), levels = struct.unpack_from(">H", segment, 6), segment[9]
        if not 1 <= layers <= _LAYERS_MAX or levels > _LEVELS_MAX:
            raise self._refuse(f"damaged main header: {layers} layers, {levels} wavelet levels")
        has_sizes = segment[4] & 1
        if has_sizes and len(segment) < _COD_BYTES_MIN + levels + 1:
            raise self._refuse("damaged main header: COD lacks sizes of precincts")
        sizes = segment[_COD_BYTES_MIN:] if has_sizes else b"\xff" * (levels + 1)
        precincts = _precincts(self.tile_rows, self.tile_columns, sizes[: levels + 1])
        if precincts > _PRECINCTS_FREE + self.tile_rows * self.tile_columns // _PX_PER_PRECINCT:
            raise self._refuse(f"damaged main header: {precincts} precincts in a tile")

    def _index(self, first_part: int) -> dict[int, _Parts]:
        """Where the parts of each tile lie. What is damaged is noted with its tile."""
        count = -(-self.rows // self.tile_rows) * -(-self.columns // self.tile_columns)
        tiles: dict[int, _Parts] = {}
        position: int | None = first_part
        while position is not None:
            header = self._pread(position, _SOT_BYTES)
            if len(header) < _SOT_BYTES:
                break
            tile, size, number, parts = struct.unpack_from(">HIBB", header, 4)
            end, is_whole = self._end_of_part(position, size)
            if tile < count:
                entry = tiles.setdefault(tile, _Parts([], 0, ""))
                if number != len(entry.spans):
                    entry.fault = f"its tile-part {len(entry.spans)} is missing"
                entry.spans.append((position, end))
                entry.expected = max(entry.expected, parts)
                if not is_whole:
                    entry.fault = "cut off: the file ends in it"
            position = self._next_sot(end)
        if not tiles:
            raise self._refuse("cut off before its first tile")
        return tiles

    def _end_of_part(self, start: int, size: int) -> tuple[int, bool]:
        """Where the tile-part at ``start`` ends, and whether all of it is there."""
        end = start + size
        if size > _SOT_BYTES and self._is_boundary(end):
            return end, True
        # Coded data never holds a code above FF8F (T.800 B.10.1), so a SOT found is a SOT.
        following = self._next_sot(start + _SOT_BYTES)
        if following is not None:
            return following, True
        has_end = self._pread(self._end - 2, 2) == _EOC
        return (self._end - 2, True) if has_end else (self._end, False)

    def _is_boundary(self, position: int) -> bool:
        mark = self._pread(position, 4) if position < self._end else b""
        return mark == _SOT or mark[:2] == _EOC

    def _next_sot(self, start: int) -> int | None:
        """The first tile-part at or after ``start``, within the codestream."""
        if self._pread(start, len(_SOT)) == _SOT and start < self._end:
            return start
        while start < self._end - _SOT_BYTES:
            chunk = self._pread(start, min(_SCAN_BYTES, self._end - start))
            found = chunk.find(_SOT)
            if found >= 0:
                return start + found
            start += max(len(chunk) - len(_SOT) + 1, 1)
        return None

    def _stream_of(self, tile: int, edges: tuple[int, int, int, int]) -> bytes:
        """A codestream that holds nothing but ``tile``, which lies within ``edges``."""
        parts = self._parts.get(tile)
        if parts is None:
            raise StripError("not in the file")
        if not parts.fault and parts.expected and parts.expected != len(parts.spans):
            parts.fault = f"{len(parts.spans)} of its {parts.expected} tile-parts are there"
        if parts.fault:
            raise StripError(parts.fault)
        left, top, right, bottom = edges
        size = bytearray(self._size)
        struct.pack_into(">8I", size, 6, right, bottom, left, top, *self._tile_size, left, top)
        stream = [_SOC, bytes(size), self._segments]
        for start, end in parts.spans:
            part = self._pread(start, end - start)
            if len(part) != end - start:
                raise StripError("cut off: the file has become shorter")
            # SOT (A.4.2): tile 0; the length as found, which an intact file says as well.
            head, data = part[10:_SOT_BYTES], _without_header(part)
            stream += [_SOT, struct.pack(">HI", 0, _SOT_BYTES + len(data)), head, data]
        return b"".join([*stream, _EOC])


def _precincts(rows: int, columns: int, sizes: bytes) -> int:
    """At most so many precincts has a tile; ``sizes`` are exponents of 2 (A.6.1), coarsest level first."""
    count = 0
    for shift, exponents in zip(range(len(sizes) - 1, -1, -1), sizes, strict=True):
        across, down = shift + (exponents & 15), shift + (exponents >> 4)
        count += ((columns >> across) + 2) * ((rows >> down) + 2)
    return count


def _without_header(part: bytes) -> bytes:
    """``part`` from its SOD on. Segments between SOT and SOD (A.4.2) may only be lengths and remarks."""
    position = _SOT_BYTES
    while part[position : position + 2] != _SOD:
        if position + 4 > len(part):
            raise StripError("does not decode (a tile-part without data)")
        code, size = struct.unpack_from(">HH", part, position)
        if code not in _UNNEEDED or size < 2:
            raise StripError(f"does not decode (marker {code:04X} in the header of its tile-part)")
        position += 2 + size
    return part[position:]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:80]
