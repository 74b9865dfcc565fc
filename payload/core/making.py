"""From what a tile turned out to be to its products, each with its value.

Rules:
1. A product's time is when its first row was sensed, never when it was made: a replay gives
   the same bytes and the same order.
2. A product is labelled with the model that made it.
"""

from __future__ import annotations

from collections.abc import Mapping

from payload.config import Config
from payload.core import products, value
from payload.core.areas import AreaMap
from payload.core.products.container import MODEL_HEX_DIGITS
from payload.types import (
    F32,
    U8,
    U16,
    Grid,
    Product,
    ProductKind,
    SceneStats,
    StripInfo,
    Task,
    Tile,
)

_NS_PER_S = 1_000_000_000
_TILES_REMEMBERED = 16
"""Twice as many as can be in flight."""


class ProductMaker:
    """Makes the products of the tiles of one strip."""

    def __init__(
        self, strip: StripInfo, config: Config, model_sha256: Mapping[Task, str], areas: AreaMap
    ) -> None:
        self._areas = areas.placed(strip.georeference)
        self._area_weights: dict[int, float] = {}
        self._strip = strip
        self._origin = products.origin_of(strip)
        self._config = config
        self._model_sha256 = model_sha256
        self._tile_px = config.tiles.inner_rows_px * config.tiles.inner_columns_px

    def scene_products(
        self, tile: Tile, stats: SceneStats, classes: U8, quicklook: U8, counts: Mapping[Grid, U16]
    ) -> list[Product]:
        """Statistics, quick-look and class map, and the tile as received if that is asked for.

        Args:
            classes: uint8 (row, col) of the inner.
            quicklook: true colour, uint8 (3, row, col), at the configuration's pitch.
            counts: per grid, uint16 (band, row, col) of the inner.
        """
        self._area_weights[tile.index] = self._areas.weight(tile.inner, classes)
        self._area_weights.pop(tile.index - _TILES_REMEMBERED, None)
        label = self._label(tile, Task.SCENE)
        pitch_px = self._config.products.quicklook_pitch_px
        bodies = [
            (ProductKind.STATISTICS, products.encode_statistics(label, stats)),
            (ProductKind.QUICKLOOK, products.encode_quicklook(label, quicklook, pitch_px)),
            (ProductKind.CLASSES, products.encode_classes(label, classes)),
        ]
        if self._config.products.raw:
            bodies.append((ProductKind.RAW, products.encode_raw(label, counts)))
        return [self._product(tile, stats, kind, body) for kind, body in bodies]

    def surface_product(
        self, tile: Tile, stats: SceneStats, grid: Grid, reflectance: U16, sigma: F32
    ) -> Product:
        """Surface reflectance of one grid with its standard deviation.

        Args:
            reflectance: uint16 counts (band, row, col) of the inner.
            sigma: float32 counts (band, cell row, cell col) of the inner.
        """
        label = self._label(tile, Task.SURFACE)
        error_dn = self._config.products.surface_error_dn
        body = products.encode_surface(label, grid, reflectance, sigma, error_dn)
        return self._product(tile, stats, products.SURFACE_KIND_OF_GRID[grid], body)

    def _label(self, tile: Tile, task: Task) -> products.ProductLabel:
        model = self._model_sha256[task][:MODEL_HEX_DIGITS]
        return products.ProductLabel(self._origin, tile.index, tile.inner, model)

    def _product(self, tile: Tile, stats: SceneStats, kind: ProductKind, body: bytes) -> Product:
        worth, reason = value.product_value(
            kind,
            stats,
            self._config.value,
            self._tile_px,
            self._config.interest,
            self._area_weights[tile.index],
        )
        sensed_ns = int(tile.inner.row * self._strip.line_period_s * _NS_PER_S)
        return Product(
            products.product_id(self._strip.strip_id, tile.index, kind),
            self._strip.strip_id,
            kind,
            tile.index,
            tile.inner,
            worth,
            reason,
            self._strip.start_utc_ns + sensed_ns,
            body,
        )
