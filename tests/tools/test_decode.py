"""Products back to GeoTIFF, PNG and CSV; a third party (rasterio, GDAL) says what is in them."""

from __future__ import annotations

import csv
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from payload.core import products
from payload.core.pictures import class_palette
from payload.core.products import ProductLabel, ProductOrigin
from payload.core.surface import CELL_PX
from payload.drivers.link import FolderLink
from payload.types import (
    BANDS_OF_GRID,
    SURFACE_BANDS_OF_GRID,
    Contact,
    Georeference,
    Grid,
    ProductKind,
    SceneStats,
    Window,
)
from tools.decode.__main__ import main

ORIGIN = ProductOrigin(
    "S2A/odd name",
    590,
    701,
    1_500_000_000_000_000_000,
    0.0015,
    10.0,
    Georeference(32633, 399960.0, 5300040.0),
)
INNER_ROWS, INNER_COLUMNS = 240, 336
ERROR_DN = 10


@dataclass(frozen=True)
class Truth:
    """What went into the products, on the whole strip."""

    classes: np.ndarray
    counts: dict[Grid, np.ndarray]
    sigma: dict[Grid, np.ndarray]
    quicklook: np.ndarray
    missing: Window


def size(px: int, pitch: int) -> int:
    return -(-px // pitch)


def truth() -> Truth:
    rng = np.random.default_rng(1)
    rows, columns = ORIGIN.rows, ORIGIN.columns
    classes = rng.choice([0, 1, 2, 3, 255], (rows, columns)).astype(np.uint8)
    counts = {
        grid: rng.integers(
            0, 20000, (len(BANDS_OF_GRID[grid]), size(rows, grid), size(columns, grid))
        ).astype(np.uint16)
        for grid in Grid
    }
    sigma = {
        grid: rng.integers(
            1, 500, (len(SURFACE_BANDS_OF_GRID[grid]), size(rows, CELL_PX), size(columns, CELL_PX))
        ).astype(np.float32)
        for grid in Grid
    }
    quicklook = rng.integers(1, 256, (3, size(rows, 12), size(columns, 12)), dtype=np.uint8)
    return Truth(classes, counts, sigma, quicklook, Window(240, 336, 240, 336))


def part(array: np.ndarray, window: Window, pitch: int) -> np.ndarray:
    rows = slice(window.row // pitch, size(window.row_end, pitch))
    cols = slice(window.col // pitch, size(window.col_end, pitch))
    return array[..., rows, cols]


def bodies(of: Truth, origin: ProductOrigin = ORIGIN) -> dict[str, bytes]:
    """The products of every tile but the one in the middle, by their ids."""
    out = {}
    corners = [
        (r, c) for r in range(0, origin.rows, INNER_ROWS) for c in range(0, origin.columns, INNER_COLUMNS)
    ]
    for index, (row, col) in enumerate(corners):
        window = Window(
            row, col, min(INNER_ROWS, origin.rows - row), min(INNER_COLUMNS, origin.columns - col)
        )
        if window == of.missing:
            continue
        label = ProductLabel(origin, index, window, "00" * 7 + "01")
        made = [
            (ProductKind.STATISTICS, products.encode_statistics(label, stats_of(index))),
            (ProductKind.CLASSES, products.encode_classes(label, part(of.classes, window, 1))),
            (ProductKind.QUICKLOOK, products.encode_quicklook(label, part(of.quicklook, window, 12), 12)),
            (ProductKind.RAW, products.encode_raw(label, {g: part(of.counts[g], window, g) for g in Grid})),
        ]
        for grid in Grid:
            bands = len(SURFACE_BANDS_OF_GRID[grid])
            counts = part(of.counts[grid][:bands], window, grid)
            sigma = part(of.sigma[grid], window, CELL_PX)
            body = products.encode_surface(label, grid, counts, sigma, ERROR_DN)
            made.append((products.SURFACE_KIND_OF_GRID[grid], body))
        out |= {products.product_id(origin.strip_id, index, kind): body for kind, body in made}
    return out


def stats_of(index: int) -> SceneStats:
    return SceneStats(1000 * (index + 1), 7, 0.5, 0.25, 0.125, 0.125, 0.75)


def down(folder: Path, products_by_id: dict[str, bytes]) -> None:
    link = FolderLink(folder, Contact(0, 1e6, 8e6))
    for name, body in products_by_id.items():
        assert link.send(name, body)


@pytest.fixture(scope="module")
def of() -> Truth:
    return truth()


@pytest.fixture(scope="module")
def decoded(of: Truth, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decode")
    down(folder / "down", bodies(of))
    assert main([str(folder / "down"), "--out", str(folder / "out")]) == 0
    return folder / "out"


def name(rest: str) -> str:
    return f"S2A%2Fodd%20name_{rest}"


def hole(of: Truth, array: np.ndarray, pitch: int, no_data: int) -> np.ndarray:
    """The truth with the tile in the middle taken out."""
    out = array.copy()
    part(out, of.missing, pitch)[...] = no_data
    return out


def test_there_is_a_file_for_every_kind_and_no_other(decoded: Path) -> None:
    expected = {"classes.tif", "classes.png", "quicklook.png", "statistics.csv"}
    for pitch_m in (10, 20, 60):
        expected |= {f"surface_{pitch_m}m.tif", f"surface_{pitch_m}m_sigma.tif", f"raw_{pitch_m}m.tif"}
    assert {path.name for path in decoded.iterdir()} == {name(rest) for rest in expected}


@pytest.mark.parametrize("grid", list(Grid))
def test_surface_reflectance_opens_in_gdal_with_place_scale_bands_and_no_data(
    decoded: Path, of: Truth, grid: Grid
) -> None:
    bands = SURFACE_BANDS_OF_GRID[grid]
    counts = hole(of, of.counts[grid][: len(bands)], grid, 0)
    pitch_m = 10 * grid
    with rasterio.open(decoded / name(f"surface_{pitch_m}m.tif")) as file:
        found = file.read()
        assert file.crs.to_epsg() == 32633
        assert file.transform == rasterio.Affine(pitch_m, 0, 399960.0, 0, -pitch_m, 5300040.0)
        assert file.nodatavals == (0.0,) * len(bands)
        assert file.scales == (0.0001,) * len(bands)
        assert file.offsets == (-0.1,) * len(bands)
        assert file.descriptions == tuple(band.value for band in bands)
        assert file.dtypes == ("uint16",) * len(bands)
        assert file.block_shapes == [(256, 256)] * len(bands)
        assert file.compression.name == "deflate"
    assert found.shape == counts.shape
    assert np.abs(found.astype(int) - counts).max() <= ERROR_DN
    np.testing.assert_array_equal(found == 0, counts == 0)
    with rasterio.open(decoded / name(f"surface_{pitch_m}m_sigma.tif")) as file:
        sigma = hole(of, of.sigma[grid], CELL_PX, 65535)
        np.testing.assert_array_equal(file.read(), sigma)
        assert (file.nodata, file.scales[0], file.offsets[0]) == (65535.0, 0.0001, 0.0)
        assert file.transform.a == 10 * CELL_PX
        assert file.crs.to_epsg() == 32633


def test_the_class_map_opens_in_gdal_with_its_colours(decoded: Path, of: Truth) -> None:
    with rasterio.open(decoded / name("classes.tif")) as file:
        np.testing.assert_array_equal(file.read(1), hole(of, of.classes, 1, 255))
        assert file.crs.to_epsg() == 32633
        assert file.transform == rasterio.Affine(10, 0, 399960.0, 0, -10, 5300040.0)
        assert file.nodata == 255
        assert file.colorinterp == (ColorInterp.palette,)
        colours = file.colormap(1)
        assert [colours[i][:3] for i in range(4)] == [tuple(class_palette()[i].tolist()) for i in range(4)]
        assert (file.scales, file.offsets) == ((1.0,), (0.0,))


def test_raw_tiles_come_back_exactly(decoded: Path, of: Truth) -> None:
    for grid in Grid:
        with rasterio.open(decoded / name(f"raw_{10 * grid}m.tif")) as file:
            np.testing.assert_array_equal(file.read(), hole(of, of.counts[grid], grid, 0))
            assert file.descriptions == tuple(band.value for band in BANDS_OF_GRID[grid])
            assert (file.scales[0], file.offsets[0]) == (0.0001, -0.1)


def test_the_pictures_show_classes_in_colour_and_the_quicklook(decoded: Path, of: Truth) -> None:
    picture = imagecodecs.imread(decoded / name("classes.png"))
    np.testing.assert_array_equal(picture, class_palette()[hole(of, of.classes, 1, 255)])
    quicklook = imagecodecs.imread(decoded / name("quicklook.png"))
    np.testing.assert_array_equal(quicklook, hole(of, of.quicklook, 12, 0).transpose(1, 2, 0))


def test_the_statistics_are_a_table_by_tile(decoded: Path) -> None:
    with (decoded / name("statistics.csv")).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["tile"]) for row in rows] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert rows[-1] | {"valid_px": "9000", "clear_ratio": "0.5", "row": "480", "cols": "29"} == rows[-1]


def test_damaged_products_are_named_with_the_reason_and_the_rest_is_decoded(
    tmp_path: Path, of: Truth, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = bodies(of)
    down(tmp_path / "down", whole)
    files = sorted((tmp_path / "down").iterdir())
    flipped, cut, empty = [path for path in files if path.name.endswith(".classes.skp")][:3]
    flipped.write_bytes(flipped.read_bytes()[:-9] + b"\x00" + flipped.read_bytes()[-8:])
    cut.write_bytes(cut.read_bytes()[:-1])
    empty.write_bytes(b"")
    (tmp_path / "down" / "P.skp.part").write_bytes(b"not yet there")
    (tmp_path / "down" / "folder.skp").mkdir()
    assert main([str(tmp_path / "down"), "--out", str(tmp_path / "out"), "--json"]) == 1
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    reasons = {fault["name"]: fault["reason"] for fault in summary["damaged"]}
    assert set(reasons) == {flipped.name, cut.name, empty.name, "folder.skp"}
    assert "CRC-32" in reasons[flipped.name]
    assert "cut short" in reasons[cut.name]
    assert "cut short" in reasons[empty.name]
    assert all(fault in printed.err for fault in reasons)
    assert summary["products"] == len(whole) - 3
    strip = summary["strips"][ORIGIN.strip_id]
    assert strip["tiles"] == 8
    assert strip["scene"]["clear_ratio"] == 0.5
    with rasterio.open(tmp_path / "out" / name("classes.tif")) as file:
        found = file.read(1)
    assert (found[:240, :336] == 255).all()  # tile 0, whose product is damaged
    np.testing.assert_array_equal(found[480:, 672:], of.classes[480:, 672:])


def test_products_that_contradict_their_strip_are_left_out(tmp_path: Path, of: Truth) -> None:
    label = ProductLabel(ORIGIN, 0, Window(0, 0, 240, 336))
    other = replace(ORIGIN, columns=9999)
    wrong = [
        replace(label, origin=other, tile_index=1),  # another size than the first says
        replace(label, window=Window(480, 672, 240, 336)),  # reaches past the strip
    ]
    made = {
        f"P{i}": products.encode_classes(x, of.classes[:240, :336]) for i, x in enumerate([label, *wrong])
    }
    off_grid = replace(label, tile_index=2, window=Window(7, 0, 240, 336))
    made["P3"] = products.encode_quicklook(off_grid, of.quicklook[:, :20, :28], 12)
    down(tmp_path / "down", made)
    assert main([str(tmp_path / "down"), "--out", str(tmp_path / "out")]) == 1
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".png", ".tif"]


def test_products_of_two_tilings_of_one_strip_do_not_mix(
    tmp_path: Path, of: Truth, capsys: pytest.CaptureFixture[str]
) -> None:
    """What another board made of the same strip lies over the first one's tiles."""
    label = ProductLabel(ORIGIN, 0, Window(0, 0, 240, 336))
    halves = [
        replace(label, window=Window(0, 0, 240, 144)),
        ProductLabel(ORIGIN, 1, Window(0, 144, 240, 336)),
    ]
    made = {"P0": products.encode_classes(label, of.classes[:240, :336])}
    made["P1"] = products.encode_classes(halves[0], of.classes[:240, :144])
    made["P2"] = products.encode_classes(halves[1], of.classes[:240, 144:480])
    made["P3"] = products.encode_classes(label, of.classes[240:480, :336])
    made["P4"] = made["P0"]  # the same once more is no fault
    down(tmp_path / "down", made)
    assert main([str(tmp_path / "down"), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert told.count("another product of that tile and kind is in P0.skp") == 2
    assert told.count("lies over other tiles") == 1
    with rasterio.open(next((tmp_path / "out").glob("*classes.tif"))) as file:
        np.testing.assert_array_equal(file.read(1)[:240, :336], of.classes[:240, :336])


def test_a_strip_without_a_place_has_no_crs(tmp_path: Path, of: Truth) -> None:
    origin = replace(ORIGIN, strip_id="line", georeference=None)
    down(tmp_path / "down", bodies(of, origin))
    assert main([str(tmp_path / "down"), "--out", str(tmp_path / "out")]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "out" / "line_surface_20m.tif") as file:
            assert file.crs is None
            assert file.transform == rasterio.Affine.identity()
            assert file.scales[0] == 0.0001


def test_two_strips_in_one_folder_make_two_sets_of_files(tmp_path: Path, of: Truth) -> None:
    stats = {strip: replace(ORIGIN, strip_id=strip) for strip in ("A", "B")}
    for strip, origin in stats.items():
        label = ProductLabel(origin, 0, Window(0, 0, 240, 336))
        down(tmp_path / "down", {f"{strip}.0": products.encode_classes(label, of.classes[:240, :336])})
    assert main([str(tmp_path / "down"), "--out", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").glob("*.tif")) == ["A_classes.tif", "B_classes.tif"]


def test_a_folder_with_nothing_in_it_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no product" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_decoding_again_gives_the_same_bytes(tmp_path: Path, of: Truth) -> None:
    down(tmp_path / "down", bodies(of))
    for out in ("one", "two"):
        assert main([str(tmp_path / "down"), "--out", str(tmp_path / out)]) == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
