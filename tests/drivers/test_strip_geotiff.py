"""Strips in GeoTIFF; the judges are tifffile's reading of the whole and plain averaging."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.bands import GRID_OF_BAND, plane_of
from payload.drivers.native_grids import average_blocks, empty_dn
from payload.drivers.strip_geotiff import TiffTiles, open_geotiff
from payload.errors import StripError
from payload.types import U16, Band, Georeference, Grid
from tests.drivers.strip_material import NO_SHARED, SHARED, assert_equal, lose, read_all, write_geotiff

DATA = SHARED / "data"
ROWS, COLUMNS = 130, 110
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 16},
    "one row a strip": {"rowsperstrip": 1},
    "one strip": {"rowsperstrip": ROWS},
    "tiles": {"tile": (48, 32)},
    "big-endian BigTIFF": {"bigtiff": True, "byteorder": ">", "rowsperstrip": 16},
    "deflate": {"compression": "deflate", "predictor": True, "rowsperstrip": 16},
    "lzw tiles": {"compression": "lzw", "predictor": True, "tile": (32, 64)},
    "zstd": {"compression": "zstd", "rowsperstrip": 7},
}


def stack_of(rows: int, columns: int) -> U16:
    """uint16 (13, rows, columns) with a wedge without data."""
    rng = np.random.default_rng(5)
    stack = rng.integers(1, 12000, (len(Band), rows, columns)).astype(np.uint16)
    stack[:, np.add.outer(np.arange(rows), np.arange(columns)) < columns // 3] = 0
    return stack


def on_native_grids(stack: U16) -> dict[Grid, U16]:
    dn = empty_dn(*stack.shape[1:])
    for band, plane in zip(Band, stack, strict=True):
        average_blocks(plane, GRID_OF_BAND[band], plane_of(dn, band))
    return dn


def refusal(path: Path, scratch: Path) -> str:
    with pytest.raises(StripError) as refused:
        open_geotiff(path, scratch)
    return str(refused.value)


@pytest.mark.parametrize("is_contiguous", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_strip(tmp_path: Path, layout: str, is_contiguous: bool) -> None:
    stack = stack_of(ROWS, COLUMNS)
    path = tmp_path / "patch.tif"
    write_geotiff(path, stack, is_contiguous, **LAYOUTS[layout])
    strip = open_geotiff(path, tmp_path)
    found, faults = read_all(strip, [12, 30])
    strip.close()
    assert not faults
    assert_equal(found, on_native_grids(stack))
    assert strip.info.georeference == Georeference(32631, 300000.0, 4900020.0)
    assert (strip.info.strip_id, strip.info.ground_sample_m) == ("patch", 10.0)
    assert strip.info.offset_dn == dict.fromkeys(Band, 0)
    assert strip.info.quantification_dn == 10000


@pytest.mark.parametrize("easting", [float("nan"), float("inf"), 1e12])
def test_a_place_that_is_none_is_no_place(tmp_path: Path, easting: float) -> None:
    path = tmp_path / "patch.tif"
    write_geotiff(path, stack_of(ROWS, COLUMNS), True, **LAYOUTS[next(iter(LAYOUTS))])
    content = path.read_bytes()
    assert content.count(struct.pack("<d", 300000.0)) == 1
    path.write_bytes(content.replace(struct.pack("<d", 300000.0), struct.pack("<d", easting)))
    strip = open_geotiff(path, tmp_path)
    strip.close()
    assert strip.info.georeference is None


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, U16]:
    path: Path = tmp_path_factory.mktemp("tiff") / "tiled.tif"
    stack = stack_of(ROWS, COLUMNS)
    write_geotiff(path, stack, True, tile=(48, 32))
    return path, stack


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 22).map(lambda sixes: 6 * sixes), min_size=1, max_size=4))
def test_rows_read_in_any_block_sizes_equal_the_whole(
    tiled: tuple[Path, U16], tmp_path: Path, sizes: list[int]
) -> None:
    strip = open_geotiff(tiled[0], tmp_path)
    found, _ = read_all(strip, sizes)
    strip.close()
    assert_equal(found, on_native_grids(tiled[1]))


def test_every_segment_is_decoded_exactly_once(
    tiled: tuple[Path, U16], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    decode = TiffTiles.decode

    def counted(self: TiffTiles, down: int, across: int) -> U16:
        seen.append((down, across))
        return decode(self, down, across)

    monkeypatch.setattr(TiffTiles, "decode", counted)
    strip = open_geotiff(tiled[0], tmp_path)
    read_all(strip, [6])
    strip.close()
    assert sorted(seen) == [(down, across) for down in range(3) for across in range(4)]


def test_a_damaged_segment_is_0_and_named_once(tmp_path: Path) -> None:
    stack = stack_of(ROWS, COLUMNS)
    path = tmp_path / "patch.tif"
    write_geotiff(path, stack, False, compression="deflate", rowsperstrip=16)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        assert len(page.dataoffsets) == 13 * 9
        hurt = 1 * 9 + 2  # band B02, rows 32 to 47
        start, count = page.dataoffsets[hurt], page.databytecounts[hurt]
    content = bytearray(path.read_bytes())
    content[start : start + count] = bytes(count)
    path.write_bytes(content)
    strip = open_geotiff(path, tmp_path)
    found, faults = read_all(strip, [18])
    strip.close()
    expected = on_native_grids(stack)
    lose(expected, (32, 48), (0, COLUMNS))
    assert_equal(found, expected)
    assert len(faults) == 1
    assert "B02 (patch.tif): tile at row 32, column 0 (16 rows) is 0" in faults[0]


def test_a_file_cut_off_loses_what_is_not_there_and_no_more(tmp_path: Path) -> None:
    stack = stack_of(ROWS, COLUMNS)
    path = tmp_path / "patch.tif"
    write_geotiff(path, stack, True, rowsperstrip=16)
    with tifffile.TiffFile(path) as tiff:
        cut = tiff.pages.first.dataoffsets[5] + 10
    path.write_bytes(path.read_bytes()[:cut])
    strip = open_geotiff(path, tmp_path)
    found, faults = read_all(strip)
    strip.close()
    expected = on_native_grids(stack)
    lose(expected, (80, ROWS), (0, COLUMNS))
    assert_equal(found, expected)
    assert len(faults) == 4
    assert all("cut off" in fault for fault in faults)


def test_another_no_data_value_becomes_0(tmp_path: Path) -> None:
    stack = stack_of(24, 24)
    stack[3, 2:9, 4:7] = 65535
    path = tmp_path / "patch.tif"
    write_geotiff(path, stack, True, rowsperstrip=8)
    tagged = tmp_path / "tagged.tif"
    tifffile.imwrite(
        tagged,
        np.ascontiguousarray(np.moveaxis(stack, 0, 2)),
        photometric="minisblack",
        planarconfig="contig",
        extratags=[(42113, "s", 0, "65535", True)],
    )
    strip = open_geotiff(tagged, tmp_path)
    found, _ = read_all(strip)
    strip.close()
    stack[stack == 65535] = 0
    assert_equal(found, on_native_grids(stack))
    assert strip.info.georeference is None


def test_a_sidecar_says_what_the_picture_does_not(tmp_path: Path) -> None:
    path = tmp_path / "patch.tif"
    write_geotiff(path, stack_of(12, 12), True)
    offsets = ", ".join(f"{band.value}: -1000" for band in Band)
    path.with_suffix(".yaml").write_text(
        f"radiometry:\n  offset_dn: {{{offsets}}}\n  quantification_dn: 10000\n"
        "angles: {sun_zenith_deg: 30.5, sun_azimuth_deg: 160, view_zenith_deg: 2, view_azimuth_deg: 100}\n"
    )
    strip = open_geotiff(path, tmp_path)
    strip.close()
    assert set(strip.info.offset_dn.values()) == {-1000}
    assert strip.info.sun_zenith_deg == 30.5
    path.with_suffix(".yaml").write_text("radiometry: {offset_dn: -1000, quantification_dn: 10000}\n")
    assert "patch.yaml:1: radiometry.offset_dn: must be a mapping with the keys B01" in refusal(
        path, tmp_path
    )


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (np.ones((12, 12, 12), np.uint16), "12 bands a pixel; a strip needs all 13: B01 B02"),
        (np.ones((12, 12), np.uint16), "1 bands a pixel"),
        (np.ones((13, 12, 12), np.float32), "samples are float32; a strip needs uint16"),
        (np.ones((13, 12, 12), np.int16), "samples are int16; a strip needs uint16"),
    ],
)
def test_pictures_that_are_no_strip_are_refused(tmp_path: Path, picture: Any, complaint: str) -> None:
    path = tmp_path / "other.tif"
    tifffile.imwrite(
        path, picture, photometric="minisblack", planarconfig="separate" if picture.ndim > 2 else None
    )
    found = refusal(path, tmp_path)
    assert str(path) in found
    assert complaint in found


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "patch.tif"
    for content in (b"", b"II*\0", b"II*\0\x08\0\0\0", b"II*\0\xff\xff\xff\x7f", b"nothing of the kind"):
        path.write_bytes(content)
        assert str(path) in refusal(path, tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 700), noise=st.binary(min_size=1, max_size=12))
def test_whatever_is_damaged_rows_come_or_a_strip_error(
    tiled: tuple[Path, U16], tmp_path: Path, at: int, noise: bytes
) -> None:
    content = bytearray(tiled[0].read_bytes())
    content[at : at + len(noise)] = noise
    path = tmp_path / "damaged.tif"
    path.write_bytes(content)
    try:
        strip = open_geotiff(path, tmp_path)
    except StripError:
        return
    try:
        if strip.planned_bytes < 10_000_000 and strip.info.rows * strip.info.columns < 1_000_000:
            read_all(strip, [48])
    finally:
        strip.close()


@pytest.mark.skipif(not DATA.exists(), reason=NO_SHARED)
@pytest.mark.parametrize(
    "pattern", ["l1c/train/clear/*101_p100*.tif", "labels/dev/LAHINCH_2017-09-21_l1c.tif"]
)
def test_real_patches_equal_their_whole_reading(pattern: str, tmp_path: Path) -> None:
    path = next(DATA.glob(pattern))
    stack = tifffile.imread(path)
    if stack.shape[0] != len(Band):
        stack = np.moveaxis(stack, 2, 0)
    strip = open_geotiff(path, tmp_path)
    found, faults = read_all(strip, [48])
    strip.close()
    assert not faults
    assert_equal(found, on_native_grids(np.ascontiguousarray(stack)))
    assert strip.info.georeference is not None
    assert strip.info.ground_sample_m == pytest.approx(10.0)


@pytest.mark.skipif(not DATA.exists(), reason=NO_SHARED)
def test_single_bands_on_native_grids_are_refused_as_what_they_are(tmp_path: Path) -> None:
    path = next((DATA / "native_grids").glob("ssl4eo/*/*/B8A.tif"))
    assert "1 bands a pixel; a strip needs all 13" in refusal(path, tmp_path)
