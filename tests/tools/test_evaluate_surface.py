"""Every method is scored on the same samples, and only on samples that both images have."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("openvino")
pytest.importorskip("scipy", reason="evaluation needs the extra 'test' or 'rivals'")

from payload.types import Grid, Task
from tools.evaluate import flown, surface_metrics, surface_run
from tools.evaluate.__main__ import main
from tools.material import FILE_BANDS

B10 = 10
OURS = "Skysift INT8"


def top(seed: int = 0, rows: int = 96, cols: int = 120) -> np.ndarray:
    """Counts of a plain ground, a little rough in every band."""
    rng = np.random.default_rng(seed)
    level = np.linspace(1500, 3000, 13)[:, None, None] * rng.uniform(0.8, 1.2, (1, rows // 6, cols // 6))
    fine = level.repeat(6, axis=1).repeat(6, axis=2) * rng.uniform(0.95, 1.05, (13, rows, cols))
    fine[B10] /= 100
    return fine.astype(np.uint16)


def below(stack: np.ndarray) -> np.ndarray:
    return np.delete(stack, B10, axis=0)


def put(folder: Path, seen: np.ndarray, truth: np.ndarray, stem: str = "x") -> None:
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / f"{stem}_S2L1C.tif", seen, photometric="minisblack")
    tifffile.imwrite(folder / f"{stem}_S2L2A.tif", truth, photometric="minisblack")


def figures_of(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, Any]:
    assert main(["surface", "--pairs", str(folder), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["pairs"]["x"]
    return found


def methods(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: report for name, report in figures["all"].items() if name != "confidence"}


def test_every_method_is_scored_on_the_same_samples_whatever_is_dark_or_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = top()
    truth = below(seen)
    seen[11:, :, :48] = 0  # dark, not missing
    seen[1, :, :24] = 0
    seen[:, :12] = 0
    truth[:, :, 96:] = 0
    put(tmp_path, seen, truth)
    for name, report in methods(figures_of(capsys, tmp_path)).items():
        for band, row in report["bands"].items():
            grid, _ = {b.value: place for b, place in surface_metrics.band_places().items()}[band]
            assert row["samples"] == (96 - 12) * 96 // grid**2, (name, band)


def test_what_one_image_lacks_changes_no_figure_of_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = top()
    truth = below(seen) + np.uint16(100)
    lost, blind = truth.copy(), seen.copy()
    lost[:, :, 60:] = 0
    blind[:, :, 60:] = 0
    found = []
    for number, pair in enumerate([(seen, lost), (blind, truth)]):
        put(tmp_path / f"{number}", *pair)
        found.append(figures_of(capsys, tmp_path / f"{number}")["all"]["no correction"])
    for key in ("ndvi_error", "sam_deg", "ergas", "mean_rmse"):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-6), key
    assert found[0]["ndvi_error"] < 0.02
    for band, row in found[0]["bands"].items():
        assert row["detail_kept"] == pytest.approx(found[1]["bands"][band]["detail_kept"], rel=1e-4)
        assert row["detail_kept"] == pytest.approx(1, abs=0.02)


def test_a_pair_without_a_common_sample_has_no_figures_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = top()
    for number, pair in enumerate([(seen, below(seen) * 0), (seen * 0, below(seen))]):
        folder = tmp_path / f"{number}"
        put(folder, *pair)
        figures = figures_of(capsys, folder)
        assert figures["clear_share"] is None
        assert figures["clear"] is None
        assert all(report["mean_rmse"] is None for report in methods(figures).values())
        assert main(["surface", "--pairs", str(folder)]) == 0
        told = capsys.readouterr()
        assert "no sample with data in both images" in told.out
        assert "holds no data" in told.err


def test_a_card_tells_of_a_pair_what_an_evaluation_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="cards are written with the extra 'train'")
    from tools.networks.surface_evaluation import beside_sen2cor, real_pairs

    folder = tmp_path / "data" / "l1c_l2a_pairs"
    folder.parent.mkdir()
    put(folder, top(), below(top()) + np.uint16(100))
    network = flown.open_model(Path("models/surface_s2_v5"), Task.SURFACE)
    card = beside_sen2cor(real_pairs(tmp_path), network.answer)
    report = figures_of(capsys, folder)["all"]
    for method, name in ((OURS, "ours"), ("no correction", "no correction")):
        told = [report[method]["bands"][band]["rmse"] for band in card["bands"]]
        assert card["rmse"][f"x {name}"] == pytest.approx(told, abs=6e-5), name


def test_a_band_that_the_reference_lacks_is_not_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = top()
    truth = below(seen)
    truth[1] = 0  # B02
    put(tmp_path, seen, truth)
    figures = figures_of(capsys, tmp_path)
    for report in methods(figures).values():
        assert {band for band, row in report["bands"].items() if not row["samples"]} == {"B02"}
        assert report["ndvi_error"] is not None


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(8, 80), cols=st.integers(8, 80), seed=st.integers(0, 99))
def test_what_does_not_count_changes_neither_detail_nor_likeness(rows: int, cols: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = rng.uniform(0.1, 0.3, (2, rows, cols)).astype(np.float32)
    counts = rng.uniform(size=(rows, cols)) > 0.2
    counts[0, :2] = True
    wild = rng.uniform(0, 1, (rows, cols)).astype(np.float32)
    expected = surface_metrics.image_figures(truth, found, counts)
    others = (np.where(counts, plane, other) for plane, other in ((truth, wild), (found, 0)))
    assert surface_metrics.image_figures(*others, counts) == pytest.approx(expected)
    nothing = surface_metrics.image_figures(truth, found, np.zeros_like(counts))
    assert nothing == {"detail_kept": None, "ssim": None}


@pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="needs scikit-image")
def test_likeness_of_a_whole_plane_is_what_scikit_image_says() -> None:
    from skimage.metrics import structural_similarity

    truth, found = np.random.default_rng(2).uniform(0.1, 0.3, (2, 40, 50)).astype(np.float32)
    row = surface_metrics.image_figures(truth, found, np.ones((40, 50), bool))
    scale = float(np.ptp(truth))
    assert row["ssim"] == pytest.approx(structural_similarity(truth, found, win_size=7, data_range=scale))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 30), cols=st.integers(1, 30), seed=st.integers(0, 99))
def test_a_sample_counts_where_all_of_it_that_the_image_has_was_seen(rows: int, cols: int, seed: int) -> None:
    seen = np.random.default_rng(seed).uniform(size=(rows, cols)) > 0.05
    for grid in Grid:
        found = surface_run.whole_samples(seen, grid)
        for row, col in np.ndindex(found.shape):
            part = seen[row * grid : (row + 1) * grid, col * grid : (col + 1) * grid]
            assert found[row, col] == (part.size > 0 and part.all())


def test_the_lack_of_scikit_image_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface_metrics, "has_ssim", lambda: False)
    put(tmp_path, top(), below(top()))
    assert main(["surface", "--pairs", str(tmp_path)]) == 0
    assert "scikit-image is not installed" in capsys.readouterr().err


NAMES = [band.value for band in FILE_BANDS]


def table(top_row: str, surface_row: str) -> str:
    return f"name,kind,{','.join(NAMES)}\nplain,toa,{top_row}\nplain,surface,{surface_row}\n"


LEVELS = ",".join(f"{0.1 + 0.01 * number:.2f}" for number in range(13))


def test_a_measured_surface_of_0_has_no_relative_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(table(LEVELS, LEVELS.replace("0.10", "0", 1)))
    assert main(["surface", "--truth", str(tmp_path / "a.csv")]) == 0
    assert "| B01 | 0.1000 | 0.0000 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "hello",
        f"name,kind,{','.join(NAMES)}\n",
        table(LEVELS, LEVELS).replace("0.15", "nan", 1),
        table(LEVELS, LEVELS).replace("0.15", "1500", 1),
        table(LEVELS, LEVELS).replace("0.15", "", 1),
        table(LEVELS, LEVELS) + f"plain,toa,{LEVELS}\n",
        "name,kind,B01\nplain,toa,0.1\n",
    ],
    ids=["missing", "empty", "no table", "no row", "nan", "dn", "no B06", "two rows", "few bands"],
)
def test_a_table_that_is_none_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    path = tmp_path / "truth.csv"
    if text is not None:
        path.write_text(text)
    assert main(["surface", "--truth", str(path)]) == 2
    assert f"{path}: " in capsys.readouterr().err


def test_a_model_for_another_task_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, top(), below(top()))
    tifffile.imwrite(tmp_path / "x_l1c.tif", top(), photometric="minisblack")
    tifffile.imwrite(tmp_path / "x_label.tif", np.zeros((96, 120), np.uint8))
    scene, surface = "models/scene_s2_v7", "models/surface_s2_v5"
    for words in (
        ["scene", "--images", str(tmp_path), "--model", surface],
        ["confidence", "--images", str(tmp_path), "--model-surface", scene],
        ["surface", "--pairs", str(tmp_path), "--model", scene],
        ["surface", "--pairs", str(tmp_path), "--scene-model", surface],
    ):
        assert main(words) == 2, words
        assert "is wanted here" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["hello", "", "1 2 3", " ".join(["0.1"] * 49)])
def test_a_file_without_coefficients_of_13_bands_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    put(tmp_path, top(), below(top()))
    (tmp_path / "smac.dat").write_text(content)
    assert main(["surface", "--pairs", str(tmp_path), "--smac", str(tmp_path / "smac.dat")]) == 2
    assert "smac.dat: " in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, top(), below(top()))
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file" / "page.html"):
        assert main(["report", "--pairs", str(tmp_path), "--out", str(out)]) == 2
        told = capsys.readouterr().err
        assert "--out" in told
        assert "SSIM" not in told


def test_sigma_without_cells_of_both_kinds_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = np.zeros((96, 120), np.uint8)
    label[:, 48:96] = 1
    for number, (stack, given_label) in enumerate([(top(), label * 0), (top() * 0, label)]):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        tifffile.imwrite(folder / "x_l1c.tif", stack, photometric="minisblack")
        tifffile.imwrite(folder / "x_label.tif", given_label)
        assert main(["confidence", "--images", str(folder), "--json"]) == 0
        found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert set(found.values()) == {None}
        assert main(["confidence", "--images", str(folder)]) == 0
        assert "nan" not in capsys.readouterr().out
