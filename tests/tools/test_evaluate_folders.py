"""A folder is scored as what lies in it: every image once, every label as it is, oddities said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

pytest.importorskip("openvino")
pytest.importorskip("scipy", reason="evaluation needs the extra 'test' or 'rivals'")

from payload.types import Band
from tools.evaluate import clear_run, folders
from tools.evaluate.__main__ import main
from tools.material import FILE_BANDS

RNG = np.random.default_rng(6)
SHAPE = (48, 60)


def image(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(20, 3000, (13, 8, 10))
    return coarse.repeat(6, axis=1).repeat(6, axis=2).astype(np.uint16)


def put(folder: Path, stem: str, stack: np.ndarray, label: np.ndarray | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / f"{stem}_l1c.tif", stack, photometric="minisblack")
    if label is not None:
        tifffile.imwrite(folder / f"{stem}_label.tif", label)


def labels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.uint8([0, 1, 2, 3, 255]), SHAPE)


def figures_of(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_images_of_one_name_in_two_folders_are_both_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, place in enumerate(("a", "b")):
        put(tmp_path / place, "x_p1", image(number), labels(number))
    put(tmp_path, "y_p1", image(2), labels(2))
    (tmp_path / "a" / "labels.jsonl").write_text('{"stem": "x_p1", "group": "here"}\n')
    (tmp_path / "labels.jsonl").write_text(
        '{"stem": "x_p1", "group": "there"}\n{"stem": "y_p1", "group": 7}\n'
    )
    found = figures_of(capsys, "scene", "--images", str(tmp_path))["Skysift INT8"]
    assert set(found["patches"]) == {"a/x_p1", "b/x_p1", "y_p1"}
    assert set(found["groups"]) == {"here", "there", "7"}
    assert np.sum(found["confusion"]) == sum((labels(number) != 255).sum() for number in range(3))
    found = figures_of(capsys, "clear", "--images", str(tmp_path))
    assert {"a/x_p1", "b/x_p1", "y_p1"} <= set(found)
    tifffile.imwrite(tmp_path / "y_p1_S2L1C.tif", image(3), photometric="minisblack")
    stems = [entry.stem for entry in clear_run.entries_of(tmp_path, is_clear=True)]
    assert sorted(stems) == ["a/x_p1", "b/x_p1", "y_p1_S2L1C.tif", "y_p1_l1c.tif"]


def test_pairs_of_one_name_in_two_folders_are_both_scored(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        for ending in folders.PAIRED:
            (tmp_path / place / f"x{ending}").touch()
    assert [entry.stem for entry in folders.pair_entries(tmp_path)] == ["a/x", "b/x"]


@pytest.mark.parametrize(
    ("kind", "odd"), [("uint16", 256), ("int16", -1), ("float32", np.nan), ("uint8", 7), ("float32", 0.5)]
)
def test_a_label_that_is_no_class_is_not_sure(tmp_path: Path, kind: str, odd: float) -> None:
    label = labels().astype(kind)
    label[:9] = odd
    tifffile.imwrite(tmp_path / "label.tif", label)
    found = folders.read_label(tmp_path / "label.tif", SHAPE)
    assert (found[:9] == 255).all()
    assert np.array_equal(found[9:], labels()[9:])


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1)])
def test_a_label_of_one_row_or_column_fits_its_image(tmp_path: Path, shape: tuple[int, int]) -> None:
    label = np.ones(shape, np.uint8)
    for number, layout in enumerate((label, label[None], label[..., None])):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, layout)
        assert np.array_equal(folders.read_label(path, shape), label)


@pytest.mark.parametrize("fill", [0, -9999, np.nan])
def test_nobody_is_judged_where_nothing_was_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fill: float
) -> None:
    stack = image().astype(np.float32 if np.isnan(fill) else np.int16)
    stack[:, :, :20] = fill
    label = labels()
    put(tmp_path, "x_p1", stack, label)
    for method in figures_of(capsys, "scene", "--images", str(tmp_path)).values():
        assert np.sum(method["confusion"]) == (label[:, 20:] != 255).sum()


def test_an_offset_that_is_not_expected_is_told_and_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for change, word in ((1000, "offset of 1000"), (0, None), (-900, "taken off")):
        path = tmp_path / "x_l1c.tif"
        tifffile.imwrite(path, (image() + np.int32(change)).astype(np.int32), photometric="minisblack")
        planes = folders.read_stack(path, FILE_BANDS)
        said = capsys.readouterr().err
        assert np.allclose(planes[Band.B04], (image()[3] + np.int32(change)) / 1e4)
        assert not said if word is None else str(path) in said and word in said


def test_a_band_that_holds_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = image()
    stack[9], stack[11, :10], stack[12] = 0, 0, 100
    tifffile.imwrite(tmp_path / "x_l1c.tif", stack, photometric="minisblack")
    folders.read_stack(tmp_path / "x_l1c.tif", FILE_BANDS)
    said = capsys.readouterr().err
    assert "nothing in B09:" in said
    assert "read as dark: B11 (21%)" in said


def test_a_label_without_an_image_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "x_p1", image(), labels())
    tifffile.imwrite(tmp_path / "y_p1_label.tif", labels())
    assert main(["clear", "--images", str(tmp_path)]) == 0
    assert f"1 <stem>_label.tif without <stem>_l1c.tif not scored, as {tmp_path}/y" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ['{"stem": "x_p1"', '{"file": "x_p1"}', '["x_p1"]', '{"stem": "x", "group": []}']
)
def test_a_broken_index_of_labels_is_refused_by_name_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    put(tmp_path, "x_p1", image(), labels())
    (tmp_path / "labels.jsonl").write_text(f"\n{line}\n")
    assert main(["scene", "--images", str(tmp_path)]) == 2
    assert "labels.jsonl: line 2" in capsys.readouterr().err


def test_a_damaged_image_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "x_p1", image(), labels())
    for name in ("x_p1_label.tif", "x_p1_l1c.tif"):
        path = tmp_path / name
        tifffile.imwrite(path, tifffile.imread(path), compression="zlib", photometric="minisblack")
        content = bytearray(path.read_bytes())
        content[-60:-10] = bytes(50)
        path.write_bytes(content)
        assert main(["scene", "--images", str(tmp_path)]) == 2
        assert f"{path}: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["scene", "bands", "clear", "report"])
def test_places_that_were_trained_on_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    trained = json.loads(Path("models/scene_s2_v7/manifest.json").read_text())["training"]
    (tmp_path / "labels.jsonl").write_text('{"stem": "x_p1", "group": "LAHINCH"}\n')
    assert "LAHINCH" in trained["cross_validation"]["folds"]
    put(tmp_path, "x_p1", image(), labels())
    page = tmp_path / "page.html"
    out = ["--out", str(page)] if command == "report" else []
    assert main([command, "--images", str(tmp_path), *out]) == 0
    wanted = "1 of 1 images show places that models/scene_s2_v7 was trained on"
    assert wanted in capsys.readouterr().err
    assert command != "report" or wanted in page.read_text()
