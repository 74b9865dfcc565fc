"""Simulated strips: the same every time, true beside, readable by the payload, and what is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from payload.drivers.strips import open_strip
from payload.types import BANDS_OF_GRID, U16, Band, Grid, SceneClass, Window
from tools.material import FILE_BANDS
from tools.simulate.__main__ import EXAMPLE_SEED, EXAMPLE_SHAPE, main
from tools.simulate.country import draw_country
from tools.simulate.fields import fractal
from tools.simulate.noise import Canvas
from tools.simulate.scene import BLOCK_ROWS, PIECE_COLUMNS, Scene, Truth, make_scene

SHAPE = (120, 180)
SHIPPED = Path(__file__).resolve().parents[2] / "strips" / "example" / "strip.yaml"


def whole(scene: Scene) -> dict[Grid, U16]:
    blocks = list(scene.blocks())
    return {grid: np.concatenate([block.dn[grid] for block in blocks], axis=1) for grid in Grid}


@pytest.fixture(scope="module")
def dn() -> dict[Grid, U16]:
    return whole(make_scene(7, SHAPE))


@pytest.fixture(scope="module")
def example() -> tuple[dict[Grid, U16], Truth]:
    pairs = list(make_scene(EXAMPLE_SEED, EXAMPLE_SHAPE).blocks_with_truth())
    dn = {grid: np.concatenate([block.dn[grid] for block, _ in pairs], axis=1) for grid in Grid}
    surface = {grid: np.concatenate([truth.surface[grid] for _, truth in pairs], axis=1) for grid in Grid}
    names = ("classes", "cloud_depth", "cloud_height_km", "shade")
    return dn, Truth(
        *(np.concatenate([getattr(truth, name) for _, truth in pairs]) for name in names), surface
    )


def test_the_same_seed_gives_the_same_strip_and_another_seed_another(dn: dict[Grid, U16]) -> None:
    again, other = whole(make_scene(7, SHAPE)), whole(make_scene(8, SHAPE))
    for grid in Grid:
        np.testing.assert_array_equal(again[grid], dn[grid])
        assert (other[grid] != dn[grid]).mean() > 0.5


def test_blocks_and_pieces_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the scene is the same whichever way it is cut; only noise is drawn piece by piece."""
    from tools.simulate import scene as module

    ((_, one),) = make_scene(4, SHAPE).blocks_with_truth()
    monkeypatch.setattr(module, "BLOCK_ROWS", 48)
    monkeypatch.setattr(module, "PIECE_COLUMNS", 60)
    parts = list(make_scene(4, SHAPE).blocks_with_truth())
    assert [block.row for block, _ in parts] == [0, 48, 96]
    for name in ("cloud_depth", "shade", "cloud_height_km"):
        joined = np.concatenate([getattr(truth, name) for _, truth in parts])
        np.testing.assert_allclose(joined, getattr(one, name), atol=2e-3)
    for grid in Grid:
        joined = np.concatenate([truth.surface[grid] for _, truth in parts], axis=1)
        np.testing.assert_allclose(joined, one.surface[grid], atol=2e-3)
    assert BLOCK_ROWS % 6 == PIECE_COLUMNS % 6 == 0


def test_a_strip_whose_size_is_no_multiple_of_six_has_rounded_up_grids() -> None:
    odd = whole(make_scene(3, (100, 131)))
    assert {grid: samples.shape[1:] for grid, samples in odd.items()} == {
        Grid.R10M: (100, 131),
        Grid.R20M: (50, 66),
        Grid.R60M: (17, 22),
    }
    for grid, bands in BANDS_OF_GRID.items():
        assert len(odd[grid]) == len(bands)


def test_no_data_is_a_wedge_at_the_right_edge_and_the_truth_says_so(
    example: tuple[dict[Grid, U16], Truth],
) -> None:
    samples, truth = example
    missing = samples[Grid.R10M][0] == 0
    assert 0.01 < missing.mean() < 0.2
    assert not missing[:, : EXAMPLE_SHAPE[1] // 2].any()
    assert (truth.classes[missing] == SceneClass.NO_DATA).all()
    for planes in samples.values():
        np.testing.assert_array_equal(planes == 0, np.broadcast_to(planes[0] == 0, planes.shape))


def test_the_example_has_clouds_shadows_and_clear_land(example: tuple[dict[Grid, U16], Truth]) -> None:
    _, truth = example
    shares = {kind: float((truth.classes == kind).mean()) for kind in SceneClass}
    assert shares[SceneClass.CLEAR] > 0.3
    for kind in (SceneClass.THICK_CLOUD, SceneClass.THIN_CLOUD, SceneClass.CLOUD_SHADOW):
        assert 0.03 < shares[kind] < 0.4


def test_thick_cloud_is_bright_and_shadow_darker_than_clear_ground(
    example: tuple[dict[Grid, U16], Truth],
) -> None:
    samples, truth = example
    red, infrared = ((samples[Grid.R10M][place].astype(np.float32) - 1000) / 10000 for place in (2, 3))
    median = {
        kind: (np.median(red[truth.classes == kind]), np.median(infrared[truth.classes == kind]))
        for kind in range(4)
    }
    assert median[1][0] > 2 * median[0][0]
    assert median[3][1] < 0.8 * median[0][1]


def test_a_fractal_field_is_centred_and_smoother_with_a_steeper_slope() -> None:
    rough, smooth = (fractal(np.random.default_rng(1), (64, 96), slope) for slope in (0.7, 2.0))
    for field in (rough, smooth):
        assert abs(float(field.mean())) < 1e-3
        assert float(field.std()) == pytest.approx(1.0, abs=1e-3)
    assert np.abs(np.diff(rough)).mean() > 2 * np.abs(np.diff(smooth)).mean()


def test_the_shipped_strip_is_the_one_that_the_command_makes(example: tuple[dict[Grid, U16], Truth]) -> None:
    """Up to what another FFT rounds differently: at an edge it may move a pixel across."""
    samples, _ = example
    source = open_strip(SHIPPED, SHIPPED.parent)
    try:
        assert source.info == make_scene(EXAMPLE_SEED, EXAMPLE_SHAPE).info
        block = source.read(EXAMPLE_SHAPE[0])
        assert block is not None
        assert block.faults == ()
        for grid, made in samples.items():
            difference = np.abs(block.dn[grid].astype(np.int32) - made)
            assert (difference <= 2).mean() > 0.99
    finally:
        source.close()


def test_the_shipped_strip_stays_below_four_megabytes() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.parent.iterdir()) < 4_000_000


