"""Where a picture lies, by its GeoTIFF keys (OGC 19-008r4), also inside a JPEG 2000 file."""

from __future__ import annotations

import io
import struct

import tifffile

from payload.types import Georeference

TIFF_ERRORS = (
    tifffile.TiffFileError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    OSError,
    RuntimeError,
    struct.error,
    ArithmeticError,
)
"""What tifffile and its codecs raise on damaged files; its own is a ValueError only in newer ones."""

_PIXEL_IS_POINT = 2
_NO_EPSG = {0, 32767}  # undefined, user-defined
_PIXEL_MIN_M, _PIXEL_MAX_M = 0.1, 10000.0  # as in a sidecar
_COORDINATE_MAX_M = 1e8


def georeference_of(page: tifffile.TiffPage) -> tuple[Georeference | None, float | None]:
    """Upper left corner of ``page`` and its pixel size in metres.

    (None, None) if the keys are missing, damaged, or say anything but a north-up square
    grid in a projected CRS with an EPSG code.
    """
    try:
        keys = page.geotiff_tags or {}
        epsg = int(keys["ProjectedCSTypeGeoKey"])
        across_m, down_m = (float(size) for size in keys["ModelPixelScale"][:2])
        column, row, _, easting_m, northing_m = (float(number) for number in keys["ModelTiepoint"][:5])
        half = 0.5 if int(keys.get("GTRasterTypeGeoKey", 1)) == _PIXEL_IS_POINT else 0.0
    except TIFF_ERRORS:
        return None, None
    west_m, north_m = easting_m - (column + half) * across_m, northing_m + (row + half) * down_m
    is_square = down_m == across_m and _PIXEL_MIN_M <= across_m <= _PIXEL_MAX_M
    if epsg in _NO_EPSG or not is_square or not max(abs(west_m), abs(north_m)) <= _COORDINATE_MAX_M:
        return None, None  # not-a-number is never within
    return Georeference(epsg, west_m, north_m), across_m


def georeference_of_box(geojp2: bytes) -> tuple[Georeference | None, float | None]:
    """The same of the content of a GeoJP2 box, which is a small GeoTIFF."""
    if not geojp2:
        return None, None
    try:
        with tifffile.TiffFile(io.BytesIO(geojp2)) as tiff:
            return georeference_of(tiff.pages.first)
    except TIFF_ERRORS:
        return None, None
