"""The OpenVINO engine, with the networks that fly and with broken ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13

from payload.core.scheduler import tile_slot
from payload.drivers.engine_openvino import OpenVinoEngine, Shuffle, cut_shuffle
from payload.drivers.network import Network
from payload.errors import EngineFault, EngineLostError, EngineOutputError
from payload.types import Precision, Task, Tile, TileGrid, Window
from tools.networks.model_folder import FOLDER_OF_TASK
from tools.networks.runtime import Runner

MODELS = Path(__file__).resolve().parents[2] / "models"
FOLDERS = {task: MODELS / name for task, name in FOLDER_OF_TASK.items()}
"""What flies."""

TILES = TileGrid(48, 96, 72)


def flight_network(task: Task) -> Network:
    folder = FOLDERS[task]
    manifest = json.loads((folder / "manifest.json").read_text())
    return Network(
        task,
        manifest["name"],
        "0" * 64,
        Precision.INT8,
        {path.name: path.read_bytes() for path in folder.glob("openvino_int8.*")},
    )


def random_tile(index: int) -> Tile:
    rng = np.random.default_rng(index)
    codes = tile_slot(TILES)
    for code in codes.values():
        code[...] = rng.integers(0, 256, code.shape)
    geometry = np.array([1, 0.7, 1, 0.2], np.float32).reshape(1, 4, 1, 1)
    window = Window(-72, -72, TILES.window_rows_px, TILES.window_columns_px)
    return Tile(index, window, Window(0, 0, 48, 96), codes, geometry, np.ones((48, 96), bool), 48 * 96)


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenVinoEngine]:
    engine = OpenVinoEngine([flight_network(task) for task in Task], TILES, slots=3, threads=1)
    yield engine
    engine.close()


def test_what_is_submitted_comes_back_oldest_first_with_its_maker(engine: OpenVinoEngine) -> None:
    for index, task in ((4, Task.SCENE), (7, Task.SURFACE), (5, Task.SCENE)):
        engine.submit(task, random_tile(index))
    back = [engine.collect(10) for _ in range(3)]
    assert [(b.index, b.task) for b in back if b] == [(4, Task.SCENE), (7, Task.SURFACE), (5, Task.SCENE)]
    assert back[0] is not None
    assert back[0].engine.model == FOLDERS[Task.SCENE].name
    assert back[0].engine.device == "CPU"
    assert engine.collect(0.01) is None, "nothing submitted, nothing collected"


def test_scores_and_atmosphere_have_the_shapes_that_the_core_expects(engine: OpenVinoEngine) -> None:
    engine.submit(Task.SCENE, random_tile(1))
    scores = engine.collect(10)
    assert scores is not None
    assert scores.output.shape == (4, 192, 240)
    assert scores.output.dtype == np.uint8
    engine.submit(Task.SURFACE, random_tile(1))
    air = engine.collect(10)
    assert air is not None
    assert air.output.shape == (4, 12, 8, 10)
    path, gain, albedo, sigma = air.output
    assert (path >= 0).all()
    assert ((gain > 0) & (gain <= 1)).all()
    assert ((albedo >= 0) & (albedo < 1)).all()
    assert (sigma > 0).all()


def test_scores_are_those_of_the_whole_network_to_the_bit(engine: OpenVinoEngine) -> None:
    tile = random_tile(2)
    whole = Runner(FOLDERS[Task.SCENE] / "openvino_int8.xml")
    expected = whole({grid: codes[0] for grid, codes in tile.codes.items()})
    assert len(np.unique(expected)) > 50
    engine.submit(Task.SCENE, tile)
    inference = engine.collect(10)
    assert inference is not None
    np.testing.assert_array_equal(inference.output, expected)


@pytest.mark.parametrize("block", [2, 4])
def test_a_shuffle_cut_away_is_made_up_for(block: int) -> None:
    squares = opset13.parameter([1, 3 * block**2, 5, 7], np.uint8, name="squares")
    shuffled = opset13.depth_to_space(squares, "depth_first", block)
    whole = ov.Model([shuffled], [squares], "shuffle")
    cut = whole.clone()
    assert cut_shuffle(cut) == block
    content = np.random.default_rng(1).integers(0, 256, tuple(squares.shape), np.uint8)
    planes, answer = (ov.compile_model(model, "CPU")([content])[0] for model in (whole, cut))
    np.testing.assert_array_equal(Shuffle(answer.shape, block).undo(answer[0]), planes[0])


@pytest.mark.parametrize(("mode", "block"), [("blocks_first", 4), ("depth_first", 3)])
def test_another_shuffle_stays_in_the_network(mode: str, block: int) -> None:
    squares = opset13.parameter([1, block**2, 5, 7], np.uint8, name="squares")
    model = ov.Model([opset13.depth_to_space(squares, mode, block)], [squares], "shuffle")
    assert cut_shuffle(model) == 1
    assert model.output().get_shape() == ov.Shape([1, 1, 5 * block, 7 * block])


def test_a_tile_gives_the_same_bits_whatever_else_is_in_flight(engine: OpenVinoEngine) -> None:
    alone = {}
    for task in Task:
        engine.submit(task, random_tile(9))
        inference = engine.collect(10)
        assert inference is not None
        alone[task] = inference.output.copy()
    two_threads = OpenVinoEngine([flight_network(task) for task in Task], TILES, slots=2, threads=2)
    for other in (engine, two_threads):
        for task in Task:
            other.submit(task, random_tile(3))
            other.submit(task, random_tile(9))
            assert other.collect(10) is not None
            inference = other.collect(10)
            assert inference is not None
            np.testing.assert_array_equal(inference.output, alone[task])
    two_threads.close()


def test_a_network_that_cannot_be_loaded_is_an_engine_lost() -> None:
    broken = Network(Task.SCENE, "broken", "0" * 64, Precision.INT8, {"a.xml": b"<net>not a network</net>"})
    with pytest.raises(EngineLostError, match="broken: OpenVINO cannot load it") as caught:
        OpenVinoEngine([broken], TILES, 1, 1)
    assert caught.value.fault is EngineFault.BAD_NETWORK, "no new try can mend it"
    other = replace(flight_network(Task.SURFACE), task=Task.SCENE)
    with pytest.raises(EngineLostError, match="none of a scene network") as caught:
        OpenVinoEngine([other], TILES, 1, 1)
    assert caught.value.fault is EngineFault.BAD_NETWORK


@pytest.mark.parametrize(("task", "filling"), [(Task.SURFACE, np.nan), (Task.SCENE, 255)])
def test_impossible_numbers_name_their_tile(task: Task, filling: float, tmp_path: Path) -> None:
    engine = OpenVinoEngine([constant_network(task, filling, tmp_path)], TILES, 1, 1)
    engine.submit(task, random_tile(6))
    with pytest.raises(EngineOutputError) as caught:
        engine.collect(10)
    assert caught.value.index == 6
    engine.submit(task, random_tile(6))
    engine.close()


def constant_network(task: Task, filling: float, folder: Path) -> Network:
    """A network that answers every tile with ``filling``."""
    codes = opset13.parameter([1, 4, 192, 240], np.uint8, name="b10")
    codes.output(0).set_names({"b10"})
    if task is Task.SCENE:
        answer = opset13.maximum(codes, opset13.constant(np.full((1, 1, 1, 1), filling, np.uint8)))
    else:
        zeros = opset13.multiply(opset13.convert(codes, "f32"), opset13.constant(np.float32([0.0])))
        pooled = opset13.reduce_max(zeros, opset13.constant([2, 3]), keep_dims=True)
        answer = opset13.add(pooled, opset13.constant(np.full((1, 4, 8, 10), filling, np.float32)))
    path = folder / "constant.xml"
    ov.save_model(ov.Model([answer], [codes]), path, compress_to_fp16=False)
    weights = path.with_suffix(".bin").read_bytes()
    files = {"a.xml": path.read_bytes(), "a.bin": weights}
    return Network(task, "constant", "0" * 64, Precision.INT8, files)
