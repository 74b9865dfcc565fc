"""Simulated patches: the same under a seed, true to their own rule, shadows where the sun puts them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.types import BANDS_OF_GRID, F32, Band, Grid, SceneClass, Window
from tools.simulate.__main__ import main
from tools.simulate.backgrounds import RealGround
from tools.simulate.bands import of_grid
from tools.simulate.cloud_fields import Cloud, cirrus, cumulus, draw_clouds, overcast
from tools.simulate.geometry import Geometry
from tools.simulate.instrument import (
    BOX_MTF,
    NYQUIST_MTF,
    Flaws,
    Instrument,
    draw_instrument,
    noise_deviation,
)
from tools.simulate.landscape import BIOMES, draw_landscape
from tools.simulate.light import shadow_depth, under_ceiling
from tools.simulate.lookup import AirState
from tools.simulate.noise import Canvas, threshold_of_cover
from tools.simulate.patches import SHADOW_SHARE, THICK_DEPTH, THIN_DEPTH, classes_of, make_patch
from tools.simulate.render import render
from tools.simulate.sensors import SENSORS, seen_by
from tools.simulate.world import World, anisotropy, make_world

SIZE_PX = 120
WINDOW = Window(0, 0, SIZE_PX, SIZE_PX)
SOUTH = Geometry(45.0, 180.0, 0.0, 105.0)
AIR = AirState("continental", 0.1, 1.5, 0.3)


def canvas(seed: int = 1) -> Canvas:
    return Canvas(np.random.default_rng(seed), SIZE_PX + 54, SIZE_PX + 54)


def flat_ground(reflectance: float) -> RealGround:
    return RealGround(
        "flat",
        {
            grid: np.full((len(bands), 120 // grid, 120 // grid), reflectance, np.float32)
            for grid, bands in BANDS_OF_GRID.items()
        },
    )


def disc(row: float, col: float, radius_px: float, depth: float, foot_km: float, top_km: float) -> Cloud:
    def shape(window: Window, step: int) -> F32:
        rows = np.arange(window.row, window.row_end, step)[:, None]
        cols = np.arange(window.col, window.col_end, step)[None, :]
        return (np.hypot(rows - row, cols - col) <= radius_px).astype(np.float32) * np.float32(depth)

    per_depth = (top_km - foot_km) / np.sqrt(depth)
    return Cloud("disc", "water_10um", foot_km, top_km, per_depth, shape, 0.0)


def world_of(
    clouds: tuple[Cloud, ...], ground: RealGround | None = None, geometry: Geometry = SOUTH
) -> World:
    made = make_world(canvas(), ground or flat_ground(0.2), clouds, geometry, AIR)
    return replace(made, drift=None)


def test_the_same_seed_gives_the_same_patch_and_another_seed_another() -> None:
    first, again, other = (make_patch(seed, SIZE_PX) for seed in (3, 3, 4))
    for grid in Grid:
        np.testing.assert_array_equal(first.counts[grid], again.counts[grid])
        assert (first.counts[grid] != other.counts[grid]).mean() > 0.5
    np.testing.assert_array_equal(first.label, again.label)
    assert first.state == again.state


@pytest.mark.parametrize("biome", list(BIOMES))
def test_every_country_has_plausible_ground_on_every_grid(biome: str) -> None:
    patch = make_patch(5, SIZE_PX, clouds=(), biome=biome)
    for grid, bands in BANDS_OF_GRID.items():
        assert patch.counts[grid].shape == (len(bands), SIZE_PX // grid, SIZE_PX // grid)
        assert patch.counts[grid].min() > 0
        assert float(patch.surface[grid].min()) > 0
        assert float(patch.surface[grid].max()) < 3.0
    assert (patch.label == SceneClass.CLEAR).all()
    assert biome in patch.name


def test_the_class_map_follows_its_rule() -> None:
    depth = np.array([0.0, THIN_DEPTH, THICK_DEPTH, 0.0, THIN_DEPTH, THICK_DEPTH], np.float32)
    shade = np.array([0.0, 0.0, 0.0, SHADOW_SHARE, 0.9, 0.9], np.float32)
    assert classes_of(depth, shade).tolist() == [0, 2, 1, 3, 2, 1]


def test_the_light_of_a_clear_scene_is_the_closed_form() -> None:
    """Level uniform ground, no cloud: path + down up rho / (1 - sphere rho) with gases."""
    world = world_of(())
    seen = render(world, WINDOW)
    air = world.airs[0]
    for grid in Grid:
        bands = of_grid(grid)
        rho = 0.2 * world.anisotropy[bands]
        lit = 0.2 * world.anisotropy[bands] / (1 - 0.2 * air.sphere[bands])
        around = 0.2 / (1 - 0.2 * air.sphere[bands])
        direct = air.direct_up[bands]
        sent = direct * lit + (air.up[bands] - direct) * around
        expected = (
            air.path[bands] * world.gas(0, 0.5)[bands] + world.gas(0, 1)[bands] * air.down[bands] * sent
        )
        np.testing.assert_allclose(seen.top[grid].mean(axis=(1, 2)), expected, rtol=2e-3)
        np.testing.assert_allclose(seen.top[grid].std(axis=(1, 2)), 0, atol=1e-4)
        np.testing.assert_allclose(
            seen.surface[grid], np.broadcast_to(rho[:, None, None], seen.surface[grid].shape), rtol=1e-4
        )


def test_a_shadow_lies_north_of_its_cloud_as_far_as_the_cloud_is_high() -> None:
    """The sun stands 45 degrees high in the south, the instrument in the zenith; 300 m are 30 px."""
    cloud = disc(80.0, 60.0, 8.0, 20.0, 0.30, 0.32)
    shadow = shadow_depth(cloud, WINDOW, SOUTH)
    row, col = (float((shadow * place).sum() / shadow.sum()) for place in np.indices(shadow.shape))
    assert row == pytest.approx(80 - 31, abs=1.0)
    assert col == pytest.approx(60, abs=1.0)
    assert float(shadow.max()) == pytest.approx(20.0, rel=0.15)


@settings(deadline=None, max_examples=15)
@given(sun=st.floats(15, 70), azimuth=st.floats(0, 360), view=st.floats(0, 11), foot=st.floats(0.2, 1.5))
def test_a_shadow_keeps_all_of_its_cloud(sun: float, azimuth: float, view: float, foot: float) -> None:
    """Slanted or not, what is cast adds up to the cloud's optical depth, and lies where it must."""
    geometry = Geometry(sun, azimuth, view, 105.0)
    cloud = disc(0.0, 0.0, 6.0, 10.0, foot, foot + 0.3)
    around = Window(-600, -600, 1200, 1200)
    shadow = shadow_depth(cloud, around, geometry)
    assert float(shadow.sum()) == pytest.approx(float(cloud.depth(around).sum()), rel=0.02)
    middle_px = (foot + 0.15) * 100
    expected = [per * middle_px for per in geometry.shadow_per_height]
    row, col = (float((shadow * place).sum() / shadow.sum()) - 600 for place in np.indices(shadow.shape))
    assert [row, col] == pytest.approx(expected, abs=4.0)


