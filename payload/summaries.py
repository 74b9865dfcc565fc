"""What a person reads of a command's result, and what a program does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from payload.contact import ContactReport
from payload.report import LOG_FILE, PICTURE_FILE, REPORT_FILE
from payload.terminal import table
from payload.types import MemoryPlan, QueueEntry

_MEBIBYTE = 1 << 20


def plan_facts(found: MemoryPlan) -> dict[str, object]:
    """The plan for a program."""
    return {
        **asdict(found),
        "total_bytes": found.total_bytes,
        "worst_term": found.worst.name,
        "fits": found.fits,
    }


def plan_table(found: MemoryPlan, config: Path) -> str:
    """The plan term by term; ``config`` is where the budget comes from."""
    rows: list[tuple[str, ...]] = [("term", "MiB", "bytes", "because")]
    for term in found.terms:
        rows.append((term.name, _mib(term.planned_bytes), str(term.planned_bytes), term.why))
    rows.append(("total", _mib(found.total_bytes), str(found.total_bytes), f"{found.slots} tiles in flight"))
    rows.append(("budget", _mib(found.budget_bytes), str(found.budget_bytes), str(config)))
    return table(rows, numeric=(1, 2))


def run_summary(report: Mapping[str, object], out: Path, queue_path: Path) -> str:
    """What ``run.json`` says, in a few lines; ``out`` is the folder that it is in."""
    scene, queue = report["scene"], report["queue"]
    assert isinstance(scene, dict)
    assert isinstance(queue, dict)
    lines = [
        f"{report['strip_id']}: {report['tiles_done']} of {report['tiles']} tiles, "
        f"{report['tiles_no_data']} without data, {report['tiles_without_surface']} too cloudy to correct"
    ]
    if report["damaged_rows"]:
        lines.append(
            f"{report['damaged_rows']} of {report['rows']} rows are damaged or missing: what they lack is "
            f"no data; {LOG_FILE} has the first faults"
        )
    lines += [
        f"clear {scene['clear_ratio']:.1%}, thick cloud {scene['thick_cloud_ratio']:.1%}, "
        f"thin cloud {scene['thin_cloud_ratio']:.1%}, cloud shadow {scene['cloud_shadow_ratio']:.1%}",
        f"{report['wall_s']:.1f} s, {report['cpu_s']:.1f} s of processor; peak memory "
        f"{_mib(report['peak_bytes'])} of {_mib(report['planned_bytes'])} MiB planned, "
        f"{_mib(report['budget_bytes'])} allowed",
    ]
    if queue["evicted_entries"]:
        lines.append(
            f"{queue['evicted_entries']} products with {queue['evicted_bytes']} bytes have lost their place "
            f"in the queue since it was made; {queue['entries']} wait with {queue['bytes']} bytes"
        )
    if (out / PICTURE_FILE).exists():
        lines.append(f"{out / PICTURE_FILE}: true colour, classes, surface reflectance")
    lines.append(f"{out / REPORT_FILE}, {queue_path}, {out / LOG_FILE}")
    return "\n".join(lines)


def contact_summary(found: ContactReport, to: Path) -> str:
    """What a pass brought down to ``to``, and what it did not."""
    line = (
        f"{len(found.sent)} products, {found.sent_bytes} bytes, are in {to}; "
        f"{found.waiting_entries} wait with {found.waiting_bytes} bytes; "
        f"{found.idle_bytes} bytes of the pass were left"
    )
    if not found.damaged:
        return line
    return f"{line}\n{len(found.damaged)} damaged in the queue and dropped: {', '.join(found.damaged)}"


def entry_facts(entry: QueueEntry) -> dict[str, object]:
    """What waits, for a program."""
    return {**asdict(entry), "kind": entry.kind.value, "value_per_byte": entry.value / entry.size_bytes}


def queue_table(shown: Sequence[QueueEntry]) -> str:
    """What waits, in its order."""
    rows: list[tuple[str, ...]] = [("#", "product", "bytes", "value", "value/MiB", "reason")]
    for place, entry in enumerate(shown, start=1):
        per_mib = entry.value / entry.size_bytes * _MEBIBYTE
        rows.append(
            (
                str(place),
                entry.product_id,
                str(entry.size_bytes),
                f"{entry.value:.3f}",
                f"{per_mib:.1f}",
                entry.reason,
            )
        )
    return table(rows, numeric=(0, 2, 3, 4))


def _mib(size_bytes: object) -> str:
    assert isinstance(size_bytes, int)
    return f"{size_bytes / _MEBIBYTE:.1f}"
