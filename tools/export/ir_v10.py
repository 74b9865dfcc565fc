"""The INT8 network as IR v10, for the CPU of OpenVINO 2021.4 and 2022.3: described here, written there.

    openvino_int8.xml (v11) --> operators as JSON, weights as npz --> ir_v10_writer.py --> v10

Today's runtime writes IR v11, which the old ones refuse. The numbers are those of the v11 file:
weights of seven bits (OverflowFix), so nothing saturates where there is no VNNI. Codes come in
as float32 (the runtime is told that they are bytes) and logits go out, as from the Myriad's file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from payload.drivers.network import GEOMETRY, GRID_OF_INPUT
from tools.export.artifact import ExportError, run_old

WRITER = Path(__file__).with_name("ir_v10_writer.py")
WINDOW_PX = (192, 192)
"""The file's own window; old runtimes reshape it to any other, as the Myriad's worker does."""

_ATTRIBUTES = (
    "strides", "pads_begin", "pads_end", "dilations", "levels", "kernel", "exclude-pad", "axis", "block_size",
    "mode",
)  # fmt: skip


def write_ir_v10(folder: Path, stem: Path, python: Path) -> list[Path]:
    """The files of the model in ``folder`` as IR v10 at ``stem``, written by the old ``python``.

    Raises:
        ExportError: the old runtime cannot be run, or does not take the network.
    """
    operators, constants = describe(folder / "openvino_int8.xml")
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "operators.json").write_text(json.dumps(operators))
        np.savez(Path(work) / "constants.npz", **constants)
        done = run_old(python, WRITER, work, stem)
    if done.returncode:
        raise ExportError(f"{folder.name}: {done.stderr.strip().splitlines()[-1]}")
    return [stem.with_suffix(".xml"), stem.with_suffix(".bin")]


def describe(xml: Path) -> tuple[list[dict[str, Any]], Mapping[str, NDArray[Any]]]:
    """Operators in their order, and the constants that they name."""
    model = ov.Core().read_model(xml)
    model.reshape({port.get_any_name(): _shape(port) for port in model.inputs})
    operators: list[dict[str, Any]] = []
    constants: dict[str, NDArray[Any]] = {}
    same: dict[str, str] = {}
    for node in model.get_ordered_ops():
        kind, name = node.get_type_name(), node.get_friendly_name()
        sources = [port.get_node().get_friendly_name() for port in node.input_values()]
        sources = [same.get(source, source) for source in sources]
        if kind == "Constant":
            constants[name] = node.get_data()
        elif _is_passed_over(node):
            same[name] = sources[0]
        else:
            attributes = {key: value for key, value in node.get_attributes().items() if key in _ATTRIBUTES}
            if kind == "Parameter":
                attributes["shape"] = list(node.output(0).get_shape())
            operators.append(
                {
                    "kind": kind,
                    "name": name,
                    "inputs": sources,
                    "attributes": json.loads(json.dumps(attributes, default=list)),
                }
            )
    return operators, constants


def _shape(port: ov.Output) -> list[int]:
    shape = [dimension.get_length() if dimension.is_static else 1 for dimension in port.partial_shape]
    name = port.get_any_name()
    if name != GEOMETRY:
        shape[2:] = [size_px // GRID_OF_INPUT[name] for size_px in WINDOW_PX]
    return shape


def _is_passed_over(node: ov.Node) -> bool:
    """Codes are float32 at once; steps of scores are not wanted: logits go out."""
    kind = node.get_type_name()
    if kind == "Convert":
        return node.input_value(0).get_node().get_type_name() != "Constant"
    if kind == "FakeQuantize":
        bounds = [float(port.get_node().get_data().reshape(-1)[0]) for port in node.input_values()[1:]]
        return bounds[:2] != bounds[2:]
    return False
