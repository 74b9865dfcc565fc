"""The rules of flight.schedule, with clocks that behave and clocks that do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.packets import Failure, Request, Telecommand, pack_telecommand, request_of
from payload.core.telecommands import Arguments, Command, command_named
from payload.core.telemetry import Telemetry
from payload.errors import CommandError, StoreError
from payload.flight.calls import Call, Now
from payload.flight.schedule import RELEASED_AT_ONCE, SCHEDULED_MAX, Schedule
from tests.on_board import NOON_UTC_NS, DictMemory, S, Sent, ToldClock

APID, LATE_S = 100, 60.0


class Counting(DictMemory):
    """Counts what is written; the disk is full when the test says so."""

    writes = 0
    is_full = False

    def put(self, name: str, value: int | float | str) -> None:
        self.put_all({name: value})

    def drop(self, name: str) -> None:
        self.put_all({name: None})

    def put_all(self, values: Mapping[str, int | float | str | None]) -> None:
        if self.is_full:
            raise StoreError("disk full")
        self.writes += 1
        super().put_all(values)


class Board:
    """A schedule, and what it did."""

    def __init__(self) -> None:
        self.clock, self.memory = ToldClock(), Counting()
        self.done: list[tuple[int, float]] = []
        self.boot()

    def boot(self) -> None:
        """A start, or a start after a power cut: only the memory is left."""
        self.telemetry = Telemetry()
        self.sent = Sent(APID, self.clock, self.telemetry)
        self.schedule = Schedule(APID, self.memory, self.telemetry, lambda: LATE_S, self._do)

    def _do(self, command: Command, groups: list[Arguments], found: Telecommand, now: Now) -> None:
        self.done.append((found.request.sequence_control & 0x3FFF, (now.utc_ns - NOON_UTC_NS) / S))
        if command.name in self.schedule.commands:
            self._call(command, groups, found)

    def _call(self, command: Command, groups: list[Arguments], found: Telecommand | None) -> None:
        call = Call(
            command, groups, Request(1, 2), self.clock.now(), found, self.sent.downlink, self.telemetry
        )
        assert self.schedule.commands[command.name](call)

    def command(self, name: str, *groups: dict[str, Any]) -> None:
        command = command_named(name)
        self._call(command, command.unpack(command.pack(*groups)), None)

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
    return about("are_you_alive", sequence)


def about(name: str, sequence: int, *groups: dict[str, Any]) -> bytes:
    """A bare command of that name."""
    command = command_named(name)
    return pack_telecommand(APID, command.service, command.subtype, sequence, command.pack(*groups))


def due(second: float, packet: bytes) -> dict[str, Any]:
    return {"release_time": NOON_UTC_NS + int(second * S), "command": packet}


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
    board.passes(3)
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


def test_rule_4_another_command_of_the_same_request_id_and_time_is_refused() -> None:
    board = Board()
    board.command("schedule_commands", due(10, ping(9)))
    before = dict(board.memory.facts)
    other = due(10, about("stop_imaging", 9))
    for groups in (
        (other,),
        (due(11, ping(8)), other),
        (due(11, ping(7)), due(11, about("stop_imaging", 7))),
    ):
        with pytest.raises(CommandError) as refusal:
            board.command("schedule_commands", *groups)
        assert refusal.value.failure_code == Failure.ALREADY_SCHEDULED
        assert board.memory.facts == before
    board.command("schedule_commands", due(10, ping(9)), due(10, ping(9)), due(11, about("stop_imaging", 9)))
    board.passes(20)
    assert [sequence for sequence, _ in board.done] == [9, 9]


@pytest.mark.parametrize(
    ("name", "groups", "done"),
    [
        ("reset_schedule", (), [1]),
        ("disable_schedule", (), [1]),
        ("enable_schedule", (), [1, 2, 3, 4]),
        ("unschedule_commands", (request_of(ping(2)).fields(), request_of(ping(4)).fields()), [1, 3]),
        ("list_schedule", (), [1, 2, 3, 4]),
    ],
)
def test_rule_6_a_scheduled_command_about_the_schedule_holds_for_those_due_in_the_same_turn(
    name: str, groups: tuple[dict[str, Any], ...], done: list[int]
) -> None:
    board = Board()
    board.command(
        "schedule_commands",
        due(10, about(name, 1, *groups)),
        *(due(10, ping(n)) for n in (2, 3)),
        due(11, ping(4)),
    )
    board.clock.passes(12)
    board.schedule.poll(board.clock.now())
    assert [sequence for sequence, _ in board.done] == done
    waiting = board.memory.names("schedule/")
    assert len(waiting) == (3 if name == "disable_schedule" else 0)
    assert board.telemetry.values["scheduled_commands"] == len(waiting)


def test_rule_6_a_scheduled_enable_lets_the_late_ones_go_however_many_do_so() -> None:
    board = Board()
    board.at((10, 1000))
    board.clock.passes(10 + LATE_S + 1)
    board.command("schedule_commands", *(due(100, about("enable_schedule", number)) for number in range(100)))
    board.command(
        "schedule_commands", *(due(100, about("enable_schedule", number)) for number in range(100, 200))
    )
    board.passes(100)
    assert sorted(sequence for sequence, _ in board.done) == [*range(200), 1000]


def test_rule_6_a_reset_leaves_the_schedule_empty_and_disabled() -> None:
    board = Board()
    board.at((10, 1))
    board.command("reset_schedule")
    board.at((10, 2))
    board.boot()
    board.passes(20)
    assert board.done == []
    board.command("enable_schedule")
    assert [sequence for sequence, _ in board.done] == [2]


def test_a_command_that_is_named_twice_is_forgotten_once() -> None:
    board = Board()
    board.at((10, 1), (20, 1), (30, 2))
    request = request_of(ping(1)).fields()
    board.command("unschedule_commands", request, request)
    board.passes(40)
    assert [sequence for sequence, _ in board.done] == [2]


def test_no_more_than_so_many_wait() -> None:
    board = Board()
    for number in range(SCHEDULED_MAX):
        board.at((10 + number, number))
    with pytest.raises(CommandError) as refusal:
        board.at((5, 9999))
    assert refusal.value.failure_code == Failure.SCHEDULE_FULL
    board.command("reset_schedule")
    assert board.memory.names("schedule/") == []


def test_rule_1_many_that_are_due_together_are_released_in_order_some_a_turn_and_none_is_late() -> None:
    board = Board()
    for first in range(0, SCHEDULED_MAX, 32):
        board.at(*((10 + number / SCHEDULED_MAX, number) for number in range(first, first + 32)))
    board.clock.passes(11.0)
    for turn in range(1, SCHEDULED_MAX // RELEASED_AT_ONCE + 1):
        board.schedule.poll(board.clock.passes(LATE_S / 4))
        assert [sequence for sequence, _ in board.done] == list(range(turn * RELEASED_AT_ONCE))
        assert (board.schedule.pause_s() == 0.0) == (len(board.done) < SCHEDULED_MAX)
    assert board.telemetry.counts == {}


@pytest.mark.parametrize("name", ["reset_schedule", "unschedule_commands"])
def test_many_are_forgotten_in_one_write_or_none_is(name: str) -> None:
    board = Board()
    board.at(*((10, number) for number in range(20)))
    groups = [request_of(ping(number)).fields() for number in range(20)] if name[0] == "u" else []
    board.memory.is_full = True
    with pytest.raises(StoreError):
        board.command(name, *groups)
    assert len(board.memory.names("schedule/")) == 20
    board.memory.is_full = False
    writes = board.memory.writes
    board.command(name, *groups)
    assert (board.memory.names("schedule/"), board.memory.writes) == ([], writes + 1)
    board.passes(40)
    assert board.done == []


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
