"""What is told about a walk: the tables of events and channels, and their counting.

Rules:
1. An event happened, a channel has a value; nothing is told that is not in the tables below.
2. Ids and names are never reused: a retired line goes, its number stays taken.
3. Every event is counted; beyond its throttle it is counted only. So memory is bounded
   however often a thing happens.
4. A channel with a high-water mark keeps the highest value that it ever had.
5. This module is told the time: records get it when they are taken, in the order of what
   happened, and are taken once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from payload.types import Severity

Value = int | float | str
Record = dict[str, object]

TEXT_MAX_CHARS = 240
"""Longer text parameters of an event are cut."""


@dataclass(frozen=True, slots=True)
class Event:
    """A thing that can happen.

    ``throttle``: so many records at most in one walk; ``parameters``: names, units at their
    ends; ``meaning``: for the operator, what happened and what the payload does about it.
    """

    event_id: int
    name: str
    severity: Severity
    throttle: int
    parameters: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A thing that has a value, of type ``kind``."""

    channel_id: int
    name: str
    unit: str
    kind: type[int] | type[float]
    has_high_water: bool
    meaning: str


_INFO, _LOW, _MEDIUM, _HIGH = Severity.INFO, Severity.LOW, Severity.MEDIUM, Severity.HIGH

EVENTS = (
    Event(101, "strip_started", _INFO, 1, ("strip_id", "rows", "columns", "tiles"), "A strip begins."),
    Event(102, "strip_resumed", _INFO, 1, ("strip_id", "tiles_done"), "A strip goes on after an early end."),
    Event(103, "strip_finished", _INFO, 1, ("strip_id", "tiles_done"), "The last tile is committed."),
    Event(104, "strip_refused", _HIGH, 1, ("reason",), "The strip cannot be opened or read on; it is left."),
    Event(105, "rows_damaged", _LOW, 32, ("row", "fault"), "Rows are damaged or missing; they are no data."),
    Event(106, "rows_short", _MEDIUM, 1, ("row",), "The strip ended before its last row; no data from here."),
    Event(201, "tile_no_data", _INFO, 4, ("tile",), "A tile has no valid pixel; no network runs."),
    Event(202, "tile_without_surface", _INFO, 4, ("tile", "clear_ratio"), "Too cloudy for a correction."),
    Event(
        203, "tile_unclassified", _MEDIUM, 16, ("tile", "reason"), "No usable answer; the tile is left out."
    ),
    Event(301, "engine_lost", _HIGH, 8, ("reason",), "The device is gone; its tiles are not done."),
    Event(
        401, "product_evicted", _LOW, 16, ("product_id", "size_bytes", "value"), "Worth less per byte; gone."
    ),
    Event(402, "product_refused", _LOW, 16, ("product_id", "size_bytes", "value"), "The queue has no room."),
    Event(403, "store_error", _HIGH, 4, ("reason",), "The store cannot be opened or written; the walk ends."),
    Event(501, "config_refused", _HIGH, 1, ("reason",), "The configuration cannot be used; nothing starts."),
    Event(502, "budget_refused", _HIGH, 1, ("worst_term", "reason"), "The memory plan does not fit."),
    Event(503, "model_refused", _HIGH, 4, ("reason",), "A model is not what it must be; nothing starts."),
    Event(601, "contact_started", _INFO, 1, ("rate_bit_s", "duration_s", "capacity_bytes"), "A pass begins."),
    Event(602, "contact_finished", _INFO, 1, ("sent_products", "sent_bytes"), "A pass has ended."),
    Event(603, "link_lost", _MEDIUM, 1, ("reason",), "The pass broke off; the unacknowledged stay queued."),
    Event(
        604, "product_unacknowledged", _LOW, 16, ("product_id",), "The ground refused it; it stays queued."
    ),
    Event(
        701, "install_refused", _HIGH, 16, ("code", "refusal", "reason"), "Not taken; the old model runs on."
    ),
)

CHANNELS = (
    Channel(1, "rows_read", "rows", int, False, "10 m rows of the strip read or passed over"),
    Channel(2, "rows_total", "rows", int, False, "10 m rows of the strip"),
    Channel(3, "tiles_done", "tiles", int, False, "tiles committed, those of earlier runs too"),
    Channel(4, "tiles_total", "tiles", int, False, "tiles of the strip"),
    Channel(5, "tiles_no_data", "tiles", int, False, "tiles without a valid pixel"),
    Channel(6, "tiles_without_surface", "tiles", int, False, "tiles too cloudy for a correction"),
    Channel(7, "tiles_unclassified", "tiles", int, False, "tiles without a usable answer"),
    Channel(8, "resident_bytes", "bytes", int, True, "resident memory of the process tree, measured"),
    Channel(9, "peak_bytes", "bytes", int, True, "highest resident memory so far, measured"),
    Channel(10, "planned_bytes", "bytes", int, False, "the memory plan's total"),
    Channel(11, "budget_bytes", "bytes", int, False, "what the process tree may take"),
    Channel(12, "cpu_s", "s", float, False, "processor time of the process tree"),
    Channel(13, "queue_bytes", "bytes", int, True, "products waiting for the ground"),
    Channel(14, "queue_entries", "products", int, True, "products waiting for the ground"),
    Channel(15, "evicted_products", "products", int, False, "products that lost their place in the queue"),
    Channel(16, "evicted_bytes", "bytes", int, False, "what the evicted products held"),
    Channel(17, "sent_products", "products", int, False, "products acknowledged in this pass"),
    Channel(18, "sent_bytes", "bytes", int, False, "what the acknowledged products held"),
)


class Telemetry:
    """The counts, throttles and high-water marks of one walk."""

    def __init__(self) -> None:
        self._events = {event.name: event for event in EVENTS}
        self._channels = {channel.name: channel for channel in CHANNELS}
        self._counts = dict.fromkeys(self._events, 0)
        self._values: dict[str, int | float] = {}
        self._high_water: dict[str, int | float] = {}
        self._untaken: list[Record] = []

    def event(self, name: str, **parameters: Value) -> None:
        """Counts the event and, within its throttle, remembers it until `take_events`.

        Args:
            name: a name in EVENTS.
            parameters: all and only those of the table.
        """
        event = self._events[name]
        assert tuple(sorted(parameters)) == tuple(sorted(event.parameters)), (name, parameters)
        self._counts[name] += 1
        if self._counts[name] > event.throttle:
            return
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
    def high_water(self) -> Mapping[str, int | float]:
        """The highest value of each channel that keeps one."""
        return dict(self._high_water)

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
