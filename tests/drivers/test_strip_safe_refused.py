"""Products that are no strip: each refused with one line that says what to do."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from payload.bands import GRID_OF_BAND
from payload.drivers import tile_rows
from payload.drivers.strip_safe import open_folder, open_safe
from payload.errors import StripError
from payload.types import Band
from tests.drivers.strip_material import (
    NO_SHARED,
    SHARED,
    band_file,
    edit_text,
    write_safe_strip,
)

DATA = SHARED / "data"
needs_shared = pytest.mark.skipif(not DATA.exists(), reason=NO_SHARED)

ROWS, COLUMNS = 270, 200
TILE_PX = (96, 40, 32)


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("safe") / "MADE_UP.SAFE"
    write_safe_strip(folder, ROWS, COLUMNS, TILE_PX)
    return folder


@pytest.fixture
def copy(safe: Path, tmp_path: Path) -> Path:
    """The product, to be mistreated."""
    folder = tmp_path / "COPY.SAFE"
    shutil.copytree(safe, folder)
    return folder


def refusal(folder: Path, scratch: Path) -> str:
    with pytest.raises(StripError) as refused:
        open_safe(folder, scratch)
    return str(refused.value)


def test_a_scratch_folder_that_is_full_or_missing_is_refused_before_the_first_row(
    safe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StripError, match=r"nowhere: No such file or directory; reading this strip needs \d+"):
        open_safe(safe, tmp_path / "nowhere")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tile_rows.os, "posix_fallocate", full)
    with pytest.raises(StripError, match="No space left on device"):
        open_safe(safe, tmp_path)


def test_from_then_on_all_13_bands_must_have_one(copy: Path, tmp_path: Path) -> None:
    edit_text(copy, "MTD_MSIL1C.xml", r'<RADIO_ADD_OFFSET band_id="8">-1000</RADIO_ADD_OFFSET>', "")
    assert "no RADIO_ADD_OFFSET for B8A in a product of baseline 05.10" in refusal(copy, tmp_path)


def test_a_missing_band_is_refused_and_named(copy: Path, tmp_path: Path) -> None:
    band_file(copy, Band.B8A).unlink()
    assert "missing bands: B8A: fetch the strip again" in refusal(copy, tmp_path)


@pytest.mark.parametrize("band", list(Band))
def test_images_of_one_strip_agree_in_size_or_the_one_that_does_not_is_named(
    copy: Path, tmp_path: Path, band: Band
) -> None:
    write_safe_strip(tmp_path / "SMALL.SAFE", 60, 60, TILE_PX)
    shutil.copy(band_file(tmp_path / "SMALL.SAFE", band), band_file(copy, band))
    complaint = refusal(copy, tmp_path)
    pitch = GRID_OF_BAND[band]
    assert complaint.startswith(f"{band.value} ({band_file(copy, band).name}): {60 // pitch} x {60 // pitch}")
    assert "the strip has 270 x 200" in complaint
    assert f"must have {270 // pitch} x {-(-200 // pitch)} (native grids)" in complaint


@pytest.mark.parametrize("odd", [Band.B02, Band.B05, Band.B12])
def test_so_it_is_where_all_bands_are_on_one_grid(safe: Path, tmp_path: Path, odd: Band) -> None:
    folder = tmp_path / "bands"
    folder.mkdir()
    for band in Band:
        shutil.copy(band_file(safe, Band.B01 if band is odd else Band.B03), folder / f"{band.value}.jp2")
    with pytest.raises(StripError) as refused:
        open_folder(folder, tmp_path)
    assert str(refused.value).startswith(f"{odd.value} ({odd.value}.jp2): 45 x 34 pixels")
    assert "must have 270 x 200 (one grid for all)" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "complaint"),
    [
        ("MTD_MSIL1C.xml", r"^", "<!DOCTYPE bomb [<!ENTITY lol 'lol'>]>", "document type"),
        ("MTD_TL.xml", r"^", '<!DOCTYPE a SYSTEM "file:///etc/passwd">', "document type"),
        ("MTD_MSIL1C.xml", r"</n?1?:?Level-1C_User_Product>", "", "not well-formed XML"),
        ("MTD_MSIL1C.xml", r"Level-1C</PROC", "Level-2A</PROC", "PROCESSING_LEVEL is 'Level-2A'"),
        ("MTD_MSIL1C.xml", r"10000</QUANT", "0</QUANT", "QUANTIFICATION_VALUE '0' must be a whole number"),
        ("MTD_MSIL1C.xml", r"<QUANTIFICATION_VALUE>.*?</QUANTIFICATION_VALUE>", "", "lacks QUANTIFICATION"),
        ("MTD_MSIL1C.xml", r">-1000<", ">low<", "RADIO_ADD_OFFSET of band_id 0 'low'"),
        ("MTD_MSIL1C.xml", r'band_id="0"', 'band_id="13"', "band_id 13"),
        ("MTD_MSIL1C.xml", r">05.10<", ">five<", "PROCESSING_BASELINE 'five' is not like 05.10"),
        ("MTD_MSIL1C.xml", r">2024-01-20T", ">yesterday", "PRODUCT_START_TIME 'yesterday"),
        ("MTD_MSIL1C.xml", r">2024-01-20T", ">9999-01-20T", "is not between 1970 and 2116"),
        ("MTD_MSIL1C.xml", r">2024-01-20T", ">1900-01-20T", "is not between 1970 and 2116"),
        ("MTD_MSIL1C.xml", r"_INDEX>0<", "_INDEX>7<", "NODATA is '7'; only 0 is understood"),
        ("MTD_TL.xml", r"EPSG:32631", "EPSG:UTM", "HORIZONTAL_CS_CODE 'UTM'"),
        ("MTD_TL.xml", r"<NROWS>270</NROWS>", "<NROWS>-1</NROWS>", "NROWS '-1'"),
        ("MTD_TL.xml", r"<ULX>300000.0</ULX>", "<ULX>nan</ULX>", "ULX 'nan'"),
        ("MTD_TL.xml", r"<ULX>300000.0</ULX>", "", "ULX is empty or missing"),
        ("MTD_TL.xml", r'<Size resolution="10">', '<Size resolution="5">', "lacks Size"),
    ],
)
def test_damaged_metadata_is_refused_and_named(
    copy: Path, tmp_path: Path, name: str, pattern: str, replacement: str, complaint: str
) -> None:
    edit_text(copy, name, pattern, replacement)
    found = refusal(copy, tmp_path)
    assert name in found
    assert complaint in found
    assert "\n" not in found


def test_metadata_above_16_mib_is_refused(copy: Path, tmp_path: Path) -> None:
    with next(copy.rglob("MTD_TL.xml")).open("ab") as file:
        file.write(b" " * (16 << 20))
    assert "above 16777216 bytes" in refusal(copy, tmp_path)


def test_missing_metadata_and_granules_are_refused(copy: Path, tmp_path: Path) -> None:
    granule = band_file(copy, Band.B02).parents[1]
    shutil.copytree(granule, granule.parent / "SECOND")
    assert "2 granules; a strip is one" in refusal(copy, tmp_path)
    shutil.rmtree(granule.parent / "SECOND")
    (granule / "MTD_TL.xml").unlink()
    assert "no MTD_TL.xml" in refusal(copy, tmp_path)
    shutil.rmtree(granule)
    assert "no GRANULE/*/IMG_DATA" in refusal(copy, tmp_path)
    (copy / "MTD_MSIL1C.xml").unlink()
    assert "no MTD_MSIL1C.xml" in refusal(copy, tmp_path)


@needs_shared
def test_a_real_product_whose_images_were_never_fetched_is_refused(tmp_path: Path) -> None:
    folder = next((DATA / "safe_l1c_metadata").iterdir())
    complaint = refusal(folder, tmp_path)
    assert "_B01.jp2: not JPEG 2000 (132 bytes, starting b'version '): fetch or write" in complaint
