"""A strip of any size laid out from 252 px patches: big enough to measure, real enough to look at.

    python -m tools.mosaic --shared ../shared --rows 10980 --columns 10980 --out build/mosaic.yaml

The strip is divided into regions about 7 km wide with winding borders. Each region shows one
patch, turned, and continued by its own mirror images. Cloudy regions lie together, as weather
does, and cover about half of the strip. Rows are made and written block by block.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from payload.bands import GRID_OF_BAND, plane_of
from payload.drivers.native_grids import average_blocks, empty_dn
from payload.drivers.strip_header import GROUND_SPEED_M_S
from payload.types import COUNTS_OFFSET, F32, U16, Band, Georeference, Grid, RowBlock, StripInfo
from tools.simulate.fields import Shape, fractal, scaled
from tools.simulate.scene import make_scene
from tools.write_raw import write_raw

PATCH_PX = 252
"""The largest multiple of 12 in a 256 px patch: mirrored halves then meet on every grid."""
CELL_PX = int(Grid.R60M)
"""Borders between regions follow the coarsest grid's pixels, so that all grids agree."""
REGION_CELLS = 120
BLOCK_ROWS = 252
CLEAR_REGIONS_RATIO = 0.4
OVERCAST_REGIONS_RATIO = 0.4
"""The rest is broken cloud."""
CLOUD_B02_COUNTS = 3000
CLOUD_B10_COUNTS = 1100
"""A pixel brighter than 0.2 in B02 or 0.01 in the cirrus band passes for cloud here."""
START_UTC_NS = 1_717_236_000_000_000_000
LINE_PERIOD_S = 10.0 / GROUND_SPEED_M_S
SIMULATED_STRIPS = 4

