"""`payload fly` and `payload dictionary`: builds the drivers and services, starts the loop."""

from __future__ import annotations

import argparse
import json
import os.path
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from payload import __version__
from payload.config import NONE, Config, ServiceConfig, load_config, parse_address, read_text
from payload.core import xtce
from payload.core.cfdp import first_sequence_at
from payload.core.guard import CommandGuard, parse_key
from payload.core.packets import Telecommand
from payload.core.telecommands import Arguments, Command, command_named
from payload.core.telemetry import Telemetry
from payload.drivers.board import LinuxBoard, SystemClock
from payload.drivers.flight_memory import SqliteFlightMemory
from payload.drivers.ground_links import SocketLinks
from payload.drivers.inbox import open_inbox
from payload.drivers.incoming_files import FolderOfFiles
from payload.drivers.plan_file import PlanFile
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.store_check import StoreCheck
from payload.drivers.store_lock import Role
from payload.drivers.strip_child import (
    StripProcess,
    devices_command,
    drop_old_runs,
    model_job,
    run_command,
)
from payload.drivers.surroundings import LinuxSurroundings
from payload.drivers.telemetry_log import TelemetryLog
from payload.drivers.transfer_journal import SqliteTransferJournal
from payload.drivers.watchdog import FileWatchdog, NoWatchdog
from payload.errors import StoreError
from payload.flight.calls import Call, Now, Service
from payload.flight.downlink import Downlink
from payload.flight.functions import Functions, NetworkTest, SelfTest
from payload.flight.health import Health
from payload.flight.housekeeping import Housekeeping
from payload.flight.loop import Loop
from payload.flight.passes import Passes
from payload.flight.reporting import Reporting
from payload.flight.schedule import Schedule
from payload.flight.settings import Settings
from payload.flight.strips import ATTEMPTS, Strips
from payload.flight.updating import Updating
from payload.flight.uplink import REPLAY_COUNTER, Uplink
from payload.logbook import make_folder
from payload.model_files import files_in, manifest_in
from payload.ports import Watchdog
from payload.terminal import say

MEMORY_FILE = "flight.sqlite"
QUEUE_FILE = "queue.sqlite"
TRANSFERS_FILE = "transfers.sqlite"
LOG_FILE = "telemetry.jsonl"
LOG_MAX_BYTES = 16 << 20
_BOOTS, _TEST = "boots", "test"
_BUDGET = "memory.budget_bytes"


def fly(arguments: argparse.Namespace) -> None:
    """`payload fly`: take strips and commands until SIGTERM."""
    config = load_config(arguments.config)
    key_path = config.folder(config.service.command_key)
    key = parse_key(read_text(key_path, "command key"), str(key_path))
    state = config.folder(config.service.state)
    make_folder(state)
    with ExitStack() as opened:
        store = SqliteProductStore(state / QUEUE_FILE, roles=(Role.SENDER,))  # first: it makes room
        opened.callback(store.close)
        memory = SqliteFlightMemory(state / MEMORY_FILE, store.make_room)
        opened.callback(memory.close)
        first_sequence = first_sequence_at(SystemClock().utc_ns())
        journal = SqliteTransferJournal(state / TRANSFERS_FILE, first_sequence)
        opened.callback(journal.close)
        incoming = FolderOfFiles(state / "parts", config.folder(config.downlink.uplink))
        opened.callback(incoming.close)
        links = _links(config.service)
        opened.callback(links.close)
        file = TelemetryLog(state / LOG_FILE, LOG_MAX_BYTES)
        opened.callback(file.close)
        _fly(config, Drivers(key, state, memory, store, journal, incoming, links, file))


@dataclass(frozen=True, slots=True)
class Drivers:
    """What the service needs of the board, opened."""

    key: bytes
    state: Path
    memory: SqliteFlightMemory
    store: SqliteProductStore
    journal: SqliteTransferJournal
    incoming: FolderOfFiles
    links: SocketLinks
    file: TelemetryLog


def _fly(config: Config, drivers: Drivers) -> None:
    telemetry, clock = Telemetry(), SystemClock()
    memory, service = drivers.memory, config.service
    started = Now(clock.utc_ns(), clock.mono_ns())
    downlink = Downlink(service.apid, clock, telemetry, drivers.links.send)
    telemetry.event("service_started", boots=_count_boot(memory, telemetry), version=__version__)
    settings = Settings(config, memory, telemetry)

    def do(command: Command, groups: list[Arguments], found: Telecommand, now: Now) -> None:
        uplink.do(command, groups, found, now)

    services: list[Service] = [settings]
    schedule = Schedule(
        service.apid,
        memory,
        telemetry,
        lambda: settings.config.service.schedule_late_s,
        do,
    )
    services.append(schedule)
    services += _services(settings, drivers, telemetry, downlink, started)
    guard = CommandGuard(drivers.key, int(memory.get(REPLAY_COUNTER) or 0))
    untagged = () if config.downlink.is_uplink_tagged else (config.downlink.apid,)
    uplink = Uplink(service.apid, guard, memory, services, downlink, telemetry, untagged)
    loop = Loop(clock, drivers.links, uplink, services, telemetry)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    _say(drivers.links, service)
    loop.run()
    telemetry.event("service_stopped", reason="asked to stop")
    services[-1].poll(Now(clock.utc_ns(), clock.mono_ns()))


def _count_boot(memory: SqliteFlightMemory, telemetry: Telemetry) -> int:
    boots = int(memory.get(_BOOTS) or 0) + 1
    try:
        memory.put(_BOOTS, boots)
    except StoreError as error:  # a full disk is no reason not to fly
        telemetry.event("store_error", reason=str(error))
    return boots


