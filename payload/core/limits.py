"""When a channel leaves its limits, told once, and when it has come back.

Rules:
1. A channel that gets worse (normal, yellow, red) is told at once, and only then.
2. It has come back when it was better SETTLED times in a row; so a value that flickers
   around a limit is told once, not each time.
3. A channel without a value is neither good nor bad.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique

from payload.core.telemetry.kinds import Limits
from payload.core.telemetry.tables import CHANNELS

SETTLED = 5


@unique
class Level(IntEnum):
    NORMAL = 0
    YELLOW = 1
    RED = 2


@dataclass(frozen=True, slots=True)
class Crossing:
    """A channel is at another level now."""

    channel: str
    value: float
    level: Level


class LimitWatch:
    """Remembers the level of every channel that has limits."""

    def __init__(self) -> None:
        self._limits = {channel.name: channel.limits for channel in CHANNELS if channel.limits}
        self._levels = dict.fromkeys(self._limits, Level.NORMAL)
        self._better = dict.fromkeys(self._limits, 0)

    def check(self, values: dict[str, int | float]) -> list[Crossing]:
        """What is to be told now that the channels have these values."""
        crossings = []
        for name, limits in self._limits.items():
            if name not in values:
                continue
            found, told = level_of(values[name], limits), self._levels[name]
            self._better[name] = self._better[name] + 1 if found < told else 0
            if found > told or self._better[name] >= SETTLED:
                self._levels[name], self._better[name] = found, 0
                crossings.append(Crossing(name, float(values[name]), found))
        return crossings


def level_of(value: float, limits: Limits) -> Level:
    """Where a value lies."""
    if _is_outside(value, limits.red_low, limits.red_high):
        return Level.RED
    if _is_outside(value, limits.yellow_low, limits.yellow_high):
        return Level.YELLOW
    return Level.NORMAL


def _is_outside(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)
