"""The protocols through which a walk meets the world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from payload.types import (
    F32,
    U8,
    U16,
    Inference,
    Product,
    QueueEntry,
    RowBlock,
    StripInfo,
    Task,
    Tile,
    TileRecord,
)


class StripSource(Protocol):
    """Rows of one strip, in order."""

    @property
    def info(self) -> StripInfo: ...

    @property
    def planned_bytes(self) -> int:
        """Memory the source itself needs while reading, the returned block not counted."""
        ...

    def read(self, rows: int) -> RowBlock | None:
        """The next ``rows`` rows (a multiple of 6; fewer only at the end), or None at the end.

        What is damaged or missing is 0 in the block and named in ``faults``. The arrays
        are the caller's until the next ``read``, which may write over them.

        Raises:
            StripError: not one more row can be read.
        """
        ...

    def skip(self, rows: int) -> None:
        """Pass over ``rows`` rows (a multiple of 6) as cheaply as the source allows."""
        ...

    def close(self) -> None: ...


class Engine(Protocol):
    """Runs networks. At most ``slots`` tiles may be submitted and not yet collected."""

    @property
    def slots(self) -> int: ...

    def submit(self, task: Task, tile: Tile) -> None:
        """Start on a tile; its codes must not change until it has been collected.

        Raises:
            EngineLostError: the device is gone.
        """
        ...

    def collect(self, timeout_s: float) -> Inference | None:
        """One finished inference, or None if none is ready in time.

        The oldest first; after a device was lost, its tiles may come behind younger ones.

        The output array is the caller's until the next ``submit`` or ``collect``.

        Raises:
            EngineLostError: the device is gone; all submitted and uncollected is lost.
            EngineOutputError: the answer cannot be right.
        """
        ...

    def close(self) -> None: ...


class Arithmetic(Protocol):
    """The two formulas that meet every sample of a strip."""

    def encode(self, counts: U16, out: U8) -> None:
        """Write the codes of ``counts`` (band, row, col) to ``out`` of the same shape.

        See `core.radiometry`, rule 3: to the last bit the same whoever computes it.
        """
        ...

    def invert(self, counts: U16, coefficients: F32, cell: int, out: U16) -> None:
        """Write surface counts to ``out``, of the shape of ``counts``: see `core.surface`.

        Args:
            counts: uint16 (band, row, col); its first row lies half a cell below the first
                row of cell centres.
            coefficients: float32 (3, band, cell row, col): scale, shift and albedo on rows
                of cell centres, columns as fine as those of ``counts``.
            cell: rows between two rows of cell centres.
        """
        ...


class Device(Engine, Protocol):
    """An engine that can be lost and started again; what `core.failover` decides about."""

    @property
    def name(self) -> str: ...

    def start(self) -> None:
        """It begins to get ready, from nothing; returns at once where that takes long.

        Raises:
            EngineLostError: it cannot even begin.
        """
        ...

    def is_ready(self) -> bool:
        """Whether tiles may be submitted; looks, and does not wait.

        Raises:
            EngineLostError: it will not be, ``fault`` says why.
        """
        ...

    def stop(self) -> None:
        """All submitted and uncollected is lost; `start` brings it back."""
        ...

    def scrub(self) -> tuple[int, int]:
        """Blocks of weights checked in memory, and those of them that were damaged and are mended.

        Raises:
            EngineLostError: a block is damaged in both copies.
        """
        ...

    def resident_bytes(self) -> int:
        """Resident memory of its own process now; 0 if it has none."""
        ...

    def temperature_degc(self) -> float | None:
        """What it said last, or None if it does not say."""
        ...


class ProductStore(Protocol):
    """Products and tile records that survive a power cut."""

    def entries(self) -> Iterator[QueueEntry]:
        """All that is queued, in order of entry_id."""
        ...

    def next_entry_id(self) -> int:
        """An id never used before in this store."""
        ...

    def commit_tile(
        self,
        record: TileRecord,
        accepted: Sequence[tuple[QueueEntry, Product]],
        evicted: Sequence[int],
        refused: Sequence[QueueEntry] = (),
    ) -> None:
        """The tile is finished, its products queued, evicted ones gone, refused ones counted: all or nothing.

        What is to be evicted and has left meanwhile, or is held, is passed over.

        Raises:
            StoreError: nothing changed; disk full or damaged.
        """
        ...

    def has_changed(self) -> bool:
        """Whether another process wrote since the last call: the queue should follow."""
        ...

    def held(self) -> set[int]:
        """Entries on their way to the ground; they cannot be evicted."""
        ...

    def hold(self, entry_id: int) -> bool:
        """The entry stays until acknowledged or released; False if it is there no more."""
        ...

    def release(self, entry_id: int) -> None:
        """The entry waits again like any other."""
        ...

    def drop_waiting(self) -> tuple[int, int]:
        """All that waits and is not held has been evicted: how many entries and bytes."""
        ...

    def queued(self) -> tuple[int, int]:
        """How many entries and bytes are queued, held ones too."""
        ...

    def tile_records(self, strip_id: str) -> Iterator[TileRecord]: ...

    def body(self, entry_id: int) -> bytes: ...

    def acknowledge(self, entry_id: int) -> None:
        """The product is on the ground: it leaves the queue for good."""
        ...

    def discard(self, entry_id: int) -> None:
        """The entry is damaged and leaves for good: it counts as evicted."""
        ...

    def close(self) -> None: ...


class Link(Protocol):
    """The way down."""

    def send(self, name: str, body: bytes) -> bool:
        """True once the ground has ``body`` for certain; False if it was refused.

        Raises:
            LinkError: the contact broke off.
        """
        ...


class Clock(Protocol):
    """The time, for those who tell the core."""

    def utc_ns(self) -> int: ...

    def mono_ns(self) -> int: ...


class Board(Protocol):
    """What the board measures of this program."""

    def resident_bytes(self) -> int:
        """Resident memory of the whole process tree now."""
        ...

    def peak_bytes(self) -> int:
        """Highest resident memory of the whole process tree so far."""
        ...

    def cpu_s(self) -> float:
        """Processor time of the whole process tree so far."""
        ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes that came from the ground in one piece.

    ``origin`` tells one stream from another; ``is_end``: nothing of this stream follows, as
    after every datagram and when a connection is closed; ``is_replaced``: it made room for another.
    """

    origin: int
    content: bytes
    is_end: bool
    is_replaced: bool = False