def test_the_command_writes_a_strip_that_the_payload_reads_with_its_truth(tmp_path: Path) -> None:
    header, truth = tmp_path / "new" / "made.yaml", tmp_path / "truth"
    size = ["--seed", "5", "--rows", "96", "--columns", "130", "--dead-columns", "17"]
    extras = ["--picture", str(tmp_path / "made.png"), "--truth", str(truth), "--truth-surface"]
    assert main(["strip", *size, *extras, "--out", str(header)]) == 0
    source = open_strip(header, tmp_path)
    block = source.read(96)
    source.close()
    assert block is not None
    scene = make_scene(5, (96, 130), dead_columns=(17,))
    ((made, true),) = scene.blocks_with_truth()
    for grid in Grid:
        np.testing.assert_array_equal(block.dn[grid], made.dn[grid])
    assert (block.dn[Grid.R10M][2, :, 17] == 0).all()
    assert (block.dn[Grid.R10M][1, :, 17] != 0).any()
    assert (tmp_path / "made.png").read_bytes().startswith(b"\x89PNG")
    np.testing.assert_array_equal(np.load(truth / "classes.npy"), true.classes)
    np.testing.assert_allclose(np.load(truth / "cloud_depth.npy"), true.cloud_depth, rtol=1e-3, atol=1e-3)
    assert np.load(truth / "surface_B8A.npy").shape == (48, 65)
    facts = json.loads((truth / "truth.json").read_text())
    assert facts["air"]["aerosol_depth"] == scene.world.state.aerosol_depth
    assert len(facts["mean_air"]["path"]) == 13


def test_the_command_writes_a_safe_product_that_the_payload_reads(tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="writing JPEG 2000 needs rasterio")
    product = tmp_path / "MADE.SAFE"
    arguments = ["safe", "--seed", "6", "--rows", "96", "--columns", "132", "--baseline", "02.06"]
    assert main([*arguments, "--out", str(product)]) == 0
    source = open_strip(product, tmp_path)
    block = source.read(96)
    source.close()
    assert block is not None
    assert source.info.offset_dn[Band.B02] == 0
    expected = whole(make_scene(6, (96, 132)))[Grid.R20M].astype(np.int32)
    shifted = np.where(expected == 0, 0, np.maximum(expected - 1000, 1))
    np.testing.assert_array_equal(block.dn[Grid.R20M], shifted)
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(product)])


def test_a_size_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["strip", "--rows", "5", "--out", str(tmp_path / "x.yaml")])
    assert refusal.value.code == 2
    assert "at least 48 rows" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


SMALL = ["strip", "--rows", "48", "--columns", "48"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*SMALL, "--out", "x.yaml", "--dead-columns", "3", "48"], "48 is not among the columns 0 to 47"),
        ([*SMALL, "--out", "x.yaml", "--dead-columns", "-1"], "-1 is not among the columns"),
        ([*SMALL, "--out", "x.yaml", "--truth-surface"], "--truth-surface needs --truth"),
        ([*SMALL, "--out", "folder"], "is a folder"),
        ([*SMALL, "--out", "x.yaml", "--picture", "file/x.png"], "file"),
        ([*SMALL, "--out", "x.yaml", "--truth", "file"], "file"),
        (["safe", *SMALL[1:], "--out", "file/x.SAFE"], "file"),
        (["patches", "--count", "1", "--size", "48", "--out", "file"], "file"),
        (["patches", "--sensor", "probav", "--format", "tif", "--out", "new"], "--sensor needs --format npz"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as refusal:
        main(words)
    assert refusal.value.code == 2
    assert told in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}


def test_a_picture_goes_into_a_folder_that_was_not_there(tmp_path: Path) -> None:
    picture = tmp_path / "new" / "x.png"
    assert main([*SMALL, "--out", str(tmp_path / "x.yaml"), "--picture", str(picture)]) == 0
    assert picture.is_file()


@pytest.mark.parametrize("seed", [EXAMPLE_SEED, 47, 56])
def test_low_country_has_no_snow_and_high_country_has(seed: int) -> None:
    def snowy(rows: int, columns: int) -> float:
        canvas = Canvas(np.random.default_rng(seed), rows, columns)
        step = 12
        ground = draw_country(canvas).reflectance(Window(0, 0, rows, columns), step)
        green, infrared = (ground[FILE_BANDS.index(band)] for band in (Band.B03, Band.B11))
        return float(((green > 0.5) & (infrared < 0.2)).mean())

    assert snowy(*EXAMPLE_SHAPE) == 0
    assert snowy(960, 10980) > 0
