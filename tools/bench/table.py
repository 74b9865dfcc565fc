"""Samples of a campaign to one table: medians, ratios, text and JSON.

Rules:
    a row is the median of its rounds, for each column by itself
    a ratio is taken between medians of processor time
    a goal that was missed is printed as missed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

HEADLINE = (
    "dtacsnet_torch_fp32",
    "dtacsnet_openvino_int8",
    "skysift_raw",
    "skysift_jp2",
    "skysift_networks_only",
)
EXTRA = (
    "dtacsnet_torch_fp32_with_outputs",
    "dtacsnet_torch_fp32_2_threads",
    "dtacsnet_openvino_int8_2_threads",
    "skysift_networks_only_no_halo",
)
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one row, scaled to a full tile; ``scale`` is what it was multiplied by."""

    name: str
    cpu_s: float
    wall_s: float
    peak_bytes: int
    scale: float


@dataclass(frozen=True, slots=True)
class Row:
    """The median of the rounds of one row."""

    name: str
    cpu_s_full_tile: float
    wall_s_full_tile: float
    peak_bytes: int
    scale: float
    rounds: int
    cpu_s_spread: float
    """Largest less smallest processor time of the rounds, s."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """One ratio of processor times, with what it must and should reach."""

    name: str
    value: float
    must: str
    aim: str
    is_met: bool
    is_aim_met: bool


def make_rows(samples: Sequence[Sample]) -> list[Row]:
    """The rows that were measured, in the order of the table."""
    rows = []
    for name in HEADLINE + EXTRA:
        rounds = [sample for sample in samples if sample.name == name]
        if not rounds:
            continue
        cpu_s = [sample.cpu_s for sample in rounds]
        rows.append(
            Row(
                name=name,
                cpu_s_full_tile=median(cpu_s),
                wall_s_full_tile=median(sample.wall_s for sample in rounds),
                peak_bytes=int(median(sample.peak_bytes for sample in rounds)),
                scale=rounds[0].scale,
                rounds=len(rounds),
                cpu_s_spread=max(cpu_s) - min(cpu_s),
            )
        )
    return rows


def make_ratios(rows: Sequence[Row]) -> list[Ratio]:
    """The two ratios with a goal, where both their rows were measured."""
    cpu_s = {row.name: row.cpu_s_full_tile for row in rows}
    ratios = []
    if {"dtacsnet_torch_fp32", "skysift_raw"} <= cpu_s.keys():
        value = cpu_s["dtacsnet_torch_fp32"] / cpu_s["skysift_raw"]
        ratios.append(
            Ratio("dtacsnet_torch_fp32 / skysift_raw", value, ">= 15", ">= 25", value >= 15, value >= 25)
        )
    if {"skysift_raw", "skysift_networks_only"} <= cpu_s.keys():
        value = cpu_s["skysift_raw"] / cpu_s["skysift_networks_only"]
        ratios.append(
            Ratio(
                "skysift_raw / skysift_networks_only", value, "<= 1.3", "<= 1.15", value <= 1.3, value <= 1.15
            )
        )
    return ratios


def format_table(rows: Sequence[Row], ratios: Sequence[Ratio], notes: Sequence[str]) -> str:
    """The table as text, its ratios and its footnotes below."""
    lines = [
        "full tile of 10980 x 10980 px, 13 bands",
        f"{'':34}{'CPU s':>9}{'wall s':>9}{'peak MiB':>10}{'rounds':>8}{'spread s':>10}{'scaled by':>11}",
    ]
    for group in (HEADLINE, EXTRA):
        lines += [_line(row) for row in rows if row.name in group]
        lines.append("")
    for ratio in ratios:
        verdict = "met" if ratio.is_met else "MISSED"
        aim = "met" if ratio.is_aim_met else "not met"
        lines.append(
            f"{ratio.name:38}{ratio.value:7.2f}   must {ratio.must}: {verdict}; aim {ratio.aim}: {aim}"
        )
    return "\n".join([*lines, "", *notes])


def _line(row: Row) -> str:
    return (
        f"{row.name:34}{row.cpu_s_full_tile:9.2f}{row.wall_s_full_tile:9.2f}"
        f"{row.peak_bytes / _MEBIBYTE:10.1f}{row.rounds:8d}{row.cpu_s_spread:10.2f}{row.scale:11.2f}"
    )


def to_document(rows: Sequence[Row], ratios: Sequence[Ratio], run: Mapping[str, object]) -> dict[str, object]:
    """What goes into bench.json: the rows, the ratios, and how and where they were measured."""
    return {
        "rows": [asdict(row) for row in rows],
        "ratios": [asdict(ratio) for ratio in ratios],
        **run,
    }
