"""What the instances of half-cloudy strips are made of: the flatsat's weights and sizes once measured.

Sizes: what `payload run strips/example/strip.yaml` queued on 2026-11-21 for its full tile, by kind
(`payload queue build/run --limit 0`); raw tiles are not queued there. The flatsat's tile was 336 x 1008
pixels then and is 288 x 1008 now, and products have become smaller since: the table of docs/downlink.md
is of these sizes.
"""

from __future__ import annotations

from pathlib import Path

from payload.config import load_config
from payload.types import ProductKind

_CONFIG = load_config(Path(__file__).resolve().parents[2] / "firmware_configs" / "flatsat.yaml")
WEIGHTS = _CONFIG.value
INTEREST = _CONFIG.interest
TILE_PX = _CONFIG.tiles.inner_rows_px * _CONFIG.tiles.inner_columns_px

SIZE_BYTES = {
    ProductKind.STATISTICS: 167,
    ProductKind.QUICKLOOK: 4_561,
    ProductKind.CLASSES: 18_917,
    ProductKind.SURFACE_10M: 700_642,
    ProductKind.SURFACE_20M: 306_738,
    ProductKind.SURFACE_60M: 13_708,
}
