"""What is told about a walk: the tables of events and channels, and their counting.

Rules:
1. An event happened, a channel has a value; nothing is told that is not in the tables.
2. Ids and names are never reused: a retired line goes, its number stays taken.
3. Every event is counted; beyond its throttle it is counted only, until the throttles are
   renewed. So memory is bounded however often a thing happens.
4. A channel with a high-water mark keeps the highest value that it ever had.
5. This module is told the time: records get it when they are taken, in the order of what
   happened, and are taken once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from payload.core.telemetry.events import EVENTS
from payload.core.telemetry.kinds import Channel, Event, Limits, Structure
from payload.core.telemetry.structures import STRUCTURES
from payload.core.telemetry.tables import CHANNELS, PARAMETERS
from payload.core.wire import TEXT_MAX_CHARS, Value

__all__ = [
    "CHANNELS",
    "EVENTS",
    "PARAMETERS",
    "STRUCTURES",
    "TEXT_MAX_CHARS",
    "Channel",
    "Event",
    "Limits",
    "Structure",
    "Telemetry",
    "Value",
]

Record = dict[str, object]


class Telemetry:
    """The counts, throttles and high-water marks of one walk."""

    def __init__(self) -> None:
        self._events = {event.name: event for event in EVENTS}
        self._channels = {channel.name: channel for channel in CHANNELS}
        self._counts = dict.fromkeys(self._events, 0)
        self._told = dict.fromkeys(self._events, 0)
        self._values: dict[str, int | float] = {}
        self._high_water: dict[str, int | float] = {}
        self._untaken: list[Record] = []

    def event(self, name: str, **parameters: Value) -> bool:
        """Counts the event and, within its throttle, remembers it until `take_events`.

        Returns whether it is within its throttle and will be told.

        Args:
            name: a name in EVENTS.
            parameters: all and only those of the table.
        """
        event = self._events[name]
        assert tuple(sorted(parameters)) == tuple(sorted(event.parameters)), (name, parameters)
        self._counts[name] += 1
        self._told[name] += 1
        if self._told[name] > event.throttle:
            return False
        self._untaken.append(
            {
                "record": "event",
                "event_id": event.event_id,
                "event": name,
                "severity": event.severity.value,
                "count": self._counts[name],
                "parameters": {key: _bounded(parameters[key]) for key in event.parameters},
            }
        )
        return True

    def set(self, name: str, value: int | float) -> None:
        """The channel ``name`` has ``value`` from now on."""
        channel = self._channels[name]
        assert math.isfinite(value), (name, value)
        self._values[name] = channel.kind(value)
        if channel.has_high_water:
            self._high_water[name] = max(self._values[name], self._high_water.get(name, self._values[name]))

    def add(self, name: str, step: int | float = 1) -> None:
        """The channel ``name`` grows by ``step``, from 0 if it had no value."""
        self.set(name, self._values.get(name, 0) + step)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each event has happened, in the order of the table, without the zeros."""
        return {name: count for name, count in self._counts.items() if count}

    @property
    def values(self) -> Mapping[str, int | float]:
        """The value of each channel that has one."""
        return dict(self._values)

    @property
    def high_water(self) -> Mapping[str, int | float]:
        """The highest value of each channel that keeps one."""
        return dict(self._high_water)

    def renew_throttles(self) -> None:
        """Every event may be told again as often as its throttle says; all counts stay."""
        self._told = dict.fromkeys(self._events, 0)

    def take_events(self, utc_ns: int) -> list[Record]:
        """The remembered events, oldest first, as records of the time ``utc_ns``."""
        taken, self._untaken = self._untaken, []
        return [{"utc_ns": utc_ns, **record} for record in taken]

    def sample(self, utc_ns: int) -> Record:
        """One record of every channel that has a value, at the time ``utc_ns``."""
        return {
            "utc_ns": utc_ns,
            "record": "channels",
            "values": {name: self._values[name] for name in self._channels if name in self._values},
            "high_water": dict(self._high_water),
            "counts": dict(self.counts),
        }


def _bounded(value: Value) -> Value:
    """A parameter as a record may hold it: one line of bounded text, or a finite number."""
    if isinstance(value, str):
        line = " ".join(value.split())
        return line if len(line) <= TEXT_MAX_CHARS else line[: TEXT_MAX_CHARS - 3] + "..."
    assert math.isfinite(value), value
    return value
