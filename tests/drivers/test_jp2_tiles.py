"""JPEG 2000 by tiles; the judge is GDAL's own decoding of the whole image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning

from payload.drivers import jp2_tiles
from payload.drivers.jp2_tiles import Jp2Tiles
from payload.errors import StripError
from payload.types import U16, Grid
from tests.drivers.strip_material import NO_SHARED, SHARED, made_up_dn

WHOLE_TILE = SHARED / "data" / "whole_tile_160m"
PLACED = Path("GRANULE") / "*" / "IMG_DATA" / "*_B??.jp2"
ROWS, COLUMNS, SIDE = 300, 200, 96


def write_jp2(path: Path, plane: U16, side: int, **options: str) -> None:
    plain = path.with_suffix(".tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            plain, "w", driver="GTiff", height=plane.shape[0], width=plane.shape[1], count=1, dtype="uint16"
        ) as file:
            file.write(plane, 1)
        size = {"BLOCKXSIZE": str(side), "BLOCKYSIZE": str(side)}
        lossless = {"QUALITY": "100", "REVERSIBLE": "YES"}
        rasterio.shutil.copy(plain, path, driver="JP2OpenJPEG", **{**size, **lossless, **options})


def judged(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            return file.read(1)


def tiles_of(image: Jp2Tiles) -> Iterator[tuple[int, int]]:
    """Of a damaged image there may be ten thousand million."""
    return product(range(-(-image.rows // image.tile_rows)), range(-(-image.columns // image.tile_columns)))


def decoded(path: Path) -> U16:
    """The whole image, put together from its tiles; a damaged tile is 0."""
    image = Jp2Tiles(path)
    whole = np.zeros((image.rows, image.columns), np.uint16)
    for down, across in tiles_of(image):
        top, left = down * image.tile_rows, across * image.tile_columns
        try:
            tile = image.decode(down, across)[0]
        except StripError:
            continue
        whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    image.close()
    return whole


@pytest.fixture(scope="module")
def plane() -> U16:
    return made_up_dn(ROWS, COLUMNS)[Grid.R10M][1]


@pytest.fixture(scope="module")
def jp2(tmp_path_factory: pytest.TempPathFactory, plane: U16) -> Path:
    path: Path = tmp_path_factory.mktemp("jp2") / "B03.jp2"
    write_jp2(path, plane, SIDE)
    return path


@pytest.fixture
def damaged(jp2: Path, tmp_path: Path) -> Any:
    """A function that writes the image with a change to its bytes."""

    def write(change: Any) -> Path:
        content = bytearray(jp2.read_bytes())
        changed = change(content)
        path = tmp_path / "damaged.jp2"
        path.write_bytes(content if changed is None else changed)
        return path

    return write


def tile_parts(content: bytes) -> list[int]:
    """First byte of each tile-part."""
    parts, start = [], content.find(b"\xff\x90\x00\x0a")
    while start >= 0:
        parts.append(start)
        start = content.find(b"\xff\x90\x00\x0a", start + 1)
    return parts


@pytest.mark.parametrize(
    ("rows", "columns", "side", "options"),
    [
        (300, 200, 96, {}),
        (64, 64, 64, {}),
        (65, 63, 64, {"RESOLUTIONS": "5"}),
        (100, 333, 512, {}),
        (130, 130, 64, {"PROGRESSION": "RPCL", "TILEPARTS": "RESOLUTIONS", "RESOLUTIONS": "4"}),
        (130, 130, 64, {"QUALITY": "30", "REVERSIBLE": "NO"}),
        (130, 130, 64, {"CODEC": "J2K"}),
        (1, 1, 64, {}),
    ],
)
def test_every_tile_equals_what_a_third_party_decodes(
    tmp_path: Path, rows: int, columns: int, side: int, options: dict[str, str]
) -> None:
    path = tmp_path / "B02.jp2"
    write_jp2(path, made_up_dn(rows, columns)[Grid.R10M][0], side, **options)
    np.testing.assert_array_equal(decoded(path), judged(path))


@pytest.mark.skipif(not WHOLE_TILE.exists(), reason=NO_SHARED)
def test_every_band_of_the_real_whole_tile_equals_what_a_third_party_decodes() -> None:
    paths = sorted(WHOLE_TILE.glob("*/*.jp2"))
    assert len(paths) == 13
    for path in paths[::4]:
        np.testing.assert_array_equal(decoded(path), judged(path))


@pytest.mark.skipif(not SHARED.exists(), reason=NO_SHARED)
def test_real_cut_outs_signed_ones_too_equal_what_a_third_party_decodes() -> None:
    paths = sorted((SHARED / "data" / "safe_l1c_30px").glob(f"*/{PLACED}"))
    assert len(paths) == 26
    kinds = set()
    for path in paths:
        expected = judged(path)
        kinds.add(expected.dtype.kind)
        np.testing.assert_array_equal(decoded(path), np.maximum(expected, 0).astype(np.uint16))
    assert kinds == {"i", "u"}


def test_the_decoder_is_never_asked_for_more_pixels_than_one_tile_has(
    jp2: Path, plane: U16, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    decode = imagecodecs.jpeg2k_decode

    def recorded(stream: bytes, **options: Any) -> Any:
        tile = decode(stream, **options)
        shapes.append(tile.shape)
        return tile

    monkeypatch.setattr(jp2_tiles.imagecodecs, "jpeg2k_decode", recorded)
    np.testing.assert_array_equal(decoded(jp2), plane)
    assert len(shapes) == 4 * 3
    assert all(rows <= SIDE and columns <= SIDE for rows, columns in shapes)
    assert sum(rows * columns for rows, columns in shapes) == ROWS * COLUMNS


def test_planned_memory_of_a_tile_holds_its_samples_and_its_codestream(jp2: Path) -> None:
    image = Jp2Tiles(jp2)
    assert image.decode_bytes >= 10 * SIDE * SIDE
    image.close()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not JPEG 2000 (0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1", "not JPEG 2000 (42 bytes, starting b'version '"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "holds no codestream"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00\x00\x00\x02abcd" + bytes(8), "damaged box at byte 12"),
        (
            b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00\x00\x00\x00jp2cjunk",
            "does not start where its box says",
        ),
        (b"\xff\x4f\xff\x51\x00", "cut off in its main header"),
        (b"\xff\x4f\xff\x51\xff\xff" + bytes(99), "damaged main header at byte 2"),
    ],
)
def test_what_is_no_jpeg_2000_is_refused_with_file_and_remedy(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "B03.jp2"
    path.write_bytes(content)
    with pytest.raises(StripError) as refused:
        Jp2Tiles(path)
    assert str(path) in str(refused.value)
    assert complaint in str(refused.value)
    assert "again" in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StripError, match="No such file"):
        Jp2Tiles(tmp_path / "B03.jp2")


@pytest.mark.parametrize(
    ("marker", "offset", "change", "complaint"),
    [
        (b"\xff\x51", 38, b"\x00\x03", "not one plane"),
        (b"\xff\x51", 40, b"\x1f", "32 bits"),
        (b"\xff\x51", 6, b"\x7f\xff\xff\xff", "impossible size"),
        (b"\xff\x51", 22, b"\x00\x00\x00\x00", "impossible size"),
        (b"\xff\x51", 14, b"\x00\x00\x00\x01", "do not start at pixel 0"),
        (b"\xff\x52", 6, b"\xff\xff", "65535 layers"),
        (b"\xff\x52", 9, b"\xff", "255 wavelet levels"),
        (b"\xff\x52", 0, b"\xff\x64", "has not one SIZ, one COD"),
        (b"\xff\x64", 0, b"\xff\x60", "marker FF60"),
        (b"\xff\x64", 0, b"\xff\x53", "marker FF53"),
        (b"\xff\x52", 2, b"\x00\x06", "COD is too short"),
        (b"\xff\x52", 9, b"\x04", "COD lacks sizes of precincts"),
        (b"\xff\x52", 14, b"\x00", "precincts in a tile"),
        (b"\xff\x5c", 2, b"\x00\x01", "damaged main header"),
    ],
)
def test_a_main_header_that_does_not_hold_together_is_refused_at_opening(
    damaged: Any, marker: bytes, offset: int, change: bytes, complaint: str
) -> None:
    def alter(content: bytearray) -> None:
        start = content.index(b"\xff\x4f\xff\x51")
        at = content.index(marker, start) + offset
        content[at : at + len(change)] = change

    with pytest.raises(StripError, match=complaint):
        Jp2Tiles(damaged(alter))


def test_a_file_cut_off_before_its_first_tile_is_refused(damaged: Any) -> None:
    path = damaged(lambda content: content[: tile_parts(content)[0] + 8])
    with pytest.raises(StripError, match="cut off before its first tile"):
        Jp2Tiles(path)


@pytest.mark.parametrize("length", [0, 5, 13, 1000, 0x7FFFFFFF])
def test_a_tile_part_with_a_wrong_length_costs_nothing(damaged: Any, plane: U16, length: int) -> None:
    def alter(content: bytearray) -> None:
        for part in tile_parts(content):
            content[part + 6 : part + 10] = length.to_bytes(4, "big")

    np.testing.assert_array_equal(decoded(damaged(alter)), plane)


def test_tiles_beyond_a_codestream_that_says_it_is_shorter_are_not_in_the_file(damaged: Any) -> None:
    def alter(content: bytearray) -> None:
        box = content.index(b"jp2c") - 4
        content[box : box + 4] = (tile_parts(content)[2] - box).to_bytes(4, "big")

    image = Jp2Tiles(damaged(alter))
    image.decode(0, 0)
    with pytest.raises(StripError, match="not in the file"):
        image.decode(1, 0)
    image.close()


def test_a_tile_that_brings_a_coding_of_its_own_is_damaged(damaged: Any) -> None:
    def alter(content: bytearray) -> None:
        header_end = tile_parts(content)[0] + 12
        content[header_end:header_end] = b"\xff\x52\x00\x0c\x00\x00\xff\xff\x00\x05\x04\x04\x00\x01"

    image = Jp2Tiles(damaged(alter))
    with pytest.raises(StripError, match="marker FF52"):
        image.decode(0, 0)
    image.close()


def test_a_file_cut_off_loses_the_tiles_that_are_not_there_and_no_other(damaged: Any, plane: U16) -> None:
    path = damaged(lambda content: content[: tile_parts(content)[5] + 100])
    image = Jp2Tiles(path)
    for number, (down, across) in enumerate(tiles_of(image)):
        if number < 5:
            tile = image.decode(down, across)[0]
            top, left = down * SIDE, across * SIDE
            np.testing.assert_array_equal(tile, plane[top : top + SIDE, left : left + SIDE])
        else:
            with pytest.raises(StripError, match="cut off" if number == 5 else "not in the file"):
                image.decode(down, across)
    image.close()


def test_a_tile_that_does_not_decode_is_damaged(damaged: Any) -> None:
    def alter(content: bytearray) -> None:
        start_of_data = tile_parts(content)[0] + 12
        assert content[start_of_data : start_of_data + 2] == b"\xff\x93"
        content[start_of_data] = 0

    image = Jp2Tiles(damaged(alter))
    with pytest.raises(StripError, match="does not decode"):
        image.decode(0, 0)
    assert image.decode(0, 1).shape == (1, SIDE, SIDE)
    image.close()


def test_a_tile_that_decodes_to_another_shape_is_damaged(jp2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Jp2Tiles(jp2)
    for wrong in (np.zeros((SIDE, SIDE, 3), np.uint16), np.zeros((SIDE, SIDE), np.uint32)):
        monkeypatch.setattr(jp2_tiles.imagecodecs, "jpeg2k_decode", lambda *_, wrong=wrong, **__: wrong)
        with pytest.raises(StripError, match="decodes to uint"):
            image.decode(0, 0)
    image.close()


def test_a_missing_tile_part_makes_its_tile_damaged(tmp_path: Path) -> None:
    path = tmp_path / "B02.jp2"
    in_parts = {"PROGRESSION": "RPCL", "TILEPARTS": "RESOLUTIONS", "RESOLUTIONS": "4"}
    write_jp2(path, made_up_dn(64, 64)[Grid.R10M][0], 64, **in_parts)
    content = path.read_bytes()
    parts = tile_parts(content)
    assert len(parts) > 2
    path.write_bytes(content[: parts[1]] + content[parts[2] :])
    image = Jp2Tiles(path)
    with pytest.raises(StripError, match="tile-part"):
        image.decode(0, 0)
    image.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.floats(0, 1, exclude_max=True),
    noise=st.binary(min_size=1, max_size=40),
    removed=st.integers(0, 40),
)
@example(at=0.0, noise=b"\xff", removed=0)
def test_whatever_is_damaged_a_tile_is_a_tile_or_a_strip_error(
    damaged: Any, at: float, noise: bytes, removed: int
) -> None:
    def alter(content: bytearray) -> None:
        start = int(at * len(content))
        content[start : start + removed] = noise

    try:
        image = Jp2Tiles(damaged(alter))
    except StripError:
        return
    for down, across in islice(tiles_of(image), 12):
        try:
            tile = image.decode(down, across)
        except StripError:
            continue
        assert tile.dtype == np.uint16
        assert tile.shape[0] == 1
        assert tile.shape[1] <= image.tile_rows
    image.close()
