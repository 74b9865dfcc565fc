"""What a network takes of memory, whatever runs it: growth of a fresh process, fitted by a line.

What a runtime costs whatever the network belongs to the board (memory.interpreter_bytes): it has run the
same network on its smallest window before. The tensors that go in belong to the tile slots.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from payload.drivers.heap import give_back_freed_memory

SMALLEST_PX = (192, 192)
"""A window of this size warms the runtime: it is the halo and one phase."""

TIMES = 5
MARGIN_RATIO = 1.05
ROOT = Path(__file__).resolve().parents[2]
STATUS, CLEAR_REFS = (Path(f"/proc/self/{name}") for name in ("status", "clear_refs"))

Run = Callable[[], tuple[object, int]]
"""Runs a network a few times: what must be kept alive, and the bytes of what went in."""


def growth_bytes(smallest: Run, run: Run) -> int:
    """By how much the peak of this process' memory rises in ``run``, after ``smallest``."""
    smallest()  # its pages of code stay: they are the runtime's
    give_back_freed_memory()
    before = _status_bytes("VmRSS")
    CLEAR_REFS.write_text("5")  # VmHWM starts again
    _, tensors_bytes = run()
    return _status_bytes("VmHWM") - before - tensors_bytes


def measured_bytes(module: str, *arguments: str | Path | int) -> int:
    """What ``module`` prints in a process of its own; the median of `TIMES`, which differ by 2 MiB: pages
    come in batches, and the heap is as the loader left it."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    runs = [
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True) for _ in range(TIMES)
    ]
    return int(statistics.median(int(run.stdout.split()[-1]) for run in runs))


def fit_line(points: Sequence[tuple[int, int]]) -> tuple[int, float]:
    """(fixed bytes, bytes per pixel) with the margin, through two (pixels, bytes) points."""
    (many_px, many_bytes), (few_px, few_bytes) = points
    slope = max(many_bytes - few_bytes, 0) / (many_px - few_px)
    fixed = max(many_bytes - slope * many_px, 0)
    return int(fixed * MARGIN_RATIO), round(slope * MARGIN_RATIO, 2)


def _status_bytes(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)
