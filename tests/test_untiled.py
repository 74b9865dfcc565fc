"""Tiled equals untiled, with the networks that fly and either engine: to the class and to the DN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from payload.assembly import compiled_arithmetic
from payload.core.arithmetic import NumpyArithmetic
from payload.drivers.engine_litert import LiteRtEngine
from payload.drivers.engine_openvino import OpenVinoEngine
from payload.drivers.network import Network
from payload.ports import Arithmetic, Engine
from payload.types import U8, U16, Grid, Precision, ProductKind, Task, TileGrid
from tests.core.strip_in_memory import ArraySource, strip_info
from tests.drivers.test_engine_openvino import FOLDERS, flight_network
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


def openvino(tiles: TileGrid, slots: int) -> tuple[Engine, Arithmetic]:
    networks = [flight_network(task) for task in Task]
    return OpenVinoEngine(networks, tiles, slots, threads=1), compiled_arithmetic(tiles)


def litert(tiles: TileGrid, slots: int) -> tuple[Engine, Arithmetic]:
    """As on a board without OpenVINO: one file a window, the formulas in numpy."""
    pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra 'litert'")
    from tools.export.tflite import tflite_of

    size_px = tiles.window_rows_px, tiles.window_columns_px
    networks = [
        Network(task, task.value, "0" * 64, Precision.INT8, {".tflite": tflite_of(folder, *size_px)})
        for task, folder in FOLDERS.items()
    ]
    return LiteRtEngine(networks, tiles, slots, threads=1), NumpyArithmetic()


Maker = Callable[[TileGrid, int], tuple[Engine, Arithmetic]]


def walked_with(folder: Path, tiles: TileGrid, slots: int, make: Maker) -> dict[ProductKind, list[U8 | U16]]:
    # Every tile is corrected, or tilings would differ in which pixels get a surface at all.
    config = board_config(tiles, surface_error_dn=0)
    engine, arithmetic = make(tiles, slots)
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
    walked = walk(folder, config, tiles, source, engine, slots, arithmetic)
    engine.close()
    bodies = walked.bodies()
    walked.store.close()
    return {kind: assembled(bodies, kind, ROWS, COLUMNS) for kind in KINDS}


@pytest.fixture(scope="module", params=[openvino, litert], ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Maker:
    found: Maker = request.param
    return found


@pytest.fixture(scope="module")
def untiled(tmp_path_factory: pytest.TempPathFactory, make: Maker) -> dict[ProductKind, list[U8 | U16]]:
    whole = walked_with(tmp_path_factory.mktemp("untiled"), UNTILED, 1, make)
    assert len(np.unique(whole[ProductKind.CLASSES][0])) >= 3, "a strip of one class shows nothing"
    return whole


@pytest.mark.parametrize(
    ("tiles", "slots"),
    [(TileGrid(48, 96, 72), 2), (TileGrid(144, 240, 72), 3), (TileGrid(96, 528, 72), 1)],
    ids=str,
)
def test_tiled_equals_untiled_in_every_class_and_every_dn(
    tmp_path: Path, untiled: dict[ProductKind, list[U8 | U16]], make: Maker, tiles: TileGrid, slots: int
) -> None:
    tiled = walked_with(tmp_path, tiles, slots, make)
    for kind in KINDS:
        for plane, expected in zip(tiled[kind], untiled[kind], strict=True):
            made = plane > 0 if kind is not ProductKind.CLASSES else np.ones_like(plane, dtype=bool)
            assert made.mean() > 0.3, f"{kind.value}: too little was made to compare"
            np.testing.assert_array_equal(plane[made], expected[made], err_msg=kind.value)


def test_a_halo_too_small_is_noticed(
    tmp_path: Path, untiled: dict[ProductKind, list[U8 | U16]], make: Maker
) -> None:
    """The law above can fail: with a third of the halo, tiles no longer agree."""
    tiled = walked_with(tmp_path, TileGrid(48, 96, 24), 1, make)
    assert (tiled[ProductKind.CLASSES][0] != untiled[ProductKind.CLASSES][0]).any()
