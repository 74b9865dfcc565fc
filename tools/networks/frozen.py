"""Other weights into an INT8 network whose scales stay: what a delta after retraining can be small for.

An OpenVINO IR keeps INT8 weights as constants, multiplied by one scale for each output channel.
Retrained weights are rounded to the same scales, seven bits as before (`seven_bits`), and written
over the old ones; topology, ranges of activations and everything else keep every byte.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 63
"""As `seven_bits.STEPS`; that module needs torch, this one does not."""

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
    """Float weights in steps of their frozen scales, at most 63 either way."""
    return np.clip(np.rint(values / scales), -STEPS, STEPS).astype(np.int8)
