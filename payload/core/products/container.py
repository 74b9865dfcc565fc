"""The container every product travels in: header, planes, CRC. Byte by byte: docs/products.md.

    +--------+----------+-------------+---------------------------+--------+
    | header | strip id | plane table | coded planes, one by one  | CRC-32 |
    +--------+----------+-------------+---------------------------+--------+

Rules:
1. Length and CRC-32 of the whole are right before a codec sees one byte: codecs decode
   damaged streams silently.
2. All numbers are big-endian; what a plane means does not hang on other planes.
3. A container of another version is refused, not guessed at.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, unique

from payload.core.products.samples import Codec
from payload.core.sealed import SEAL_BYTES, sealed, seals_of
from payload.errors import ProductError
from payload.types import (
    COUNTS_OFFSET,
    COUNTS_PER_REFLECTANCE,
    Band,
    Georeference,
    ProductKind,
    StripInfo,
    Window,
)

MAGIC = b"SKYP"
VERSION = 2
MAX_PRODUCT_BYTES = 1 << 28
STRIP_ID_MAX_CHARS = 64
MODEL_HEX_DIGITS = 16

_HEADER = struct.Struct(">4sBBBBI4I2IqddIdd8sHHI")
_PLANE = struct.Struct(">BBBBHHIII")
_NO_BAND = 255
_NO_EPSG = 0

KIND_NUMBERS = {
    ProductKind.STATISTICS: 1,
    ProductKind.QUICKLOOK: 2,
    ProductKind.CLASSES: 3,
    ProductKind.SURFACE_10M: 4,
    ProductKind.SURFACE_20M: 5,
    ProductKind.SURFACE_60M: 6,
    ProductKind.RAW: 7,
}
"""Numbers of the kinds on the wire; never reused."""

_KINDS = {number: kind for kind, number in KIND_NUMBERS.items()}
_BANDS = tuple(Band)
_BAND_NUMBERS = {band: number for number, band in enumerate(_BANDS)}


@unique
class Content(IntEnum):
    """What the samples of a plane are; the numbers are on the wire."""

    STATISTICS = 1
    RED = 2
    GREEN = 3
    BLUE = 4
    CLASS = 5
    SURFACE = 6
    SIGMA = 7
    TOP_OF_ATMOSPHERE = 8
    GAPS = 9


@dataclass(frozen=True, slots=True)
class ProductOrigin:
    """What every product of one strip says of it; see `StripInfo`."""

    strip_id: str
    rows: int
    columns: int
    start_utc_ns: int
    line_period_s: float
    ground_sample_m: float
    georeference: Georeference | None


@dataclass(frozen=True, slots=True)
class ProductLabel:
    """Where a product belongs.

    Attributes:
        window: the tile's inner, 10 m pixels.
        model: the first 16 hexadecimal digits of the SHA-256 of the model behind it, or "".
    """

    origin: ProductOrigin
    tile_index: int
    window: Window
    model: str = ""


@dataclass(frozen=True, slots=True)
class PlaneHeader:
    """One plane of samples (row, col).

    Attributes:
        pitch_px: 10 m pixels per sample each way; 0 for what is no picture.
        step: counts per quantisation step; 1 if lossless.
        start_byte, size_bytes: where its code lies in the container.
    """

    content: Content
    band: Band | None
    codec: Codec
    bits: int
    pitch_px: int
    step: int
    rows: int
    cols: int
    start_byte: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Container:
    """A verified product, its planes still coded.

    Reflectance is (counts - ``counts_offset``) / ``counts_per_reflectance``.
    """

    kind: ProductKind
    label: ProductLabel
    counts_offset: int
    counts_per_reflectance: int
    planes: tuple[PlaneHeader, ...]
    body: bytes


def origin_of(strip: StripInfo) -> ProductOrigin:
    """What the products of ``strip`` say of it."""
    return ProductOrigin(
        strip.strip_id,
        strip.rows,
        strip.columns,
        strip.start_utc_ns,
        strip.line_period_s,
        strip.ground_sample_m,
        strip.georeference,
    )


def pack(kind: ProductKind, label: ProductLabel, planes: Sequence[tuple[PlaneHeader, bytes]]) -> bytes:
    """The container as bytes; ``start_byte`` and ``size_bytes`` of the planes are not read."""
    origin, window, geo = label.origin, label.window, label.origin.georeference
    strip_id = origin.strip_id.encode("ascii")
    codes = [code for _, code in planes]
    size = _HEADER.size + len(strip_id) + _PLANE.size * len(planes) + sum(map(len, codes)) + SEAL_BYTES
    assert size <= MAX_PRODUCT_BYTES, size
    assert 0 < len(strip_id) <= STRIP_ID_MAX_CHARS, strip_id
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        KIND_NUMBERS[kind],
        len(planes),
        len(strip_id),
        label.tile_index,
        *(window.row, window.col, window.rows, window.cols),
        *(origin.rows, origin.columns),
        origin.start_utc_ns,
        origin.line_period_s,
        origin.ground_sample_m,
        *((geo.epsg, geo.easting_m, geo.northing_m) if geo else (_NO_EPSG, 0.0, 0.0)),
        bytes.fromhex(label.model or "0" * MODEL_HEX_DIGITS),
        COUNTS_OFFSET,
        COUNTS_PER_REFLECTANCE,
        size,
    )
    table = [_pack_plane(plane, len(code)) for plane, code in planes]
    parts = [header, strip_id, *table, *codes]
    return sealed(parts)


def _pack_plane(plane: PlaneHeader, size_bytes: int) -> bytes:
    band = _NO_BAND if plane.band is None else _BAND_NUMBERS[plane.band]
    return _PLANE.pack(
        plane.content,
        band,
        plane.codec,
        plane.bits,
        plane.pitch_px,
        plane.step,
        plane.rows,
        plane.cols,
        size_bytes,
    )


def unpack(body: bytes) -> Container:
    """The container that ``body`` is.

    Raises:
        ProductError: damaged, cut short, of another version, or at odds with itself.
    """
    _verify(body)
    fields = _HEADER.unpack_from(body)
    _, _, kind_number, plane_count, id_chars, tile_index = fields[:6]
    if kind_number not in _KINDS:
        raise ProductError(f"unknown kind of product {kind_number}; decode it with a newer version")
    table_byte = _HEADER.size + id_chars
    planes_byte = table_byte + plane_count * _PLANE.size
    if planes_byte > len(body) - SEAL_BYTES:
        raise ProductError("the table of planes does not fit into the product")
    strip_id = body[_HEADER.size : table_byte]
    if not (0 < id_chars <= STRIP_ID_MAX_CHARS and strip_id.isascii()):
        raise ProductError("the strip id is not 1 to 64 ASCII characters")
    rows, columns, start_utc_ns, line_period_s, ground_sample_m, epsg, easting_m, northing_m = fields[10:18]
    origin = ProductOrigin(
        strip_id.decode("ascii"),
        rows,
        columns,
        start_utc_ns,
        line_period_s,
        ground_sample_m,
        Georeference(epsg, easting_m, northing_m) if epsg != _NO_EPSG else None,
    )
    model = fields[18].hex() if any(fields[18]) else ""
    label = ProductLabel(origin, tile_index, Window(*fields[6:10]), model)
    planes = _unpack_planes(body, table_byte, planes_byte, label.window)
    return Container(_KINDS[kind_number], label, fields[19], fields[20], planes, body)


def _verify(body: bytes) -> None:
    """Rules 1 and 3."""
    if len(body) < _HEADER.size + SEAL_BYTES:
        raise ProductError(f"cut short: {len(body)} bytes are less than a header")
    if body[:4] != MAGIC:
        raise ProductError(f"no product: it starts with {body[:4]!r}, not {MAGIC!r}")
    if body[4] != VERSION:
        raise ProductError(f"product of format version {body[4]}; this decoder reads version {VERSION}")
    size = _HEADER.unpack_from(body)[-1]
    if size != len(body):
        raise ProductError(f"{'cut short' if len(body) < size else 'too long'}: {len(body)} of {size} bytes")
    found, crc = seals_of(body)
    if found != crc:
        raise ProductError(f"damaged: CRC-32 is {found:08x}, must be {crc:08x}")


def _unpack_planes(body: bytes, table_byte: int, start_byte: int, window: Window) -> tuple[PlaneHeader, ...]:
    planes = []
    for entry in range(table_byte, start_byte, _PLANE.size):
        content, band, codec, bits, pitch, step, rows, cols, size = _PLANE.unpack_from(body, entry)
        try:
            plane = PlaneHeader(
                Content(content),
                None if band == _NO_BAND else _BANDS[band],
                Codec(codec),
                bits,
                pitch,
                step,
                rows,
                cols,
                start_byte,
                size,
            )
        except (ValueError, IndexError) as error:
            raise ProductError(f"plane of an unknown content, band or codec: {error}") from error
        _check_plane(plane, window)
        planes.append(plane)
        start_byte += size
    if start_byte != len(body) - SEAL_BYTES:
        raise ProductError("the planes do not fill the product")
    return tuple(planes)


def _check_plane(plane: PlaneHeader, window: Window) -> None:
    """A plane allocates what its window allows, and no more."""
    is_gaps = plane.content is Content.GAPS
    if plane.bits not in ((1,) if is_gaps else (8, 16)) or plane.step % 2 == 0:
        raise ProductError(f"plane of {plane.bits} bits and step {plane.step} cannot be")
    if plane.pitch_px == 0:
        fits = plane.rows == 1 and plane.cols <= plane.size_bytes
    else:
        fits = plane.rows == -(-window.rows // plane.pitch_px) and plane.cols == -(
            -window.cols // plane.pitch_px
        )
    if not fits or plane.rows * plane.cols * plane.bits // 8 > MAX_PRODUCT_BYTES:
        raise ProductError(f"plane of {plane.rows} x {plane.cols} samples does not cover its window")
