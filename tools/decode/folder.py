"""A folder of products: what is whole, and why the rest is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from payload.config import range_of
from payload.core import products
from payload.core.products import Container, ProductLabel, ProductOrigin
from payload.drivers.link import PRODUCT_SUFFIX
from payload.errors import ProductError
from payload.types import U8, U16, ProductKind, SceneStats, Window

_SIDE_OF_TILE = range_of("tiles.inner_rows_px")  # as of tiles.inner_columns_px
_CELL_PX = _SIDE_OF_TILE.multiple  # tiles begin at multiples of it
_TILE_MAX_PX = int(_SIDE_OF_TILE.high)
_PLANES_KEPT = 64  # a row of tiles across a full strip and some more, 0.5 MB each


@dataclass(frozen=True, eq=False)
class Found:
    """A whole product; ``container`` is without its body, which stays in the file."""

    path: Path
    container: Container
    stats: SceneStats | None


@dataclass(frozen=True)
class Fault:
    """A file that is no whole product, or that cannot lie beside the others."""

    name: str
    reason: str


def scan(folder: Path) -> tuple[list[Found], list[Fault]]:
    """Every product in ``folder`` verified, its codes included; one of each id, by file name."""
    found: dict[tuple[str, int, ProductKind], Found] = {}
    origins: dict[str, ProductOrigin] = {}
    covered: dict[str, _Covered] = {}
    faults = []
    for path in sorted(folder.glob(f"*{PRODUCT_SUFFIX}")):
        try:
            product = _verify(path)
            _check_label(product.container, origins)
            label = product.container.label
            name = label.origin.strip_id
            key = (name, label.tile_index, product.container.kind)
            if key in found:
                if _read(path) != _read(found[key].path):
                    raise ProductError(f"another product of that tile and kind is in {found[key].path.name}")
                continue
            covered.setdefault(name, _Covered()).add(label)
        except ProductError as error:
            faults.append(Fault(path.name, str(error)))
            continue
        except OSError as error:
            faults.append(Fault(path.name, f"cannot be read: {error.strerror}"))
            continue
        origins.setdefault(name, label.origin)
        found[key] = product
    return list(found.values()), faults


class _Covered:
    """Which part of a strip is whose tile: no two share a pixel."""

    def __init__(self) -> None:
        self._windows: dict[int, Window] = {}
        self._taken: set[tuple[int, int]] = set()

    def add(self, label: ProductLabel) -> None:
        """Raises ProductError if the tile lies elsewhere already, or another lies there."""
        window, known = label.window, self._windows.get(label.tile_index)
        if known == window:
            return
        if max(window.rows, window.cols) > _TILE_MAX_PX:
            raise ProductError(f"{window} is larger than a tile can be, {_TILE_MAX_PX} pixels each way")
        cells = {
            (row, col)
            for row in range(window.row // _CELL_PX, -(-window.row_end // _CELL_PX))
            for col in range(window.col // _CELL_PX, -(-window.col_end // _CELL_PX))
        }
        if known is not None or cells & self._taken:
            raise ProductError(
                f"tile {label.tile_index} at {window} lies over other tiles, so its strip was cut otherwise; "
                "decode the products of one board at a time"
            )
        self._windows[label.tile_index] = window
        self._taken |= cells


def _verify(path: Path) -> Found:
    decoded = products.decode(_read(path))
    return Found(path, replace(decoded.container, body=b""), decoded.stats)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ProductError("not a file")
    if path.stat().st_size > products.MAX_PRODUCT_BYTES:
        raise ProductError(f"larger than a product can be, {products.MAX_PRODUCT_BYTES} bytes")
    return path.read_bytes()


def _check_label(container: Container, origins: dict[str, ProductOrigin]) -> None:
    label = container.label
    origin, window = label.origin, label.window
    if window.row_end > origin.rows or window.col_end > origin.columns:
        raise ProductError(f"{window} lies outside its strip of {origin.rows} x {origin.columns} pixels")
    known = origins.get(origin.strip_id, origin)
    if known != origin:
        raise ProductError(f"says of strip {origin.strip_id} what other products say otherwise")
    for plane in container.planes:
        if plane.pitch_px and (window.row % plane.pitch_px or window.col % plane.pitch_px):
            raise ProductError(f"{window} does not begin at a sample of {plane.pitch_px} pixels")


@lru_cache(maxsize=_PLANES_KEPT)
def load_plane(path: Path, number: int) -> U8 | U16:
    """Plane ``number`` of the product in ``path``, verified again: files may change.

    Raises:
        ProductError: it was whole and no longer is.
    """
    container = products.unpack(_read(path))
    return products.decode_plane(container, container.planes[number])


def labels_of(found: list[Found]) -> Iterator[tuple[ProductLabel, SceneStats]]:
    """The tiles with statistics, in order of their index."""
    for product in sorted(found, key=lambda product: product.container.label.tile_index):
        if product.stats is not None:
            yield product.container.label, product.stats