def _services(
    settings: Settings, drivers: Drivers, telemetry: Telemetry, downlink: Downlink, started: Now
) -> list[Service]:
    """What hangs in the loop, in the order of its turn; the one that tells of everything is the last."""
    config, memory, store = settings.config, drivers.memory, drivers.store
    source = Path(config.source).absolute()

    def silence_s() -> float:
        return settings.config.service.silence_s

    updating = Updating(
        StripProcess(lambda job, _, pipe: model_job(job, pipe, source), silence_s),
        telemetry,
        lambda: strips.is_running or networks.is_running,
        os.path.isfile,  # unlike Path's, also where the service may not look
        lambda: settings.config.updates.scrub_period_s,
        memory,
        lambda name, request: Call(command_named(name), [], request, started, None, downlink, telemetry),
        started,
    )
    strips = Strips(
        open_inbox(config.folder(config.service.inbox)),
        StripProcess(
            lambda path, numbers, pipe: _run_words(config, drivers.state, path, numbers, pipe), silence_s
        ),
        memory,
        telemetry,
        lambda: settings.changed,
        os.path.exists,
        started,
        lambda: updating.is_wanted or networks.is_wanted,
        ATTEMPTS + config.updates.trial_boots,
    )
    networks = NetworkTest(
        StripProcess(lambda _path, _numbers, pipe: devices_command(source, pipe), silence_s),
        lambda: strips.is_running or updating.is_running,
    )
    return [
        updating,
        strips,
        Passes(
            lambda: settings.config,
            PlanFile(_plan_path(config)).changed,
            store,
            drivers.journal,
            drivers.incoming,
            telemetry,
            downlink.send,
            SystemClock().mono_ns,
        ),
        Functions(store, _self_tests(config, drivers), networks, telemetry),
        Health(
            telemetry,
            LinuxBoard(),
            LinuxSurroundings(drivers.state),
            store,
            config.queue.capacity_bytes,
            lambda: settings.config.memory.budget_bytes,
            _watchdog(config.service.watchdog, config),
            started,
        ),
        Housekeeping(
            telemetry,
            downlink,
            memory,
            drivers.file,
            lambda: settings.config.service.housekeeping_s,
            started,
        ),
        Reporting(telemetry, downlink, memory, drivers.file, started),
    ]


def _plan_path(config: Config) -> Path | None:
    configured = config.downlink.contact_plan
    return None if configured == NONE else config.folder(configured)


def _run_words(
    config: Config, state: Path, path: str, numbers: Mapping[str, float], pipe: int
) -> Sequence[str]:
    """The command for a strip: what the service itself needs is left out of its budget."""
    drop_old_runs(state)
    budget_bytes = int(numbers.get(_BUDGET, config.memory.budget_bytes)) - config.service.resident_bytes
    own = {
        key: number for key, number in numbers.items() if key != _BUDGET and not key.startswith("service.")
    }
    return run_command(
        path, own, pipe, Path(config.source).absolute(), state, state / QUEUE_FILE, budget_bytes
    )


def _self_tests(config: Config, drivers: Drivers) -> list[SelfTest]:
    def remembers() -> bool:
        drivers.memory.put(_TEST, "self-test")
        drivers.memory.drop(_TEST)
        return True

    def has_models() -> bool:
        for configured in (config.models.scene, config.models.surface):
            folder = config.folder(configured)
            for artifact in manifest_in(folder).artifacts:
                files_in(folder, artifact)
        return True

    check = StoreCheck(drivers.state / QUEUE_FILE)
    return [
        SelfTest("memory", remembers),
        SelfTest("models", has_models),
        SelfTest("store", check.is_passed),
    ]


def _watchdog(configured: str, config: Config) -> Watchdog:
    return NoWatchdog() if configured == NONE else FileWatchdog(config.folder(configured))


def _links(service: ServiceConfig) -> SocketLinks:
    return SocketLinks(
        parse_address(service.udp_listen),
        parse_address(service.udp_send_to),
        parse_address(service.tcp_listen),
    )


def _say(links: SocketLinks, service: ServiceConfig) -> None:
    """One line for the person who started it, with the ports that were found."""
    ways = []
    if links.udp_address:
        ways.append(f"UDP {links.udp_address[0]}:{links.udp_address[1]} to {service.udp_send_to}")
    if links.tcp_address:
        ways.append(f"TCP {links.tcp_address[0]}:{links.tcp_address[1]}")
    sys.stderr.write(f"payload fly: APID {service.apid}, {', '.join(ways)}; SIGTERM ends it\n")
    sys.stderr.flush()


def dictionary(arguments: argparse.Namespace) -> None:
    """`payload dictionary`: all telemetry and commands, for the ground's own tools."""
    config = load_config(arguments.config)
    document = xtce.dictionary(config.service.apid, __version__)
    try:
        arguments.xtce.write_bytes(document)
    except OSError as error:
        raise StoreError(f"{arguments.xtce}: cannot write the dictionary: {error.strerror}") from error
    apid = config.service.apid
    if arguments.json:
        facts = {"path": str(arguments.xtce), "format": "XTCE 1.2", "apid": apid, "size_bytes": len(document)}
        say(json.dumps(facts, indent=2))
    else:
        say(f"{arguments.xtce}: XTCE 1.2, APID {apid}, {len(document)} bytes")


COMMANDS = {"fly": fly, "dictionary": dictionary}
