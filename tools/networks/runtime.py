"""Runs a flight artifact on the ground exactly as flight does: one thread, float32 asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from payload.types import F32, U8, Grid

INPUT_OF_GRID = {Grid.R10M: "b10", Grid.R20M: "b20", Grid.R60M: "b60"}
CHANNELS_OF_GRID = {Grid.R10M: 4, Grid.R20M: 6, Grid.R60M: 3}
GEOMETRY = "geometry"
CPU_CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
"""As in flight: one thread, and the precision set, because the default silently takes bf16."""


def input_shapes(model: ov.Model, rows_px: int, columns_px: int) -> dict[str, list[int]]:
    """The shape of every input for one window."""
    grid_of = {name: grid for grid, name in INPUT_OF_GRID.items()}
    shapes = {}
    for port in model.inputs:
        name = port.get_any_name()
        grid = grid_of.get(name)
        spatial = [1, 1] if grid is None else [rows_px // grid, columns_px // grid]
        shapes[name] = [1, 4 if grid is None else CHANNELS_OF_GRID[grid], *spatial]
    return shapes


def compile_for_window(xml: Path, rows_px: int, columns_px: int) -> ov.CompiledModel:
    """The artifact compiled for one window size."""
    core = ov.Core()
    model = core.read_model(xml)
    model.reshape(input_shapes(model, rows_px, columns_px))
    return core.compile_model(model, "CPU", CPU_CONFIG)


class Runner:
    """An artifact that is compiled again whenever the window size changes."""

    def __init__(self, xml: Path) -> None:
        self._xml = xml
        self._size: tuple[int, int] | None = None
        self._request: ov.InferRequest | None = None
        self._has_geometry = False

    def __call__(self, codes: Mapping[Grid, U8], geometry: F32 | None = None) -> NDArray[np.generic]:
        """The output for one window, without the batch axis; unknown geometry is all zeros."""
        rows, cols = codes[Grid.R10M].shape[1:]
        if self._request is None or self._size != (rows, cols):
            compiled = compile_for_window(self._xml, rows, cols)
            self._has_geometry = any(GEOMETRY in port.get_names() for port in compiled.inputs)
            self._request = compiled.create_infer_request()
            self._size = (rows, cols)
        feed: dict[str, NDArray[np.generic]] = {
            INPUT_OF_GRID[grid]: np.ascontiguousarray(plane[None]) for grid, plane in codes.items()
        }
        if self._has_geometry:
            known = np.zeros(4, np.float32) if geometry is None else geometry
            feed[GEOMETRY] = known.reshape(1, 4, 1, 1)
        self._request.infer(feed)
        answer: NDArray[np.generic] = self._request.get_output_tensor(0).data[0].copy()
        return answer
