"""Devices on a simulated clock that can be told to go wrong; they implement the Device port."""

from __future__ import annotations

from collections import deque

import numpy as np

from payload.errors import EngineFault, EngineLostError, EngineOutputError
from payload.types import EngineName, Grid, Inference, Precision, Target, Task, Tile

BOOT_S = 0.5
TILE_S = 0.02


class SimulatedClock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def utc_ns(self) -> int:
        return self.mono_ns()

    def mono_ns(self) -> int:
        return round(self.now_s * 1e9)

    def pause(self, seconds: float) -> None:
        self.now_s += max(seconds, 0.0)


def answer(task: Task, tile: Tile) -> np.ndarray:
    """What every healthy device makes of a tile: a rule that depends on each code."""
    codes = tile.codes[Grid.R10M][0].astype(np.uint8)
    if task is Task.SCENE:
        return np.stack([codes[0], codes[1] ^ 85, codes[2], codes[3]])
    cells = codes[:, ::24, ::24].astype(np.float32) / 512
    return np.stack([np.repeat(cells, 3, axis=0) + level for level in (0.0, 0.6, 0.1, 0.01)])


class SimulatedDevice:
    """Works on one tile at a time. Counts what it was given and how far it came.

    ``is_dead``: the next contact loses it. ``is_hung``: no answer until its deadline of a second.
    ``is_wrong``: plausible nonsense. ``is_nan``: impossible numbers. ``absent``: why it does not
    start. ``is_struck``: as is_wrong, until it starts anew. ``is_damaged``: so are both copies of
    its weights in memory.
    """

    def __init__(self, name: str, clock: SimulatedClock, slots: int) -> None:
        self.name, self.slots, self._clock = name, slots, clock
        self.is_dead = self.is_hung = self.is_nan = self.is_wrong = self.is_struck = False
        self.is_damaged = False
        self.absent: EngineFault | None = None
        self.degc: float | None = None
        self.weight_bytes = 100
        self.begun = self.finished = self.starts = self.scrubs = 0
        self._ready_s = float("inf")
        self._queue: deque[tuple[Task, Tile]] = deque()

    def start(self) -> None:
        self.stop()
        self.starts += 1
        self.is_struck = False
        self._ready_s = self._clock.now_s + BOOT_S

    def scrub(self) -> tuple[int, int]:
        self.scrubs += 1
        if self.is_damaged:
            raise EngineLostError(f"{self.name}: damaged in both copies", EngineFault.BAD_NETWORK)
        return 4, 1

    def is_ready(self) -> bool:
        if self.absent is not None:
            raise EngineLostError(f"{self.name}: {self.absent.value}", self.absent)
        self._die_if_told()
        return self._clock.now_s >= self._ready_s

    def _die_if_told(self) -> None:
        if self.is_dead or self.absent is not None:
            self.is_dead = False
            raise EngineLostError(f"{self.name}: died", EngineFault.DIED)

    def submit(self, task: Task, tile: Tile) -> None:
        assert self._clock.now_s >= self._ready_s, "a tile for a device that is not ready"
        assert len(self._queue) < self.slots
        self._queue.append((task, tile))

    def collect(self, timeout_s: float) -> Inference | None:
        if not self._queue or timeout_s < 0:
            return None
        self.begun += 1
        self._die_if_told()
        if self.is_hung:
            self._clock.pause(1.0)
            self.is_hung = False
            raise EngineLostError(f"{self.name}: late", EngineFault.LATE)
        self._clock.pause(TILE_S)
        task, tile = self._queue.popleft()
        self.finished += 1
        if self.is_nan:
            raise EngineOutputError(f"{self.name}: nan", tile.index)
        output = answer(task, tile)
        if self.is_wrong or self.is_struck:
            output = np.roll(output, 1, axis=0)
        name = EngineName(Target.CPU, self.name, "simulated", Precision.INT8, "rule", "0" * 64)
        return Inference(task, tile.index, output, name)

    def stop(self) -> None:
        self._queue.clear()
        self._ready_s = float("inf")

    def close(self) -> None:
        self.stop()

    def resident_bytes(self) -> int:
        return self.weight_bytes if self._ready_s < float("inf") else 0

    def temperature_degc(self) -> float | None:
        return self.degc
