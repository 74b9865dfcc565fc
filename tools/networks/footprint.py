"""How much memory a network takes in flight: measured in fresh processes, fitted by a line.

Run as a module it is the measuring child: load the artifact, infer, print the bytes by which
the peak of resident memory rose above the level at which the runtime had run the same network
on its smallest window. What the runtime costs whatever the network belongs to the board
(memory.interpreter_bytes), and the tensors that go in belong to the tile slots.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov

from payload.drivers.engine_openvino import compile_shuffle_apart
from payload.drivers.heap import give_back_freed_memory
from tools.networks.runtime import GEOMETRY

SMALLEST_PX = (192, 192)
"""A window of this size warms the runtime: it is the halo and one phase."""

WINDOWS_PX = ((432, 1152), (240, 528))
"""The flatsat's window, and a smaller one, so that a line can be drawn."""

TIMES = 5
MARGIN_RATIO = 1.05
STATUS = Path("/proc/self/status")


def measure_bytes(xml: Path, window_px: tuple[int, int]) -> int:
    """Peak growth of a fresh process that runs the artifact on one window; the median of `TIMES`, which
    differ by 2 MiB: pages come in batches, and the heap is as the loader left it."""
    return int(statistics.median(_measure_once(xml, window_px) for _ in range(TIMES)))


def _measure_once(xml: Path, window_px: tuple[int, int]) -> int:
    root = Path(__file__).resolve().parents[2]
    arguments = [str(xml.resolve()), str(window_px[0]), str(window_px[1])]
    command = [sys.executable, "-m", "tools.networks.footprint", *arguments]
    finished = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return int(finished.stdout.split()[-1])


def fit_line(points: Sequence[tuple[int, int]]) -> tuple[int, float]:
    """(fixed bytes, bytes per pixel) with the margin, through two (pixels, bytes) points."""
    (many_px, many_bytes), (few_px, few_bytes) = points
    slope = max(many_bytes - few_bytes, 0) / (many_px - few_px)
    fixed = max(many_bytes - slope * many_px, 0)
    return int(fixed * MARGIN_RATIO), round(slope * MARGIN_RATIO, 2)


def measure_line(xml: Path) -> tuple[int, float]:
    """host_fixed_bytes and host_bytes_per_window_px of an artifact."""
    return fit_line([(rows * cols, measure_bytes(xml, (rows, cols))) for rows, cols in WINDOWS_PX])


def _status_bytes(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def main() -> None:
    """Load, infer once, print the growth in bytes."""
    arguments = argparse.ArgumentParser(description=main.__doc__)
    arguments.add_argument("xml", type=Path)
    arguments.add_argument("rows_px", type=int)
    arguments.add_argument("columns_px", type=int)
    asked = arguments.parse_args()

    run_once(asked.xml, *SMALLEST_PX)  # its pages of code stay: they are the runtime's
    give_back_freed_memory()
    before = _status_bytes("VmRSS")
    tensors_bytes = run_once(asked.xml, asked.rows_px, asked.columns_px)[1]
    print(_status_bytes("VmHWM") - before - tensors_bytes)


def run_once(xml: Path, rows_px: int, columns_px: int) -> tuple[object, int]:
    """What flies after a few windows of ones, to be kept alive, and the bytes of its inputs."""
    core = ov.Core()
    compiled, shuffle = compile_shuffle_apart(core, core.read_model(xml), rows_px, columns_px, 1, 1)
    request = compiled.create_infer_request()
    tensors_bytes = 0
    for port in compiled.inputs:
        kind = np.float32 if GEOMETRY in port.get_names() else np.uint8
        tensor = ov.Tensor(np.ones(list(port.shape), kind))
        tensors_bytes += tensor.get_byte_size()
        request.set_tensor(port, tensor)
    for _ in range(3):
        request.infer()
    if shuffle is not None:
        shuffle.undo(request.get_output_tensor(0).data[0])
    return (request, shuffle), tensors_bytes


if __name__ == "__main__":
    main()
