"""The way down for telemetry: reports become packets, with counts and time, on every link."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from payload.core.clock import is_time_set
from payload.core.packets import pack_telemetry
from payload.core.reports import report_named
from payload.core.telemetry import Telemetry, Value
from payload.ports import Clock


class Downlink:
    """Makes telemetry packets of one APID and gives them to the links.

    Sequence counts start at 0 with the service: a gap is a loss, a fall to 0 a restart.
    """

    def __init__(self, apid: int, clock: Clock, telemetry: Telemetry, send: Callable[[bytes], bool]) -> None:
        """``send`` gives a packet to the links, and says whether one of them took it."""
        self._apid = apid
        self._clock = clock
        self._telemetry = telemetry
        self._send = send
        self._sequence = 0
        self._message_counts: dict[tuple[int, int], int] = {}
        telemetry.set("lost_packets", 0)

    def report(self, name: str, values: Mapping[str, Value | None], destination_id: int = 0) -> None:
        """The report ``name`` of `core.reports` is on its way, with the time of now.

        Args:
            destination_id: the source id of the command that it answers; 0 if it answers none.
        """
        report = report_named(name)
        kind = (report.service, report.subtype)
        count = self._message_counts.get(kind, 0)
        utc_ns = self._clock.utc_ns()
        packet = pack_telemetry(
            self._apid,
            report.service,
            report.subtype,
            self._sequence,
            count,
            utc_ns,
            is_time_set(utc_ns),
            report.pack(values),
            destination_id,
        )
        self._sequence += 1
        self._message_counts[kind] = count + 1
        self._telemetry.add("telemetry_packets")
        if not self._send(packet):
            self._telemetry.add("lost_packets")

    def send(self, packet: bytes) -> None:
        """A whole space packet of another APID goes down as it is."""
        self._send(packet)
