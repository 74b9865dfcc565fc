"""Rules of `payload.core.memory`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.config import Config, load_config
from payload.core.arithmetic import NumpyArithmetic
from payload.core.memory import EngineLoad, plan_memory
from payload.core.scheduler import Scheduler
from payload.errors import BudgetError
from payload.types import MemoryPlan, TileGrid
from tests.core.strip_in_memory import ArraySource, random_dn, strip_info

REPOSITORY = Path(__file__).resolve().parents[2]
BOARD = load_config(REPOSITORY / "firmware_configs" / "ci_cpu.yaml")
TILES = TileGrid(240, 1104, 72)
LOADS = (EngineLoad("scene", 7_000_003, 40.0), EngineLoad("surface", 5_000_011, 30.0))


def config(budget_bytes: int, slots: int = 3) -> Config:
    return replace(
        BOARD,
        memory=replace(BOARD.memory, budget_bytes=budget_bytes),
        tiles=replace(BOARD.tiles, slots=slots),
    )


def plan(budget_bytes: int, slots: int = 3, columns: int = 10980, source_bytes: int = 0) -> MemoryPlan:
    return plan_memory(config(budget_bytes, slots), strip_info(10980, columns), TILES, source_bytes, LOADS)


def test_the_terms_are_those_of_the_design_and_add_up() -> None:
    found = plan(1 << 30)
    names = [
        "interpreter",
        "rows",
        "block in transit",
        "tile slots",
        "engines",
        "arithmetic",
        "products",
        "queue",
    ]
    assert [term.name for term in found.terms] == names
    assert found.total_bytes == sum(term.planned_bytes for term in found.terms)
    assert all(term.planned_bytes > 0 and term.why for term in found.terms)


def test_rows_are_counted_sample_by_sample() -> None:
    rows = {term.name: term.planned_bytes for term in plan(1 << 30).terms}["rows"]
    columns = 10 * 1104 + 144
    counts = 2 * (4 * 312 * columns + 6 * 156 * columns // 2 + 3 * 52 * columns // 6)
    codes_above = 4 * 72 * columns + 6 * 36 * columns // 2 + 3 * 12 * columns // 6
    assert rows == counts + codes_above


def test_engines_are_fixed_parts_and_activations_of_every_tile_in_flight() -> None:
    for slots in (1, 3):
        engines = {term.name: term.planned_bytes for term in plan(1 << 30, slots).terms}["engines"]
        assert engines == 7_000_003 + 5_000_011 + slots * (40 + 30) * TILES.window_px


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 1 << 29))
def test_the_most_tiles_in_flight_that_fit_are_planned(slots: int, budget: int) -> None:
    one = plan(1 << 40, 1).total_bytes
    budget += one
    found = plan(budget, slots)
    assert 1 <= found.slots <= slots
    assert found.total_bytes <= budget
    if found.slots < slots:
        assert plan(1 << 40, found.slots + 1).total_bytes > budget


def test_the_refusal_names_the_largest_term() -> None:
    smallest = plan(1 << 40, 1).total_bytes
    assert plan(smallest).slots == 1
    with pytest.raises(BudgetError, match="largest term is") as caught:
        plan(smallest - 1)
    assert caught.value.worst_term in str(caught.value)
    assert caught.value.exit_code == 3
    with pytest.raises(BudgetError) as caught:
        plan(smallest, source_bytes=1 << 30)
    assert caught.value.worst_term == "block in transit"


def test_a_full_strip_does_not_fit_64_mib() -> None:
    with pytest.raises(BudgetError):
        plan(64 << 20)


def test_a_device_whose_work_another_can_do_is_left_out_only_if_it_does_not_fit() -> None:
    flatsat = load_config(REPOSITORY / "firmware_configs" / "flatsat.yaml")

    def planned(budget_bytes: int) -> MemoryPlan:
        board = replace(flatsat, memory=replace(flatsat.memory, budget_bytes=budget_bytes))
        return plan_memory(board, strip_info(10980, 10980), TILES, 0, LOADS)

    whole = planned(1 << 40)
    (child,) = (term for term in whole.terms if term.name == "engine myriad")
    assert flatsat.engine.myriad is not None
    assert child.planned_bytes > flatsat.engine.myriad.memory_bytes
    fewer = planned(whole.total_bytes - 1)
    assert fewer.slots < whole.slots
    assert "engine myriad" in {term.name for term in fewer.terms}, "first fewer tiles in flight"
    without = planned(fewer.total_bytes - 1)
    assert "engine myriad" not in {term.name for term in without.terms}
    assert without.slots == whole.slots


def test_no_more_rows_in_transit_are_planned_than_are_wanted_and_no_more_slots_than_tiles() -> None:
    def planned(rows: int, columns: int, block_rows_px: int, slots: int) -> MemoryPlan:
        board = config(1 << 40, slots)
        board = replace(board, strip=replace(board.strip, block_rows_px=block_rows_px))
        return plan_memory(board, strip_info(rows, columns), TILES, 0, LOADS)

    window_px = TILES.window_rows_px
    assert planned(10980, 10980, 1056, 1).terms == planned(10980, 10980, window_px, 1).terms
    assert planned(300, 10980, 1056, 1).terms == planned(300, 10980, 300, 1).terms
    assert planned(10980, 10980, 60, 1).total_bytes < planned(10980, 10980, window_px, 1).total_bytes
    assert planned(300, 1100, 60, 8).slots == 2
    assert planned(300, 1100, 60, 8) == planned(300, 1100, 60, 2)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 30))
def test_the_scheduler_never_wants_more_rows_than_a_window(
    row_sixes: int, inner: int, block_sixes: int
) -> None:
    grid, strip = TileGrid(48 * inner, 48, 72), strip_info(6 * row_sixes, 48)
    scheduler = Scheduler(strip, grid, 1, 48 * block_sixes, NumpyArithmetic())
    source = ArraySource(strip, random_dn(6 * row_sixes, 48, 0))
    while not scheduler.is_done:
        while rows := scheduler.rows_wanted:
            assert rows <= min(48 * block_sixes, grid.window_rows_px, 6 * row_sixes)
            scheduler.feed(source.read(rows))
        tile = scheduler.next_tile()
        assert tile is not None
        scheduler.finish(tile.index)
