"""What the networks promise before any training: reach, ranges, phases, splits, seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from payload.core.radiometry import code_table  # noqa: E402
from payload.types import BANDS_OF_GRID, COUNTS_OFFSET, COUNTS_PER_REFLECTANCE, Band, Grid  # noqa: E402
from tools import material  # noqa: E402
from tools.networks import (  # noqa: E402
    checkpoint,
    clear_grounds,
    descent,
    folds,
    profiles,
    scene_making,
    scene_samples,
    scores,
    surface_network,
    surface_simulation,
    synthetic_clouds,
    threshold_rule,
)
from tools.networks.scene_network import RECEPTIVE_PX, SceneNetwork, build_scene_network  # noqa: E402
from tools.networks.scene_samples import CROP_PX, Grounds, SampleStream, SceneRecipe  # noqa: E402
from tools.networks.scene_training import train_scene  # noqa: E402

WINDOW_PX = 336
INNER_PX = 96
INNER_FIRST_PX = 120
"""72 px plus a multiple of 48, as in every window that is cut."""
INNER = slice(INNER_FIRST_PX, INNER_FIRST_PX + INNER_PX)


def _codes(rows: int, cols: int) -> list[torch.Tensor]:
    shapes = [(1, 4, rows, cols), (1, 6, rows // 2, cols // 2), (1, 3, rows // 6, cols // 6)]
    # The greatest code: the logarithm of a level is not negative, and no ReLU shuts a path.
    return [torch.full(shape, 255.0, dtype=torch.float64, requires_grad=True) for shape in shapes]


def _make_positive(network: torch.nn.Module) -> None:
    """Positive weights: every path adds, so a gradient is zero only where there is no path."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.abs() + 0.1)


def _assert_seen_within_halo(inputs: list[torch.Tensor]) -> None:
    """Gradients of the inner's outputs end exactly at the halo: nothing beyond, nothing wasted."""
    firsts, lasts = [], []
    for tensor, pitch in zip(inputs, (1, 2, 6), strict=True):
        touched = tensor.grad[0].abs().sum(0).nonzero()
        firsts += [int(touched[:, axis].min()) * pitch for axis in (0, 1)]
        lasts += [(int(touched[:, axis].max()) + 1) * pitch for axis in (0, 1)]
    assert min(firsts) == INNER_FIRST_PX - RECEPTIVE_PX
    assert max(lasts) == INNER_FIRST_PX + INNER_PX + RECEPTIVE_PX


def test_nothing_beyond_the_halo_matters_to_the_scene_of_an_inner() -> None:
    network = SceneNetwork((2, 2, 2)).double()
    _make_positive(network)
    inputs = _codes(WINDOW_PX, WINDOW_PX)
    network(*inputs)[0, :, INNER, INNER].sum().backward()
    _assert_seen_within_halo(inputs)


def _surface_network() -> surface_network.SurfaceNetwork:
    low, high = [0.0] * 12 + [0.1] * 12 + [0.0] * 12 + [0.001] * 12, [0.4] * 12 + [1.0] * 12 + [0.5] * 24
    torch.manual_seed(0)
    prior = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    return surface_network.SurfaceNetwork(low, high, prior, (4, 4, 4, 4, 4))


