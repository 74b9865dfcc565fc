"""Other weights into an INT8 network whose scales stay: what a delta after retraining can be small for.

An OpenVINO IR keeps INT8 weights as constants, multiplied by one scale for each output channel.
Retrained weights are rounded to the same scales, with seven bits as before, and written
over the old ones; topology, ranges of activations and everything else keep every byte.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 64
"""The largest INT8 weight that NNCF writes with its overflow fix: two products of it and a code,
added, still fit 16 bits (2 x 64 x 255 = 32,640)."""

_TYPES = {"i8": np.dtype(np.int8), "f32": np.dtype("<f4"), "f16": np.dtype("<f2")}


@dataclass(frozen=True)
class Constant:
    """A constant of an IR, by its layer's name, and where it lies in the .bin file."""

    name: str
    kind: str
    offset: int
    size_bytes: int
    shape: tuple[int, ...]

    def values(self, weights: bytes) -> NDArray[Any]:
        """Its values in the content of the .bin file."""
        count = self.size_bytes // _TYPES[self.kind].itemsize
        return np.frombuffer(weights, _TYPES[self.kind], count, self.offset).reshape(self.shape)


def constants(topology: bytes) -> Iterator[Constant]:
    """All constants of an IR whose type is INT8 or floating point."""
    for layer in ElementTree.fromstring(topology).iterfind("./layers/layer[@type='Const']"):
        facts = layer.find("data")
        assert facts is not None
        kind, shape = facts.get("element_type", ""), facts.get("shape", "")
        if kind in _TYPES:
            sizes = tuple(int(size) for size in shape.split(",") if size.strip())
            yield Constant(
                layer.get("name", ""), kind, int(facts.get("offset", 0)), int(facts.get("size", 0)), sizes
            )


@dataclass(frozen=True)
class QuantizedLayer:
    """A convolution of an IR: which module of the network it was, and its constants."""

    module: str
    weight: Constant
    scale: Constant
    bias: Constant | None

    def floats(self, weights: bytes) -> NDArray[np.float32]:
        """Its weights as they fly, in float32: (out, in, row, col), or (in, out, ...) transposed."""
        values = self.weight.values(weights).astype(np.float32)
        return values * self.scale.values(weights).astype(np.float32)


class _Graph:
    """The layers of an IR and what each reads."""

    def __init__(self, topology: bytes) -> None:
        root = ElementTree.fromstring(topology)
        self.layers = {layer.get("id"): layer for layer in root.iterfind("./layers/layer")}
        self.sources: dict[str | None, list[str | None]] = {}
        for edge in root.iterfind("./edges/edge"):
            self.sources.setdefault(edge.get("to-layer"), []).append(edge.get("from-layer"))
        self._held = {constant.name: constant for constant in constants(topology)}

    def constants_of(self, number: str | None) -> list[Constant]:
        """The constants that a layer reads, through conversions."""
        return [one for source in self.sources.get(number, []) if (one := self._constant(source))]

    def _constant(self, number: str | None) -> Constant | None:
        layer = self.layers[number]
        if layer.get("type") == "Convert":
            layer = self.layers[self.sources[number][0]]
        return self._held.get(layer.get("name", "")) if layer.get("type") == "Const" else None

    def module_behind(self, number: str | None) -> str:
        """The module of the first layer behind one whose name is a path."""
        reader = number
        while reader == number or not self.layers[reader].get("name", "").startswith("/"):
            reader = next(target for target, given in self.sources.items() if reader in given)
        return self.layers[reader].get("name", "").split("/")[1]

    def bias_of(self, path: str) -> Constant | None:
        """What is added to the convolution whose name begins with ``path``."""
        for number, layer in self.layers.items():
            if layer.get("type") == "Add" and layer.get("name", "").startswith(f"/{path}/Conv"):
                return next(iter(self.constants_of(number)), None)
        return None


def quantized_layers(topology: bytes) -> list[QuantizedLayer]:
    """Every convolution with INT8 weights, in the order of the graph.

    NNCF writes weight (INT8), a conversion, and a multiplication by the scale. The convolution
    reads that; its name, or that of what reads it, begins with /module/. The bias is added in a
    layer named /module/Conv or /module/ConvTranspose.
    """
    graph = _Graph(topology)
    found = []
    for number, layer in graph.layers.items():
        if layer.get("type") != "Multiply":
            continue
        inputs = graph.constants_of(number)
        weight = next((one for one in inputs if one.kind == "i8"), None)
        scale = next((one for one in inputs if one.kind == "f32"), None)
        if weight and scale:
            module = graph.module_behind(number)
            found.append(QuantizedLayer(module, weight, scale, graph.bias_of(module)))
    return found


def has_module(topology: bytes, name: str) -> bool:
    """Whether an IR has a layer of the network's module ``name``."""
    layers = ElementTree.fromstring(topology).iterfind("./layers/layer")
    return any(layer.get("name", "").startswith(f"/{name}/") for layer in layers)


def float_layer(topology: bytes, path: str) -> tuple[Constant, Constant] | None:
    """Weight and bias of a float32 convolution by its path, like second_look/weigh, if it is there."""
    weight = next(
        (one for one in constants(topology) if one.name == f"{path.replace('/', '.')}.weight"), None
    )
    bias = _Graph(topology).bias_of(path)
    return None if weight is None or bias is None else (weight, bias)


def int8_weights(topology: bytes) -> list[Constant]:
    """The quantized weights of an IR, in the order of its layers."""
    return [constant for constant in constants(topology) if constant.kind == "i8"]


def replaced(weights: bytes, others: Mapping[Constant, NDArray[Any]]) -> bytes:
    """The .bin file with other values for some constants; nothing else changes."""
    content = bytearray(weights)
    for constant, values in others.items():
        assert values.shape == constant.shape
        new = np.ascontiguousarray(values.astype(_TYPES[constant.kind])).tobytes()
        content[constant.offset : constant.offset + constant.size_bytes] = new
    return bytes(content)


def rounded(values: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Float weights in steps of their frozen scales, at most 64 either way."""
    return np.clip(np.rint(values / scales), -STEPS, STEPS).astype(np.int8)
