"""PV-CC transfer: the cases' arithmetic, the network's laws, and who is trained on what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("matplotlib", reason="pictures need the extra 'train'")

from tools import bandpass, resumable, smac  # noqa: E402
from tools.harmonise import simulation  # noqa: E402
from tools.pvcc import cases, places, training  # noqa: E402
from tools.pvcc.__main__ import main  # noqa: E402

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(not (SHARED / "data" / "l1c").is_dir(), reason="../shared is absent")


def test_ratios_leave_out_what_is_too_dark_to_divide_by() -> None:
    reference = np.full((4, 2, 2), 0.1, np.float32)
    reference[:, 0, 0] = 0.001
    found = reference * np.float32(1.1)
    kept = cases.ratios([found], [reference])
    assert [len(values) for values in kept] == [3, 3, 3, 3]
    assert np.allclose(np.concatenate(kept), 1.1, atol=1e-5)


def test_ratio_scores_of_known_values() -> None:
    scored = cases.ratio_scores(np.array([0.2, 0.95, 1.0, 1.05, 3.0]))
    assert scored["median"] == 1.0
    assert scored["quartiles"] == [0.95, 1.05]
    assert scored["near_ratio"] == pytest.approx(0.6)
    assert sum(scored["histogram"]) == scored["pixels"] == 5
    assert scored["histogram"][0] == scored["histogram"][-1] == 1


def test_an_untrained_network_corrects_nothing_and_takes_any_size() -> None:
    top = np.random.default_rng(0).random((4, 21, 30)).astype(np.float32)
    assert np.array_equal(training.correct(training.SurfaceNet().eval(), top), top)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_a_hundred_metre_pixel_is_the_mean_of_its_hundred(seed: int) -> None:
    fine = np.random.default_rng(seed).random((11, 250, 250)).astype(np.float32)
    coarse = places.to_hundred_metres(fine)
    assert coarse.shape == (11, places.PLACE_PX, places.PLACE_PX)
    assert np.allclose(coarse[:, 3, 5], fine[:, 30:40, 50:60].mean(axis=(1, 2)), rtol=1e-4)


def test_training_that_was_cut_off_ends_with_the_same_weights(tmp_path: Path) -> None:
    tops = torch.rand((6, 4, 24, 24), generator=torch.manual_seed(1))
    recipe = training.Recipe(steps=4, batch=2)
    whole = training.train(tops, 0.9 * tops, "net", recipe)

    class CutError(Exception):
        pass

    saved = resumable.save_training

    def save_and_cut(*given: object) -> None:
        saved(*given)  # type: ignore[arg-type]
        raise CutError

    keep = tmp_path / "net.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resumable, "SAVE_EVERY", 2)
        patch.setattr(resumable, "save_training", save_and_cut)
        with pytest.raises(CutError):
            training.train(tops, 0.9 * tops, "net", recipe, keep)
    resumed = training.train(tops, 0.9 * tops, "net", recipe, keep)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_terms_carried_to_the_knots_themselves_are_smacs_own() -> None:
    values = np.random.default_rng(0).random((13, 2))
    above = smac.Terms(values, values + 1, values + 2, values + 3)
    carried = bandpass.through(above, np.eye(len(bandpass.KNOT_UM)))
    assert np.allclose(carried.transmittance, values[bandpass.KNOT_ROWS] + 1)


@needs_shared
def test_smac_undoes_a_sky_that_it_knows() -> None:
    instruments = places.read_instruments(SHARED)
    ground = places.to_hundred_metres(simulation.synthetic_ground(0, 1)[0])
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AEROSOL_ERROR", "WATER_ERROR", "NOISE", "GAIN_DEVIATION"):
            patch.setattr(places, name, 0.0)
        for instrument in (instruments.sentinel, instruments.proba):
            seen = places.look(np.random.default_rng(1), ground, instrument, instruments.coefficients)
            error = np.abs(seen.by_smac - seen.surface)[:3]  # the guess of ozone stays; SWIR is blurred
            assert error.max() < 0.02
            assert np.abs(seen.top - seen.surface)[0].max() > 0.02


@needs_shared
def test_the_whole_command_prints_the_four_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--shared", str(SHARED), "--out", str(tmp_path), "--steps", "2", "--places", "4"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(case in shown for case in cases.CASES)
    assert "real pair 38D" in shown
    assert (tmp_path / "ratios.png").stat().st_size > 10_000


def test_without_the_material_the_command_says_what_it_misses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--shared", str(tmp_path)])
    assert ended.value.code == 2
    assert "no shared material" in capsys.readouterr().err
