"""Opens a strip, whatever it is kept in."""

from __future__ import annotations

from pathlib import Path

from payload.drivers.strip_geotiff import open_geotiff
from payload.drivers.strip_raw import open_raw
from payload.drivers.strip_safe import has_band_files, open_folder, open_safe, product_metadata_path
from payload.errors import StripError
from payload.ports import StripSource

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WANTED = (
    "a Level-1C SAFE folder, a folder of 13 JPEG 2000 band files, a GeoTIFF with 13 bands, "
    "or the YAML header of a raw line stream"
)


def open_strip(path: Path, scratch: Path) -> StripSource:
    """The strip at ``path``; what must be put aside while reading goes to folder ``scratch``.

    Raises:
        StripError: not a strip, or one that cannot be read.
    """
    try:
        if path.is_dir():
            return _open_folder(path, scratch)
        if path.suffix == ".xml":
            return open_safe(path.parent, scratch)
        if path.suffix in (".yaml", ".yml"):
            return open_raw(path)
        with path.open("rb") as file:
            if file.read(4) in _TIFF_SIGNATURES:
                return open_geotiff(path, scratch)
    except OSError as error:
        raise StripError(f"{path}: not a strip: {error.strerror}") from error
    raise StripError(f"{path}: not a strip; wanted is {_WANTED}")


def _open_folder(path: Path, scratch: Path) -> StripSource:
    if product_metadata_path(path) is not None:
        return open_safe(path, scratch)
    if has_band_files(path):
        return open_folder(path, scratch)
    raise StripError(f"{path}: not a strip; wanted is {_WANTED}")
