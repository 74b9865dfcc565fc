"""How people divide land: districts, each with its own grain of plots; no two plots the same size.

Everything is a function of the place, by hashing whole numbers, so that any window can be
looked at on its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from payload.types import F32, Window
from tools.simulate.noise import Canvas, Noise

U32 = NDArray[np.uint32]

WARP_PX = 5.0


def scrambled(*numbers: NDArray[np.int64] | int) -> U32:
    """One evenly spread 32-bit number for each tuple of whole numbers."""
    state: U32 = np.asarray(0x811C9DC5, np.uint32)
    with np.errstate(over="ignore"):
        for number in numbers:
            state = (state ^ np.asarray(number).astype(np.uint32)) * np.uint32(0x9E3779B1)
            state = state ^ (state >> np.uint32(15))
            state = state * np.uint32(0x85EBCA77)
            state = state ^ (state >> np.uint32(13))
    return state


def share_of(number: U32) -> F32:
    """0 .. 1, evenly."""
    return (number >> np.uint32(8)).astype(np.float32) * np.float32(1.0 / (1 << 24))


def places(window: Window, step: int) -> tuple[F32, F32]:
    """Row and column of every ``step``-th pixel, (rows, 1) and (1, cols)."""
    row = np.arange(window.row, window.row_end, step, dtype=np.float32)[:, None]
    return row, np.arange(window.col, window.col_end, step, dtype=np.float32)[None, :]


@dataclass(frozen=True, slots=True, eq=False)
class Plots:
    """Land in plots.

    Attributes:
        seed: which land.
        district_px: typical size of a district.
        width_px, length_px: typical size of a plot; districts differ from it.
        warp: two fields that bend the borders of districts.
    """

    seed: int
    district_px: float
    width_px: float
    length_px: float
    warp: tuple[Noise, Noise]

    def number(self, window: Window, step: int = 1) -> U32:
        """A number for each pixel, the same within a plot and evenly spread over plots.

        Looked up every second pixel, the same ones from any window, and repeated.
        """
        if step == 1:
            row, col = window.row // 2 * 2, window.col // 2 * 2
            even = Window(row, col, window.row_end - row, window.col_end - col)
            number = self.number(even, 2).repeat(2, 0).repeat(2, 1)
            return number[window.row - row :, window.col - col :][: window.rows, : window.cols]
        row, col = places(window, step)
        row = row + WARP_PX * self.warp[0].at(window, step)
        col = col + WARP_PX * self.warp[1].at(window, step)
        district = self._district(row, col)
        angle = np.pi * share_of(scrambled(district, 1))
        cosine, sine = np.cos(angle), np.sin(angle)
        grain = 0.5 + 1.2 * share_of(scrambled(district, 2))
        across = (row * cosine + col * sine) / (self.width_px * grain)
        along = (col * cosine - row * sine) / (self.length_px * grain)
        lane = _cut(across, district)
        stretch = 0.6 + 0.9 * share_of(scrambled(district, lane, 3))
        shift = 9.0 * share_of(scrambled(district, lane, 4))
        plot = _cut(along * stretch + shift + 0.1 * across, scrambled(district, lane))
        return scrambled(district, lane, plot)

    def _district(self, row: F32, col: F32) -> U32:
        """The nearest of points strewn one to a square."""
        size = np.float32(self.district_px)
        down, right = np.floor(row / size).astype(np.int64), np.floor(col / size).astype(np.int64)
        first = (int(down.min()) - 1, int(right.min()) - 1)
        squares = np.indices((int(down.max()) - first[0] + 2, int(right.max()) - first[1] + 2))
        number = scrambled(squares[0] + first[0], squares[1] + first[1], self.seed)
        centre_row = (squares[0] + first[0] + share_of(scrambled(number, 5))) * size
        centre_col = (squares[1] + first[1] + share_of(scrambled(number, 6))) * size
        centre_row, centre_col = centre_row.astype(np.float32), centre_col.astype(np.float32)
        down, right = down - first[0], right - first[1]
        nearest = np.full(down.shape, np.inf, np.float32)
        district = np.zeros(down.shape, np.uint32)
        for step_down in (-1, 0, 1):
            for step_right in (-1, 0, 1):
                square = (down + step_down, right + step_right)
                distance = (row - centre_row[square]) ** 2 + (col - centre_col[square]) ** 2
                closer = distance < nearest
                np.copyto(nearest, distance, where=closer)
                np.copyto(district, number[square], where=closer)
        return district


def _cut(place: F32, number: U32) -> NDArray[np.int64]:
    """Whole parts of ``place``, borders moved by chance, now and then one missing."""
    whole = np.floor(place).astype(np.int64)
    border = 0.7 * share_of(scrambled(number, whole, 7))
    whole = whole - (place - whole < border)
    joined = share_of(scrambled(number, whole >> 1, 8)) < 0.25
    return np.where(joined, whole >> 1 << 1, whole)


def lay_plots(canvas: Canvas, width_px: float, length_px: float, district_px: float) -> Plots:
    """Plots of about that size."""
    warp = (canvas.noise(2.3, district_px), canvas.noise(2.3, district_px))
    return Plots(int(canvas.rng.integers(1 << 30)), district_px, width_px, length_px, warp)
