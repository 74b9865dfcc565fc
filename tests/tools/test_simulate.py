"""The made-up strips: the same every time, physically plausible, and what is shipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.drivers.strips import open_strip
from payload.types import BANDS_OF_GRID, U16, Band, Grid
from tools.simulate.__main__ import main
from tools.simulate.atmosphere import GAS_FROM_GROUND, clear_air, cloud_reflectance, noise_deviation
from tools.simulate.fields import fractal, moved
from tools.simulate.geometry import Geometry
from tools.simulate.scene import Scene, make_scene

SHAPE = (240, 360)
ORDER = list(Band)
SHIPPED = Path(__file__).resolve().parents[2] / "strips" / "example" / "strip.yaml"


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(7, SHAPE)


@pytest.fixture(scope="module")
def dn(scene: Scene) -> dict[Grid, U16]:
    return whole(scene)


def whole(scene: Scene) -> dict[Grid, U16]:
    blocks = list(scene.blocks())
    return {grid: np.concatenate([block.dn[grid] for block in blocks], axis=1) for grid in Grid}


def test_the_same_seed_gives_the_same_strip_and_another_seed_another(dn: dict[Grid, U16]) -> None:
    again, other = whole(make_scene(7, SHAPE)), whole(make_scene(8, SHAPE))
    for grid in Grid:
        np.testing.assert_array_equal(again[grid], dn[grid])
        assert (other[grid] != dn[grid]).mean() > 0.5


def test_blocks_cover_the_strip_in_order_on_every_grid(scene: Scene, dn: dict[Grid, U16]) -> None:
    row = 0
    for block in scene.blocks():
        assert block.row == row
        row += block.rows
    assert row == SHAPE[0]
    for grid, bands in BANDS_OF_GRID.items():
        assert dn[grid].shape == (len(bands), SHAPE[0] // grid, SHAPE[1] // grid)


def test_a_strip_whose_size_is_no_multiple_of_six_has_rounded_up_grids() -> None:
    odd = whole(make_scene(3, (100, 131)))
    assert {grid: samples.shape[1:] for grid, samples in odd.items()} == {
        Grid.R10M: (100, 131),
        Grid.R20M: (50, 66),
        Grid.R60M: (17, 22),
    }


def test_no_data_is_zero_beyond_the_swath_and_nowhere_else(scene: Scene, dn: dict[Grid, U16]) -> None:
    for grid, samples in dn.items():
        received = scene.has_data.reshape(SHAPE[0] // grid, grid, SHAPE[1] // grid, grid).min(axis=(1, 3)) > 0
        np.testing.assert_array_equal(samples != 0, np.broadcast_to(received, samples.shape))
    assert 0.01 < (dn[Grid.R10M][0] == 0).mean() < 0.2


def test_the_strip_has_clouds_shadows_cirrus_water_and_snow(scene: Scene) -> None:
    covers = {name: float((share > 0.5).mean()) for name, share in scene.ground.covers}
    assert 0.05 < float((scene.cumulus > 5).mean()) < 0.5
    assert 0.05 < float((scene.cirrus > 0.3).mean()) < 0.6
    assert float(((scene.sunlight < 0.4) & (scene.cumulus < 0.5)).mean()) > 0.02
    assert min(covers["water_river"], covers["water_lake"], covers["snow"], covers["forest"]) > 0.003


def test_cirrus_shows_in_b10_and_clear_lowland_does_not(scene: Scene) -> None:
    seen = scene.reflectance(0, SHAPE[0])
    b10, snow = seen[ORDER.index(Band.B10)], dict(scene.ground.covers)["snow"]
    clear = (scene.cirrus < 0.01) & (scene.cumulus < 0.01) & (snow < 0.01)
    assert float(b10[clear].max()) < 0.006
    assert float(b10[scene.cirrus > 1.0].min()) > 0.03


def test_thick_cloud_is_bright_and_darker_in_the_short_wave_infrared(scene: Scene) -> None:
    thick = scene.cumulus > 30
    seen = {
        band: float(np.median(plane[thick]))
        for band, plane in zip(Band, scene.reflectance(0, SHAPE[0]), strict=True)
    }
    assert 0.4 < seen[Band.B04] < 1.1
    assert seen[Band.B12] < 0.75 * seen[Band.B11] + 0.1 < seen[Band.B8A] + 0.1
    assert seen[Band.B09] < 0.8 * seen[Band.B8A]


def test_a_shadow_lies_away_from_the_sun_and_farther_for_a_lower_sun() -> None:
    low = Geometry(sun_zenith_deg=60, sun_azimuth_deg=180, view_zenith_deg=0, view_azimuth_deg=0)
    high = Geometry(sun_zenith_deg=30, sun_azimuth_deg=180, view_zenith_deg=0, view_azimuth_deg=0)
    # The sun in the south: the shadow goes north, towards smaller rows.
    assert low.shadow_per_height == pytest.approx((-np.tan(np.radians(60)), 0.0), abs=1e-9)
    assert high.shadow_per_height == pytest.approx((-np.tan(np.radians(30)), 0.0), abs=1e-9)


def test_seen_along_the_sunbeam_a_cloud_hides_its_own_shadow() -> None:
    behind = Geometry(sun_zenith_deg=40, sun_azimuth_deg=150, view_zenith_deg=40, view_azimuth_deg=150)
    assert behind.shadow_per_height == pytest.approx((0.0, 0.0), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(sun=st.floats(0, 75), view=st.floats(0, 12), relative=st.floats(0, 360), aerosol=st.floats(0.0, 1.0))
def test_clear_air_stays_within_physical_bounds(
    sun: float, view: float, relative: float, aerosol: float
) -> None:
    air = clear_air(Geometry(sun, relative, view, 0.0), aerosol)
    for quantity in (air.path, air.transmittance, air.spherical_albedo, air.direct_share):
        assert np.isfinite(quantity).all()
        assert ((quantity >= 0) & (quantity <= 1)).all()
    assert air.path[0] > air.path[3] > air.path[12]  # blue sky light: B01 above B04 above B12
    assert (GAS_FROM_GROUND <= 1).all()


@given(depth=st.floats(0, 90), more=st.floats(0.1, 50))
def test_a_thicker_cloud_reflects_more_and_never_all(depth: float, more: float) -> None:
    thin, thick = cloud_reflectance(np.array([depth, depth + more], np.float32))
    assert 0 <= thin < thick < 1


def test_noise_has_the_specified_ratio_at_the_reference_radiance() -> None:
    # B02: 128 W m-2 sr-1 um-1, ratio 154, solar irradiance 1960, sun in the zenith.
    reference = 128 * np.pi / 1960
    deviation = noise_deviation(np.full((13, 1, 1), reference, np.float32), cos_sun=1.0)
    assert deviation[1, 0, 0] == pytest.approx(reference / 154, rel=1e-5)


@given(rows=st.integers(-9, 9), columns=st.integers(-9, 9))
def test_a_field_moved_by_whole_pixels_keeps_what_stays_inside(rows: int, columns: int) -> None:
    field = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    expected = np.zeros_like(field)
    kept = field[max(0, -rows) : 10 - max(0, rows), max(0, -columns) : 10 - max(0, columns)]
    expected[
        max(0, rows) : max(0, rows) + kept.shape[0], max(0, columns) : max(0, columns) + kept.shape[1]
    ] = kept
    np.testing.assert_array_equal(moved(field, rows, columns), expected)


def test_a_fractal_field_is_centred_and_smoother_with_a_steeper_slope() -> None:
    rough, smooth = (fractal(np.random.default_rng(1), (64, 96), slope) for slope in (0.7, 2.0))
    for field in (rough, smooth):
        assert abs(float(field.mean())) < 1e-3
        assert float(field.std()) == pytest.approx(1.0, abs=1e-3)
    assert np.abs(np.diff(rough)).mean() > 2 * np.abs(np.diff(smooth)).mean()


def test_the_sun_lights_level_ground_with_one_and_a_slope_towards_it_with_more(scene: Scene) -> None:
    towards, zenith_rad = (1.0, 0.0), float(np.radians(40.0))  # the sun in the south
    rows = np.arange(12, dtype=np.float32)[:, None] * np.ones((1, 9), np.float32)
    for slope, expected in ((0.0, 1.0), (-0.5, None), (0.5, None)):
        ground = replace(scene.ground, elevation_m=10.0 * slope * rows)
        lit = ground.illumination(towards, zenith_rad)
        cosine = np.cos(np.arctan(slope) + zenith_rad) / np.cos(zenith_rad)
        np.testing.assert_allclose(lit, expected or cosine, rtol=1e-5)


def test_the_shipped_strip_is_the_one_that_the_command_makes() -> None:
    """Up to what another FFT rounds differently: at an edge it may move a pixel across."""
    source = open_strip(SHIPPED, SHIPPED.parent)
    try:
        assert source.info == make_scene(7, (480, 720)).info
        made = whole(make_scene(7, (480, 720)))
        block = source.read(480)
        assert block is not None
        assert block.faults == ()
        for grid, samples in made.items():
            difference = np.abs(block.dn[grid].astype(np.int32) - samples)
            assert (difference <= 2).mean() > 0.995
    finally:
        source.close()


def test_the_shipped_strip_stays_below_four_megabytes() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.parent.iterdir()) < 4_000_000


def test_the_command_writes_a_strip_that_the_payload_reads(tmp_path: Path) -> None:
    header = tmp_path / "new" / "made.yaml"
    picture = tmp_path / "new" / "made.png"
    assert (
        main(
            [
                "strip",
                "--seed",
                "5",
                "--rows",
                "96",
                "--columns",
                "130",
                "--out",
                str(header),
                "--picture",
                str(picture),
            ]
        )
        == 0
    )
    source = open_strip(header, tmp_path)
    block = source.read(96)
    source.close()
    assert block is not None
    for grid, samples in whole(make_scene(5, (96, 130))).items():
        np.testing.assert_array_equal(block.dn[grid], samples)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_size_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["strip", "--rows", "5", "--out", str(tmp_path / "x.yaml")])
    assert refusal.value.code == 2
    assert "at least 48 rows" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