class GroundLinks(Protocol):
    """All ways to and from the ground, for packets."""

    def wait(self, timeout_s: float, wakes_on: Sequence[int]) -> list[Arrival]:
        """What has come; returns at once if there is something, or one of ``wakes_on`` is readable."""
        ...

    def send(self, packet: bytes) -> bool:
        """The packet is on its way on every link that takes it, and that is one at least; never blocks."""
        ...

    def close(self) -> None: ...


class FlightMemory(Protocol):
    """What the service must still know after a power cut."""

    def get(self, name: str) -> int | float | str | None:
        """What was last put under ``name``, or None.

        Raises:
            StoreError: the disk cannot be read.
        """
        ...

    def put(self, name: str, value: int | float | str) -> None:
        """``value`` is on the disk.

        Raises:
            StoreError: it is not; what was there before stays.
        """
        ...

    def put_all(self, values: Mapping[str, int | float | str | None]) -> None:
        """Each value is under its name, and nothing for None, on the disk: all or nothing.

        Raises:
            StoreError: nothing changed.
        """
        ...

    def drop(self, name: str) -> None:
        """Nothing is under ``name``, on the disk.

        Raises:
            StoreError: what was there stays.
        """
        ...

    def names(self, prefix: str) -> list[str]:
        """All names that start with ``prefix``, in their order.

        Raises:
            StoreError: the disk cannot be read.
        """
        ...


class TelemetryFile(Protocol):
    """Where telemetry records are kept on the board."""

    def append(self, records: Sequence[dict[str, object]]) -> None:
        """All records are there, or a StoreError is raised and none is."""
        ...


class Watchdog(Protocol):
    """What restarts the board unless it is stroked."""

    def stroke(self) -> None:
        """The program is alive, or a StoreError is raised: that could not be written."""
        ...

    def close(self) -> None:
        """The program ends in order: nothing is to be restarted."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something in the inbox; as long as ``stamp`` changes it is still being written.

    An empty stamp: nothing is being written, take it at once. With a ``fault`` it cannot be taken,
    and ``path`` is how to name it to a person.
    """

    path: str
    stamp: str
    fault: str = ""


class Inbox(Protocol):
    """Where strips appear."""

    def listing(self) -> list[Candidate] | None:
        """What is there now, the oldest first, or None while that is not known; a FIFO gives a line once."""
        ...

    def close(self) -> None: ...


class StripWorker(Protocol):
    """Takes one strip at a time through the networks, beside the service."""

    def start(self, path: str, settings: Mapping[str, float]) -> None:
        """Begin, or go on, with the strip at ``path``; what cannot even begin ends at once."""
        ...

    def records(self) -> list[dict[str, object]]:
        """Telemetry that has come since the last call."""
        ...

    def exit_code(self) -> int | None:
        """How it ended (below 0: by a signal), once; None while it runs or nothing was started."""
        ...

    def stop(self) -> None:
        """It runs no more; what it has committed stays."""
        ...

    def wakes_on(self) -> Sequence[int]:
        """Descriptors that become readable when it has something to say."""
        ...


class Surroundings(Protocol):
    """What the board measures beside this program."""

    def temperature_degc(self) -> float | None:
        """The warmest sensor, or None if there is none."""
        ...

    def free_bytes(self) -> int | None:
        """What the disk with the queue has left, or None if nobody can tell."""
        ...
