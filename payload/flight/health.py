"""Is all well: the board is measured, limits are checked, the clock is watched, the watchdog stroked.

Rules:
1. A channel that leaves its limits is one event, whatever it does there; see `core.limits`.
2. The watchdog is stroked by a loop that turns, and by nothing else.
3. A clock that is not set, or jumps by more than JUMP_S, is told; the service goes on, for it
   counts all its own times by the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable

from payload.core.clock import is_time_set
from payload.core.limits import Level, LimitWatch
from payload.core.telemetry import Telemetry
from payload.errors import StoreError
from payload.flight.calls import Now, Quiet
from payload.ports import Board, ProductStore, Surroundings, Watchdog

CHECK_S = 1.0
JUMP_S = 1.0
_NS_PER_S = 1_000_000_000
_EVENT_OF = {Level.NORMAL: "limit_kept", Level.YELLOW: "limit_yellow", Level.RED: "limit_red"}


class Health(Quiet):
    """Checks once a second."""

    def __init__(
        self,
        telemetry: Telemetry,
        board: Board,
        surroundings: Surroundings,
        store: ProductStore,
        queue_capacity_bytes: int,
        budget_bytes: Callable[[], int],
        watchdog: Watchdog,
        started: Now,
    ) -> None:
        """``budget_bytes`` is asked anew every time: it may be changed in flight."""
        self._telemetry = telemetry
        self._board = board
        self._surroundings = surroundings
        self._store = store
        self._queue_capacity_bytes = queue_capacity_bytes
        self._budget_bytes = budget_bytes
        self._watchdog = watchdog
        self._watch = LimitWatch()
        self._next_ns = started.mono_ns
        self._last = started
        self._longest_turn_s = 0.0
        self._was_set = True

    def poll(self, now: Now) -> None:
        """The watchdog is stroked and, once a second, everything checked."""
        self._stroke()
        self._watch_clock(now)
        self._last = now
        if now.mono_ns < self._next_ns:
            return
        self._next_ns = now.mono_ns + int(CHECK_S * _NS_PER_S)
        self._measure()
        for crossing in self._watch.check(dict(self._telemetry.values)):
            name = _EVENT_OF[crossing.level]
            self._telemetry.event(name, channel=crossing.channel, value=crossing.value)

    def close(self) -> None:
        """An orderly end is nothing to restart the board for."""
        self._watchdog.close()

    def _stroke(self) -> None:
        try:
            self._watchdog.stroke()
        except StoreError as error:  # it will bite if that goes on; nobody else should
            self._telemetry.event("store_error", reason=str(error))

    def _watch_clock(self, now: Now) -> None:
        turn_s = (now.mono_ns - self._last.mono_ns) / _NS_PER_S
        self._longest_turn_s = max(self._longest_turn_s, turn_s)
        step_s = (now.utc_ns - self._last.utc_ns) / _NS_PER_S - turn_s
        if abs(step_s) > JUMP_S:
            self._telemetry.event("clock_jumped", step_s=step_s)
        is_set = is_time_set(now.utc_ns)
        if self._was_set and not is_set:
            self._telemetry.event("clock_unset", utc_s=now.utc_ns / _NS_PER_S)
        self._was_set = is_set
        self._telemetry.set("time_is_set", int(is_set))

    def _measure(self) -> None:
        telemetry = self._telemetry
        resident_bytes = self._board.resident_bytes()
        telemetry.set("resident_bytes", resident_bytes)
        telemetry.set("peak_bytes", self._board.peak_bytes())
        telemetry.set("cpu_s", self._board.cpu_s())
        telemetry.set("longest_turn_s", self._longest_turn_s)
        self._longest_turn_s = 0.0
        temperature_degc = self._surroundings.temperature_degc()
        if temperature_degc is not None:
            telemetry.set("temperature_degc", temperature_degc)
        free_bytes = self._surroundings.free_bytes()
        if free_bytes is not None:
            telemetry.set("disk_free_bytes", free_bytes)
        telemetry.set("budget_bytes", self._budget_bytes())
        telemetry.set("budget_used_ratio", resident_bytes / self._budget_bytes())
        self._measure_queue()

    def _measure_queue(self) -> None:
        try:
            entries, size_bytes = self._store.queued()
        except StoreError as error:
            self._telemetry.event("store_error", reason=str(error))
            return
        self._telemetry.set("queue_entries", entries)
        self._telemetry.set("queue_bytes", size_bytes)
        self._telemetry.set("queue_used_ratio", size_bytes / self._queue_capacity_bytes)
