"""The ground's reader and commander, as processes and on damaged recordings."""

from __future__ import annotations

import csv
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.guard import TRAILER_BYTES, CommandGuard, parse_key
from payload.core.packets import pack_telemetry, unpack_telecommand
from payload.core.reports import Report, every_report, report_named
from payload.core.telecommands import command_of
from payload.core.wire import Wire
from tools.command import packet_of
from tools.telemetry import Reader

REPOSITORY = Path(__file__).resolve().parents[2]
APID, NOON_UTC_NS = 100, 1_800_000_000_123_000_000
CONFIG = REPOSITORY / "firmware_configs" / "ci_cpu.yaml"
PATIENCE_S = 60.0
REPORTS = list(every_report())


def packet(report: Report, number: int) -> bytes:
    values = {f.name: "text" if f.wire is Wire.TEXT else number for f in report.fields}
    values = {name: value for name, value in values.items() if name not in report.fixed}
    return pack_telemetry(
        APID, report.service, report.subtype, number, number, NOON_UTC_NS, True, report.pack(values)
    )


def recording() -> list[bytes]:
    return [packet(report, number) for number, report in enumerate(REPORTS)]


def shown_on(terminal: int) -> str:
    """What has come there within a moment."""
    if not select.select([terminal], [], [], 0.5)[0]:
        return ""
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # the other end has gone
        return ""


def ground(tool: str, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"tools.{tool}", *map(str, words)]
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, **options
    )


def test_a_recording_becomes_lines_and_tables(tmp_path: Path) -> None:
    file = tmp_path / "pass.tm"
    file.write_bytes(b"".join(recording()))
    done = ground("telemetry", file, "--csv", tmp_path / "csv")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(REPORTS)
    assert all(line.startswith("2027-01-15T08:00:00.123Z ") for line in lines)
    assert done.stderr.startswith(f"{len(REPORTS)} packets, 0 missing")
    number = next(n for n, report in enumerate(REPORTS) if report.name == "event_rows_damaged")
    with (tmp_path / "csv" / "event_rows_damaged.csv").open() as table:
        (row,) = csv.DictReader(table)
    assert (row["row"], row["fault"], row["utc_ns"]) == (str(number), "text", str(NOON_UTC_NS))
    assert {path.stem for path in (tmp_path / "csv").iterdir()} == {report.name for report in REPORTS}


