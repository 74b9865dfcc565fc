"""Services 5 and 17: what happened is told, and that there is somebody to tell it.

Rules:
1. Every event that is within its throttle goes into the file and, unless disabled, down.
2. The throttles are renewed every THROTTLE_S: a flood costs that much and no more.
3. Which events are disabled is remembered over a restart; an event of high severity cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from payload.core.packets import Failure
from payload.core.telemetry import EVENTS, Telemetry, Value
from payload.core.telemetry.kinds import Severity
from payload.errors import CommandError, StoreError
from payload.flight.calls import Call, Execute, Now, Quiet
from payload.flight.downlink import Downlink
from payload.ports import FlightMemory, TelemetryFile

THROTTLE_S = 60
_NS_PER_S = 1_000_000_000
_DISABLED = "event_disabled/"


class Reporting(Quiet):
    """Takes the events from telemetry; the last service of the loop."""

    def __init__(
        self,
        telemetry: Telemetry,
        downlink: Downlink,
        memory: FlightMemory,
        file: TelemetryFile,
        started: Now,
    ) -> None:
        self._telemetry = telemetry
        self._downlink = downlink
        self._memory = memory
        self._file = file
        self._events = {event.event_id: event for event in EVENTS}
        self._disabled = {int(name.removeprefix(_DISABLED)) for name in memory.names(_DISABLED)}
        self._renewed_ns = started.mono_ns

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {
            "enable_events": self._enable,
            "disable_events": self._disable,
            "list_disabled_events": self._list,
            "are_you_alive": self._answer,
        }

    def poll(self, now: Now) -> None:
        """What happened since the last turn has been told."""
        if now.mono_ns - self._renewed_ns >= THROTTLE_S * _NS_PER_S:
            self._renewed_ns = now.mono_ns
            self._telemetry.renew_throttles()
        records = self._telemetry.take_events(now.utc_ns)
        if not records:
            return
        try:
            self._file.append(records)
        except StoreError as error:
            self._telemetry.event("store_error", reason=str(error))
        for record in records:
            if record["event_id"] not in self._disabled:
                parameters = cast("dict[str, Value]", record["parameters"])
                count = cast("int", record["count"])
                self._downlink.report(f"event_{record['event']}", {"count": count, **parameters})

    def _enable(self, call: Call) -> bool:
        for number in self._wanted(call):
            self._memory.drop(f"{_DISABLED}{number}")
            self._disabled.discard(number)
        return True

    def _disable(self, call: Call) -> bool:
        wanted = self._wanted(call)
        for number in wanted:
            if self._events[number].severity is Severity.HIGH:
                raise CommandError(f"event {number} is of high severity", Failure.OUT_OF_RANGE)
        for number in wanted:
            self._memory.put(f"{_DISABLED}{number}", 1)
            self._disabled.add(number)
        return True

    def _list(self, call: Call) -> bool:
        for number in sorted(self._disabled):
            call.report("disabled_event", {"event_id": number})
        return True

    def _answer(self, call: Call) -> bool:
        call.report("alive", {})
        return True

    def _wanted(self, call: Call) -> list[int]:
        numbers = [int(group["event_id"]) for group in call.groups]
        for number in numbers:
            if number not in self._events:
                raise CommandError(f"event {number} is not known", Failure.UNKNOWN_EVENT)
        return numbers
