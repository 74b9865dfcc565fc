"""The rules of core.slots, over all that can happen in any order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from payload.core import slots
from payload.core.slots import (
    TRANSITIONS,
    WRITABLE,
    Occurrence,
    Slot,
    SlotName,
    SlotRecord,
    SlotState,
    TrialLimits,
)

LIMITS = TrialLimits(tiles=3, faults=1, boots=2)
USABLE = (SlotState.GOOD, SlotState.TRIAL)


def new_slot(version: int) -> Slot:
    return Slot(
        package_sha256=f"{version:064x}",
        size_bytes=9,
        model=f"m{version}",
        version=version,
        rollback_index=version,
    )


def on_trial(record: SlotRecord, version: int) -> SlotRecord:
    name = record.idle
    record = slots.begun(record, new_slot(version))
    for occurrence in (Occurrence.WROTE, Occurrence.ANSWERED):
        record = slots.moved(record, name, occurrence)
    return slots.activated(record, name)


def confirmed(record: SlotRecord, version: int) -> SlotRecord:
    record = on_trial(record, version)
    while record.is_trial:
        record = slots.tile_done(record, True, LIMITS)
    return record


def check_laws(before: SlotRecord, after: SlotRecord) -> None:
    assert after.rollback_index >= before.rollback_index
    assert after.sequence > before.sequence or after is before
    assert after.active is SlotName.FACTORY or after.slots[after.active].state in USABLE
    assert after.last_good is SlotName.FACTORY or after.slots[after.last_good].state is SlotState.GOOD
    assert after.is_trial or after.active is after.last_good
    assert slots.read_record(slots.write_record(after)) == after


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("install"), st.integers(1, 9), st.integers(0, 4)),
        st.tuples(st.just("tile"), st.booleans()),
        st.tuples(st.just("boot"), st.sets(st.sampled_from(WRITABLE))),
    ),
    max_size=30,
)


def step(record: SlotRecord, kind: str, *what: object) -> list[SlotRecord]:
    """All records on the way."""
    if kind == "boot":
        intact = what[0]
        assert isinstance(intact, Collection)
        found = slots.booted(record, intact, LIMITS)
        return [found, slots.trial_started(found)] if found.is_trial else [found]
    if kind == "tile":
        return [slots.tile_done(record, bool(what[0]), LIMITS)] if record.is_trial else []
    if record.is_trial:
        return []
    version, stops = what
    assert isinstance(version, int)
    name = record.idle
    way = [slots.begun(record, new_slot(version))]
    for place, occurrence in enumerate((Occurrence.WROTE, Occurrence.ANSWERED)):
        if stops == place:
            return [*way, slots.moved(way[-1], name, Occurrence.REFUSED)]
        way.append(slots.moved(way[-1], name, occurrence))
    return way if stops == 3 else [*way, slots.activated(way[-1], name)]


LAST_GOOD_LOST_DURING_A_TRIAL = [
    *(("install", 1, 2), ("tile", True), ("tile", True), ("tile", True)),
    *(("install", 1, 2), ("boot", {SlotName.B})),
]


@settings(max_examples=300)
@given(STEPS)
@example(LAST_GOOD_LOST_DURING_A_TRIAL)
def test_whatever_happens_a_good_model_is_active(steps: list[tuple[object, ...]]) -> None:
    record = SlotRecord()
    for kind, *what in steps:
        active, last_good = record.active, record.last_good
        for after in step(record, str(kind), *what):
            check_laws(record, after)
            if kind == "install":
                for kept in {active, last_good} - {SlotName.FACTORY}:
                    assert after.slots[kept] == record.slots[kept], "rule 1"
            record = after


@given(st.integers(0, 2), st.integers(0, 1))
def test_rule_3_a_trial_ends_with_its_last_tile_and_not_before(good: int, bad: int) -> None:
    record = on_trial(SlotRecord(), 7)
    for is_good in [True] * good + [False] * bad:
        record = slots.tile_done(record, is_good, LIMITS)
        assert record.is_trial
        assert record.rollback_index == 0, "rule 5"
    for _ in range(3 - good):
        record = slots.tile_done(record, True, LIMITS)
    assert (record.active, record.last_good, record.rollback_index) == (SlotName.A, SlotName.A, 7)


def test_rule_3_too_many_bad_tiles_end_the_trial() -> None:
    record = slots.tile_done(on_trial(confirmed(SlotRecord(), 1), 2), False, LIMITS)
    assert record.is_trial
    record = slots.tile_done(record, False, LIMITS)
    assert (record.active, record.slots[SlotName.B].state) == (SlotName.A, SlotState.BAD)
    assert record.rollback_index == 1


def test_rule_3_starts_without_a_tile_end_the_trial() -> None:
    record = on_trial(SlotRecord(), 1)
    for _ in range(LIMITS.boots):
        record = slots.trial_started(slots.booted(record, [SlotName.A], LIMITS))
        assert record.is_trial
    with_a_tile = slots.tile_done(record, True, LIMITS)
    assert slots.booted(with_a_tile, [SlotName.A], LIMITS).is_trial
    assert slots.booted(record, [SlotName.A], LIMITS).active is SlotName.FACTORY


def test_rule_4_the_way_back_is_last_good_then_the_other_then_the_factory() -> None:
    both = confirmed(confirmed(SlotRecord(), 1), 2)
    assert both.active is SlotName.B
    assert slots.booted(both, [SlotName.A, SlotName.B], LIMITS) is both
    assert slots.booted(both, [SlotName.A], LIMITS).active is SlotName.A
    assert slots.booted(both, [], LIMITS).active is SlotName.FACTORY
    trial = on_trial(confirmed(SlotRecord(), 1), 2)
    assert slots.booted(trial, [SlotName.A], LIMITS).active is SlotName.A
    assert slots.reverted(trial).active is SlotName.A
    assert slots.reverted(on_trial(SlotRecord(), 1)).active is SlotName.FACTORY


def test_rule_6_a_damaged_record_is_none() -> None:
    content = slots.write_record(confirmed(SlotRecord(), 3))
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        assert slots.read_record(bytes(damaged)) is None
    for size in range(len(content)):
        assert slots.read_record(content[:size]) is None


def test_the_table_leads_from_every_state_back_to_writing_but_from_a_trial() -> None:
    for state in SlotState:
        assert ((state, Occurrence.BEGIN) in TRANSITIONS) == (state is not SlotState.TRIAL)
    for (state, occurrence), after in TRANSITIONS.items():
        if after is SlotState.TRIAL:
            assert (state, occurrence) == (SlotState.PROVEN, Occurrence.ACTIVATED), "rule 2"
        if after is SlotState.GOOD:
            assert (state, occurrence) == (SlotState.TRIAL, Occurrence.CONFIRMED)


@pytest.mark.parametrize("state", list(SlotState))
def test_what_is_not_in_the_table_cannot_happen(state: SlotState) -> None:
    record = SlotRecord()
    record = replace(record, slots={**record.slots, SlotName.A: Slot(state=state)})
    for occurrence in Occurrence:
        if (state, occurrence) not in TRANSITIONS:
            with pytest.raises(AssertionError):
                slots.moved(record, SlotName.A, occurrence)
