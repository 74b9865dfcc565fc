"""Our networks alone, without the pipeline: what `skysift_raw` is compared with.

The artifacts that fly run on the windows that fly, halo included, with warm requests and
codes in memory. The closed-form inversion belongs to the surface network's work (its output
is the coefficients of that equation), so a surface tile includes it, on every native grid that
becomes a product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from payload.assembly import compiled_arithmetic, load_models
from payload.config import Config
from payload.core import surface
from payload.drivers.network import GRID_OF_INPUT
from payload.types import BANDS_OF_GRID, F32, SURFACE_BANDS_OF_GRID, U8, U16, Grid, TileGrid
from tools.bench.timing import Cost, mean_cost

_SURFACE_PLANES = sum(len(bands) for bands in SURFACE_BANDS_OF_GRID.values())


def network_cost(config: Config, repeats: int, *, with_halo: bool) -> dict[str, Cost]:
    """Cost of one tile by task: scene and surface network, and the inversion of its inner."""
    models, tiles = load_models(config)
    if not with_halo:
        tiles = replace(tiles, halo_px=0)
    costs = {}
    for task, model in models.items():
        infer = _inference(model.verified_files(model.artifact), tiles, config.engine.threads)
        costs[task.value] = mean_cost(infer, repeats)
    costs["inversion"] = mean_cost(_inversion(tiles, config.products.surface_grids), repeats)
    return costs


def _inference(files: Mapping[str, bytes], tiles: TileGrid, threads: int) -> Callable[[], None]:
    """Runs the network on codes of the window's size, compiled as the flight engine compiles."""
    import openvino as ov  # the rows of torch do without it

    from payload.drivers.engine_openvino import compile_shuffle_apart

    core = ov.Core()
    topology, weights = (
        next(content for name, content in files.items() if name.endswith(suffix))
        for suffix in (".xml", ".bin")
    )
    model = core.read_model(model=topology, weights=weights)
    size_px = tiles.window_rows_px, tiles.window_columns_px
    compiled, shuffle = compile_shuffle_apart(core, model, *size_px, 1, threads)
    request = compiled.create_infer_request()
    codes = _window_codes(tiles)

    def infer() -> None:
        for port in request.model_inputs:
            request.set_tensor(port, ov.Tensor(codes[port.get_any_name()], shared_memory=True))
        request.infer()
        if shuffle is not None:
            shuffle.undo(request.get_output_tensor(0).data[0])

    return infer


def _window_codes(tiles: TileGrid) -> dict[str, U8 | F32]:
    rng = np.random.default_rng(0)
    inputs: dict[str, U8 | F32] = {"geometry": np.array([1, 0.8, 1, 0.5], np.float32).reshape(1, 4, 1, 1)}
    for name, grid in GRID_OF_INPUT.items():
        shape = (
            1,
            len(BANDS_OF_GRID[grid]),
            tiles.window_rows_px // grid,
            tiles.window_columns_px // grid,
        )
        inputs[name] = rng.integers(1, 256, shape, dtype=np.uint8)
    return inputs


def _inversion(tiles: TileGrid, grids: Sequence[Grid]) -> Callable[[], None]:
    """Solves one inner on the native grids that make products, as the pipeline does."""
    rng = np.random.default_rng(0)
    cells = (tiles.window_rows_px // surface.CELL_PX, tiles.window_columns_px // surface.CELL_PX)
    if not tiles.halo_px:  # the inversion reads one cell around the inner, which then is missing
        tiles = TileGrid(tiles.inner_rows_px, tiles.inner_columns_px, surface.CELL_PX)
        cells = (cells[0] + 2, cells[1] + 2)
    typical = np.array([0.05, 0.85, 0.1, 0.01], np.float32).reshape(4, 1, 1, 1)
    wobble = rng.uniform(0.9, 1.1, (4, _SURFACE_PLANES, *cells)).astype(np.float32)
    atmosphere: F32 = typical * wobble
    counts: dict[Grid, U16] = {}
    for grid in grids:
        shape = (len(BANDS_OF_GRID[grid]), tiles.inner_rows_px // grid, tiles.inner_columns_px // grid)
        counts[grid] = rng.integers(1001, 6000, shape, dtype=np.uint16)

    arithmetic = compiled_arithmetic(tiles)

    def invert() -> None:
        for grid, samples in counts.items():
            surface.surface_counts(samples, atmosphere, grid, tiles, arithmetic)

    return invert
