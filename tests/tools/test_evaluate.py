"""Scores that mean what they say, on any folder with the stated names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

pytest.importorskip("openvino")
pytest.importorskip("scipy", reason="evaluation needs the extra 'test' or 'rivals'")

from payload.types import Band, Grid, SceneClass, Task
from tools.evaluate import clear_run, flown, folders, scene_scores, surface_metrics
from tools.evaluate.__main__ import main
from tools.evaluate.scene_run import OURS
from tools.material import FILE_BANDS

MATRICES = arrays.arrays(np.int64, (4, 4), elements=st.integers(0, 10_000))


@settings(max_examples=100, deadline=None)
@given(matrix=MATRICES)
def test_scores_are_those_of_their_definitions(matrix: np.ndarray) -> None:
    for target, row in scene_scores.scores_of(matrix).items():
        inside = list(scene_scores.TARGETS[target])
        outside = [c for c in range(4) if c not in inside]
        hit = matrix[np.ix_(inside, inside)].sum()
        false = matrix[np.ix_(outside, inside)].sum()
        missed = matrix[np.ix_(inside, outside)].sum()
        if hit:
            precision, recall = hit / (hit + false), hit / (hit + missed)
            assert row["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
            assert row["f2"] == pytest.approx(5 * precision * recall / (4 * precision + recall))
            assert row["iou"] == pytest.approx(hit / (hit + false + missed))
        clear = matrix[outside].sum()
        assert row["false_alarms"] == (pytest.approx(false / clear) if clear else None)


def test_what_is_not_sure_or_has_no_data_is_not_counted() -> None:
    label = np.uint8([[0, 1, 2, 3, 255, 1]])
    classes = np.uint8([[0, 1, 2, 3, 1, SceneClass.NO_DATA]])
    assert np.array_equal(scene_scores.count(label, classes), np.eye(4, dtype=np.int64))


def test_calling_everything_cloud_has_full_recall_and_only_false_alarms() -> None:
    matrix = np.zeros((4, 4), np.int64)
    matrix[:, 1] = (700, 200, 50, 50)
    row = scene_scores.scores_of(matrix)["contaminated"]
    assert (row["recall"], row["false_alarms"], row["precision"]) == (1.0, 1.0, 0.3)


@pytest.mark.parametrize(
    ("stem", "group"),
    [
        ("ROIs1158_spring_39_p100_cloudy", "ROIs1158_spring_39"),
        ("S4_4287_input", "S4_4287"),
        ("LAHINCH_2017-09-18", "LAHINCH"),
        ("anything", "anything"),
    ],
)
def test_a_stem_names_its_place(stem: str, group: str) -> None:
    assert folders.group_of(stem) == group


@settings(max_examples=8, deadline=None)
@given(rows=st.integers(7, 90), cols=st.integers(7, 90), level=st.floats(0.02, 0.9))
def test_counts_of_reflectance_are_flight_counts_up_to_the_edge(rows: int, cols: int, level: float) -> None:
    planes = {band: np.full((rows, cols), level, np.float32) for band in FILE_BANDS}
    planes[Band.B12][:] = 0  # dark in one band is not missing
    counts = flown.counts_of(planes)
    assert (counts[Grid.R10M][:, :rows, :cols] == round(10000 * level) + 1000).all()
    assert (counts[Grid.R20M][5, : rows // 2, : cols // 2] == 1000).all()
    assert (counts[Grid.R10M][:, rows:] == 0).all()


def test_a_large_image_in_pieces_is_the_image_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0.02, 0.6, (13, 12, 10)).astype(np.float32)
    stack = np.kron(coarse, np.ones((24, 24), np.float32))
    counts = flown.counts_of(dict(zip(FILE_BANDS, stack, strict=True)))
    scene = flown.open_model(Path("models/scene_s2_v7"), Task.SCENE)
    surface = flown.open_model(Path("models/surface_s2_v5"), Task.SURFACE)
    whole, below = flown.classify(counts, scene.answer), flown.correct(counts, surface.answer)
    monkeypatch.setattr(flown, "INNER_PX", 144)
    pieces, below_pieces = flown.classify(counts, scene.answer), flown.correct(counts, surface.answer)
    assert np.array_equal(whole, pieces)
    for grid in Grid:
        assert np.array_equal(below.reflectance[grid], below_pieces.reflectance[grid])
        assert np.array_equal(below.sigma[grid], below_pieces.sigma[grid])


def _reference() -> dict[Grid, np.ndarray]:
    rng = np.random.default_rng(5)
    sizes = {Grid.R10M: (4, 96), Grid.R20M: (6, 48), Grid.R60M: (2, 16)}
    return {g: rng.uniform(0.05, 0.5, (n, px, px)).astype(np.float32) for g, (n, px) in sizes.items()}


def _everywhere(truth: dict[Grid, np.ndarray]) -> dict[Grid, np.ndarray]:
    return {grid: np.ones(plane.shape[1:], bool) for grid, plane in truth.items()}


def test_a_surface_that_is_the_reference_has_no_error() -> None:
    truth = _reference()
    figures = surface_metrics.figures(truth, truth, _everywhere(truth))
    assert figures["sam_deg"] == pytest.approx(0, abs=0.05)
    assert (figures["ergas"], figures["ndvi_error"], figures["mean_rmse"]) == (0, 0, 0)
    for row in figures["bands"].values():
        assert (row["rmse"], row["bias"], row["ce99"]) == (0, 0, 0)
        assert row["uiqi"] == pytest.approx(1)
        assert row["detail_kept"] == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(shift=st.floats(-0.04, 0.2), gain=st.floats(0.5, 1.5))
def test_bias_and_ratio_are_what_was_put_in(shift: float, gain: float) -> None:
    truth = _reference()
    shifted = {grid: (plane + np.float32(shift)).astype(np.float32) for grid, plane in truth.items()}
    figures = surface_metrics.figures(truth, shifted, _everywhere(truth))
    assert all(row["bias"] == pytest.approx(shift, abs=1e-5) for row in figures["bands"].values())
    assert all(row["rmse"] == pytest.approx(abs(shift), abs=1e-4) for row in figures["bands"].values())
    scaled = {grid: (plane * np.float32(gain)).astype(np.float32) for grid, plane in truth.items()}
    figures = surface_metrics.figures(truth, scaled, _everywhere(truth))
    assert all(row["ratio_median"] == pytest.approx(gain, rel=1e-3) for row in figures["bands"].values())
    assert figures["sam_deg"] == pytest.approx(0, abs=0.05)
    assert figures["ndvi_error"] == pytest.approx(0, abs=1e-3)


def test_blurring_loses_detail() -> None:
    truth = _reference()
    blurred = truth[Grid.R10M][0].copy()
    blurred[1:-1, 1:-1] = sum(
        truth[Grid.R10M][0][1 + r : 95 + r, 1 + c : 95 + c] for r in (-1, 0, 1) for c in (-1, 0, 1)
    ) / np.float32(9)
    assert (
        surface_metrics.image_figures(truth[Grid.R10M][0], blurred, np.ones((96, 96), bool))["detail_kept"]
        < 0.3
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two labelled patches of odd sizes, bands on either axis, one with a border of no data."""
    rng = np.random.default_rng(2)
    for number, (rows, cols) in enumerate([(101, 77), (64, 130)]):
        stack = rng.integers(300, 2500, (13, rows, cols)).astype(np.uint16)
        stack[:, : 10 * number] = 0
        if number:
            stack = np.moveaxis(stack, 0, -1)
        tifffile.imwrite(tmp_path / f"place{number}_p1_l1c.tif", stack, photometric="minisblack")
        label = rng.choice(np.uint8([0, 1, 2, 3, 255]), (rows, cols))
        tifffile.imwrite(tmp_path / f"place{number}_p1_label.tif", label)
    return tmp_path


