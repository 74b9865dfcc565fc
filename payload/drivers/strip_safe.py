"""A strip in JPEG 2000 files: a Level-1C SAFE product, or a bare folder of 13 band files.

A product is read through its metadata (`safe_metadata`). A bare folder holds ``*B01.jp2`` ..
``*B12.jp2`` and says of itself what its GeoJP2 boxes say; a ``strip.yaml`` in it may say more
(`strip_header.Sidecar`).

Rules:
    a band is known by the end of its file name, never by its place in a list
    other images (TCI, PVI, masks) are left alone, so 13, 14 or 15 files are the same strip
    a product whose images do not have the size in its metadata is a cut-out: it lies where
    its images say
"""

from __future__ import annotations

import re
from pathlib import Path

from payload.bands import GRID_OF_BAND
from payload.drivers.geokeys import georeference_of_box
from payload.drivers.jp2_tiles import Jp2Tiles
from payload.drivers.safe_metadata import (
    ProductMetadata,
    TileMetadata,
    read_product_metadata,
    read_tile_metadata,
)
from payload.drivers.strip_header import GROUND_SPEED_M_S, ascii_id, read_sidecar, strip_of_pictures
from payload.drivers.strip_tiled import BandImage, TiledStrip, strip_size
from payload.errors import StripError
from payload.types import Band, Georeference, StripInfo

SIDECAR_NAME = "strip.yaml"

_PRODUCT_METADATA = re.compile(r"(MTD_MSIL1C|S2._OPER_MTD_SAFL1C_.*)\.xml")
_TILE_METADATA = re.compile(r"(MTD_TL|S2._OPER_MTD_L1C_TL_.*)\.xml")
_BAND_AT_END = re.compile(r"(?:.*[_-])?(B0[1-9]|B1[0-2]|B8A)")
_GROUND_SAMPLE_M = 10.0
_STRIP_ID_CHARS = 64


def product_metadata_path(folder: Path) -> Path | None:
    """The product metadata in ``folder``, or None if it is no Level-1C product."""
    return next((path for path in sorted(folder.iterdir()) if _PRODUCT_METADATA.fullmatch(path.name)), None)


def has_band_files(folder: Path) -> bool:
    """Whether ``folder`` holds a JPEG 2000 file named like a band."""
    return any(_BAND_AT_END.fullmatch(path.stem) for path in folder.glob("*.jp2"))


def open_safe(folder: Path, scratch: Path) -> TiledStrip:
    """The product in ``folder``, read through a file in folder ``scratch``.

    Raises:
        StripError: a file is missing or damaged; the message names it and what to do.
    """
    metadata_path = product_metadata_path(folder)
    if metadata_path is None:
        raise StripError(f"{folder}: no MTD_MSIL1C.xml: not a Level-1C product, fetch it again")
    product = read_product_metadata(metadata_path)
    granule = _granule(folder)
    tile = read_tile_metadata(_tile_metadata_path(granule))
    images = _open_bands(_band_paths(granule / "IMG_DATA", product.image_names))
    try:
        rows, columns, is_native = strip_size(images)
        is_whole = (rows, columns) == (tile.rows, tile.columns)
        place = (
            (tile.georeference, tile.ground_sample_m) if is_whole else _own_georeference(images, is_native)
        )
        info = _strip_of_product(product, tile, place, rows, columns)
        return TiledStrip(info, images, is_native, scratch)
    except StripError:
        _close(images)
        raise


def open_folder(folder: Path, scratch: Path) -> TiledStrip:
    """The band files in ``folder``, on their native grids or all on one grid.

    Raises:
        StripError: a file is missing or damaged; the message names it and what to do.
    """
    sidecar = read_sidecar(folder / SIDECAR_NAME)
    images = _open_bands(_band_paths(folder, ()))
    try:
        rows, columns, is_native = strip_size(images)
        georeference, ground_sample_m = _own_georeference(images, is_native)
        info = strip_of_pictures(
            sidecar,
            strip_id=folder.resolve().name,
            rows=rows,
            columns=columns,
            georeference=georeference,
            ground_sample_m=ground_sample_m,
        )
        return TiledStrip(info, images, is_native, scratch)
    except StripError:
        _close(images)
        raise


