"""Opening a strip, whatever it is kept in, and writing one in another form."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from payload.bands import plane_of
from payload.core.radiometry import DnScale
from payload.drivers.strip_header import Sidecar, ascii_id, read_sidecar, strip_of_pictures
from payload.drivers.strip_raw import RawStrip
from payload.drivers.strip_tiled import TiledStrip
from payload.drivers.strips import open_strip
from payload.errors import StripError
from payload.ports import StripSource
from payload.types import U16, Band, Grid
from tests.drivers.strip_material import (
    StripInMemory,
    assert_equal,
    made_up_dn,
    read_all,
    stack_of,
    strip_info,
    write_geotiff,
    write_raw_strip,
    write_safe_strip,
)
from tools import write_raw as raw_tool
from tools import write_safe as safe_tool

TILE_PX = (64, 64, 32)
REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_driver_is_chosen_by_what_is_there(tmp_path: Path) -> None:
    header, dn = write_raw_strip(tmp_path, 36, 48)
    write_safe_strip(tmp_path / "a.SAFE", 36, 48, TILE_PX)
    images = next((tmp_path / "a.SAFE").rglob("IMG_DATA"))
    bare = tmp_path / "bare"
    shutil.copytree(images, bare)
    picture = tmp_path / "picture.tif"
    write_geotiff(picture, stack_of(dn), False)
    renamed = tmp_path / "no ending"
    shutil.copy(picture, renamed)
    kinds = {
        header: RawStrip,
        tmp_path / "a.SAFE": TiledStrip,
        tmp_path / "a.SAFE" / "MTD_MSIL1C.xml": TiledStrip,
        bare: TiledStrip,
        picture: TiledStrip,
        renamed: TiledStrip,
    }
    for path, kind in kinds.items():
        strip = open_strip(path, tmp_path)
        assert type(strip) is kind
        assert strip.planned_bytes > 0
        found, faults = read_all(strip)
        strip.close()
        assert not faults
        assert_equal(found, dn)


@pytest.mark.parametrize("name", ["text.txt", "empty", "folder", "nothing", "text.txt/below", "a.xml"])
def test_what_is_not_a_strip_is_refused_as_that(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.txt").write_text("a text")
    (tmp_path / "a.xml").write_text("<a/>")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StripError) as refused:
        open_strip(tmp_path / name, tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "not a" in str(refused.value)


def test_a_sidecar_goes_before_what_the_pictures_say(tmp_path: Path) -> None:
    told = tmp_path / "told.yaml"
    told.write_text("line_period_s: 0.5\ngeoreference: {epsg: 32719, easting_m: 1.5, northing_m: -2}\n")
    sidecar = read_sidecar(told)
    info = strip_of_pictures(
        sidecar, strip_id="a name", rows=6, columns=6, georeference=None, ground_sample_m=None
    )
    assert (info.line_period_s, info.strip_id, info.ground_sample_m) == (0.5, "a_name", 10.0)
    assert info.georeference is not None
    assert (info.georeference.epsg, info.georeference.northing_m) == (32719, -2.0)
    assert read_sidecar(tmp_path / "absent.yaml") == Sidecar(*[None] * 7)
    assert (ascii_id("é" * 80), ascii_id("")) == ("_" * 64, "strip")
    told.write_text("strip_id: é\n")
    with pytest.raises(StripError, match="printable ASCII"):
        read_sidecar(told)


def run_tool(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"tools.{name}", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )


def test_a_strip_goes_from_raw_to_safe_and_back_unchanged(tmp_path: Path) -> None:
    header, dn = write_raw_strip(tmp_path, 150, 140)
    product = tmp_path / "a.SAFE"
    written = run_tool("write_safe", header, product, "--tile-px", "64", "48", "32", "--scratch", tmp_path)
    assert written.returncode == 0, written.stderr
    again = run_tool("write_raw", product, tmp_path / "again.yaml", "--crc", "none")
    assert again.returncode == 0, again.stderr
    strip = open_strip(tmp_path / "again.yaml", tmp_path)
    found, faults = read_all(strip)
    strip.close()
    assert not faults
    assert_equal(found, dn)
    assert not list(product.rglob("*.tif"))


def test_a_written_safe_is_read_by_a_third_party(tmp_path: Path) -> None:
    dn = write_safe_strip(tmp_path / "a.SAFE", 150, 140, (64, 48, 32))
    sides = {Grid.R10M: 64, Grid.R20M: 48, Grid.R60M: 32}
    for band, grid in ((Band.B02, Grid.R10M), (Band.B12, Grid.R20M), (Band.B10, Grid.R60M)):
        path = next((tmp_path / "a.SAFE").rglob(f"*_{band.value}.jp2"))
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(1), plane_of(dn, band))
            assert file.crs.to_epsg() == 32631
            assert (file.transform.a, file.transform.c, file.transform.f) == (10 * grid, 300000.0, 4900020.0)
            assert file.block_shapes == [(min(sides[grid], file.height), min(sides[grid], file.width))]
            assert file.tags(ns="IMAGE_STRUCTURE")["COMPRESSION_REVERSIBILITY"].startswith("LOSSLESS")


def test_the_tools_say_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text("a text")
    assert raw_tool.main([str(tmp_path / "text.txt"), str(tmp_path / "out.yaml")]) == StripError.exit_code
    assert safe_tool.main([str(tmp_path / "text.txt"), str(tmp_path / "out.SAFE")]) == StripError.exit_code
    assert capsys.readouterr().err.count("not a strip") == 2
    header, _ = write_raw_strip(tmp_path, 12, 12)
    for arguments in ([str(header), str(tmp_path)], [str(header), "x.SAFE", "--tile-px", "64", "16", "32"]):
        with pytest.raises(SystemExit) as ended:
            safe_tool.main(arguments)
        assert ended.value.code == 2


def counts_of(strip: StripSource) -> dict[Grid, U16]:
    """What flight makes of all rows of ``strip``."""
    found, _ = read_all(strip)
    strip.close()
    scale = DnScale(strip.info.offset_dn, strip.info.quantification_dn)
    counts = {grid: np.empty_like(samples) for grid, samples in found.items()}
    for grid, samples in found.items():
        scale.to_counts(samples, grid, counts[grid])
    return counts


def test_what_is_dark_in_one_band_is_dark_in_a_product_with_an_offset_too(tmp_path: Path) -> None:
    """Before baseline 04.00 a dark sample is 0 as no data is; other bands tell which."""
    dn = made_up_dn(120, 132)
    dn[Grid.R20M][5, 10:30] = 0
    dn[Grid.R10M][:, 60:80] = 0
    info = strip_info(120, 132, offset_dn=dict.fromkeys(Band, 0))
    safe_tool.write_safe(StripInMemory(info, dn), tmp_path / "a.SAFE", "05.10", dict.fromkeys(Grid, 64))
    expected = counts_of(StripInMemory(info, dn))
    assert_equal(counts_of(open_strip(tmp_path / "a.SAFE", tmp_path)), expected)
    assert (expected[Grid.R20M][5, 10:30, 20:] == 1000).all()
    assert (expected[Grid.R10M][:, 60:80] == 0).all()


@pytest.mark.parametrize("name", ["strip.yaml", "strip.raw", "other.yaml"])
def test_a_strip_is_never_written_over_the_one_that_it_is_made_of(tmp_path: Path, name: str) -> None:
    header, _ = write_raw_strip(tmp_path, 36, 48)
    stream = tmp_path / "strip.raw"
    if name == "other.yaml":  # whose stream is named as the one to be written
        stream = stream.rename(tmp_path / "other.raw")
        header.write_text(header.read_text().replace("strip.raw", "other.raw"))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as ended:
        raw_tool.main([str(header), str(tmp_path / name)])
    assert ended.value.code == 2
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_stream_may_be_written_from_what_it_replaces(tmp_path: Path) -> None:
    header, dn = write_raw_strip(tmp_path, 36, 48)
    source = open_strip(header, tmp_path)
    raw_tool.write_raw(header, source.info, raw_tool.blocks_of(source))
    source.close()
    again = open_strip(header, tmp_path)
    found, faults = read_all(again)
    again.close()
    assert not faults
    assert_equal(found, dn)


def test_a_folder_that_is_not_there_is_made_and_one_that_cannot_be_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, _ = write_raw_strip(tmp_path, 12, 12)
    assert raw_tool.main([str(header), str(tmp_path / "new" / "deep" / "out.yaml")]) == 0
    assert (tmp_path / "new" / "deep" / "out.raw").is_file()
    with pytest.raises(SystemExit) as ended:
        raw_tool.main([str(header), str(header / "out.yaml")])
    assert ended.value.code == 2
    assert "strip.yaml" in capsys.readouterr().err
