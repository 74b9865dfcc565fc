"""Runs a flight artifact on the ground exactly as flight does: one thread, float32 asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from payload.drivers import engine_openvino
from payload.drivers.engine_openvino import GEOMETRY, GRID_OF_INPUT
from payload.types import BANDS_OF_GRID, F32, U8, Grid

INPUT_OF_GRID = {grid: name for name, grid in GRID_OF_INPUT.items()}
CHANNELS_OF_GRID = {grid: len(bands) for grid, bands in BANDS_OF_GRID.items()}


def compile_for_window(xml: Path, rows_px: int, columns_px: int) -> ov.CompiledModel:
    """The artifact compiled for one window size, by the engine's own code; one thread."""
    core = ov.Core()
    return engine_openvino.compile_for_window(core, core.read_model(xml), rows_px, columns_px, 1, 1)


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
