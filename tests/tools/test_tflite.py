"""INT8 TFLite files: the integers of the INT8 IR, judged by the runtime that flies them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra 'litert'")

from payload.core.probe import Disagreement, disagreement, probe_tile
from payload.drivers.engine_litert import LiteRtEngine
from payload.drivers.engine_process import ProcessEngine, WorkerSpec
from payload.drivers.network import GEOMETRY, GRID_OF_INPUT, Network
from payload.ports import Engine
from payload.types import Precision, Target, Task, TileGrid
from tests.drivers.test_engine_openvino import TILES
from tools.export.tflite import TfliteError, tflite_of

ROOT = Path(__file__).resolve().parents[2]
TFLITE_PYTHON = ROOT / "build" / "tflite" / "bin" / "python"
FILES = sorted((ROOT / "models").glob("*/*.tflite"))
SAME_INTEGERS = Disagreement(0.01, 20.0)
"""What two runtimes make of the same integers: each rounds between operators in its own way."""


def network_of(path: Path) -> tuple[Task, Network]:
    task = Task(json.loads((path.parent / "manifest.json").read_text())["task"])
    return task, Network(task, path.parent.name, "0" * 64, Precision.INT8, {path.name: path.read_bytes()})


def answer_of_onnx(folder: Path, tiles: TileGrid) -> np.ndarray:
    """float32's answer to the known tile, as an engine hands it out."""
    tile = probe_tile(tiles)
    model = ov.Core().read_model(folder / "fp32.onnx")
    feed = {name: tile.codes[grid].astype(np.float32) for name, grid in GRID_OF_INPUT.items()}
    feed[GEOMETRY] = tile.geometry
    feed = {port.get_any_name(): feed[port.get_any_name()] for port in model.inputs}
    model.reshape({name: list(array.shape) for name, array in feed.items()})
    (answer,) = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feed).values()
    return answer[0] if answer.shape[1] == 4 else answer[0].reshape(4, -1, *answer.shape[2:])


def answer_of(engine: Engine, task: Task, tiles: TileGrid) -> np.ndarray:
    engine.submit(task, probe_tile(tiles))
    answer = engine.collect(60.0)
    assert answer is not None
    return answer.output.copy()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_tflite_file_stays_within_what_its_manifest_permits(path: Path) -> None:
    rows, columns = map(int, path.stem.rpartition("_")[2].split("x"))
    tiles = TileGrid(rows - 144, columns - 144, 72)
    artifacts = json.loads((path.parent / "manifest.json").read_text())["artifacts"]
    told = next(artifact for artifact in artifacts if artifact["target"] == "tflite")
    assert path.name in [file["path"] for file in told["files"]]
    task, network = network_of(path)
    found = answer_of(LiteRtEngine([network], tiles, 1, 1), task, tiles)
    off = disagreement(task, answer_of_onnx(path.parent, tiles), found)
    print(path.parent.name, off)
    assert off.is_within(Disagreement(**told["disagreement"]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_tflite_file_of_any_window_answers_as_the_int8_ir(path: Path) -> None:
    from payload.drivers.engine_openvino import OpenVinoEngine

    task, _ = network_of(path)
    content = tflite_of(path.parent, TILES.window_rows_px, TILES.window_columns_px)
    name = f"litert_int8_{TILES.window_rows_px}x{TILES.window_columns_px}.tflite"
    network = Network(task, "any", "0" * 64, Precision.INT8, {name: content})
    files = {ir.name: ir.read_bytes() for ir in path.parent.glob("openvino_int8.*")}
    same = Network(task, "any", "0" * 64, Precision.INT8, files)
    expected = answer_of(OpenVinoEngine([same], TILES, 1, 1), task, TILES)
    found = answer_of(LiteRtEngine([network], TILES, 1, 1), task, TILES)
    assert disagreement(task, expected, found).is_within(SAME_INTEGERS)
    if task is Task.SCENE:
        apart = np.abs(expected.astype(np.int16) - found)
        assert np.quantile(apart, 0.99) <= 4, "scores, in steps of 12/255 of a logit"


@pytest.mark.skipif(
    not TFLITE_PYTHON.exists(),
    reason="python -m tools.make_myriad_env build/tflite --runtime tflite-runtime first",
)
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_old_tflite_runtime_answers_the_same_from_an_interpreter_of_its_own(path: Path) -> None:
    rows, columns = map(int, path.stem.rpartition("_")[2].split("x"))
    tiles = TileGrid(rows - 144, columns - 144, 72)
    task, network = network_of(path)
    spec = WorkerSpec("litert", Target.TFLITE, "litert", TFLITE_PYTHON, 1, 256 << 20, 60.0, 60.0)
    child = ProcessEngine(spec, [network], tiles, 1)
    try:
        child.start()
        child.wait_ready()
        assert child.facts["runtime"].startswith("tflite-runtime 2.")
        found = answer_of(child, task, tiles)
    finally:
        child.close()
    here = answer_of(LiteRtEngine([network], tiles, 1, 1), task, tiles)
    assert disagreement(task, here, found).is_within(SAME_INTEGERS)


def test_an_operator_that_is_not_known_fails_by_its_name(tmp_path: Path) -> None:
    port = opset13.parameter([1, 4, 48, 48], np.uint8, name="b10")
    port.output(0).set_names({"b10"})
    answer = opset13.abs(opset13.convert(port, np.float32))
    ov.save_model(ov.Model([opset13.result(answer)], [port]), tmp_path / "openvino_int8.xml")
    with pytest.raises(TfliteError, match=r"Abs .* is not known here"):
        tflite_of(tmp_path, 48, 48)
