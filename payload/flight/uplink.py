"""The way up: from bytes of a link to a command that is done or refused.

Rules:
1. Nothing is done that `core.guard` did not admit, and its counter is on the disk before. A
   packet of a file is taken if its tag is right, unless packets of its APID need none.
2. Every command that is not accepted is counted and is an event; it is answered by service 1
   as often as the event's throttle lets the event be told, so that noise cannot fill the link.
3. Every accepted command ends in exactly one report of completion or failure.
4. A disk that takes nothing ends nothing: a command fails with it, a packet of a file is lost.
5. Bytes that are in no packet of ours are counted, and told as an event.
6. What came is taken in its order, and as much of it at once as there is time for. While some is left
   the loop reads no more: a sender by TCP waits, datagrams wait in the kernel as long as it has room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from payload.core.cfdp.packets import file_packet_id, pdu_of
from payload.core.guard import CommandGuard
from payload.core.packet_scan import PacketScan
from payload.core.packets import (
    PRIMARY_HEADER_BYTES,
    TC_MAX_BYTES,
    Failure,
    Request,
    Telecommand,
    apid_of,
    is_whole,
    packet_bytes,
    packet_id_of,
    request_of,
    unpack_telecommand,
)
from payload.core.telecommands import Arguments, Command, command_of
from payload.core.telemetry import Telemetry
from payload.errors import CommandError, StoreError
from payload.flight.calls import Call, Execute, Now, Service
from payload.flight.downlink import Downlink
from payload.ports import Arrival, FlightMemory

REPLAY_COUNTER = "replay_counter"
_HELD_MAX_NS = 1_000_000_000
"""Half a packet is waited for so long, from the last byte that came."""


class Uplink:
    """Takes what the links bring; runs the commands of the services."""

    def __init__(
        self,
        apid: int,
        guard: CommandGuard,
        memory: FlightMemory,
        services: Sequence[Service],
        downlink: Downlink,
        telemetry: Telemetry,
        untagged: Collection[int] = (),
    ) -> None:
        """``untagged``: the APIDs, besides that of commands, whose packets need no tag."""
        self._apid = apid
        self._guard = guard
        self._memory = memory
        self._downlink = downlink
        self._telemetry = telemetry
        self._untagged = frozenset(untagged)
        self._execute: dict[str, Execute] = {}
        self._others: dict[int, Callable[[bytes, Now], None]] = {}
        for service in services:
            self._execute.update(service.commands)
            self._others.update(service.packets)
        self._ids = [packet_id_of(apid, is_command=True)]
        self._ids += [file_packet_id(other, is_ground=True) for other in self._others]
        self._scans: dict[int, tuple[PacketScan, int]] = {}
        self._arrivals: deque[Arrival] = deque()
        self._packets: deque[bytes] = deque()
        """Of the arrivals before those above: taken first."""
        for name in ("commands_accepted", "commands_rejected", "commands_unauthentic", "commands_failed"):
            telemetry.set(name, 0)
        telemetry.set("discarded_bytes", 0)
        telemetry.set("replay_counter", guard.last_counter)

    @property
    def is_behind(self) -> bool:
        """Whether some of what came is not taken yet."""
        return bool(self._packets or self._arrivals)

    def receive(
        self, arrivals: Sequence[Arrival], now: Now, is_over: Callable[[], bool] = lambda: False
    ) -> None:
        """Every whole packet in what came is taken, in order; once it ``is_over``, the rest next time."""
        if self.is_behind:  # nobody has read on meanwhile: half a packet is not late by that
            self._scans = {origin: (scan, now.mono_ns) for origin, (scan, _) in self._scans.items()}
        self._arrivals += arrivals
        self._take_some(now, is_over)
        if not self.is_behind:
            self._give_up_late(now)
            self._take_some(now, is_over)

    def _take_some(self, now: Now, is_over: Callable[[], bool]) -> None:
        """At least one packet, or piece of what came, is taken if there is one."""
        while self.is_behind:
            if self._packets:
                self._take(self._packets.popleft(), now)
            else:
                self._scan(self._arrivals.popleft(), now)
            if is_over():
                return

    def _scan(self, arrival: Arrival, now: Now) -> None:
        """Finds the packets in it."""
        if arrival.is_replaced:
            self._telemetry.event("connection_replaced")
        if arrival.is_end and self._is_damaged_command(arrival):
            self._packets.append(arrival.content)
            return
        scan, _ = self._scans.get(arrival.origin) or (self._new_scan(), 0)
        before = scan.discarded_bytes
        self._packets += scan.feed(arrival.content)
        if arrival.is_end:
            self._packets += scan.give_up()
            self._scans.pop(arrival.origin, None)
        else:
            self._scans[arrival.origin] = (scan, now.mono_ns)
        self._count_discarded(scan.discarded_bytes - before)

    def do(self, command: Command, groups: list[Arguments], found: Telecommand, now: Now) -> None:
        """An accepted command is done, or on its way: at once or when its time has come."""
        self._run(Call(command, groups, found.request, now, found, self._downlink, self._telemetry))

    def _new_scan(self) -> PacketScan:
        return PacketScan(self._ids, TC_MAX_BYTES, self._is_sound)

    def _is_sound(self, packet: bytes) -> bool:
        """Whether a packet can be what somebody sent: one without our tag can be anything."""
        return apid_of(packet) in self._untagged or self._guard.is_authentic(packet)

    def _is_damaged_command(self, arrival: Arrival) -> bool:
        """A datagram that claims to be one command, and is not: worth an answer that says so."""
        content = arrival.content
        return (
            arrival.origin not in self._scans
            and content.startswith(self._ids[0])
            and len(content) > PRIMARY_HEADER_BYTES
            and packet_bytes(content) == len(content)
            and not is_whole(content)
        )

    def _give_up_late(self, now: Now) -> None:
        for origin, (scan, last_ns) in self._scans.items():
            if scan.held_bytes and now.mono_ns - last_ns > _HELD_MAX_NS:
                before = scan.discarded_bytes
                self._packets += scan.give_up()
                self._scans[origin] = (scan, now.mono_ns)
                self._count_discarded(scan.discarded_bytes - before)

    def _count_discarded(self, discarded_bytes: int) -> None:
        if discarded_bytes:
            self._telemetry.add("discarded_bytes", discarded_bytes)
            self._telemetry.event("uplink_damaged", discarded_bytes=discarded_bytes)

    def _take(self, packet: bytes, now: Now) -> None:
        other = self._others.get(apid_of(packet))
        if other is None:
            self._take_command(packet, now)
        elif self._is_sound(packet):
            try:
                other(pdu_of(packet, apid_of(packet) not in self._untagged), now)
            except StoreError as error:  # the packet is lost, as on a bad link; those behind it are not
                self._telemetry.event("store_error", reason=str(error))
        else:
            wrong = CommandError("a packet of a file without the right tag", Failure.NOT_AUTHENTIC)
            self._reject(request_of(packet), None, wrong)

    def _take_command(self, packet: bytes, now: Now) -> None:
        found: Telecommand | None = None
        try:
            found = unpack_telecommand(packet, self._apid)
            arguments, counter = self._guard.admit(found)
            self._remember(counter)
            command = command_of(found.service, found.subtype, arguments)
            groups = command.unpack(arguments)
        except CommandError as error:
            self._reject(request_of(packet), found, error)
            return
        self._telemetry.add("commands_accepted")
        if found.wants_acceptance:
            self._downlink.report("command_accepted", found.request.fields(), found.source_id)
        self.do(command, groups, found, now)

    def _remember(self, counter: int) -> None:
        try:
            self._memory.put(REPLAY_COUNTER, counter)
        except StoreError as error:
            raise CommandError(str(error), Failure.STORE_FAILED) from error
        self._guard.last_counter = counter
        self._telemetry.set("replay_counter", counter)

    def _run(self, call: Call) -> None:
        execute = self._execute.get(call.command.name)
        if execute is None:
            missing = f"{call.command.name}: not in this payload"
            call.not_started(CommandError(missing, Failure.UNKNOWN_SUBTYPE))
            return
        call.start()
        try:
            is_done = execute(call)
        except CommandError as error:
            call.fail(error)
        except StoreError as error:
            call.fail(CommandError(str(error), Failure.STORE_FAILED))
        else:
            if is_done:
                call.complete()

    def _reject(self, request: Request, found: Telecommand | None, error: CommandError) -> None:
        self._telemetry.add("commands_rejected")
        if error.failure_code in (Failure.NOT_AUTHENTIC, Failure.REPLAYED):
            self._telemetry.add("commands_unauthentic")
        is_told = self._telemetry.event(
            "command_rejected",
            service=found.service if found else 0,
            subtype=found.subtype if found else 0,
            failure_code=error.failure_code,
            reason=str(error),
        )
        if is_told:
            values: Mapping[str, int | str] = {"failure_code": error.failure_code, "reason": str(error)}
            source_id = found.source_id if found else 0
            self._downlink.report("command_not_accepted", {**request.fields(), **values}, source_id)
