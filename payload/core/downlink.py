"""The downlink queue: what waits for the ground, what is on its way, and what must go for good.

Rules:
1. The order is total: value per byte, then oldest, then lowest entry id. Values fade (`ageing`),
   all at the same rate: which of two ranks higher never changes, and no clock is asked. Which go
   down in a pass, and in which order, `core.pass_plan` says.
2. After every offer the queue is within its capacity, in bytes and in entries; what was taken
   and is not yet acknowledged counts.
3. A newcomer is accepted if the room it needs can be made of entries that rank below it:
   the lowest go first. Otherwise it is refused, and nothing goes for its sake.
4. Of one offer, the best newcomer is tried first. Before that, as far as room is needed, what was
   past its deadline when the newest of the offer was made has gone, the oldest first.
5. What is taken is never evicted; it leaves by acknowledge, or waits again after give_back.
6. A queue filled beyond its capacity from outside (a smaller configuration) is trimmed by the
   next offer, the lowest first; in entries, for which memory is planned, as it is resumed.
7. Offered = accepted + refused, and accepted = acknowledged + evicted + departed + still
   there, in entries and in bytes.
8. Another process may send or make what is queued here: following the store, what came is
   accepted whatever the capacity, what went has departed, and what is held there is taken here.
   That takes a number an entry, and no second queue.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from payload.config import AgeingConfig
from payload.types import Product, QueueEntry

_Rank = tuple[float, int, int]
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Offer:
    """What an offer led to.

    ``refused`` are newcomers that never were in the queue, ``evicted`` had been in it before.
    Both are gone for good.
    """

    accepted: tuple[QueueEntry, ...]
    refused: tuple[QueueEntry, ...]
    evicted: tuple[QueueEntry, ...]


@dataclass(slots=True)
class Tally:
    """Entries and their bytes, counted since the queue was made."""

    entries: int = 0
    size_bytes: int = 0

    def count(self, entry: QueueEntry) -> None:
        self.entries += 1
        self.size_bytes += entry.size_bytes


@dataclass(frozen=True, slots=True)
class QueueCounters:
    """``accepted`` includes what was there when the queue was made."""

    offered: Tally = field(default_factory=Tally)
    accepted: Tally = field(default_factory=Tally)
    refused: Tally = field(default_factory=Tally)
    evicted: Tally = field(default_factory=Tally)
    acknowledged: Tally = field(default_factory=Tally)
    departed: Tally = field(default_factory=Tally)


def entry_of(entry_id: int, product: Product) -> QueueEntry:
    """What the queue keeps of ``product``, under ``entry_id``."""
    return QueueEntry(
        entry_id,
        product.product_id,
        product.kind,
        len(product.body),
        product.value,
        product.created_utc_ns,
        product.reason,
    )


class DownlinkQueue:
    """Bounded and ordered; holds entries, never bodies.

    A sorted list: at 100 000 entries an insertion moves 0.8 MB of references, some 30 µs,
    against the 100 ms that a tile takes to make; where it is full, looking for what has expired
    takes some 10 ms.
    """

    def __init__(
        self,
        capacity_bytes: int,
        capacity_entries: int,
        entries: Iterable[QueueEntry] = (),
        ageing: AgeingConfig | None = None,
    ) -> None:
        """Holds ``entries``, all of which wait; see rule 6. Without ``ageing`` nothing fades."""
        self._ageing = ageing
        self._capacity_bytes = capacity_bytes
        self._capacity_entries = capacity_entries
        self._waiting: dict[int, QueueEntry] = {}
        self._taken: dict[int, QueueEntry] = {}
        self._size_bytes = 0
        self.counters = QueueCounters()
        for entry in entries:
            assert entry.entry_id not in self._waiting, entry.entry_id
            self._waiting[entry.entry_id] = entry
            self._size_bytes += entry.size_bytes
            self.counters.offered.count(entry)
            self.counters.accepted.count(entry)
        self._ranks = sorted(map(self._rank, self._waiting.values()))  # worst first

    def resume(self, entries: Collection[QueueEntry], held: Collection[int]) -> tuple[QueueEntry, ...]:
        """Of what was here and ``entries``, queued before, the best are here: the evicted (rule 6).

        Those in ``held`` are taken, the others wait. Meant for some entries of a store at a time.
        """
        for entry in entries:
            assert entry.entry_id not in self._waiting, entry.entry_id
            assert entry.entry_id not in self._taken, entry.entry_id
            self._size_bytes += entry.size_bytes
            self.counters.offered.count(entry)
            self.counters.accepted.count(entry)
            if entry.entry_id in held:
                self._taken[entry.entry_id] = entry
            else:
                self._waiting[entry.entry_id] = entry
                self._ranks.append(self._rank(entry))
        self._ranks.sort()
        excess = min(len(self) - self._capacity_entries, len(self._ranks))
        return tuple(self._evict_worst() for _ in range(excess))

    def __len__(self) -> int:
        return len(self._waiting) + len(self._taken)

    @property
    def size_bytes(self) -> int:
        """Of all entries, the taken ones included."""
        return self._size_bytes

    def waiting(self) -> Iterator[QueueEntry]:
        """What waits, the highest rank first (rule 1)."""
        return (self._waiting[-rank[2]] for rank in reversed(self._ranks))

    def offer(self, entries: Iterable[QueueEntry]) -> Offer:
        """The queue holds the best of what it had and ``entries``, within its capacity."""
        newcomers = sorted(entries, key=self._rank, reverse=True)
        assert not any(e.entry_id in self._waiting or e.entry_id in self._taken for e in newcomers)
        evicted: list[QueueEntry] = []
        while self._ranks and self._is_over(0, 0):
            evicted.append(self._evict_worst())
        evicted += self._evict_expired(newcomers)
        accepted, refused = [], []
        for entry in newcomers:
            self.counters.offered.count(entry)
            victims = self._victims(entry)
            if victims is None:
                refused.append(entry)
                self.counters.refused.count(entry)
                continue
            evicted.extend(self._evict_worst() for _ in range(victims))
            self._wait(entry)
            self._size_bytes += entry.size_bytes
            accepted.append(entry)
            self.counters.accepted.count(entry)
        return Offer(tuple(accepted), tuple(refused), tuple(evicted))

    def take(self, entry_id: int) -> QueueEntry:
        """The waiting entry, which waits no longer: it is on its way."""
        assert entry_id in self._waiting, f"{entry_id} does not wait"
        entry = self._waiting[entry_id]
        self._forget_waiting(entry)
        self._taken[entry_id] = entry
        return entry

    def acknowledge(self, entry_id: int) -> None:
        """The taken entry is on the ground and leaves for good."""
        assert entry_id in self._taken, f"{entry_id} was not taken"
        entry = self._taken.pop(entry_id)
        self._size_bytes -= entry.size_bytes
        self.counters.acknowledged.count(entry)

    def give_back(self, entry_id: int) -> None:
        """The taken entry waits again, in its old place."""
        assert entry_id in self._taken, f"{entry_id} was not taken"
        self._wait(self._taken.pop(entry_id))

    def follow(self, entries: Iterable[QueueEntry], held: Collection[int]) -> None:
        """The queue is what ``entries`` say, those in ``held`` taken and the others waiting (rule 8).

        Args:
            entries: in order of entry_id; what is known already is not kept a second time.
        """
        known = sorted(chain(self._waiting, self._taken))
        place = 0
        for entry in entries:
            behind = bisect_left(known, entry.entry_id, place)
            for entry_id in known[place:behind]:
                self._depart(entry_id)
            place = behind
            if place < len(known) and known[place] == entry.entry_id:
                place += 1
            else:
                self._wait(entry)
                self._size_bytes += entry.size_bytes
                self.counters.offered.count(entry)
                self.counters.accepted.count(entry)
            if entry.entry_id in held and entry.entry_id in self._waiting:
                self.take(entry.entry_id)
            elif entry.entry_id not in held and entry.entry_id in self._taken:
                self.give_back(entry.entry_id)
        for entry_id in known[place:]:
            self._depart(entry_id)

    def _rank(self, entry: QueueEntry) -> _Rank:
        """Larger is better (rule 1)."""
        worth = entry.value / entry.size_bytes
        if self._ageing is not None:
            # The logarithm of what it is worth at any moment, but for what is common to all.
            grown = entry.created_utc_ns / _NS_PER_S / self._ageing.decay_s
            worth = math.log(worth) + grown if worth > 0 else -math.inf
        return (worth, -entry.created_utc_ns, -entry.entry_id)

    def _depart(self, entry_id: int) -> None:
        entry = self._waiting.get(entry_id)
        if entry is not None:
            self._forget_waiting(entry)
        else:
            entry = self._taken.pop(entry_id)
        self._size_bytes -= entry.size_bytes
        self.counters.departed.count(entry)

    def _forget_waiting(self, entry: QueueEntry) -> None:
        del self._waiting[entry.entry_id]
        del self._ranks[bisect_left(self._ranks, self._rank(entry))]

    def _wait(self, entry: QueueEntry) -> None:
        rank = self._rank(entry)
        self._ranks.insert(bisect_left(self._ranks, rank), rank)
        self._waiting[entry.entry_id] = entry

    def _victims(self, newcomer: QueueEntry) -> int | None:
        """How many of the worst must go for ``newcomer``; None if it is not worth that."""
        rank, freed_bytes, victims = self._rank(newcomer), 0, 0
        while self._is_over(newcomer.size_bytes - freed_bytes, 1 - victims):
            if victims == len(self._ranks) or self._ranks[victims] > rank:
                return None
            freed_bytes += self._waiting[-self._ranks[victims][2]].size_bytes
            victims += 1
        return victims

    def _is_over(self, more_bytes: int, more_entries: int) -> bool:
        return (
            self._size_bytes + more_bytes > self._capacity_bytes
            or len(self) + more_entries > self._capacity_entries
        )

    def _evict_worst(self) -> QueueEntry:
        return self._evict(self._waiting[-self._ranks[0][2]])

    def _evict_expired(self, newcomers: Collection[QueueEntry]) -> list[QueueEntry]:
        """What went by rule 4: worth nothing, whatever its rank."""
        more_bytes = sum(entry.size_bytes for entry in newcomers)
        if self._ageing is None or not newcomers or not self._is_over(more_bytes, len(newcomers)):
            return []
        newest_ns = max(entry.created_utc_ns for entry in newcomers)
        before_ns = newest_ns - self._ageing.deadline_s * _NS_PER_S
        expired = [entry for entry in self._waiting.values() if entry.created_utc_ns < before_ns]
        expired.sort(key=lambda entry: entry.entry_id, reverse=True)
        expired.sort(key=lambda entry: entry.created_utc_ns, reverse=True)
        evicted = []
        while expired and self._is_over(more_bytes, len(newcomers)):
            evicted.append(self._evict(expired.pop()))
        return evicted

    def _evict(self, entry: QueueEntry) -> QueueEntry:
        self._forget_waiting(entry)
        self._size_bytes -= entry.size_bytes
        self.counters.evicted.count(entry)
        return entry
