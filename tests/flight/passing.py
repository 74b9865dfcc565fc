"""A payload's passes and a ground station, in one process, on simulated time and real disks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from payload.config import Config, load_config
from payload.core.cfdp import CfdpParameters, OutgoingFile, SendEnded
from payload.core.cfdp.checksums import crc_32
from payload.core.cfdp.packets import pdu_of
from payload.core.telemetry import Telemetry
from payload.drivers.incoming_files import FolderOfFiles
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.store_lock import Role
from payload.drivers.transfer_journal import SqliteTransferJournal
from payload.flight.calls import Now
from payload.flight.passes import Passes
from payload.transfers import Transfers
from payload.types import Contact

REPOSITORY = Path(__file__).resolve().parents[2]
NS_PER_S = 1_000_000_000
EPOCH_NS = 1_800_000_000 * NS_PER_S
TURN_NS = 20_000_000


def board() -> Config:
    config = load_config(REPOSITORY / "firmware_configs" / "ci_cpu.yaml")
    return replace(config, downlink=replace(config.downlink, window_bytes=16_384, answer_timeout_s=0.3))


class Ground:
    """Implements `transfers.FileUser`; survives restarts by its folder."""

    def __init__(self, folder: Path, first_sequence: int = 1, **changes: int) -> None:
        values = {"answer_limit": 1000, "open_limit": 256, "file_max_bytes": 1 << 30} | changes
        setup = CfdpParameters(1, 2, 1024, 16_384, 0.0, 0.3, **values)
        self.files = FolderOfFiles(folder / "parts", folder / "products")
        self.journal = SqliteTransferJournal(folder / "transfers.sqlite", first_sequence)
        self.transfers = Transfers(setup, board().downlink.apid, True, self.journal, self.files, self)
        self.transfers.entity.thaw(0)
        self.came: list[str] = []
        self.up: dict[str, bytes] = {}
        self.left: list[SendEnded] = []

    def put(self, name: str, body: bytes) -> None:
        self.up[name] = body
        self.transfers.entity.put(OutgoingFile(name, len(body), crc_32(body), 1.0))

    def piece(self, name: str, offset: int, length: int) -> bytes:
        return self.up[name][offset : offset + length]

    def has_left(self, ended: SendEnded) -> None:
        self.left.append(ended)

    def has_come(self, name: str) -> None:
        self.came.append(name)

    def body(self, name: str) -> bytes:
        return self.files.path_of(name).read_bytes()


class Flight:
    """The payload's side: opened anew by `restart`, as after a power cut."""

    def __init__(self, folder: Path, contacts: tuple[Contact, ...]) -> None:
        self._folder = folder
        self.first_sequence = 1
        self.spent_ns = 0
        """What one packet costs, in time that the payload's monotonic clock tells."""
        self._contacts = contacts
        self.config = board()
        self.sent: list[bytes] = []
        self._open()

    def _open(self) -> None:
        self.telemetry = Telemetry()
        self.store = SqliteProductStore(self._folder / "queue.sqlite", roles=(Role.SENDER,))
        self.journal = SqliteTransferJournal(self._folder / "flight_transfers.sqlite", self.first_sequence)
        self.files = FolderOfFiles(self._folder / "flight_parts", self._folder / "uplink")
        plans = [self._contacts]
        self.passes = Passes(
            lambda: self.config,
            lambda: plans.pop() if plans else None,
            self.store,
            self.journal,
            self.files,
            self.telemetry,
            self.sent.append,
            lambda: self.spent_ns * len(self.sent),
        )

    def restart(self) -> None:
        """The process was killed: nothing is closed in order but for the descriptors."""
        for one in (self.store, self.journal, self.files):
            one.close()
        self.sent.clear()
        self._open()

    def lose_the_journal(self, first_sequence: int) -> None:
        """Its folder was moved away: a new journal begins with ``first_sequence``."""
        for one in (self.store, self.journal, self.files):
            one.close()
        for path in self._folder.glob("flight_transfers.sqlite*"):
            path.unlink()
        self.first_sequence = first_sequence
        self._open()


class Link:
    """Takes turns: the payload polls, packets cross, the ground answers."""

    def __init__(self, flight: Flight, ground: Ground, loss: float = 0.0, seed: int = 0) -> None:
        self.flight = flight
        self.ground = ground
        self.loss = loss
        self.random = random.Random(seed)
        self.mono_ns = 0
        self.bytes_down = 0
        self.is_up = True
        self.wrong_ns = 0
        """How far the payload's clock is off."""

    @property
    def now(self) -> Now:
        return Now(max(0, EPOCH_NS + self.mono_ns + self.wrong_ns), self.mono_ns)

    def turn(self) -> int:
        """One turn of 20 ms; how many bytes the payload gave to the link."""
        self.mono_ns += TURN_NS
        self.flight.passes.poll(self.now)
        packets = list(self.flight.sent)
        self.flight.sent.clear()
        for packet in packets:
            if self._arrives():
                self.ground.transfers.receive(pdu_of(packet, is_tagged=False), self.mono_ns)
        self.ground.transfers.settle()
        self.ground.transfers.entity.tick(self.mono_ns)
        while (packet := self.ground.transfers.next_packet(self.mono_ns)) is not None:
            if self._arrives():
                for take in self.flight.passes.packets.values():
                    take(pdu_of(packet, is_tagged=False), self.now)
        sent = sum(map(len, packets))
        self.bytes_down += sent
        return sent

    def _arrives(self) -> bool:
        return self.is_up and self.random.random() >= self.loss

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end_ns = self.mono_ns + int(seconds * NS_PER_S)
        while self.mono_ns < end_ns and not until():
            self.turn()


def contact(after_s: float, duration_s: float, rate_bit_s: float = 2e6, overhead: float = 0.0) -> Contact:
    return Contact(EPOCH_NS + int(after_s * NS_PER_S), duration_s, rate_bit_s, overhead)
