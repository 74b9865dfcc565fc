"""Instants as text: what a person, a contact plan or a product's metadata may write.

One form, that of RFC 3339 without its variants, whatever the Python: YYYY-MM-DDTHH:MM:SS, then if
wanted a point and 1 to 9 digits of a second, then the zone, Z for UTC or as +05:30. No leap second.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)
_NS_PER_S = 1_000_000_000


def utc_ns_of(text: str) -> int:
    """Nanoseconds since the Unix epoch.

    Raises:
        ValueError: ``text`` is of another form, or there is no such day or time.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        if _FORM.fullmatch(f"{text}Z"):
            raise ValueError(f"{text}: of which zone? UTC is {text}Z")
        raise ValueError(f"{text!r} is no time; it must look like 2026-12-01T12:00:00Z")
    *clock, fraction, sign, hours, minutes = found.groups()
    try:
        year, month, day, hour, minute, second = map(int, clock)
        local = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        raise ValueError(f"{text}: there is no such day or time") from None
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    since = local - _EPOCH + (ahead if sign == "-" else -ahead)
    return since // _SECOND * _NS_PER_S + int((fraction or "").ljust(9, "0"))
