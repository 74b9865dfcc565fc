"""The INT8 network as a TFLite file: the same integers as the OpenVINO file, another container.

    openvino_int8.xml  --> operators one by one -->  litert_int8_ROWSxCOLUMNS.tflite
    (1, channel, row, col)                           (1, row, col, channel)

Rules:
1. Weights are the very int8 numbers of the IR with their scale for each output channel; ranges
   of activations are those of its quantizers. Nothing is calibrated again.
2. Codes and scores are bytes less 128 (`payload.drivers.litert`).
3. A convolution, its bias, its ReLU and the quantizer behind are one operator. What has int8
   weights but no quantizer behind it is computed in float32, as is everything after it:
   quantizers between float32 operators are left out, which only brings it closer to float32.
4. A transposed convolution whose stride is its kernel is a convolution of 1 x 1 and a shuffle.
5. An operator that is not known here fails the export with its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from payload.drivers.network import GEOMETRY, GRID_OF_INPUT
from tools.export.ir_reading import (
    TfliteError,
    Weights,
    constant_beside,
    has_weights,
    is_of_weights,
    numbers,
    only_reader,
    padding_of,
    range_of,
    shape_of,
    shuffle_behind,
    weights_of,
)
from tools.export.tflite_file import Quantization, TfliteFile

CODES = Quantization((1.0,), -128)
_NONE, _RELU = schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU


@dataclass(frozen=True, slots=True)
class _Value:
    """A tensor of the file; ``quantization`` None: float32."""

    tensor: int
    quantization: Quantization | None


@dataclass(slots=True)
class _Tail:
    """What follows an operator and becomes one with it; ``last`` is the node that ends it."""

    last: ov.Node
    bias: NDArray[np.float32] | None = None
    is_rectified: bool = False
    quantizer: ov.Node | None = None

    @property
    def activation(self) -> int:
        return int(_RELU if self.is_rectified else _NONE)


def tflite_of(folder: Path, rows_px: int, columns_px: int) -> bytes:
    """The TFLite file for windows of one size of the model in ``folder``.

    Raises:
        TfliteError: an operator that is not known here.
    """
    model = ov.Core().read_model(folder / "openvino_int8.xml")
    shapes = {}
    for port in model.inputs:
        if (name := port.get_any_name()) != GEOMETRY:
            pitch = GRID_OF_INPUT[name]
            shapes[name] = [1, port.partial_shape[1], rows_px // pitch, columns_px // pitch]
    model.reshape(shapes)
    return _Conversion().run(model)


class _Conversion:
    """One walk over the operators in their order."""

    def __init__(self) -> None:
        self._file = TfliteFile()
        self._values: dict[str, _Value] = {}
        self._absorbed: set[str] = set()
        self._floats: dict[int, _Value] = {}

    def run(self, model: ov.Model) -> bytes:
        inputs, outputs = [], []
        for node in model.get_ordered_ops():
            kind, name = node.get_type_name(), node.get_friendly_name()
            if kind == "Constant" or name in self._absorbed or is_of_weights(node):
                continue
            if kind == "Result":
                outputs.append(self._value(node.input_value(0)).tensor)
                continue
            make = _MAKERS.get(kind)
            if make is None:
                raise TfliteError(f"{kind} ({name}) is not known here")
            make(self, node)
            if kind == "Parameter":
                inputs.append(self._values[name].tensor)
        return self._file.content(inputs, outputs)

    # Tensors

    def _value(self, port: ov.Output) -> _Value:
        node = port.get_node()
        name = node.get_friendly_name()
        if name not in self._values:
            if node.get_type_name() != "Constant":
                raise TfliteError(f"{name}: read before it is made")
            values = np.asarray(node.get_data(), np.float32)
            values = np.moveaxis(values, 1, 3) if values.ndim == 4 else values
            self._values[name] = _Value(self._file.constant(name, values), None)
        return self._values[name]

    def _made(self, node: ov.Node, quantization: Quantization | None) -> int:
        """A new tensor for the result of ``node``."""
        kind = "float32" if quantization is None else "int8"
        number = self._file.tensor(node.get_friendly_name(), shape_of(node), kind, quantization)
        self._values[node.get_friendly_name()] = _Value(number, quantization)
        return number

    def _float_input(self, node: ov.Node, place: int) -> _Value:
        port = node.input_value(place)
        value = self._value(port)
        if value.quantization is None:
            return value
        if value.tensor not in self._floats:
            number = self._file.tensor(f"real_{value.tensor}", shape_of(port.get_node()), "float32")
            self._file.operator("DEQUANTIZE", [value.tensor], number, "DequantizeOptions")
            self._floats[value.tensor] = _Value(number, None)
        return self._floats[value.tensor]

    def _quantized_input(self, port: ov.Output, wanted: Quantization) -> _Value:
        value = self._value(port)
        if value.quantization is not None:
            return value
        name = f"{port.get_node().get_friendly_name()}/quantized"
        number = self._file.tensor(name, shape_of(port.get_node()), "int8", wanted)
        self._file.operator("QUANTIZE", [value.tensor], number, "QuantizeOptions")
        return _Value(number, wanted)

    @staticmethod
    def _common_quantization(node: ov.Node) -> Quantization | None:
        """How all that goes into ``node`` is held by the quantizers before it, if that is alike."""
        before = [port.get_node() for port in node.input_values()]
        if any(one.get_type_name() != "FakeQuantize" for one in before):
            return None
        found = {range_of(one) for one in before}
        quantization, shift = found.pop()
        return None if found or shift else quantization

    # Operators

    def _parameter(self, node: ov.Node) -> None:
        name = node.get_friendly_name()
        self._made(node, None if name == GEOMETRY else CODES)

    def _same(self, node: ov.Node) -> None:
        """The result is the tensor that goes in."""
        self._values[node.get_friendly_name()] = self._value(node.input_value(0))

    def _quantizer(self, node: ov.Node) -> None:
        value = self._value(node.input_value(0))
        wanted, shift = range_of(node)
        if value.quantization == wanted:
            self._same(node)
            return
        if shift:
            raise TfliteError(f"{node.get_friendly_name()}: zero lies between two of its steps")
        self._file.operator("QUANTIZE", [value.tensor], self._made(node, wanted), "QuantizeOptions")

    def _convolution(self, node: ov.Node) -> None:
        weights = weights_of(node.input_value(1).get_node(), "oihw->ohwi")
        tail = self._tail(node)
        if (block := shuffle_behind(tail.last)) > 1:
            weights = _reordered(weights, tail, block)
        self._convolve(node, weights, tail, padding_of(node), node.get_attributes()["strides"], tail.last)

    def _transposed(self, node: ov.Node) -> None:
        weights = weights_of(node.input_value(1).get_node(), "iohw->hwoi")
        block, attributes = weights.values.shape[0], node.get_attributes()
        if list(attributes["strides"]) != [block] * 2 or any(attributes["pads_begin"]):
            raise TfliteError(f"{node.get_friendly_name()}: its patches overlap")
        tail = self._tail(node)
        channels = weights.values.shape[2]
        flat = weights.values.reshape(-1, 1, 1, weights.values.shape[3])
        repeats = block * block
        scales = None if weights.scales is None else np.tile(weights.scales, repeats)
        bias = None if tail.bias is None else np.tile(tail.bias, repeats)
        packed = _Tail(tail.last, bias, tail.is_rectified, tail.quantizer)
        _, rows, columns, _ = shape_of(node)
        shape = 1, rows // block, columns // block, channels * repeats
        made = self._convolve(node, Weights(flat, scales), packed, schema.Padding.VALID, (1, 1), None, shape)
        output = self._made(tail.last, made.quantization)
        self._file.operator("DEPTH_TO_SPACE", [made.tensor], output, "DepthToSpaceOptions", blockSize=block)

    def _convolve(
        self,
        node: ov.Node,
        weights: Weights,
        tail: _Tail,
        padding: int,
        strides: Sequence[int],
        result: ov.Node | None,
        shape: Sequence[int] = (),
    ) -> _Value:
        """One CONV_2D; its tensor is that of ``result``, or one of ``shape`` that nobody else reads."""
        name = node.get_friendly_name()
        value = self._value(node.input_value(0))
        bias = np.zeros(len(weights.values), np.float32) if tail.bias is None else tail.bias
        quantization: Quantization | None = None
        if weights.scales is not None and value.quantization is not None and tail.quantizer is not None:
            quantization, shift = range_of(tail.quantizer)
            steps = np.float64(weights.scales) * value.quantization.scales[0]
            constants = [
                self._file.constant(
                    f"{name}/weights", weights.values, Quantization(numbers(weights.scales), 0)
                ),
                self._file.constant(
                    f"{name}/bias",
                    np.rint((bias + shift) / steps).astype(np.int32),
                    Quantization(numbers(steps), 0),
                ),
            ]
        else:
            value = self._float_input(node, 0)
            constants = [
                self._file.constant(f"{name}/weights", weights.real()),
                self._file.constant(f"{name}/bias", bias),
            ]
        if result is not None:
            output = self._made(result, quantization)
        else:
            output = self._file.tensor(
                f"{name}/packed", shape, "float32" if quantization is None else "int8", quantization
            )
        self._file.operator(
            "CONV_2D",
            [value.tensor, *constants],
            output,
            "Conv2DOptions",
            padding=padding,
            strideH=strides[0],
            strideW=strides[1],
            fusedActivationFunction=tail.activation,
        )
        return _Value(output, quantization)

    def _binary(self, node: ov.Node) -> None:
        name = {"Add": "ADD", "Subtract": "SUB", "Multiply": "MUL", "Divide": "DIV"}[node.get_type_name()]
        tail = self._tail(node)
        sides = [self._value(port) for port in node.input_values()]
        quantization = None
        if tail.quantizer is not None and all(side.quantization is not None for side in sides):
            quantization, shift = range_of(tail.quantizer)
            if shift:
                raise TfliteError(f"{node.get_friendly_name()}: zero lies between two of its steps")
        else:
            sides = [self._float_input(node, place) for place in range(2)]
        self._file.operator(
            name,
            [side.tensor for side in sides],
            self._made(tail.last, quantization),
            f"{name.capitalize()}Options",
            fusedActivationFunction=tail.activation,
        )

    def _resize(self, node: ov.Node) -> None:
        value = self._value(node.input_value(0))
        attributes = node.get_attributes()
        known = ("nearest", "asymmetric", "floor")
        if (
            tuple(attributes[key] for key in ("mode", "coordinate_transformation_mode", "nearest_mode"))
            != known
        ):
            raise TfliteError(f"{node.get_friendly_name()}: a resize other than nearest, asymmetric, floor")
        size = self._file.constant(f"{node.get_friendly_name()}/size", np.int32(shape_of(node)[1:3]))
        output = self._made(node, value.quantization)
        self._file.operator(
            "RESIZE_NEAREST_NEIGHBOR", [value.tensor, size], output, "ResizeNearestNeighborOptions"
        )

    def _shuffle(self, node: ov.Node) -> None:
        value, attributes = self._value(node.input_value(0)), node.get_attributes()
        output = self._made(node, value.quantization)
        self._file.operator(
            "DEPTH_TO_SPACE",
            [value.tensor],
            output,
            "DepthToSpaceOptions",
            blockSize=attributes["block_size"],
        )

    def _pool(self, node: ov.Node) -> None:
        name = {"AvgPool": "AVERAGE_POOL_2D", "MaxPool": "MAX_POOL_2D"}[node.get_type_name()]
        attributes = node.get_attributes()
        (rows, columns), (row_step, column_step) = attributes["kernel"], attributes["strides"]
        value = self._float_input(node, 0)
        self._file.operator(
            name,
            [value.tensor],
            self._made(node, None),
            "Pool2DOptions",
            padding=padding_of(node),
            filterHeight=rows,
            filterWidth=columns,
            strideH=row_step,
            strideW=column_step,
        )

    def _concat(self, node: ov.Node) -> None:
        common = self._common_quantization(node)
        if common is None:
            values = [self._float_input(node, place) for place in range(len(node.input_values()))]
        else:
            values = [self._quantized_input(port, common) for port in node.input_values()]
        output = self._made(node, common)
        self._file.operator(
            "CONCATENATION", [value.tensor for value in values], output, "ConcatenationOptions", axis=3
        )

    def _unary(self, node: ov.Node) -> None:
        name = {"Relu": "RELU", "Sigmoid": "LOGISTIC", "Log": "LOG"}[node.get_type_name()]
        value = self._float_input(node, 0)
        self._file.operator(name, [value.tensor], self._made(node, None))

    def _tail(self, node: ov.Node) -> _Tail:
        """Bias, ReLU and quantizer behind ``node``, as far as each is read by the next alone."""
        tail = _Tail(node)
        while (after := only_reader(tail.last)) is not None:
            kind, constant = after.get_type_name(), constant_beside(after)
            is_plain = not tail.is_rectified and tail.quantizer is None
            if (
                kind == "Add"
                and constant is not None
                and tail.bias is None
                and is_plain
                and has_weights(node)
            ):
                tail.bias = np.float32(constant).reshape(-1)
            elif kind == "Relu" and is_plain:
                tail.is_rectified = True
            elif kind == "FakeQuantize" and tail.quantizer is None:
                tail.quantizer = after
            else:
                break
            self._absorbed.add(after.get_friendly_name())
            tail.last = after
        return tail


_MAKERS = {
    "Parameter": _Conversion._parameter,
    "Convert": _Conversion._same,
    "FakeQuantize": _Conversion._quantizer,
    "Convolution": _Conversion._convolution,
    "ConvolutionBackpropData": _Conversion._transposed,
    "Add": _Conversion._binary,
    "Multiply": _Conversion._binary,
    "Divide": _Conversion._binary,
    "Relu": _Conversion._unary,
    "Log": _Conversion._unary,
    "Subtract": _Conversion._binary,
    "Sigmoid": _Conversion._unary,
    "AvgPool": _Conversion._pool,
    "MaxPool": _Conversion._pool,
    "Concat": _Conversion._concat,
    "Interpolate": _Conversion._resize,
    "DepthToSpace": _Conversion._shuffle,
}


def _reordered(weights: Weights, tail: _Tail, block: int) -> Weights:
    """Channels (channel, row, col) of a block become (row, col, channel), as TFLite shuffles them."""
    order = np.arange(len(weights.values)).reshape(-1, block * block).T.reshape(-1)
    if tail.bias is not None:
        tail.bias = tail.bias[order]
    return Weights(weights.values[order], None if weights.scales is None else weights.scales[order])
