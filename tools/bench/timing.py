"""Processor and wall seconds of a piece of work, and the peak memory of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

WARM_UPS = 3
"""Untimed repetitions: the first ones compile, allocate and fill caches."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took; seconds of all threads of the process, and of the clock."""

    cpu_s: float
    wall_s: float

    def times(self, factor: float) -> Cost:
        return Cost(self.cpu_s * factor, self.wall_s * factor)

    def plus(self, other: Cost) -> Cost:
        return Cost(self.cpu_s + other.cpu_s, self.wall_s + other.wall_s)

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def mean_cost(work: Callable[[], object], repeats: int) -> Cost:
    """The mean cost of ``work`` over ``repeats`` runs after WARM_UPS untimed ones."""
    for _ in range(WARM_UPS):
        work()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        work()
    total = Cost(time.process_time() - cpu_s, time.perf_counter() - wall_s)
    return total.times(1.0 / repeats)


def own_peak_bytes() -> int:
    """VmHWM of this process: the most it ever had resident (proc(5))."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM; the benchmark runs on Linux only")