def test_nothing_beyond_the_halo_matters_to_the_surface_of_an_inner() -> None:
    network = _surface_network().double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.abs() * 0.05 + 0.001)
    network.peak = torch.nn.AvgPool2d(surface_network.CELL_40M)  # a maximum's gradient skips pixels
    inputs = _codes(WINDOW_PX, WINDOW_PX)
    cells = network(*inputs, torch.ones(1, 4, 1, 1, dtype=torch.float64))
    fine = torch.nn.functional.interpolate(cells, scale_factor=24.0, mode="bilinear", align_corners=False)
    fine[0, :, INNER, INNER].sum().backward()
    _assert_seen_within_halo(inputs)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_atmosphere_is_physical_whatever_the_codes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = _surface_network()
    inputs = [
        torch.from_numpy(rng.integers(0, 256, (1, bands, 96 // pitch, 96 // pitch)).astype(np.float32))
        for bands, pitch in ((4, 1), (6, 2), (3, 6))
    ]
    geometry = torch.from_numpy(rng.uniform(-1, 1, (1, 4, 1, 1)).astype(np.float32))
    with torch.no_grad():
        path, transmittance, albedo, sigma = network(*inputs, geometry)[0].split(12)
    assert (path >= 0).all()
    assert (path <= 0.4).all()
    assert (transmittance >= 0.1).all()
    assert (transmittance <= 1).all()
    assert (albedo >= 0).all()
    assert (albedo <= 0.5).all()
    assert (sigma >= 0.001).all()


def test_folding_the_code_scale_changes_nothing() -> None:
    network = build_scene_network((4, 4, 4), 3)
    codes = [x.detach().float() * 40 for x in _codes(96, 96)]
    with torch.no_grad():
        before = network(*codes)
        network.fold_code_scale()
        after = network(*codes)
    assert torch.allclose(before, after, atol=1e-4)


def test_ground_codes_are_flight_codes() -> None:
    counts = np.arange(1, 30_000, 7)
    reflectance = ((counts - COUNTS_OFFSET) / COUNTS_PER_REFLECTANCE).astype(np.float32)
    different = np.abs(material.encode(reflectance).astype(int) - code_table()[counts].astype(int))[
        reflectance != 0
    ]
    assert different.max() <= 1
    assert (different > 0).mean() < 0.001
    assert material.encode(np.zeros(3, np.float32)).tolist() == [0, 0, 0]


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), cols=st.integers(1, 40), level=st.floats(0.01, 1.5))
def test_native_grids_of_a_uniform_ground_are_uniform_up_to_the_edge(
    rows: int, cols: int, level: float
) -> None:
    grids = material.native_grids({band: np.full((rows, cols), level, np.float32) for band in Band})
    for grid, plane in grids.items():
        assert plane.shape[1:] == (6 * -(-rows // 6) // grid, 6 * -(-cols // 6) // grid)
        assert np.allclose(plane[plane != 0], level, rtol=1e-5)
        assert (plane[:, : -(-rows // grid), : -(-cols // grid)] != 0).all()


def _patch(name: str, place: str, level: float = 0.1) -> material.Patch:
    planes = {band: np.full((204, 204), level, np.float32) for band in Band}
    planes[Band.B10][:] = 0.001
    return material.Patch(name, place, material.native_grids(planes), np.zeros((204, 204), np.uint8))


@settings(max_examples=50, deadline=None)
@given(places=st.lists(st.integers(0, 12), min_size=5, max_size=40))
def test_no_place_is_on_both_sides_of_a_fold(places: list[int]) -> None:
    patch = _patch("x", "y")
    patches = [material.Patch(str(i), f"place{p}", patch.grids, None) for i, p in enumerate(places)]
    chosen = folds.fold_of_place(patches)
    seen = 0
    for fold in range(folds.FOLDS):
        held = folds.inside(patches, chosen, fold)
        kept = folds.outside(patches, chosen, fold)
        assert not {p.group for p in held} & {p.group for p in kept}
        assert len(held) + len(kept) == len(patches)
        seen += len(held)
    assert seen == len(patches)


def test_the_same_place_has_one_name_in_both_folders() -> None:
    assert material.place_of("S4_4065") == material.place_of("4065")
    assert material.place_of("LAHINCH") == material.place_of("EMSR249_15LAHINCH_DEL_v1_observed_event_a")
    assert material.place_of("S4_4287") == material.place_of("4438")


@pytest.fixture(scope="module")
def clouds() -> synthetic_clouds.CloudMaker:
    return synthetic_clouds.CloudMaker(synthetic_clouds.fractal_fields(np.random.default_rng(0)))


def test_a_synthetic_cloud_brightens_and_its_shadow_darkens(clouds: synthetic_clouds.CloudMaker) -> None:
    rng = np.random.default_rng(4)
    ground = _patch("x", "y", 0.15).grids
    ground = {grid: plane[:, : 192 // grid, : 192 // grid] for grid, plane in ground.items()}
    thick, shaded, clear = [], [], []
    for _ in range(12):
        clouded, label = clouds.add(rng, ground, retint=False)
        near_infrared = clouded[Grid.R10M][3]
        thick.append(near_infrared[label == 1])
        shaded.append(near_infrared[label == 3])
        clear.append(near_infrared[label == 0])
    assert np.concatenate(thick).mean() > 0.3
    assert np.concatenate(shaded).mean() < 0.12
    assert np.abs(np.concatenate(clear) - 0.15).max() < 0.03


def test_a_sample_has_one_shape_and_unknown_labels_where_nothing_is_seen() -> None:
    patches = [_patch("a", "p"), _patch("b", "q", 0.3)]
    stream = SampleStream(Grounds(patches, patches), SceneRecipe(batch=8, fresh=8))
    (b10, b20, b60), label = stream.batch()
    assert label.shape == (8, CROP_PX, CROP_PX)
    assert b10.shape == (8, 4, CROP_PX, CROP_PX)
    assert b20.shape == (8, 6, CROP_PX // 2, CROP_PX // 2)
    assert b60.shape == (8, 3, CROP_PX // 6, CROP_PX // 6)
    nothing = (b10 == 0).all(dim=1)
    assert (label[nothing] == material.IGNORED_LABEL).all()


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_a_sensor_sees_its_own_bands_and_no_others(profile: str) -> None:
    patches = [_patch("a", "p"), _patch("b", "q", 0.3)]
    recipe = SceneRecipe(batch=4, fresh=4, profile=profile)
    codes, _ = SampleStream(Grounds(patches, patches, patches), recipe).batch()
    seen = profiles.seen_by(patches[0], profile)
    for grid, tensor in zip(Grid, codes, strict=True):
        for number, band in enumerate(BANDS_OF_GRID[grid]):
            assert bool(tensor[:, number].any()) is (band in profiles.PROFILES[profile])
            assert bool(seen.grids[grid][number].any()) is (band in profiles.PROFILES[profile])
    assert all(plane.all() for plane in patches[0].grids.values()), "what is given stays"


def test_what_is_made_of_clear_ground_stays_clear_of_clouds_spectrum_in_b10() -> None:
    rng = np.random.default_rng(3)
    ground = {g: p[:, : CROP_PX // g, : CROP_PX // g] for g, p in _patch("x", "y", 0.2).grids.items()}
    for made in (clear_grounds.other_ground(rng, ground), clear_grounds.add_roofs(rng, ground)):
        assert all(made[grid].shape == ground[grid].shape for grid in Grid)
        assert made[Grid.R60M][2].max() < 0.02, "cirrus band"
        assert all((plane > 0).all() for plane in made.values())


def test_made_snow_is_bright_before_one_micrometre_and_dark_after_it(
    clouds: synthetic_clouds.CloudMaker,
) -> None:
    rng = np.random.default_rng(3)
    plain = {g: p[:, : CROP_PX // g, : CROP_PX // g] for g, p in _patch("x", "y", 0.2).grids.items()}
    for kinds in (clear_grounds.SNOW, clear_grounds.BARE):
        made = [clear_grounds.covered_ground(rng, plain, clouds.fields, kinds) for _ in range(12)]
        green = np.array([grids[Grid.R10M][1].mean() for grids in made])
        infrared = np.array([grids[Grid.R20M][4].mean() for grids in made])
        index = (green - infrared) / (green + infrared)
        assert all(grids[grid].shape == plain[grid].shape for grids in made for grid in Grid)
        assert all((plane > 0).all() for grids in made for plane in grids.values())
        if kinds == clear_grounds.SNOW:
            assert np.median(index) > 0.4, "NDSI of snow (Hall et al. 1995)"
        else:
            assert np.median(index) < 0.1


def test_ground_that_turns_away_from_the_sun_is_lit_by_the_blue_sky(
    clouds: synthetic_clouds.CloudMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {g: p[:, : CROP_PX // g, : CROP_PX // g] for g, p in _patch("x", "y", 0.2).grids.items()}
    half = np.ones((CROP_PX, CROP_PX), np.float32)
    half[:, CROP_PX // 2 :] = 0
    monkeypatch.setattr(clear_grounds, "_slope_light", lambda *_: half)
    made = clear_grounds.covered_ground(
        np.random.default_rng(8), plain, np.ones_like(clouds.fields), clear_grounds.SNOW
    )
    lit, dark = np.split(made[Grid.R10M], 2, axis=2)
    ratio = dark.mean(axis=(1, 2)) / lit.mean(axis=(1, 2))
    assert (ratio < 1).all()
    assert ratio[0] > ratio[1] > ratio[2] > ratio[3], "B02, B03, B04, B08"


def test_of_the_candidates_that_one_is_kept_which_calls_the_least_snow_cloud(tmp_path: Path) -> None:
    recipe = SceneRecipe(widths=(4, 4, 4))
    snow, bare = _patch("a", "p", 0.5), _patch("b", "q", 0.5)
    snow.grids[Grid.R20M][4] = 0.05
    for seed, said in ((5, 1), (6, 0), (7, 2)):  # thick cloud everywhere, clear, thin cloud
        network = build_scene_network(recipe.widths, seed)
        with torch.no_grad():
            network.head.bias.reshape(4, -1)[said] += 1000.0
        folder = scene_making.candidate_folder(tmp_path, seed)
        checkpoint.save(network, {"of": seed, "widths": recipe.widths}, folder, scene_making.UNDECIDED)
    told = scene_making.choose(tmp_path, recipe, (5, 6, 7), [snow])
    assert told == {"seed": 6, "clear_snow_called_cloud": {"5": 1.0, "6": 0.0, "7": 1.0}}
    assert checkpoint.load_record(tmp_path, scene_making.UNDECIDED)["of"] == 6
    thick = scene_making.undecided(scene_making.candidate_folder(tmp_path, 5))
    assert scene_making.snow_called_cloud(thick, [bare]) == 0, "bright, but no snow"


def test_snow_of_a_surface_is_smooth_in_the_visible_and_lies_under_dry_air() -> None:
    rng = np.random.default_rng(3)
    dips = []
    for _ in range(200):
        spectrum = surface_simulation._snow_spectrum(rng)
        dips.append(spectrum[Band.B03] / np.sqrt(spectrum[Band.B02] * spectrum[Band.B04]))
    # Ozone on six air masses takes a tenth of B03 more than of its neighbours.
    assert np.std(np.log(dips)) < 0.03
    wet, dry = (
        np.median(
            [
                surface_simulation.mean_terms(surface_simulation.draw_sky(rng, 0.5, water))[12 + 11]
                for _ in range(60)
            ]
        )
        for water in (surface_simulation.USUAL_WATER_CM, surface_simulation.COLD_WATER_CM)
    )
    assert dry > wet + 0.1, "transmittance of B09"


def test_training_that_was_cut_off_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descent, "STRETCH_STEPS", 2)
    monkeypatch.setattr(scene_samples, "FIRST_SAMPLES", 2)
    monkeypatch.setattr(scene_samples, "fractal_fields", lambda _: np.zeros((48, 512, 512), np.float32))
    recipe = SceneRecipe(widths=(4, 4, 4), steps=4, batch=2, fresh=1)
    grounds = Grounds([_patch("a", "p"), _patch("b", "q", 0.3)], [])
    whole = train_scene(grounds, recipe).state_dict()

    calls = {"left": 3}
    ordinary = SampleStream.batch

    def cut_off(stream: SampleStream) -> object:
        calls["left"] -= 1
        if calls["left"] < 0:
            raise KeyboardInterrupt
        return ordinary(stream)

    monkeypatch.setattr(SampleStream, "batch", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train_scene(grounds, recipe, progress=tmp_path / "progress.npz")
    assert (tmp_path / "progress.npz").exists()
    monkeypatch.setattr(SampleStream, "batch", ordinary)
    copyfile(tmp_path / "progress.npz", tmp_path / "of_another.npz")
    other = replace(recipe, peak_rate=1e-4)
    begun_anew = train_scene(grounds, other, progress=tmp_path / "of_another.npz").state_dict()
    never_begun = train_scene(grounds, other).state_dict()
    assert all(torch.equal(begun_anew[key], never_begun[key]) for key in never_begun)
    resumed = train_scene(grounds, recipe, progress=tmp_path / "progress.npz").state_dict()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert not (tmp_path / "progress.npz").exists()


def test_the_same_seed_trains_the_same_network() -> None:
    recipe = SceneRecipe(widths=(4, 4, 4), steps=2, batch=2, fresh=1)
    patches = [_patch("a", "p"), _patch("b", "q", 0.3)]
    first, second = (train_scene(Grounds(patches, []), recipe).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_scores_of_a_perfect_map_are_one_and_unsure_pixels_do_not_count() -> None:
    truth = np.uint8([[0, 1, 2, 3, 255]])
    rows = scores.class_scores(scores.confusion(truth, np.uint8([[0, 1, 2, 3, 0]])))
    assert all(value == 1.0 for row in rows.values() for value in row.values())


def test_the_rule_learns_thresholds_that_separate_what_can_be_separated() -> None:
    bright, dark = _patch("a", "p", 0.5), _patch("b", "q", 0.13)
    assert bright.label is not None
    bright.label[:] = 1
    thresholds = threshold_rule.tune([bright, dark], 0)
    assert (threshold_rule.apply_rule(threshold_rule.features_of(bright), thresholds) == 1).all()
    assert (threshold_rule.apply_rule(threshold_rule.features_of(dark), thresholds) == 0).all()


def test_a_file_with_the_wrong_number_of_bands_is_refused_by_name(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, np.zeros((20, 20, 5), np.uint16))
    with pytest.raises(ValueError, match=r"odd\.tif"):
        material.read_planes(path)
