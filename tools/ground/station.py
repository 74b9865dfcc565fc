"""The station's loop: packets in, answers out, products on the disk, a report at the end.

A disk that takes nothing ends nothing: the station says so and answers no more, for it could
acknowledge only what it has stored; every RETRY_S it goes on from its journal.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from payload.config import parse_address
from payload.core.cfdp import OutgoingFile, SendEnded, first_sequence_at
from payload.core.cfdp.checksums import crc_32
from payload.core.cfdp.packets import file_packet_id, pdu_of
from payload.core.packet_scan import PacketScan
from payload.core.packets import TM_MAX_BYTES, apid_of, packet_id_of
from payload.drivers.incoming_files import FolderOfFiles
from payload.drivers.link import PRODUCT_SUFFIX
from payload.drivers.transfer_journal import SqliteTransferJournal
from payload.errors import StoreError
from payload.transfers import Transfers
from tools.ground.outgoing import FilesUp
from tools.ground.settings import Settings

PRODUCTS, PARTS, JOURNAL, TELEMETRY = "products", "parts", "transfers.sqlite", "telemetry.tm"
OUTGOING = "outgoing"

RETRY_S = 2.0
_TURN_S = 0.02
_BUFFER_BYTES = 4 << 20
_PACKETS_AT_ONCE = 512


@dataclass
class PassReport:
    """What a pass brought; bytes are of packets as they came, before loss was played."""

    began_utc: str = ""
    lasted_s: float = 0.0
    packets: int = 0
    packets_bytes: int = 0
    telemetry_packets: int = 0
    thrown_away: int = 0
    damaged_bytes: int = 0
    products: list[str] = field(default_factory=list)
    products_bytes: int = 0
    files_sent_up: list[str] = field(default_factory=list)
    files_refused: list[str] = field(default_factory=list)
    """Refused on board, or gone no further because the copy here was lost."""
    naks: int = 0
    pdus_rejected: int = 0
    disk_failures: int = 0
    files_open: int = 0
    first_packet_s: float | None = None
    last_packet_s: float | None = None

    def text(self) -> str:
        """For a person."""
        busy_s = (self.last_packet_s or 0.0) - (self.first_packet_s or 0.0)
        rate = self.packets_bytes * 8 / busy_s / 1e6 if busy_s > 0 else 0.0
        share = self.products_bytes / self.packets_bytes if self.packets_bytes else 0.0
        return "\n".join(
            [
                f"pass of {self.began_utc}, {self.lasted_s:.1f} s: {len(self.products)} products with "
                f"{self.products_bytes} bytes are on the ground",
                f"{self.packets} packets came, {self.packets_bytes} bytes, {rate:.2f} Mbit/s while they "
                f"came; products are {share:.1%} of that",
                f"{self.thrown_away} packets were thrown away as the loss asked for, "
                f"{self.damaged_bytes} bytes were in no packet, {self.pdus_rejected} PDUs were damaged",
                f"{self.naks} NAKs were sent; {self.files_open} files are still open; "
                f"{self.telemetry_packets} telemetry packets; {len(self.files_sent_up)} files went up",
                *([f"refused: {', '.join(self.files_refused)}"] if self.files_refused else []),
                *([f"the disk took nothing {self.disk_failures} times"] if self.disk_failures else []),
            ]
        )


class Station:
    """Implements `transfers.FileUser`: products in a folder, files up from the command line."""

    def __init__(
        self, settings: Settings, key: bytes | None, folder: Path, say: Callable[[str], None]
    ) -> None:
        """Takes up every transfer that ``folder`` knows of.

        Raises:
            StoreError: the folder cannot be used.
            OSError: the address cannot be had.
        """
        self._settings = settings
        self._say = say
        self.report = PassReport()
        self._random = random.Random(settings.seed)
        self.files = FolderOfFiles(folder / PARTS, folder / PRODUCTS, PRODUCT_SUFFIX)
        self._journal = SqliteTransferJournal(folder / JOURNAL, first_sequence_at(time.time_ns()))
        self._key = key
        self._outgoing = FilesUp(folder / PARTS, folder / OUTGOING, settings.entity)
        self._has_one_ended = False
        self._transfers = self._restored()
        self._broken_s: float | None = None
        self._telemetry: BinaryIO = (folder / TELEMETRY).open("ab", buffering=0)
        ids = [file_packet_id(settings.apid, is_ground=False)]
        ids.append(packet_id_of(settings.telemetry_apid, is_command=False))
        self._scan = PacketScan(ids, TM_MAX_BYTES)
        listen, send_to = parse_address(settings.listen), parse_address(settings.send_to)
        assert listen is not None and send_to is not None  # noqa: PT018
        self._send_to = send_to
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.bind(listen)

    def _restored(self) -> Transfers:
        """What the journal knows; what goes up goes on from its copy, or no further."""
        setup = self._settings.parameters
        made = Transfers(setup, self._settings.apid, True, self._journal, self.files, self, self._key)
        sending = made.entity.sending()
        for name, one in sending.items():
            if not one.is_cancelled and not self._outgoing.is_kept(one.file):
                made.entity.cancel(name)
                self._refuse(name, f"its copy in {OUTGOING} is lost; send it again")
        self._outgoing.keep_only(sending)
        self._has_one_ended = False
        return made

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._socket.getsockname()
        return host, port

    def send_up(self, *paths: Path) -> None:
        """The files go up under their own names, from copies; one that is on its way already goes on.

        Raises:
            OSError: one cannot be read.
            StoreError: there is no room for a copy, or another file of the same name is on its way:
                nothing goes up then.
        """
        sending = self._transfers.entity.sending()
        under_way = {name: one.file for name, one in sending.items() if not one.is_cancelled}
        bodies: dict[str, bytes] = {}
        wanted = dict(under_way)
        for path in paths:
            body = path.read_bytes()
            file = OutgoingFile(path.name, len(body), crc_32(body), 1.0)
            if wanted.setdefault(path.name, file) != file:
                raise StoreError(f"{path}: another file of this name is on its way up; rename one, or wait")
            bodies[path.name] = body
        for name, body in bodies.items():
            if name in under_way:
                self._say(f"{name}: is on its way up already")
                continue
            self._outgoing.keep(name, body)
            self._transfers.entity.put(wanted[name])
        self._transfers.settle()

    def run(self, duration_s: float, is_done: Callable[[PassReport], bool]) -> PassReport:
        """One pass: until ``is_done``, or for ``duration_s``."""
        report, began_s = self.report, time.monotonic()
        report.began_utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._transfers.entity.thaw(time.monotonic_ns())
        while (passed_s := time.monotonic() - began_s) < duration_s and not is_done(report):
            self._take_what_comes(began_s)
            self._turn()
            report.lasted_s = passed_s
        self._transfers.entity.freeze()
        self._count()
        report.files_open = self._transfers.entity.receiving()
        report.damaged_bytes = self._scan.discarded_bytes
        return report

    def _turn(self) -> None:
        """What came is stored and answered, or the disk is waited for."""
        try:
            if self._broken_s is not None:
                if time.monotonic() - self._broken_s < RETRY_S:
                    return
                self._transfers = self._restored()
                self._transfers.entity.thaw(time.monotonic_ns())
                self._broken_s = None
            self._transfers.settle()
            if self._has_one_ended:  # and the journal says so
                self._outgoing.keep_only(self._transfers.entity.sending())
                self._has_one_ended = False
            self._transfers.entity.tick(time.monotonic_ns())
            self._answer()
        except StoreError as error:
            self._break_off(str(error))

    def _break_off(self, reason: str) -> None:
        """What is in memory may be ahead of the disk: nothing is answered from it."""
        self._broken_s = time.monotonic()
        self.report.disk_failures += 1
        self._count()
        self._say(f"{reason}; nothing is acknowledged until the disk takes it, tried again in {RETRY_S:g} s")

    def _count(self) -> None:
        counters = self._transfers.entity.counters
        self.report.naks += counters.naks_out
        self.report.pdus_rejected += counters.pdus_rejected
        counters.naks_out = counters.pdus_rejected = 0

    def _take_what_comes(self, began_s: float) -> None:
        self._socket.settimeout(_TURN_S)
        for _ in range(_PACKETS_AT_ONCE):
            try:
                datagram = self._socket.recv(65536)
            except (TimeoutError, BlockingIOError, ConnectionError):
                return
            self._socket.settimeout(0.0)
            for packet in self._scan.feed(datagram) + self._scan.give_up():
                self._take(packet, time.monotonic() - began_s)

    def _take(self, packet: bytes, at_s: float) -> None:
        report = self.report
        if apid_of(packet) == self._settings.telemetry_apid:
            report.telemetry_packets += 1
            with suppress(OSError):  # a full disk; it is told where files are concerned
                self._telemetry.write(packet)
            return
        report.packets += 1
        report.packets_bytes += len(packet)
        report.first_packet_s = at_s if report.first_packet_s is None else report.first_packet_s
        report.last_packet_s = at_s
        if self._random.random() < self._settings.loss_ratio:
            report.thrown_away += 1
        elif self._broken_s is None:
            self._transfers.receive(pdu_of(packet, is_tagged=False), time.monotonic_ns())

    def _answer(self) -> None:
        for _ in range(_PACKETS_AT_ONCE):
            packet = self._transfers.next_packet(time.monotonic_ns())
            if packet is None:
                return
            if self._random.random() < self._settings.loss_ratio:
                self.report.thrown_away += 1
            else:
                self._socket.sendto(packet, self._send_to)

    def piece(self, name: str, offset: int, length: int) -> bytes:
        """Bytes of a file on its way up."""
        return self._outgoing.piece(name, offset, length)

    def has_left(self, ended: SendEnded) -> None:
        """The payload has the file, or refuses it; its copy is needed until the journal knows that."""
        self._has_one_ended = True
        if not ended.is_delivered:
            self._refuse(ended.name, f"was refused on board (CFDP condition {ended.condition})")
        elif ended.name not in self.report.files_sent_up:  # told again after a failure of the disk
            self.report.files_sent_up.append(ended.name)
            self._say(f"{ended.name}: is on board")

    def _refuse(self, name: str, reason: str) -> None:
        if name not in self.report.files_refused:
            self.report.files_refused.append(name)
            self._say(f"{name}: {reason}")

    def has_come(self, name: str) -> None:
        """A product is on the disk."""
        if self.report.disk_failures and name in self.report.products:
            return  # it was whole before the disk took no more
        size_bytes = self.files.path_of(name).stat().st_size
        self.report.products.append(name)
        self.report.products_bytes += size_bytes
        self._say(f"{name}: {size_bytes} bytes")

    def close(self) -> None:
        """Everything is on the disk."""
        self._telemetry.close()
        self._socket.close()
        self.files.close()
        self._journal.close()

    def facts(self) -> dict[str, object]:
        """The report as JSON has it."""
        return asdict(self.report)
