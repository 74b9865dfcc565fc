"""Writes any strip as a Level-1C SAFE product with tiled, lossless JPEG 2000 images.

    python -m tools.write_safe STRIP OUT_DIR [--baseline 05.10] [--tile-px 1024 640 192]

The images have the tiling of the true products, so they are what reading, memory and speed
are measured on. The strip is read once, by row blocks, into one uncompressed GeoTIFF per band
beside the images; each is then coded and removed. Metadata holds what the payload reads; it
does not pass for a whole product (no masks, no footprint, no quality reports).

From baseline 04.00 on dn = 10000 x reflectance + 1000, before it without the 1000: the
samples are shifted accordingly, valid ones never to 0. As in flight, what is 0 in some bands of a
grid only is dark there and has data.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from payload.bands import GRID_OF_BAND, plane_of
from payload.core.radiometry import has_any
from payload.drivers.safe_metadata import FIRST_BASELINE_WITH_OFFSET
from payload.drivers.strips import open_strip
from payload.errors import StripError
from payload.ports import StripSource
from payload.types import COUNTS_OFFSET, U16, Band, Grid, RowBlock, StripInfo
from tools.write_raw import blocks_of

TILE_PX: Mapping[Grid, int] = {Grid.R10M: 1024, Grid.R20M: 640, Grid.R60M: 192}
"""Tile sides of true products."""

BASELINES = ("02.06", "05.10")

_WAVELET_LEVELS_MAX = 5
_TILE_MIN_PX = 32
_CACHE_MB = 64
_STRIP_ROWS = 16


def write_safe(
    source: StripSource, folder: Path, baseline: str = "05.10", tile_px: Mapping[Grid, int] = TILE_PX
) -> None:
    """``folder`` becomes a SAFE product of ``baseline`` that holds all rows of ``source``."""
    write_safe_blocks(source.info, blocks_of(source), folder, baseline, tile_px)


def write_safe_blocks(
    info: StripInfo,
    blocks: Iterable[RowBlock],
    folder: Path,
    baseline: str = "05.10",
    tile_px: Mapping[Grid, int] = TILE_PX,
) -> None:
    """``folder`` becomes a SAFE product of the strip ``info`` with the rows of ``blocks``."""
    images = folder / "GRANULE" / f"L1C_{info.strip_id}" / "IMG_DATA"
    images.mkdir(parents=True)
    offset_dn = _offset_dn(baseline)
    (folder / "MTD_MSIL1C.xml").write_bytes(
        _xml(product_metadata(info, baseline, images.relative_to(folder)))
    )
    (images.parent / "MTD_TL.xml").write_bytes(_xml(tile_metadata(info)))
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # some strips lie nowhere
        plain = {band: images / f"{band.value}.tif" for band in Band}
        _write_plain(info, blocks, plain, offset_dn)
        for band, path in plain.items():
            _code(path, images / f"{_image_name(info, band)}.jp2", tile_px[GRID_OF_BAND[band]])
            path.unlink()


def product_metadata(info: StripInfo, baseline: str, images: Path) -> ElementTree.Element:
    """MTD_MSIL1C.xml; ``images`` is the folder of images as seen from the product's."""
    root = ElementTree.Element("Level-1C_User_Product")
    general = ElementTree.SubElement(root, "General_Info")
    product = ElementTree.SubElement(general, "Product_Info")
    _add(product, "PRODUCT_START_TIME", _utc_text(info.start_utc_ns))
    _add(product, "PRODUCT_URI", f"{info.strip_id}.SAFE")
    _add(product, "PROCESSING_LEVEL", "Level-1C")
    _add(product, "PROCESSING_BASELINE", baseline)
    granules = ElementTree.SubElement(ElementTree.SubElement(product, "Product_Organisation"), "Granule_List")
    granule = ElementTree.SubElement(granules, "Granule", imageFormat="JPEG2000")
    for band in Band:
        _add(granule, "IMAGE_FILE", (images / _image_name(info, band)).as_posix())
    image = ElementTree.SubElement(general, "Product_Image_Characteristics")
    for text, index in (("NODATA", 0), ("SATURATED", 65535)):
        special = ElementTree.SubElement(image, "Special_Values")
        _add(special, "SPECIAL_VALUE_TEXT", text)
        _add(special, "SPECIAL_VALUE_INDEX", str(index))
    _add(image, "QUANTIFICATION_VALUE", str(info.quantification_dn))
    if _offset_dn(baseline):
        offsets = ElementTree.SubElement(image, "Radiometric_Offset_List")
        for band_id in range(len(Band)):
            _add(offsets, "RADIO_ADD_OFFSET", str(_offset_dn(baseline)), band_id=str(band_id))
    return root


