"""Harmonisation: laws of the networks, the simulated pairs, the scores and the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

import tifffile  # noqa: E402
from scipy import ndimage  # noqa: E402

from tools import bandpass, resumable  # noqa: E402
from tools.harmonise import comparison, linear, networks, pair, scores, simulation, training  # noqa: E402
from tools.harmonise.__main__ import main  # noqa: E402

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
NOMINAL = simulation.read_instruments(None)


def made_pair(windows: int = 3, **changes: float) -> pair.Pair:
    grounds = simulation.synthetic_ground(7, windows + 1)
    recipe = simulation.PairRecipe(**{"gain_deviation": 0.0, **changes})
    return simulation.make_pair(grounds[:-1], grounds[-1:], NOMINAL, recipe)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """BCNet with a narrow CalibNet: the laws of training do not hang on 320 units."""

    def build(model: str) -> torch.nn.Module:
        network = networks.build(model)
        network.calib = networks.CalibNet(width=16)
        return network

    monkeypatch.setattr(training, "build", build)


def identical_pair() -> pair.Pair:
    """Coarse is nothing but the nominal blur of fine: there is nothing to harmonise."""
    given_pair = made_pair()
    with torch.no_grad():
        windows = [given_pair.fine_window(n)[None] for n in range(given_pair.windows)]
        coarse = [networks.PointSpread()(torch.from_numpy(np.array(w)))[0].numpy() for w in windows]
    fine = given_pair.fine
    return pair.Pair(fine, np.concatenate(coarse, 1), fine, None, given_pair.held, {"source": "identical"})


# The networks.


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), size=st.floats(0.0, 30.0))
def test_a_point_spread_is_positive_and_sums_to_one_whatever_was_learned(seed: int, size: float) -> None:
    spread = networks.PointSpread()
    with torch.no_grad():
        spread.logits.copy_(size * torch.randn(spread.logits.shape, generator=torch.manual_seed(seed)))
    taps = spread.taps()
    assert (taps >= 0).all()
    assert torch.allclose(taps.sum((1, 2)), torch.ones(4), atol=1e-5)


@settings(max_examples=10)
@given(level=st.floats(0.01, 1.0))
def test_a_point_spread_leaves_a_uniform_ground_as_it_is(level: float) -> None:
    out = networks.PointSpread()(torch.full((1, 4, 50, 50), level))
    assert out.shape == (1, 4, 10, 10)
    assert torch.allclose(out, torch.full_like(out, level), rtol=1e-5)


def test_a_point_spread_stands_over_the_middle_of_its_coarse_pixel() -> None:
    fine = torch.zeros(1, 4, 75, 75)
    fine[..., 37, 37] = 1.0
    out = networks.PointSpread()(fine)[0]
    assert (out.flatten(1).argmax(1) == 7 * 15 + 7).all()
    assert torch.allclose(out, out.flip(1), atol=1e-8)
    assert torch.allclose(out, out.transpose(1, 2), atol=1e-8)


@pytest.mark.parametrize("model", networks.MODELS)
def test_an_untrained_network_changes_nothing(model: str) -> None:
    fine = made_pair(1).fine[:, :60, :40]
    found, _ = comparison.harmonise(networks.build(model).eval(), fine)
    assert np.array_equal(found, fine)


def test_removing_the_point_spread_restores_the_detail_that_it_took() -> None:
    network = networks.BCNet().eval()
    fine = made_pair(1).fine_window(0)
    blurred = comparison.at_coarse(network, fine).repeat(5, axis=1).repeat(5, axis=2)
    removed, _ = comparison.harmonise(network, fine)
    assert scores.detail_kept(removed, fine)["4_to_8_m"] == pytest.approx(1.0)
    assert scores.detail_kept(blurred, fine)["4_to_8_m"] < 0.1


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), size=st.floats(0.0, 1000.0))
def test_the_scale_of_an_error_is_positive_whatever_is_seen(seed: int, size: float) -> None:
    network = networks.CalibNet(width=8, has_confidence=True).eval()
    seen = size * torch.randn((1, 4, 6, 6), generator=torch.manual_seed(seed))
    assert (network(seen)[:, 4:] >= networks.MIN_SCALE).all()


def test_nothing_is_made_where_nothing_was_seen() -> None:
    fine = made_pair(1).fine[:, :60, :40].copy()
    fine[:, 10:20, 10:20] = 0
    found, _ = comparison.harmonise(networks.build("bcnet").eval(), fine)
    assert (found[:, 10:20, 10:20] == 0).all()
    assert (found[:, :10] > 0).all()


# Training.


def test_the_relative_error_is_that_of_the_measured_value() -> None:
    found, target = torch.tensor([0.12, 0.0]), torch.tensor([0.10, 0.0])
    expected = torch.tensor([0.02 / (0.10 + training.EPSILON), 0.0])
    assert torch.allclose(training.relative_error(found, target), expected)


def test_a_confident_loss_is_least_where_the_scale_is_the_error() -> None:
    target = torch.full((1, 4, 1, 1), 0.2)
    weight = torch.ones(1, 1, 1, 1)
    error = 0.03 / (0.2 + training.EPSILON)

    def loss(scale: float) -> float:
        output = torch.cat([target + 0.03, torch.full_like(target, scale)], 1)
        return float(training.loss_of(output, target, weight))

    assert loss(error) < min(loss(0.8 * error), loss(1.25 * error))
    assert loss(error) == pytest.approx(1 + np.log(error), abs=1e-4)


@pytest.mark.usefixtures("small")
def test_an_identical_pair_teaches_the_identity() -> None:
    given_pair = identical_pair()
    network = training.train(given_pair, "bcnet", training.Recipe(steps=25, batch=2))
    table = comparison.evaluate(network, given_pair)
    assert max(band["rmse"] for band in table["at_2_m"].values()) < 0.004
    assert table["detail_kept"]["4_to_8_m"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.usefixtures("small")
def test_a_training_that_was_cut_off_ends_with_the_same_weights(tmp_path: Path) -> None:
    given_pair, recipe = made_pair(2), training.Recipe(steps=6, batch=1)
    whole = training.train(given_pair, "bcnet", recipe)

    class CutError(Exception):
        pass

    saved = resumable.save_training
    keep = tmp_path / "bcnet.npz"

    def save_and_cut(*given: object) -> None:
        saved(*given)  # type: ignore[arg-type]
        raise CutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resumable, "SAVE_EVERY", 3)
        patch.setattr(resumable, "save_training", save_and_cut)
        with pytest.raises(CutError):
            training.train(given_pair, "bcnet", recipe, keep)
    resumed = training.train(given_pair, "bcnet", recipe, keep)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    with pytest.raises(ValueError, match="another training"):
        training.train(given_pair, "bcnet", training.Recipe(steps=7, batch=1), keep)


@pytest.mark.usefixtures("small")
def test_bcnet_finds_the_misregistration() -> None:
    given_pair = made_pair(4, misregistration_m=6.0, seed=3)
    recipe = training.Recipe(steps=60, batch=2, spread_rate=0.2)
    network = training.train(given_pair, "bcnet", recipe)
    centre, _ = networks.spread_found_m(network)
    true = given_pair.story["misregistration_m"]
    assert np.hypot(*true) > 3.0
    assert np.hypot(centre[0] - true[0], centre[1] - true[1]) < 0.4 * np.hypot(*true)


def test_linear_regression_finds_a_linear_law() -> None:
    base = identical_pair()
    mixed = np.float32([[1.1, 0.05, 0, 0], [0, 0.9, 0.1, 0], [0, 0, 1.0, 0], [0.1, 0, 0, 0.8]])
    coarse = np.tensordot(mixed, base.coarse, axes=1) + np.float32(0.02)
    given_pair = pair.Pair(base.fine, coarse, None, None, base.held, base.story)
    network = linear.fit(given_pair, "linear_4x4")
    assert np.allclose(network.map.weight[..., 0, 0].detach().numpy(), mixed, atol=1e-3)
    assert np.allclose(network.map.bias.detach().numpy(), 0.02, atol=1e-3)


# Simulated pairs and spectral responses.


@settings(max_examples=30)
@given(transfer=st.floats(0.15, 0.35), shift=st.floats(-3, 3))
def test_the_coarse_point_spread_has_the_transfer_that_was_asked_for(transfer: float, shift: float) -> None:
    taps = simulation.coarse_taps(transfer, shift)
    place = np.arange(len(taps)) - len(taps) // 2
    assert taps.sum() == pytest.approx(1.0)
    assert (taps * place).sum() == pytest.approx(shift, abs=0.01)
    at_nyquist = np.abs((taps * np.exp(-2j * np.pi * place / (2 * pair.RATIO))).sum())
    assert at_nyquist == pytest.approx(transfer, abs=0.01)


def test_a_pair_is_the_same_under_a_seed_and_another_under_another() -> None:
    one, same, other = made_pair(1, seed=1), made_pair(1, seed=1), made_pair(1, seed=2)
    assert np.array_equal(one.fine, same.fine)
    assert np.array_equal(one.coarse, same.coarse)
    assert one.story["misregistration_m"] != other.story["misregistration_m"]


@settings(max_examples=20)
@given(centre=st.floats(0.46, 0.9), width=st.floats(0.01, 0.1), level=st.floats(0.0, 1.0))
def test_a_flat_spectrum_has_its_level_in_every_band(centre: float, width: float, level: float) -> None:
    weights = bandpass.knot_weights([bandpass.gaussian(centre, width)])
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    assert (weights @ np.full(len(bandpass.KNOT_UM), level))[0] == pytest.approx(level)


def test_a_narrow_band_at_a_knot_is_that_knot() -> None:
    weights = bandpass.knot_weights([bandpass.gaussian(0.665, 0.002)])
    assert weights[0, bandpass.KNOT_UM.tolist().index(0.665)] > 0.95


def test_a_response_file_that_is_no_response_is_refused_by_line(tmp_path: Path) -> None:
    file = tmp_path / "responses.txt"
    file.write_text("# band 1\n443 0.5\n444 much\n")
    with pytest.raises(ValueError, match=r"responses\.txt:3: expected wavelength"):
        bandpass.read_responses(file)


@pytest.mark.skipif(not (SHARED / "data" / "spectral_response").is_dir(), reason="../shared is absent")
def test_measured_responses_centre_where_their_makers_say() -> None:
    folder = SHARED / "data" / "spectral_response" / "acolite_rsr"
    pleiades = bandpass.read_responses(folder / "PHR1A.txt")
    sentinel = bandpass.read_responses(folder / "S2A_MSI.txt")
    assert len(sentinel) == 13

    def centre_um(response: bandpass.Response) -> float:
        return float((response.wavelength_um * response.value).sum() / response.value.sum())

    # Sentinel-2A centres of ESA's spectral response document; Pleiades within its nominal edges.
    assert centre_um(sentinel[1]) == pytest.approx(0.4924, abs=0.005)
    assert centre_um(sentinel[8]) == pytest.approx(0.8647, abs=0.005)
    for measured, nominal in zip(pleiades, bandpass.PLEIADES_NOMINAL, strict=False):
        assert nominal.wavelength_um[0] < centre_um(measured) < nominal.wavelength_um[-1]


# Scores.


def test_radiometry_of_known_errors() -> None:
    truth = np.full((4, 2, 2), 0.2, np.float32)
    truth[:, 0] = 0.1
    found = truth + np.float32(0.01)
    found[:, 0, 0] -= 0.03
    keep = np.ones((2, 2), bool)
    scored = scores.radiometry(found, truth, keep)["red"]
    assert scored["bias"] == pytest.approx(0.0025, abs=1e-6)
    assert scored["rmse"] == pytest.approx(np.sqrt((3 * 0.01**2 + 0.02**2) / 4), abs=1e-6)
    assert scored["largest_error"] == pytest.approx(0.02, abs=1e-6)
    assert scored["r2"] == pytest.approx(1 - scored["rmse"] ** 2 / 0.05**2, abs=1e-5)
    keep[0, 0] = False
    assert scores.radiometry(found, truth, keep)["red"]["rmse"] == pytest.approx(0.01, abs=1e-6)


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), gain=st.floats(0.2, 1.5))
def test_the_detail_kept_of_a_scaled_image_is_the_scale(seed: int, gain: float) -> None:
    truth = np.random.default_rng(seed).random((4, 60, 60)).astype(np.float32)
    kept = scores.detail_kept(np.float32(gain) * truth + np.float32(0.1), truth)
    assert list(kept.values()) == pytest.approx([gain, gain], rel=1e-4)


def test_noise_is_no_detail_and_blur_loses_what_its_transfer_says() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((4, 200, 200)).astype(np.float32)
    noisy = truth + 0.5 * rng.standard_normal(truth.shape).astype(np.float32)
    assert scores.detail_kept(noisy, truth)["4_to_8_m"] == pytest.approx(1.0, abs=0.05)
    blurred = ndimage.gaussian_filter(truth, (0, 1.0, 1.0))
    kept = scores.detail_kept(blurred, truth)
    # White detail: the mean of exp(-2 pi^2 sigma^2 f^2) over the ring of frequencies.
    radius = np.linspace(1 / 8, 1 / 4, 500) * simulation.FINE_M
    expected = (np.exp(-2 * np.pi**2 * radius**2) * radius).sum() / radius.sum()
    assert kept["4_to_8_m"] == pytest.approx(expected, abs=0.02)


def test_a_moved_image_is_found_out() -> None:
    rng = np.random.default_rng(1)
    smooth = ndimage.gaussian_filter(rng.random((4, 120, 120)), (0, 3, 3)).astype(np.float32)
    moved = ndimage.shift(smooth, (0, 0.3, -0.2), order=3, mode="nearest").astype(np.float32)
    cut = (slice(None), slice(10, -10), slice(10, -10))
    assert scores.moved_m(moved[cut], smooth[cut]) == pytest.approx((0.6, -0.4), abs=0.05)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_ranking_area_counts_pairs(samples: list[tuple[int, bool]]) -> None:
    score = np.array([value for value, _ in samples], float)
    positive = np.array([flag for _, flag in samples])
    pairs = [(a > b) + 0.5 * (a == b) for a in score[positive] for b in score[~positive]]
    found = scores.ranking_area(score, positive)
    assert np.isnan(found) if not pairs else found == pytest.approx(np.mean(pairs))


# The commands.


def run(*arguments: object) -> int:
    return main([str(word) for word in arguments])


def test_a_pair_goes_from_simulation_to_a_harmonised_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rasterio = pytest.importorskip("rasterio")
    folder, out = tmp_path / "pair", tmp_path / "net"
    assert run("simulate", "--synthetic", "--misregistration-m", 0, "--out", folder) == 0
    back = pair.read_pair(folder)
    assert back.held == (6, 7)
    assert run("train", folder, "--model", "linear", "--out", out) == 0
    assert "rel." in capsys.readouterr().out
    fine = tmp_path / "placed.tif"
    profile = {"driver": "GTiff", "count": 4, "height": 60, "width": 50, "dtype": "uint16"}
    place = rasterio.Affine(2, 0, 300000, 0, -2, 5000000)
    with rasterio.open(fine, "w", crs="EPSG:32631", transform=place, **profile) as file:
        file.write(tifffile.imread(folder / "fine.tif")[:, :60, :50])
    made = tmp_path / "made.tif"
    assert run("apply", out / "linear.npz", fine, "--out", made) == 0
    with rasterio.open(made) as file:
        assert file.crs.to_epsg() == 32631
        assert file.transform == place
        assert file.shape == (60, 50)
        found = file.read() / 1e4
    assert np.sqrt(((found - back.truth[:, :60, :50]) ** 2).mean()) < 0.02


def test_a_pair_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = made_pair(2, cloud_ratio=0.1)
    pair.write_pair(made, tmp_path)
    back = pair.read_pair(tmp_path)
    assert np.abs(back.fine - made.fine).max() <= 0.5001e-4
    assert np.abs(back.coarse - made.coarse).max() <= 0.5001e-4
    assert back.cloud is not None
    assert np.array_equal(back.cloud, made.cloud)
    assert (back.held, back.windows) == (made.held, 3)


def test_a_measured_pair_without_a_story_holds_one_window_in_ten(tmp_path: Path) -> None:
    fine = np.full((4, 250 * 4, 250 * 5), 1000, np.uint16)
    tifffile.imwrite(tmp_path / "fine.tif", fine, photometric="minisblack")
    tifffile.imwrite(tmp_path / "coarse.tif", fine[:, ::5, ::5], photometric="minisblack")
    back = pair.read_pair(tmp_path, seed=4)
    assert len(back.held) == 2
    assert set(back.held).isdisjoint(back.seen())
    assert back.held == pair.read_pair(tmp_path, seed=4).held


def test_images_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", tmp_path) == 2
    assert "fine.tif: no such file" in capsys.readouterr().err
    stack = np.ones((4, 100, 100), np.uint16)
    for name in ("fine.tif", "coarse.tif"):
        tifffile.imwrite(tmp_path / name, stack, photometric="minisblack")
    assert run("train", tmp_path) == 2
    assert "must be (4, 500, 500)" in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "fine.tif", stack[:3], photometric="minisblack")
    assert run("train", tmp_path) == 2
    assert "expected four bands" in capsys.readouterr().err


def put_pair(folder: Path, fine: np.ndarray, coarse: np.ndarray) -> Path:
    folder.mkdir()
    for name, stack in (("fine", fine), ("coarse", coarse)):
        tifffile.imwrite(folder / f"{name}.tif", stack, photometric="minisblack")
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a pair that says nothing of a truth."""
    folder = tmp_path_factory.mktemp("measured")
    pair.write_pair(made_pair(3), folder)
    return tifffile.imread(folder / "fine.tif"), tifffile.imread(folder / "coarse.tif")


