"""Known tiles cut from a strip by the payload's own scheduler, with the answers of an artifact."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from payload.core.arithmetic import NumpyArithmetic
from payload.core.known_answer import KnownAnswers, samples_of
from payload.core.scheduler import Scheduler
from payload.drivers.engine_openvino import OpenVinoEngine
from payload.drivers.network import Network
from payload.drivers.strips import open_strip
from payload.proving import stretched
from payload.types import Grid, Precision, Task, Tile, TileGrid

GRID = TileGrid(48, 48, 0)
TILES = 4
STEP_OF_TASK = {Task.SCENE: 4, Task.SURFACE: 1}
BLOCK_ROWS_PX = 48


def strip_tiles(strip: Path) -> Iterator[Tile]:
    """Every whole tile of 48 x 48 px without halo."""
    with tempfile.TemporaryDirectory() as scratch:
        source = open_strip(strip, Path(scratch))
        scheduler = Scheduler(source.info, GRID, 1, BLOCK_ROWS_PX, NumpyArithmetic())
        while not scheduler.is_done:
            while rows := scheduler.rows_wanted:
                scheduler.feed(source.read(rows))
            while (tile := scheduler.next_tile()) is not None:
                if tile.valid_px == GRID.window_px:
                    yield _kept(tile)
                scheduler.finish(tile.index)
        source.close()


def choose_tiles(strip: Path, count: int = TILES) -> list[Tile]:
    """``count`` tiles of ``strip`` from its darkest to its brightest, evenly spread."""
    tiles = sorted(strip_tiles(strip), key=lambda tile: float(tile.codes[Grid.R10M].mean()))
    if len(tiles) < count:
        raise ValueError(f"{strip}: {len(tiles)} whole tiles of 48 x 48 px, {count} are needed")
    places = np.linspace(0, len(tiles) - 1, count).round().astype(int)
    return [tiles[place] for place in places]


def side_by_side(tiles: Sequence[Tile], window_px: tuple[int, int]) -> Tile:
    """One tile of a larger window: ``tiles`` beside each other, repeated until it is full.

    The sun stands where it stands for the first.
    """
    grid = TileGrid(*window_px, 0)
    codes = {pitch: np.concatenate([tile.codes[pitch] for tile in tiles], axis=3) for pitch in tiles[0].codes}
    return stretched(replace(tiles[0], codes=codes), grid)


def answers_of(
    task: Task, tiles: Sequence[Tile], topology: bytes, weights: bytes, grid: TileGrid = GRID
) -> KnownAnswers:
    """What the payload's own engine answers on this machine's processor; every tile fills ``grid``."""
    network = Network(task, "known", "0" * 64, Precision.INT8, {"a.xml": topology, "a.bin": weights})
    engine = OpenVinoEngine([network], grid, slots=1, threads=1)
    samples = []
    for tile in tiles:
        engine.submit(task, tile)
        inference = engine.collect(600.0)
        assert inference is not None
        samples.append(samples_of(inference.output, STEP_OF_TASK[task]).copy())
    engine.close()
    return KnownAnswers(task, grid, STEP_OF_TASK[task], tuple(tiles), tuple(samples))


def _kept(tile: Tile) -> Tile:
    codes = {grid: code.copy() for grid, code in tile.codes.items()}
    return Tile(tile.index, tile.window, tile.inner, codes, tile.geometry, tile.valid, tile.valid_px)
