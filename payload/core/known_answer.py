"""Known tiles and the answers that a device must give to them.

    0   8  magic
    8   2  format, big-endian like all numbers of the layout
   10   2  tiles
   12   2  rows_px, columns_px of every tile's window (2 bytes each), multiples of 48
   16   2  step: every step-th row and column of the output is kept as a sample
           per tile: geometry 4 x float32; codes of the 10, 20 and 60 m grids, uint8;
           samples: uint8 (scene) or little-endian float32 (surface), whole blocks of rows

Rules:
1. A device passes when at most ``disagreement_ratio`` of all samples lie further than
   ``tolerance`` from the expected ones; NaN never lies within a tolerance.
2. An answer of another shape or type never passes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.core.refusals import Refusal, refuse
from payload.types import BANDS_OF_GRID, F32, SURFACE_BANDS_OF_GRID, U8, Grid, Task, Tile, TileGrid, Window

MAGIC = b"SKYKAT\r\n"
FORMAT = 1
TILES_MAX = 16
WINDOW_MAX_PX = 1056

_HEADER = struct.Struct(">8sHHHHH")
_GEOMETRY_BYTES = 16
_CELL_PX = 24
_CLASSES = 4
_PHASE_PX = 48


@dataclass(frozen=True, slots=True, eq=False)
class KnownAnswers:
    """Tiles whose whole window is inner, and per tile the samples expected of ``task``."""

    task: Task
    grid: TileGrid
    step: int
    tiles: tuple[Tile, ...]
    samples: tuple[NDArray[Any], ...]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How a device's answers differ: the largest difference, and the share past the tolerance."""

    largest: float
    ratio: float


def output_shape(task: Task, rows_px: int, columns_px: int) -> tuple[int, ...]:
    """The shape of `payload.types.Inference.output` for a window."""
    if task is Task.SCENE:
        return (_CLASSES, rows_px, columns_px)
    bands = sum(map(len, SURFACE_BANDS_OF_GRID.values()))
    return (4, bands, rows_px // _CELL_PX, columns_px // _CELL_PX)


def samples_of(output: NDArray[Any], step: int) -> NDArray[Any]:
    """The kept samples of an output (..., row, col)."""
    return np.ascontiguousarray(output[..., ::step, ::step])


def write_known_answers(known: KnownAnswers) -> bytes:
    """The file of ``known``; the same bytes for the same content."""
    rows_px, columns_px = known.grid.inner_rows_px, known.grid.inner_columns_px
    parts = [_HEADER.pack(MAGIC, FORMAT, len(known.tiles), rows_px, columns_px, known.step)]
    for tile, samples in zip(known.tiles, known.samples, strict=True):
        parts.append(tile.geometry.astype("<f4").tobytes())
        parts += [tile.codes[grid].tobytes() for grid in Grid]
        parts.append(samples.astype(_sample_type(known.task)).tobytes())
    return b"".join(parts)


def read_known_answers(content: bytes, task: Task) -> KnownAnswers:
    """What `write_known_answers` wrote.

    Raises:
        InstallError: malformed.
    """
    if len(content) < _HEADER.size:
        raise refuse(Refusal.MALFORMED, "known answers: shorter than their header")
    magic, form, count, rows_px, columns_px, step = _HEADER.unpack_from(content)
    if magic != MAGIC or form != FORMAT or not 1 <= count <= TILES_MAX or not 1 <= step <= rows_px:
        raise refuse(Refusal.MALFORMED, "known answers: not of this format")
    for size_px in (rows_px, columns_px):
        if size_px % _PHASE_PX or not _PHASE_PX <= size_px <= WINDOW_MAX_PX:
            raise refuse(Refusal.MALFORMED, f"known answers: a window of {size_px} px")
    grid = TileGrid(rows_px, columns_px, 0)
    output = np.empty(output_shape(task, rows_px, columns_px), _sample_type(task))
    shape = samples_of(output, step).shape
    tile_bytes = _GEOMETRY_BYTES + _codes_bytes(grid) + int(np.prod(shape)) * output.itemsize
    if len(content) != _HEADER.size + count * tile_bytes:
        raise refuse(Refusal.MALFORMED, "known answers: not as long as they say")
    starts = range(_HEADER.size, len(content), tile_bytes)
    tiles = [_read_tile(content, start, grid, index) for index, start in enumerate(starts)]
    samples = [
        np.frombuffer(
            content[start : start + tile_bytes], output.dtype, offset=tile_bytes - _bytes_of(shape, output)
        )
        for start in starts
    ]
    return KnownAnswers(task, grid, step, tuple(tiles), tuple(found.reshape(shape) for found in samples))


def compare(known: KnownAnswers, answers: Sequence[NDArray[Any]], tolerance: float) -> Disagreement:
    """How the whole outputs ``answers``, one for each tile, differ from the expected samples.

    Raises:
        InstallError: an answer has another shape or type than the task's.
    """
    largest, beyond, total = 0.0, 0, 0
    shape = output_shape(known.task, known.grid.inner_rows_px, known.grid.inner_columns_px)
    for answer, expected in zip(answers, known.samples, strict=True):
        if answer.shape != shape or answer.dtype != expected.dtype:
            raise refuse(
                Refusal.WRONG_ANSWER,
                f"the answer is {answer.dtype} {answer.shape}, not {expected.dtype} {shape}",
            )
        difference = np.abs(samples_of(answer, known.step).astype(np.float64) - expected)
        beyond += int(np.count_nonzero(~(difference <= tolerance)))
        total += difference.size
        finite = np.where(np.isfinite(difference), difference, np.finfo(np.float32).max)
        largest = max(largest, float(finite.max()))
    return Disagreement(largest, beyond / total)


def _read_tile(content: bytes, start: int, grid: TileGrid, index: int) -> Tile:
    geometry: F32 = np.frombuffer(content, "<f4", 4, start).astype(np.float32).reshape(1, 4, 1, 1)
    start += _GEOMETRY_BYTES
    codes: dict[Grid, U8] = {}
    for pitch, bands in BANDS_OF_GRID.items():
        shape = (1, len(bands), grid.inner_rows_px // pitch, grid.inner_columns_px // pitch)
        count = int(np.prod(shape))
        codes[pitch] = np.frombuffer(content, np.uint8, count, start).reshape(shape).copy()
        start += count
    window = Window(0, index * grid.inner_columns_px, grid.inner_rows_px, grid.inner_columns_px)
    valid = np.ones((grid.inner_rows_px, grid.inner_columns_px), np.bool_)
    return Tile(index, window, window, codes, geometry, valid, valid.size)


def _codes_bytes(grid: TileGrid) -> int:
    return sum(len(bands) * (grid.window_px // pitch**2) for pitch, bands in BANDS_OF_GRID.items())


def _bytes_of(shape: tuple[int, ...], like: NDArray[Any]) -> int:
    return int(np.prod(shape)) * like.itemsize


def _sample_type(task: Task) -> str:
    return "u1" if task is Task.SCENE else "<f4"
