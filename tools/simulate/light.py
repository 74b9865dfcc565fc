"""Sunlight on its way down: shadows of clouds, light that leaks through and between them.

Rules:
- A shadow falls where the sunbeam through the cloud meets the ground: by sun zenith and
  azimuth, view zenith and azimuth, and height; summed over the slices of the cloud, so that
  tall clouds throw slanted shadows.
- The direct beam keeps what the cloud table passes unscattered, forward peak included.
- What the cloud scatters downward, and sends out at its sides, spreads from its foot as from a
  lamp at the ceiling (cosine law): at height h it falls as h^2 / (h^2 + r^2)^2 / pi.
- Clouds hide part of the blue sky and throw ground light back down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from payload.types import F32, Grid, Window
from tools.simulate.cloud_fields import Cloud
from tools.simulate.geometry import Geometry
from tools.simulate.lookup import CloudCurves, cloud, place

PIXEL_KM = 0.01
CONTEXT_PITCH_PX = 12
SLICE_PX = 4.0
SLICES_MAX = 24
SMEAR_MARGIN_PX = 24


def grown(window: Window, margin_px: int) -> Window:
    """The window with a margin all around."""
    return Window(
        window.row - margin_px,
        window.col - margin_px,
        window.rows + 2 * margin_px,
        window.cols + 2 * margin_px,
    )


def shadow_depth(layer: Cloud, window: Window, geometry: Geometry, floor_km: float = 0.0) -> F32:
    """Optical depth of the cloud (as if seen from above) along the sunbeam to each pixel.

    ``floor_km`` is the height of what the shadow falls on: 0 for the ground.
    """
    down, right = (per / PIXEL_KM for per in geometry.shadow_per_height)
    foot, top = layer.foot_km - floor_km, layer.top_km - floor_km
    length_px = float(np.hypot(down, right)) * (top - foot)
    slices = int(np.clip(np.ceil(length_px / SLICE_PX), 1, SLICES_MAX))
    slab = (top - foot) / slices
    heights = foot + (np.arange(slices) + 0.5) * slab
    wide = grown(window, SMEAR_MARGIN_PX)
    moves = [(round(down * height), round(right * height)) for height in heights]
    first = (max(move[0] for move in moves), max(move[1] for move in moves))
    last = (min(move[0] for move in moves), min(move[1] for move in moves))
    source = Window(
        wide.row - first[0],
        wide.col - first[1],
        wide.rows + first[0] - last[0],
        wide.cols + first[1] - last[1],
    )
    depth = layer.depth(source)
    shadow = np.zeros((wide.rows, wide.cols), np.float32)
    if not depth.any():
        return shadow[: window.rows, : window.cols]
    thickness = layer.thickness(depth)
    per_km = depth / thickness
    reached = int(np.ceil(float(thickness.max()) / slab))
    for number, (row, col) in enumerate(moves[:reached]):
        rows = slice(first[0] - row, first[0] - row + wide.rows)
        cols = slice(first[1] - col, first[1] - col + wide.cols)
        inside = np.clip(thickness[rows, cols] - np.float32(number * slab), 0, slab)
        inside *= per_km[rows, cols]
        shadow += inside
    inner = slice(SMEAR_MARGIN_PX, -SMEAR_MARGIN_PX)
    return _smeared(shadow, down * slab, right * slab)[inner, inner]


def _smeared(field: F32, down_px: float, right_px: float) -> F32:
    """The mean over a stretch of that length: what lies between two slices, by doubling."""
    for part in (2, 4, 8):
        row, col = round(down_px / part), round(right_px / part)
        if row or col:
            field = 0.5 * (field + np.roll(field, (row, col), (0, 1)))
    return field


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a place sees of its surroundings, every CONTEXT_PITCH_PX, over the whole scene.

    Attributes:
        row, col: pixel of the first node's centre.
        leaked: diffuse light through all clouds (13, rows, cols), share of what falls above; None
            without clouds.
        cover: share of the sky that clouds hide (rows, cols).
        ground: mean reflectance of the surroundings (13, rows, cols).
    """

    row: float
    col: float
    leaked: F32 | None
    cover: F32
    ground: F32

    def at(self, field: F32, window: Window, pitch: int) -> F32:
        """A context field on the grid of ``pitch`` over the window, linear between nodes."""
        row = (
            window.row + (np.arange(window.rows // pitch) + 0.5) * pitch - 0.5 - self.row
        ) / CONTEXT_PITCH_PX
        col = (
            window.col + (np.arange(window.cols // pitch) + 0.5) * pitch - 0.5 - self.col
        ) / CONTEXT_PITCH_PX
        down, right = (_linear(where, size) for where, size in zip((row, col), field.shape[-2:], strict=True))
        return np.asarray(down @ field @ right.T, np.float32)


def _linear(where: np.ndarray, nodes: int) -> F32:
    """Matrix (places, nodes) of linear interpolation, held at the ends."""
    held = np.clip(where, 0, nodes - 1.001)
    first = held.astype(np.intp)
    share = (held - first).astype(np.float32)
    matrix = np.zeros((len(where), nodes), np.float32)
    matrix[np.arange(len(where)), first] = 1 - share
    matrix[np.arange(len(where)), first + 1] = share
    return matrix


def under_ceiling(light: F32, height_km: float) -> F32:
    """Light (..., rows, cols) from a glowing ceiling as it arrives below; mirrored at the edges."""
    rows, cols = light.shape[-2:]
    margin = int(np.clip(np.ceil(4 * height_km / (PIXEL_KM * CONTEXT_PITCH_PX)), 4, min(rows, cols) - 1))
    down = np.fft.fftfreq(rows + 2 * margin, 1.0 / (rows + 2 * margin)).astype(np.float32)[:, None]
    right = np.fft.fftfreq(cols + 2 * margin, 1.0 / (cols + 2 * margin)).astype(np.float32)[None, :]
    square = (down**2 + right**2) * np.float32((PIXEL_KM * CONTEXT_PITCH_PX) ** 2)
    height = np.float32(max(height_km, 0.5 * PIXEL_KM * CONTEXT_PITCH_PX))
    kernel = height**2 / (height**2 + square) ** 2
    taps = np.fft.rfft2(kernel / kernel.sum())
    done = np.empty(light.shape, np.float32)
    for plane in np.ndindex(light.shape[:-2]):
        padded = np.pad(light[plane], margin, mode="symmetric")
        spread = np.fft.irfft2(np.fft.rfft2(padded) * taps, s=padded.shape)
        done[plane] = spread[margin : margin + rows, margin : margin + cols]
    return done


def leaked_light(layers: Sequence[Cloud], curves: Sequence[CloudCurves], depths: Sequence[F32]) -> F32 | None:
    """Diffuse light (13, rows, cols) that clouds of those depths (rows, cols) let down to the ground.

    From the lowest up: what leaks through a layer comes of the beam, or of the leak, above it.
    """
    if not layers:
        return None
    leaked = np.zeros((len(curves[0].down), *depths[0].shape), np.float32)
    columns = [place(depth) for depth in depths]
    for band, total in enumerate(leaked):
        beam = np.ones_like(total)
        for layer, curve, column in zip(layers, curves, columns, strict=True):
            scattered = np.maximum(curve.down[band] - curve.direct_down[band], 0)
            through = under_ceiling((scattered + layer.sides * curve.sphere[band])[column], layer.foot_km)
            direct = curve.direct_down[band][column]
            total[:] = total * (direct + through) + beam * through
            beam *= direct
    return leaked


def open_sky(layers: Sequence[Cloud], depths: Sequence[F32]) -> F32:
    """Share of the sky hidden by clouds of those depths (rows, cols), seen from the ground."""
    hidden = [
        under_ceiling(-np.expm1(-depth), layer.foot_km) for layer, depth in zip(layers, depths, strict=True)
    ]
    clear = np.prod([1 - share for share in hidden], axis=0)
    return np.asarray(1 - clear, np.float32)


def curves_of(layers: Sequence[Cloud], geometry: Geometry) -> list[CloudCurves]:
    """The table curves of each layer."""
    return [cloud(layer.optics, geometry) for layer in layers]


def means(planes: F32, grid: Grid) -> F32:
    """Means of (band, row, col) over the pixels of a grid."""
    pitch = int(grid)
    if pitch == 1:
        return planes
    bands, rows, cols = planes.shape
    return planes.reshape(bands, rows // pitch, pitch, cols // pitch, pitch).mean(
        axis=(2, 4), dtype=np.float32
    )
