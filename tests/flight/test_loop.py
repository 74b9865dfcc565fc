"""The loop on a disk that takes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from payload.core.guard import CommandGuard
from payload.core.telemetry import Telemetry
from payload.errors import StoreError
from payload.flight.calls import Now, Quiet
from payload.flight.loop import Loop
from payload.flight.uplink import Uplink
from payload.ports import Arrival, GroundLinks
from tests.on_board import DictMemory, Sent, ToldClock


class NoLinks(GroundLinks):
    """Nothing ever comes."""

    def wait(self, _timeout_s: float, _wakes_on: Sequence[int]) -> list[Arrival]:
        return []

    def send(self, packet: bytes) -> None:
        """Nobody is there."""

    def close(self) -> None:
        """Nothing is open."""


class Full(Quiet):
    """Neither its poll nor its end can be stored."""

    def poll(self, _now: Now) -> None:
        raise StoreError("disk full")

    def close(self) -> None:
        raise StoreError("disk full")


class Last(Quiet):
    """Stops the loop after three turns."""

    turns = 0
    is_closed = False

    def poll(self, _now: Now) -> None:
        self.turns += 1
        if self.turns == 3:
            self.loop.stop()

    def close(self) -> None:
        self.is_closed = True

    loop: Loop


def test_rule_3_a_full_disk_keeps_no_service_from_its_turn_nor_from_its_end() -> None:
    clock, telemetry, last = ToldClock(), Telemetry(), Last()
    services = [Full(), last]
    downlink = Sent(100, clock, telemetry).downlink
    uplink = Uplink(100, CommandGuard(bytes(32), 0), DictMemory(), services, downlink, telemetry)
    last.loop = Loop(clock, NoLinks(), uplink, services, telemetry)
    last.loop.run()
    assert (last.turns, last.is_closed) == (3, True)
    assert telemetry.counts == {"store_error": 4}
