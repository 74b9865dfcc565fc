"""The loop: wait for the ground, take what came, let every service do what is due, tell of it.

Rules:
1. One turn takes at most TURN_S of waiting; what is done in it is a matter of milliseconds. Of what
   the ground has sent as much is taken as WORK_S allows, the rest in the next turns, before more is read.
2. The loop ends when it is told to, after the turn it is in; nothing that is under way is lost.
3. A disk that takes nothing ends nothing: the ground is told, and the next turn tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from payload.core.telemetry import Telemetry
from payload.errors import StoreError
from payload.flight.calls import Now, Service
from payload.flight.uplink import Uplink
from payload.ports import Clock, GroundLinks

TURN_S = 0.2
"""How long the loop waits at most for the ground; so a signal is seen within this time, too."""
WORK_S = 0.04
"""Of one turn for what came, after which no more of it is begun."""
_NS_PER_S = 1_000_000_000


class Loop:
    """Turns until it is stopped."""

    def __init__(
        self,
        clock: Clock,
        links: GroundLinks,
        uplink: Uplink,
        services: Sequence[Service],
        telemetry: Telemetry,
    ) -> None:
        """The services are polled in their order; the one that tells of everything is the last."""
        self._clock = clock
        self._links = links
        self._uplink = uplink
        self._services = services
        self._telemetry = telemetry
        self._is_stopped = False

    def stop(self) -> None:
        """The turn under way is the last; may be called from a signal."""
        self._is_stopped = True

    def run(self) -> None:
        """Turn until stopped, then close the services, in their order."""
        while not self._is_stopped:
            self.turn(min(TURN_S, *(service.pause_s() for service in self._services)))
        for service in self._services:
            self._guarded(service.close)

    def turn(self, timeout_s: float) -> None:
        """One turn, waiting at most ``timeout_s``."""
        wakes_on = [descriptor for service in self._services for descriptor in service.wakes_on()]
        arrivals = [] if self._uplink.is_behind else self._links.wait(timeout_s, wakes_on)
        now = self._now()
        ends_ns = now.mono_ns + int(WORK_S * _NS_PER_S)
        self._uplink.receive(arrivals, now, lambda: self._clock.mono_ns() >= ends_ns)
        for service in self._services:
            self._guarded(partial(service.poll, self._now()))

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except StoreError as error:  # what was not stored is tried again in the next turn
            self._telemetry.event("store_error", reason=str(error))

    def _now(self) -> Now:
        return Now(self._clock.utc_ns(), self._clock.mono_ns())
