"""The rules of flight.schedule, with clocks that behave and clocks that do not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.packets import Failure, Request, pack_telecommand, request_of
from payload.core.telecommands import command_named
from payload.core.telemetry import Telemetry
from payload.errors import CommandError
from payload.flight.calls import Call, Now
from payload.flight.schedule import SCHEDULED_MAX, Schedule
from tests.on_board import NOON_UTC_NS, DictMemory, S, Sent, ToldClock

APID, LATE_S = 100, 60.0


class Board:
    """A schedule, and what it did."""

    def __init__(self) -> None:
        self.clock, self.memory = ToldClock(), DictMemory()
        self.done: list[tuple[int, float]] = []
        self.boot()

    def boot(self) -> None:
        """A start, or a start after a power cut: only the memory is left."""
        self.telemetry = Telemetry()
        self.sent = Sent(APID, self.clock, self.telemetry)
        self.schedule = Schedule(
            APID, self.memory, self.sent.downlink, self.telemetry, lambda: LATE_S, self._do
        )

    def _do(self, _command: object, _groups: object, request: Request, now: Now) -> None:
        self.done.append((request.sequence_control & 0x3FFF, (now.utc_ns - NOON_UTC_NS) / S))

    def command(self, name: str, *groups: dict[str, Any]) -> None:
        command = command_named(name)
        call = Call(
            command,
            command.unpack(command.pack(*groups)),
            Request(1, 2),
            self.clock.now(),
            None,
            self.sent.downlink,
            self.telemetry,
        )
        assert self.schedule.commands[name](call)

    def at(self, *times: tuple[float, int]) -> None:
        """Schedule pings with these sequence counts, at these seconds after noon."""
        self.command(
            "schedule_commands",
            *(
                {"release_time": NOON_UTC_NS + int(second * S), "command": ping(sequence)}
                for second, sequence in times
            ),
        )

    def passes(self, seconds: float, step_s: float = 1.0) -> None:
        for _ in range(int(seconds / step_s)):
            self.schedule.poll(self.clock.passes(step_s))


def ping(sequence: int) -> bytes:
    return pack_telecommand(APID, 17, 1, sequence, b"")


def test_rule_1_released_in_the_order_of_their_times_once() -> None:
    board = Board()
    board.at((30, 3), (10, 1), (20, 2))
    board.passes(9)
    assert board.done == []
    board.passes(100)
    assert board.done == [(1, 10.0), (2, 20.0), (3, 30.0)]
    assert board.memory.names("schedule/") == []


@given(
    times=st.lists(st.integers(1, 400), min_size=1, max_size=8, unique=True),
    cuts=st.sets(st.integers(1, 400), max_size=4),
)
def test_rule_1_no_power_cut_loses_one_or_does_one_twice(times: list[int], cuts: set[int]) -> None:
    board = Board()
    board.at(*((second, second) for second in times))
    for second in range(1, 402):
        if second in cuts:
            board.boot()
        board.schedule.poll(board.clock.passes(1.0))
    assert [sequence for sequence, _ in board.done] == sorted(times)


def test_rule_2_one_that_is_too_late_is_held_told_once_and_done_when_the_ground_says_so() -> None:
    board = Board()
    board.at((10, 1), (5000, 2))
    board.clock.passes(10 + LATE_S + 1)  # nobody polled: the payload was off
    board.boot()
    board.passes(50)
    assert board.done == []
    assert board.telemetry.counts == {"command_held": 1}
    board.command("enable_schedule")
    assert [sequence for sequence, _ in board.done] == [1]
    board.passes(5000, 10)
    assert [sequence for sequence, _ in board.done] == [1, 2]


@given(jumps=st.lists(st.integers(-(10**5), 10**5), max_size=6))
def test_rule_3_however_the_clock_jumps_nothing_is_lost_or_done_twice(jumps: list[int]) -> None:
    board = Board()
    board.at(*((second, second) for second in range(100, 1000, 100)))
    for jump in jumps:
        board.clock.utc += jump * S
        board.passes(20)
    waiting = len(board.memory.names("schedule/"))
    done = [sequence for sequence, _ in board.done]
    assert len(done) == len(set(done))
    assert waiting + len(done) == 9
    assert all(0 <= at - sequence <= LATE_S for sequence, at in board.done)
    board.clock.utc = NOON_UTC_NS + 10**6 * S
    board.command("enable_schedule")
    assert sorted(sequence for sequence, _ in board.done) == list(range(100, 1000, 100))


def test_rule_3_while_the_clock_is_not_set_everything_waits() -> None:
    board = Board()
    board.at((10, 1))
    board.clock.utc = 5 * S  # 1970
    board.passes(1000)
    board.command("enable_schedule")
    assert board.done == []
    board.clock.utc = NOON_UTC_NS + 10 * S
    board.passes(1)
    assert board.done == [(1, 11.0)]


def test_rule_4_of_a_command_that_schedules_others_all_are_taken_or_none() -> None:
    board = Board()
    good = {"release_time": NOON_UTC_NS + 10 * S, "command": ping(1)}
    nested = command_named("schedule_commands").pack(good)
    for wrong, failure in (
        (pack_telecommand(APID, 99, 1, 2, b""), Failure.UNKNOWN_SERVICE),
        (pack_telecommand(APID, 17, 1, 2, b"x"), Failure.BAD_ARGUMENTS),
        (pack_telecommand(APID + 1, 17, 1, 2, b""), Failure.ILLEGAL_APID),
        (pack_telecommand(APID, 11, 4, 2, nested), Failure.OUT_OF_RANGE),
        (ping(2)[:-1] + b"\0", Failure.BAD_CHECKSUM),
    ):
        with pytest.raises(CommandError) as refusal:
            board.command("schedule_commands", good, {**good, "command": wrong})
        assert refusal.value.failure_code == failure
        assert board.memory.names("schedule/") == []


def test_no_more_than_so_many_wait() -> None:
    board = Board()
    for number in range(SCHEDULED_MAX):
        board.at((10 + number, number))
    with pytest.raises(CommandError) as refusal:
        board.at((5, 9999))
    assert refusal.value.failure_code == Failure.SCHEDULE_FULL
    board.command("reset_schedule")
    assert board.memory.names("schedule/") == []


def test_rule_5_what_is_disabled_stays_disabled_over_a_restart() -> None:
    board = Board()
    board.at((10, 1), (20, 2))
    board.command("disable_schedule")
    board.boot()
    board.passes(40)
    assert board.done == []
    request = request_of(ping(2)).fields()
    board.command("unschedule_commands", request)
    board.command("enable_schedule")
    assert [sequence for sequence, _ in board.done] == [1]