def test_parquet_tables_have_the_types_of_the_fields(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    file = tmp_path / "pass.tm"
    file.write_bytes(b"".join(recording() * 3))
    done = ground("telemetry", file, "--parquet", tmp_path / "tables", "--quiet")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    table = parquet.read_table(tmp_path / "tables" / "event_rows_damaged.parquet")
    assert table.num_rows == 3
    assert str(table.schema.field("row").type) == "uint32"
    assert table.column("fault").to_pylist() == ["text"] * 3


def test_damage_costs_the_damaged_packets_and_is_counted() -> None:
    packets = recording()
    longer = bytearray(packets[3])
    longer[4:6] = (3000).to_bytes(2, "big")  # the length field says much more than there is
    flipped = bytearray(packets[10])
    flipped[-1] ^= 1
    packets[3], packets[10] = bytes(longer), bytes(flipped)
    reader = Reader(APID)
    stream = b"junk" + b"".join(packets)
    readings = [r for at in range(0, len(stream), 100) for r in reader.feed(stream[at : at + 100])]
    readings += reader.end()
    expected = [report.name for n, report in enumerate(REPORTS) if n not in (3, 10)]
    assert [reading.name for reading in readings] == expected
    assert reader.tally.lost_packets == 2
    assert reader.tally.discarded_bytes == 4 + len(longer) + len(flipped)


def test_a_restart_of_the_payload_is_no_loss_and_a_new_kind_of_packet_no_error() -> None:
    alive = report_named("alive")
    unknown = pack_telemetry(APID, 200, 1, 8, 0, NOON_UTC_NS, True, b"from a later version")
    stream = b"".join([packet(alive, 7), unknown, packet(alive, 0), packet(alive, 1)])
    reader = Reader(APID)
    assert len(list(reader.feed(stream))) == 3
    tally = reader.tally
    assert (tally.unknown_packets, tally.restarts, tally.lost_packets) == (1, 1, 0)


@pytest.mark.parametrize(
    ("sequences", "lost", "restarts"),
    [
        ([5, 6, 6, 7], 0, 0),  # a duplicate
        ([5, 7, 6, 8], 0, 0),  # swapped
        ([5, 9, 6, 7, 10], 1, 0),  # two of three came late
        ([5, 9, 6, 6, 10], 2, 0),  # one of them twice
        ([16382, 16383, 0, 1], 0, 0),
        ([16382, 2, 16383, 3], 2, 0),  # late over the end of the counts
        ([5, 0, 1], 0, 1),
    ],
)
def test_only_what_never_came_is_lost(sequences: list[int], lost: int, restarts: int) -> None:
    alive = report_named("alive")
    reader = Reader(APID)
    assert len(list(reader.feed(b"".join(packet(alive, number) for number in sequences)))) == len(sequences)
    assert (reader.tally.lost_packets, reader.tally.restarts) == (lost, restarts)


def test_a_restart_whose_first_packets_are_lost_is_one_and_no_loss() -> None:
    reader = Reader(APID)
    for sequence, second in ((100, 0), (3, 60), (4, 61)):
        utc_ns = NOON_UTC_NS + second * 10**9
        list(reader.feed(pack_telemetry(APID, 17, 2, sequence, 0, utc_ns, True, b"")))
    assert (reader.tally.lost_packets, reader.tally.restarts) == (0, 1)


@given(st.integers(1, 16000), st.permutations(range(12)), st.sets(st.integers(1, 10)))
def test_however_packets_are_swapped_the_loss_is_what_is_missing(
    first: int, order: list[int], gone: set[int]
) -> None:
    """Within a few packets of each other; the first and the last come in their turn."""
    alive = report_named("alive")
    reader = Reader(APID)
    numbers = [0, *(number for number in order if number not in {0, 11} and number not in gone), 11]
    list(reader.feed(b"".join(packet(alive, first + number) for number in numbers)))
    assert (reader.tally.lost_packets, reader.tally.restarts) == (len(gone), 0)


@contextmanager
def closing_at_once() -> Iterator[str]:
    """A port that takes connections, reads once, and closes them."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close_each() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.settimeout(0.3)
                    with suppress(OSError):
                        connection.recv(65536)
                    connection.close()

        closer = threading.Thread(target=close_each)
        closer.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        closer.join()


def test_a_payload_that_closes_the_connection_is_named_and_not_taken_for_a_silent_one(tmp_path: Path) -> None:
    with closing_at_once() as address:
        heard = ground("telemetry", "--tcp", address)
        assert heard.returncode == 1
        assert f"{address} closed the connection" in heard.stderr
        key = tmp_path / "command.key"
        key.write_text(bytes(32).hex())
        sent = ground("command", "--config", CONFIG, "--key", key, "--tcp", address, "are_you_alive")
    assert (sent.returncode, sent.stderr.count("\n")) == (1, 1)
    assert "closed the connection" in sent.stderr
    nobody = ground("command", "--config", CONFIG, "--key", key, "--tcp", address, "are_you_alive")
    assert nobody.stderr == f"tools.command: {address}: Connection refused\n"


def test_datagrams_are_read_as_they_come_and_the_table_is_live_on_a_terminal() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tools.telemetry", "--udp", f"127.0.0.1:{port}"]
    reader = subprocess.Popen(command, cwd=REPOSITORY, stdout=slave, stderr=subprocess.DEVNULL)
    os.close(slave)
    shown = ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as payload:
        ends_s = time.monotonic() + PATIENCE_S
        while ("disk_free_bytes" not in shown or " RED" not in shown) and time.monotonic() < ends_s:
            for datagram in recording():
                payload.sendto(datagram, ("127.0.0.1", port))
            shown += shown_on(master)
    reader.send_signal(signal.SIGINT)
    ends_s = time.monotonic() + PATIENCE_S
    while reader.poll() is None and time.monotonic() < ends_s:
        shown_on(master)
    os.close(master)
    exit_code = reader.poll()
    reader.kill()
    reader.wait()
    assert exit_code == 0
    assert "\x1b[H" in shown
    assert re.search(r"longest_turn_s .*RED", shown)  # the number of the packet is far above 1 s


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("are_you_alive", (17, 1, {})),
        ("request_housekeeping structure_id=2", (3, 27, {"structure_id": 2})),
        ("load_strip path=/a/b.yaml", (8, 1, {"function_id": 3, "path": "/a/b.yaml"})),
        (
            "set_parameters parameter_id=1 parameter_value=0.5",
            (20, 3, {"parameter_id": 1, "parameter_value": 0.5}),
        ),
    ],
)
def test_words_become_a_command_that_the_payload_takes(words: str, expected: tuple) -> None:
    key = bytes(range(32))
    packet = packet_of(words.split(), key, APID, 5, 6)
    found = unpack_telecommand(packet, APID)
    arguments, _ = CommandGuard(key, 4).admit(found)
    command = command_of(found.service, found.subtype, arguments)
    (group,) = command.unpack(arguments)
    assert (found.service, found.subtype, group) == expected


def test_a_command_may_be_given_a_time() -> None:
    key = bytes(range(32))
    packet = packet_of(["at", "2027-01-15T08:00:00.5Z", "stop_imaging"], key, APID, 5, 6)
    found = unpack_telecommand(packet, APID)
    arguments, _ = CommandGuard(key, 4).admit(found)
    (group,) = command_of(11, 4, arguments).unpack(arguments)
    assert group["release_time"] == 1_800_000_000_500_000_000
    assert isinstance(group["command"], bytes)
    assert unpack_telecommand(group["command"], APID).service == 8


@given(st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)), st.integers(-14, 14))
def test_a_time_goes_up_to_the_millisecond_whatever_its_zone(local: datetime, hours: int) -> None:
    local = local.replace(tzinfo=timezone(timedelta(hours=hours)))
    packet = packet_of(["at", local.isoformat(), "stop_imaging"], bytes(32), APID, 5, 6)
    arguments = unpack_telecommand(packet, APID).content[:-TRAILER_BYTES]
    (group,) = command_of(11, 4, arguments).unpack(arguments)
    milliseconds = (local - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
    assert group["release_time"] == milliseconds * 1_000_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fly_away", "no command"),
        ("load_strip", "path=TEXT"),
        ("load_strip way=/a", "path=TEXT"),
        ("request_housekeeping structure_id=two", "two"),
        ("request_housekeeping structure_id=256", "structure_id=256: must be 0 to 255"),
        ("enable_events event_id=-5", "event_id=-5: must be 0 to 65535"),
        ("set_parameters parameter_id=65541 parameter_value=1", "65541: must be 0 to 65535"),
        ("set_parameters parameter_id=1 parameter_value=much", "parameter_value=much: no number"),
        ("set_parameters parameter_id=1 parameter_id=2 parameter_value=1", "given: parameter_id, param"),
        ("load_strip path=/" + 240 * "x", "241 characters, at most 240"),
        ("load_strip path=/données", "only ASCII"),
        ("at", "at TIME COMMAND"),
        ("at 2026-12-01T12:00:00Z", "at TIME COMMAND"),
        ("at 2026-12-01T12:00:00 stop_imaging", "UTC is 2026-12-01T12:00:00Z"),
        ("at 2026-12-01 stop_imaging", "'2026-12-01' is no time"),
        ("at noon stop_imaging", "'noon' is no time"),
    ],
)
def test_what_is_no_command_is_refused_before_anything_is_sent(words: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        packet_of(words.split(), bytes(32), APID, 5, 6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--key KEY are_you_alivee", "'are_you_alivee' is no command"),
        ("--key KEY request_housekeeping structure_id=two", "no number"),
        ("--key KEY at 2026-12-01T12:00:00 stop_imaging", "of which zone"),
        ("--key KEY --tcp flatsat are_you_alive", "--tcp flatsat: must be HOST:PORT"),
        ("--key absent are_you_alive", "absent"),
        ("--key KEY --config absent are_you_alive", "absent"),
    ],
)
def test_what_cannot_be_sent_ends_with_exit_code_2_before_anybody_is_asked(
    tmp_path: Path, words: str, said: str
) -> None:
    key = tmp_path / "command.key"
    key.write_text(bytes(32).hex())
    with socket.create_server(("127.0.0.1", 0)) as payload:
        where = f"127.0.0.1:{payload.getsockname()[1]}"
        given_words = [str(key) if word == "KEY" else word for word in words.split()]
        sent = ground("command", "--config", CONFIG, "--tcp", where, *given_words)
        assert (sent.returncode, sent.stderr.count("\n")) == (2, 1)
        assert said in sent.stderr
        payload.settimeout(0)
        with pytest.raises(BlockingIOError):
            payload.accept()


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "command.key"
    assert ground("command", "new-key", path).returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_text()
    parse_key(first, str(path))
    again = ground("command", "new-key", path)
    assert again.returncode == 2
    assert path.read_text() == first
    assert again.stderr.count("\n") == 1


def test_the_tools_say_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    absent = ground("telemetry", tmp_path / "absent")
    assert (absent.returncode, absent.stderr.count("\n")) == (1, 1)
    nobody = ground("telemetry", "--tcp", "127.0.0.1:1")
    assert (nobody.returncode, nobody.stderr) == (1, "tools.telemetry: 127.0.0.1:1: Connection refused\n")
    listing = ground("command", "list")
    assert "set_parameters parameter_id=U16 parameter_value=F64" in listing.stdout