def tile_metadata(info: StripInfo) -> ElementTree.Element:
    """MTD_TL.xml. A strip that lies nowhere is put at the origin of UTM zone 31 north."""
    root = ElementTree.Element("Level-1C_Tile_ID")
    _add(ElementTree.SubElement(root, "General_Info"), "TILE_ID", info.strip_id)
    geometric = ElementTree.SubElement(root, "Geometric_Info")
    geocoding = ElementTree.SubElement(geometric, "Tile_Geocoding")
    place = info.georeference
    _add(geocoding, "HORIZONTAL_CS_CODE", f"EPSG:{place.epsg if place else 32631}")
    for grid in Grid:
        size = ElementTree.SubElement(geocoding, "Size", resolution=str(10 * grid))
        _add(size, "NROWS", str(-(-info.rows // grid)))
        _add(size, "NCOLS", str(-(-info.columns // grid)))
        position = ElementTree.SubElement(geocoding, "Geoposition", resolution=str(10 * grid))
        _add(position, "ULX", repr(place.easting_m if place else 0.0))
        _add(position, "ULY", repr(place.northing_m if place else 0.0))
        _add(position, "XDIM", repr(info.ground_sample_m * grid))
        _add(position, "YDIM", repr(-info.ground_sample_m * grid))
    angles = ElementTree.SubElement(geometric, "Tile_Angles")
    _add_direction(angles, "Mean_Sun_Angle", info.sun_zenith_deg, info.sun_azimuth_deg)
    views = ElementTree.SubElement(angles, "Mean_Viewing_Incidence_Angle_List")
    for band_id in range(len(Band)):
        _add_direction(
            views,
            "Mean_Viewing_Incidence_Angle",
            info.view_zenith_deg,
            info.view_azimuth_deg,
            bandId=str(band_id),
        )
    return root


def _add(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text


def _add_direction(
    parent: ElementTree.Element,
    tag: str,
    zenith_deg: float | None,
    azimuth_deg: float | None,
    **attributes: str,
) -> None:
    if zenith_deg is not None and azimuth_deg is not None:
        direction = ElementTree.SubElement(parent, tag, attributes)
        _add(direction, "ZENITH_ANGLE", repr(zenith_deg))
        _add(direction, "AZIMUTH_ANGLE", repr(azimuth_deg))


def _xml(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return content


def _utc_text(utc_ns: int) -> str:
    second, nanosecond = divmod(utc_ns, 1_000_000_000)
    instant = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=second)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{nanosecond:09d}Z"


def _offset_dn(baseline: str) -> int:
    """RADIO_ADD_OFFSET of a product of ``baseline``."""
    major, minor = (int(part) for part in baseline.split("."))
    return -COUNTS_OFFSET if (major, minor) >= FIRST_BASELINE_WITH_OFFSET else 0


def _image_name(info: StripInfo, band: Band) -> str:
    return f"{info.strip_id}_{band.value}"


def _write_plain(
    info: StripInfo, blocks: Iterable[RowBlock], paths: Mapping[Band, Path], offset_dn: int
) -> None:
    """One uncompressed GeoTIFF per band, written row block by row block."""
    files = {band: _plain_file(info, band, path) for band, path in paths.items()}
    try:
        for block in blocks:
            has_data = {grid: has_any(samples) for grid, samples in block.dn.items()}
            for band, file in files.items():
                grid = GRID_OF_BAND[band]
                shift_dn = info.offset_dn[band] - offset_dn
                plane = _shifted(plane_of(block.dn, band), shift_dn, has_data[grid])
                window = Window(0, block.row // grid, plane.shape[1], plane.shape[0])
                file.write(plane, 1, window=window)
    finally:
        for file in files.values():
            file.close()


def _plain_file(info: StripInfo, band: Band, path: Path) -> DatasetWriter:
    grid = GRID_OF_BAND[band]
    place, pitch_m = info.georeference, info.ground_sample_m * grid
    lies = {}
    if place is not None:
        lies = {
            "crs": f"EPSG:{place.epsg}",
            "transform": rasterio.Affine(pitch_m, 0.0, place.easting_m, 0.0, -pitch_m, place.northing_m),
        }
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=-(-info.rows // grid),
        width=-(-info.columns // grid),
        count=1,
        dtype="uint16",
        blockysize=_STRIP_ROWS,
        **lies,
    )


def _shifted(plane: U16, shift_dn: int, has_data: NDArray[np.bool_]) -> U16:
    """``plane`` with ``shift_dn`` added where there is data, 0 elsewhere."""
    if not shift_dn:
        return plane
    shifted = np.clip(plane.astype(np.int32) + shift_dn, 1, 65535).astype(np.uint16)
    shifted[~has_data] = 0
    return shifted


def _code(plain: Path, coded: Path, tile_px: int) -> None:
    """``coded`` is ``plain`` in JPEG 2000, reversible, in tiles of ``tile_px``."""
    with rasterio.open(plain) as dataset:
        side = min(tile_px, dataset.height, dataset.width)
    levels = max(0, min(_WAVELET_LEVELS_MAX, side.bit_length() - 2))  # what GDAL takes
    rasterio.shutil.copy(
        plain,
        coded,
        driver="JP2OpenJPEG",
        QUALITY="100",
        REVERSIBLE="YES",
        BLOCKXSIZE=str(tile_px),
        BLOCKYSIZE=str(tile_px),
        RESOLUTIONS=str(levels + 1),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.write_safe", description=__doc__.splitlines()[0])
    parser.add_argument("strip", type=Path, help="any strip that the payload reads")
    parser.add_argument("out", type=Path, help="the folder to make, best named like a product: *.SAFE")
    parser.add_argument("--baseline", choices=BASELINES, default="05.10")
    parser.add_argument(
        "--tile-px", type=int, nargs=3, default=list(TILE_PX.values()), help="tile sides on 10, 20 and 60 m"
    )
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()), help="a folder on a disk"
    )
    wanted = parser.parse_args(arguments)
    if min(wanted.tile_px) < _TILE_MIN_PX:
        parser.error(f"--tile-px: GDAL writes no tiles below {_TILE_MIN_PX} px")
    if wanted.out.exists():
        parser.error(f"{wanted.out} exists already: name a new folder")
    try:
        source = open_strip(wanted.strip, wanted.scratch)
        try:
            write_safe(source, wanted.out, wanted.baseline, dict(zip(Grid, wanted.tile_px, strict=True)))
        finally:
            source.close()
    except StripError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{wanted.out}: {source.info.rows} x {source.info.columns}, baseline {wanted.baseline}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
