"""What the INT8 IR says of one operator, in the words of a TFLite file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tools.export.tflite_file import Quantization

_LEVELS = 256


class TfliteError(Exception):
    """What of a network cannot be said in a TFLite file, in one line."""


@dataclass(frozen=True, slots=True)
class Weights:
    """(output, row, col, input) as in the file; ``scales`` None: float32."""

    values: NDArray[Any]
    scales: NDArray[np.float32] | None

    def real(self) -> NDArray[np.float32]:
        """float32, whatever they are stored as."""
        if self.scales is None:
            return np.asarray(self.values, np.float32)
        return np.float32(self.values * self.scales[:, None, None, None])


def shape_of(node: ov.Node) -> tuple[int, int, int, int]:
    """(1, row, col, channel) of the node's result."""
    _, channels, rows, columns = node.output(0).get_shape()
    return 1, rows, columns, channels


def numbers(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(map(float, values))


def range_of(quantizer: ov.Node) -> tuple[Quantization, float]:
    """How the numbers behind a quantizer are held, and what to add to them first.

    Zero may lie between two steps where it is nobody's padding; half a step then goes into the
    bias before, and the steps are the quantizer's own again.
    """
    low, high = (float(quantizer.input_value(place).get_node().get_data().item()) for place in (1, 2))
    if quantizer.get_attributes()["levels"] != _LEVELS:
        raise TfliteError(f"{quantizer.get_friendly_name()}: not of {_LEVELS} levels")
    scale = (high - low) / (_LEVELS - 1)
    exact = -128 - low / scale
    zero_point = int(np.floor(exact + 0.5))
    shift = (exact - zero_point) * scale
    return Quantization((scale,), zero_point), shift if abs(exact - zero_point) > 1e-3 else 0.0


def weights_of(node: ov.Node, order: str) -> Weights:
    """The weights that ``node`` gives, their axes moved as ``order`` says ("oihw->ohwi")."""
    before, after = order.split("->")
    axes = [before.index(axis) for axis in after]
    if node.get_type_name() == "Constant":
        return Weights(np.ascontiguousarray(np.float32(node.get_data()).transpose(axes)), None)
    stored, scales = (node.input_value(place).get_node() for place in range(2))
    values = stored.input_value(0).get_node().get_data()
    return Weights(np.ascontiguousarray(values.transpose(axes)), np.float32(scales.get_data()).reshape(-1))


def is_of_weights(node: ov.Node) -> bool:
    """Whether a node only makes weights from constants."""
    is_maker = node.get_type_name() in ("Convert", "Multiply")
    return is_maker and all(
        port.get_node().get_type_name() == "Constant" or is_of_weights(port.get_node())
        for port in node.input_values()
    )


def has_weights(node: ov.Node) -> bool:
    return node.get_type_name() in ("Convolution", "ConvolutionBackpropData")


def only_reader(node: ov.Node) -> ov.Node | None:
    readers = [reader.get_node() for reader in node.output(0).get_target_inputs()]
    return readers[0] if len(readers) == 1 else None


def constant_beside(node: ov.Node) -> NDArray[Any] | None:
    """The constant operand of ``node``, if it has one."""
    for port in node.input_values():
        if port.get_node().get_type_name() == "Constant" and len(port.get_shape()) == 4:
            found: NDArray[Any] = port.get_node().get_data()
            return found
    return None


def shuffle_behind(node: ov.Node) -> int:
    """Block of the DepthToSpace that alone reads ``node``; 1 if there is none."""
    reader = only_reader(node)
    if reader is None or reader.get_type_name() != "DepthToSpace":
        return 1
    return int(reader.get_attributes()["block_size"])


def padding_of(node: ov.Node) -> int:
    """SAME for half a kernel on every side, VALID for none.

    Raises:
        TfliteError: anything else.
    """
    attributes = node.get_attributes()
    pads = [*attributes["pads_begin"], *attributes["pads_end"]]
    if not any(pads):
        return int(schema.Padding.VALID)
    _, _, rows, columns = node.input_value(1).get_shape()
    if pads != [rows // 2, columns // 2] * 2 or list(attributes["strides"]) != [1, 1]:
        raise TfliteError(f"{node.get_friendly_name()}: padding {pads}")
    return int(schema.Padding.SAME)