def test_a_shadow_is_darker_in_the_infrared_than_in_the_blue() -> None:
    """What light a shadow has left is blue sky, and the air above it still shines."""
    cloud = disc(80.0, 60.0, 14.0, 40.0, 0.4, 0.5)
    seen = render(world_of((cloud,)), WINDOW)
    deep, clear = seen.shade > 0.6, (seen.shade < 0.02) & (seen.depth == 0)
    assert deep.sum() > 50
    ratio = [float(plane[deep].mean() / plane[clear].mean()) for plane in seen.top[Grid.R10M]]
    blue, green, red, infrared = ratio
    assert infrared < red < green < blue < 0.95
    assert infrared < 0.5


def test_a_high_cloud_darkens_the_low_cloud_below_it() -> None:
    high = disc(60.0 + 25, 60.0, 12.0, 15.0, 0.60, 0.65)
    low = disc(60.0, 60.0, 40.0, 20.0, 0.30, 0.35)
    alone, both = (render(world_of(clouds), WINDOW).top[Grid.R10M][2] for clouds in ((low,), (low, high)))
    shaded = shadow_depth(high, WINDOW, SOUTH, 0.35) > 5
    open_low = shaded & (high.depth(WINDOW) == 0) & (low.depth(WINDOW) > 0)
    assert open_low.sum() > 100
    assert float(both[open_low].mean()) < 0.85 * float(alone[open_low].mean())


