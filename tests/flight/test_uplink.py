"""What flight.uplink does when something is wrong with the board, not with the command."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.core.cfdp.packets import pack_file_packet
from payload.core.guard import CommandGuard, seal, tag_of
from payload.core.packets import Failure, Telecommand, pack_telecommand, unpack_telemetry
from payload.core.reports import report_named
from payload.core.telecommands import Arguments, Command, command_named
from payload.core.telemetry import Telemetry
from payload.drivers.flight_memory import SqliteFlightMemory
from payload.errors import StoreError
from payload.flight.calls import Call, Execute, Now, Quiet, Service
from payload.flight.schedule import Schedule
from payload.flight.uplink import Uplink
from payload.ports import Arrival
from tests.on_board import DictMemory, Sent, ToldClock

APID, FILES_APID, KEY = 100, 101, bytes(range(32))


class Full(DictMemory):
    """A memory whose disk is full when the test says so."""

    is_full = False

    def put(self, name: str, value: int | float | str) -> None:
        if self.is_full:
            raise StoreError("disk full")
        super().put(name, value)


class Pinged(Quiet):
    """Counts the pings, and keeps what packets of files carry."""

    pings = 0
    is_full = False

    def __init__(self) -> None:
        self.pdus: list[bytes] = []

    @property
    def packets(self) -> Mapping[int, Callable[[bytes, Now], None]]:
        return {FILES_APID: self._keep}

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {"are_you_alive": self._ping, "run_self_test": self._step}

    def _keep(self, pdu: bytes, _now: Now) -> None:
        if self.is_full:
            raise StoreError("disk full")
        self.pdus.append(pdu)

    def _ping(self, call: Call) -> bool:
        self.pings += 1
        call.report("alive", {})
        return True

    def _step(self, call: Call) -> bool:
        call.progress()
        return True


class Board:
    def __init__(self) -> None:
        self.clock, self.memory, self.telemetry, self.service = ToldClock(), Full(), Telemetry(), Pinged()
        self.sent = Sent(APID, self.clock, self.telemetry)
        self.services: list[Service] = [self.service]
        self.boot()

    def boot(self, untagged: tuple[int, ...] = ()) -> None:
        last = int(self.memory.get("replay_counter") or 0)
        guard = CommandGuard(KEY, last)
        services, downlink = self.services, self.sent.downlink
        self.uplink = Uplink(APID, guard, self.memory, services, downlink, self.telemetry, untagged)

    def schedule(self) -> None:
        """From now on there is a schedule, too; it is the last service."""
        self.services.append(Schedule(APID, self.memory, self.telemetry, lambda: 60.0, self._do))
        self.boot()

    def _do(self, command: Command, groups: list[Arguments], found: Telecommand, now: Now) -> None:
        self.uplink.do(command, groups, found, now)

    def takes(self, *packets: bytes, is_end: bool = False, after_s: float = 0.0) -> None:
        self.uplink.receive([Arrival(1, b"".join(packets), is_end)], self.clock.passes(after_s))


def ping(counter: int) -> bytes:
    return seal(KEY, counter, APID, 17, 1, counter & 0x3FFF, b"")


def test_a_command_whose_counter_cannot_be_remembered_is_not_done_and_may_be_sent_again() -> None:
    board = Board()
    board.memory.is_full = True
    board.takes(ping(1))
    assert board.service.pings == 0
    assert board.sent.names() == ["command_not_accepted"]
    values = report_named("command_not_accepted").unpack(unpack_telemetry(board.sent.packets[0]).content)
    assert values["failure_code"] == Failure.STORE_FAILED
    board.memory.is_full = False
    board.takes(ping(1))
    assert board.service.pings == 1


def test_the_counter_holds_over_a_restart() -> None:
    board = Board()
    board.takes(ping(5))
    board.boot()
    board.takes(ping(5), ping(4), ping(6))
    assert board.service.pings == 2
    assert board.telemetry.counts["command_rejected"] == 2


def test_half_a_packet_is_given_up_after_a_while_and_what_lies_behind_it_is_taken() -> None:
    board = Board()
    longer = bytearray(ping(1))
    longer[4:6] = (1500).to_bytes(2, "big")
    board.takes(bytes(longer), ping(2))
    assert board.service.pings == 0  # it might all belong to the first
    board.uplink.receive([], board.clock.passes(1.5))
    assert board.service.pings == 1
    assert board.telemetry.values["discarded_bytes"] == len(longer)


@given(
    cuts=st.lists(st.integers(1, 400), max_size=6),
    overs=st.lists(st.booleans(), max_size=40),
)
@settings(max_examples=50)
def test_rule_6_what_is_left_for_the_next_turns_is_taken_once_and_in_order(
    cuts: list[int], overs: list[bool]
) -> None:
    """However the stream is cut, and whenever a turn is over; a turn may take long."""
    board = Board()
    board.service.pdus = []
    stream = b""
    for number in range(1, 9):
        noise = b"\x00noise" * (number % 3)
        stream += noise + ping(number) + pack_file_packet(FILES_APID, True, number, b"%d" % number, KEY)
    left, now = list(overs), board.clock.now()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
        board.uplink.receive([Arrival(1, stream[start:end], False)], now, lambda: not left or left.pop())
        while board.uplink.is_behind:
            now = board.clock.passes(5.0)
            board.uplink.receive([], now, lambda: not left or left.pop())
    assert board.telemetry.values["commands_accepted"] == board.service.pings == 8
    assert board.service.pdus == [b"%d" % number for number in range(1, 9)]
    assert board.telemetry.counts.keys() <= {"uplink_damaged"}


def test_a_packet_of_a_file_without_the_right_tag_is_counted_told_and_not_taken() -> None:
    board = Board()
    good = pack_file_packet(FILES_APID, True, 7, b"pdu", KEY)
    forged = [
        pack_file_packet(FILES_APID, True, 8, b"pdu"),
        pack_file_packet(FILES_APID, True, 8, b"another pdu"),
        pack_file_packet(FILES_APID, True, 8, b"pdu", bytes(32)),
        pack_file_packet(FILES_APID, True, 8, b""),
    ]
    board.takes(good, *forged, good, ping(1))
    assert board.service.pdus == [b"pdu", b"pdu"]  # twice: CFDP knows what it has heard before
    assert board.service.pings == 1
    assert board.telemetry.counts["command_rejected"] == len(forged)
    assert board.telemetry.values["commands_unauthentic"] == len(forged)
    values = report_named("command_not_accepted").unpack(unpack_telemetry(board.sent.packets[0]).content)
    assert values["request_packet_id"] == 0x1000 | FILES_APID
    assert values["failure_code"] == Failure.NOT_AUTHENTIC


def test_where_no_tag_is_asked_for_a_packet_of_a_file_is_taken_without_one_but_no_command() -> None:
    board = Board()
    board.boot(untagged=(FILES_APID,))
    board.takes(pack_file_packet(FILES_APID, True, 7, b"pdu"), pack_telecommand(APID, 17, 1, 1, b""))
    assert board.service.pdus == [b"pdu"]
    assert board.service.pings == 0


def test_a_command_that_nobody_does_is_not_started() -> None:
    board = Board()
    board.takes(seal(KEY, 1, APID, 11, 17, 1, b""))
    assert board.sent.names() == ["command_accepted", "command_not_started"]


def test_only_the_reports_that_are_wanted_are_made_but_every_failure() -> None:
    board = Board()
    board.takes(seal(KEY, 1, APID, 17, 1, 1, b"", acknowledge=0))
    board.takes(seal(KEY, 2, APID, 11, 17, 1, b"", acknowledge=0))
    assert board.sent.names() == ["alive", "command_not_started"]


@pytest.mark.parametrize(
    ("bit", "report"),
    [
        (0b0001, "command_accepted"),  # the lowest bit: ECSS-E-70-41A, ECSS-E-ST-70-41C
        (0b0010, "command_started"),
        (0b0100, "command_progressed"),
        (0b1000, "command_completed"),
    ],
)
def test_each_acknowledgement_bit_asks_for_its_report(bit: int, report: str) -> None:
    board = Board()
    board.takes(seal(KEY, 1, APID, 8, 1, 1, b"\x04", acknowledge=bit))
    assert board.sent.names() == [report]


def test_what_answers_a_command_goes_to_where_it_came_from_and_nothing_else_does() -> None:
    board = Board()
    unsigned = (1).to_bytes(8, "big") + bytes(8)
    covered = pack_telecommand(APID, 17, 1, 1, unsigned, source_id=4711)[:-10]
    board.takes(pack_telecommand(APID, 17, 1, 1, unsigned[:-8] + tag_of(KEY, covered), source_id=4711))
    board.takes(pack_telecommand(APID, 17, 1, 1, bytes(16), source_id=4712))
    board.sent.downlink.report("alive", {})
    found = [unpack_telemetry(packet) for packet in board.sent.packets]
    assert [(each.subtype, each.destination_id) for each in found] == [
        (1, 4711),
        (3, 4711),
        (2, 4711),
        (7, 4711),
        (2, 4712),
        (2, 0),
    ]


def test_a_scheduled_command_is_reported_on_as_its_own_bits_say() -> None:
    board = Board()
    board.schedule()
    for number, acknowledge in enumerate((0, 0b1000, 0b1111)):
        inner = pack_telecommand(APID, 17, 1, 50 + number, b"", acknowledge=acknowledge, source_id=7)
        at = {"release_time": board.clock.utc + 10**9 * (number + 1), "command": inner}
        content = command_named("schedule_commands").pack(at)
        board.takes(seal(KEY, number + 1, APID, 11, 4, number, content, acknowledge=0))
    for names in (
        ["alive"],
        ["alive", "command_completed"],
        ["command_started", "alive", "command_completed"],
    ):
        board.sent.packets.clear()
        board.services[-1].poll(board.clock.passes(1.0))
        assert board.sent.names() == names
        assert {unpack_telemetry(packet).destination_id for packet in board.sent.packets} == {7}


def test_a_disk_that_takes_no_packet_of_a_file_ends_nothing() -> None:
    board = Board()
    board.service.is_full = True
    board.takes(pack_file_packet(FILES_APID, True, 7, b"pdu", KEY), ping(1))
    assert board.service.pings == 1
    assert board.telemetry.counts == {"store_error": 1}


_COUNTER = """
import sys
from pathlib import Path
from payload.drivers.flight_memory import SqliteFlightMemory
memory = SqliteFlightMemory(Path(sys.argv[1]))
number = int(memory.get("n") or 0)
while True:
    number += 1
    memory.put_all({"n": number, f"of/{number % 7}": number, "large": (1 << 63) + number})
    print(number, flush=True)
