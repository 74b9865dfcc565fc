"""Stories of the first walk: a strip in, products queued, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from payload.core import products
from payload.errors import EngineLostError
from payload.report import totals_of
from payload.types import Grid, ProductKind, SceneClass, Task, TileGrid
from tests.core.strip_in_memory import ArraySource, random_dn, strip_info
from tests.walking import RuleEngine, assembled, board_config, walk

TILES = TileGrid(inner_rows_px=48, inner_columns_px=96, halo_px=72)
ROWS, COLUMNS = 205, 331
CONFIG = board_config(TILES, surface_error_dn=0)


@pytest.fixture(scope="module")
def dn() -> dict[Grid, np.ndarray]:
    """Clear ground, a bank of cloud that fills some tiles, and a wedge of no data."""
    dn = random_dn(ROWS, COLUMNS, seed=11)
    for grid, samples in dn.items():
        samples //= 8
        samples += 1100
        samples[:, : 60 // grid, 90 // grid : 200 // grid] = 9000
        samples[:, 150 // grid :, 230 // grid :] = 0
    return dn


def source_of(dn: dict[Grid, np.ndarray], rows_delivered: int | None = None) -> ArraySource:
    return ArraySource(strip_info(ROWS, COLUMNS), dn, rows_delivered)


def test_every_valid_pixel_is_classified_and_every_other_is_no_data(
    dn: dict[Grid, np.ndarray], tmp_path: Path
) -> None:
    walked = walk(tmp_path, CONFIG, TILES, source_of(dn), RuleEngine(2))
    (classes,) = assembled(walked.bodies(), ProductKind.CLASSES, ROWS, COLUMNS)
    valid = np.ones((ROWS, COLUMNS), dtype=bool)
    for grid, samples in dn.items():
        valid &= (samples > 0).any(axis=0).repeat(grid, 0).repeat(grid, 1)[:ROWS, :COLUMNS]
    np.testing.assert_array_equal(classes == SceneClass.NO_DATA, ~valid)
    walked.store.close()


@pytest.mark.parametrize("slots", [1, 3, 5])
def test_the_output_is_the_same_to_the_byte_whatever_the_tiles_in_flight(
    dn: dict[Grid, np.ndarray], tmp_path: Path, slots: int
) -> None:
    one = walk(tmp_path / "one", CONFIG, TILES, source_of(dn), RuleEngine(2), slots=2)
    other = walk(tmp_path / "other", CONFIG, TILES, source_of(dn), RuleEngine(slots), slots=slots)
    assert one.bodies() == other.bodies()
    assert one.order() == other.order()
    one.store.close()
    other.store.close()


def test_tiles_that_are_cloud_all_over_get_no_surface_and_are_counted(
    dn: dict[Grid, np.ndarray], tmp_path: Path
) -> None:
    engine = RuleEngine(2)
    walked = walk(tmp_path, CONFIG, TILES, source_of(dn), engine)
    cloudy = 1  # the second tile of the first row lies inside the bank
    assert (Task.SURFACE, cloudy) not in engine.submitted
    assert (Task.SCENE, cloudy) in engine.submitted
    assert walked.telemetry.counts["tile_without_surface"] == 1
    ids = set(walked.bodies())
    assert f"TEST.{cloudy:05d}.classes" in ids
    assert not {i for i in ids if i.startswith(f"TEST.{cloudy:05d}.surface")}
    walked.store.close()


def test_tiles_without_data_never_reach_a_network_and_are_counted(
    dn: dict[Grid, np.ndarray], tmp_path: Path
) -> None:
    engine = RuleEngine(2)
    walked = walk(tmp_path, CONFIG, TILES, source_of(dn), engine)
    scenes = [index for task, index in engine.submitted if task is Task.SCENE]
    assert len(scenes) == len(set(scenes)), "no tile twice"
    assert len(scenes) + walked.telemetry.counts["tile_no_data"] == 5 * 4
    assert 19 not in scenes
    walked.store.close()


@pytest.mark.parametrize("lost_at", [1, 2, 7, 20, 33])
def test_after_an_engine_was_lost_the_next_run_goes_on_and_the_products_are_the_same(
    dn: dict[Grid, np.ndarray], tmp_path: Path, lost_at: int
) -> None:
    whole = walk(tmp_path / "whole", CONFIG, TILES, source_of(dn), RuleEngine(2))
    with pytest.raises(EngineLostError):
        walk(tmp_path / "broken", CONFIG, TILES, source_of(dn), RuleEngine(2, lost_at=lost_at))
    engine = RuleEngine(2)
    resumed = walk(tmp_path / "broken", CONFIG, TILES, source_of(dn), engine)
    assert resumed.bodies() == whole.bodies()
    assert resumed.order() == whole.order()
    if lost_at > 8:
        assert resumed.telemetry.counts["strip_resumed"] == 1
        assert 0 not in [index for _, index in engine.submitted], "a finished tile is not done twice"
    whole.store.close()
    resumed.store.close()


def test_a_tile_with_impossible_numbers_is_left_unclassified_and_the_rest_goes_on(
    dn: dict[Grid, np.ndarray], tmp_path: Path
) -> None:
    whole = walk(tmp_path / "whole", CONFIG, TILES, source_of(dn), RuleEngine(2))
    bad = walk(tmp_path / "bad", CONFIG, TILES, source_of(dn), RuleEngine(2, bad_tile=6))
    assert bad.telemetry.counts["tile_unclassified"] == 1
    expected = {name: body for name, body in whole.bodies().items() if not name.startswith("TEST.00006")}
    assert bad.bodies() == expected
    whole.store.close()
    bad.store.close()


def test_a_tile_with_an_impossible_correction_keeps_its_classes(
    dn: dict[Grid, np.ndarray], tmp_path: Path
) -> None:
    whole = walk(tmp_path / "whole", CONFIG, TILES, source_of(dn), RuleEngine(2))
    bad = walk(
        tmp_path / "bad", CONFIG, TILES, source_of(dn), RuleEngine(2, bad_tile=6, bad_task=Task.SURFACE)
    )
    assert bad.telemetry.counts["tile_uncorrected"] == 1
    assert "tile_unclassified" not in bad.telemetry.counts
    assert whole.bodies().keys() - bad.bodies().keys() == {
        f"TEST.00006.{kind.value}" for kind in products.SURFACE_KIND_OF_GRID.values()
    }
    whole.store.close()
    bad.store.close()


def test_rows_that_fall_short_are_no_data_and_reported(dn: dict[Grid, np.ndarray], tmp_path: Path) -> None:
    walked = walk(tmp_path, CONFIG, TILES, source_of(dn, rows_delivered=96), RuleEngine(2))
    assert walked.telemetry.counts["rows_short"] == 1
    assert walked.telemetry.counts["strip_finished"] == 1
    (classes,) = assembled(walked.bodies(), ProductKind.CLASSES, 96, COLUMNS)
    assert (classes != SceneClass.NO_DATA).all()
    assert len({r.index for r in walked.store.tile_records("TEST")}) == 20
    walked.store.close()


@pytest.mark.parametrize("lost_at", [2, 7, 15, 25])
def test_a_strip_that_went_on_tells_of_as_many_damaged_rows_as_one_that_was_never_cut(
    dn: dict[Grid, np.ndarray], tmp_path: Path, lost_at: int
) -> None:
    """Wherever it was cut: rows in a halo are read twice, and some before the tile that counts them."""
    damaged = {0, 1, 2, 44, 47, 48, 49, 95, 100, 143, 144, 150}

    def source() -> ArraySource:
        return ArraySource(strip_info(ROWS, COLUMNS), dn, 180, damaged)

    with pytest.raises(EngineLostError):
        walk(tmp_path, CONFIG, TILES, source(), RuleEngine(2, lost_at=lost_at))
    resumed = walk(tmp_path, CONFIG, TILES, source(), RuleEngine(2))
    totals = totals_of(resumed.store.tile_records("TEST"))
    resumed.store.close()
    assert totals.damaged_rows == len(damaged) + ROWS - 180


def test_a_full_queue_gives_up_the_least_worth_and_says_so(
    dn: dict[Grid, np.ndarray], tmp_path: Path
) -> None:
    small = replace(CONFIG, queue=replace(CONFIG.queue, capacity_bytes=65536))
    walked = walk(tmp_path, small, TILES, source_of(dn), RuleEngine(2))
    assert walked.queue.size_bytes <= 65536
    assert sum(entry.size_bytes for entry in walked.store.entries()) == walked.queue.size_bytes
    gone = walked.telemetry.counts["product_evicted"] + walked.telemetry.counts.get("product_refused", 0)
    made = sum(len(record.product_bytes) for record in walked.store.tile_records("TEST"))
    assert made == gone + len(walked.queue), "every product is queued or reported gone"
    walked.store.close()
