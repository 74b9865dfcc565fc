"""Shapes of clouds: where they are, how thick, how high.

Rules:
- A cloud is a field of optical depth (at 0.55 um) over the ground, a foot and a thickness
  that grows with the depth; between foot and top its droplets are spread evenly.
- Textures follow power laws: amplitude ~ frequency^-1.3 .. -1.9, that is spectra of -1.6 to
  -2.8 (measured in stratocumulus: -5/3; Davis et al. 1997, J. Atmos. Sci. 54, 241).
- Cumulus have sharp, ragged edges and many sizes; veils have soft edges.
- Where a cloud lies is where the instrument sees it, projected down onto the ground.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from payload.types import F32, Window
from tools.simulate.noise import Canvas, smooth_step, threshold_of_cover

DEPTH_MAX = 80.0
THICKEST_KM = 1.0
"""Of sheets and veils; heaps may be taller."""

Shape = Callable[[Window, int], F32]


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """One layer of cloud.

    Attributes:
        name: what a person would call it.
        optics: kind in the cloud table.
        foot_km: height of its lower side above the ground.
        top_km: greatest height that it reaches.
        thickness_km: thickness of an optical depth of 1; grows with the square root.
        shape: optical depth of a window at every n-th pixel.
        relief: how strongly the sides towards the sun are brighter, 0..1.
        sides: share of the light sent back by a flat cloud that leaves this one sideways and
            reaches the ground; grows with height over width.
    """

    name: str
    optics: str
    foot_km: float
    top_km: float
    thickness_km: float
    shape: Shape
    relief: float
    sides: float = 0.0

    def depth(self, window: Window, step: int = 1) -> F32:
        """Optical depth 0 .. 80 at every ``step``-th pixel of the window."""
        return np.clip(self.shape(window, step), 0.0, DEPTH_MAX).astype(np.float32, copy=False)

    def thickness(self, depth: F32) -> F32:
        """Kilometres between foot and top where the cloud has that depth."""
        grown = np.float32(self.thickness_km) * np.sqrt(depth)
        return np.clip(grown, 0.02, self.top_km - self.foot_km).astype(np.float32, copy=False)


def _cloud(
    name: str,
    optics: str,
    foot_km: float,
    per_depth_km: float,
    shape: Shape,
    relief: float = 0.0,
    thickest_km: float | None = None,
) -> Cloud:
    thickest = thickest_km or float(np.clip(per_depth_km * 30.0**0.5, 0.05, THICKEST_KM))
    return Cloud(name, optics, foot_km, foot_km + thickest, per_depth_km, shape, relief)


def _droplets(canvas: Canvas) -> str:
    return str(canvas.rng.choice(["water_6um", "water_10um", "water_16um"], p=[0.45, 0.42, 0.13]))


def cumulus(canvas: Canvas, cover_ratio: float | None = None) -> Cloud:
    """Heaps of many sizes: lumpy inside, frayed and half transparent at the hem."""
    rng = canvas.rng
    size_px = canvas.log_uniform(18.0, 220.0)
    cover = cover_ratio or float(rng.choice([canvas.uniform(0.01, 0.15), canvas.uniform(0.1, 0.6)]))
    groups = canvas.noise(1.9, size_px * canvas.uniform(2.0, 6.0))
    lumps = canvas.noise(canvas.uniform(1.6, 2.2), size_px)
    ragged = canvas.noise(canvas.uniform(1.0, 1.5), max(10.0, size_px / 3))
    group_share, ragged_share = canvas.uniform(0.2, 1.0), canvas.uniform(0.08, 0.3)
    spread = float(np.sqrt(1 + group_share**2 + ragged_share**2))
    edge = threshold_of_cover(cover) * spread
    deepest, rise = canvas.log_uniform(3.5, 50.0), canvas.uniform(0.25, 1.2)
    lumpy, hem, fray = canvas.uniform(0.1, 0.4), canvas.log_uniform(0.06, 0.8), canvas.uniform(1.0, 2.5)

    def shape(window: Window, step: int) -> F32:
        rough = ragged.at(window, step)
        field = lumps.at(window, step) + group_share * groups.at(window, step) + ragged_share * rough
        above = np.maximum(field - np.float32(edge), 0.0)
        body = -np.expm1(-above / np.float32(rise)) * (above / (above + np.float32(hem))) ** fray
        return np.float32(deepest) * body * np.exp(np.float32(lumpy) * rough)

    foot = canvas.log_uniform(0.35, 2.2)
    width_km = 0.01 * size_px / 3.0
    tallest_km = float(np.clip(width_km * canvas.uniform(0.4, 1.3), 0.06, 2.5))
    per_depth = tallest_km / np.sqrt(deepest)
    heap = _cloud(
        "cumulus", _droplets(canvas), foot, per_depth, shape, canvas.uniform(0.2, 0.9), 1.3 * tallest_km
    )
    return replace(heap, sides=canvas.uniform(0.25, 0.7))


def stratocumulus(canvas: Canvas) -> Cloud:
    """A broken or closed sheet with a texture of cells or rolls."""
    stretch = 1.0 if canvas.rng.random() < 0.5 else canvas.uniform(1.2, 3.0)
    along = canvas.angle_rad()
    cells = canvas.noise(canvas.uniform(1.3, 1.7), canvas.log_uniform(25.0, 160.0), stretch, along)
    fine = canvas.noise(canvas.uniform(0.9, 1.3), 20.0)
    sheet = canvas.noise(1.8)
    middle, contrast = canvas.log_uniform(3.0, 25.0), canvas.uniform(0.3, 0.9)
    edge = threshold_of_cover(canvas.uniform(0.3, 1.0))
    soft = canvas.uniform(0.1, 0.5)

    def shape(window: Window, step: int) -> F32:
        field = cells.at(window, step) + np.float32(0.2) * fine.at(window, step)
        broken = smooth_step((field + 0.8 * sheet.at(window, step)) / np.float32(1.3), edge, soft)
        return np.float32(middle) * np.exp(np.float32(contrast) * field) * broken

    foot = canvas.log_uniform(0.4, 3.0)
    return _cloud(
        "stratocumulus", _droplets(canvas), foot, canvas.uniform(0.04, 0.11), shape, canvas.uniform(0.2, 0.8)
    )


def overcast(canvas: Canvas) -> Cloud:
    """A sheet without holes, smooth, deep."""
    field = canvas.noise(canvas.uniform(1.4, 1.9))
    middle, contrast = canvas.log_uniform(5.0, 50.0), canvas.uniform(0.1, 0.6)

    def shape(window: Window, step: int) -> F32:
        return np.float32(middle) * np.exp(np.float32(contrast) * field.at(window, step))

    high = canvas.rng.random() < 0.25
    optics = "ice_40um" if high else _droplets(canvas)
    foot = canvas.uniform(4.0, 7.0) if high else canvas.uniform(0.5, 4.0)
    return _cloud("overcast", optics, foot, canvas.uniform(0.1, 0.4), shape, canvas.uniform(0.1, 0.5))


def cirrus(canvas: Canvas) -> Cloud:
    """A veil of ice, in fibres or smooth, often barely there."""
    stretch, along = canvas.uniform(1.0, 5.0), canvas.angle_rad()
    fibres = canvas.noise(canvas.uniform(1.2, 1.7), canvas.log_uniform(60.0, 600.0), stretch, along)
    billows = canvas.noise(1.8)
    middle, contrast = canvas.log_uniform(0.05, 2.5), canvas.uniform(0.4, 1.2)
    edge = -9.0 if canvas.rng.random() < 0.35 else threshold_of_cover(canvas.uniform(0.15, 1.0))
    soft, share = canvas.uniform(0.5, 2.0), canvas.uniform(0.2, 1.0)

    def shape(window: Window, step: int) -> F32:
        wide = billows.at(window, step)
        field = (fibres.at(window, step) + np.float32(share) * wide) / np.float32(np.hypot(1.0, share))
        return np.float32(middle) * np.exp(np.float32(contrast) * field) * smooth_step(wide, edge, soft)

    optics = str(canvas.rng.choice(["ice_40um", "ice_80um"]))
    return _cloud("cirrus", optics, canvas.uniform(6.0, 11.5), canvas.uniform(0.2, 0.8), shape)


def contrail(canvas: Canvas) -> Cloud:
    """One to three straight trails of ice, new and sharp or old and wide."""
    rng, side = canvas.rng, max(canvas.rows, canvas.columns)
    puffs = canvas.noise(1.2, 60.0)
    trails = [
        (
            canvas.angle_rad(),
            rng.uniform(0, canvas.rows),
            rng.uniform(0, canvas.columns),
            canvas.log_uniform(1.2, 16.0),
            canvas.log_uniform(0.1, 1.2),
            rng.uniform(-0.4, 0.4) / side,
        )
        for _ in range(int(rng.integers(1, 4)))
    ]

    def shape(window: Window, step: int) -> F32:
        row = np.arange(window.row, window.row_end, step, dtype=np.float32)[:, None]
        col = np.arange(window.col, window.col_end, step, dtype=np.float32)[None, :]
        depth = np.zeros((len(row), col.shape[1]), np.float32)
        for angle, row0, col0, width, middle, bend in trails:
            along = (col - col0) * np.cos(angle) + (row - row0) * np.sin(angle)
            across = (row - row0) * np.cos(angle) - (col - col0) * np.sin(angle) + bend * along**2
            depth += np.float32(middle) * np.exp(-0.5 * (across / np.float32(width)) ** 2)
        return (depth * np.exp(np.float32(0.5) * puffs.at(window, step))).astype(np.float32)

    return _cloud("contrail", "ice_40um", canvas.uniform(8.0, 11.5), 0.3, shape)


def altocumulus(canvas: Canvas) -> Cloud:
    """Ripples and flocks at middle heights, mostly thin."""
    stretch, along = canvas.uniform(1.0, 2.5), canvas.angle_rad()
    ripples = canvas.noise(canvas.uniform(0.9, 1.3), canvas.log_uniform(12.0, 50.0), stretch, along)
    sheet = canvas.noise(1.8)
    middle, contrast = canvas.log_uniform(0.3, 6.0), canvas.uniform(0.4, 1.0)
    edge = threshold_of_cover(canvas.uniform(0.2, 1.0))

    def shape(window: Window, step: int) -> F32:
        whole = smooth_step(sheet.at(window, step), edge, 0.6)
        return np.float32(middle) * np.exp(np.float32(contrast) * ripples.at(window, step)) * whole

    optics = str(canvas.rng.choice(["water_10um", "ice_40um"], p=[0.7, 0.3]))
    return _cloud("altocumulus", optics, canvas.uniform(2.4, 6.0), canvas.uniform(0.05, 0.2), shape, 0.3)


def haze(canvas: Canvas) -> Cloud:
    """Fog, mist and thin stratus: low, smooth, half transparent."""
    field = canvas.noise(canvas.uniform(1.6, 2.1))
    middle, contrast = canvas.log_uniform(0.15, 2.5), canvas.uniform(0.3, 1.0)
    edge = -9.0 if canvas.rng.random() < 0.5 else threshold_of_cover(canvas.uniform(0.3, 1.0))
    soft = canvas.uniform(0.5, 2.0)

    def shape(window: Window, step: int) -> F32:
        wide = field.at(window, step)
        return np.float32(middle) * np.exp(np.float32(contrast) * wide) * smooth_step(wide, edge, soft)

    return _cloud("haze", _droplets(canvas), canvas.log_uniform(0.05, 3.0), 0.1, shape)


def smoke(canvas: Canvas) -> Cloud:
    """A plume that widens downwind of its fire."""
    angle = canvas.uniform(0.0, 2 * np.pi)
    row0, col0 = canvas.uniform(0, canvas.rows), canvas.uniform(0, canvas.columns)
    puffs = canvas.noise(1.5, 90.0, 1.6, angle)
    opening, middle = canvas.uniform(0.06, 0.3), canvas.log_uniform(0.4, 5.0)
    reach_px = canvas.log_uniform(80.0, 1500.0)

    def shape(window: Window, step: int) -> F32:
        row = np.arange(window.row, window.row_end, step, dtype=np.float32)[:, None] - np.float32(row0)
        col = np.arange(window.col, window.col_end, step, dtype=np.float32)[None, :] - np.float32(col0)
        rough = puffs.at(window, step)
        along = col * np.cos(angle) + row * np.sin(angle)
        wide = 2.0 + np.float32(opening) * np.maximum(along, 0.0)
        across = (row * np.cos(angle) - col * np.sin(angle)) + 0.5 * wide * rough
        thinned = (
            np.exp(-along / np.float32(reach_px)) * smooth_step(along, 0.0, 6.0) * (8 / (6 + wide)) ** 0.3
        )
        plume = np.float32(middle) * thinned * np.exp(-0.5 * (across / wide) ** 2 + 0.4 * rough)
        return plume.astype(np.float32)

    return _cloud("smoke", "smoke", canvas.uniform(0.3, 2.0), 0.2, shape)


REGIMES: tuple[tuple[tuple[Callable[[Canvas], Cloud], ...], float], ...] = (
    ((), 0.14),
    ((cumulus,), 0.31),
    ((stratocumulus,), 0.08),
    ((overcast,), 0.04),
    ((cirrus,), 0.10),
    ((contrail,), 0.02),
    ((haze,), 0.06),
    ((altocumulus,), 0.05),
    ((smoke,), 0.02),
    ((cumulus, cirrus), 0.08),
    ((stratocumulus, cirrus), 0.03),
    ((cumulus, haze), 0.03),
    ((cumulus, altocumulus), 0.04),
)
"""What the sky holds, and how often."""


def draw_clouds(canvas: Canvas) -> tuple[Cloud, ...]:
    """The clouds of one scene, from the lowest up."""
    shares = np.array([share for _, share in REGIMES])
    makers = REGIMES[int(canvas.rng.choice(len(REGIMES), p=shares / shares.sum()))][0]
    return tuple(sorted((maker(canvas) for maker in makers), key=lambda cloud: cloud.foot_km))
