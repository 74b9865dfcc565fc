"""A strip of any size laid out from 252 px patches: big enough to measure, real enough to look at.

    python -m tools.mosaic --shared ../shared --rows 10980 --columns 10980 --out build/mosaic.yaml

Each patch fills a square of 2 x 2 mirror images of itself, so that it is continuous inside its
square; which patch lies where is drawn from the seed, cloudy and clear ones in groups. Rows are
made and written block by block.
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

from payload.drivers.native_grids import GRID_OF_BAND, average_blocks, empty_dn, plane_of
from payload.drivers.strip_header import GROUND_SPEED_M_S
from payload.types import COUNTS_OFFSET, U16, Band, Georeference, Grid, RowBlock, StripInfo
from tools.simulate.scene import make_scene
from tools.write_raw import write_raw

PATCH_PX = 252
"""The largest multiple of 12 in a 256 px patch: mirrored halves then meet on every grid."""
GROUP_SQUARES = 3
"""Cloudy and clear squares lie in groups about this wide."""
CLOUDY_RATIO = 0.5
START_UTC_NS = 1_717_236_000_000_000_000
LINE_PERIOD_S = 10.0 / GROUND_SPEED_M_S
SIMULATED_STRIPS = 4

NativePatch = Mapping[Grid, U16]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which patch lies on which square; ``choice`` is (square row, square col)."""

    patches: Sequence[NativePatch]
    choice: NDArray[np.int64]

    def rows(self, row: int, rows: int, columns: int) -> dict[Grid, U16]:
        """Rows of the mosaic on the native grids; all inside one patch row of 252 px."""
        square, within = divmod(row, 2 * PATCH_PX)
        dn = empty_dn(rows, columns)
        for grid, out in dn.items():
            size = PATCH_PX // grid
            lines = np.arange(within // grid, within // grid + out.shape[1])
            lines = np.where(lines < size, lines, 2 * size - 1 - lines)
            for col in range(0, out.shape[2], 2 * size):
                patch = self.patches[self.choice[square, col // (2 * size)]][grid][:, lines]
                pair = np.concatenate([patch, patch[:, :, ::-1]], axis=2)
                out[:, :, col : col + 2 * size] = pair[:, :, : out.shape[2] - col]
        return dn


def real_patches(shared: Path) -> tuple[list[NativePatch], list[NativePatch]]:
    """Clear and cloudy patches of shared/data/l1c on the native grids, offset 1000 added.

    Raises:
        FileNotFoundError: the folder is not there, or has no patches.
    """
    kinds: list[list[NativePatch]] = []
    for kind in ("clear", "cloudy"):
        files = sorted((shared / "data" / "l1c").glob(f"*/{kind}/*.tif"))
        if not files:
            raise FileNotFoundError(f"{shared}/data/l1c/*/{kind} has no patches; name the shared folder")
        kinds.append([native_patch(_read(file)) for file in files])
    return kinds[0], kinds[1]


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


def lay_out(
    clear: Sequence[NativePatch], cloudy: Sequence[NativePatch], rows: int, columns: int, seed: int
) -> Layout:
    """Draw a patch for every square of a strip."""
    rng = np.random.default_rng(seed)
    squares = (-(-rows // (2 * PATCH_PX)), -(-columns // (2 * PATCH_PX)))
    groups = rng.random((-(-squares[0] // GROUP_SQUARES) + 1, -(-squares[1] // GROUP_SQUARES) + 1))
    start = rng.integers(0, GROUP_SQUARES, 2)
    place = np.indices(squares) + start[:, None, None]
    likely = groups[place[0] // GROUP_SQUARES, place[1] // GROUP_SQUARES]
    mixed = 0.7 * likely + 0.3 * rng.random(squares)
    is_cloudy = mixed > np.quantile(mixed, 1.0 - CLOUDY_RATIO)
    choice = np.where(
        is_cloudy,
        len(clear) + rng.integers(0, len(cloudy), squares),
        rng.integers(0, len(clear), squares),
    )
    return Layout([*clear, *cloudy], choice)


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
    """The whole mosaic, one patch row of at most 252 rows at a time."""
    for row in range(0, rows, PATCH_PX):
        count = min(PATCH_PX, rows - row)
        yield RowBlock(row, count, layout.rows(row, count, columns))


def simulated_patches(seed: int) -> tuple[list[NativePatch], list[NativePatch]]:
    """Patches of made-up strips, the clearer half and the cloudier half, by their brightness."""
    patches: list[NativePatch] = []
    for number in range(SIMULATED_STRIPS):
        scene = make_scene(seed + number, (2 * PATCH_PX, 3 * PATCH_PX))
        whole = list(scene.blocks())
        strip = {grid: np.concatenate([block.dn[grid] for block in whole], axis=1) for grid in Grid}
        for row in range(2):
            for col in range(3):
                patches.append(
                    {
                        grid: planes[
                            :,
                            row * PATCH_PX // grid : (row + 1) * PATCH_PX // grid,
                            col * PATCH_PX // grid : (col + 1) * PATCH_PX // grid,
                        ].copy()
                        for grid, planes in strip.items()
                    }
                )
    patches.sort(key=lambda patch: float(patch[Grid.R10M][0].mean()))
    half = len(patches) // 2
    return patches[:half], patches[half:]


def write_mosaic(
    header: Path,
    clear: Sequence[NativePatch],
    cloudy: Sequence[NativePatch],
    rows: int,
    columns: int,
    seed: int,
) -> None:
    """The mosaic of that size as a raw line stream: ``header``, its frames beside it."""
    layout = lay_out(clear, cloudy, rows, columns, seed)
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
        clear, cloudy = real_patches(wanted.shared)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    write_mosaic(wanted.out, clear, cloudy, wanted.rows, wanted.columns, wanted.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
