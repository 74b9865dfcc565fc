"""Writes docs/interfaces.md from the tables that the payload itself uses.

python -m tools.interfaces
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

from payload import errors
from payload.config import Config
from payload.config.yaml_walk import rules_of
from payload.core.refusals import MEANINGS
from payload.core.telemetry import CHANNELS, EVENTS, TEXT_MAX_CHARS
from payload.errors import PayloadError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "interfaces.md"

_HEAD = f"""\
# Interfaces

Written by `python -m tools.interfaces` from the payload's own tables; a test holds it current.

Ids and names are never reused: `tests/event_history.txt` remembers all that there ever were.

## telemetry.jsonl

One JSON document a line. A line is whole or absent, also after a power cut.

```
{{"utc_ns": 1800000000000000000, "record": "event", "event_id": 105, "event": "rows_damaged",
 "severity": "low", "count": 3, "parameters": {{"row": 480, "fault": "B02 tile 7: truncated"}}}}
{{"utc_ns": 1800000000000000000, "record": "channels", "values": {{"rows_read": 960}},
 "high_water": {{"queue_bytes": 81920}}, "counts": {{"rows_damaged": 3}}}}
```

`count` says how often the event has happened in this walk. Beyond its throttle an event is
counted, in `counts`, and no longer told. Text is one line of at most {TEXT_MAX_CHARS} characters.
"""


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join(
        [
            _HEAD,
            "## Events\n",
            *_table(
                ("id", "event", "severity", "throttle", "parameters", "meaning"),
                (
                    (e.event_id, e.name, e.severity.value, e.throttle, ", ".join(e.parameters), e.meaning)
                    for e in EVENTS
                ),
            ),
            "\n## Channels\n",
            *_table(
                ("id", "channel", "unit", "type", "high water", "meaning"),
                (
                    (c.channel_id, c.name, c.unit, c.kind.__name__, _yes(c.has_high_water), c.meaning)
                    for c in CHANNELS
                ),
            ),
            "\n## Exit codes\n",
            *_table(("code", "error", "event", "meaning"), _exit_codes()),
            "\n## Refusals of an update\n",
            *_table(
                ("code", "refusal", "meaning"),
                ((found.value, found.name.lower(), meaning) for found, meaning in MEANINGS.items()),
            ),
            "\n## Configuration keys\n",
            *_table(("key", "must be"), rules_of(Config)),
            "",
        ]
    )


def _exit_codes() -> list[tuple[object, ...]]:
    kinds = {
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PayloadError)
    }
    ordered = sorted(kinds, key=lambda kind: kind.exit_code)
    return [
        (kind.exit_code, kind.__name__, kind.event or "", (kind.__doc__ or "").splitlines()[0])
        for kind in ordered
    ]


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]


def _yes(flag: bool) -> str:
    return "yes" if flag else ""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
