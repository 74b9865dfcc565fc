"""Float16 arithmetic simulated on a processor that has none: every result rounded to 11 bits.

A Myriad X computes in float16. Here each operator computes in float32 and its result is rounded
as float16 would hold it: with C = 2^13 + 1, x -> C x - (C x - x) keeps the upper 11 of 24 bits
(Veltkamp's splitting; Dekker, Numer. Math. 18, 1971). Sums inside a convolution stay float32,
small numbers keep more bits than they would: a device may be off further. A first figure, and
simulated wherever it is shown.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13

_SPLIT = np.float32(2**13 + 1)
_LARGEST = 65504.0
_NOT_COMPUTED = {"Parameter", "Constant", "Result", "Convert", "ShapeOf", "Reshape", "Concat"}


def simulate_halves(model: ov.Model) -> ov.Model:
    """``model`` itself, with weights and the result of every operator rounded to float16."""
    for operator in model.get_ordered_ops():
        kind = operator.get_type_name()
        if kind == "Constant" and operator.get_element_type() == ov.Type.f32:
            _replace(operator.output(0), _rounded_constant(operator))
        elif kind not in _NOT_COMPUTED:
            for output in operator.outputs():
                if output.get_element_type() == ov.Type.f32:
                    readers = list(output.get_target_inputs())
                    rounded = rounded_to_halves(output)
                    for reader in readers:
                        reader.replace_source_output(rounded)
    return model


def rounded_to_halves(value: ov.Output) -> ov.Output:
    """A node whose result is ``value`` with 11 bits of mantissa, within float16's range."""
    inside = opset13.clamp(value, -_LARGEST, _LARGEST)
    split = opset13.multiply(inside, opset13.constant(_SPLIT))
    return opset13.subtract(split, opset13.subtract(split, inside)).output(0)


def _rounded_constant(operator: ov.Node) -> ov.Output:
    halves = np.clip(operator.get_data(), -_LARGEST, _LARGEST).astype(np.float16)
    return opset13.constant(halves.astype(np.float32)).output(0)


def _replace(old: ov.Output, new: ov.Output) -> None:
    for reader in list(old.get_target_inputs()):
        reader.replace_source_output(new)
