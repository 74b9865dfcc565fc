"""Service 3: the channels, in structures, periodically and on request.

Rules:
1. An enabled structure is sent every so many housekeeping intervals as its table says, counted
   by the monotonic clock; any structure is sent on request.
2. What is enabled is remembered over a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from payload.core.packets import Failure
from payload.core.reports import channel_values
from payload.core.telemetry import STRUCTURES, Structure, Telemetry, Value
from payload.errors import CommandError
from payload.flight.calls import Call, Execute, Now, Quiet
from payload.flight.downlink import Downlink
from payload.ports import FlightMemory, TelemetryFile

_NS_PER_S = 1_000_000_000
_DISABLED = "housekeeping_disabled/"


class Housekeeping(Quiet):
    """Samples and sends."""

    def __init__(
        self,
        telemetry: Telemetry,
        downlink: Downlink,
        memory: FlightMemory,
        file: TelemetryFile,
        interval_s: Callable[[], float],
        started: Now,
    ) -> None:
        """``interval_s`` is asked anew every time: it may be changed in flight."""
        self._telemetry = telemetry
        self._downlink = downlink
        self._memory = memory
        self._file = file
        self._interval_s = interval_s
        self._started_ns = started.mono_ns
        self._next_ns = started.mono_ns
        self._intervals = 0
        self._structures = {structure.structure_id: structure for structure in STRUCTURES}
        self._disabled = {int(name.removeprefix(_DISABLED)) for name in memory.names(_DISABLED)}

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {
            "enable_housekeeping": self._enable,
            "disable_housekeeping": self._disable,
            "request_housekeeping": self._request,
        }

    def poll(self, now: Now) -> None:
        """The structures that are due are on their way, and a sample is in the file."""
        if now.mono_ns < self._next_ns:
            return
        self._next_ns = now.mono_ns + int(self._interval_s() * _NS_PER_S)
        self._measure(now)
        for structure in STRUCTURES:
            if structure.structure_id not in self._disabled and self._intervals % structure.period == 0:
                self._downlink.report(*self._reading(structure))
        self._intervals += 1
        self._file.append([self._telemetry.sample(now.utc_ns)])

    def _measure(self, now: Now) -> None:
        self._telemetry.set("uptime_s", (now.mono_ns - self._started_ns) / _NS_PER_S)

    def _reading(self, structure: Structure) -> tuple[str, Mapping[str, Value | None]]:
        """The report of a structure, and what is in it now."""
        values = channel_values(structure, self._telemetry.values, self._telemetry.high_water)
        return f"housekeeping_{structure.name}", values

    def _enable(self, call: Call) -> bool:
        for structure in self._wanted(call):
            self._memory.drop(f"{_DISABLED}{structure.structure_id}")
            self._disabled.discard(structure.structure_id)
        return True

    def _disable(self, call: Call) -> bool:
        for structure in self._wanted(call):
            self._memory.put(f"{_DISABLED}{structure.structure_id}", 1)
            self._disabled.add(structure.structure_id)
        return True

    def _request(self, call: Call) -> bool:
        self._measure(call.now)
        for structure in self._wanted(call):
            call.report(*self._reading(structure))
        return True

    def _wanted(self, call: Call) -> list[Structure]:
        numbers = [int(group["structure_id"]) for group in call.groups]
        for number in numbers:
            if number not in self._structures:
                raise CommandError(f"structure {number} is not known", Failure.UNKNOWN_STRUCTURE)
        return [self._structures[number] for number in numbers]
