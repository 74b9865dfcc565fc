"""Rules of `payload.core.downlink`, against a model that does everything the slow way."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from payload.config import AgeingConfig
from payload.core.downlink import DownlinkQueue
from payload.core.memory import QUEUE_ENTRY_BYTES
from payload.core.pass_plan import aged
from payload.types import ProductKind, QueueEntry


def entry(entry_id: int, size_bytes: int = 100, value: float = 10.0, created_utc_ns: int = 0) -> QueueEntry:
    return QueueEntry(
        entry_id, f"P{entry_id}", ProductKind.CLASSES, size_bytes, value, created_utc_ns, "why not"
    )


def density(of: QueueEntry) -> float:
    return of.value / of.size_bytes


# Few values of each, so that equal densities, ages and sizes are common.
shapes = st.tuples(st.integers(1, 40), st.sampled_from([0.0, 1.0, 2.0, 6.0, 50.0]), st.integers(0, 2))


def entries_of(rows: list[tuple[int, float, int]], first_id: int = 0) -> list[QueueEntry]:
    return [entry(first_id + number, *row) for number, row in enumerate(rows)]


def in_order(entries: list[QueueEntry]) -> list[QueueEntry]:
    """Best first: value per byte, then oldest, then lowest id; said the slow way."""
    return sorted(entries, key=lambda e: (-density(e), e.created_utc_ns, e.entry_id))


class QueueAgainstModel(RuleBasedStateMachine):
    """Lists, sorted anew each time, against the queue."""

    @initialize(
        capacity_bytes=st.integers(1, 200),
        capacity_entries=st.integers(1, 12),
        rows=st.lists(shapes, max_size=10),
    )
    def begin(self, capacity_bytes: int, capacity_entries: int, rows: list[tuple[int, float, int]]) -> None:
        self.capacity = (capacity_bytes, capacity_entries)
        self.waiting = entries_of(rows)
        self.taken: list[QueueEntry] = []
        self.gone: list[QueueEntry] = []
        self.offered_elsewhere: list[QueueEntry] = []  # came and went before the queue looked
        self.offered = list(self.waiting)
        self.queue = DownlinkQueue(*self.capacity, self.waiting)

    def fits(self, there: list[QueueEntry]) -> bool:
        size = sum(e.size_bytes for e in there + self.taken)
        return size <= self.capacity[0] and len(there) + len(self.taken) <= self.capacity[1]

    @rule(rows=st.lists(shapes, max_size=4))
    def offer(self, rows: list[tuple[int, float, int]]) -> None:
        newcomers = entries_of(rows, len(self.offered))
        self.offered += newcomers
        evicted, accepted, refused = [], [], []
        while self.waiting and not self.fits(self.waiting):
            evicted.append(in_order(self.waiting)[-1])
            self.waiting.remove(evicted[-1])
        for newcomer in in_order(newcomers):
            # Of those that rank below, the fewest of the lowest that make room.
            ranked = in_order([*self.waiting, newcomer])
            below = ranked[ranked.index(newcomer) + 1 :][::-1]
            for victims in range(len(below) + 1):
                kept = [e for e in self.waiting if e not in below[:victims]]
                if self.fits([*kept, newcomer]):
                    evicted += below[:victims]
                    self.waiting = [*kept, newcomer]
                    accepted.append(newcomer)
                    break
            else:
                refused.append(newcomer)
        found = self.queue.offer(newcomers)
        assert list(found.accepted) == accepted
        assert list(found.refused) == refused
        assert list(found.evicted) == evicted
        self.gone += evicted + refused
        # After every offer the queue is within its capacity; what is taken cannot go.
        assert self.fits(self.waiting) or not self.waiting

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.waiting))
        assert self.queue.take(chosen.entry_id) == chosen
        self.waiting.remove(chosen)
        self.taken.append(chosen)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.taken))
        self.queue.acknowledge(chosen.entry_id)
        self.taken.remove(chosen)
        self.gone.append(chosen)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.taken))
        self.queue.give_back(chosen.entry_id)
        self.taken.remove(chosen)
        self.waiting.append(chosen)

    @rule(data=st.data(), rows=st.lists(shapes, max_size=3))
    def follow(self, data: st.DataObject, rows: list[tuple[int, float, int]]) -> None:
        """Another process made some, sent or dropped some, and holds some."""
        newcomers = entries_of(rows, len(self.offered))
        self.offered += newcomers
        there = [*self.waiting, *self.taken, *newcomers]
        went = data.draw(st.sets(st.sampled_from(there))) if there else set()
        left = [e for e in there if e not in went]
        held = data.draw(st.sets(st.sampled_from(left))) if left else set()
        self.queue.follow(sorted(left, key=lambda e: e.entry_id), {e.entry_id for e in held})
        self.gone += went & {*self.waiting, *self.taken}
        self.offered_elsewhere += [e for e in newcomers if e in went]
        self.waiting = [e for e in left if e not in held]
        self.taken = [e for e in left if e in held]

    @invariant()
    def the_order_is_total(self) -> None:
        assert list(self.queue.waiting()) == in_order(self.waiting)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        there = self.waiting + self.taken + self.gone + self.offered_elsewhere
        assert sorted(e.entry_id for e in there) == [e.entry_id for e in self.offered]
        assert len(self.queue) == len(self.waiting) + len(self.taken)
        assert self.queue.size_bytes == sum(e.size_bytes for e in self.waiting + self.taken)

    @invariant()
    def offered_is_accepted_and_refused_and_accepted_is_gone_or_there(self) -> None:
        c = self.queue.counters
        for unit in ("entries", "size_bytes"):
            of = {name: getattr(getattr(c, name), unit) for name in c.__slots__}
            there = len(self.queue) if unit == "entries" else self.queue.size_bytes
            assert of["offered"] == of["accepted"] + of["refused"]
            assert of["accepted"] == of["acknowledged"] + of["evicted"] + of["departed"] + there
        seen = [e for e in self.offered if e not in self.offered_elsewhere]
        assert c.offered.size_bytes == sum(e.size_bytes for e in seen)


QueueAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestQueueAgainstModel = QueueAgainstModel.TestCase


def test_the_order_is_value_per_byte_then_oldest_then_lowest_entry_id() -> None:
    entries = [
        entry(1, 100, 10.0, 5),
        entry(2, 10, 10.0, 9),  # ten times the value per byte
        entry(3, 100, 10.0, 4),  # older than 1
        entry(4, 200, 20.0, 4),  # as much per byte and as old as 3
        entry(5, 1000, 50.0, 0),
    ]
    queue = DownlinkQueue(10_000, 10, entries)
    assert [e.entry_id for e in queue.waiting()] == [2, 3, 4, 1, 5]


@given(st.lists(shapes, max_size=30), st.randoms(use_true_random=False))
def test_a_replay_in_another_order_of_arrival_goes_down_alike(rows: list, shuffle: object) -> None:
    entries = entries_of(rows)
    other = list(entries)
    shuffle.shuffle(other)  # type: ignore[attr-defined]
    assert list(DownlinkQueue(10**6, 100, entries).waiting()) == list(
        DownlinkQueue(10**6, 100, other).waiting()
    )


def test_a_newcomer_that_cannot_have_enough_room_drives_nothing_out() -> None:
    queue = DownlinkQueue(1000, 10, [entry(1, 600, 600.0), entry(2, 400, 4.0)])
    offer = queue.offer([entry(3, 500, 100.0)])  # would need 1 to go, which ranks above it
    assert [e.entry_id for e in offer.refused] == [3]
    assert offer.evicted == ()
    assert [e.entry_id for e in queue.waiting()] == [1, 2]


def test_the_lowest_go_first_and_no_more_than_needed() -> None:
    queue = DownlinkQueue(1000, 10, [entry(i, 250, float(i)) for i in range(1, 5)])
    offer = queue.offer([entry(9, 400, 400.0)])
    assert [e.entry_id for e in offer.evicted] == [1, 2]
    assert [e.entry_id for e in queue.waiting()] == [9, 4, 3]


def test_a_product_larger_than_the_whole_queue_is_refused() -> None:
    queue = DownlinkQueue(1000, 10, [entry(1, 10, 0.0)])
    assert [e.entry_id for e in queue.offer([entry(2, 1001, 1e9)]).refused] == [2]
    assert len(queue) == 1


def test_what_is_taken_is_never_evicted() -> None:
    queue = DownlinkQueue(100, 1, [entry(1, 100, 1.0)])
    queue.take(1)
    assert [e.entry_id for e in queue.offer([entry(2, 100, 1e6)]).refused] == [2]
    queue.give_back(1)
    assert [e.entry_id for e in queue.offer([entry(3, 100, 1e6)]).evicted] == [1]


def test_a_queue_filled_beyond_its_capacity_from_outside_is_trimmed_by_the_next_offer() -> None:
    queue = DownlinkQueue(250, 10, [entry(i, 100, float(i)) for i in range(1, 6)])
    assert len(queue) == 5
    assert [e.entry_id for e in queue.offer([]).evicted] == [1, 2, 3]
    assert queue.size_bytes == 200


@given(
    st.lists(shapes, max_size=30),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sets(st.integers(0, 29), max_size=3),
)
def test_a_queue_resumed_some_at_a_time_keeps_the_best_of_all_in_its_entries(
    rows: list[tuple[int, float, int]], capacity: int, some: int, held: set[int]
) -> None:
    entries = entries_of(rows)
    queue, evicted = DownlinkQueue(1, capacity), []
    for first in range(0, len(entries), some):
        evicted += queue.resume(entries[first : first + some], held)
        assert len(queue) <= max(capacity, len(held))
    taken = [e for e in entries if e.entry_id in held]
    ranked = in_order([e for e in entries if e.entry_id not in held])
    kept = max(0, capacity - len(taken))
    assert list(queue.waiting()) == ranked[:kept]
    assert sorted(e.entry_id for e in evicted) == sorted(e.entry_id for e in ranked[kept:])
    assert queue.size_bytes == sum(e.size_bytes for e in [*ranked[:kept], *taken])
    assert queue.counters.accepted.entries == len(queue) + queue.counters.evicted.entries
    for e in taken:
        queue.give_back(e.entry_id)


def test_an_entry_takes_no_more_than_is_planned_also_while_the_queue_follows() -> None:
    """With names and reasons at their longest, just after the table of entries grew."""
    entries_there = 2 * 8192 // 3 + 1

    def entries() -> Iterator[QueueEntry]:
        for n in range(entries_there):
            name, reason = f"{'S' * 64}.{n:05d}.surface_10m", f"{'r' * 120}{n:05d}"
            yield QueueEntry(
                10**6 + n, name, ProductKind.CLASSES, 10**6 + n, n / 7, 1_700 * 10**15 + n, reason
            )

    tracemalloc.start()
    queue, source = DownlinkQueue(10**12, entries_there), entries()
    while some := list(islice(source, 500)):
        queue.resume(some, set())
    itself = tracemalloc.get_traced_memory()[0]
    queue.follow(entries(), set())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(queue) == entries_there
    assert peak <= QUEUE_ENTRY_BYTES * entries_there
    assert peak < 1.2 * itself


AGEING = AgeingConfig(decay_s=100.0, deadline_s=1000.0)
NS_PER_S = 1_000_000_000


def test_a_full_queue_of_what_has_expired_takes_the_fresh_newcomer() -> None:
    old = [entry(i, 100, 20.0, i % 3) for i in range(10)]
    queue = DownlinkQueue(1000, 100, old, AGEING)
    offer = queue.offer([entry(100, 100, 19.0, 2000 * NS_PER_S)])
    assert [e.entry_id for e in offer.accepted] == [100]
    assert [e.entry_id for e in offer.evicted] == [0]  # the oldest, and no more than needed


def test_past_the_deadline_even_what_hardly_faded_goes_first() -> None:
    slow = AgeingConfig(decay_s=1e9, deadline_s=1000.0)
    expired, alive = entry(1, 100, 1e6, 0), entry(2, 100, 1.0, 1000 * NS_PER_S)
    queue = DownlinkQueue(200, 100, [expired, alive], slow)
    offer = queue.offer([entry(3, 100, 2.0, 1001 * NS_PER_S)])
    assert [e.entry_id for e in offer.evicted] == [1]
    queue = DownlinkQueue(200, 100, [expired, alive], slow)
    assert [e.entry_id for e in queue.offer([entry(3, 100, 2.0, 1000 * NS_PER_S)]).evicted] == [2]


def test_nothing_expired_goes_while_there_is_room() -> None:
    queue = DownlinkQueue(1000, 100, [entry(1, 100, 20.0, 0)], AGEING)
    assert queue.offer([entry(2, 100, 1.0, 10**6 * NS_PER_S)]).evicted == ()


@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(0.1, 50.0), st.integers(0, 900)), max_size=20),
    st.integers(900, 1000),
)
def test_the_rank_is_by_what_is_worth_more_per_byte_at_any_moment(
    rows: list[tuple[int, float, int]], now_s: int
) -> None:
    waiting = [entry(n, size, value, at * NS_PER_S) for n, (size, value, at) in enumerate(rows)]
    queue = DownlinkQueue(10**6, 100, waiting, AGEING)
    worth = [density(aged(e, now_s * NS_PER_S, AGEING)) for e in queue.waiting()]
    for better, worse in pairwise(worth):
        assert better >= worse or math.isclose(better, worse)


def test_a_replay_of_offers_to_the_same_entries_evicts_alike() -> None:
    """A restart in between changes nothing: what goes depends on entries alone, on no clock."""
    rows = [(1 + n % 7, float(1 + n * 7 % 11), 300 * n * NS_PER_S) for n in range(40)]
    whole = DownlinkQueue(40, 100, (), AGEING)
    kept: list[QueueEntry] = []
    for number, row in enumerate(rows):
        newcomer = entry(number, *row)
        again = DownlinkQueue(40, 100, kept, AGEING).offer([newcomer])
        assert whole.offer([newcomer]) == again
        kept = [e for e in [*kept, *again.accepted] if e not in again.evicted]


def test_an_illegal_call_changes_nothing() -> None:
    queue = DownlinkQueue(1000, 10, [entry(1), entry(2)])
    queue.take(1)
    before = (list(queue.waiting()), queue.size_bytes, len(queue), str(queue.counters))
    for call in (queue.acknowledge, queue.give_back):
        for wrong in (2, 7):
            with pytest.raises(AssertionError):
                call(wrong)
    for wrong in (1, 7):
        with pytest.raises(AssertionError):
            queue.take(wrong)
    with pytest.raises(AssertionError):
        queue.offer([entry(2)])
    assert (list(queue.waiting()), queue.size_bytes, len(queue), str(queue.counters)) == before
