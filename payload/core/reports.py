"""Every kind of telemetry packet: service, subtype and fields, from the tables of channels and events.

Rules:
1. A report's fields follow one another without gaps. Those in ``fixed`` come first in it and
   have one value each: service, subtype and they tell a report from every other.
2. Fields of all reports together are the dictionary; `core.xtce` writes it down.
3. Where ECSS-E-ST-70-41C lets a report hold N groups, N is in the packet and is 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from payload.core.packets import Failure
from payload.core.refusals import REFUSED_CODE, Refusal
from payload.core.telemetry.events import EVENTS
from payload.core.telemetry.kinds import Channel, Event, Severity, Structure
from payload.core.telemetry.structures import STRUCTURES
from payload.core.telemetry.tables import CHANNELS, PARAMETERS
from payload.core.wire import Field, Value, Wire, ones, pack_fields, unpack_fields

FAILURES: Mapping[int, str] = {
    **{failure.value: failure.name.lower() for failure in Failure},
    **{REFUSED_CODE + refusal.value: f"refused_{refusal.name.lower()}" for refusal in Refusal},
}
"""Every failure code of service 1, and its name."""

_REQUEST = (
    Field("request_packet_id", Wire.U16, meaning="packet version and id of the command"),
    Field("request_sequence", Wire.U16, meaning="sequence flags and count of the command"),
)
_STEP = Field("step", Wire.U8, meaning="how far the command has come, from 1")
_FAILURE = (
    Field("failure_code", Wire.U16, labels=FAILURES),
    Field("reason", Wire.TEXT, meaning="for a person"),
)
_COUNT = Field("count", Wire.U32, meaning="how often the event has happened since the start")
_N = Field("n", Wire.U8, meaning="number of groups that follow; always 1")

HOUSEKEEPING_SERVICE, HOUSEKEEPING_REPORT = 3, 25
EVENT_SERVICE = 5
EVENT_SUBTYPE = {Severity.INFO: 1, Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4}


@dataclass(frozen=True, slots=True)
class Report:
    """One kind of telemetry packet."""

    name: str
    service: int
    subtype: int
    fields: tuple[Field, ...]
    meaning: str
    fixed: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def pack(self, values: Mapping[str, Value | None]) -> bytes:
        """The source content of a packet; ``values`` has every field that is not fixed."""
        return pack_fields(self.fields, {**values, **self.fixed})

    def unpack(self, content: bytes) -> dict[str, Value]:
        """The value of every field; of what follows the last one nothing is said.

        Raises:
            WireError: the content is no such report.
        """
        values, _ = unpack_fields(self.fields, content)
        return {name: value for name, value in values.items() if not isinstance(value, bytes)}

    def size_bytes(self, content: bytes) -> int:
        """How much of ``content`` the report's fields are.

        Raises:
            WireError: the content is no such report.
        """
        _, at = unpack_fields(self.fields, content)
        return at


def high_water_name(channel: str) -> str:
    """The field of a channel's high-water mark."""
    return f"{channel}_high_water"


def channel_fields(structure: Structure) -> tuple[Field, ...]:
    """The channels of a structure, then the high-water marks of those that keep one."""
    channels = [_CHANNELS[name] for name in structure.channels]
    marks = [
        Field(high_water_name(channel.name), channel.wire, channel.unit, f"highest so far: {channel.meaning}")
        for channel in channels
        if channel.has_high_water
    ]
    return (*map(_field_of, channels), *marks)


def channel_values(
    structure: Structure, values: Mapping[str, int | float], high_water: Mapping[str, int | float]
) -> dict[str, Value | None]:
    """What `Report.pack` wants of a structure: None where a channel has no value yet."""
    known = {**values, **{high_water_name(name): value for name, value in high_water.items()}}
    return {
        field.name: _below_nothing(field.wire, known.get(field.name)) for field in channel_fields(structure)
    }


def every_report() -> Iterator[Report]:
    """All kinds of telemetry packets, in the order of their services."""
    yield from _VERIFICATIONS
    yield from (_REPORTS[f"housekeeping_{structure.name}"] for structure in STRUCTURES)
    yield from (_REPORTS[f"event_{event.name}"] for event in EVENTS)
    yield from _OTHERS


def report_named(name: str) -> Report:
    """The report of that name."""
    return _REPORTS[name]


def report_of(service: int, subtype: int, content: bytes) -> Report | None:
    """Which report a packet is, by its service, subtype and fixed fields."""
    for report in _BY_TYPE.get((service, subtype), ()):
        head = pack_fields(report.fields[: len(report.fixed)], report.fixed)
        if content.startswith(head):
            return report
    return None


def _verifications() -> Iterator[Report]:
    for subtype, name, meaning in (
        (1, "accepted", "the command is whole, authentic and known; it will be done"),
        (3, "started", "it is being done"),
        (5, "progressed", "one step of it is done"),
        (7, "completed", "all of it is done"),
    ):
        step = (_STEP,) if subtype == 5 else ()
        yield Report(f"command_{name}", 1, subtype, (*_REQUEST, *step), meaning)
        yield Report(
            f"command_not_{name}",
            1,
            subtype + 1,
            (*_REQUEST, *step, *_FAILURE),
            "it is not, and nothing more of it will be",
        )


def _housekeeping(structure: Structure) -> Report:
    structure_id = Field("structure_id", Wire.U8)
    return Report(
        f"housekeeping_{structure.name}",
        HOUSEKEEPING_SERVICE,
        HOUSEKEEPING_REPORT,
        (structure_id, *channel_fields(structure)),
        f"structure {structure.structure_id}, every {structure.period} housekeeping intervals",
        MappingProxyType({"structure_id": structure.structure_id}),
    )


def _event(event: Event) -> Report:
    fields = (
        Field("event_id", Wire.U16),
        _COUNT,
        *(Field(name, PARAMETERS[name]) for name in event.parameters),
    )
    return Report(
        f"event_{event.name}",
        EVENT_SERVICE,
        EVENT_SUBTYPE[event.severity],
        fields,
        event.meaning,
        MappingProxyType({"event_id": event.event_id}),
    )


def _field_of(channel: Channel) -> Field:
    return Field(channel.name, channel.wire, channel.unit, channel.meaning)


def _below_nothing(wire: Wire, value: int | float | None) -> int | float | None:
    """A value that nobody takes for the mark of no value."""
    return value if value is None or wire is Wire.F64 else min(value, ones(wire) - 1)


_CHANNELS = {channel.name: channel for channel in CHANNELS}
_VERIFICATIONS = tuple(_verifications())
_OTHERS = (
    Report(
        "disabled_event",
        5,
        8,
        (_N, Field("event_id", Wire.U16)),
        "an event that is not reported now",
        MappingProxyType({"n": 1}),
    ),
    Report(
        "scheduled_command",
        11,
        13,
        (_N, Field("release_time", Wire.TIME), *_REQUEST),
        "a command that waits for its time",
        MappingProxyType({"n": 1}),
    ),
    Report("alive", 17, 2, (), "the service is alive"),
    Report(
        "parameter_value",
        20,
        2,
        (_N, Field("parameter_id", Wire.U16), Field("parameter_value", Wire.F64)),
        "what a parameter is now",
        MappingProxyType({"n": 1}),
    ),
)
_REPORTS = {
    report.name: report
    for report in (*_VERIFICATIONS, *map(_housekeeping, STRUCTURES), *map(_event, EVENTS), *_OTHERS)
}
_BY_TYPE: dict[tuple[int, int], list[Report]] = {}
for _report in _REPORTS.values():
    _BY_TYPE.setdefault((_report.service, _report.subtype), []).append(_report)
