"""Which answers a trial is judged by."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np

from payload.drivers.weight_slots import SlotFolder
from payload.trial import TrialEngine
from payload.types import EngineName, Inference, Precision, Target, Task, Tile
from tests.packages import known_answers
from tests.update_bench import Bench, small_package


class SureEngine:
    """Implements `ports.Engine`: every pixel is clear, and one of them less so."""

    def __init__(self) -> None:
        self.slots = 1
        self._tiles: deque[tuple[Task, Tile]] = deque()

    def submit(self, task: Task, tile: Tile) -> None:
        self._tiles.append((task, tile))

    def collect(self, timeout_s: float) -> Inference | None:  # noqa: ARG002  # it is never late
        task, tile = self._tiles.popleft()
        scores = np.zeros((4, 48, 48), np.uint8)
        scores[0] = 200
        scores[0, 0, 0] = 100
        name = EngineName(Target.CPU, "sure", "none", Precision.INT8, "sure", "0" * 64)
        return Inference(task, tile.index, scores, name)

    def close(self) -> None:
        """Nothing is open."""


def judge(bench: Bench, engine: TrialEngine) -> int:
    """One tile is made; how many the trial has counted."""
    engine.submit(Task.SCENE, known_answers().tiles[0])
    assert engine.collect(1.0) is not None
    return bench.record.trial_tiles


def test_a_trial_is_judged_by_the_answers_of_its_own_model_alone(tmp_path: Path) -> None:
    running = Bench(SlotFolder(tmp_path))
    engine = TrialEngine(SureEngine(), {Task.SCENE: running.slots}, SureEngine)
    Bench(SlotFolder(tmp_path)).install(small_package(1))  # by another process, during the strip
    running.slots.read_again()
    assert running.record.is_trial
    assert judge(running, engine) == 0, "the factory's model has answered"
    next_strip = TrialEngine(SureEngine(), {Task.SCENE: running.slots}, SureEngine)
    assert judge(running, next_strip) == 1
