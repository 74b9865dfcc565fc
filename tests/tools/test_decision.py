"""What follows training: where the lines between classes lie, how sure sigma is, what is simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from payload.core.scene import LOGIT_RANGE, SCORE_MAX, classify  # noqa: E402
from payload.types import BANDS_OF_GRID, Band, Grid, SceneClass  # noqa: E402
from tools import material  # noqa: E402
from tools.evaluate.scene_run import area_under_curve, losses  # noqa: E402
from tools.networks import decision, profile_table, surface_evaluation, surface_network  # noqa: E402
from tools.networks.profiles import PROFILES  # noqa: E402
from tools.networks.scene_network import build_scene_network  # noqa: E402
from tools.networks.surface_training import draw_pair, inner_pixels, invert  # noqa: E402


def _patch(level: float = 0.15) -> material.Patch:
    rng = np.random.default_rng(int(1000 * level))
    texture = np.kron(rng.uniform(0.8, 1.2, (34, 34)), np.ones((6, 6))).astype(np.float32)
    planes = dict.fromkeys(Band, level * texture)
    planes[Band.B10] = np.full_like(texture, 0.001)
    return material.Patch("x", "y", material.native_grids(planes), np.zeros((204, 204), np.uint8))


def test_a_shift_of_the_classes_is_a_shift_of_their_scores_alone() -> None:
    network = build_scene_network((4, 4, 4), 1)
    inputs = [
        torch.rand(1, bands, 96 // pitch, 96 // pitch) * 200 for bands, pitch in ((4, 1), (6, 2), (3, 6))
    ]
    shift = np.array([0.0, 0.5, -0.25, 1.0])
    with torch.no_grad():
        before = network(*inputs)
        decision.apply_shift(network, shift)
        moved = network(*inputs) - before
    expected = torch.from_numpy(shift).float()[None, :, None, None].expand_as(moved)
    assert torch.allclose(moved, expected, atol=1e-5)


def test_the_chosen_shift_is_never_worse_than_none_and_finds_an_offset() -> None:
    rng = np.random.default_rng(0)
    label = rng.choice(np.uint8([0, 1, 2, 3]), 6000, p=[0.6, 0.15, 0.1, 0.15])
    logits = rng.normal(0, 0.7, (4, 6000)).astype(np.float32)
    logits[label, np.arange(6000)] += 1.5
    logits[3] -= 1.5  # shadow is hardly ever said
    shift = decision.best_shift([(logits, label)], 0.0)
    assert shift[0] == 0
    assert shift[3] > 0.5
    assert decision.worth(logits, label, shift) > decision.worth(logits, label, np.zeros(4))


def test_whole_scores_take_nothing_from_cloud_and_give_nothing_to_it() -> None:
    rng = np.random.default_rng(0)
    logits = np.full((4, 500, 400), -5.0)
    logits[:2] = rng.normal(0, 0.2, (2, 500, 400))  # a few steps wide, so that ties are common
    step = 2 * LOGIT_RANGE / SCORE_MAX
    called = []
    for shift in (np.zeros(4), decision.even(np.zeros(4))):
        scores = np.rint((logits + shift[:, None, None] + LOGIT_RANGE) / step).astype(np.uint8)
        classes, _ = classify(scores, np.ones((500, 400), bool))
        called.append((classes == SceneClass.THICK_CLOUD).mean())
    assert called[0] < 0.48
    assert called[1] == pytest.approx(0.5, abs=0.005)


def test_the_area_under_the_curve_is_the_chance_to_be_ranked_right() -> None:
    truth = np.array([False, False, True, True])
    assert area_under_curve(np.float32([1, 2, 3, 4]), truth) == 1.0
    assert area_under_curve(np.float32([4, 3, 2, 1]), truth) == 0.0
    assert area_under_curve(np.float32([1, 1, 1, 1]), truth) == 0.5
    assert area_under_curve(np.float32([1, 2]), np.array([True, True])) is None


def test_sigma_is_calibrated_on_what_it_was_calibrated_on() -> None:
    low, high = [0.0] * 12 + [0.3] * 12 + [0.0] * 12 + [0.001] * 12, [0.2] * 12 + [1.0] * 12 + [0.3] * 24
    torch.manual_seed(0)
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    network = surface_network.SurfaceNetwork(low, high, middle, (4, 4, 4, 4, 4))
    patches = [_patch(0.1), _patch(0.3)]
    factors = surface_evaluation.calibrate_sigma(network, patches, 4, 9)
    assert all(factor > 0 for factor in factors)
    again = surface_evaluation.calibrate_sigma(network, patches, 4, 9)
    assert np.allclose(again, 1.0, atol=1e-3)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_a_sensor_shows_its_own_bands_and_no_other(profile: str) -> None:
    pair = draw_pair(np.random.default_rng(2), _patch(), 0.5, profile)
    for grid, bands in BANDS_OF_GRID.items():
        for codes, band in zip(pair.codes[grid], bands, strict=True):
            assert codes.any() == (band in PROFILES[profile])


def test_what_is_lost_is_nothing_one_band_or_what_a_sensor_lacks() -> None:
    lost = losses()
    assert lost["nothing"] == ()
    assert all(lost[band.value] == (band,) for band in Band)
    assert all(len(bands) < 13 for bands in lost.values())


def test_simulated_scenes_are_read_as_patches_with_their_doubts(tmp_path: Path) -> None:
    patches = pytest.importorskip("tools.simulate.patches")
    files = pytest.importorskip("tools.simulate.patch_files")
    made = patches.make_patch((3, 1), 96)
    files.save_patch(made, tmp_path / "simulated_3_00001.npz")
    (read,) = material.simulated_patches(tmp_path)
    assert read.label is not None
    assert (read.label[made.doubtful] == material.IGNORED_LABEL).all()
    assert np.array_equal(read.label[~made.doubtful], made.label[~made.doubtful])
    for grid in Grid:
        assert np.array_equal(read.grids[grid] == 0, made.counts[grid] == 0)
        seen = made.grids[grid] > 2e-5
        assert np.allclose(read.grids[grid][seen], made.grids[grid][seen], atol=1e-6)


def test_inversion_of_a_known_atmosphere_is_exact() -> None:
    surface = torch.full((1, 12, 24, 24), 0.3)
    path, transmittance, albedo = 0.07, 0.8, 0.12
    top = path + transmittance * surface / (1 - albedo * surface)
    cells = torch.cat([torch.full((1, 12, 6, 6), v) for v in (path, transmittance, albedo, 0.01)], 1)
    found, sigma = invert(cells, top)
    assert torch.allclose(inner_pixels(found), inner_pixels(surface), atol=1e-6)
    assert torch.allclose(sigma, torch.full_like(sigma, 0.01))


def test_what_a_sensor_lacks_is_hidden_at_the_pixel_and_around_it() -> None:
    bands = PROFILES["probav"]
    hidden = profile_table.hide(torch.ones(2, 39), bands)
    kept = [band in bands for band in profile_table.INPUT_ORDER]
    assert hidden.tolist() == [[float(k) for k in kept * 3]] * 2
