"""Every network of `tools.bench_engines`, loaded: a call without arguments that runs one tile.

Ours read windows of WINDOW_PX, DTACSNet's 512 x 512; neither cost depends on what a tile shows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tools.networks import model_folder

ROOT = Path(__file__).resolve().parents[2]
WINDOW_PX = (528, 480)
FOLDER_OF_TASK = {task.value: name for task, name in model_folder.FOLDER_OF_TASK.items()}
PEER_FOLDER = ROOT / "build" / "bench"

Work = Callable[[], object]


def _ours(row: str, task: str, threads: int) -> Work:
    from payload.drivers.engine_openvino import compile_for_window
    from payload.drivers.network import GEOMETRY
    from payload.drivers.openvino_lean import ov

    core = ov.Core()
    compiled = compile_for_window(core, _model_of(core, row, task), *WINDOW_PX, 1, threads)
    request = compiled.create_infer_request()
    for port in compiled.inputs:
        kind = np.float32 if GEOMETRY in port.get_names() else np.uint8
        codes = np.random.default_rng(0).integers(0, 256, list(port.shape))
        request.set_tensor(port, ov.Tensor(codes.astype(kind)))
    run: Work = request.infer
    return run


def _model_of(core: Any, row: str, task: str) -> Any:
    folder = ROOT / "models" / FOLDER_OF_TASK[task]
    if row == "openvino int8":
        return core.read_model(folder / "openvino_int8.xml")
    from tools.stand_in import read_codes

    if row == "openvino float32":
        return read_codes(core.read_model(folder / "fp32.onnx"))
    from tools.halves import simulate_halves

    return read_codes(simulate_halves(core.read_model(folder / "myriad_fp16.xml")))


def write_litert(folder: Path) -> None:
    """The TFLite files of our networks for WINDOW_PX, in ``folder``."""
    from tools.export.tflite import tflite_of

    folder.mkdir(parents=True, exist_ok=True)
    for task, name in FOLDER_OF_TASK.items():
        (folder / f"{task}.tflite").write_bytes(tflite_of(ROOT / "models" / name, *WINDOW_PX))


def _litert(task: str, threads: int) -> Work:
    from payload.core.probe import probe_tile
    from payload.drivers.litert import LiteRt
    from payload.drivers.network import CELL_PX, GEOMETRY, GRID_OF_INPUT
    from payload.types import TileGrid

    runtime = LiteRt([(PEER_FOLDER / f"{task}.tflite").read_bytes()], threads)
    rows, columns = WINDOW_PX
    tile = probe_tile(TileGrid(rows - 144, columns - 144, 72))
    inputs = {GEOMETRY: tile.geometry, **{name: tile.codes[grid] for name, grid in GRID_OF_INPUT.items()}}
    shape = (1, 48, rows // CELL_PX, columns // CELL_PX) if task == "surface" else (1, 4, rows, columns)
    output = np.empty(shape, np.float32 if task == "surface" else np.uint8)
    return lambda: runtime.infer(0, inputs, output)


def _peer_torch(task: str, threads: int) -> Work:
    import torch

    from tools.bench.dtacsnet import build_networks
    from tools.bench.peer_rows import random_tile

    torch.set_num_threads(threads)
    network = build_networks()[("scene", "surface").index(task)]
    tile = torch.from_numpy(random_tile(0))

    def run() -> object:
        with torch.inference_mode():
            return network(tile)

    return run


def _peer_openvino(task: str, threads: int) -> Work:
    import openvino as ov

    from tools.bench.peer_rows import FILES, random_tile

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = ov.Core().compile_model(PEER_FOLDER / FILES[task], "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(random_tile(0)))  # a copy: nobody else keeps the tile
    run: Work = request.infer
    return run


def load(row: str, task: str, threads: int) -> Work:
    """What runs one tile of ``task`` as ``row`` says, with so many threads."""
    if row == "litert int8":
        return _litert(task, threads)
    if row == "DTACSNet float32 torch":
        return _peer_torch(task, threads)
    if row == "DTACSNet int8 openvino":
        return _peer_openvino(task, threads)
    return _ours(row, task, threads)
