"""The LiteRT files of a model, one for each window, and what they take of the host.

Run as a module it is the measuring child of `tools.networks.growth`: load the file, infer, print the bytes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from payload.core.probe import probe_tile
from payload.drivers.litert import LiteRt
from payload.drivers.network import CELL_PX, GEOMETRY, GRID_OF_INPUT
from payload.types import TileGrid
from tools.export.artifact import Window, described
from tools.networks.growth import SMALLEST_PX, fit_line, growth_bytes, measured_bytes

MODULE = "tools.export.litert"
STEM = "litert_int8"
SMALLER_PX = (240, 528)
"""A second window, so that a line can be drawn through what two take."""

HALO_PX = 72


def export_litert(folder: Path, windows: Sequence[Window]) -> tuple[dict[str, Any], list[str]]:
    """The artifact whose files lie in ``folder`` now, and a line on each file.

    Raises:
        TfliteError: an operator that is not known.
    """
    from tools.export.tflite import tflite_of  # not in the child, whose memory is measured

    files, lines = [], []
    for rows_px, columns_px in windows:
        path = folder / f"{STEM}_{rows_px}x{columns_px}.tflite"
        path.write_bytes(tflite_of(folder, rows_px, columns_px))
        files.append(path)
        lines.append(f"{folder.name} {rows_px}x{columns_px}: TFLite, {path.stat().st_size / 2**10:.0f} KiB")
    with tempfile.TemporaryDirectory() as work:
        smallest, small = Path(work) / "smallest.tflite", Path(work) / "small.tflite"
        smallest.write_bytes(tflite_of(folder, *SMALLEST_PX))
        small.write_bytes(tflite_of(folder, *SMALLER_PX))
        rows, columns = max(windows)
        largest = (folder / f"{STEM}_{rows}x{columns}.tflite").resolve()
        points = [
            (rows * columns, measured_bytes(MODULE, largest, smallest)),
            (SMALLER_PX[0] * SMALLER_PX[1], measured_bytes(MODULE, small, smallest)),
        ]
    return described("tflite", "litert", "int8", files, fit_line(points)), lines


def run_some(content: bytes) -> tuple[LiteRt, int]:
    """The runtime after three tiles through the network, and the bytes of their tensors."""
    runtime = LiteRt([content], 1)
    rows, columns = runtime.window_px(0)
    tile = probe_tile(TileGrid(rows - 2 * HALO_PX, columns - 2 * HALO_PX, HALO_PX))
    inputs = {GEOMETRY: tile.geometry, **{name: tile.codes[grid] for name, grid in GRID_OF_INPUT.items()}}
    cells = 1, 48, rows // CELL_PX, columns // CELL_PX
    is_scene = runtime.answers_bytes(0)
    output = np.empty((1, 4, rows, columns), np.uint8) if is_scene else np.empty(cells, np.float32)
    for _ in range(3):
        runtime.infer(0, inputs, output)
    return runtime, sum(array.nbytes for array in inputs.values())


def main() -> None:
    """Run the second file, then the first; print the growth in bytes of the first."""
    content, smallest = (Path(path).read_bytes() for path in sys.argv[1:])
    print(growth_bytes(lambda: run_some(smallest), lambda: run_some(content)))


if __name__ == "__main__":
    main()
