"""`payload fly`: builds the drivers and services, starts the loop."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from payload import __version__
from payload.config import Config, ServiceConfig, load_config, parse_address, read_text
from payload.core.guard import CommandGuard, parse_key
from payload.core.telemetry import Telemetry
from payload.drivers.board import LinuxBoard, SystemClock
from payload.drivers.flight_memory import SqliteFlightMemory
from payload.drivers.ground_links import SocketLinks
from payload.drivers.telemetry_log import TelemetryLog
from payload.flight.calls import Now, Service
from payload.flight.downlink import Downlink
from payload.flight.housekeeping import Housekeeping
from payload.flight.loop import Loop
from payload.flight.reporting import Reporting
from payload.flight.uplink import REPLAY_COUNTER, Uplink
from payload.logbook import make_folder

MEMORY_FILE = "flight.sqlite"
LOG_FILE = "telemetry.jsonl"
_BOOTS = "boots"


def fly(arguments: argparse.Namespace) -> None:
    """`payload fly`: take strips and commands until SIGTERM."""
    config = load_config(arguments.config)
    service = config.service
    key = parse_key(read_text(config.folder(service.command_key), "command key"), service.command_key)
    state = config.folder(service.state)
    make_folder(state)
    memory = SqliteFlightMemory(state / MEMORY_FILE)
    links = _links(service)
    file = TelemetryLog(state / LOG_FILE)
    try:
        _fly(config, service, key, memory, links, file)
    finally:
        links.close()
        file.close()
        memory.close()


def _fly(
    config: Config,
    service: ServiceConfig,
    key: bytes,
    memory: SqliteFlightMemory,
    links: SocketLinks,
    file: TelemetryLog,
) -> None:
    telemetry, clock = Telemetry(), SystemClock()
    started = Now(clock.utc_ns(), clock.mono_ns())
    downlink = Downlink(service.apid, clock, telemetry, links.send)
    boots = int(memory.get(_BOOTS) or 0) + 1
    memory.put(_BOOTS, boots)
    telemetry.set("budget_bytes", config.memory.budget_bytes)
    telemetry.event("service_started", boots=boots, version=__version__)
    services: Sequence[Service] = (
        Housekeeping(
            telemetry, downlink, memory, LinuxBoard(), file, lambda: service.housekeeping_s, started
        ),
        Reporting(telemetry, downlink, memory, file, started),
    )
    guard = CommandGuard(key, int(memory.get(REPLAY_COUNTER) or 0))
    uplink = Uplink(service.apid, guard, memory, services, downlink, telemetry)
    loop = Loop(clock, links, uplink, services)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    _say(links, service)
    loop.run()
    telemetry.event("service_stopped", reason="asked to stop")
    services[-1].poll(Now(clock.utc_ns(), clock.mono_ns()))


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


COMMANDS = {"fly": fly}
