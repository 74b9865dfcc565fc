"""A file of bands is read as what it says it is, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.band_files import BandFileError, read_plane, read_reflectance

RNG = np.random.default_rng(3)
DN = RNG.integers(200, 9000, (13, 20, 17)).astype(np.uint16)


def written(path: Path, stack: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, stack, **({"photometric": "minisblack"} | options))
    return path


@pytest.mark.parametrize(
    "stack",
    [
        DN,
        DN.astype(np.int16),
        DN.astype(np.int32),
        DN.astype(np.float32),
        (DN / 1e4).astype(np.float32),
        DN / 1e4,
    ],
    ids=["uint16", "int16", "int32", "float of dn", "float32", "float64"],
)
def test_every_kind_of_number_is_the_same_reflectance(tmp_path: Path, stack: np.ndarray) -> None:
    for layout in (stack, np.moveaxis(stack, 0, -1)):
        found = read_reflectance(written(tmp_path / "a.tif", layout), 13)
        assert np.allclose(found, DN / 1e4, atol=1e-6)


def test_a_page_a_band_is_a_stack_of_bands(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for plane in DN:
            file.write(plane, contiguous=False, photometric="minisblack")
    assert np.allclose(read_reflectance(tmp_path / "a.tif", 13), DN / 1e4)


def test_where_thirteen_rows_allow_both_the_file_says_which_axis_holds_the_bands(tmp_path: Path) -> None:
    cut = DN[:, :13]
    last = written(tmp_path / "last.tif", np.moveaxis(cut, 0, -1), planarconfig="contig")
    first = written(tmp_path / "first.tif", cut, planarconfig="separate")
    for path in (first, last):
        assert np.allclose(read_reflectance(path, 13), cut / 1e4), path.name


@settings(max_examples=20, deadline=None)
@given(
    fill=st.sampled_from([-9999.0, -32768.0, np.nan, np.inf, 1e20, -3.4028234663852886e38]),
    is_dn=st.booleans(),
    columns=st.integers(1, 16),
)
def test_what_is_no_reflectance_is_no_data_in_every_band(
    tmp_path_factory: pytest.TempPathFactory, fill: float, is_dn: bool, columns: int
) -> None:
    stack = (DN if is_dn else DN / 1e4).astype(np.float32)
    stack[4, :, :columns] = fill
    path = written(tmp_path_factory.mktemp("fill") / "a.tif", stack)
    found = read_reflectance(path, 13)
    assert (found[:, :, :columns] == 0).all()
    assert np.allclose(found[:, :, columns:], DN[:, :, columns:] / 1e4, atol=1e-6)


@pytest.mark.parametrize(("kind", "fill"), [("int16", -9999), ("uint16", 4321), ("float32", 4321)])
def test_what_the_file_calls_no_data_is_no_data(tmp_path: Path, kind: str, fill: int) -> None:
    stack = np.where(np.equal(DN, fill), fill + 1, DN).astype(kind)
    stack[:, :5] = fill
    path = written(tmp_path / "a.tif", stack, extratags=[(42113, "s", 0, f"{fill}", True)])
    found = read_reflectance(path, 13)
    assert (found[:, :5] == 0).all()
    assert np.array_equal(found[:, 5:], stack[:, 5:].astype(np.float32) / np.float32(1e4))


def test_no_data_that_lost_its_offset_is_no_data(tmp_path: Path) -> None:
    stack = DN.astype(np.int16)
    stack[:, :5] = 0 - 1000
    assert (read_reflectance(written(tmp_path / "a.tif", stack), 13)[:, :5] == 0).all()


def test_a_band_that_is_nowhere_takes_no_data_from_the_others(tmp_path: Path) -> None:
    stack = (DN / 1e4).astype(np.float32)
    stack[9] = np.nan
    found = read_reflectance(written(tmp_path / "a.tif", stack), 13)
    assert (found[9] == 0).all()
    assert np.allclose(np.delete(found, 9, 0), np.delete(DN, 9, 0) / 1e4)


def test_samples_that_are_0_in_one_band_stay_as_they_are(tmp_path: Path) -> None:
    stack = DN.copy()
    stack[12, :5] = 0
    found = read_reflectance(written(tmp_path / "a.tif", stack, extratags=[(42113, "s", 0, "0", True)]), 13)
    assert np.array_equal(found, stack.astype(np.float32) / np.float32(1e4))


HEADER_BYTES = 600
"""Damage to sizes in there may ask for any amount of memory."""


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1), length=st.integers(1, 200), seed=st.integers(0, 99))
def test_a_damaged_file_is_refused_by_name_or_read(
    tmp_path_factory: pytest.TempPathFactory, place: float, length: int, seed: int
) -> None:
    path = written(tmp_path_factory.mktemp("damaged") / "a.tif", DN, compression="zlib")
    content = bytearray(path.read_bytes())
    begin = HEADER_BYTES + int(place * (len(content) - HEADER_BYTES))
    content[begin : begin + length] = np.random.default_rng(seed).bytes(length)
    path.write_bytes(content)
    for read in (lambda: read_reflectance(path, 13), lambda: read_plane(path)):
        said = "a.tif"
        try:
            read()
        except BandFileError as error:
            said = str(error)
        assert "a.tif" in said


def test_a_picture_of_8_bits_is_no_reflectance(tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, np.full((13, 8, 8), 90, np.uint8))
    with pytest.raises(BandFileError, match=r"picture\.tif: samples of 8 bits"):
        read_reflectance(path, 13)
