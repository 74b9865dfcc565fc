"""The memory plan: every term, before the first row.

Rules:
1. The plan bounds the resident memory of the whole process tree; a term that is not here
   must not exist.
2. The output does not depend on the budget: a smaller budget only means fewer tiles in
   flight, never another tiling.
3. Of the tiles in flight that the configuration allows and the strip has, the most that fit are
   planned; a device whose work another can do is left out only if it does not fit beside a single
   tile.
4. If not even one fits, the refusal names the largest term.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from payload.config import Config
from payload.config.engines import EngineKind
from payload.core.manifest import ModelManifest
from payload.core.pictures import picture_bytes
from payload.core.row_ring import row_ring_bytes
from payload.core.scheduler import tile_slot_bytes
from payload.core.tiling import Tiling, grid_size
from payload.errors import BudgetError
from payload.types import BANDS_OF_GRID, Grid, MemoryPlan, MemoryTerm, StripInfo, Task, TileGrid

QUEUE_ENTRY_BYTES = 1000
"""One QueueEntry in the queue: record, numbers, two texts, its rank, two places (measured 850 with a
strip_id of 64 characters and a reason of 130; 8 of them while the queue follows the store)."""

STORE_BYTES = 4 << 20
"""SQLite: page cache, write-ahead log index, one statement's copy of a body."""

COMPILED_ARITHMETIC_BYTES = 8 << 20
"""Four compiled formulas and what they read and write (measured 5.0 to 6.3 MiB). Compiling them takes as
much again, which is free before the first row is held, and rows are more."""

NUMPY_ARITHMETIC_BYTES = 1 << 20
"""The table of codes, and the stretches of `core.arithmetic` that stay in the cache."""

_SAMPLE_BYTES = 2
_SCORES = 4
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What one loaded network costs on the host; measured, from its manifest."""

    name: str
    fixed_bytes: int
    per_window_px_bytes: float


def engine_loads(config: Config, models: Mapping[Task, ModelManifest]) -> list[EngineLoad]:
    """What the networks of ``models`` cost that run in the payload's own process."""
    return [
        EngineLoad(models[task].name, artifact.host_fixed_bytes, artifact.host_bytes_per_window_px)
        for kind in config.engine.in_use()
        if config.engine.is_inside(kind)
        for task in config.engine.tasks_of(kind)
        for artifact in models[task].artifacts
        if artifact.target is config.engine.target(kind)
    ]


def smallest_strip(tiles: TileGrid) -> StripInfo:
    """A strip of one tile: where it has no room, no strip has."""
    return StripInfo(
        strip_id="smallest",
        start_utc_ns=0,
        line_period_s=1.0,
        rows=tiles.inner_rows_px,
        columns=tiles.inner_columns_px,
        ground_sample_m=10.0,
        bands=tuple(band for bands in BANDS_OF_GRID.values() for band in bands),
        offset_dn={},
        quantification_dn=1,
    )


_INTERPRETER = "Python, the flight libraries and the runtimes of engines that have no process of their own"


def plan_memory(
    config: Config,
    strip: StripInfo,
    tiles: TileGrid,
    source_bytes: int,
    loads: Sequence[EngineLoad],
) -> MemoryPlan:
    """The plan for ``strip`` with as many tiles in flight as fit, as `best_plan`.

    Raises:
        BudgetError: it does not fit even with one tile in flight.
    """
    plan = best_plan(config, strip, tiles, source_bytes, loads)
    check_budget(plan)
    return plan


def best_plan(
    config: Config,
    strip: StripInfo,
    tiles: TileGrid,
    source_bytes: int,
    loads: Sequence[EngineLoad],
) -> MemoryPlan:
    """The plan for ``strip`` with as many tiles in flight as fit, or with one where not even that fits.

    Args:
        source_bytes: what the strip source needs while reading, beyond the block it returns.
    """
    most_slots = min(config.tiles.slots, Tiling(tiles, strip.rows, strip.columns).tiles)
    children = [kind for kind in config.engine.in_use() if config.engine.child(kind) is not None]
    needed = [kind for kind in children if any(config.engine.order(task)[-1] is kind for task in Task)]
    for kept in (children, needed) if len(needed) < len(children) else (needed,):
        for slots in range(most_slots, 0, -1):
            plan = _plan(config, strip, tiles, source_bytes, loads, kept, slots)
            if plan.fits:
                return plan
    return plan


def check_budget(plan: MemoryPlan) -> None:
    """Returns if ``plan`` fits.

    Raises:
        BudgetError: it does not; the largest term is named.
    """
    worst = plan.worst
    if not plan.fits:
        raise BudgetError(
            f"the plan needs {plan.total_bytes} bytes ({plan.total_bytes / _MEBIBYTE:.1f} MiB) but the "
            f"budget is {plan.budget_bytes} ({plan.budget_bytes / _MEBIBYTE:.1f} MiB); the largest term is "
            f"{worst.name} with {worst.planned_bytes} bytes ({worst.why})",
            worst.name,
        )


