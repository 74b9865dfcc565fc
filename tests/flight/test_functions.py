"""Self-test, queue, settings and health, each with what it must do when something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from payload.config import load_config
from payload.core.packets import Failure, Request
from payload.core.telecommands import command_named
from payload.core.telemetry import Telemetry
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.surroundings import LinuxSurroundings
from payload.drivers.watchdog import FileWatchdog, NoWatchdog
from payload.errors import CommandError, TrustError
from payload.flight.calls import Call, Service
from payload.flight.functions import Functions, NetworkTest, SelfTest
from payload.flight.health import Health
from payload.flight.settings import Settings
from payload.ports import Board, Surroundings
from tests.flying import CONFIG
from tests.on_board import DictMemory, ObedientWorker, Sent, ToldClock

CLOCK = ToldClock()


def call_of(name: str, sent: Sent, telemetry: Telemetry, *groups: dict) -> Call:
    command = command_named(name)
    parsed = command.unpack(command.pack(*groups))
    return Call(command, parsed, Request(1, 2), CLOCK.now(), None, sent.downlink, telemetry)


class Lying(Board, Surroundings):
    """Implements the board's ports: measures what the test says."""

    resident, temperature = 1 << 20, 20.0
    free: int | None = 1 << 40

    def resident_bytes(self) -> int:
        return self.resident

    def peak_bytes(self) -> int:
        return self.resident

    def cpu_s(self) -> float:
        return 1.0

    def temperature_degc(self) -> float:
        return self.temperature

    def free_bytes(self) -> int | None:
        return self.free


def test_a_self_test_that_fails_names_its_step_and_its_reason(tmp_path: Path) -> None:
    telemetry = Telemetry()
    sent = Sent(100, CLOCK, telemetry)
    waits = [False, False, True]

    def broken() -> bool:
        raise TrustError("the file is another one")

    store = SqliteProductStore(tmp_path / "queue.sqlite")
    tests = [SelfTest("slow", lambda: waits.pop(0)), SelfTest("models", broken), SelfTest("never", broken)]
    functions = Functions(store, tests, NetworkTest(ObedientWorker(), lambda: False), telemetry)
    call = call_of("run_self_test", sent, telemetry)
    assert not functions.commands["run_self_test"](call)
    with pytest.raises(CommandError) as busy:
        functions.commands["run_self_test"](call)
    assert busy.value.failure_code == Failure.BUSY
    for _ in range(10):
        functions.poll(CLOCK.now())
    names = ["command_progressed", "command_not_progressed", "command_not_completed"]
    assert sent.names() == names
    (event, _) = telemetry.take_events(0)
    assert event["parameters"] == {"test": "models", "reason": "the file is another one"}
    store.close()


@pytest.mark.parametrize("code", [0, 8])
def test_the_networks_are_asked_while_nobody_else_has_their_memory(tmp_path: Path, code: int) -> None:
    telemetry, worker, taken = Telemetry(), ObedientWorker(), [True]
    sent, store = Sent(100, CLOCK, telemetry), SqliteProductStore(tmp_path / "queue.sqlite")
    networks = NetworkTest(worker, lambda: taken[0])
    functions = Functions(store, [], networks, telemetry)
    functions.commands["run_self_test"](call_of("run_self_test", sent, telemetry))
    functions.poll(CLOCK.now())
    assert worker.started == []
    assert networks.is_wanted  # no strip begins
    taken[0] = False
    functions.poll(CLOCK.now())
    functions.poll(CLOCK.now())
    assert len(worker.started) == 1
    assert networks.is_running
    worker.ends_with = code
    functions.poll(CLOCK.now())
    assert not networks.is_wanted
    assert not networks.is_running
    assert telemetry.counts == {"self_test_failed" if code else "self_test_passed": 1, **failed(code)}
    store.close()


def test_a_self_test_that_the_end_of_the_service_interrupts_has_failed(tmp_path: Path) -> None:
    telemetry, worker = Telemetry(), ObedientWorker()
    sent, store = Sent(100, CLOCK, telemetry), SqliteProductStore(tmp_path / "queue.sqlite")
    functions = Functions(store, [], NetworkTest(worker, lambda: False), telemetry)
    functions.commands["run_self_test"](call_of("run_self_test", sent, telemetry))
    functions.poll(CLOCK.now())
    functions.close()
    assert sent.names() == ["command_not_completed"]
    assert worker.stops == 1
    store.close()


