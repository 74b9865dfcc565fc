"""What goes down in one pass, and in which order.

Rules:
1. A product is worth its value at the start of the pass: it fades with age, and past its
   deadline it is worth nothing.
2. Of one tile the first look goes before the detail: preview (statistics, quick-look), then
   base (classes, surface reflectance), then residual (raw); within a layer, the denser first.
3. The order is by value per byte; a layer that would pull its predecessors forward goes with
   them, at the value per byte of them together, the best such group first.
4. Where single products are larger than LUMP_RATIO of the pass, what is chosen is a knapsack:
   the large ones by dynamic programming, the small ones by value per byte in what is left.
5. What is not chosen follows in the same order: no byte stays idle while anything waits.
6. The order is total: value per byte, then oldest, then lowest id; a replay is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from payload.config import AgeingConfig
from payload.types import ProductKind, QueueEntry

LUMP_RATIO = 0.02
"""Of the pass; below it the part of a pass that greed leaves over does not matter."""

_BUCKETS = (
    4000  # of the knapsack, at least a byte each; a large product's size is off by at most 1/80 of itself
)
_LUMPS_MAX = 400  # groups in the knapsack, the densest; the table is _BUCKETS * this many bytes
_NS_PER_S = 1_000_000_000

LAYER_OF_KIND = {
    ProductKind.STATISTICS: 0,
    ProductKind.QUICKLOOK: 0,
    ProductKind.CLASSES: 1,
    ProductKind.SURFACE_10M: 1,
    ProductKind.SURFACE_20M: 1,
    ProductKind.SURFACE_60M: 1,
    ProductKind.RAW: 2,
}
"""Preview, base, residual."""


def aged(entry: QueueEntry, utc_ns: int, ageing: AgeingConfig) -> QueueEntry:
    """``entry`` with what it is worth at ``utc_ns`` (rule 1)."""
    age_s = max(0.0, (utc_ns - entry.created_utc_ns) / _NS_PER_S)
    left = 0.0 if age_s > ageing.deadline_s else math.exp(-age_s / ageing.decay_s)
    return replace(entry, value=entry.value * left)


@dataclass(frozen=True, slots=True)
class _Group:
    """Products that go one after another, and together (rule 3)."""

    entries: tuple[QueueEntry, ...]
    size_bytes: int
    value: float

    @property
    def rank(self) -> tuple[float, int, int]:
        first = self.entries[0]
        return (-self.value / self.size_bytes, first.created_utc_ns, first.entry_id)

    def joined(self, other: _Group) -> _Group:
        return _Group(
            self.entries + other.entries, self.size_bytes + other.size_bytes, self.value + other.value
        )


def plan_pass(waiting: Iterable[QueueEntry], capacity_bytes: int) -> list[QueueEntry]:
    """All that waits, in the order in which it should go; what a pass of ``capacity_bytes``
    should carry comes first.

    Values are those of now (`aged`); sizes are what they take on the link.
    """
    chains = [_chain(entries) for entries in _by_tile(waiting).values()]
    lump_bytes = capacity_bytes * LUMP_RATIO
    lumpy = [chain for chain in chains if any(group.size_bytes > lump_bytes for group in chain)]
    chosen: list[_Group] = []
    rest = sorted((group for chain in chains for group in chain), key=lambda group: group.rank)
    if lumpy and 0 < capacity_bytes < sum(group.size_bytes for group in rest):
        small = [group for chain in chains if chain not in lumpy for group in chain]
        chosen = _knapsack(lumpy, small, capacity_bytes)
        is_chosen = {id(group) for group in chosen}
        rest = [group for group in rest if id(group) not in is_chosen]
        chosen.sort(key=lambda group: group.rank)
    return [entry for group in chosen + rest for entry in group.entries]


class Fitting:
    """What of an order a pass carries whole, one after another: each that still fits, but of a tile
    nothing after one that did not. The room only shrinks, so each entry is looked at once."""

    def __init__(self, order: Iterable[QueueEntry]) -> None:
        self._order = iter(order)
        self._closed: set[str] = set()

    def next(self, room_bytes: int) -> QueueEntry | None:
        """The next that fits in ``room_bytes``; None if nothing more does."""
        for entry in self._order:
            tile = _tile_of(entry)
            if entry.size_bytes <= room_bytes and tile not in self._closed:
                return entry
            self._closed.add(tile)
        return None


def fitting(order: Iterable[QueueEntry], capacity_bytes: int) -> list[QueueEntry]:
    """All of ``order`` that a pass carries, if nothing may be cut (`Fitting`)."""
    going, sent = Fitting(order), []
    while (entry := going.next(capacity_bytes)) is not None:
        capacity_bytes -= entry.size_bytes
        sent.append(entry)
    return sent


def _tile_of(entry: QueueEntry) -> str:
    """Product ids are strip, tile and kind, with points between (`core.products`)."""
    return entry.product_id.rpartition(".")[0] or entry.product_id


def _by_tile(waiting: Iterable[QueueEntry]) -> dict[str, list[QueueEntry]]:
    tiles: dict[str, list[QueueEntry]] = {}
    for entry in waiting:
        tiles.setdefault(_tile_of(entry), []).append(entry)
    return tiles


def _chain(entries: list[QueueEntry]) -> list[_Group]:
    """The products of one tile as groups of falling value per byte (rules 2 and 3).

    Joining a group to the one before it while it is no less dense gives the best order of a chain
    (Sidney 1975, Decomposition algorithms for single-machine sequencing with precedence).
    """
    singles = [_Group((entry,), entry.size_bytes, entry.value) for entry in entries]
    singles.sort(key=lambda group: (LAYER_OF_KIND[group.entries[0].kind], group.rank))
    chain: list[_Group] = []
    for group in singles:
        while chain and group.value * chain[-1].size_bytes >= chain[-1].value * group.size_bytes:
            group = chain.pop().joined(group)
        chain.append(group)
    return chain


def _knapsack(lumpy: Sequence[list[_Group]], small: list[_Group], capacity_bytes: int) -> list[_Group]:
    """Of each lumpy chain its first groups or none, and small groups, of the greatest value."""
    lumpy = sorted(lumpy, key=lambda chain: chain[0].rank)[:_LUMPS_MAX]
    buckets = min(_BUCKETS, capacity_bytes)
    bucket = capacity_bytes / buckets
    best = np.zeros(buckets + 1)
    taken = np.zeros((len(lumpy), buckets + 1), dtype=np.uint8)
    for row, chain in enumerate(lumpy):
        before = best.copy()
        for count, size, value in _prefixes(chain, bucket, buckets):
            with_it = before[: buckets + 1 - size] + value
            better = with_it > best[size:]
            best[size:][better] = with_it[better]
            taken[row, size:][better] = count
    small = sorted(small, key=lambda group: group.rank)
    sizes = np.cumsum([0.0] + [group.size_bytes for group in small])
    values = np.cumsum([0.0] + [group.value for group in small])
    left = np.arange(buckets, -1, -1) * bucket  # for the small ones, by what the lumps use
    fit = np.searchsorted(sizes, left, side="right") - 1
    used = int(np.argmax(best + values[fit]))
    chosen = small[: fit[used]]
    for row in range(len(lumpy) - 1, -1, -1):
        count = int(taken[row, used])
        chosen += lumpy[row][:count]
        used -= _buckets_of(lumpy[row][:count], bucket)
    return chosen


def _prefixes(chain: list[_Group], bucket: float, buckets: int) -> Iterable[tuple[int, int, float]]:
    """How many groups, buckets they take, and their value; as long as they fit."""
    for count in range(1, min(len(chain), 255) + 1):
        size = _buckets_of(chain[:count], bucket)
        if size > buckets:
            return
        yield count, size, sum(group.value for group in chain[:count])


def _buckets_of(groups: list[_Group], bucket: float) -> int:
    return math.ceil(sum(group.size_bytes for group in groups) / bucket)
