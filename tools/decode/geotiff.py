"""GeoTIFF with scale, offset, no data and band names where GDAL and QGIS look for them.

The tags: GeoTIFF 1.1 (OGC 19-008r4) for the place; GDAL's own 42112 and 42113
(https://gdal.org/drivers/raster/gtiff.html#metadata) for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import tifffile
from numpy.typing import NDArray

from payload.types import U8, U16, Georeference
from tools.whole import whole

TILE_PX = 256

_MODEL_PIXEL_SCALE, _MODEL_TIEPOINT, _GEO_KEYS = 33550, 33922, 34735
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113
_CLASSIC_TIFF_BYTES = 3 << 30


@dataclass(frozen=True)
class Raster:
    """What a GeoTIFF says of its samples.

    Attributes:
        pixel_m: pixel pitch, metres.
        scale, offset: physical value = sample * scale + offset.
        palette: uint8 (256, 3), for classes.
    """

    bands: tuple[str, ...]
    rows: int
    columns: int
    bits: int
    no_data: int
    pixel_m: float
    georeference: Georeference | None
    scale: float = 1.0
    offset: float = 0.0
    palette: U8 | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(f"uint{self.bits}")


def write_geotiff(path: Path, raster: Raster, tiles: Iterator[U8 | U16]) -> None:
    """The raster is in ``path``, whole or not at all.

    Args:
        tiles: arrays (TILE_PX, TILE_PX), row by row, band after band; never held together.
    """
    size_bytes = len(raster.bands) * raster.rows * raster.columns * raster.bits // 8
    is_single = len(raster.bands) == 1
    with whole(path) as part, tifffile.TiffWriter(part, bigtiff=size_bytes > _CLASSIC_TIFF_BYTES) as tiff:
        tiff.write(
            tiles,
            shape=(raster.rows, raster.columns)
            if is_single
            else (len(raster.bands), raster.rows, raster.columns),
            dtype=raster.dtype,
            tile=(TILE_PX, TILE_PX),
            planarconfig=None if is_single else "separate",
            photometric="minisblack" if raster.palette is None else "palette",
            colormap=None if raster.palette is None else _colour_map(raster.palette),
            compression="zlib",
            compressionargs={"level": 1},  # twice as fast as the default, 4 % larger
            predictor=raster.palette is None,
            maxworkers=1,
            metadata=None,
            software=False,
            extratags=[*_place_tags(raster), *_gdal_tags(raster)],
        )


def _colour_map(palette: U8) -> NDArray[np.uint16]:
    return np.ascontiguousarray(palette.T.astype(np.uint16) * 257)


def _place_tags(raster: Raster) -> list[tuple[int, str, int, Any, bool]]:
    geo = raster.georeference
    if geo is None:
        return []
    keys = (
        *(1, 1, 0, 3),  # version 1.1.0, three keys
        *(1024, 0, 1, 1),  # GTModelType: projected
        *(1025, 0, 1, 1),  # GTRasterType: a pixel is an area
        *(3072, 0, 1, geo.epsg),  # ProjectedCRS
    )
    tiepoint = (0.0, 0.0, 0.0, geo.easting_m, geo.northing_m, 0.0)
    return [
        (_MODEL_PIXEL_SCALE, "d", 3, (raster.pixel_m, raster.pixel_m, 0.0), True),
        (_MODEL_TIEPOINT, "d", 6, tiepoint, True),
        (_GEO_KEYS, "H", len(keys), keys, True),
    ]


def _gdal_tags(raster: Raster) -> list[tuple[int, str, int, Any, bool]]:
    items = []
    for sample, band in enumerate(raster.bands):
        roles = {"DESCRIPTION": band}
        if (raster.scale, raster.offset) != (1.0, 0.0):
            roles |= {"SCALE": repr(raster.scale), "OFFSET": repr(raster.offset)}
        items += [
            f'<Item name="{role}" sample="{sample}" role={quoteattr(role.lower())}>{escape(text)}</Item>'
            for role, text in roles.items()
        ]
    return [
        (_GDAL_METADATA, "s", 0, f"<GDALMetadata>{''.join(items)}</GDALMetadata>", True),
        (_GDAL_NODATA, "s", 0, str(raster.no_data), True),
    ]
