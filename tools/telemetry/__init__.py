"""Reads the payload's telemetry on the ground: bytes in, values out, whatever happened on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from payload.core.packet_scan import PacketScan
from payload.core.packets import TM_MAX_BYTES, packet_id_of, unpack_telemetry
from payload.core.reports import report_of
from payload.core.wire import Field, Value, WireError, is_nothing

_SEQUENCES = 1 << 14
_MISSING_MAX = 1024
"""So many of the last missing counts are remembered, for what comes late after all."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One telemetry packet, read. A channel without a value yet is None.

    ``fields`` are those of the report, in order, those that tell its kind included.
    """

    name: str
    utc_ns: int
    is_time_set: bool
    sequence: int
    values: Mapping[str, Value | None]
    fields: tuple[Field, ...]


@dataclass(slots=True)
class Tally:
    """What became of the bytes so far."""

    packets: int = 0
    unknown_packets: int = 0
    lost_packets: int = 0
    restarts: int = 0
    discarded_bytes: int = 0
    of_kind: dict[str, int] = field(default_factory=dict)


def is_sound(packet: bytes) -> bool:
    """Whether a packet with the right CRC is of a known kind, and exactly as long as that."""
    try:
        found = unpack_telemetry(packet)
        report = report_of(found.service, found.subtype, found.content)
        return report is not None and report.size_bytes(found.content) == len(found.content)
    except (WireError, ValueError):
        return False


class Reader:
    """Reads the packets of one APID out of one stream; a damaged one costs itself alone."""

    def __init__(self, apid: int) -> None:
        self._scan = PacketScan([packet_id_of(apid, is_command=False)], TM_MAX_BYTES, is_sound)
        self._next: int | None = None
        self._newest_utc_ns = 0
        self._missing: deque[int] = deque(maxlen=_MISSING_MAX)
        self.tally = Tally()

    def feed(self, chunk: bytes) -> Iterator[Reading]:
        """The readings of what is whole now."""
        yield from self._read(self._scan.feed(chunk))

    def end(self) -> Iterator[Reading]:
        """The readings of what was held back, for nothing more comes (or has come for a while)."""
        yield from self._read(self._scan.give_up())

    def _read(self, packets: list[bytes]) -> Iterator[Reading]:
        self.tally.discarded_bytes = self._scan.discarded_bytes
        for packet in packets:
            self.tally.packets += 1
            try:
                found = unpack_telemetry(packet)
                self._count_gap(found.sequence, found.utc_ns)
                report = report_of(found.service, found.subtype, found.content)
                values = report.unpack(found.content) if report else {}
            except (WireError, ValueError):  # whole, but of another format or version
                report = None
            if report is None:
                self.tally.unknown_packets += 1
                continue
            self.tally.of_kind[report.name] = self.tally.of_kind.get(report.name, 0) + 1
            is_channels = report.name.startswith("housekeeping_")
            shown = {
                each.name: None
                if is_channels and is_nothing(each.wire, values[each.name])
                else values[each.name]
                for each in report.fields
            }
            yield Reading(report.name, found.utc_ns, found.is_time_set, found.sequence, shown, report.fields)

    def _count_gap(self, sequence: int, utc_ns: int) -> None:
        """What is missing before this packet is counted as lost, until it comes late.

        A packet from behind is a duplicate or late if it is not younger than the last one, else
        the first that came after a restart.
        """
        ahead = 0 if self._next is None else (sequence - self._next) % _SEQUENCES
        is_behind = ahead > _SEQUENCES // 2
        if is_behind and sequence and utc_ns <= self._newest_utc_ns:
            if sequence in self._missing:
                self._missing.remove(sequence)
                self.tally.lost_packets -= 1
            return
        if is_behind or (ahead and sequence == 0):
            self.tally.restarts += 1
            self._missing.clear()
        else:
            self.tally.lost_packets += ahead
            self._missing.extend((sequence - back) % _SEQUENCES for back in range(ahead, 0, -1))
        self._next = (sequence + 1) % _SEQUENCES
        self._newest_utc_ns = utc_ns
