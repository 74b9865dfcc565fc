"""Small strips for tests, and what every test does with a strip."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from payload.bands import plane_of
from payload.drivers.native_grids import empty_dn, rows_of
from payload.drivers.raw_frames import FRAME_ROWS
from payload.drivers.strip_header import GROUND_SPEED_M_S, FrameCheck
from payload.drivers.strip_raw import open_raw
from payload.ports import StripSource
from payload.types import BANDS_OF_GRID, U16, Band, Georeference, Grid, RowBlock, StripInfo
from tools.write_raw import frames, header_text, write_raw
from tools.write_safe import write_safe

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
NO_SHARED = f"{SHARED} with the real Sentinel-2 material is not there"

Dn = Mapping[Grid, U16]


def strip_info(rows: int, columns: int, **other: Any) -> StripInfo:
    """Of a strip of that size, with every field set to something of its own."""
    info = StripInfo(
        strip_id="MADE_UP",
        start_utc_ns=1_705_748_021_024_000_000,
        line_period_s=10.0 / GROUND_SPEED_M_S,
        rows=rows,
        columns=columns,
        ground_sample_m=10.0,
        bands=tuple(Band),
        offset_dn=dict.fromkeys(Band, -1000),
        quantification_dn=10000,
        georeference=Georeference(32631, 300000.0, 4900020.0),
        sun_zenith_deg=35.0,
        sun_azimuth_deg=160.0,
        view_zenith_deg=3.0,
        view_azimuth_deg=190.0,
    )
    return replace(info, **other)


def made_up_dn(rows: int, columns: int, seed: int = 1) -> dict[Grid, U16]:
    """Smooth ground with noise, another level in every band, and a wedge without data."""
    rng = np.random.default_rng(seed)
    dn = empty_dn(rows, columns)
    for grid, planes in dn.items():
        down = np.arange(planes.shape[1])[:, np.newaxis] * grid
        across = np.arange(planes.shape[2])[np.newaxis] * grid
        for number, plane in enumerate(planes):
            ground = 2000 + 300 * number + 40 * np.sin(down / 17) * across + rng.integers(0, 200, plane.shape)
            plane[...] = np.clip(ground, 1, 20000)
            plane[down + across < columns // 5] = 0
    return dn


class StripInMemory:
    """A `StripSource` over arrays."""

    planned_bytes = 0

    def __init__(self, info: StripInfo, dn: Dn) -> None:
        self.info = info
        self._dn = dict(dn)
        self._row = 0

    def read(self, rows: int) -> RowBlock | None:
        row, end = self._row, min(self._row + rows, self.info.rows)
        if row == end:
            return None
        self._row = end
        return RowBlock(row, end - row, rows_of(self._dn, row, end))

    def skip(self, rows: int) -> None:
        self._row = min(self._row + rows, self.info.rows)

    def close(self) -> None:
        pass


def blocks_of_dn(dn: Dn, rows: int) -> list[RowBlock]:
    """``dn`` as blocks of 12 rows."""
    source = StripInMemory(strip_info(rows, dn[Grid.R10M].shape[2]), dn)
    blocks = []
    while (block := source.read(12)) is not None:
        blocks.append(block)
    return blocks


def read_all(source: StripSource, sizes: Sequence[int] = (48,)) -> tuple[dict[Grid, U16], list[str]]:
    """All rows of ``source``, read in blocks of ``sizes`` over and over, and all faults.

    Checks on the way what every `StripSource` promises of its blocks.
    """
    info = source.info
    whole = {
        grid: np.full((len(bands), -(-info.rows // grid), -(-info.columns // grid)), 7, np.uint16)
        for grid, bands in BANDS_OF_GRID.items()
    }
    faults: list[str] = []
    row = turn = 0
    while (block := source.read(sizes[turn % len(sizes)])) is not None:
        assert block.row == row
        assert block.rows == min(sizes[turn % len(sizes)], info.rows - row)
        for grid, planes in block.dn.items():
            assert planes.dtype == np.uint16
            assert planes.shape == (
                len(BANDS_OF_GRID[grid]),
                -(-block.rows // grid),
                -(-info.columns // grid),
            )
            whole[grid][:, row // grid : row // grid + planes.shape[1]] = planes
        faults += block.faults
        row += block.rows
        turn += 1
    assert row == info.rows
    assert source.read(6) is None
    return whole, faults


def assert_equal(found: Dn, expected: Dn) -> None:
    for grid in Grid:
        np.testing.assert_array_equal(found[grid], expected[grid])


def write_raw_strip(folder: Path, rows: int, columns: int, **other: Any) -> tuple[Path, dict[Grid, U16]]:
    """A raw stream in ``folder``: its header, and what it holds."""
    dn = made_up_dn(rows, columns)
    header = folder / "strip.yaml"
    write_raw(header, strip_info(rows, columns, **other), blocks_of_dn(dn, rows))
    return header, dn


def raw_header_text(rows: int, columns: int, stream: str = "strip.raw", crc: str = "crc32") -> str:
    return header_text(strip_info(rows, columns), stream, FrameCheck(crc))


def raw_frames_of(dn: Dn, rows: int, crc: str = "crc32") -> list[bytes]:
    """The frames of a strip, one by one, to be mistreated."""
    columns = dn[Grid.R10M].shape[2]
    return [bytes(frame) for frame in frames(columns, blocks_of_dn(dn, rows), FrameCheck(crc))]


def write_safe_strip(
    folder: Path,
    rows: int,
    columns: int,
    tile_px: tuple[int, int, int],
    baseline: str = "05.10",
    **other: Any,
) -> dict[Grid, U16]:
    """A SAFE product in ``folder``; returns what it holds."""
    dn = made_up_dn(rows, columns)
    source = StripInMemory(strip_info(rows, columns, **other), dn)
    write_safe(source, folder, baseline, dict(zip(Grid, tile_px, strict=True)))
    return dn


def stack_of(dn: Dn) -> U16:
    """All bands on the 10 m grid by repetition: averaging gives ``dn`` back."""
    rows, columns = dn[Grid.R10M].shape[1:]
    planes = []
    for band in Band:
        plane = plane_of(dict(dn), band)
        pitch = -(-rows // plane.shape[0])
        planes.append(plane.repeat(pitch, 0).repeat(pitch, 1)[:rows, :columns])
    return np.stack(planes)


def write_geotiff(path: Path, stack: U16, is_contiguous: bool, **other: Any) -> None:
    """``stack`` (13, row, col) as a GeoTIFF in EPSG:32631 with 10 m pixels."""
    picture = np.ascontiguousarray(np.moveaxis(stack, 0, 2)) if is_contiguous else stack
    geokeys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32631)
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),  # ModelPixelScale
        (33922, "d", 6, (0.0, 0.0, 0.0, 300000.0, 4900020.0, 0.0), True),  # ModelTiepoint
        (34735, "H", len(geokeys), geokeys, True),
    ]
    tifffile.imwrite(
        path,
        picture,
        photometric="minisblack",
        planarconfig="contig" if is_contiguous else "separate",
        extratags=tags,
        metadata=None,
        **other,
    )


def read_and_close(strip: StripSource, sizes: Sequence[int] = (48,)) -> tuple[dict[Grid, U16], list[str]]:
    """`read_all`, and the strip is closed whatever happens."""
    try:
        return read_all(strip, sizes)
    finally:
        strip.close()


def read_stream(
    folder: Path, size: tuple[int, int], stream: bytes, crc: str = "crc32", sizes: Sequence[int] = (12,)
) -> tuple[dict[Grid, U16], list[str]]:
    """All rows and faults of ``stream`` as a raw strip of that size (rows, columns)."""
    (folder / "strip.yaml").write_text(raw_header_text(*size, crc=crc))
    (folder / "strip.raw").write_bytes(stream)
    return read_and_close(open_raw(folder / "strip.yaml"), sizes)


def without_frames(dn: Dn, lost: set[int]) -> dict[Grid, U16]:
    """``dn`` with the rows of ``lost`` frames 0."""
    left = {grid: planes.copy() for grid, planes in dn.items()}
    for frame in lost:
        for grid, planes in left.items():
            planes[:, frame * FRAME_ROWS // grid : (frame + 1) * FRAME_ROWS // grid] = 0
    return left


def band_file(folder: Path, band: Band) -> Path:
    """The image of ``band`` in a product made by `write_safe_strip`."""
    return next(folder.rglob(f"*_{band.value}.jp2"))


def edit_text(folder: Path, name: str, pattern: str, replacement: str) -> None:
    """Replaces what matches in the file called ``name`` somewhere below ``folder``."""
    path = next(folder.rglob(name))
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.DOTALL)
    assert count, pattern
    path.write_text(text)


def lose(dn: Dn, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    """Make 10 m pixels no data in every band, and with them each coarser sample they lie in."""
    for grid, samples in dn.items():
        down = slice(rows[0] // grid, -(-rows[1] // grid))
        across = slice(columns[0] // grid, -(-columns[1] // grid))
        samples[:, down, across] = 0