def failed(code: int) -> dict[str, int]:
    return {"command_failed": 1} if code else {}


def test_what_a_changed_file_no_longer_allows_is_left_out_and_told() -> None:
    memory, telemetry = DictMemory(), Telemetry()
    memory.put("settings", '{"judge.min_clear_ratio": 0.5, "engine.threads": 64, "gone.key": 1}')
    settings = Settings(load_config(CONFIG), memory, telemetry)
    assert settings.changed == {"judge.min_clear_ratio": 0.5}
    assert settings.config.judge.min_clear_ratio == 0.5
    assert telemetry.counts == {"parameter_refused": 2}


def test_a_clock_that_jumps_or_is_not_set_is_told_and_one_that_goes_is_not(tmp_path: Path) -> None:
    clock, telemetry, board = ToldClock(), Telemetry(), Lying()
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    health: Service = Health(telemetry, board, board, store, 1000, lambda: 1 << 30, NoWatchdog(), clock.now())
    for _ in range(100):
        health.poll(clock.passes(0.2))
    assert telemetry.counts == {}
    for step_s in (-31_536_000, 31_536_000, 2, -2):
        clock.utc += step_s * 10**9
        health.poll(clock.passes(0.2))
    assert telemetry.counts == {"clock_jumped": 4}
    clock.utc = 0
    for _ in range(50):
        health.poll(clock.passes(0.2))
    assert telemetry.counts == {"clock_jumped": 5, "clock_unset": 1}
    assert telemetry.values["time_is_set"] == 0
    store.close()


def test_one_red_limit_is_one_event_and_not_a_flood(tmp_path: Path) -> None:
    clock, telemetry, board = ToldClock(), Telemetry(), Lying()
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    health = Health(telemetry, board, board, store, 1000, lambda: 1 << 30, NoWatchdog(), clock.now())
    board.temperature = 95.0
    for _ in range(600):
        health.poll(clock.passes(1.0))
        telemetry.renew_throttles()
    assert telemetry.counts == {"limit_red": 1, "limit_yellow": 1}  # the other: turns of 1 s
    board.temperature = 20.0
    for _ in range(20):
        health.poll(clock.passes(0.5))
    (red, *_) = [e for e in telemetry.take_events(0) if e["event"] == "limit_red"]
    assert red["parameters"] == {"channel": "temperature_degc", "value": 95.0}
    assert telemetry.counts["limit_kept"] >= 1
    store.close()


def test_the_budget_is_the_one_of_now_and_what_cannot_be_measured_keeps_its_last_value(
    tmp_path: Path,
) -> None:
    clock, telemetry, board, budget = ToldClock(), Telemetry(), Lying(), [1 << 22]
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    health = Health(telemetry, board, board, store, 1000, lambda: budget[0], NoWatchdog(), clock.now())
    health.poll(clock.passes(1.0))
    assert (telemetry.values["budget_bytes"], telemetry.values["budget_used_ratio"]) == (1 << 22, 0.25)
    budget[0], board.free = 1 << 21, None
    health.poll(clock.passes(1.0))
    assert (telemetry.values["budget_bytes"], telemetry.values["budget_used_ratio"]) == (1 << 21, 0.5)
    assert telemetry.values["disk_free_bytes"] == 1 << 40
    store.close()


def test_a_watchdog_that_takes_no_stroke_is_told_and_keeps_nobody_from_the_rest(tmp_path: Path) -> None:
    clock, telemetry, board = ToldClock(), Telemetry(), Lying()
    store = SqliteProductStore(tmp_path / "queue.sqlite")
    watchdog = FileWatchdog(Path("/dev/full"))  # every write fails there
    health = Health(telemetry, board, board, store, 1000, lambda: 1 << 30, watchdog, clock.now())
    health.poll(clock.passes(0.2))
    assert telemetry.counts == {"store_error": 1}
    assert telemetry.values["resident_bytes"] == 1 << 20
    health.close()
    store.close()


def test_a_folder_that_has_gone_has_no_free_bytes(tmp_path: Path) -> None:
    assert LinuxSurroundings(tmp_path).free_bytes()
    assert LinuxSurroundings(tmp_path / "gone").free_bytes() is None
