"""Strips in JPEG 2000: SAFE products and bare folders."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.bands import GRID_OF_BAND, plane_of
from payload.drivers.jp2_tiles import Jp2Tiles
from payload.drivers.native_grids import average_blocks
from payload.drivers.strip_safe import open_folder, open_safe
from payload.errors import StripError
from payload.types import U16, Band, Georeference, Grid
from tests.drivers.strip_material import (
    NO_SHARED,
    SHARED,
    Dn,
    assert_equal,
    band_file,
    edit_text,
    lose,
    read_and_close,
    strip_info,
    write_safe_strip,
)

DATA = SHARED / "data"
needs_shared = pytest.mark.skipif(not DATA.exists(), reason=NO_SHARED)

ROWS, COLUMNS = 270, 200
TILE_PX = (96, 40, 32)
TILES = {Grid.R10M: 3 * 3, Grid.R20M: 4 * 3, Grid.R60M: 2 * 2}
"""How many JPEG 2000 tiles a band has."""

BLOCK_SIZES = st.lists(st.integers(1, 20).map(lambda sixes: 6 * sixes), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dn]:
    folder: Path = tmp_path_factory.mktemp("safe") / "MADE_UP.SAFE"
    return folder, write_safe_strip(folder, ROWS, COLUMNS, TILE_PX)


@pytest.fixture
def safe(product: tuple[Path, Dn]) -> Path:
    return product[0]


@pytest.fixture
def dn(product: tuple[Path, Dn]) -> Dn:
    return product[1]


@pytest.fixture
def copy(safe: Path, tmp_path: Path) -> Path:
    """The product, to be mistreated."""
    folder = tmp_path / "COPY.SAFE"
    shutil.copytree(safe, folder)
    return folder


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[tuple[str, int, int]]]:
    """Counts every decoding of a tile by file, place down and place across."""
    count: Counter[tuple[str, int, int]] = Counter()
    decode = Jp2Tiles.decode

    def counted(self: Jp2Tiles, down: int, across: int) -> U16:
        count[str(self._path), down, across] += 1
        return decode(self, down, across)

    monkeypatch.setattr(Jp2Tiles, "decode", counted)
    return count  # type: ignore[return-value]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BLOCK_SIZES)
def test_rows_read_in_any_block_sizes_equal_the_whole(
    safe: Path, dn: Dn, tmp_path: Path, sizes: list[int]
) -> None:
    found, faults = read_and_close(open_safe(safe, tmp_path), sizes)
    assert not faults
    assert_equal(found, dn)


@pytest.mark.parametrize("sizes", [[6], [48], [54, 90], [300]])
def test_every_jp2_tile_is_decoded_exactly_once(
    safe: Path, tmp_path: Path, decodes: Counter[tuple[str, int, int]], sizes: list[int]
) -> None:
    read_and_close(open_safe(safe, tmp_path), sizes)
    assert set(decodes.values()) == {1}
    for band in Band:
        name = str(band_file(safe, band))
        assert sum(path == name for path, _, _ in decodes) == TILES[GRID_OF_BAND[band]]


def test_skipped_rows_decode_no_tile_that_is_theirs_alone(
    safe: Path, dn: Dn, tmp_path: Path, decodes: Counter[tuple[str, int, int]]
) -> None:
    strip = open_safe(safe, tmp_path)
    strip.skip(198)
    block = strip.read(12)
    assert block is not None
    assert (block.row, block.rows) == (198, 12)
    for grid in Grid:
        np.testing.assert_array_equal(block.dn[grid], dn[grid][:, 198 // grid : 210 // grid])
    assert {(GRID_OF_BAND[Band(path[-7:-4])], down) for path, down, _ in decodes} == {
        (Grid.R10M, 198 // 96),
        (Grid.R20M, 99 // 40),
        (Grid.R60M, 33 // 32),
    }
    assert set(decodes.values()) == {1}
    strip.skip(600)
    assert strip.read(6) is None
    strip.close()


def test_the_scratch_file_holds_one_row_of_tiles_per_band_and_leaves_no_trace(
    safe: Path, tmp_path: Path
) -> None:
    strip = open_safe(safe, tmp_path)
    one_row_px = 4 * 96 * 200 + 6 * 40 * 100 + 3 * 32 * 34
    assert strip.scratch_bytes == 2 * one_row_px
    strip.read(12)
    assert list(tmp_path.iterdir()) == []
    strip.close()


def test_a_damaged_tile_is_no_data_in_every_band_and_named_once_and_nothing_else_changes(
    copy: Path, dn: Dn, tmp_path: Path
) -> None:
    path = band_file(copy, Band.B05)
    content = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(rb"\xff\x90\x00\x0a", content)]
    content[starts[4] + 12 : starts[4] + 14] = b"\0\0"  # its start-of-data marker
    path.write_bytes(content)
    found, faults = read_and_close(open_safe(copy, tmp_path), [6])
    expected = {grid: planes.copy() for grid, planes in dn.items()}
    lose(expected, (80, 160), (80, 160))
    assert_equal(found, expected)
    assert len(faults) == 1
    assert "B05" in faults[0]
    assert "row 40, column 40 (40 rows) is 0" in faults[0]


def test_a_truncated_band_gives_rows_of_0_and_the_run_goes_on(copy: Path, dn: Dn, tmp_path: Path) -> None:
    path = band_file(copy, Band.B04)
    content = path.read_bytes()
    starts = [match.start() for match in re.finditer(rb"\xff\x90\x00\x0a", content)]
    path.write_bytes(content[: starts[3] + 50])
    found, faults = read_and_close(open_safe(copy, tmp_path))
    expected = {grid: planes.copy() for grid, planes in dn.items()}
    lose(expected, (96, ROWS), (0, COLUMNS))
    assert_equal(found, expected)
    assert len(faults) == 6


def test_metadata_becomes_the_strips_description(safe: Path, tmp_path: Path) -> None:
    strip = open_safe(safe, tmp_path)
    wanted = strip_info(ROWS, COLUMNS)
    found = strip.info
    assert found.view_zenith_deg == pytest.approx(wanted.view_zenith_deg)
    assert found.view_azimuth_deg == pytest.approx(wanted.view_azimuth_deg)
    assert found.sun_zenith_deg == pytest.approx(wanted.sun_zenith_deg)
    assert found.sun_azimuth_deg == pytest.approx(wanted.sun_azimuth_deg)
    for name in ("strip_id", "start_utc_ns", "line_period_s", "rows", "columns", "offset_dn", "georeference"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert (found.quantification_dn, found.ground_sample_m, found.bands) == (10000, 10.0, tuple(Band))
    strip.close()


def test_before_baseline_04_00_there_is_no_offset_and_it_is_0(tmp_path: Path) -> None:
    dn = write_safe_strip(tmp_path / "old.SAFE", 60, 60, TILE_PX, baseline="02.06")
    strip = open_safe(tmp_path / "old.SAFE", tmp_path)
    assert set(strip.info.offset_dn.values()) == {0}
    found, _ = read_and_close(strip)
    for grid in Grid:
        valid = dn[grid] > 0
        shifted = np.where(valid, np.maximum(dn[grid].astype(int) - 1000, 1), 0)
        np.testing.assert_array_equal(found[grid], shifted)


def test_offsets_belong_to_bands_by_their_id(copy: Path, tmp_path: Path) -> None:
    edit_text(copy, "MTD_MSIL1C.xml", r'band_id="8">-1000<', 'band_id="8">-1234<')
    strip = open_safe(copy, tmp_path)
    assert {band for band, offset in strip.info.offset_dn.items() if offset == -1234} == {Band.B8A}
    strip.close()


def test_a_band_is_known_by_the_end_of_its_file_name_never_by_its_place_in_a_list(
    copy: Path, dn: Dn, tmp_path: Path
) -> None:
    path = next(copy.rglob("MTD_MSIL1C.xml"))
    lines = path.read_text().splitlines()
    listed = [line for line in lines if "IMAGE_FILE" in line]
    others = [line for line in lines if "IMAGE_FILE" not in line]
    at = lines.index(listed[0])
    path.write_text("\n".join(others[:at] + listed[::-1] + others[at:]))
    found, _ = read_and_close(open_safe(copy, tmp_path))
    assert_equal(found, dn)


def test_other_images_are_left_alone_so_13_14_or_15_files_are_the_same_strip(
    copy: Path, dn: Dn, tmp_path: Path
) -> None:
    images = band_file(copy, Band.B02).parent
    for name in ("MADE_UP_TCI.jp2", "MADE_UP_PVI.jp2"):
        (images / name).write_bytes(b"not even a picture")
        found, _ = read_and_close(open_safe(copy, tmp_path))
        assert_equal(found, dn)


def test_names_of_the_first_products_are_understood(copy: Path, dn: Dn, tmp_path: Path) -> None:
    """2015 to 2016: metadata named after the product, IMAGE_ID without folder or ending."""
    edit_text(copy, "MTD_MSIL1C.xml", r"<IMAGE_FILE>[^<]*/([^</]*)</IMAGE_FILE>", r"<IMAGE_ID>\1</IMAGE_ID>")
    (copy / "MTD_MSIL1C.xml").rename(copy / "S2A_OPER_MTD_SAFL1C_PDMC_20160318T145513_R022.xml")
    granule_metadata = next(copy.rglob("MTD_TL.xml"))
    granule_metadata.rename(granule_metadata.parent / "S2A_OPER_MTD_L1C_TL_MTI__20160317T141823_T31TCJ.xml")
    long_name = "S2A_OPER_PRD_MSIL1C_PDMC_20160318T145513_R022_V20160317T102009_20160317T102009.SAFE"
    edit_text(copy, "S2A_OPER_MTD_SAFL1C*.xml", r"MADE_UP\.SAFE", long_name)
    strip = open_safe(copy, tmp_path)
    assert strip.info.strip_id == "MADE_UP"  # the granule's: the product's is above 64 characters
    found, _ = read_and_close(strip)
    assert_equal(found, dn)


def test_where_two_files_end_in_a_band_the_listed_one_is_taken(copy: Path, dn: Dn, tmp_path: Path) -> None:
    path = band_file(copy, Band.B03)
    shutil.copy(band_file(copy, Band.B04), path.parent / "OTHER_B03.jp2")
    found, _ = read_and_close(open_safe(copy, tmp_path))
    assert_equal(found, dn)
    edit_text(copy, "MTD_MSIL1C.xml", r"<IMAGE_FILE>[^<]*</IMAGE_FILE>", "")
    with pytest.raises(StripError, match="2 files for B03"):
        open_safe(copy, tmp_path)


def test_mean_angles_leave_out_what_is_not_a_number_and_average_directions_as_vectors(
    copy: Path, tmp_path: Path
) -> None:
    path = next(copy.rglob("MTD_TL.xml"))
    text = path.read_text()
    views = iter([("4.0", "359.0"), ("4.0", "1.0"), ("999", "5.0"), ("5.0", "-1")] + [("NaN", "NaN")] * 9)

    def replace_view(match: re.Match[str]) -> str:
        zenith, azimuth = next(views)
        return f"{match[1]}{zenith}{match[2]}{azimuth}{match[3]}"

    pattern = r"(bandId=.*?<ZENITH_ANGLE>)[^<]*(</ZENITH_ANGLE>\s*<AZIMUTH_ANGLE>)[^<]*(<)"
    path.write_text(re.sub(pattern, replace_view, text, flags=re.DOTALL))
    strip = open_safe(copy, tmp_path)
    assert strip.info.view_zenith_deg == pytest.approx(4.0, abs=0.01)
    azimuth = strip.info.view_azimuth_deg
    assert azimuth is not None
    assert min(azimuth, 360 - azimuth) < 1e-9
    strip.close()


def test_a_product_without_angles_says_so(tmp_path: Path) -> None:
    unknown = dict.fromkeys(
        ("sun_zenith_deg", "sun_azimuth_deg", "view_zenith_deg", "view_azimuth_deg"), None
    )
    write_safe_strip(tmp_path / "a.SAFE", 12, 12, TILE_PX, **unknown)
    strip = open_safe(tmp_path / "a.SAFE", tmp_path)
    assert [getattr(strip.info, name) for name in unknown] == [None] * 4
    strip.close()


def on_native_grids(files: dict[Band, Path], rows: int, columns: int) -> dict[Grid, U16]:
    """What a single-grid strip must give, from the whole images."""
    from payload.drivers.native_grids import empty_dn

    dn = empty_dn(rows, columns)
    for band, path in files.items():
        whole = imagecodecs.jpeg2k_decode(path.read_bytes(), numthreads=1)
        average_blocks(np.maximum(whole, 0).astype(np.uint16), GRID_OF_BAND[band], plane_of(dn, band))
    return dn


@needs_shared
@pytest.mark.parametrize("satellite", ["S2A", "S2B"])
def test_a_real_cut_out_keeps_offsets_angles_place_and_pixels(satellite: str, tmp_path: Path) -> None:
    folder = next((DATA / "safe_l1c_30px").glob(f"{satellite}*"))
    strip = open_safe(folder, tmp_path)
    info = strip.info
    assert info.strip_id == folder.name.removesuffix(".SAFE")
    assert info.offset_dn == dict.fromkeys(Band, -1000)
    assert info.quantification_dn == 10000
    assert (info.rows, info.columns, info.ground_sample_m) == (30, 30, 10.0)
    # The metadata speaks of the tile that this was cut from; the images know better.
    assert info.georeference == Georeference(32631, 350000.0, 4850020.0)
    angles = (info.sun_zenith_deg, info.sun_azimuth_deg, info.view_zenith_deg, info.view_azimuth_deg)
    expected = {
        "S2A": (65.7554034542734, 162.689190122297, 2.8654, 197.62),
        "S2B": (51.816936554549, 158.39725727483, 2.8991, 199.27),
    }
    assert angles == pytest.approx(expected[satellite], abs=0.005)
    start_utc_s = {"S2A": 1705748021.024, "S2B": 1709635699.024}
    assert info.start_utc_ns == round(start_utc_s[satellite] * 1000) * 1_000_000
    found, faults = read_and_close(strip, [6, 12])
    assert not faults
    files = {band: band_file(folder / "GRANULE", band) for band in Band}
    files = {band: next(folder.glob(f"GRANULE/*/IMG_DATA/*_{band.value}.jp2")) for band in files}
    assert_equal(found, on_native_grids(files, 30, 30))


@needs_shared
def test_the_real_whole_tile_is_read_from_its_bare_folder(tmp_path: Path) -> None:
    folder = next((DATA / "whole_tile_160m").iterdir())
    strip = open_folder(folder, tmp_path)
    info = strip.info
    assert info.strip_id == "19UDP_2017-07-29"
    assert (info.rows, info.columns) == (687, 687)
    assert info.ground_sample_m == pytest.approx(109800 / 687)
    assert info.georeference == Georeference(32619, 399960.0, 5400000.0)
    assert info.offset_dn == dict.fromkeys(Band, 0)
    found, faults = read_and_close(strip, [48, 90])
    assert not faults
    assert_equal(found, on_native_grids({band: folder / f"{band.value}.jp2" for band in Band}, 687, 687))


def test_a_bare_folder_on_native_grids_with_a_sidecar_is_a_strip(safe: Path, dn: Dn, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(band_file(safe, Band.B02).parent, folder)
    plain = open_folder(folder, tmp_path)
    assert plain.info.georeference == Georeference(32631, 300000.0, 4900020.0)
    assert plain.info.ground_sample_m == 10.0
    assert plain.info.sun_zenith_deg is None
    found, _ = read_and_close(plain)
    assert_equal(found, dn)
    (folder / "strip.yaml").write_text("strip_id: NAMED\nstart_utc_ns: 17\nground_sample_m: 20.0\n")
    told = open_folder(folder, tmp_path)
    assert (told.info.strip_id, told.info.start_utc_ns, told.info.ground_sample_m) == ("NAMED", 17, 20.0)
    told.close()
    (folder / "strip.yaml").write_text("strip_id: NAMED\nground_sample: 20.0\n")
    with pytest.raises(StripError, match=r"strip.yaml:2: ground_sample: unknown key; did you mean"):
        open_folder(folder, tmp_path)


def test_planned_memory_does_not_grow_with_the_rows_of_a_block(safe: Path, tmp_path: Path) -> None:
    strip = open_safe(safe, tmp_path)
    before = strip.planned_bytes
    strip.read(240)
    assert strip.planned_bytes == before
    strip.close()
