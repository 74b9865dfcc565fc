"""A whole made-up strip, made block by block of rows, as an instrument would deliver it.

What is kept in memory is what decides the scene: random fields as tiles, and the surroundings
of every place at 120 m. A block of rows is rendered in pieces side by side, each with margins
and with random numbers of its own, so a strip is the same however much of it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from payload.drivers.strip_header import GROUND_SPEED_M_S
from payload.types import F32, U8, U16, Band, Georeference, Grid, RowBlock, StripInfo, Window
from tools.simulate.country import draw_country, draw_sky
from tools.simulate.geometry import Geometry
from tools.simulate.instrument import Flaws, Instrument, draw_instrument
from tools.simulate.light import grown
from tools.simulate.noise import Canvas
from tools.simulate.patches import classes_of
from tools.simulate.render import Seen, render
from tools.simulate.world import World, draw_state, make_world

PIXEL_M = 10.0
BLOCK_ROWS, PIECE_COLUMNS = 240, 732
SEAM_PX = 6
SWATH_EDGE_TANGENT, SWATH_WIDTH_RATIO = 0.21, 1.04
START_UTC_NS = 1_717_236_000_000_000_000
LINE_PERIOD_S = PIXEL_M / GROUND_SPEED_M_S


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is true of a block of rows; 10 m grid unless it is per grid.

    Attributes:
        classes: SceneClass, uint8; no data where the instrument saw nothing.
        cloud_depth, cloud_height_km, shade: see `render.Seen`.
        surface: surface reflectance per native grid.
    """

    classes: U8
    cloud_depth: F32
    cloud_height_km: F32
    shade: F32
    surface: Mapping[Grid, F32]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A strip that can be made from any row on."""

    info: StripInfo
    seed: int
    world: World
    instrument: Instrument

    def blocks(self) -> Iterator[RowBlock]:
        """Row blocks of the whole strip, in order."""
        for block, _ in self.blocks_with_truth():
            yield block

    def blocks_with_truth(self) -> Iterator[tuple[RowBlock, Truth]]:
        """Row blocks, each with its truth."""
        for row in range(0, self.info.rows, BLOCK_ROWS):
            yield self._block(row, min(BLOCK_ROWS, self.info.rows - row))

    def _block(self, row: int, rows: int) -> tuple[RowBlock, Truth]:
        columns = self.info.columns
        pieces = [
            self._piece(Window(row, col, rows, min(PIECE_COLUMNS, columns - col)))
            for col in range(0, columns, PIECE_COLUMNS)
        ]
        dn = {grid: np.concatenate([counts[grid] for counts, _ in pieces], axis=2) for grid in Grid}
        truths = [truth for _, truth in pieces]
        joined = {
            name: np.concatenate([getattr(truth, name) for truth in truths], axis=1)
            for name in ("classes", "cloud_depth", "cloud_height_km", "shade")
        }
        surface = {grid: np.concatenate([truth.surface[grid] for truth in truths], axis=2) for grid in Grid}
        return RowBlock(row, rows, dn), Truth(**joined, surface=surface)

    def _piece(self, window: Window) -> tuple[dict[Grid, U16], Truth]:
        whole = Window(window.row, window.col, -(-window.rows // 6) * 6, -(-window.cols // 6) * 6)
        seen = render(self.world, grown(whole, SEAM_PX))
        rng = np.random.default_rng([self.seed, window.row, window.col])
        sharp = self.instrument.sees(seen.top, rng)
        inner = {grid: _inner(planes, grid) for grid, planes in sharp.items()}
        counts = self.instrument.counts(inner, window.row, window.col)
        dn = {grid: _cropped(planes, window, grid) for grid, planes in counts.items()}
        return dn, _truth(seen, dn, window)


def _inner(planes: F32, grid: Grid) -> F32:
    seam = slice(SEAM_PX // grid, -SEAM_PX // grid)
    return planes[:, seam, seam]


def _cropped(planes: np.ndarray, window: Window, grid: Grid) -> np.ndarray:
    return planes[:, : -(-window.rows // grid), : -(-window.cols // grid)]


def _truth(seen: Seen, dn: Mapping[Grid, U16], window: Window) -> Truth:
    part = (slice(SEAM_PX, SEAM_PX + window.rows), slice(SEAM_PX, SEAM_PX + window.cols))
    depth, height, shade = seen.depth[part], seen.height_km[part], seen.shade[part]
    classes = classes_of(depth, shade)
    for grid, planes in dn.items():
        missing = (planes == 0).any(axis=0).repeat(grid, 0).repeat(grid, 1)
        classes[missing[: window.rows, : window.cols]] = 255
    surface = {grid: _cropped(_inner(planes, grid), window, grid) for grid, planes in seen.surface.items()}
    return Truth(classes, depth, height, shade, surface)


def make_scene(seed: int, shape: tuple[int, int], *, dead_columns: tuple[int, ...] = ()) -> Scene:
    """The strip of that seed and size (rows, cols); ``dead_columns`` of B04 deliver nothing."""
    rng = np.random.default_rng(seed)
    canvas = Canvas(rng, *shape)
    geometry = Geometry(
        float(rng.uniform(28, 58)), float(rng.uniform(135, 170)), float(rng.uniform(2, 9)), 104.0
    )
    state = draw_state(rng, geometry, at_sea=True)
    world = make_world(canvas, draw_country(canvas), draw_sky(canvas), geometry, state)
    flaws = Flaws(SWATH_EDGE_TANGENT, shape[1] * SWATH_WIDTH_RATIO, dead_columns, 2)
    instrument = draw_instrument(rng, geometry.cos_sun, flaws)
    return Scene(_strip_info(seed, shape, geometry), seed, world, instrument)


def _strip_info(seed: int, shape: tuple[int, int], geometry: Geometry) -> StripInfo:
    return StripInfo(
        strip_id=f"SIMULATED_{seed}_{shape[0]}x{shape[1]}",
        start_utc_ns=START_UTC_NS,
        line_period_s=LINE_PERIOD_S,
        rows=shape[0],
        columns=shape[1],
        ground_sample_m=PIXEL_M,
        bands=tuple(Band),
        offset_dn=dict.fromkeys(Band, -1000),
        quantification_dn=10000,
        georeference=Georeference(epsg=32631, easting_m=699_960.0, northing_m=5_100_000.0),
        sun_zenith_deg=geometry.sun_zenith_deg,
        sun_azimuth_deg=geometry.sun_azimuth_deg,
        view_zenith_deg=geometry.view_zenith_deg,
        view_azimuth_deg=geometry.view_azimuth_deg,
    )