def _strip_of_product(
    product: ProductMetadata,
    tile: TileMetadata,
    place: tuple[Georeference | None, float | None],
    rows: int,
    columns: int,
) -> StripInfo:
    georeference, ground_sample_m = place[0], place[1] or _GROUND_SAMPLE_M
    name = product.product if len(product.product) <= _STRIP_ID_CHARS else tile.tile_id
    return StripInfo(
        strip_id=ascii_id(name),
        start_utc_ns=product.start_utc_ns,
        line_period_s=ground_sample_m / GROUND_SPEED_M_S,
        rows=rows,
        columns=columns,
        ground_sample_m=ground_sample_m,
        bands=tuple(Band),
        offset_dn=product.offset_dn,
        quantification_dn=product.quantification_dn,
        georeference=georeference,
        sun_zenith_deg=tile.sun_zenith_deg,
        sun_azimuth_deg=tile.sun_azimuth_deg,
        view_zenith_deg=tile.view_zenith_deg,
        view_azimuth_deg=tile.view_azimuth_deg,
    )


def _granule(folder: Path) -> Path:
    """The one granule of the product."""
    granules = sorted(path.parent for path in folder.glob("GRANULE/*/IMG_DATA") if path.is_dir())
    if not granules:
        raise StripError(f"{folder}: no GRANULE/*/IMG_DATA folder: fetch the product again")
    if len(granules) > 1:
        raise StripError(
            f"{folder}: {len(granules)} granules; a strip is one: keep one folder of GRANULE in a copy"
        )
    return granules[0]


def _tile_metadata_path(granule: Path) -> Path:
    for path in sorted(granule.iterdir()):
        if _TILE_METADATA.fullmatch(path.name):
            return path
    raise StripError(f"{granule}: no MTD_TL.xml: fetch the product again")


def _band_paths(folder: Path, listed: tuple[str, ...]) -> dict[Band, Path]:
    """The file of each band; where several end in its name, the one that the metadata lists."""
    found: dict[Band, list[Path]] = {band: [] for band in Band}
    for path in sorted(folder.glob("*.jp2")):
        match = _BAND_AT_END.fullmatch(path.stem)
        if match:
            found[Band(match[1])].append(path)
    missing = [band.value for band in Band if not found[band]]
    if missing:
        raise StripError(
            f"{folder}: no *_{missing[0]}.jp2; missing bands: {' '.join(missing)}: fetch the strip again"
        )
    paths = {}
    for band, candidates in found.items():
        chosen = [path for path in candidates if path.stem in listed] or candidates
        if len(chosen) > 1:
            names = " ".join(path.name for path in chosen)
            raise StripError(f"{folder}: {len(chosen)} files for {band.value} ({names}): keep one")
        paths[band] = chosen[0]
    return paths


def _open_bands(paths: dict[Band, Path]) -> list[BandImage]:
    images: list[BandImage] = []
    try:
        for band, path in paths.items():
            images.append(BandImage(f"{band.value} ({path.name})", (band,), Jp2Tiles(path)))
    except StripError:
        _close(images)
        raise
    return images


def _own_georeference(images: list[BandImage], is_native: bool) -> tuple[Georeference | None, float | None]:
    """Where the images say that they lie, and their pixel size on the 10 m grid in metres.

    Some products keep a GeoJP2 box in a few bands only; the finest band that has one is taken.
    """
    for entry in sorted(images, key=lambda entry: GRID_OF_BAND[entry.bands[0]]):
        assert isinstance(entry.image, Jp2Tiles)
        georeference, pixel_m = georeference_of_box(entry.image.geojp2)
        if georeference is not None and pixel_m is not None:
            return georeference, pixel_m / GRID_OF_BAND[entry.bands[0]] if is_native else pixel_m
    return None, None


def _close(images: list[BandImage]) -> None:
    for entry in images:
        entry.image.close()
