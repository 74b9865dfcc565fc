"""The rules of core.limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.limits import SETTLED, Level, LimitWatch, level_of
from payload.core.telemetry import CHANNELS, Limits

CHANNEL = "budget_used_ratio"  # yellow above 0.95, red above 1


def told(watch: LimitWatch, values: list[float]) -> list[Level]:
    return [crossing.level for value in values for crossing in watch.check({CHANNEL: value})]


def test_rule_1_one_red_limit_is_one_event_however_long_it_lasts() -> None:
    watch = LimitWatch()
    assert told(watch, [0.5, 2.0, *[3.0] * 1000]) == [Level.RED]
    assert told(watch, [0.5] * 1000) == [Level.NORMAL]


def test_rule_1_getting_worse_is_told_at_once() -> None:
    assert told(LimitWatch(), [0.5, 0.96, 1.5]) == [Level.YELLOW, Level.RED]


@given(st.lists(st.booleans(), max_size=200))
def test_rule_2_a_value_that_flickers_is_told_once_and_not_each_time(flicker: list[bool]) -> None:
    watch = LimitWatch()
    found = told(watch, [1.5 if is_red else 0.5 for is_red in flicker])
    runs = "".join("r" if is_red else "." for is_red in flicker)
    assert found == found[:1] + [Level.NORMAL if before is Level.RED else Level.RED for before in found[:-1]]
    assert len(found) <= 1 + 2 * runs.count("." * SETTLED)


def test_rule_3_a_channel_without_a_value_is_neither_good_nor_bad() -> None:
    watch = LimitWatch()
    assert told(watch, [2.0]) == [Level.RED]
    assert [watch.check({}) for _ in range(100)] == [[]] * 100
    assert told(watch, [2.0]) == []  # it is still red


@pytest.mark.parametrize("channel", [c for c in CHANNELS if c.limits], ids=lambda c: c.name)
def test_the_limits_of_the_table_lie_inside_one_another(channel: object) -> None:
    limits: Limits = channel.limits  # type: ignore[attr-defined]
    order = [limits.red_low, limits.yellow_low, limits.yellow_high, limits.red_high]
    known = [bound for bound in order if bound is not None]
    assert known == sorted(known)
    middle = known[0] - 1 if limits.yellow_low is None and limits.red_low is None else known[-1]
    assert level_of(middle, limits) is Level.NORMAL or limits.yellow_high is not None