"""


def test_what_was_put_is_there_after_kill_9_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "flight.sqlite"
    told = 0
    for _ in range(5):
        command = [sys.executable, "-c", _COUNTER, str(path)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(15):
            told = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        memory = SqliteFlightMemory(path)
        number = int(memory.get("n") or 0)
        assert number >= told
        assert memory.get(f"of/{number % 7}") == number
        assert memory.get("large") == (1 << 63) + number
        assert len(memory.names("of/")) == 7
        memory.close()


@given(
    st.dictionaries(
        st.text("ab/", min_size=1),
        st.text("#12a") | st.integers(-(1 << 63), (1 << 70) - 1) | st.floats(allow_nan=False),
        max_size=6,
    )
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_put_into_the_memory_comes_back_as_it_was(
    tmp_path: Path, held: dict[str, int | float | str]
) -> None:
    memory = SqliteFlightMemory(tmp_path / "flight.sqlite")
    memory.put_all(held)
    assert {name: memory.get(name) for name in held} == held
    memory.close()


def test_what_is_put_and_what_goes_does_so_together(tmp_path: Path) -> None:
    memory = SqliteFlightMemory(tmp_path / "flight.sqlite")
    memory.put_all({"a": 1, "b": 2, "c": 3})
    memory.put_all({"a": None, "b": 4, "never": None})
    memory.drop("c")
    assert [memory.get(name) for name in "abc"] == [None, 4, None]
    memory.close()


def test_a_full_disk_changes_nothing_in_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "flight.sqlite"
    memory = SqliteFlightMemory(path)
    memory.put("kept", 1)
    log = path.with_name(f"{path.name}-wal")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, limits[1]))
        with pytest.raises(StoreError):
            memory.put_all({"kept": 2, "large": "x" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (memory.get("kept"), memory.get("large")) == (1, None)
    memory.put("kept", 3)
    memory.close()
    again = SqliteFlightMemory(path)
    assert again.get("kept") == 3
    again.close()
