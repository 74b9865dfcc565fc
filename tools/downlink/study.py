"""One instance after another: what each way of choosing brought down, as part of the bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tools.downlink.bounds import integer_bound, linear_bound
from tools.downlink.instances import dense, half_cloudy, layered, lumpy, many_tiles
from tools.downlink.policies import OURS, cloud_filter, first_come, play

NOISE = 0.3
"""Standard deviation of the logarithm of estimated over true value."""

LUMPY_LEAST = 0.98
CLOUDY_GAIN = 1.9

THRESHOLDS = (0.3, 0.5, 0.7)
"""Cloud cover above which the filter drops a tile."""

FAMILIES = {
    "dense": dense,
    "layered": layered,
    "lumpy": lumpy,
    "half cloudy": half_cloudy,
    "many tiles": many_tiles,
}


@dataclass(frozen=True)
class Row:
    """Values as parts of the bound: of the linear programme, or for lumpy of the integer one.

    ``filtered`` is the best of the cloud filters, None where nothing has cloud.
    """

    family: str
    seed: int
    ours: float
    noisy: float
    fifo: float
    filtered: float | None
    idle_bytes: int

    def facts(self) -> dict[str, object]:
        return asdict(self)


def study(family: str, seed: int) -> Row:
    """One instance: deterministic, but for the solver's time limit on lumpy ones."""
    instance = FAMILIES[family](seed)
    bound = integer_bound(instance) if family == "lumpy" else linear_bound(instance)
    ours = play(instance, OURS)
    filtered = None
    if any(instance.cloud_ratio):
        filtered = max(play(instance, cloud_filter(instance, limit)).value for limit in THRESHOLDS) / bound
    return Row(
        family,
        seed,
        ours.value / bound,
        play(instance, OURS, NOISE, seed).value / bound,
        play(instance, first_come).value / bound,
        filtered,
        ours.idle_bytes,
    )


def table(rows: Sequence[Row]) -> str:
    """The table of docs/downlink.md, in Markdown."""
    lines = [
        "| instances | bound | ours: mean, least | noisy estimates: mean, least | FIFO | best cloud filter "
        "| ours / FIFO: mean, least | idle bytes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        of = [row for row in rows if row.family == family]
        ours, noisy, fifo = (
            np.array([getattr(row, name) for row in of]) for name in ("ours", "noisy", "fifo")
        )
        filtered = [row.filtered for row in of if row.filtered is not None]
        gain, idle_bytes = ours / fifo, sum(row.idle_bytes for row in of)
        lines.append(
            f"| {len(of)} {family} | {'MILP' if family == 'lumpy' else 'LP'} "
            f"| {ours.mean():.1%}, {ours.min():.1%} | {noisy.mean():.1%}, {noisy.min():.1%} "
            f"| {fifo.mean():.1%} | {f'{np.mean(filtered):.1%}' if filtered else '-'} "
            f"| {gain.mean():.2f}, {gain.min():.2f} | {idle_bytes} |"
        )
    return "\n".join(lines)


def promises(rows: Sequence[Row]) -> str:
    """How many single instances keep what the means promise, and where nothing could."""
    lumpy_ones = [row for row in rows if row.family == "lumpy"]
    cloudy = [row for row in rows if row.family == "half cloudy"]
    kept = sum(row.ours >= LUMPY_LEAST for row in lumpy_ones)
    short = [row for row in cloudy if row.ours < CLOUDY_GAIN * row.fifo]
    impossible = sum(CLOUDY_GAIN * row.fifo > 1 for row in short)
    return (
        f"lumpy: {kept} of {len(lumpy_ones)} reach {LUMPY_LEAST:.0%} of the bound\n"
        f"half cloudy: {len(cloudy) - len(short)} of {len(cloudy)} bring {CLOUDY_GAIN:g} times what FIFO "
        f"does; of the other {len(short)}, the bound itself does not in {impossible}"
    )
