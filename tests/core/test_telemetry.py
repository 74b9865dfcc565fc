"""The rules of core.telemetry, and its tables."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.telemetry import CHANNELS, EVENTS, TEXT_MAX_CHARS, Event, Telemetry
from payload.core.telemetry.kinds import Severity

NOON_UTC_NS = 1_800_000_000_000_000_000
UNITS = ("_bytes", "_px", "_m", "_s", "_ns", "_hz", "_deg", "_dn", "_ratio", "_bit_s")


def example_parameters(event: Event) -> dict[str, int]:
    return dict.fromkeys(event.parameters, 1)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_rule_1_every_event_of_the_table_can_be_told(event: Event) -> None:
    telemetry = Telemetry()
    telemetry.event(event.name, **example_parameters(event))
    (record,) = telemetry.take_events(NOON_UTC_NS)
    assert record == {
        "utc_ns": NOON_UTC_NS,
        "record": "event",
        "event_id": event.event_id,
        "event": event.name,
        "severity": event.severity.value,
        "count": 1,
        "parameters": example_parameters(event),
    }


def test_rule_1_what_is_in_no_table_is_a_mistake_that_changes_nothing() -> None:
    telemetry = Telemetry()
    with pytest.raises(KeyError):
        telemetry.event("sun_exploded")
    with pytest.raises(KeyError):
        telemetry.set("mood", 1)
    with pytest.raises(AssertionError):
        telemetry.event("rows_short", line=3)
    with pytest.raises(AssertionError):
        telemetry.set("cpu_s", float("nan"))
    assert telemetry.counts == {}
    assert telemetry.take_events(NOON_UTC_NS) == []
    assert telemetry.sample(NOON_UTC_NS)["values"] == {}


def test_rule_2_no_id_or_name_stands_twice() -> None:
    for table in ([(e.event_id, e.name) for e in EVENTS], [(c.channel_id, c.name) for c in CHANNELS]):
        assert len({number for number, _ in table}) == len({name for _, name in table}) == len(table)


@given(times=st.integers(min_value=0, max_value=200))
def test_rule_3_every_event_is_counted_and_told_only_within_its_throttle(times: int) -> None:
    telemetry = Telemetry()
    throttle = next(event.throttle for event in EVENTS if event.name == "rows_damaged")
    told = []
    for row in range(times):
        telemetry.event("rows_damaged", row=6 * row, fault="line lost")
        if row % 7 == 0:
            told += telemetry.take_events(NOON_UTC_NS)
    told += telemetry.take_events(NOON_UTC_NS)
    assert len(told) == min(times, throttle)
    assert telemetry.counts == ({"rows_damaged": times} if times else {})


def test_rule_3_text_is_one_line_of_bounded_length() -> None:
    telemetry = Telemetry()
    telemetry.event("strip_refused", reason="no\nstrip " + "x" * 1000)
    (record,) = telemetry.take_events(NOON_UTC_NS)
    parameters = record["parameters"]
    assert isinstance(parameters, dict)
    assert parameters["reason"].startswith("no strip xxx")
    assert len(parameters["reason"]) == TEXT_MAX_CHARS


@given(values=st.lists(st.integers(min_value=0, max_value=1 << 40), min_size=1))
def test_rule_4_a_high_water_mark_is_the_highest_value(values: list[int]) -> None:
    telemetry = Telemetry()
    for value in values:
        telemetry.set("queue_bytes", value)
        telemetry.set("rows_read", value)
    assert telemetry.high_water == {"queue_bytes": max(values)}
    assert telemetry.sample(NOON_UTC_NS)["values"] == {"rows_read": values[-1], "queue_bytes": values[-1]}


@given(names=st.lists(st.sampled_from(["tile_no_data", "tile_without_surface", "engine_lost"]), max_size=12))
def test_rule_5_records_come_once_in_the_order_of_what_happened(names: list[str]) -> None:
    parameters = {event.name: example_parameters(event) for event in EVENTS}
    telemetry = Telemetry()
    for name in names:
        telemetry.event(name, **parameters[name])
    first = telemetry.take_events(NOON_UTC_NS)
    throttles = {event.name: event.throttle for event in EVENTS}
    expected = [name for place, name in enumerate(names) if names[:place].count(name) < throttles[name]]
    assert [record["event"] for record in first] == expected
    assert {record["utc_ns"] for record in first} <= {NOON_UTC_NS}
    assert telemetry.take_events(NOON_UTC_NS + 1) == []


def test_a_channel_that_is_added_to_starts_at_zero() -> None:
    telemetry = Telemetry()
    telemetry.add("evicted_products")
    telemetry.add("evicted_products")
    telemetry.add("evicted_bytes", 500)
    assert telemetry.sample(NOON_UTC_NS)["values"] == {"evicted_products": 2, "evicted_bytes": 500}


def test_every_record_is_plain_json() -> None:
    telemetry = Telemetry()
    for event in EVENTS:
        telemetry.event(event.name, **dict.fromkeys(event.parameters, "text"))
    for channel in CHANNELS:
        telemetry.set(channel.name, 1.5)
    records = [*telemetry.take_events(NOON_UTC_NS), telemetry.sample(NOON_UTC_NS)]
    assert json.loads(json.dumps(records, allow_nan=False)) == records


def test_a_sample_says_how_often_each_event_happened() -> None:
    telemetry = Telemetry()
    for tile in range(9):
        telemetry.event("tile_no_data", tile=tile)
    assert telemetry.sample(NOON_UTC_NS)["counts"] == {"tile_no_data": 9}


def test_channels_in_bytes_seconds_and_hertz_say_so_in_their_name() -> None:
    for channel in CHANNELS:
        suffix = {"bytes": "_bytes", "s": "_s", "Hz": "_hz", "degC": "_degc", "ratio": "_ratio"}.get(
            channel.unit
        )
        assert suffix is None or channel.name.endswith(suffix), channel
        assert suffix is not None or not channel.name.endswith(UNITS), channel


def test_an_event_that_ends_the_work_is_of_high_severity() -> None:
    ends = {"strip_refused", "store_error", "config_refused", "budget_refused", "model_refused"}
    assert {event.name for event in EVENTS if event.severity is Severity.HIGH} >= ends