def _plan(
    config: Config,
    strip: StripInfo,
    tiles: TileGrid,
    source_bytes: int,
    loads: Sequence[EngineLoad],
    children: Sequence[EngineKind],
    slots: int,
) -> MemoryPlan:
    tiling = Tiling(tiles, strip.rows, strip.columns)
    terms: tuple[MemoryTerm, ...] = (
        MemoryTerm("interpreter", config.memory.interpreter_bytes, _INTERPRETER),
        MemoryTerm(
            "rows",
            row_ring_bytes(tiling),
            f"{tiles.inner_rows_px + tiles.halo_px} rows and codes of {tiles.halo_px} x "
            f"{tiling.padded_columns_px} columns, 13 bands on their grids",
        ),
        _block_term(
            min(config.strip.block_rows_px, tiles.window_rows_px, strip.rows), strip.columns, source_bytes
        ),
        MemoryTerm(
            "tile slots", slots * tile_slot_bytes(tiles), f"{slots} x codes and mask of {tiles.window_px} px"
        ),
        _engines_term(loads, slots, tiles.window_px),
        MemoryTerm("arithmetic", _arithmetic_bytes(config), "the formulas per sample, and their buffers"),
        _products_term(config, strip, tiles, slots),
        MemoryTerm(
            "queue",
            STORE_BYTES + QUEUE_ENTRY_BYTES * config.queue.capacity_entries,
            f"store {STORE_BYTES} and {config.queue.capacity_entries} entries x {QUEUE_ENTRY_BYTES}",
        ),
    )
    terms += tuple(_child_term(kind, config, tiles, slots) for kind in children)
    return MemoryPlan(terms, config.memory.budget_bytes, slots)


def _arithmetic_bytes(config: Config) -> int:
    is_compiled = config.engine.is_inside(EngineKind.OPENVINO)
    return COMPILED_ARITHMETIC_BYTES if is_compiled else NUMPY_ARITHMETIC_BYTES


def _child_term(kind: EngineKind, config: Config, tiles: TileGrid, slots: int) -> MemoryTerm:
    """The child up to its limit; this process's view of the shared tensors, and the known tile."""
    child = config.engine.child(kind)
    assert child is not None, kind
    shared = slots * (tile_slot_bytes(tiles) + _SCORES * tiles.window_px) + tile_slot_bytes(tiles)
    why = f"a process of at most {child.memory_bytes}, {slots} x shared tensors, the known tile"
    return MemoryTerm(child_term_name(kind), child.memory_bytes + shared, why)


def child_term_name(kind: EngineKind) -> str:
    """The plan's term for an engine in a process of its own."""
    return f"engine {kind.value}"


def _block_term(block_rows_px: int, columns: int, source_bytes: int) -> MemoryTerm:
    """No block has more rows than a window, which is the most that the scheduler wants."""
    block = sum(
        len(bands) * grid_size(block_rows_px, grid) * grid_size(columns, grid) * _SAMPLE_BYTES
        for grid, bands in BANDS_OF_GRID.items()
    )
    why = f"{block_rows_px} rows in transit {block} and the source's own {source_bytes}"
    return MemoryTerm("block in transit", block + source_bytes, why)


def _engines_term(loads: Sequence[EngineLoad], slots: int, window_px: int) -> MemoryTerm:
    total = sum(load.fixed_bytes + int(slots * load.per_window_px_bytes * window_px) for load in loads)
    names = ", ".join(load.name for load in loads)
    return MemoryTerm("engines", total, f"{names}: weights, code and {slots} x activations of {window_px} px")


def _products_term(config: Config, strip: StripInfo, tiles: TileGrid, slots: int) -> MemoryTerm:
    """The tiles whose products wait for their turn, at their worst: nothing compresses."""
    inner_px = min(tiles.inner_rows_px, strip.rows) * min(tiles.inner_columns_px, strip.columns)
    samples = sum(len(bands) * inner_px // grid**2 for grid, bands in BANDS_OF_GRID.items())
    coded = samples * _SAMPLE_BYTES * (2 if config.products.raw else 1) + inner_px
    # While one grid is made: its reflectance, its codes beside the product they are joined to
    # (the coefficients of the inversion are gone by then, and smaller), one plane quantised,
    # classes and masks.
    making = 2 * len(BANDS_OF_GRID[Grid.R10M]) * inner_px * _SAMPLE_BYTES
    making += inner_px * _SAMPLE_BYTES + 4 * inner_px
    # The picture is put together when the rows are gone: only what is more than they were counts.
    rows = row_ring_bytes(Tiling(tiles, strip.rows, strip.columns))
    picture = picture_bytes(tiles, strip.rows, strip.columns) - rows
    why = f"{slots} x {inner_px} px uncompressed, or the picture of the strip"
    return MemoryTerm("products", max(slots * coded + making, picture), why)
