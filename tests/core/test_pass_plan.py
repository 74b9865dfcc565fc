"""Rules of `payload.core.pass_plan`; how close to its bounds: tests/tools/test_downlink.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.config import AgeingConfig
from payload.core.pass_plan import LAYER_OF_KIND, LUMP_RATIO, Fitting, aged, fitting, plan_pass
from payload.types import ProductKind, QueueEntry

AGEING = AgeingConfig(decay_s=1000.0, deadline_s=5000.0)
NS_PER_S = 1_000_000_000


def entry(
    entry_id: int,
    size_bytes: int = 100,
    value: float = 1.0,
    tile: int | None = None,
    kind: ProductKind = ProductKind.CLASSES,
    made_ns: int = 0,
) -> QueueEntry:
    name = f"S.{entry_id if tile is None else tile:05d}.{kind.value}"
    return QueueEntry(entry_id, name, kind, size_bytes, value, made_ns, "why")


waitings = st.lists(
    st.tuples(
        st.integers(1, 50),
        st.sampled_from([0.0, 1.0, 2.0, 7.0]),
        st.integers(0, 3),
        st.sampled_from(list(ProductKind)),
        st.integers(0, 2),
    ),
    max_size=14,
    unique_by=lambda row: (row[2], row[3]),
).map(lambda rows: [entry(number, *row) for number, row in enumerate(rows)])


def test_a_product_fades_with_age_and_past_its_deadline_is_worth_nothing() -> None:
    young = entry(1, value=8.0, made_ns=10 * NS_PER_S)
    assert aged(young, 10 * NS_PER_S, AGEING).value == 8.0
    assert aged(young, 1010 * NS_PER_S, AGEING).value == pytest.approx(8.0 / math.e)
    assert aged(young, 5011 * NS_PER_S, AGEING).value == 0.0
    assert aged(young, 0, AGEING).value == 8.0  # the clock runs backwards: not older than new


@given(waitings, st.integers(0, 400))
def test_all_that_waits_is_in_the_order_once(waiting: list[QueueEntry], capacity: int) -> None:
    assert sorted(plan_pass(waiting, capacity), key=lambda e: e.entry_id) == waiting


@given(waitings, st.integers(1, 400), st.randoms(use_true_random=False))
def test_a_replay_gives_the_same_order(waiting: list[QueueEntry], capacity: int, shuffle: object) -> None:
    other = list(waiting)
    shuffle.shuffle(other)  # type: ignore[attr-defined]
    assert plan_pass(other, capacity) == plan_pass(waiting, capacity)


@given(waitings, st.integers(0, 400))
def test_of_one_tile_the_first_look_goes_before_the_detail(waiting: list[QueueEntry], capacity: int) -> None:
    seen: dict[str, int] = {}
    for one in plan_pass(waiting, capacity):
        tile, layer = one.product_id.rpartition(".")[0], LAYER_OF_KIND[one.kind]
        assert layer >= seen.get(tile, 0)
        seen[tile] = layer


def test_a_dear_detail_pulls_its_cheap_first_look_forward() -> None:
    look = entry(1, 100, 1.0, tile=1, kind=ProductKind.QUICKLOOK)
    detail = entry(2, 100, 9.0, tile=1, kind=ProductKind.SURFACE_10M)
    between = entry(3, 100, 4.0, tile=2)
    dearer = entry(4, 100, 6.0, tile=3)
    order = plan_pass([between, detail, look, dearer], 10_000)
    assert [e.entry_id for e in order] == [4, 1, 2, 3]  # 6, then (1 + 9) / 2, then 4


def test_the_order_is_value_per_byte_then_oldest_then_lowest_id() -> None:
    waiting = [entry(1, 100, 1.0, made_ns=5), entry(2, 10, 1.0), entry(3, 100, 1.0), entry(4, 200, 2.0)]
    assert [e.entry_id for e in plan_pass(waiting, 10_000)] == [2, 3, 4, 1]


def best_by_trying(waiting: list[QueueEntry], capacity: int) -> float:
    return max(
        sum(e.value for e in some)
        for count in range(len(waiting) + 1)
        for some in combinations(waiting, count)
        if sum(e.size_bytes for e in some) <= capacity
    )


@given(
    st.lists(st.tuples(st.integers(200, 6000), st.integers(1, 100)), min_size=1, max_size=9),
    st.integers(300, 9000),
)
@settings(deadline=None)
def test_large_products_are_chosen_as_a_knapsack(rows: list[tuple[int, int]], capacity: int) -> None:
    waiting = [entry(number, size, float(value)) for number, (size, value) in enumerate(rows)]
    sent = fitting(plan_pass(waiting, capacity), capacity)
    # Sizes may be rounded up to buckets: as good as the best of a pass shorter by one each.
    best = best_by_trying(waiting, capacity - len(waiting) * math.ceil(capacity / 4000))
    assert sum(e.value for e in sent) >= best - 1e-9


def test_small_products_fill_what_the_large_ones_leave() -> None:
    large = [entry(n, 4000, 40.0) for n in range(3)]
    small = [entry(10 + n, 100, 1.0 + n / 1000) for n in range(40)]
    sent = fitting(plan_pass(large + small, 9000), 9000)
    assert sum(e.size_bytes for e in sent) == 9000
    assert sum(e.entry_id < 10 for e in sent) == 2
    assert 100 < LUMP_RATIO * 9000 < 4000


def value_of(entries: list[QueueEntry]) -> float:
    return math.fsum(e.value for e in entries)


def carried(waiting: list[QueueEntry], capacity: int) -> float:
    return value_of(fitting(plan_pass(waiting, capacity), capacity))


def carried_by_density(waiting: list[QueueEntry], capacity: int) -> float:
    """By value per byte alone: that is how all would go if one pass carried it all."""
    by_density = plan_pass(waiting, sum(e.size_bytes for e in waiting))
    return value_of(fitting(by_density, capacity))


@given(waitings, st.integers(0, 400))
@settings(max_examples=300)
def test_a_pass_is_never_worth_less_than_by_value_per_byte_alone(
    waiting: list[QueueEntry], capacity: int
) -> None:
    assert carried(waiting, capacity) >= carried_by_density(waiting, capacity)


@pytest.mark.parametrize("capacity", [50_000, 192_000, 600_000])
def test_tiles_beyond_the_table_of_the_knapsack_take_part(capacity: int) -> None:
    kinds = ((ProductKind.STATISTICS, 168, 10.0), (ProductKind.QUICKLOOK, 3500, 5.0))
    waiting = [
        entry(3 * tile + place, size, value, tile, kind)
        for tile in range(1300)
        for place, (kind, size, value) in enumerate((*kinds, (ProductKind.CLASSES, 13_000 + tile, 19.0)))
    ]
    cheap = [entry(10_000 + n, 100, 0.01, 9_000 + n) for n in range(5_000)]
    assert LUMP_RATIO * capacity < 13_000
    sent = fitting(plan_pass(waiting + cheap, capacity), capacity)
    assert sum(e.kind is ProductKind.STATISTICS for e in sent) == min(1300, capacity // 168)
    assert carried(waiting + cheap, capacity) >= carried_by_density(waiting + cheap, capacity)


@given(waitings, st.integers(0, 400))
def test_what_is_left_does_not_fit_or_belongs_behind_what_does_not(
    waiting: list[QueueEntry], capacity: int
) -> None:
    sent = fitting(plan_pass(waiting, capacity), capacity)
    left = [e for e in waiting if e not in sent]
    room = capacity - sum(e.size_bytes for e in sent)
    assert room >= 0
    for one in left:
        before = [
            e
            for e in left
            if e.product_id.rpartition(".")[0] == one.product_id.rpartition(".")[0]
            and LAYER_OF_KIND[e.kind] < LAYER_OF_KIND[one.kind]
        ]
        assert one.size_bytes > room or before


def test_a_product_too_large_for_a_pass_does_not_keep_its_own_layer() -> None:
    waiting = [
        entry(1, 594_462, 100.0, 1, ProductKind.SURFACE_10M),
        entry(2, 263_782, 20.0, 1, ProductKind.SURFACE_20M),
        entry(3, 11_348, 1.0, 1, ProductKind.SURFACE_60M),
    ]
    assert [e.entry_id for e in fitting(plan_pass(waiting, 300_000), 300_000)] == [3, 2]


def test_sizes_with_a_common_unit_fill_a_pass_to_the_last_byte() -> None:
    rows = [(300_100, 31.0), (200_000, 20.0), (150_000, 15.0), (149_900, 14.9)]
    waiting = [entry(number, *row) for number, row in enumerate(rows)]
    assert 350_000 / 4000 % 1  # no whole buckets
    sent = fitting(plan_pass(waiting, 350_000), 350_000)
    assert sorted(e.size_bytes for e in sent) == [150_000, 200_000]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 3, 7, 10, 33, 99, 4004]),
            st.sampled_from([0.1, 0.3, 1 / 3, 0.7, 1e9, 1e-9]),
            st.sampled_from(list(ProductKind)),
        ),
        min_size=2,
        max_size=6,
        unique_by=lambda row: row[2],
    ),
    st.floats(0.0, 1.2),
    st.randoms(use_true_random=False),
)
@settings(max_examples=500)
def test_layers_are_kept_where_values_per_byte_are_equal_but_for_rounding(
    rows: list[tuple[int, float, ProductKind]], part: float, shuffle: object
) -> None:
    ids = list(range(len(rows)))
    shuffle.shuffle(ids)  # type: ignore[attr-defined]
    waiting = [
        entry(number, size, density * size, 1, kind)
        for number, (size, density, kind) in zip(ids, rows, strict=True)
    ]
    order = plan_pass(waiting, int(part * sum(e.size_bytes for e in waiting)))
    layers = [LAYER_OF_KIND[e.kind] for e in order]
    assert layers == sorted(layers)


def test_a_whole_contact_looks_at_each_entry_once() -> None:
    looked = [0]

    def watched() -> Iterator[QueueEntry]:
        for one in [entry(n, 10_000) for n in range(2_000)] + [entry(9_000 + n, 2) for n in range(200)]:
            looked[0] += 1
            yield one

    going, room = Fitting(watched()), 9_999
    while (found := going.next(room)) is not None:
        assert found.size_bytes == 2
        room -= 2
    assert room == 9_999 - 400
    assert looked[0] == 2_200


def test_of_a_tile_nothing_goes_whose_earlier_layer_did_not_fit() -> None:
    look = entry(1, 500, 9.0, tile=1, kind=ProductKind.QUICKLOOK)
    detail = entry(2, 100, 1.0, tile=1, kind=ProductKind.RAW)
    other = entry(3, 100, 0.1, tile=2, kind=ProductKind.RAW)
    assert fitting([look, detail, other], 300) == [other]
