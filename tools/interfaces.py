"""Writes docs/interfaces.md from the tables that the payload itself uses.

python -m tools.interfaces
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from payload import errors
from payload.config import Config, range_of
from payload.config.yaml_walk import rules_of
from payload.core.refusals import MEANINGS
from payload.core.reports import FAILURES, Report, every_report
from payload.core.settings import SETTINGS
from payload.core.telecommands import COMMANDS
from payload.core.telemetry import CHANNELS, EVENTS, STRUCTURES, TEXT_MAX_CHARS, Limits
from payload.core.wire import Field, Wire
from payload.errors import PayloadError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "interfaces.md"

_HEAD = f"""\
# Interfaces

Written by `python -m tools.interfaces` from the payload's own tables; a test holds it current.

Ids and names are never reused: `tests/event_history.txt` remembers all that there ever were.
How packets are built, tagged and scheduled: `docs/telemetry.md`. For the ground's own tools:
`payload dictionary --config YAML --xtce FILE`.

## telemetry.jsonl

One JSON document a line. A line is whole or absent, also after a power cut.

```
{{"utc_ns": 1800000000000000000, "record": "event", "event_id": 105, "event": "rows_damaged",
 "severity": "low", "count": 3, "parameters": {{"row": 480, "fault": "B02 tile 7: truncated"}}}}
{{"utc_ns": 1800000000000000000, "record": "channels", "values": {{"rows_read": 960}},
 "high_water": {{"queue_bytes": 81920}}, "counts": {{"rows_damaged": 3}}}}
```

`count` says how often the event has happened in this walk. Beyond its throttle an event is
counted, in `counts`, and no longer told, in `payload fly` until a minute has passed. Text is
one line of at most {TEXT_MAX_CHARS} characters.
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
                ("id", "channel", "unit", "type", "high water", "limits", "meaning"),
                (
                    (
                        c.channel_id,
                        c.name,
                        c.unit,
                        c.wire.value,
                        _yes(c.has_high_water),
                        _limits(c.limits),
                        c.meaning,
                    )
                    for c in CHANNELS
                ),
            ),
            *_packets(),
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


def _packets() -> Iterator[str]:
    """Everything that goes over the link, from the tables that make the packets."""
    yield "\n## Housekeeping structures\n"
    yield from _table(
        ("id", "structure", "every", "channels"),
        ((s.structure_id, s.name, f"{s.period} intervals", ", ".join(s.channels)) for s in STRUCTURES),
    )
    yield "\n## Telemetry packets\n"
    yield "Housekeeping and events have the fields of the tables above, behind those named here.\n"
    yield from _table(
        ("service", "packet", "fields", "meaning"),
        ((f"({r.service}, {r.subtype})", r.name, _fields(r.fields), r.meaning) for r in _plain_reports()),
    )
    yield "\n## Telecommands\n"
    yield from _table(
        ("service", "command", "arguments", "meaning"),
        (
            (
                f"({c.service}, {c.subtype})",
                c.name,
                ("n x " if c.repeats else "") + _fields(c.fields, c.fixed),
                c.meaning,
            )
            for c in COMMANDS
        ),
    )
    yield "\n## Failure codes of service 1\n"
    yield from _table(("code", "failure"), FAILURES.items())
    yield "\n## Parameters of service 20\n"
    yield from _table(
        ("id", "parameter", "range", "meaning"),
        ((s.parameter_id, s.key, range_of(s.key), s.meaning) for s in SETTINGS),
    )


def _plain_reports() -> Iterator[Report]:
    """All kinds but the many events and structures, of which one line tells enough."""
    yield from (r for r in every_report() if not r.name.startswith(("event_", "housekeeping_")))
    yield Report("housekeeping_NAME", 3, 25, (Field("structure_id", Wire.U8),), "the channels of a structure")
    head = (Field("event_id", Wire.U16), Field("count", Wire.U32))
    yield Report("event_NAME", 5, 1, head, "subtypes 1 to 4: info, low, medium, high")


def _fields(fields: Iterable[Field], fixed: Mapping[str, int] | None = None) -> str:
    known = fixed or {}
    return ", ".join(
        f"{f.name} {f.wire.value}" + (f" = {known[f.name]}" if f.name in known else "") for f in fields
    )


def _limits(limits: Limits | None) -> str:
    if limits is None:
        return ""
    sides = (("red", limits.red_low, limits.red_high), ("yellow", limits.yellow_low, limits.yellow_high))
    words = []
    for name, low, high in sides:
        words += [f"{name} below {low:g}"] if low is not None else []
        words += [f"{name} above {high:g}"] if high is not None else []
    return ", ".join(words)


def _exit_codes() -> list[tuple[object, ...]]:
    kinds = {
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PayloadError)
    }
    rows: list[tuple[int, str, str, str]] = [
        (kind.exit_code, kind.__name__, kind.event or "", (kind.__doc__ or "").splitlines()[0])
        for kind in kinds
    ]
    done = (0, "", "", "Done.")
    full = (errors.NO_SPACE, "StoreError", "store_error", "The disk is full; what was stored stays.")
    interrupted = (errors.INTERRUPTED, "", "", "Ctrl-C; the same command goes on from there.")
    return sorted([done, *rows, full, interrupted])


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