NativePatch = Mapping[Grid, U16]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """How a region shows its patch: turned by quarter turns, moved by whole cells."""

    patch: NativePatch
    quarter_turns: int
    row_px: int
    col_px: int

    def samples(self, grid: Grid, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> U16:
        """(band, row, col) at those places of the grid."""
        turned = np.rot90(self.patch[grid], self.quarter_turns, axes=(1, 2))
        picked: U16 = turned[:, _mirrored(rows + self.row_px // grid, grid)]
        return picked[:, :, _mirrored(cols + self.col_px // grid, grid)]


def _mirrored(places: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
    """Places in a patch that goes on as its own mirror image without end."""
    size = PATCH_PX // grid
    places = places % (2 * size)
    return np.where(places < size, places, 2 * size - 1 - places)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which region each 60 m cell belongs to: ``number`` (cell row, cell col)."""

    regions: Sequence[Region]
    number: NDArray[np.int32]

    def rows(self, row: int, rows: int, columns: int) -> dict[Grid, U16]:
        """Rows of the mosaic on the native grids; ``row`` is a multiple of 6."""
        dn = empty_dn(rows, columns)
        cells = self.number[row // CELL_PX : -(-(row + rows) // CELL_PX)]
        for number in np.unique(cells):
            mine = cells == number
            (within,) = np.nonzero(mine.any(axis=0))
            first, end = int(within[0]), int(within[-1]) + 1
            for grid, out in dn.items():
                self._paint(out, self.regions[number], grid, mine[:, first:end], row, first * CELL_PX)
        return dn

    def _paint(
        self, out: U16, region: Region, grid: Grid, mine: NDArray[np.bool_], row: int, col: int
    ) -> None:
        """Write the region's samples where ``mine`` (cells, from pixel ``row``, ``col`` on) says so."""
        per_cell = CELL_PX // grid
        part = out[:, :, col // grid : col // grid + mine.shape[1] * per_cell]
        mask = mine.repeat(per_cell, axis=0).repeat(per_cell, axis=1)[: part.shape[1], : part.shape[2]]
        lines = np.arange(part.shape[1]) + row // grid
        places = np.arange(part.shape[2]) + col // grid
        np.copyto(part, region.samples(grid, lines, places), where=mask)


def lay_out(patches: Sequence[NativePatch], rows: int, columns: int, seed: int) -> Layout:
    """Draw the regions of a strip, and what each of them shows."""
    rng = np.random.default_rng(seed)
    cells = (-(-rows // CELL_PX), -(-columns // CELL_PX))
    seeds = _region_seeds(rng, cells)
    weather = _weather(rng, cells, seeds)
    covers = np.array([cover_ratio(patch) for patch in patches])
    regions = [
        Region(
            patch=patches[_patch_for(rng, wanted, covers)],
            quarter_turns=int(rng.integers(4)),
            row_px=CELL_PX * int(rng.integers(2 * PATCH_PX // CELL_PX)),
            col_px=CELL_PX * int(rng.integers(2 * PATCH_PX // CELL_PX)),
        )
        for wanted in weather
    ]
    return Layout(regions, _nearest_region(rng, cells, seeds))


def _region_seeds(rng: np.random.Generator, cells: Shape) -> F32:
    """One place in each square of a coarse net, and one ring of squares around the strip: (n, 2)."""
    net = [np.arange(-1, -(-size // REGION_CELLS) + 1) for size in cells]
    corners = np.stack(np.meshgrid(*net, indexing="ij"), axis=-1).reshape(-1, 2)
    places: F32 = ((corners + rng.random(corners.shape)) * REGION_CELLS).astype(np.float32)
    return places


def _weather(rng: np.random.Generator, cells: Shape, seeds: F32) -> NDArray[np.float64]:
    """The cloud cover wanted for each region, alike in neighbours."""
    coarse = (cells[0] // REGION_CELLS + 4, cells[1] // REGION_CELLS + 4)
    field = fractal(rng, coarse, 1.2)
    squares = np.floor(seeds / REGION_CELLS).astype(int) + 1
    cloudy = field[squares[:, 0], squares[:, 1]] + 0.3 * rng.standard_normal(len(seeds))
    rank = cloudy.argsort().argsort() / len(seeds)
    broken = rng.uniform(0.3, 0.7, len(seeds))
    return np.where(
        rank < CLEAR_REGIONS_RATIO, 0.0, np.where(rank >= 1 - OVERCAST_REGIONS_RATIO, 1.0, broken)
    )


def _patch_for(rng: np.random.Generator, wanted: float, covers: NDArray[np.float64]) -> int:
    """One of the patches whose cover is near the wanted one, at least the four nearest."""
    away = np.abs(covers - wanted)
    near = max(4, int((away < 0.1).sum()))
    return int(rng.choice(np.argsort(away, kind="stable")[:near]))


def _nearest_region(rng: np.random.Generator, cells: Shape, seeds: F32) -> NDArray[np.int32]:
    """The nearest seed of every cell, seen through a warp that makes borders wind."""
    warp = [0.16 * REGION_CELLS * scaled(fractal(rng, cells, 1.5, 200.0)) for _ in range(2)]
    rows = np.arange(cells[0], dtype=np.float32)[:, None] + warp[0]
    cols = np.arange(cells[1], dtype=np.float32)[None, :] + warp[1]
    nearest = np.full(cells, np.inf, np.float32)
    number = np.zeros(cells, np.int32)
    reach = 3 * REGION_CELLS
    for this, (row, col) in enumerate(seeds):
        part = (
            slice(max(0, int(row) - reach), max(0, int(row) + reach)),
            slice(max(0, int(col) - reach), max(0, int(col) + reach)),
        )
        distance = (rows[part] - row) ** 2 + (cols[part] - col) ** 2
        closer = distance < nearest[part]
        nearest[part][closer] = distance[closer]
        number[part][closer] = this
    return number


def cover_ratio(patch: NativePatch) -> float:
    """About how much of the patch is cloud."""
    blue = patch[Grid.R10M][0]
    cirrus = patch[Grid.R60M][2].repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)
    return float(((blue > CLOUD_B02_COUNTS) | (cirrus > CLOUD_B10_COUNTS)).mean())


def real_patches(shared: Path) -> list[NativePatch]:
    """The clear and cloudy patches of shared/data/l1c on the native grids, offset 1000 added.

    Raises:
        FileNotFoundError: the folder is not there, or has no patches.
        ValueError: one is too small.
    """
    files = sorted(
        file for kind in ("clear", "cloudy") for file in (shared / "data" / "l1c").glob(f"*/{kind}/*.tif")
    )
    if not files:
        raise FileNotFoundError(f"{shared}/data/l1c has no patches; name the shared folder")
    return [native_patch(_read(file)) for file in files]


def _read(file: Path) -> U16:
    stack = tifffile.imread(file)
    if stack.shape[0] != len(Band):
        stack = np.moveaxis(stack, -1, 0)
    pixels: U16 = np.asarray(stack[:, :PATCH_PX, :PATCH_PX], dtype=np.uint16)
    if pixels.shape != (len(Band), PATCH_PX, PATCH_PX):
        raise ValueError(f"{file}: needs 13 bands of at least {PATCH_PX} px, not {stack.shape}")
    return pixels


def native_patch(pixels: U16) -> NativePatch:
    """One patch on the native grids.

    Args:
        pixels: uint16 (13, 252, 252), all bands on the 10 m grid, DN = 10000 reflectance
            without offset. A pixel that is 0 in every band has no data; 0 in some bands is a
            very dark pixel.
    """
    dn = empty_dn(PATCH_PX, PATCH_PX)
    seen = pixels.any(axis=0)
    for index, band in enumerate(Band):
        counts = np.where(seen, np.minimum(pixels[index], 60000) + COUNTS_OFFSET, 0).astype(np.uint16)
        average_blocks(counts, GRID_OF_BAND[band], plane_of(dn, band))
    return dn


def mosaic_info(rows: int, columns: int, seed: int) -> StripInfo:
    """What the header of the mosaic says."""
    return StripInfo(
        strip_id=f"MOSAIC_{seed}_{rows}x{columns}",
        start_utc_ns=START_UTC_NS,
        line_period_s=LINE_PERIOD_S,
        rows=rows,
        columns=columns,
        ground_sample_m=10.0,
        bands=tuple(Band),
        offset_dn=dict.fromkeys(Band, -COUNTS_OFFSET),
        quantification_dn=10000,
        georeference=Georeference(epsg=32631, easting_m=600_000.0, northing_m=5_200_020.0),
        sun_zenith_deg=35.0,
        sun_azimuth_deg=150.0,
        view_zenith_deg=5.0,
        view_azimuth_deg=105.0,
    )


def blocks(layout: Layout, rows: int, columns: int) -> Iterator[RowBlock]:
    """The whole mosaic in blocks of at most BLOCK_ROWS rows."""
    for row in range(0, rows, BLOCK_ROWS):
        count = min(BLOCK_ROWS, rows - row)
        yield RowBlock(row, count, layout.rows(row, count, columns))


def simulated_patches(seed: int) -> list[NativePatch]:
    """Patches of made-up strips, for where there are no real ones."""
    patches: list[NativePatch] = []
    for number in range(SIMULATED_STRIPS):
        blocks_of_scene = list(make_scene(seed + number, (2 * PATCH_PX, 2 * PATCH_PX)).blocks())
        strip = {grid: np.concatenate([block.dn[grid] for block in blocks_of_scene], axis=1) for grid in Grid}
        for row in (0, PATCH_PX):
            for col in (0, PATCH_PX):
                patches.append({grid: _cut(planes, grid, row, col) for grid, planes in strip.items()})
    return patches


def _cut(planes: U16, grid: Grid, row: int, col: int) -> U16:
    size = PATCH_PX // grid
    part: U16 = planes[:, row // grid : row // grid + size, col // grid : col // grid + size].copy()
    return part


def write_mosaic(header: Path, patches: Sequence[NativePatch], rows: int, columns: int, seed: int) -> None:
    """The mosaic of that size as a raw line stream: ``header``, its frames beside it."""
    layout = lay_out(patches, rows, columns, seed)
    header.parent.mkdir(parents=True, exist_ok=True)
    write_raw(header, mosaic_info(rows, columns, seed), blocks(layout, rows, columns))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.mosaic",
        description="Write a strip laid out from real patches as a raw line stream: a YAML header and, "
        "beside it, the frames (1.35 GB for 10980 x 10980). Memory stays below 400 MB at that width. "
        "The same seed, size and patches give the same bytes.",
    )
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR", help="holds data/l1c")
    parser.add_argument("--rows", type=int, default=10980, metavar="R", help="rows of the 10 m grid (10980)")
    parser.add_argument("--columns", type=int, default=10980, metavar="C", help="columns of it (10980)")
    parser.add_argument("--seed", type=int, default=1, help="which patch lies where (default 1)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="YAML", help="the header; frames beside it"
    )
    wanted = parser.parse_args(arguments)
    if wanted.rows < 1 or wanted.columns < 1 or wanted.seed < 0:
        parser.error("rows and columns must be above 0, the seed 0 or more")
    try:
        patches = real_patches(wanted.shared)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    write_mosaic(wanted.out, patches, wanted.rows, wanted.columns, wanted.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
