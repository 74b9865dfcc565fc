"""The OpenVINO runtime on the CPU, in this process.

Precision is pinned to float32 for what is not quantized: left to itself the runtime takes
bfloat16 where the processor has it, and moves 0.7 % of the classes. Threads are fixed, so
that a run can be repeated to the last bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from payload.drivers.heap import give_back_freed_memory
from payload.drivers.network import GEOMETRY, GRID_OF_INPUT, Network, check_plausible
from payload.drivers.openvino_lean import ov
from payload.errors import EngineFault, EngineLostError
from payload.types import U8, EngineName, Inference, Target, Task, Tile, TileGrid

_WORDS: Mapping[int, type[np.unsignedinteger]] = MappingProxyType({2: np.uint16, 4: np.uint32})
"""What holds one row of a shuffled square, by the square's side in pixels."""


class OpenVinoEngine:
    """Implements `payload.ports.Engine` for networks that are in this process."""

    def __init__(self, networks: Sequence[Network], tiles: TileGrid, slots: int, threads: int) -> None:
        """Compile every network for the window of ``tiles`` and make ``slots`` requests each.

        Raises:
            EngineLostError: the runtime cannot load or compile a network, or it answers for another task.
        """
        self.slots = slots
        self._names: dict[Task, EngineName] = {}
        self._shuffles: dict[Task, Shuffle | None] = {}
        self._idle: dict[Task, list[ov.InferRequest]] = {}
        self._busy: deque[tuple[Task, Tile, ov.InferRequest]] = deque()  # keeps the tile's memory alive
        self._handed_out: tuple[Task, ov.InferRequest] | None = None
        core = ov.Core()
        for network in networks:
            try:
                model = core.read_model(model=network.file(".xml"), weights=network.file(".bin"))
                size_px = tiles.window_rows_px, tiles.window_columns_px
                compiled, shuffle = compile_shuffle_apart(core, model, *size_px, min(slots, threads), threads)
            except RuntimeError as error:
                raise EngineLostError(
                    f"{network.model}: OpenVINO cannot load it: {_first_line(error)}", EngineFault.BAD_NETWORK
                ) from error
            if (compiled.output().get_element_type() == ov.Type.u8) is not (network.task is Task.SCENE):
                raise EngineLostError(
                    f"{network.model}: its answers are none of a {network.task.value} network",
                    EngineFault.BAD_NETWORK,
                )
            runtime = f"openvino {ov.__version__.split('-')[0]}"
            self._names[network.task] = network.made_by(Target.CPU, "CPU", runtime)
            self._idle[network.task] = [compiled.create_infer_request() for _ in range(slots)]
            self._shuffles[network.task] = shuffle
        give_back_freed_memory()

    def submit(self, task: Task, tile: Tile) -> None:
        self._take_back()
        request = self._idle[task].pop()
        try:
            for port in request.model_inputs:
                name = port.get_any_name()
                array = tile.geometry if name == GEOMETRY else tile.codes[GRID_OF_INPUT[name]]
                request.set_tensor(port, ov.Tensor(array, shared_memory=True))
            request.start_async()
        except RuntimeError as error:
            raise EngineLostError(f"{task.value}: OpenVINO did not start: {_first_line(error)}") from error
        self._busy.append((task, tile, request))

    def collect(self, timeout_s: float) -> Inference | None:
        self._take_back()
        if not self._busy:
            return None
        task, tile, request = self._busy[0]
        try:
            if not request.wait_for(int(timeout_s * 1000)):
                return None
            output = request.get_output_tensor(0).data[0]
        except RuntimeError as error:
            raise EngineLostError(f"{task.value}: OpenVINO failed: {_first_line(error)}") from error
        self._busy.popleft()
        self._handed_out = (task, request)
        if (shuffle := self._shuffles[task]) is not None:
            output = shuffle.undo(output)
        if task is Task.SURFACE:
            output = output.reshape(4, -1, *output.shape[1:])
        check_plausible(task, tile.index, output)
        return Inference(task, tile.index, output, self._names[task])

    def _take_back(self) -> None:
        """What the last `collect` handed out has been read: its request may run again."""
        if self._handed_out is not None:
            task, request = self._handed_out
            self._idle[task].append(request)
            self._handed_out = None

    def close(self) -> None:
        for _, _, request in self._busy:
            request.wait()
        self._busy.clear()
        self._handed_out = None
        self._idle.clear()


def compile_for_window(
    core: ov.Core, model: ov.Model, rows_px: int, columns_px: int, streams: int, threads: int
) -> ov.CompiledModel:
    """``model`` for windows of one size, as it flies: precision, streams and threads are set."""
    shapes = {}
    for port in model.inputs:
        name = port.get_any_name()
        if name != GEOMETRY:
            pitch = GRID_OF_INPUT[name]
            shapes[name] = [1, port.partial_shape[1], rows_px // pitch, columns_px // pitch]
    model.reshape(shapes)
    return core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,  # changes no bit of the output
        },
    )


def compile_shuffle_apart(
    core: ov.Core, model: ov.Model, rows_px: int, columns_px: int, streams: int, threads: int
) -> tuple[ov.CompiledModel, Shuffle | None]:
    """As `compile_for_window`, and what must be done to its answers if ``model`` ended in a shuffle."""
    block = cut_shuffle(model)
    compiled = compile_for_window(core, model, rows_px, columns_px, streams, threads)
    return compiled, Shuffle(compiled.output().shape, block) if block > 1 else None


def cut_shuffle(model: ov.Model) -> int:
    """Let ``model`` answer squares channel by channel if it ends in a shuffle of them to pixels.

    The runtime shuffles byte by byte and then turns channels outwards: a fifth of the scene
    network's time, ten times what `Shuffle` takes (depth to space, depth first).

    Returns:
        side of a square in pixels; 1 if the model is as it was.
    """
    result = model.get_results()[0]
    path = [result.input_value(0).get_node()]
    while path[-1].get_type_name() == "Convert":
        path.append(path[-1].input_value(0).get_node())
    shuffle = path[-1]
    how = shuffle.get_attributes()
    is_known = shuffle.get_type_name() == "DepthToSpace" and how["mode"] == "depth_first"
    if not is_known or how["block_size"] not in _WORDS:
        return 1
    squares = ov.opset13.convert(shuffle.input_value(0), result.get_element_type())
    channels_last = ov.opset13.transpose(squares, [0, 2, 3, 1])
    result.input(0).replace_source_output(channels_last.output(0))
    model.validate_nodes_and_infer_types()
    return int(how["block_size"])


class Shuffle:
    """What `cut_shuffle` took away: squares with their pixels in the last axis become planes."""

    def __init__(self, shape: Sequence[int], block: int) -> None:
        """For answers of ``shape`` (1, square row, square col, class x block x block)."""
        _, rows, cols, channels = shape
        self._shape = (channels // block**2, rows * block, cols * block)
        self._rows = np.empty((channels // block**2, rows, block, cols), dtype=_WORDS[block])

    def undo(self, squares: U8) -> U8:
        """``squares`` (square row, square col, channel) as (class, row, col), valid until the next call."""
        classes, rows, block, cols = self._rows.shape
        words = squares.view(self._rows.dtype).reshape(rows, cols, classes, block)
        np.copyto(self._rows, words.transpose(2, 0, 3, 1))
        return self._rows.view(np.uint8).reshape(self._shape)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
