"""LiteRT, or tflite-runtime, on the CPU, in this process: the smallest engine there is.

The interpreter has no asynchronous call: a tile is worked on when its answer is collected.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from payload.drivers.litert import LiteRt, NoRuntimeError
from payload.drivers.network import CELL_PX, GEOMETRY, GRID_OF_INPUT, Network, check_plausible
from payload.errors import EngineFault, EngineLostError
from payload.types import Inference, Target, Task, Tile, TileGrid

_NOTICES_MAX_BYTES = 65536


class LiteRtEngine:
    """Implements `payload.ports.Engine` for TFLite networks made for the window of the tiles."""

    def __init__(self, networks: Sequence[Network], tiles: TileGrid, slots: int, threads: int) -> None:
        """Load every network.

        Raises:
            EngineLostError: no runtime, a network that it does not take, or one for another window.
        """
        self.slots = slots
        window_px = tiles.window_rows_px, tiles.window_columns_px
        try:
            with _without_notices():
                self._runtime = LiteRt([network.file(".tflite") for network in networks], threads)
            self._runtime.check_answers([network.task.value for network in networks])
            sizes_px = {self._runtime.window_px(number) for number in range(len(networks))}
        except NoRuntimeError as error:
            raise EngineLostError(
                f"neither ai-edge-litert (extra 'litert') nor tflite-runtime is installed: {error}",
                EngineFault.NO_RUNTIME,
            ) from error
        except (RuntimeError, ValueError) as error:
            raise EngineLostError(f"LiteRT: {error}".splitlines()[0], EngineFault.BAD_NETWORK) from error
        if sizes_px != {window_px}:
            raise EngineLostError(
                f"the TFLite files are for windows of {sizes_px}, the tiles have {window_px}",
                EngineFault.BAD_NETWORK,
            )
        rows, columns = window_px
        facts = self._runtime.facts
        self._tasks = [network.task for network in networks]
        self._names = [n.made_by(Target.TFLITE, facts["device"], facts["runtime"]) for n in networks]
        cells = (1, 48, rows // CELL_PX, columns // CELL_PX)
        self._outputs = [
            np.empty((1, 4, rows, columns), np.uint8) if task is Task.SCENE else np.empty(cells, np.float32)
            for task in self._tasks
        ]
        self._waiting: deque[tuple[int, Tile]] = deque()

    def submit(self, task: Task, tile: Tile) -> None:
        self._waiting.append((self._tasks.index(task), tile))

    def collect(self, timeout_s: float) -> Inference | None:  # noqa: ARG002  # it cannot be cut short
        if not self._waiting:
            return None
        number, tile = self._waiting.popleft()
        inputs = {GEOMETRY: tile.geometry, **{name: tile.codes[g] for name, g in GRID_OF_INPUT.items()}}
        try:
            self._runtime.infer(number, inputs, self._outputs[number])
        except (RuntimeError, ValueError) as error:
            raise EngineLostError(f"LiteRT failed: {error}".splitlines()[0]) from error
        task, output = self._tasks[number], self._outputs[number][0]
        if task is Task.SURFACE:
            output = output.reshape(4, -1, *output.shape[1:])
        check_plausible(task, tile.index, output)
        return Inference(task, tile.index, output, self._names[number])

    def close(self) -> None:
        self._waiting.clear()


@contextmanager
def _without_notices() -> Iterator[None]:
    """What native code writes to standard error meanwhile comes afterwards, lines of INFO left out.

    The runtime announces how it computes, and has no switch for that. Where it ends the process its
    last words are lost with it.
    """
    try:
        kept = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    begin, end = os.pipe()
    for descriptor in (begin, end):  # what is too much for the pipe is lost, and nobody waits
        os.set_blocking(descriptor, False)
    os.dup2(end, 2)
    os.close(end)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        with suppress(OSError):  # nobody may listen to standard error
            said = os.read(begin, _NOTICES_MAX_BYTES).splitlines(keepends=True)
            os.write(2, b"".join(line for line in said if not line.startswith(b"INFO:")))
        os.close(begin)