def test_thick_cloud_is_white_cold_cloud_shows_in_b10_and_low_cloud_does_not() -> None:
    means = {}
    for name, foot in (("low", 0.8), ("high", 9.0)):
        sheet = replace(
            disc(0, 0, 1e6, 30.0, foot, foot + 0.3), optics="ice_40um" if name == "high" else "water_10um"
        )
        seen = render(world_of((sheet,)), WINDOW)
        means[name] = {
            band: float(plane.mean())
            for grid in Grid
            for band, plane in zip(BANDS_OF_GRID[grid], seen.top[grid], strict=True)
        }
    for sky in means.values():
        assert 0.5 < sky[Band.B04] < 1.0
        assert abs(sky[Band.B02] - sky[Band.B04]) < 0.08
        assert max(sky[Band.B11], sky[Band.B12]) < 0.85 * sky[Band.B04]
    assert means["low"][Band.B10] < 0.02 < 0.1 < means["high"][Band.B10]
    assert means["low"][Band.B09] < means["high"][Band.B09]


def test_bands_see_a_high_cloud_one_after_another_along_the_track() -> None:
    cloud = disc(60.0, 60.0, 15.0, 20.0, 10.0, 10.3)
    world = world_of((cloud,), flat_ground(0.02))
    seen = render(world, WINDOW)
    where = []
    for plane in seen.top[Grid.R10M][:3]:
        bright = plane - plane.min()
        where.append([float((bright * place).sum() / bright.sum()) for place in np.indices(plane.shape)])
    moved = np.array(where[2]) - np.array(where[0])
    assert np.hypot(*moved) == pytest.approx(1.005 * 6.8 * 10 / 786 * 100, rel=0.15)
    assert moved @ np.array(world.track) > 0


def test_light_under_a_ceiling_is_kept() -> None:
    light = np.zeros((40, 40), np.float32)
    light[20, 20] = 1.0
    below = under_ceiling(light, 0.5)
    assert float(below.sum()) == pytest.approx(1.0, rel=0.05)
    assert below[20, 20] > below[20, 25] > below[20, 35] > 0
    np.testing.assert_allclose(under_ceiling(np.full((30, 30), 0.4, np.float32), 1.0), 0.4, rtol=1e-4)


def test_clouds_cover_what_is_asked_for() -> None:
    big = Canvas(np.random.default_rng(3), 600, 600)
    cover = (cumulus(big, 0.3).depth(Window(0, 0, 600, 600)) > 0).mean()
    assert 0.1 < float(cover) < 0.5
    assert threshold_of_cover(0.5) == pytest.approx(0.0, abs=0.02)
    assert (overcast(big).depth(Window(0, 0, 600, 600)) > 1).mean() > 0.95
    assert cirrus(big).foot_km > 5
    for seed in range(20):
        clouds = draw_clouds(canvas(seed))
        assert list(clouds) == sorted(clouds, key=lambda cloud: cloud.foot_km)


def test_a_wide_canvas_is_the_same_from_any_window_and_keeps_its_spread() -> None:
    wide = Canvas(np.random.default_rng(2), 3000, 3000)
    field = wide.noise(1.6)
    whole = field.at(Window(500, 700, 200, 300))
    np.testing.assert_allclose(field.at(Window(600, 800, 100, 200)), whole[100:, 100:], atol=1e-5)
    np.testing.assert_allclose(field.at(Window(500, 700, 200, 300), 12), whole[::12, ::12], atol=1e-5)
    assert float(field.at(Window(0, 0, 3000, 3000), 7).std()) == pytest.approx(1.0, abs=0.25)
    ground = draw_landscape(wide, "farmland")
    part = ground.reflectance(Window(900, 900, 60, 60))
    np.testing.assert_allclose(ground.reflectance(Window(870, 870, 90, 90))[:, 30:, 30:], part, atol=1e-4)


def test_the_reflectance_towards_the_instrument_has_a_hot_spot() -> None:
    back, forth = (anisotropy(Geometry(45, azimuth, 11, 105)) for azimuth in (105, 285))
    assert (back > forth).all()
    np.testing.assert_allclose(anisotropy(Geometry(45, 0, 0, 0)), 1.0, rtol=1e-5)


def test_noise_has_the_specified_ratio_and_blur_the_measured_mtf() -> None:
    # B02: 128 W m-2 sr-1 um-1, ratio 154, solar irradiance 1959.66, sun in the zenith.
    reference = 128 * np.pi / 1959.66
    deviation = noise_deviation(np.full((1, 1, 1), reference, np.float32), [1], cos_sun=1.0)
    assert deviation[0, 0, 0] == pytest.approx(reference / 154, rel=1e-5)
    still = Instrument(np.ones(13, np.float32), np.zeros(13, np.float32), 1e9, Flaws())
    stripes = np.tile(np.array([0.0, 1.0], np.float32), (4, 60, 30))
    seen = replace(still, cos_sun=1.0).sees({Grid.R10M: stripes}, np.random.default_rng(0))[Grid.R10M]
    contrast = (seen[0, 5:-5, 5:-5].max(axis=1) - seen[0, 5:-5, 5:-5].min(axis=1)).mean()
    assert contrast * BOX_MTF == pytest.approx(NYQUIST_MTF[Band.B02], abs=0.05)


