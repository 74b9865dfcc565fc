"""Two CFDP entities and the link between them, event by event: loss, doubles, damage, disorder.

Simulated time. Each end has a disk that survives a restart and an entity that does not.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from itertools import count

from payload.core.cfdp import (
    SEGMENT_OVERHEAD_BYTES,
    CfdpEntity,
    CfdpParameters,
    Close,
    OutgoingFile,
    ReceiveSnapshot,
    Remember,
    SegmentRequest,
    SendEnded,
    SendSnapshot,
    StoreSegment,
    TransactionId,
    VerifyFile,
)
from payload.core.cfdp.checksums import FileChecksum, crc_32
from payload.transfer_ports import ClosedTransfer

NS_PER_S = 1_000_000_000
FLIGHT, GROUND = 2, 1
_TICK_NS = 50_000_000
_POLL_NS = 10_000_000


def parameters(entity_id: int, peer_id: int, **changes: float) -> CfdpParameters:
    """As on a link of 0.1 s round trip."""
    values: dict[str, float] = {
        "segment_bytes": 1024,
        "window_bytes": 16 * 1024,
        "round_trip_min_s": 0.08,
        "answer_timeout_s": 0.4,
        "answer_limit": 1000,
        "open_limit": 32,
        "file_max_bytes": 1 << 24,
    }
    return CfdpParameters(entity_id, peer_id, **(values | changes))  # type: ignore[arg-type]


class End:
    """An entity and its disk."""

    def __init__(self, setup: CfdpParameters) -> None:
        self.setup = setup
        self.sources: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.deliveries: list[str] = []
        self.ended: list[SendEnded] = []
        self.journal: dict[TransactionId, SendSnapshot | ReceiveSnapshot] = {}
        self.closed: dict[TransactionId, ClosedTransfer] = {}
        self.parts: dict[TransactionId, bytearray] = {}
        self.unsynced: list[tuple[TransactionId, int, int]] = []
        self.next_sequence = 1
        self.entity = CfdpEntity(setup, self.next_sequence)
        self.bytes_sent = 0
        self.data_sent: list[tuple[str, int, int]] = []

    def put(self, name: str, content: bytes, priority: float = 1.0, is_acknowledged: bool = True) -> None:
        self.sources[name] = content
        file = OutgoingFile(name, len(content), crc_32(content), priority, is_acknowledged)
        self.next_sequence = self.entity.put(file).sequence + 1
        self.perform()

    def perform(self) -> None:
        while effects := self.entity.take_effects():
            for effect in effects:
                self._do(effect)

    def _do(self, effect: object) -> None:
        if isinstance(effect, StoreSegment):
            part = self.parts.setdefault(effect.transaction, bytearray())
            end = effect.offset + len(effect.content)
            part.extend(bytes(max(0, end - len(part))))
            part[effect.offset : end] = effect.content
            self.unsynced.append((effect.transaction, effect.offset, end))
        elif isinstance(effect, Remember):
            self.unsynced.clear()
            head = getattr(effect.snapshot, "head", None)
            self.journal[head.transaction if head else effect.snapshot.transaction] = effect.snapshot  # type: ignore[union-attr]
        elif isinstance(effect, VerifyFile):
            self._verify(effect)
        elif isinstance(effect, Close):
            self.journal.pop(effect.transaction, None)
            self.parts.pop(effect.transaction, None)
            if effect.closed:
                self.closed[effect.transaction] = effect.closed
        elif isinstance(effect, SendEnded):
            self.ended.append(effect)

    def _verify(self, effect: VerifyFile) -> None:
        content = bytes(self.parts.get(effect.transaction, b""))
        checksum = FileChecksum(effect.checksum_kind)
        checksum.feed(content)
        is_right = len(content) == effect.size_bytes and checksum.value() == effect.checksum
        if is_right:
            self.files[effect.name] = content
            self.deliveries.append(effect.name)
        self.entity.judge(effect.transaction, 0 if is_right else 5)

    def pull(self, now_ns: int) -> bytes | None:
        found = self.entity.next_outgoing(now_ns)
        if isinstance(found, SegmentRequest):
            end = found.offset + found.length
            self.data_sent.append((found.name, found.offset, end))
            found = self.entity.segment(found, self.sources[found.name][found.offset : end])
        self.perform()
        if found is not None:
            self.bytes_sent += len(found)
        return found

    def restart(self) -> None:
        """Power off and on: what was stored and not yet journaled is gone."""
        for transaction, start, end in self.unsynced:
            if transaction in self.parts:
                self.parts[transaction][start:end] = bytes(end - start)
        self.unsynced.clear()
        self.entity = CfdpEntity(self.setup, self.next_sequence)
        self.entity.restore(self.journal.values(), self.closed)


@dataclass
class Weather:
    """What the link does to a PDU; probabilities, seconds and bit/s."""

    loss: float = 0.0
    double: float = 0.0
    damage: float = 0.0
    delay_s: float = 0.045
    jitter_s: float = 0.0
    rate_bit_s: float = 2e6


@dataclass
class Pass:
    """Runs both ends against each other until ``until`` says so."""

    flight: End
    ground: End
    weather: Weather
    seed: int
    now_ns: int = 0
    is_up: bool = True
    dropped_bytes: int = 0
    _events: list[tuple[int, int, str, End, bytes]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        for end in (self.flight, self.ground):
            end.entity.thaw(self.now_ns)
            end.perform()
            self._at(0, "send", end)
            self._at(0, "tick", end)

    def _at(self, after_ns: int, kind: str, end: End, raw: bytes = b"") -> None:
        heapq.heappush(self._events, (self.now_ns + after_ns, next(self._numbers), kind, end, raw))

    def step(self) -> None:
        self.now_ns, _, kind, end, raw = heapq.heappop(self._events)
        if kind == "send":
            self._send(end)
        elif kind == "tick":
            end.entity.tick(self.now_ns)
            end.perform()
            self._at(_TICK_NS, "tick", end)
        else:
            end.entity.receive(raw, self.now_ns)
            end.perform()

    def _send(self, end: End) -> None:
        raw = end.pull(self.now_ns)
        if raw is None:
            self._at(_POLL_NS, "send", end)
            return
        self._at(int(len(raw) * 8 / self.weather.rate_bit_s * NS_PER_S), "send", end)
        other = self.ground if end is self.flight else self.flight
        copies = 2 if self.random.random() < self.weather.double else 1
        for _ in range(copies):
            if self.is_up and self.random.random() >= self.weather.loss:
                delay_s = self.weather.delay_s + self.random.random() * self.weather.jitter_s
                self._at(int(delay_s * NS_PER_S), "hear", other, self._weathered(raw))

    def _weathered(self, raw: bytes) -> bytes:
        if self.random.random() >= self.weather.damage:
            return raw
        spoilt = bytearray(raw)
        for _ in range(self.random.randint(1, 3)):
            spoilt[self.random.randrange(len(spoilt))] ^= 1 << self.random.randrange(8)
        return bytes(spoilt[: self.random.randint(1, len(spoilt))] if self.random.random() < 0.3 else spoilt)

    def lose_signal(self) -> None:
        """What is in the air is lost (its file bytes are counted), and both ends freeze."""
        for _, _, kind, end, raw in self._events:
            if kind == "hear" and end is self.ground and raw[0] & 0x10:
                self.dropped_bytes += len(raw) - SEGMENT_OVERHEAD_BYTES
        self._events = [event for event in self._events if event[2] != "hear"]
        for end in (self.flight, self.ground):
            end.entity.freeze()

    def find_signal(self, after_s: float) -> None:
        """The next pass begins."""
        self._events.clear()
        self.now_ns += int(after_s * NS_PER_S)
        self.__post_init__()

    @property
    def is_over(self) -> bool:
        return not (self.flight.journal or self.ground.journal)

    def run(self, limit_s: float = 600.0) -> bool:
        """Until every transaction is closed at both ends; False if it takes longer."""
        while not self.is_over:
            if self.now_ns > limit_s * NS_PER_S:
                return False
            self.step()
        return True
