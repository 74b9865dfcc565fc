"""Planes of many tiles put side by side, one row of output tiles in memory at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from payload.core.products import Container, Content, ProductOrigin
from payload.types import U8, U16, Band, SceneClass, Window
from tools.decode.folder import Found, load_plane
from tools.decode.geotiff import TILE_PX

_COLOURS = (Content.RED, Content.GREEN, Content.BLUE)
NO_SIGMA = 65535


@dataclass(frozen=True)
class Piece:
    """One plane of one product; where it lies, in samples of its layer."""

    path: Path
    number: int
    place: Window


@dataclass(frozen=True, eq=False)
class Layer:
    """One mosaic: the same content of the same pitch, bands in their order.

    ``name`` tells it from all other layers of its strip; ``container`` is any of its products'.
    """

    name: str
    content: Content
    origin: ProductOrigin
    container: Container
    pitch_px: int
    bits: int
    bands: tuple[str, ...]
    pieces: tuple[tuple[Piece, ...], ...]

    @property
    def rows(self) -> int:
        return -(-self.origin.rows // self.pitch_px)

    @property
    def columns(self) -> int:
        return -(-self.origin.columns // self.pitch_px)

    @property
    def no_data(self) -> int:
        if self.content is Content.CLASS:
            return int(SceneClass.NO_DATA)
        return NO_SIGMA if self.content is Content.SIGMA else 0


def layers_of(found: Sequence[Found]) -> list[Layer]:
    """The mosaics that the products of one strip make."""
    pieces: dict[tuple[str, int], dict[str, list[Piece]]] = defaultdict(lambda: defaultdict(list))
    kinds: dict[tuple[str, int], tuple[Found, int]] = {}
    for product in found:
        for number, plane in enumerate(product.container.planes):
            if plane.pitch_px == 0 or plane.content is Content.GAPS:  # no picture of their own
                continue
            key = (_layer_name(product.container, number), plane.pitch_px)
            place = _place(product.container.label.window, plane.pitch_px, plane.rows, plane.cols)
            band = plane.band.value if plane.band else plane.content.name.lower()
            pieces[key][band].append(Piece(product.path, number, place))
            kinds.setdefault(key, (product, number))
    return [_layer(*key, *kinds[key], pieces[key]) for key in sorted(pieces)]


def _layer(name: str, pitch: int, product: Found, number: int, pieces: dict[str, list[Piece]]) -> Layer:
    plane = product.container.planes[number]
    content = Content.RED if plane.content in _COLOURS else plane.content
    bands = sorted(pieces, key=_band_order)
    return Layer(
        name,
        content,
        product.container.label.origin,
        product.container,
        pitch,
        plane.bits,
        tuple(bands),
        tuple(tuple(pieces[band]) for band in bands),
    )


def _layer_name(container: Container, number: int) -> str:
    plane = container.planes[number]
    if plane.content is Content.TOP_OF_ATMOSPHERE:
        return f"{container.kind.value}_{10 * plane.pitch_px}m"
    return f"{container.kind.value}_sigma" if plane.content is Content.SIGMA else container.kind.value


def _band_order(band: str) -> int:
    """As the grids order them: B8A after B08, colours red, green, blue."""
    order = [content.name.lower() for content in _COLOURS] + [band.value for band in Band]
    return order.index(band) if band in order else 0


def _place(window: Window, pitch: int, rows: int, cols: int) -> Window:
    return Window(window.row // pitch, window.col // pitch, rows, cols)


def tiles_of(layer: Layer) -> Iterator[U8 | U16]:
    """The layer as arrays (TILE_PX, TILE_PX), row by row, band after band."""
    tile_columns = -(-layer.columns // TILE_PX)
    for pieces in layer.pieces:
        for row in range(0, layer.rows, TILE_PX):
            rows = np.full((TILE_PX, tile_columns * TILE_PX), layer.no_data, f"uint{layer.bits}")
            for piece in pieces:
                _paste(rows, row, piece)
            for column in range(0, tile_columns * TILE_PX, TILE_PX):
                yield np.ascontiguousarray(rows[:, column : column + TILE_PX])


def _paste(rows: U8 | U16, first_row: int, piece: Piece) -> None:
    """Put the part of ``piece`` that lies in ``rows``, which begin at ``first_row``, there."""
    low = max(piece.place.row, first_row)
    high = min(piece.place.row_end, first_row + len(rows))
    if low < high:
        samples = load_plane(piece.path, piece.number)
        part = samples[low - piece.place.row : high - piece.place.row]
        rows[low - first_row : high - first_row, piece.place.col : piece.place.col_end] = part


def picture_of(layer: Layer, longest_px: int) -> U8:
    """The layer at a glance, uint8 (row, col, band): every k-th sample, k as small as can be."""
    every = max(1, -(-max(layer.rows, layer.columns) // longest_px))
    shape = (-(-layer.rows // every), -(-layer.columns // every), len(layer.bands))
    picture = np.full(shape, layer.no_data, dtype=np.uint8)
    for band, pieces in enumerate(layer.pieces):
        for piece in pieces:
            row, col = -(-piece.place.row // every), -(-piece.place.col // every)
            samples = load_plane(piece.path, piece.number)
            part = samples[row * every - piece.place.row :: every, col * every - piece.place.col :: every]
            picture[row : row + part.shape[0], col : col + part.shape[1], band] = part
    return picture
