"""The trained network as static ONNX: one window size, float32 or with float16 weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from payload.drivers.network import GRID_OF_INPUT

OPSET = 13


def static_model(path: Path, rows_px: int, columns_px: int) -> onnx.ModelProto:
    """The network of ``path`` with every shape known for windows of that size.

    Raises:
        ValueError: another opset, which old runtimes convert in silence.
    """
    model = onnx.load(str(path))
    opset = model.opset_import[0].version
    if opset != OPSET:
        raise ValueError(f"{path}: opset {opset}; every runtime reads {OPSET} without converting")
    for port in model.graph.input:
        if port.name in GRID_OF_INPUT:
            pitch = GRID_OF_INPUT[port.name]
            sizes = port.type.tensor_type.shape.dim
            for place, size_px in ((2, rows_px), (3, columns_px)):
                sizes[place].Clear()
                sizes[place].dim_value = size_px // pitch
    for port in model.graph.output:
        port.type.tensor_type.ClearField("shape")
    found = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(found)
    return found


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose weights are stored as float16 and cast back: half the bytes, float16's values."""
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    casts = []
    for weight in list(halved.graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < 2:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(
            helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT, name=f"{name}_cast")
        )
    nodes = [*casts, *halved.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    onnx.checker.check_model(halved)
    return halved
