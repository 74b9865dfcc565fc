"""What goes down in one pass, and in which order.

Rules:
1. A product is worth its value at the start of the pass: it fades with age, and past its
   deadline it is worth nothing.
2. Of one tile the first look goes before the detail: preview (statistics, quick-look), then
   base (classes, surface reflectance), then residual (raw); within a layer, the denser first.
3. The order is by value per byte; a layer that would pull its predecessors forward goes with
   them, at the value per byte of them together, the best such group first.
4. Where single products are larger than LUMP_RATIO of the pass, what is chosen is a knapsack:
   the large ones by dynamic programming, the small ones by value per byte in what is left. It
   counts only where the pass carries more by it than by value per byte alone.
5. What is not chosen follows in the same order, and goes where it fits (`Fitting`).
6. The order is total: value per byte, then oldest, then lowest id; a replay is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from payload.config import AgeingConfig
from payload.types import ProductKind, QueueEntry

LUMP_RATIO = 0.02
"""Of the pass; below it the part of a pass that greed leaves over does not matter."""

_BUCKETS = 4000  # of the knapsack; a large product's size is off by at most 1/80 of itself
_TABLE_CHAINS = 400  # tiles in the knapsack; the table is this many times _BUCKETS bytes
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
    groups = sorted((group for chain in chains for group in chain), key=lambda group: group.rank)
    by_density = _entries_of(groups)
    lump_bytes = capacity_bytes * LUMP_RATIO
    has_lumps = any(group.size_bytes > lump_bytes for group in groups)
    if not has_lumps or not 0 < capacity_bytes < sum(group.size_bytes for group in groups):
        return by_density
    is_chosen = {id(group) for group in _knapsack(chains, capacity_bytes)}
    chosen_first = _entries_of(sorted(groups, key=lambda group: (id(group) not in is_chosen, group.rank)))
    return max(by_density, chosen_first, key=lambda order: _carried_value(order, capacity_bytes))


def _entries_of(groups: Iterable[_Group]) -> list[QueueEntry]:
    return [entry for group in groups for entry in group.entries]


def _carried_value(order: list[QueueEntry], capacity_bytes: int) -> float:
    return math.fsum(entry.value for entry in fitting(order, capacity_bytes))


class Fitting:
    """What of an order a pass carries whole, one after another: each that still fits, but of a tile
    nothing behind an earlier layer of which something did not. The room only shrinks, so each
    entry is looked at once, and nothing is left that could still go."""

    def __init__(self, order: Iterable[QueueEntry]) -> None:
        self._order = iter(order)
        self._closed: dict[str, int] = {}  # by tile: the first layer that is not whole

    def next(self, room_bytes: int) -> QueueEntry | None:
        """The next that fits in ``room_bytes``; None if nothing more does."""
        for entry in self._order:
            tile, layer = _tile_of(entry), LAYER_OF_KIND[entry.kind]
            closed = self._closed.get(tile, layer)
            if entry.size_bytes <= room_bytes and layer <= closed:
                return entry
            self._closed[tile] = min(closed, layer)
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
    (Sidney 1975, Decomposition algorithms for single-machine sequencing with precedence). Ranks
    are compared as the order compares them, or rounding would part a layer from the one before.
    """
    singles = [_Group((entry,), entry.size_bytes, entry.value) for entry in entries]
    singles.sort(key=lambda group: (LAYER_OF_KIND[group.entries[0].kind], group.rank))
    chain: list[_Group] = []
    for group in singles:
        while chain and group.rank[0] <= chain[-1].rank[0]:
            group = chain.pop().joined(group)
        chain.append(group)
    return chain


def _knapsack(chains: Sequence[list[_Group]], capacity_bytes: int) -> list[_Group]:
    """Of each chain its first groups or none, of the greatest value.

    The chains with the densest lumps are chosen by dynamic programming: of _TABLE_CHAINS lumps
    the pass carries an eighth at most. Of all others what comes before their first lump takes
    part by value per byte.
    """

    def is_lump(group: _Group) -> bool:
        return group.size_bytes > capacity_bytes * LUMP_RATIO

    lumpy = [chain for chain in chains if any(map(is_lump, chain))]
    lumpy.sort(key=lambda chain: next(group.rank for group in chain if is_lump(group)))
    table = lumpy[:_TABLE_CHAINS]
    in_table = {id(chain) for chain in table}
    others = (chain for chain in chains if id(chain) not in in_table)
    small = [group for chain in others for group in takewhile(lambda group: not is_lump(group), chain)]
    small.sort(key=lambda group: group.rank)
    scale = _Scale.of(table, capacity_bytes)
    best = np.zeros(scale.buckets + 1)
    taken = np.zeros((len(table), scale.buckets + 1), dtype=np.uint8)
    for row, chain in enumerate(table):
        before = best.copy()
        for count, size, value in _prefixes(chain, scale):
            with_it = before[: scale.buckets + 1 - size] + value
            better = with_it > best[size:]
            best[size:][better] = with_it[better]
            taken[row, size:][better] = count
    sizes = np.cumsum([0] + [group.size_bytes for group in small])
    values = np.cumsum([0.0] + [group.value for group in small])
    left = capacity_bytes - np.arange(scale.buckets + 1) * scale.span_bytes // scale.buckets
    fit = np.searchsorted(sizes, left, side="right") - 1
    used = int(np.argmax(best + values[fit]))
    chosen = small[: fit[used]]
    for row in range(len(table) - 1, -1, -1):
        count = int(taken[row, used])
        chosen += table[row][:count]
        used -= scale.buckets_of(table[row][:count])
    return chosen


@dataclass(frozen=True, slots=True)
class _Scale:
    """``buckets`` of equal size are ``span_bytes`` long: the unit of sizes in the knapsack."""

    buckets: int
    span_bytes: int

    @classmethod
    def of(cls, chains: Iterable[list[_Group]], capacity_bytes: int) -> _Scale:
        """Of the sizes' greatest common divisor if that is coarse enough: then nothing is rounded."""
        unit_bytes = math.gcd(*(group.size_bytes for chain in chains for group in chain))
        units = capacity_bytes // unit_bytes
        if 0 < units <= _BUCKETS:
            return cls(units, units * unit_bytes)
        return cls(min(_BUCKETS, capacity_bytes), capacity_bytes)

    def buckets_of(self, groups: list[_Group]) -> int:
        """How many these take, the last one rounded up."""
        return -(-sum(group.size_bytes for group in groups) * self.buckets // self.span_bytes)


def _prefixes(chain: list[_Group], scale: _Scale) -> Iterable[tuple[int, int, float]]:
    """How many groups, buckets they take, and their value; as long as they fit."""
    for count in range(1, min(len(chain), 255) + 1):
        size = scale.buckets_of(chain[:count])
        if size > scale.buckets:
            return
        yield count, size, sum(group.value for group in chain[:count])
