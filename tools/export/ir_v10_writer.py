"""Runs in the Myriad's environment (Python 3.8 or 3.9): operators and weights to INT8 IR v10.

    python ir_v10_writer.py FOLDER OUT_STEM          operators.json and constants.npz of `ir_v10`

The file is read again by the CPU plugin before it counts as written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ngraph.opset6 as ops
import numpy as np
from ngraph.impl import Function
from ngraph.utils.node_factory import NodeFactory
from openvino.inference_engine import IECore, IENetwork


def build(operators: Any, constants: Any) -> Any:
    """The function that ``operators`` describe; its outputs keep their order."""
    nodes: dict[str, Any] = {}
    parameters, results = [], []
    for told in operators:
        kind, name, how = told["kind"], told["name"], told["attributes"]
        if kind == "Parameter":
            nodes[name] = ops.parameter(how["shape"], np.float32, name=name)
            parameters.append(nodes[name])
            continue
        values = [nodes[key] if key in nodes else ops.constant(constants[key]) for key in told["inputs"]]
        if kind == "Result":
            results.append(ops.result(values[0]))
            continue
        nodes[name] = _MAKERS[kind](values, how)
        nodes[name].set_friendly_name(name)
    return Function(results, parameters, "int8")


def _convolution(values: Any, how: Any) -> Any:
    return ops.convolution(*values, how["strides"], how["pads_begin"], how["pads_end"], how["dilations"])


def _transposed(values: Any, how: Any) -> Any:
    return ops.convolution_backprop_data(
        *values,
        strides=how["strides"],
        pads_begin=how["pads_begin"],
        pads_end=how["pads_end"],
        dilations=how["dilations"],
    )


def _resize(values: Any, _: Any) -> Any:
    scales = np.float32(values[1].get_data()).reshape(-1)
    shape = list(values[0].get_output_shape(0))
    sizes = np.rint(shape * scales).astype(np.int64)
    options = {
        "mode": "nearest",
        "shape_calculation_mode": "scales",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    axes = np.int64(range(len(scales)))
    inputs = [values[0], ops.constant(sizes), values[1], ops.constant(axes)]
    return NodeFactory("opset4").create("Interpolate", inputs, options)


def _average(values: Any, how: Any) -> Any:
    return ops.avg_pool(values[0], how["strides"], how["pads_begin"], how["pads_end"], how["kernel"], True)


def _peak(values: Any, how: Any) -> Any:
    return ops.max_pool(values[0], how["strides"], how["pads_begin"], how["pads_end"], how["kernel"])


_MAKERS = {
    "Add": lambda values, _: ops.add(*values),
    "AvgPool": _average,
    "Concat": lambda values, how: ops.concat(values, how["axis"]),
    "Convert": lambda values, _: ops.convert(values[0], "f32"),
    "Convolution": _convolution,
    "ConvolutionBackpropData": _transposed,
    "DepthToSpace": lambda values, how: ops.depth_to_space(values[0], how["mode"], how["block_size"]),
    "FakeQuantize": lambda values, how: ops.fake_quantize(*values, how["levels"]),
    "Interpolate": _resize,
    "MaxPool": _peak,
    "Subtract": lambda values, _: ops.subtract(*values),
    "Multiply": lambda values, _: ops.multiply(*values),
    "Divide": lambda values, _: ops.divide(*values),
    "Log": lambda values, _: ops.log(*values),
    "Relu": lambda values, _: ops.relu(values[0]),
    "Sigmoid": lambda values, _: ops.sigmoid(values[0]),
}


def main() -> int:
    folder, stem = Path(sys.argv[1]), sys.argv[2]
    operators = json.loads((folder / "operators.json").read_text())
    with np.load(folder / "constants.npz") as constants:
        network = IENetwork(Function.to_capsule(build(operators, constants)))
    network.serialize(f"{stem}.xml", f"{stem}.bin")
    core = IECore()
    core.load_network(core.read_network(f"{stem}.xml", f"{stem}.bin"), "CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