def test_flaws_leave_no_data_where_they_say_and_a_low_sun_saturates_later() -> None:
    flaws = Flaws(wedge_tangent=0.5, wedge_edge_px=100.0, dead_columns=(7,), dead_band=2)
    instrument = draw_instrument(np.random.default_rng(1), 0.5, flaws)
    top = {
        grid: np.full((len(bands), 120 // grid, 120 // grid), 9.0, np.float32)
        for grid, bands in BANDS_OF_GRID.items()
    }
    seen = instrument.sees(top, np.random.default_rng(2))
    assert float(seen[Grid.R10M].max()) == pytest.approx(3.2)
    counts = instrument.counts(seen, 0, 0)
    assert (counts[Grid.R10M][2, :, 7] == 0).all()
    assert counts[Grid.R10M][0, 0, 7] > 0
    for grid, dn in counts.items():
        rows, cols = np.indices(dn.shape[1:])
        inside = (cols + 1) * grid <= 100 - 0.5 * (rows + 1) * grid
        np.testing.assert_array_equal(dn[1] > 0, inside)


@pytest.mark.parametrize("kind", ["npz", "tif"])
def test_the_command_writes_what_the_function_makes(tmp_path: Path, kind: str) -> None:
    out = tmp_path / kind
    arguments = ["patches", "--seed", "9", "--count", "2", "--size", "120", "--jobs", "1", "--format", kind]
    assert main([*arguments, "--out", str(out)]) == 0
    made = make_patch((9, 1), 120)
    stem = "simulated_9_00001"
    assert (out / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    if kind == "npz":
        with np.load(out / f"{stem}.npz") as stored:
            np.testing.assert_array_equal(stored["top_20m"], made.counts[Grid.R20M])
            np.testing.assert_array_equal(stored["label"], made.label)
            assert json.loads(str(stored["truth"]))["aerosol"] == made.state.aerosol
    else:
        stack, label = (tifffile.imread(out / f"{stem}_{part}.tif") for part in ("l1c", "label"))
        counts = np.stack([made.counts[Grid.R10M][0], made.counts[Grid.R60M][2].repeat(6, 0).repeat(6, 1)])
        assert (counts[1] <= 1000).any(), "no cirrus band that noise has taken below 0: nothing is shown"
        wanted = np.where(counts == 0, 0, counts.astype(int).clip(1001) - 1000)
        np.testing.assert_array_equal(stack[[1, 10]], wanted)
        np.testing.assert_array_equal(label == 255, made.doubtful)


def test_a_size_between_coarse_pixels_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["patches", "--size", "100", "--out", str(tmp_path / "x")])
    assert refusal.value.code == 2
    assert "multiple of 6" in capsys.readouterr().err
    with pytest.raises(ValueError, match="multiple of 6"):
        make_patch(1, 100)


@pytest.mark.parametrize("name", list(SENSORS))
def test_another_instrument_sees_a_grey_scene_grey_with_its_own_noise(name: str) -> None:
    sensor, grey = SENSORS[name], 0.2
    top = {
        grid: np.full((len(bands), 300 // grid, 300 // grid), grey, np.float32)
        for grid, bands in BANDS_OF_GRID.items()
    }
    seen = seen_by(sensor, top, 0.8, np.random.default_rng(1))
    assert list(seen) == [band.name for band in sensor.bands]
    for band in sensor.bands:
        assert sum(band.weights) == pytest.approx(1.0, abs=0.02)
        assert seen[band.name].shape == (300 // sensor.pitch, 300 // sensor.pitch)
        assert float(seen[band.name].mean()) == pytest.approx(grey, abs=0.003)
        assert float(seen[band.name].std()) < 0.01


def test_an_instrument_with_the_bands_of_sentinel_2_sees_what_it_sees() -> None:
    patch = make_patch(8, SIZE_PX, clouds=(), biome="farmland", sensor=SENSORS["phisat2"])
    red = patch.grids[Grid.R10M][2]
    np.testing.assert_allclose(np.median(patch.sensor_bands["B04"]), np.median(red), rtol=0.05)
    assert make_patch(8, SIZE_PX, clouds=(), biome="farmland").sensor_bands == {}
