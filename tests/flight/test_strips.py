"""The rules of flight.strips, with a worker that ends as it is told."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.packets import Failure, Request
from payload.core.telecommands import command_named
from payload.core.telemetry import Telemetry
from payload.errors import NO_PROCESS, NO_SPACE, CommandError, StoreError
from payload.flight.calls import Call
from payload.flight.strips import ATTEMPTS, PAUSE_MAX_S, WAITING_MAX, Strips
from payload.ports import Candidate
from tests.on_board import DictMemory, ListInbox, ObedientWorker, Sent, ToldClock

NO_STRIP, DAMAGED_QUEUE, ENGINE_LOST = 4, 5, 8


class Board:
    """Strips, and what the worker was told."""

    def __init__(self) -> None:
        self.clock, self.memory, self.inbox = ToldClock(), DictMemory(), ListInbox()
        self.settings: dict[str, float] = {}
        self.boot()

    def boot(self) -> None:
        """A start, or a start after a power cut: only memory and inbox are left."""
        self.worker, self.telemetry = ObedientWorker(), Telemetry()
        self.strips = Strips(
            self.inbox,
            self.worker,
            self.memory,
            self.telemetry,
            lambda: self.settings,
            lambda path: path.startswith("/"),
            self.clock.now(),
        )

    def passes(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.25)):
            self.strips.poll(self.clock.passes(0.25))

    def ends(self, code: int) -> None:
        self.worker.ends_with = code
        self.passes(0.25)

    def command(self, name: str, **values: str) -> None:
        command = command_named(name)
        sent = Sent(100, self.clock, self.telemetry)
        groups = command.unpack(command.pack(values))
        call = Call(command, groups, Request(1, 2), self.clock.now(), None, sent.downlink, self.telemetry)
        assert self.strips.commands[name](call)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.worker.started]


def test_rule_2_something_is_taken_when_it_has_not_changed_for_a_while() -> None:
    board = Board()
    for size in range(8):
        board.inbox.there = [Candidate("/a", str(size))]
        board.passes(0.5)
    assert board.paths == []
    board.passes(3)
    assert board.paths == ["/a"]
    board.ends(0)
    board.passes(20)
    assert board.paths == ["/a"]  # it still lies there
    board.inbox.there = [Candidate("/a", "another")]
    board.passes(5)
    assert board.paths == ["/a", "/a"]  # another strip of that name


@given(st.lists(st.sampled_from(["0", "4", "8", "cut", "wait"]), min_size=1, max_size=40))
def test_rule_1_every_strip_is_finished_or_left_whatever_happens(fates: list[str]) -> None:
    board = Board()
    board.inbox.there = [Candidate(f"/{name}", "1") for name in "abc"]
    ended: list[str] = []
    for fate in [*fates, *["0"] * 12]:
        board.passes(PAUSE_MAX_S + 5)
        if fate == "cut":
            board.boot()
        elif fate != "wait" and board.worker.started:
            before = len(board.memory.names("strip/"))
            board.ends(int(fate))
            ended += ["x"] * (before - len(board.memory.names("strip/")))
    assert len(ended) == 3
    assert board.memory.names("strip/") == []


def test_rule_3_a_strip_keeps_the_settings_with_which_it_began() -> None:
    board = Board()
    board.settings = {"judge.min_clear_ratio": 0.1}
    board.inbox.there = [Candidate("/a", "1"), Candidate("/b", "1")]
    board.passes(3)
    board.settings = {"judge.min_clear_ratio": 0.9}
    board.boot()
    board.passes(3)
    assert board.worker.started == [("/a", {"judge.min_clear_ratio": 0.1})]
    board.ends(0)
    board.passes(1)
    assert board.worker.started[1] == ("/b", {"judge.min_clear_ratio": 0.9})


@pytest.mark.parametrize("code", [ENGINE_LOST, DAMAGED_QUEUE])
def test_rule_4_what_is_no_strip_is_left_at_once_and_a_lost_engine_after_some_attempts(code: int) -> None:
    board = Board()
    board.inbox.there = [Candidate("/a", "1"), Candidate("/b", "1")]
    board.passes(3)
    board.ends(NO_STRIP)
    board.passes(1)
    assert board.paths == ["/a", "/b"]
    for _ in range(ATTEMPTS):
        board.ends(code)
        board.passes(PAUSE_MAX_S)
    assert board.paths == ["/a", *["/b"] * ATTEMPTS]
    assert board.telemetry.counts["strip_left"] == 2
    assert board.telemetry.counts["strip_again"] == ATTEMPTS - 1
    assert board.telemetry.values["strips_waiting"] == 0


def test_rule_4_a_full_disk_never_costs_a_strip_and_is_tried_ever_more_rarely() -> None:
    board = Board()
    board.inbox.there = [Candidate("/a", "1")]
    board.passes(3)
    tried = []
    for _ in range(10):
        board.ends(NO_SPACE)
        began = board.clock.mono
        while len(board.paths) == len(tried) + 1:
            board.passes(0.25)
        tried.append((board.clock.mono - began) / 1e9)
    assert tried == sorted(tried)
    assert tried[-1] == pytest.approx(PAUSE_MAX_S, abs=1)
    board.ends(0)
    assert board.telemetry.values["strips_finished"] == 1


def test_rule_1_a_line_of_a_fifo_is_tried_again_until_the_disk_has_taken_it() -> None:
    board = Board()
    board.inbox.there = [Candidate("/a", ""), Candidate("/b", "")]
    put_all = board.memory.put_all

    def refused(values: Mapping[str, int | float | str]) -> None:
        raise StoreError(f"disk full at {len(values)}")

    board.memory.put_all = refused  # type: ignore[method-assign]
    with pytest.raises(StoreError):  # the loop tells, and goes on
        board.passes(1)
    board.memory.put_all = put_all  # type: ignore[method-assign]
    board.passes(2)
    assert board.telemetry.counts["strip_queued"] == 2
    assert board.paths == ["/a"]


def test_rule_4_a_board_that_has_no_process_for_a_strip_never_costs_it() -> None:
    board = Board()
    board.inbox.there = [Candidate("/a", "1")]
    board.passes(3)
    for _ in range(2 * ATTEMPTS):
        board.ends(NO_PROCESS)
        board.passes(PAUSE_MAX_S + 1)
    assert set(board.paths) == {"/a"}
    assert board.telemetry.counts["strip_again"] == 2 * ATTEMPTS


def test_rule_5_an_inbox_that_cannot_be_looked_at_for_a_while_brings_no_strip_again() -> None:
    board = Board()
    board.inbox.there = [Candidate("/a", "1")]
    board.passes(3)
    board.ends(0)
    board.inbox.is_away = True
    board.passes(3)
    board.inbox.is_away = False
    board.passes(5)
    assert board.paths == ["/a"]
    board.inbox.there = []
    board.passes(3)
    board.inbox.there = [Candidate("/a", "1")]
    board.passes(3)
    assert board.paths == ["/a", "/a"]  # it was taken away and brought again


def test_what_cannot_be_taken_by_its_name_is_told_once_and_left() -> None:
    board = Board()
    board.inbox.there = [Candidate("/str\\xffip", "1", "not UTF-8"), Candidate("/b", "1")]
    board.passes(5)
    assert board.telemetry.counts["inbox_name_refused"] == 1
    assert board.paths == ["/b"]
    board.inbox.there = []
    board.passes(5)
    assert board.memory.names("seen/") == []


@given(st.lists(st.text("ab#", min_size=1), min_size=1, max_size=20))
def test_many_at_once_are_taken_in_their_order(names: list[str]) -> None:
    board = Board()
    board.inbox.there = [Candidate(name, "") for name in names]
    for _ in names:
        board.passes(1)
        board.ends(0)
    assert board.paths == names


def test_rule_5_with_the_most_strips_waiting_the_inbox_keeps_the_rest() -> None:
    board = Board()
    board.inbox.there = [Candidate(f"/{number}", "") for number in range(WAITING_MAX + 5)]
    board.passes(2)
    assert board.telemetry.values["strips_waiting"] == WAITING_MAX
    board.inbox.there = [Candidate("/last", "")]
    for _ in range(6):
        board.ends(0)
        board.passes(1)
    assert board.inbox.there == []
    assert board.telemetry.counts["strip_queued"] == WAITING_MAX + 6


def test_rule_6_stopped_imaging_stays_stopped_and_the_strip_goes_on_where_it_was() -> None:
    board = Board()
    board.inbox.there = [Candidate("/a", "1"), Candidate("/b", "1")]
    board.passes(3)
    board.command("stop_imaging")
    assert board.worker.stops == 1
    board.command("load_strip", path="/c")
    board.passes(10)
    board.boot()
    board.passes(10)
    assert board.paths == []
    board.command("start_imaging")
    board.passes(1)
    assert board.paths == ["/a"]
    board.ends(0)
    board.passes(1)
    assert board.paths == ["/a", "/c"]  # the commanded one goes before those of the inbox


def test_a_strip_that_is_not_there_cannot_be_loaded() -> None:
    board = Board()
    with pytest.raises(CommandError) as refusal:
        board.command("load_strip", path="nowhere")
    assert refusal.value.failure_code == Failure.NOT_FOUND
    assert board.memory.facts == {}


def test_what_counts_over_all_strips_grows_by_what_a_run_adds() -> None:
    board = Board()
    board.telemetry.set("scrubbed_blocks", 100)
    for told in (30, 50):
        board.worker.to_tell = [{"record": "channels", "values": {"scrubbed_blocks": told}}]
        board.passes(0.25)
    assert board.telemetry.values["scrubbed_blocks"] == 150


def test_what_the_run_tells_is_told_on_and_what_it_may_not_is_not() -> None:
    board = Board()
    board.telemetry.set("resident_bytes", 7)
    board.worker.to_tell = [
        {"record": "event", "event": "tile_no_data", "parameters": {"tile": 3}},
        {"record": "event", "event": "never_heard_of", "parameters": {}},
        {"record": "event", "event": "tile_no_data", "parameters": {"other": 3}},
        {"record": "channels", "values": {"tiles_done": 5, "resident_bytes": 9, "nothing": 1}},
    ]
    board.passes(0.25)
    assert board.telemetry.counts == {"tile_no_data": 1}
    assert (board.telemetry.values["tiles_done"], board.telemetry.values["resident_bytes"]) == (5, 7)
