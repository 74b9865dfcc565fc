"""`payload fly` as the ground and an integrator meet it: a real process, real sockets, real strips."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from payload.core.guard import seal
from payload.core.packets import Failure, pack_telecommand, unpack_telemetry
from payload.core.telecommands import COMMANDS, command_named
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.store_lock import Role
from tests.flying import APID, KEY, REPOSITORY, Flight

EXAMPLE = REPOSITORY / "strips" / "example"


@pytest.fixture
def flight(tmp_path: Path) -> Iterator[Flight]:
    flight = Flight(tmp_path)
    yield flight
    flight.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flight]:
    """One service for the tests that leave it as it was."""
    flight = Flight(tmp_path_factory.mktemp("shared"))
    yield flight
    flight.close()


def names(flight: Flight, name: str, *groups: dict) -> list[str]:
    return [reading.name.removeprefix("command_") for reading in flight.do(name, *groups)]


def failure_of(flight: Flight, name: str, *groups: dict) -> int:
    last = flight.do(name, *groups)[-1]
    assert last.name == "command_not_completed"
    return int(last.values["failure_code"] or 0)


def test_a_command_is_accepted_started_and_completed(shared: Flight) -> None:
    assert names(shared, "are_you_alive") == ["accepted", "started", "completed"]
    assert any(reading.name == "alive" for reading in shared.seen)


def test_telemetry_goes_by_udp_too_and_commands_come_that_way(shared: Flight) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ground:
        ground.sendto(shared.sealed("are_you_alive"), shared.udp_address)
    while True:
        packet = unpack_telemetry(shared.udp.recv(65536))
        if (packet.service, packet.subtype) == (17, 2):
            break


def test_what_is_not_authentic_is_refused_counted_and_an_event(shared: Flight) -> None:
    before = int(shared.wait_for("housekeeping_health").values["commands_rejected"] or 0)
    genuine = shared.sealed("are_you_alive")
    forged = seal(bytes(32), 1 << 60, APID, 17, 1, 77, b"")
    bare = pack_telecommand(APID, 17, 1, 78, b"")
    damaged = genuine[:-9] + bytes([genuine[-9] ^ 1]) + genuine[-8:]
    refused = ((forged, Failure.NOT_AUTHENTIC), (bare, Failure.NOT_AUTHENTIC))
    for packet, failure in refused:
        shared.tcp.sendall(packet)
        event = shared.wait_for("event_command_rejected")
        assert event.values["failure_code"] == failure
    shared.tcp.sendall(genuine)
    shared.wait_for("command_completed")
    shared.tcp.sendall(genuine)
    shared.wait_for("command_not_accepted", failure_code=Failure.REPLAYED)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ground:
        ground.sendto(damaged, shared.udp_address)
    shared.wait_for("command_not_accepted", failure_code=Failure.BAD_CHECKSUM)
    shared.wait_for("housekeeping_health", commands_rejected=before + 4)


@pytest.mark.parametrize(
    ("service", "subtype", "content", "failure"),
    [
        (99, 1, b"", Failure.UNKNOWN_SERVICE),
        (3, 200, b"", Failure.UNKNOWN_SUBTYPE),
        (8, 1, b"\x63", Failure.UNKNOWN_FUNCTION),
        (8, 1, b"", Failure.BAD_ARGUMENTS),
        (3, 27, b"", Failure.BAD_ARGUMENTS),
        (3, 27, b"\x00", Failure.BAD_ARGUMENTS),
        (3, 27, b"\x02\x01", Failure.BAD_ARGUMENTS),
        (17, 1, b"more", Failure.BAD_ARGUMENTS),
        (8, 1, b"\x03\x05abc", Failure.BAD_ARGUMENTS),
    ],
)
def test_what_is_not_known_is_a_failure_with_its_code(
    shared: Flight, service: int, subtype: int, content: bytes, failure: Failure
) -> None:
    shared.counter += 1
    shared.sequence += 1
    shared.tcp.sendall(seal(KEY, shared.counter, APID, service, subtype, shared.sequence, content))
    found = shared.wait_for("command_not_accepted")
    assert found.values["failure_code"] == failure


def test_housekeeping_comes_by_itself_and_on_request_and_can_be_switched(shared: Flight) -> None:
    shared.wait_for("housekeeping_imaging")
    assert names(shared, "disable_housekeeping", {"structure_id": 2}, {"structure_id": 3})[-1] == "completed"
    start = len(shared.seen)
    for _ in range(3):
        shared.wait_for("housekeeping_health")
    assert all(reading.name != "housekeeping_imaging" for reading in shared.seen[start:])
    shared.do("request_housekeeping", {"structure_id": 2})
    assert any(reading.name == "housekeeping_imaging" for reading in shared.seen[start:])
    shared.do("enable_housekeeping", {"structure_id": 2}, {"structure_id": 3})
    shared.wait_for("housekeeping_imaging")
    assert failure_of(shared, "request_housekeeping", {"structure_id": 77}) == Failure.UNKNOWN_STRUCTURE


def test_an_event_can_be_silenced_unless_it_is_of_high_severity(shared: Flight) -> None:
    shared.do("disable_events", {"event_id": 806})
    start = len(shared.seen)
    shared.do("set_parameters", {"parameter_id": 14, "parameter_value": 61.0})
    shared.wait_for("housekeeping_health")
    assert all(reading.name != "event_parameter_changed" for reading in shared.seen[start:])
    shared.do("list_disabled_events")
    assert [r.values["event_id"] for r in shared.seen if r.name == "disabled_event"] == [806]
    shared.do("enable_events", {"event_id": 806})
    shared.do("set_parameters", {"parameter_id": 14, "parameter_value": 62.0})
    shared.wait_for("event_parameter_changed", value=62.0)
    assert failure_of(shared, "disable_events", {"event_id": 814}) == Failure.OUT_OF_RANGE
    assert failure_of(shared, "disable_events", {"event_id": 9}) == Failure.UNKNOWN_EVENT


def test_parameters_are_set_all_or_none_and_only_within_their_range(shared: Flight) -> None:
    def now() -> float:
        shared.do("report_parameters", {"parameter_id": 1})
        values = [r.values["parameter_value"] for r in shared.seen if r.name == "parameter_value"]
        return float(values[-1] or 0.0)

    before = now()
    wrong = ({"parameter_id": 1, "parameter_value": 0.5}, {"parameter_id": 2, "parameter_value": 0.5})
    assert failure_of(shared, "set_parameters", *wrong) == Failure.OUT_OF_RANGE
    assert now() == before
    for value in (-0.1, 1.1, float("nan"), float("inf")):
        one = {"parameter_id": 1, "parameter_value": value}
        assert failure_of(shared, "set_parameters", one) == Failure.OUT_OF_RANGE
    unknown = {"parameter_id": 999, "parameter_value": 0.0}
    assert failure_of(shared, "set_parameters", unknown) == Failure.UNKNOWN_PARAMETER
    shared.do("set_parameters", {"parameter_id": 1, "parameter_value": 0.25})
    assert now() == 0.25
    shared.do("set_parameters", {"parameter_id": 1, "parameter_value": before})


def test_the_budget_that_is_told_is_the_one_that_was_set(shared: Flight) -> None:
    before = int(shared.wait_for("housekeeping_health").values["budget_bytes"] or 0)
    for budget_bytes in (before + (1 << 20), before):
        shared.do("set_parameters", {"parameter_id": 12, "parameter_value": float(budget_bytes)})
        shared.wait_for("housekeeping_health", budget_bytes=budget_bytes)


def test_the_self_test_reports_every_step(shared: Flight) -> None:
    found = names(shared, "run_self_test")
    assert found == ["accepted", "started", *["progressed"] * (len(found) - 3), "completed"]
    assert found.count("progressed") == 4  # memory, models, store, networks
    shared.wait_for("event_self_test_passed")


def test_a_scheduled_command_is_done_at_its_time_and_not_before(shared: Flight) -> None:
    release_ns = time.time_ns() + 1_500_000_000
    inner = pack_telecommand(APID, 20, 1, 4242, command_named("report_parameters").pack({"parameter_id": 3}))
    shared.do("schedule_commands", {"release_time": release_ns, "command": inner})
    shared.do("list_schedule")
    waiting = [r.values for r in shared.seen if r.name == "scheduled_command"]
    assert [values["release_time"] for values in waiting] == [release_ns // 1_000_000 * 1_000_000]
    done = shared.wait_for("parameter_value", parameter_id=3)
    assert 0 <= done.utc_ns - (release_ns - 1_000_000) < 3e9
    past = {"release_time": time.time_ns() - 1_000_000_000, "command": inner}
    assert failure_of(shared, "schedule_commands", past) == Failure.TIME_PAST
    nested = pack_telecommand(APID, 11, 4, 1, command_named("schedule_commands").pack(past))
    later = time.time_ns() + 10**12
    assert failure_of(shared, "schedule_commands", {"release_time": later, "command": nested}) == 13
    assert failure_of(shared, "unschedule_commands", {"request_packet_id": 1, "request_sequence": 2}) == 16


def test_noise_on_the_link_costs_itself_alone(shared: Flight) -> None:
    cut = shared.sealed("are_you_alive")[:-3]
    longer = bytearray(shared.sealed("are_you_alive"))
    longer[5] += 40  # the length field: the next packets seem to belong to this one
    shared.tcp.sendall(os.urandom(500) + cut + bytes(longer))
    first, second = shared.send("are_you_alive"), shared.send("are_you_alive")
    assert first != second
    start = len(shared.seen)
    while sum(reading.name == "alive" for reading in shared.seen[start:]) < 2:
        shared.wait_for("alive")
    shared.wait_for("event_uplink_damaged")


def test_every_command_of_the_table_has_somebody_who_does_it(shared: Flight) -> None:
    told = {
        "load_strip": ({"path": "/not/there"},),
        "schedule_commands": ({"release_time": 1, "command": pack_telecommand(APID, 17, 1, 1, b"")},),
    }
    for command in COMMANDS:
        values = {field.name: 0 for field in command.fields if field.name not in command.fixed}
        groups = told.get(command.name, (values,) if values or command.repeats else ())
        last = shared.do(command.name, *groups)[-1]
        assert last.values.get("reason", "") != f"{command.name}: not in this payload"
    shared.do("start_imaging")
    shared.do("enable_schedule")


def test_strips_are_taken_while_commands_are_answered_and_a_contact_goes_on(flight: Flight) -> None:
    flight.wait_for("housekeeping_imaging", strips_finished=0)
    shutil.copytree(EXAMPLE, flight.inbox, dirs_exist_ok=True)
    flight.wait_for("event_strip_started")
    assert names(flight, "are_you_alive")[-1] == "completed"
    flight.wait_for("event_strip_finished")
    flight.wait_for("housekeeping_imaging", strips_finished=1, strips_waiting=0)
    # The queue is counted on a period of its own: a reading or two may come before it is.
    flight.wait(
        lambda reading: reading.name == "housekeeping_downlink" and bool(reading.values["queue_entries"])
    )
    flight.do("clear_queue")
    flight.wait_for("housekeeping_downlink", queue_entries=0, queue_bytes=0)
    flight.do("load_strip", {"path": str(EXAMPLE / "strip.yaml")})
    flight.wait_for("event_strip_resumed")
    assert flight.stop() == 0
    lines = (flight.state / "telemetry.jsonl").read_text().splitlines()
    events = [record["event"] for record in map(json.loads, lines) if record["record"] == "event"]
    assert (events[0], events[-1]) == ("service_started", "service_stopped")


def test_after_a_kill_everything_goes_on_where_it_was(flight: Flight) -> None:
    flight.do("stop_imaging")
    flight.do("set_parameters", {"parameter_id": 1, "parameter_value": 0.5})
    flight.do("disable_housekeeping", {"structure_id": 4})
    inner = pack_telecommand(APID, 17, 1, 1, b"")
    flight.do("schedule_commands", {"release_time": time.time_ns() + 10**12, "command": inner})
    flight.do("load_strip", {"path": str(EXAMPLE / "strip.yaml")})
    replay = flight.sealed("are_you_alive")
    flight.tcp.sendall(replay)
    flight.wait_for("alive")
    flight.kill()
    flight.start()
    flight.tcp.sendall(replay)
    flight.wait_for("command_not_accepted", failure_code=Failure.REPLAYED)
    flight.wait_for("housekeeping_health", scheduled_commands=1)
    flight.wait_for("housekeeping_imaging", strips_waiting=1, is_imaging=0)
    flight.do("report_parameters", {"parameter_id": 1})
    assert [r.values["parameter_value"] for r in flight.seen if r.name == "parameter_value"] == [0.5]
    flight.do("start_imaging")
    flight.wait_for("event_strip_started")
    flight.kill()  # in the middle of the strip
    flight.start()
    flight.wait_for("housekeeping_imaging", strips_finished=1, strips_waiting=0)
    assert not any(reading.name == "event_strip_left" for reading in flight.seen)
    with sqlite3.connect(flight.state / "queue.sqlite") as store:
        assert store.execute("SELECT count(*) FROM tile").fetchone() == (2,)
    store.close()


def test_a_strip_whose_process_hangs_is_begun_again_where_it_was(flight: Flight) -> None:
    flight.do("set_parameters", {"parameter_id": 15, "parameter_value": 10.0})
    flight.do("load_strip", {"path": str(EXAMPLE / "strip.yaml")})
    flight.wait_for("event_strip_started")
    pid = flight.process.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(child), signal.SIGSTOP)
    assert names(flight, "are_you_alive")[-1] == "completed"
    flight.wait_for("event_process_silent", silence_s=10.0)
    flight.wait_for("event_strip_again", exit_code="-9")
    flight.wait_for("housekeeping_imaging", strips_finished=1, strips_waiting=0)


def test_what_is_no_strip_is_left_and_the_next_is_taken(flight: Flight) -> None:
    flight.inbox.mkdir(exist_ok=True)
    (flight.inbox / "a.yaml").write_text("nothing of a strip\n")
    left = flight.wait_for("event_strip_left")
    assert (left.values["exit_code"], left.values["attempts"]) == ("4", 1)
    flight.wait_for("housekeeping_imaging", strips_waiting=0, strips_left=1)
    flight.stop()
    flight.start()
    flight.wait_for("housekeeping_imaging", strips_waiting=0, strips_left=0)  # it is not taken again


def test_a_strip_that_was_begun_otherwise_is_left_and_the_next_is_taken(flight: Flight) -> None:
    header = (EXAMPLE / "strip.yaml").read_text()
    strip_id = str(yaml.safe_load(header)["strip_id"])
    store = SqliteProductStore(flight.state / "queue.sqlite", roles=(Role.MAKER,))
    store.begin_strip(strip_id, "f" * 64)
    store.close()
    flight.do("load_strip", {"path": str(EXAMPLE / "strip.yaml")})
    told = flight.wait_for("event_strip_refused")
    assert "begun here with another configuration" in str(told.values["reason"])
    left = flight.wait_for("event_strip_left")
    assert (left.values["exit_code"], left.values["attempts"]) == ("4", 1)
    shutil.copy(EXAMPLE / "strip.raw", flight.folder)
    (flight.folder / "strip.yaml").write_text(header.replace(strip_id, "ANOTHER"))
    flight.do("load_strip", {"path": str(flight.folder / "strip.yaml")})
    flight.wait_for("event_strip_finished", strip_id="ANOTHER")


def test_a_name_that_is_no_text_is_told_and_stops_nothing(flight: Flight) -> None:
    (flight.inbox / os.fsdecode(b"str\xffip")).mkdir()
    refused = flight.wait_for("event_inbox_name_refused")
    assert str(refused.values["path"]).endswith("/str\\xffip")
    (flight.inbox / "a.yaml").write_text("nothing of a strip\n")
    flight.wait_for("event_strip_left", exit_code="4")


def test_the_watchdog_is_stroked_as_long_as_the_loop_turns(flight: Flight) -> None:
    stroked = flight.folder / "watchdog"
    flight.wait_for("housekeeping_health")
    first = stroked.stat().st_mtime_ns
    flight.wait_for("housekeeping_health")
    assert stroked.stat().st_mtime_ns > first
    assert flight.stop() == 0
    assert stroked.read_bytes() == b"V"


def test_a_fifo_brings_paths(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "inbox")
    flight = Flight(tmp_path)
    try:
        with (tmp_path / "inbox").open("w") as fifo:
            fifo.write(f"{tmp_path / 'nothing'}\n")
        assert flight.wait_for("event_strip_left").values["path"] == str(tmp_path / "nothing")
        lines = ("/tmp/a\0b", "--help", "#1", "/" + 250 * "x")
        with (tmp_path / "inbox").open("w") as fifo:
            fifo.write("".join(f"{line}\n" for line in lines))
        flight.wait_for("event_inbox_name_refused", path="/tmp/a\\0b")
        for line in lines[1:]:
            left = flight.wait_for("event_strip_left", exit_code="4")
            assert str(left.values["path"]).startswith(line[:200])
        flight.wait_for("housekeeping_imaging", strips_finished=0)
    finally:
        flight.close()


def test_a_path_where_the_service_may_not_look_is_not_found_and_ends_nothing(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    under = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if under and shutil.which(under[0]) is None:
        pytest.skip("there is no setpriv(1) to take root's rights from the service")
    flight = Flight(tmp_path / "flight", under=under)
    try:
        for name in ("load_strip", "install_model"):
            assert failure_of(flight, name, {"path": str(closed / "a")}) == Failure.NOT_FOUND
        assert names(flight, "are_you_alive")[-1] == "completed"
    finally:
        flight.close()


def test_a_second_service_in_the_same_place_is_refused(shared: Flight) -> None:
    command = [sys.executable, "-m", "payload", "fly", "--config", str(shared.config)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1), done.stderr
    assert "another payload" in done.stderr


@pytest.mark.slow
def test_kills_at_random_instants_lose_and_double_nothing(tmp_path: Path) -> None:
    dice = random.Random(5)
    flight = Flight(tmp_path / "killed")
    try:
        shutil.copytree(EXAMPLE, flight.inbox, dirs_exist_ok=True)
        for kill in range(12):
            time.sleep(dice.uniform(0.0, 3.0))
            flight.kill()
            flight.start()
            flight.do("set_parameters", {"parameter_id": 14, "parameter_value": 100.0 + kill})
        flight.wait_for("housekeeping_imaging", strips_waiting=0, is_imaging=0)
        assert flight.stop() == 0
        whole = tmp_path / "whole"
        command = [sys.executable, "-m", "payload", "run", str(EXAMPLE / "strip.yaml")]
        command += ["--config", str(flight.config), "--out", str(whole)]
        subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
        assert products(flight.state / "queue.sqlite") == products(whole / "queue.sqlite")
    finally:
        flight.close()


def products(queue: Path) -> list[tuple[str, bytes]]:
    """Every product with its bytes."""
    with sqlite3.connect(queue) as store:
        found = store.execute("SELECT product_id, body FROM product JOIN body USING (entry_id)").fetchall()
    store.close()
    return sorted(found)


@pytest.mark.slow
def test_the_idle_service_keeps_within_60_mib(flight: Flight) -> None:
    for _ in range(6):
        flight.wait_for("housekeeping_health")
    resident_bytes = flight.resident_bytes()
    print(f"{resident_bytes / (1 << 20):.1f} MiB")
    assert resident_bytes <= 60 << 20
