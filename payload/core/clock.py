"""Whether a time can be right."""

from __future__ import annotations

_TIME_SET_FROM_UTC_NS = 1_577_836_800_000_000_000
"""2020-01-01: a clock before that has not been set since the board got its power."""


def is_time_set(utc_ns: int) -> bool:
    """Whether the clock can be right."""
    return utc_ns >= _TIME_SET_FROM_UTC_NS
