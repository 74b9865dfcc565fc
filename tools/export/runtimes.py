"""Networks in the hands of other runtimes than today's OpenVINO, asked with codes as float32.

For `tools.parity`: what LiteRT answers, layer by layer too, and what an old OpenVINO answers in
a process of its own. A TFLite file is for one window, so that LiteRT is asked by one made for the
patches' window; `check_tflite` holds the one that flies to the same conversion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.drivers.engine_litert import LiteRtEngine
from payload.drivers.engine_process import ProcessEngine, WorkerSpec
from payload.drivers.network import GEOMETRY, GRID_OF_INPUT, Network
from payload.errors import TrustError
from payload.ports import Device, Engine
from payload.types import F32, Precision, Target, Task, Tile, TileGrid, Window
from tools.export.litert import HALO_PX

Feed = Mapping[str, NDArray[np.float32]]

_QUANTIZED = "/fq_output_0"
_CHILD_BYTES, _PATIENCE_S = 1 << 30, 120.0


def check_tflite(folder: Path, files: Mapping[str, bytes]) -> None:
    """Returns if each TFLite file that flies is what is made of the INT8 network for its window.

    `LiteRtReader` makes its own for other windows: only then is it the network that flies.

    Raises:
        TrustError: one is not; its name must end in ROWSxCOLUMNS.tflite.
    """
    from tools.export.tflite import tflite_of

    for name, content in files.items():
        size = re.search(r"_(\d+)x(\d+)\.tflite$", name)
        if size is None or tflite_of(folder, int(size[1]), int(size[2])) != content:
            raise TrustError(
                f"{folder / name}: not what openvino_int8.xml gives for its window; "
                "`python -m tools.export` makes it"
            )


class LiteRtReader:
    """The INT8 network of a model folder in LiteRT, for windows of any size."""

    def __init__(self, folder: Path, task: Task) -> None:
        self._folder, self._task = folder, task
        self._engines: dict[tuple[int, int], LiteRtEngine] = {}

    def answer(self, feed: Feed) -> F32:
        """(channel, row, col), as the flight engine answers."""
        window_px = window_of(feed)
        if window_px not in self._engines:
            network = self._network(window_px)
            self._engines[window_px] = LiteRtEngine([network], tiles_of(window_px), 1, 1)
        return asked(self._engines[window_px], self._task, feed)

    def _network(self, window_px: tuple[int, int]) -> Network:
        from tools.export.tflite import tflite_of

        content = tflite_of(self._folder, *window_px)
        return Network(self._task, self._folder.name, "0" * 64, Precision.INT8, {"network.tflite": content})

    def layers(self, feed: Feed) -> dict[str, F32]:
        """What every operator made, (1, channel, row, col), by the operator's name in the network."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        interpreter = Interpreter(
            model_content=self._network(window_of(feed)).file(".tflite"),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        for port in interpreter.get_input_details():
            values = np.moveaxis(feed[port["name"]], 1, 3)
            if port["dtype"] == np.int8:
                values = (values - 128).astype(np.int8)
            interpreter.set_tensor(port["index"], np.ascontiguousarray(values))
        interpreter.invoke()
        found = {}
        for told in interpreter.get_tensor_details():
            if len(told["shape"]) == 4 and told["dtype"] in (np.int8, np.float32):
                scale, zero_point = told["quantization"]
                values = interpreter.get_tensor(told["index"]).astype(np.float32)
                real = (values - zero_point) * scale if told["dtype"] == np.int8 else values
                found[told["name"].removesuffix(_QUANTIZED)] = np.moveaxis(real, 3, 1)
        return found


class OldOpenVinoReader:
    """An IR in the CPU plugin of an OpenVINO with an interpreter of its own, through the flight worker."""

    def __init__(self, files: Sequence[Path], task: Task, python: Path) -> None:
        content = {path.name: path.read_bytes() for path in files}
        self._network = Network(task, "old", "0" * 64, Precision.INT8, content)
        self._python, self._task = python, task
        self._engines: dict[tuple[int, int], ProcessEngine] = {}

    def answer(self, feed: Feed) -> F32:
        """(channel, row, col), as the flight engine answers."""
        window_px = window_of(feed)
        if window_px not in self._engines:
            spec = WorkerSpec(
                "old",
                Target.CPU,
                "myriad",
                self._python,
                1,
                _CHILD_BYTES,
                _PATIENCE_S,
                _PATIENCE_S,
                options={"device": "CPU"},
            )
            engine = self._engines[window_px] = ProcessEngine(spec, [self._network], tiles_of(window_px), 1)
            engine.start()
            engine.wait_ready()
        return asked(self._engines[window_px], self._task, feed)

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()


def window_of(feed: Feed) -> tuple[int, int]:
    """Rows and columns of the 10 m grid."""
    rows, columns = feed["b10"].shape[2:]
    return rows, columns


def tiles_of(window_px: tuple[int, int]) -> TileGrid:
    """Tiles whose windows are of that size."""
    rows, columns = window_px
    return TileGrid(rows - 2 * HALO_PX, columns - 2 * HALO_PX, HALO_PX)


def asked(engine: Engine | Device, task: Task, feed: Feed) -> F32:
    """The answer of ``engine`` to one window."""
    rows, columns = window_of(feed)
    codes = {grid: feed[name].astype(np.uint8) for name, grid in GRID_OF_INPUT.items()}
    window = Window(0, 0, rows, columns)
    tile = Tile(0, window, window, codes, feed[GEOMETRY], np.ones((1, 1), np.bool_), 1)
    engine.submit(task, tile)
    answer = engine.collect(_PATIENCE_S)
    assert answer is not None, "no answer in time"
    found: F32 = answer.output.astype(np.float32)
    return found
