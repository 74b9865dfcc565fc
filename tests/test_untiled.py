"""Tiled equals untiled, with the networks that fly: to the class and to the DN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from payload.drivers.engine_openvino import OpenVinoEngine
from payload.types import U8, U16, Grid, ProductKind, Task, TileGrid
from tests.core.strip_in_memory import ArraySource, strip_info
from tests.drivers.test_engine_openvino import flight_network
from tests.walking import assembled, board_config, walk

ROWS, COLUMNS = 301, 517
KINDS = (ProductKind.CLASSES, ProductKind.SURFACE_10M, ProductKind.SURFACE_20M, ProductKind.SURFACE_60M)
UNTILED = TileGrid(inner_rows_px=336, inner_columns_px=528, halo_px=72)


def landscape() -> dict[Grid, np.ndarray]:
    """Smooth ground, a cloud bank with soft edges, a wedge of no data: all classes turn up."""
    rng = np.random.default_rng(21)
    row, col = np.mgrid[0:306, 0:522]
    cloud = np.clip(np.sin(row / 37) * np.cos(col / 53) * 2 - 0.4, 0, 1)
    dn = {}
    for grid, bands in ((Grid.R10M, 4), (Grid.R20M, 6), (Grid.R60M, 3)):
        here = cloud[::grid, ::grid]
        ground = rng.uniform(200, 3000, (bands, 1, 1)) * (1 + 0.3 * np.sin(row + col * 2)[::grid, ::grid] / 2)
        samples = 1000 + ground * (1 - here) + 7000 * here + rng.normal(0, 40, (bands, *here.shape))
        samples[:, (row + col > 700)[::grid, ::grid]] = 0
        dn[grid] = samples[:, : -(-ROWS // grid), : -(-COLUMNS // grid)].astype(np.uint16)
    return dn


def walked_with(folder: Path, tiles: TileGrid, slots: int) -> dict[ProductKind, list[U8 | U16]]:
    # Every tile is corrected, or tilings would differ in which pixels get a surface at all.
    config = board_config(tiles, surface_error_dn=0)
    engine = OpenVinoEngine([flight_network(task) for task in Task], tiles, slots, threads=1)
    source = ArraySource(
        strip_info(
            ROWS,
            COLUMNS,
            sun_zenith_deg=35.0,
            sun_azimuth_deg=150.0,
            view_zenith_deg=5.0,
            view_azimuth_deg=100.0,
        ),
        landscape(),
    )
    walked = walk(folder, config, tiles, source, engine, slots)
    engine.close()
    bodies = walked.bodies()
    walked.store.close()
    return {kind: assembled(bodies, kind, ROWS, COLUMNS) for kind in KINDS}


@pytest.fixture(scope="module")
def untiled(tmp_path_factory: pytest.TempPathFactory) -> dict[ProductKind, list[U8 | U16]]:
    whole = walked_with(tmp_path_factory.mktemp("untiled"), UNTILED, 1)
    assert len(np.unique(whole[ProductKind.CLASSES][0])) >= 3, "a strip of one class shows nothing"
    return whole


@pytest.mark.parametrize(
    ("tiles", "slots"),
    [(TileGrid(48, 96, 72), 2), (TileGrid(144, 240, 72), 3), (TileGrid(96, 528, 72), 1)],
    ids=str,
)
def test_tiled_equals_untiled_in_every_class_and_every_dn(
    tmp_path: Path, untiled: dict[ProductKind, list[U8 | U16]], tiles: TileGrid, slots: int
) -> None:
    tiled = walked_with(tmp_path, tiles, slots)
    for kind in KINDS:
        for plane, expected in zip(tiled[kind], untiled[kind], strict=True):
            made = plane > 0 if kind is not ProductKind.CLASSES else np.ones_like(plane, dtype=bool)
            assert made.mean() > 0.3, f"{kind.value}: too little was made to compare"
            np.testing.assert_array_equal(plane[made], expected[made], err_msg=kind.value)


def test_a_halo_too_small_is_noticed(tmp_path: Path, untiled: dict[ProductKind, list[U8 | U16]]) -> None:
    """The law above can fail: with a third of the halo, tiles no longer agree."""
    tiled = walked_with(tmp_path, TileGrid(48, 96, 24), 1)
    assert (tiled[ProductKind.CLASSES][0] != untiled[ProductKind.CLASSES][0]).any()
