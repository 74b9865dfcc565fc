"""An engine that judges the models on trial by what they answer, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from payload.core.plausible import is_plausible
from payload.errors import EngineLostError, EngineOutputError
from payload.model_slots import ModelSlots
from payload.ports import Engine
from payload.types import Grid, Inference, Task, Tile


class TrialEngine:
    """Implements `payload.ports.Engine` around another, and counts its answers while a model is on trial.

    A judged tile is on the disk before its answer is handed on. The answer that ends a trial is
    handed on to nobody: the engine is made anew with the last good model, and that one does all
    tiles in flight again. A lost engine counts as a bad tile of every model on trial.
    """

    def __init__(
        self, engine: Engine, slots: Mapping[Task, ModelSlots], rebuild: Callable[[], Engine]
    ) -> None:
        """``rebuild`` makes an engine of the models that are active then; the old one is closed."""
        self.slots = engine.slots
        self._engine = engine
        self._slots = slots
        self._rebuild = rebuild
        self._in_flight: dict[tuple[Task, int], Tile] = {}  # oldest first
        self._running = self._active()

    def _active(self) -> dict[Task, str]:
        """The package that each task's model is of; empty for the factory's."""
        return {task: slots.active_sha256 for task, slots in self._slots.items()}

    def submit(self, task: Task, tile: Tile) -> None:
        """As the engine's."""
        self._engine.submit(task, tile)
        self._in_flight[task, tile.index] = tile

    def collect(self, timeout_s: float) -> Inference | None:
        """As the engine's."""
        while True:
            try:
                inference = self._engine.collect(timeout_s)
            except EngineOutputError as error:
                task = next(task for task, index in self._in_flight if index == error.index)
                if self._ends_trial({task: False}):
                    continue
                del self._in_flight[task, error.index]
                raise
            except EngineLostError:
                if self._ends_trial(dict.fromkeys(self._slots, False)):
                    continue
                raise
            if inference is None:
                return None
            tile = self._in_flight[inference.task, inference.index]
            is_good = is_plausible(inference.task, inference.output, tile.codes[Grid.R10M])
            if self._ends_trial({inference.task: is_good}):
                continue
            del self._in_flight[inference.task, inference.index]
            return inference

    def close(self) -> None:
        """As the engine's."""
        self._in_flight.clear()
        self._engine.close()

    def _ends_trial(self, verdicts: Mapping[Task, bool]) -> bool:
        """Counts a tile; True if another model is active now, and does the tiles in flight."""
        ended = [
            self._slots[task].tile_done(is_good)
            for task, is_good in verdicts.items()
            # Another process may have installed a model since: its trial is not of these answers.
            if self._slots[task].record.is_trial and self._slots[task].active_sha256 == self._running[task]
        ]
        if not any(ended):
            return False
        self._engine.close()
        self._engine = self._rebuild()
        self._running = self._active()
        for (task, _), tile in self._in_flight.items():
            self._engine.submit(task, tile)
        return True
