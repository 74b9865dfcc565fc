"""Ports of the service without a board: a clock that is told the time, a memory that forgets at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from payload.core.packets import unpack_telemetry
from payload.core.reports import report_of
from payload.core.telemetry import Telemetry
from payload.flight.calls import Now
from payload.flight.downlink import Downlink
from payload.ports import Candidate, Clock, FlightMemory, Inbox, StripWorker

NOON_UTC_NS = 1_800_000_000_000_000_000
S = 1_000_000_000


class ToldClock(Clock):
    """Implements `ports.Clock`; UTC may be set to anything, the monotonic clock only grows."""

    def __init__(self) -> None:
        self.utc = NOON_UTC_NS
        self.mono = 0

    def utc_ns(self) -> int:
        return self.utc

    def mono_ns(self) -> int:
        return self.mono

    def passes(self, seconds: float) -> Now:
        """Both clocks go on by ``seconds``."""
        self.utc += int(seconds * S)
        self.mono += int(seconds * S)
        return self.now()

    def now(self) -> Now:
        return Now(self.utc, self.mono)


class DictMemory(FlightMemory):
    """Implements `ports.FlightMemory` without a disk."""

    def __init__(self) -> None:
        self.facts: dict[str, int | float | str] = {}

    def get(self, name: str) -> int | float | str | None:
        return self.facts.get(name)

    def put(self, name: str, value: int | float | str) -> None:
        self.facts[name] = value

    def put_all(self, values: Mapping[str, int | float | str | None]) -> None:
        self.facts.update((name, value) for name, value in values.items() if value is not None)
        for name in [name for name, value in values.items() if value is None]:
            self.facts.pop(name, None)

    def drop(self, name: str) -> None:
        self.facts.pop(name, None)

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self.facts if name.startswith(prefix))


class Sent:
    """A downlink whose packets can be looked at."""

    def __init__(self, apid: int, clock: Clock, telemetry: Telemetry) -> None:
        self.packets: list[bytes] = []
        self.downlink = Downlink(apid, clock, telemetry, self._send)

    def _send(self, packet: bytes) -> bool:
        self.packets.append(packet)
        return True

    def names(self) -> list[str]:
        """The kinds of the packets so far."""
        found = [unpack_telemetry(packet) for packet in self.packets]
        reports = [report_of(packet.service, packet.subtype, packet.content) for packet in found]
        return [report.name if report else "unknown" for report in reports]


class ListInbox(Inbox):
    """Implements `ports.Inbox`: what the test puts there."""

    def __init__(self) -> None:
        self.there: list[Candidate] = []
        self.is_away = False

    def listing(self) -> list[Candidate] | None:
        if self.is_away:
            return None
        lines = [candidate for candidate in self.there if not candidate.stamp]
        found, self.there = self.there, [c for c in self.there if c not in lines]
        return found

    def close(self) -> None:
        """Nothing is open."""


class ObedientWorker(StripWorker):
    """Implements `ports.StripWorker`: ends when and how the test says."""

    def __init__(self) -> None:
        self.started: list[tuple[str, dict[str, float]]] = []
        self.stops = 0
        self.to_tell: list[dict[str, object]] = []
        self.ends_with: int | None = None
        self.is_running = False

    def start(self, path: str, settings: Mapping[str, float]) -> None:
        assert not self.is_running
        self.is_running = True
        self.started.append((path, dict(settings)))

    def records(self) -> list[dict[str, object]]:
        told, self.to_tell = self.to_tell, []
        return told

    def exit_code(self) -> int | None:
        code, self.ends_with = self.ends_with, None
        if not self.is_running or code is None:
            return None
        self.is_running = False
        return code

    def stop(self) -> None:
        self.is_running = False
        self.stops += 1

    def wakes_on(self) -> Sequence[int]:
        return ()
