"""The loop on a disk that takes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from payload.core.guard import CommandGuard, seal
from payload.core.telemetry import Telemetry
from payload.errors import StoreError
from payload.flight.calls import Call, Execute, Now, Quiet
from payload.flight.loop import WORK_S, Loop
from payload.flight.uplink import Uplink
from payload.ports import Arrival, GroundLinks
from tests.on_board import DictMemory, Sent, ToldClock


class NoLinks(GroundLinks):
    """Nothing ever comes."""

    def wait(self, _timeout_s: float, _wakes_on: Sequence[int]) -> list[Arrival]:
        return []

    def send(self, _packet: bytes) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""


class Flood(NoLinks):
    """Everything comes at once, the first time that anybody reads."""

    reads = 0

    def __init__(self, content: bytes) -> None:
        self._content = content

    def wait(self, _timeout_s: float, _wakes_on: Sequence[int]) -> list[Arrival]:
        self.reads += 1
        content, self._content = self._content, b""
        return [Arrival(1, content, is_end=False)] if content else []


class Slow(Quiet):
    """Needs 10 ms to say that it is alive."""

    def __init__(self, clock: ToldClock) -> None:
        self._clock = clock
        self.answers = 0

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {"are_you_alive": self._answer}

    def _answer(self, _call: Call) -> bool:
        self._clock.passes(0.01)
        self.answers += 1
        return True


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


def test_rule_1_a_flood_of_commands_keeps_no_service_from_its_turn_and_loses_none() -> None:
    clock, telemetry = ToldClock(), Telemetry()
    slow, links = Slow(clock), Flood(b"".join(seal(bytes(32), n, 100, 17, 1, n, b"") for n in range(1, 31)))
    downlink = Sent(100, clock, telemetry).downlink
    uplink = Uplink(100, CommandGuard(bytes(32), 0), DictMemory(), [slow], downlink, telemetry)
    loop = Loop(clock, links, uplink, [slow], telemetry)
    answers = []
    while slow.answers < 30:
        loop.turn(0.0)
        answers.append(slow.answers)
    assert answers == [*range(int(WORK_S * 100), 30, int(WORK_S * 100)), 30]
    assert links.reads == 1
    loop.turn(0.0)
    assert links.reads == 2
    assert telemetry.values["commands_accepted"] == 30