def linear_scores(folder: Path) -> dict[str, dict[str, float]]:
    assert run("train", folder, "--model", "linear", "--out", folder / "net") == 0
    record = json.loads((folder / "net" / "linear.json").read_text())
    found: dict[str, dict[str, float]] = record["scores"]["at_10_m"]
    return found


def test_what_the_fine_image_lacks_is_neither_trained_on_nor_scored(
    tmp_path: Path, measured: tuple[np.ndarray, np.ndarray]
) -> None:
    fine, coarse = measured
    whole = linear_scores(put_pair(tmp_path / "whole", fine, coarse))
    cut = np.arange(fine.shape[2]) < 60
    lost = linear_scores(put_pair(tmp_path / "lost", np.where(cut, 0, fine).astype(np.uint16), coarse))
    for name, row in lost.items():
        assert row["rmse"] < 1.5 * whole[name]["rmse"], name
        assert abs(row["bias"]) < 0.01, name


@given(first=st.integers(0, 249), col=st.integers(0, 249))
@settings(max_examples=10, deadline=None)
def test_no_coarse_pixel_that_a_missing_fine_one_reaches_is_known(first: int, col: int) -> None:
    fine, coarse = torch.ones(1, 4, 250, 250), torch.ones(1, 4, 50, 50)
    changed = fine.clone()
    changed[:, 2, first, col] = 0
    known = training.known_at_coarse(changed, coarse)[0, 0]
    with torch.no_grad():
        spread = networks.PointSpread()
        moved = (spread(changed) != spread(fine))[0].any(0)
    assert not (known & moved).any()
    reach = networks.CONV_REACH_PX + 3
    near = torch.zeros(50, 50, dtype=torch.bool)
    row, column = first // 5, col // 5
    near[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = True
    assert known[~near].all()


def test_a_pair_without_common_data_is_refused(
    tmp_path: Path, measured: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    fine, coarse = measured
    for name, parts in {"blind": (fine * 0, coarse), "below": (fine, coarse * 0)}.items():
        folder = put_pair(tmp_path / name, *parts)
        for model in ("linear", "bcnet"):
            assert run("train", folder, "--model", model, "--steps", 1, "--out", folder / "net") == 2
            assert "has data in both images" in capsys.readouterr().err
            assert not list((folder / "net").glob(f"{model}.npz"))


def test_floats_that_hold_dn_are_the_same_pair(
    tmp_path: Path, measured: tuple[np.ndarray, np.ndarray]
) -> None:
    fine, coarse = measured
    for name, scale in {"dn": 1, "fractions": 1e4}.items():
        parts = ((part / scale).astype(np.float32) for part in measured)
        back = pair.read_pair(put_pair(tmp_path / name, *parts))
        assert np.allclose(back.fine, fine / 1e4, atol=1e-6)
        assert np.allclose(back.coarse, coarse / 1e4, atol=1e-6)


def test_what_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, measured: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put_pair(tmp_path / "pair", *(part[:, : part.shape[1] // 2] for part in measured))
    assert run("train", folder, "--model", "linear", "--out", tmp_path / "net") == 0
    network, fine = tmp_path / "net" / "linear.npz", folder / "fine.tif"
    made = tmp_path / "new" / "deep" / "made.tif"
    assert run("apply", network, fine, "--out", made) == 0
    assert made.is_file()
    for words in (
        ("apply", network, fine, "--out", tmp_path),
        ("apply", network, fine, "--out", fine / "made.tif"),
        ("train", folder, "--model", "linear", "--out", fine),
        ("compare", "--synthetic", "--pairs", 0, "--cloudy-pairs", 0, "--out", tmp_path / "compared"),
        ("compare", "--synthetic", "--pairs", -1, "--out", tmp_path / "compared"),
    ):
        with pytest.raises(SystemExit) as refusal:
            run(*words)
        assert refusal.value.code == 2
    assert "at least one pair" in capsys.readouterr().err
    assert not (tmp_path / "compared").exists()


def test_the_comparison_writes_figures_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    # The wide networks take seconds a window at 2 m.
    monkeypatch.setattr(comparison, "ALL_MODELS", ("linear", "convcalibnet"))
    monkeypatch.setattr(comparison, "CLOUDY_MODELS", ("bcnet_confidence",))
    arguments = ("--synthetic", "--pairs", 1, "--cloudy-pairs", 1, "--steps", 2, "--batch", 1)
    assert run("compare", *arguments, "--out", tmp_path) == 0
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert record["simulated"] is True
    assert set(record["clear"]["mean"]) == {"linear", "convcalibnet"}
    assert 0 <= record["cloudy"]["mean"]["bcnet_confidence"]["confidence"]["cloud_area"] <= 1
    assert (tmp_path / "clear_0.png").read_bytes().startswith(b"\x89PNG")
