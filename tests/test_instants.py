"""The one form in which instants are read, judged by numpy's own reader."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.config.contact_plan import parse_contact_plan
from payload.errors import ConfigError
from payload.instants import utc_ns_of
from tools.command import packet_of

WRONG = [
    "",
    "noon",
    "2026-12-01",
    "20261201T120000Z",
    "2026-W49-2T12:00:00Z",
    "2026-12-01 12:00:00Z",
    "2026-12-01t12:00:00z",
    "2026-12-01T12:00Z",
    "2026-12-01T12Z",
    "2026-12-01T12:00:00,5Z",
    "2026-12-01T12:00:00.Z",
    "2026-12-01T12:00:00.0123456789Z",
    "2026-12-01T12:00:00+0530",
    "2026-12-01T12:00:00+05",
    "2026-12-01T12:00:00+24:00",
    "2026-12-01T12:00:00+05:00Z",
    "2026-12-01T12:00:00Z\n",
    "2026-12-01T12:00:00",
    "2026-02-30T12:00:00Z",
    "2026-12-01T24:00:00Z",
    "2026-12-31T23:59:60Z",
    "٢٠٢٦-12-01T12:00:00Z",
]


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda one: one.replace(microsecond=0)),
    st.text("0123456789", max_size=9),
    st.sampled_from(["Z", "+00:00", "-00:00"]) | st.from_regex(r"\A[+-]([01][0-9]|2[0-3]):[0-5][0-9]\Z"),
)
def test_an_instant_is_read_to_the_nanosecond_whatever_its_zone(
    local: datetime, fraction: str, zone: str
) -> None:
    clock = local.isoformat() + (f".{fraction}" if fraction else "")
    ahead_minutes = 0 if zone == "Z" else int(zone[1:3]) * 60 + int(zone[4:])
    ahead = np.timedelta64(-ahead_minutes if zone[0] == "-" else ahead_minutes, "m")
    expected = np.datetime64(clock, "ns") - ahead
    assert utc_ns_of(clock + zone) == int(expected.astype(np.int64))


@pytest.mark.parametrize("text", WRONG)
def test_what_has_another_form_or_is_no_time_is_refused_wherever_it_is_given(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|which zone|no such day or time"):
        utc_ns_of(text)
    with pytest.raises(ValueError, match=r"no time|which zone|no such day or time"):
        packet_of(["at", text, "stop_imaging"], bytes(32), 100, 5, 6)
    plan = f"contacts: [{{start_utc: {text!r}, duration_s: 9.0, rate_bit_s: 2e6, overhead_ratio: 0.1}}]"
    with pytest.raises(ConfigError, match="start_utc"):
        parse_contact_plan(plan, "plan")
