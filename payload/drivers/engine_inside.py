"""An engine of this process as a device that can be stopped and started again."""

from __future__ import annotations

from collections.abc import Callable

from payload.errors import EngineFault, EngineLostError
from payload.ports import Engine
from payload.types import Inference, Task, Tile


class InsideEngine:
    """Implements `payload.ports.Device`; ``make`` builds the engine, ready, at every start."""

    def __init__(self, name: str, slots: int, make: Callable[[], Engine]) -> None:
        self.name, self.slots = name, slots
        self._make = make
        self._engine: Engine | None = None

    def start(self) -> None:
        self.stop()
        self._engine = self._make()

    def is_ready(self) -> bool:
        return self._engine is not None

    def submit(self, task: Task, tile: Tile) -> None:
        if self._engine is None:
            raise EngineLostError(f"{self.name}: not started", EngineFault.DIED)
        self._engine.submit(task, tile)

    def collect(self, timeout_s: float) -> Inference | None:
        return self._engine.collect(timeout_s) if self._engine else None

    def stop(self) -> None:
        """What the engine holds is given back."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None

    def close(self) -> None:
        self.stop()

    def scrub(self) -> tuple[int, int]:
        """(0, 0): a start reads verified files, and what the runtime makes of them is its own."""
        return 0, 0

    def resident_bytes(self) -> int:
        """0: it has no process of its own; the plan's engine terms hold it."""
        return 0

    def temperature_degc(self) -> float | None:
        """A processor says nothing here."""
        return None