def test_any_folder_with_the_stated_names_is_scored(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scene", "--images", str(images), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    ours = figures["Skysift INT8"]
    assert set(ours["groups"]) == {"place0", "place1"}
    assert set(ours["patches"]) == {"place0_p1", "place1_p1"}
    assert np.sum(ours["confusion"]) == np.sum(list(ours["patch_confusion"].values())) > 0
    assert figures["all cloudy"]["pooled"]["contaminated"]["false_alarms"] == 1.0


def test_every_pixel_is_of_one_kind_of_ground_and_snow_is_snow() -> None:
    rng = np.random.default_rng(1)
    stack = rng.uniform(0, 1, (13, 40, 50)).astype(np.float32)
    planes = dict(zip(FILE_BANDS, stack, strict=True))
    spectra = {  # B02, B03, B08, B11
        "snow": (0.6, 0.5, 0.6, 0.1),
        "bright": (0.4, 0.4, 0.4, 0.35),
        "glint": (0.12, 0.10, 0.06, 0.04),
        "other": (0.08, 0.08, 0.3, 0.2),
    }
    for col, values in enumerate(spectra.values()):
        for band, value in zip((Band.B02, Band.B03, Band.B08, Band.B11), values, strict=True):
            planes[band][0, col] = value
    kinds = clear_run.kinds_of(planes)
    assert (sum(mask.astype(int) for mask in kinds.values()) == 1).all()
    for col, name in enumerate(spectra):
        assert kinds[name][0, col], name


def test_clear_ground_called_cloud_is_counted_by_kind(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["clear", "--images", str(images), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    clear = {}
    for stem in ("place0_p1", "place1_p1"):
        label = tifffile.imread(images / f"{stem}_label.tif")
        label[: 10 * int(stem[5])] = 255  # no data
        clear[stem] = int((label == 0).sum())
        assert sum(row["pixels"] for row in found[stem].values()) == clear[stem]
    pooled = found["all images"].values()
    assert sum(row["pixels"] for row in pooled) == sum(clear.values())
    assert all(0 <= row["cloud"] + row["shadow"] <= row["pixels"] for row in pooled)
    rival = found["B02 > 0.2: all images"]
    assert (rival["bright"]["cloud"], rival["other"]["cloud"]) == (rival["bright"]["pixels"], 0)
    assert {kind: row["pixels"] for kind, row in rival.items()} == {
        kind: row["pixels"] for kind, row in found["all images"].items()
    }
    assert main(["clear", "--images", str(images), "--all-clear"]) == 0
    assert "all images" in capsys.readouterr().out


def test_what_is_near_cloud_is_summed_by_itself() -> None:
    def judged(stem: str, near: int, far: int) -> dict[str, clear_run.Judged]:
        return {
            name: clear_run.Judged(
                stem,
                *({kind: clear_run.Called(px, cloud, 0) for kind in clear_run.KINDS} for px in (near, far)),
            )
            for name, cloud in ((OURS, 1), ("rival", 5))
        }

    rows = clear_run.table_of([judged("a", 10, 100), judged("b", 20, 200)])
    pooled = ["within 100 m of cloud", "farther", "all images"]
    assert list(rows) == ["a", "b", *pooled, *(f"rival: {name}" for name in pooled)]
    sums = {name: called["bright"] for name, called in rows.items()}
    assert sums["b"] == clear_run.Called(220, 2, 0)
    assert sums["within 100 m of cloud"] == clear_run.Called(30, 2, 0)
    assert sums["farther"] == clear_run.Called(300, 2, 0)
    assert sums["all images"] == clear_run.Called(330, 4, 0)
    assert sums["rival: farther"] == clear_run.Called(300, 10, 0)
    alone = list(clear_run.table_of([judged("clear", 0, 5)]))
    assert alone == ["clear", "all images", "rival: all images"], "not twice the same"


def test_near_cloud_ends_at_100_metres() -> None:
    cloud = np.zeros((40, 50), np.bool_)
    cloud[20, 25] = True
    near = clear_run.near(cloud)
    assert near[20, 15]
    assert not near[20, 14]
    assert near[26, 33]
    assert not near[28, 33]
    assert not clear_run.near(np.zeros((3, 3), np.bool_)).any()


def test_missing_bands_and_sigma_as_a_cloud_mask_are_scored(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bands", "--images", str(images), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"nothing", "B02", "B10", "all but probav"} <= set(found)
    assert all(0 <= row["contaminated"]["f1"] <= 1 for row in found.values())
    assert main(["confidence", "--images", str(images)]) == 0
    assert "area under the curve" in capsys.readouterr().out


def test_pairs_are_scored_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(4)
    top = np.kron(rng.uniform(0.1, 0.3, (13, 15, 20)), np.ones((6, 6)))
    tifffile.imwrite(tmp_path / "x_S2L1C.tif", (10000 * top).astype(np.uint16), photometric="minisblack")
    below = np.delete(top, 10, axis=0) * 1.1
    tifffile.imwrite(tmp_path / "x_S2L2A.tif", (10000 * below).astype(np.uint16), photometric="minisblack")
    assert main(["surface", "--pairs", str(tmp_path), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    rows = figures["pairs"]["x"]["all"]["no correction"]["bands"]
    assert rows["B04"]["ratio_median"] == pytest.approx(1 / 1.1, rel=1e-3)
    assert set(figures["mean_rmse"]["all"]) >= {"Skysift INT8", "no correction"}
    page = tmp_path / "report.html"
    assert main(["report", "--pairs", str(tmp_path), "--out", str(page)]) == 0
    text = page.read_text()
    assert "data:image/png;base64," in text
    referred = re.findall(r"(?:src|href)=\W?([^\s>]{0,5})|(?:url\(|@import|<script|<link)", text)
    assert set(referred) == {"data:"}, "opens without a server"


def test_measured_places_are_set_beside_what_we_make_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [band.value for band in FILE_BANDS]
    toa = ",".join(f"{0.1 + 0.01 * i:.3f}" for i in range(13))
    table = f"name,kind,{','.join(names)}\nplain,toa,{toa}\nplain,surface,{toa}\n"
    (tmp_path / "truth.csv").write_text(table)
    assert main(["surface", "--truth", str(tmp_path / "truth.csv"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["plain"]) == set(names) - {"B10"}


@pytest.mark.parametrize("command", [["scene", "--images"], ["surface", "--pairs"]])
def test_a_folder_without_pairs_of_files_is_refused_by_name(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "a_l1c.tif", np.zeros((8, 8), np.uint16))
    tifffile.imwrite(tmp_path / "a_S2L1C.tif", np.zeros((8, 8), np.uint16))
    assert main([*command, str(tmp_path)]) == 2
    assert "must lie beside it" in capsys.readouterr().err
