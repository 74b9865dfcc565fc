"""Weights are looked after while a strip is under way."""

from __future__ import annotations

from payload.scrubbing import Scrubbing
from tests.on_board import ToldClock


def test_a_round_is_made_whenever_its_period_has_passed() -> None:
    clock, rounds = ToldClock(), []
    scrubbing = Scrubbing(600.0, clock, lambda: rounds.append(clock.mono))
    for _ in range(200):
        clock.passes(10.0)
        scrubbing.poll()
    assert rounds == [600_000_000_000, 1_200_000_000_000, 1_800_000_000_000]
