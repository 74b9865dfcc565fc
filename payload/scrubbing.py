"""Weights are checked on a period while a strip is under way, between two tiles."""

from __future__ import annotations

from collections.abc import Callable

from payload.ports import Clock

_NS_PER_S = 1_000_000_000


class Scrubbing:
    """Does a round of checks whenever its time has come."""

    def __init__(self, period_s: float, clock: Clock, check: Callable[[], None]) -> None:
        self._period_ns = int(period_s * _NS_PER_S)
        self._clock = clock
        self._check = check
        self._next_ns = clock.mono_ns() + self._period_ns

    def poll(self) -> None:
        """The checks have been made if they were due; to be called between tiles."""
        if self._clock.mono_ns() < self._next_ns:
            return
        self._check()
        self._next_ns = self._clock.mono_ns() + self._period_ns
