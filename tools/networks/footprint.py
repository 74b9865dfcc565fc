"""How much memory a network takes in flight under OpenVINO.

Run as a module it is the measuring child of `growth`: load the artifact, infer, print the bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import openvino as ov

from payload.drivers.engine_openvino import compile_shuffle_apart
from tools.networks.growth import SMALLEST_PX, fit_line, growth_bytes, measured_bytes
from tools.networks.runtime import GEOMETRY

WINDOWS_PX = ((432, 1152), (240, 528))
"""The flatsat's window, and a smaller one, so that a line can be drawn."""


def measure_line(xml: Path) -> tuple[int, float]:
    """host_fixed_bytes and host_bytes_per_window_px of an artifact."""
    module = "tools.networks.footprint"
    return fit_line(
        [(rows * cols, measured_bytes(module, xml.resolve(), rows, cols)) for rows, cols in WINDOWS_PX]
    )


def main() -> None:
    """Load, infer once, print the growth in bytes."""
    arguments = argparse.ArgumentParser(description=main.__doc__)
    arguments.add_argument("xml", type=Path)
    arguments.add_argument("rows_px", type=int)
    arguments.add_argument("columns_px", type=int)
    asked = arguments.parse_args()

    print(
        growth_bytes(
            lambda: run_once(asked.xml, *SMALLEST_PX),
            lambda: run_once(asked.xml, asked.rows_px, asked.columns_px),
        )
    )


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
