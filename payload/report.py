"""What a run leaves to read: run.json, and the files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from payload.types import MemoryPlan, ProductKind, StripInfo, TileRecord

QUEUE_FILE = "queue.sqlite"
LOG_FILE = "telemetry.jsonl"
REPORT_FILE = "run.json"
PICTURE_FILE = "quicklook.png"

_RATIOS = ("clear_ratio", "thick_cloud_ratio", "thin_cloud_ratio", "cloud_shadow_ratio")


@dataclass(slots=True)
class StripTotals:
    """All tiles of a strip added up, those of earlier runs too."""

    tiles_done: int = 0
    tiles_no_data: int = 0
    tiles_without_surface: int = 0
    damaged_rows: int = 0
    valid_px: int = 0
    no_data_px: int = 0
    class_px: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_RATIOS, 0.0))
    engines: dict[str, dict[str, int]] = field(default_factory=dict)
    products: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, record: TileRecord) -> None:
        """Count one finished tile."""
        stats = record.stats
        self.tiles_done += 1
        self.tiles_no_data += stats.valid_px == 0
        self.tiles_without_surface += stats.valid_px > 0 and "surface" not in record.engines
        self.damaged_rows += record.damaged_rows if record.inner.col == 0 else 0
        self.valid_px += stats.valid_px
        self.no_data_px += stats.no_data_px
        for name in _RATIOS:
            self.class_px[name] += getattr(stats, name) * stats.valid_px
        for task, engine in record.engines.items():
            tiles = self.engines.setdefault(task, {})
            tiles[engine] = tiles.get(engine, 0) + 1
        for kind, size_bytes in record.product_bytes.items():
            made = self.products.setdefault(kind, {"products": 0, "bytes": 0, "value": 0.0})
            made["products"] += 1
            made["bytes"] += size_bytes
            made["value"] += record.product_values[kind]


def totals_of(records: Iterable[TileRecord]) -> StripTotals:
    """The totals of a strip from its tile records."""
    totals = StripTotals()
    for record in records:
        totals.add(record)
    return totals


def strip_report(
    strip: StripInfo, plan: MemoryPlan, totals: StripTotals, tiles: int, measured: Mapping[str, float]
) -> dict[str, object]:
    """What run.json says of the strip.

    Args:
        measured: wall_s, cpu_s and peak_bytes of this run.
    """
    per_px = 1 / totals.valid_px if totals.valid_px else 0.0
    return {
        "strip_id": strip.strip_id,
        "rows": strip.rows,
        "columns": strip.columns,
        "tiles": tiles,
        "tiles_done": totals.tiles_done,
        "tiles_no_data": totals.tiles_no_data,
        "tiles_without_surface": totals.tiles_without_surface,
        "damaged_rows": totals.damaged_rows,
        **measured,
        "budget_bytes": plan.budget_bytes,
        "planned_bytes": plan.total_bytes,
        "planned_terms_bytes": {term.name: term.planned_bytes for term in plan.terms},
        "slots": plan.slots,
        "engines": totals.engines,
        "scene": {
            "valid_px": totals.valid_px,
            "no_data_px": totals.no_data_px,
            **{name: px * per_px for name, px in totals.class_px.items()},
        },
        "products": {
            kind.value: totals.products[kind.value] for kind in ProductKind if kind.value in totals.products
        },
    }
