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
import time
from pathlib import Path

import pytest

from payload.core.guard import CommandGuard, parse_key
from payload.core.packets import pack_telemetry, unpack_telecommand
from payload.core.reports import Report, every_report, report_named
from payload.core.telecommands import command_of
from payload.core.wire import Wire
from tools.command import packet_of
from tools.telemetry import Reader

REPOSITORY = Path(__file__).resolve().parents[2]
APID, NOON_UTC_NS = 100, 1_800_000_000_123_000_000
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fly_away", "no command"),
        ("load_strip", "path=TEXT"),
        ("load_strip way=/a", "path=TEXT"),
        ("request_housekeeping structure_id=two", "two"),
    ],
)
def test_what_is_no_command_is_refused_before_anything_is_sent(words: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        packet_of(words.split(), bytes(32), APID, 5, 6)


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "command.key"
    assert ground("command", "new-key", path).returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_text()
    parse_key(first, str(path))
    again = ground("command", "new-key", path)
    assert again.returncode == 1
    assert path.read_text() == first
    assert again.stderr.count("\n") == 1


def test_the_tools_say_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    absent = ground("telemetry", tmp_path / "absent")
    assert (absent.returncode, absent.stderr.count("\n")) == (1, 1)
    nobody = ground("telemetry", "--tcp", "127.0.0.1:1")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (1, 1)
    listing = ground("command", "list")
    assert "set_parameters parameter_id=U16 parameter_value=F64" in listing.stdout
