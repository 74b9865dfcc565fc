"""The formulas of `ports.Arithmetic`, compiled by the OpenVINO runtime that is here anyway.

One pass over each sample instead of a dozen. numpy casts at both ends: the runtime does so
for uint16 sample by sample. The compiler may join a multiplication and an addition, so
surface counts may differ by one from those of `core.arithmetic`; codes may not, which
`is_exact` tells. Neither depends on where in a tile a sample lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from payload.drivers.openvino_lean import ov
from payload.types import COUNTS_OFFSET, COUNTS_PER_REFLECTANCE, F32, U8, U16

_CHUNK_SAMPLES = 131072
_STRETCHES = 7  # between rows of cell centres, solved in one call
_COUNTS_MAX = 65535
_SETTINGS = MappingProxyType(
    {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
)

_ops = ov.opset13


class OpenVinoArithmetic:
    """Implements `payload.ports.Arithmetic`."""

    def __init__(self, columns_of_cell: Mapping[int, int], full_scale_reflectance: float) -> None:
        """Compile for tiles of up to ``columns_of_cell[cell]`` columns where a cell has ``cell`` rows.

        Args:
            full_scale_reflectance: what has the code 255.
        """
        core = ov.Core()
        self._encoder = _Kernel(core, _encode_graph(full_scale_reflectance))
        self._inverters = {cell: _Inverter(core, cell, columns) for cell, columns in columns_of_cell.items()}

    def is_exact(self, table: U8) -> bool:
        """Whether every count gets the code that ``table``, uint8 (65536,), has for it."""
        codes = np.empty((1, 1, table.size), dtype=np.uint8)
        self.encode(np.arange(table.size, dtype=np.uint16).reshape(codes.shape), codes)
        return bool((codes == table).all())

    def encode(self, counts: U16, out: U8) -> None:
        """See `Arithmetic.encode`."""
        _, rows, columns = counts.shape
        together = max(1, _CHUNK_SAMPLES // columns)
        for samples, codes in zip(counts, out, strict=True):
            for row in range(0, rows, together):
                some = samples[row : row + together]
                shape, size = some.shape, some.size
                np.copyto(self._encoder.inputs["counts"][:size].reshape(shape), some)
                np.copyto(codes[row : row + together], self._encoder.run()[:size].reshape(shape))

    def invert(self, counts: U16, coefficients: F32, cell: int, out: U16) -> None:
        """See `Arithmetic.invert`."""
        inverter = self._inverters[cell]
        for band in range(counts.shape[0]):
            inverter.invert(counts[band], coefficients[:, band], out[band])


class _Kernel:
    """A compiled graph with its inputs as arrays to write to."""

    def __init__(self, core: ov.Core, graph: ov.Model) -> None:
        compiled = core.compile_model(graph, "CPU", dict(_SETTINGS))
        self._request = compiled.create_infer_request()
        self.inputs: dict[str, F32] = {}
        for parameter, port in zip(graph.get_parameters(), compiled.inputs, strict=True):
            array = np.full(tuple(port.shape), 0, dtype=np.float32)
            self.inputs[parameter.get_friendly_name()] = array
            self._request.set_tensor(port, ov.Tensor(array, shared_memory=True))
        self._output = self._request.get_output_tensor(0).data
        self.run()  # its memory is there from now on

    def run(self) -> F32 | U8:
        """The output for what the inputs hold now; valid until the next call."""
        self._request.infer()
        output: F32 | U8 = self._output
        return output


class _Inverter:
    """Solves one band of a tile, some stretches between rows of cell centres at a time."""

    def __init__(self, core: ov.Core, cell: int, columns: int) -> None:
        self._cell = cell
        self._kernel = _Kernel(core, _invert_graph(cell, columns))

    def invert(self, counts: U16, coefficients: F32, out: U16) -> None:
        """``counts`` and ``out`` (row, col), ``coefficients`` (3, cell row, col)."""
        cell, inputs = self._cell, self._kernel.inputs
        rows, columns = counts.shape
        samples = inputs["counts"].reshape(_STRETCHES * cell, -1)[:, :columns]
        for first in range(0, coefficients.shape[1] - 1, _STRETCHES):
            start = first * cell - cell // 2  # row of the band where these stretches begin
            low, high = max(0, start), min(rows, start + _STRETCHES * cell)
            if low >= high:
                continue
            here = slice(low - start, high - start)
            np.copyto(samples[here], counts[low:high])
            centres = coefficients[:, first : first + _STRETCHES + 1]
            count = centres.shape[1] - 1
            for quantity, name in zip(centres, _QUANTITIES, strict=True):
                np.copyto(inputs[name][:count, 0, :columns], quantity[:-1])
                np.subtract(quantity[1:], quantity[:-1], out=inputs[f"{name}_step"][:count, 0, :columns])
            solved = self._kernel.run().reshape(_STRETCHES * cell, -1)[here, :columns]
            np.copyto(out[low:high], solved, casting="unsafe")


_QUANTITIES = ("scale", "shift", "albedo")


def _encode_graph(full_scale_reflectance: float) -> ov.Model:
    """Codes of _CHUNK_SAMPLES counts; 0 for 0."""
    counts = _ops.parameter([_CHUNK_SAMPLES], np.float32, name="counts")
    per_count = 255.0**2 / (full_scale_reflectance * COUNTS_PER_REFLECTANCE)
    seen = _ops.relu(_ops.subtract(counts, _constant(COUNTS_OFFSET)))
    codes = _ops.round(_ops.sqrt(_ops.multiply(seen, _constant(per_count))), "HALF_TO_EVEN")
    has_data = _ops.minimum(counts, _constant(1.0))
    codes = _ops.multiply(_ops.clamp(codes, 1.0, 255.0), has_data)
    return ov.Model([_ops.convert(codes, np.uint8)], [counts], "encode")


def _invert_graph(cell: int, columns: int) -> ov.Model:
    """Surface counts plus one half, of _STRETCHES x cell rows; 0 for 0."""
    counts = _ops.parameter([_STRETCHES, cell, columns], np.float32, name="counts")
    weights = _ops.constant(((np.arange(cell) + 0.5) / cell).astype(np.float32).reshape(1, cell, 1))
    parameters, fine = [counts], []
    for name in _QUANTITIES:
        at_centre = _ops.parameter([_STRETCHES, 1, columns], np.float32, name=name)
        step = _ops.parameter([_STRETCHES, 1, columns], np.float32, name=f"{name}_step")
        parameters += [at_centre, step]
        fine.append(_ops.add(_ops.multiply(step, weights), at_centre))
    scale, shift, albedo = fine
    y = _ops.subtract(_ops.multiply(counts, scale), shift)
    surface = _ops.divide(y, _ops.add(_ops.multiply(y, albedo), _constant(1.0)))
    solved = _ops.clamp(_ops.add(surface, _constant(COUNTS_OFFSET + 0.5)), 1.0, _COUNTS_MAX)
    has_data = _ops.minimum(counts, _constant(1.0))
    return ov.Model([_ops.multiply(solved, has_data)], parameters, "invert")


def _constant(value: float) -> ov.Node:
    return _ops.constant(np.float32(value))
