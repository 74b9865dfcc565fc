"""A TFLite flatbuffer, written tensor by tensor and operator by operator; no TensorFlow.

Tensors are (1, row, col, channel). The layout is that of the public schema, whose Python
module comes with ai-edge-litert (extra 'litert').
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
_ALIGNMENT_BYTES = 16  # what the schema demands of a buffer
_TYPES = {np.dtype(kind): getattr(schema.TensorType, kind.upper()) for kind in ("int8", "int32", "float32")}
_VERSIONS = {"CONV_2D": 3}
_VERSION_OF_BYTES = 2
"""Version from which most operators take int8; convolutions with a scale per channel are version 3."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale x (q - zero_point); ``scales`` has one for all, or one for each of ``axis``."""

    scales: tuple[float, ...]
    zero_point: int
    axis: int = 0


class _Buffer(schema.BufferT):  # type: ignore[misc]  # the schema's module has no types
    """A buffer whose bytes begin where the schema wants them."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802  # the schema's name
        content = b"" if self.data is None else self.data.tobytes()
        builder.StartVector(1, len(content), _ALIGNMENT_BYTES)
        builder.head = builder.Head() - len(content)
        builder.Bytes[builder.Head() : builder.Head() + len(content)] = content
        at = builder.EndVector()
        schema.BufferStart(builder)
        if content:
            schema.BufferAddData(builder, at)
        return int(schema.BufferEnd(builder))


class TfliteFile:
    """One graph under construction."""

    def __init__(self) -> None:
        self._buffers: list[_Buffer] = [_Buffer()]  # the first is empty by convention
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._graph.inputs, self._graph.outputs = [], []
        self._codes: list[schema.OperatorCodeT] = []

    def tensor(
        self, name: str, shape: Sequence[int], kind: str, quantization: Quantization | None = None
    ) -> int:
        """The number of a new tensor of ``kind`` int8, int32 or float32, to be computed."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name.encode(), list(map(int, shape))
        tensor.type, tensor.buffer = _TYPES[np.dtype(kind)], 0
        if quantization is not None:
            found = tensor.quantization = schema.QuantizationParametersT()
            found.scale = list(quantization.scales)
            found.zeroPoint = [quantization.zero_point] * len(quantization.scales)
            found.quantizedDimension = quantization.axis
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def constant(self, name: str, values: NDArray[Any], quantization: Quantization | None = None) -> int:
        """The number of a new tensor that holds ``values``."""
        number = self.tensor(name, values.shape, values.dtype.name, quantization)
        buffer = _Buffer()
        buffer.data = np.ascontiguousarray(values)
        self._buffers.append(buffer)
        self._graph.tensors[number].buffer = len(self._buffers) - 1
        return number

    def operator(
        self, name: str, inputs: Sequence[int], output: int, kind: str = "", **options: object
    ) -> None:
        """Append the operator ``name`` of the schema; ``kind`` names its options' table."""
        operator = schema.OperatorT()
        is_bytes = any(self._graph.tensors[i].type == schema.TensorType.INT8 for i in inputs)
        version = _VERSIONS.get(name, _VERSION_OF_BYTES) if is_bytes else 1
        operator.opcodeIndex = self._code(name, version)
        operator.inputs, operator.outputs = list(inputs), [output]
        if kind:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, f"{kind}T")()
            for key, value in options.items():
                setattr(operator.builtinOptions, key, value)
        self._graph.operators.append(operator)

    def _code(self, name: str, version: int) -> int:
        builtin = getattr(schema.BuiltinOperator, name)
        for number, code in enumerate(self._codes):
            if (code.builtinCode, code.version) == (builtin, version):
                return number
        code = schema.OperatorCodeT()
        code.builtinCode = builtin
        code.deprecatedBuiltinCode = min(builtin, 127)
        code.version = version
        self._codes.append(code)
        return len(self._codes) - 1

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The bytes of the file."""
        self._graph.inputs, self._graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.subgraphs = SCHEMA_VERSION, [self._graph]
        model.operatorCodes, model.buffers = self._codes, self._buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())
