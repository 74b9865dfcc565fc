"""The model folders that fly: what the manifest says is true of the files beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray

from payload.core.probe import reflectance_errors_dn
from payload.core.radiometry import FULL_SCALE_REFLECTANCE
from payload.drivers.network import GEOMETRY, GRID_OF_INPUT
from payload.types import BANDS_OF_GRID, U8, Grid, Task
from tools.networks.model_folder import FOLDER_OF_TASK, HALO_PX, PHASE_PX
from tools.networks.runtime import Runner
from tools.parity import OpenVinoReader

MODELS = Path(__file__).resolve().parents[2] / "models"
MAX_FOLDER_BYTES = 6_000_000
MAX_BYTES = 15_000_000
"""Of one model with every target's files, and of all models together."""
CELL_PX = 24
INT8_FILE = "openvino_int8.xml"

# What the Myriad X compiler is known to accept (shared/facts/engines.md, section 1), and what
# ONNX needs to write a nearest Resize and constants.
ACCEPTED_OPERATORS = {
    *("Conv", "ConvTranspose", "Relu", "Add", "Sub", "Mul", "Sigmoid", "Concat", "Resize"),
    *("DepthToSpace", "AveragePool", "MaxPool", "Softmax", "Constant", "Identity", "Div", "Log"),
}

STRIP_ROWS_PX, STRIP_COLS_PX = 288, 384
INNER_ROWS_PX, INNER_COLS_PX = 96, 192


def _manifest(task: Task) -> dict[str, Any]:
    text = (MODELS / FOLDER_OF_TASK[task] / "manifest.json").read_text()
    return dict(json.loads(text))


def _runner(task: Task) -> Runner:
    return Runner(MODELS / FOLDER_OF_TASK[task] / _manifest(task)["artifacts"][0]["files"][0]["path"])


def _strip(seed: int) -> dict[Grid, U8]:
    """Codes with blobs and noise, and a corner without data, inside a margin of code 0."""
    rng = np.random.default_rng(seed)
    codes = {}
    for grid, bands in BANDS_OF_GRID.items():
        rows, cols = STRIP_ROWS_PX // grid, STRIP_COLS_PX // grid
        coarse = rng.integers(1, 256, (len(bands), rows // 8 + 1, cols // 8 + 1)).astype(np.float32)
        blobs = np.kron(coarse, np.ones((8, 8), np.float32))[:, :rows, :cols]
        noise = rng.integers(-20, 20, blobs.shape)
        plane = np.clip(blobs + noise, 1, 255).astype(np.uint8)
        plane[:, : 60 // grid, : 120 // grid] = 0
        margin = HALO_PX // grid
        codes[grid] = np.pad(plane, ((0, 0), (margin, margin), (margin, margin)))
    return codes


def _cut(codes: dict[Grid, U8], row: int, col: int, rows: int, cols: int) -> dict[Grid, U8]:
    return {
        grid: plane[:, row // grid : (row + rows) // grid, col // grid : (col + cols) // grid]
        for grid, plane in codes.items()
    }


def _tiles(runner: Runner, codes: dict[Grid, U8]) -> list[tuple[int, int, NDArray[np.generic]]]:
    """(row, col, answer) of every window, row and col being those of the window in the big one."""
    window = (INNER_ROWS_PX + 2 * HALO_PX, INNER_COLS_PX + 2 * HALO_PX)
    return [
        (row, col, runner(_cut(codes, row, col, *window)))
        for row in range(0, STRIP_ROWS_PX, INNER_ROWS_PX)
        for col in range(0, STRIP_COLS_PX, INNER_COLS_PX)
    ]


@pytest.mark.parametrize("task", list(Task))
def test_every_file_is_the_one_that_the_manifest_names(task: Task) -> None:
    folder = MODELS / FOLDER_OF_TASK[task]
    for artifact in _manifest(task)["artifacts"]:
        for entry in artifact["files"]:
            content = (folder / entry["path"]).read_bytes()
            assert len(content) == entry["size_bytes"]
            assert hashlib.sha256(content).hexdigest() == entry["sha256"]


@pytest.mark.parametrize("task", list(Task))
def test_the_manifest_speaks_of_the_bands_codes_and_sizes_that_flight_uses(task: Task) -> None:
    manifest = _manifest(task)
    assert manifest["task"] == task.value
    assert manifest["codes"] == {"law": "sqrt", "full_scale_reflectance": FULL_SCALE_REFLECTANCE}
    expected = {str(10 * grid): [band.value for band in bands] for grid, bands in BANDS_OF_GRID.items()}
    assert manifest["bands"] == expected
    assert (manifest["halo_px"], manifest["phase_px"]) == (HALO_PX, PHASE_PX)
    assert manifest.get("cell_px") == (CELL_PX if task is Task.SURFACE else None)
    artifact = manifest["artifacts"][0]
    assert 0 < artifact["host_fixed_bytes"] < 200_000_000
    assert 0 < artifact["host_bytes_per_window_px"] < 1000


@pytest.mark.parametrize("task", list(Task))
def test_a_model_folder_is_small_and_has_a_card(task: Task) -> None:
    folder = MODELS / FOLDER_OF_TASK[task]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_FOLDER_BYTES
    assert (folder / "card.md").read_text().startswith("# ")
    assert sum(path.stat().st_size for path in MODELS.glob("*/*")) <= MAX_BYTES


@pytest.mark.parametrize("task", list(Task))
def test_a_card_shows_where_its_network_fails(task: Task) -> None:
    folder = MODELS / FOLDER_OF_TASK[task]
    card, failures = (folder / "card.md").read_text(), _manifest(task)["training"]["failures"]
    assert "](failures.png)" in card
    assert all(one["scene"] in card for one in failures)
    picture = imagecodecs.imread(folder / "failures.png")
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100, "there is something to see"


def test_the_places_of_the_card_are_all_that_was_judged() -> None:
    crossed = _manifest(Task.SCENE)["training"]["cross_validation"]
    places = crossed["places_int8"]
    assert places.keys() == set(crossed["folds"])
    assert np.array_equal(np.sum(list(places.values()), axis=0), crossed["confusion_int8"])


@pytest.mark.parametrize("task", list(Task))
def test_the_float_network_has_only_operators_that_a_myriad_compiler_accepts(task: Task) -> None:
    onnx = pytest.importorskip("onnx", reason="reading ONNX needs the extra 'train'")
    graph = onnx.load(str(MODELS / FOLDER_OF_TASK[task] / "fp32.onnx"))
    assert {node.op_type for node in graph.graph.node} <= ACCEPTED_OPERATORS
    assert graph.opset_import[0].version == 13


def test_the_scene_of_tiles_is_the_scene_of_the_whole_bit_for_bit() -> None:
    codes = _strip(1)
    whole = _runner(Task.SCENE)(codes)
    for row, col, answer in _tiles(_runner(Task.SCENE), codes):
        inner = (
            slice(None),
            slice(HALO_PX, HALO_PX + INNER_ROWS_PX),
            slice(HALO_PX, HALO_PX + INNER_COLS_PX),
        )
        place = (
            slice(None),
            slice(row + HALO_PX, row + HALO_PX + INNER_ROWS_PX),
            slice(col + HALO_PX, col + HALO_PX + INNER_COLS_PX),
        )
        assert np.array_equal(answer[inner], whole[place])


def test_the_atmosphere_of_tiles_is_that_of_the_whole_where_the_inner_reads_it() -> None:
    """The inner's own cells and one around them, which the interpolation needs."""
    codes = _strip(2)
    whole = _runner(Task.SURFACE)(codes)
    first = HALO_PX // CELL_PX - 1
    rows, cols = INNER_ROWS_PX // CELL_PX + 2, INNER_COLS_PX // CELL_PX + 2
    for row, col, answer in _tiles(_runner(Task.SURFACE), codes):
        top, left = row // CELL_PX + first, col // CELL_PX + first
        expected = whole[:, top : top + rows, left : left + cols]
        assert np.array_equal(answer[:, first : first + rows, first : first + cols], expected)


@pytest.mark.parametrize(("rows", "cols"), [(48, 48), (192, 240), (384, 1056)])
def test_any_window_that_is_a_multiple_of_48_is_answered(rows: int, cols: int) -> None:
    codes = {
        grid: np.full((len(bands), rows // grid, cols // grid), 90, np.uint8)
        for grid, bands in BANDS_OF_GRID.items()
    }
    classes = _runner(Task.SCENE)(codes)
    assert classes.dtype == np.uint8
    assert classes.shape == (4, rows, cols)
    ahead = classes.max(axis=0) > classes.min(axis=0)
    assert ahead.mean() > 0.99, "scores that tell classes apart"
    atmosphere = _runner(Task.SURFACE)(codes)
    assert atmosphere.dtype == np.float32
    assert atmosphere.shape == (48, rows // CELL_PX, cols // CELL_PX)


def test_the_atmosphere_is_physical() -> None:
    codes = _strip(3)
    path, transmittance, albedo, sigma = np.split(np.asarray(_runner(Task.SURFACE)(codes)), 4)
    assert path.min() >= 0
    assert path.max() < 0.6
    assert transmittance.min() > 0
    assert transmittance.max() <= 1
    assert albedo.min() >= 0
    assert albedo.max() <= 0.5
    assert sigma.min() > 0


def test_geometry_changes_the_atmosphere_and_the_same_input_gives_the_same_bits() -> None:
    codes = _strip(4)
    runner = _runner(Task.SURFACE)
    unknown, again = runner(codes), runner(codes)
    low_sun = runner(codes, np.float32([1, np.cos(np.radians(65)), 1, 0]))
    assert np.array_equal(unknown, again)
    assert not np.array_equal(unknown, low_sun)


def test_int8_moves_surface_reflectance_by_five_dn_at_most() -> None:
    """Block means that INT8 weights made 0.8 % too small once moved B09 by 55."""
    folder = MODELS / FOLDER_OF_TASK[Task.SURFACE]
    float32, int8 = (OpenVinoReader(ov.Core().read_model(folder / name)) for name in ("fp32.onnx", INT8_FILE))
    codes = {name: _strip(4)[grid][None].astype(np.float32) for name, grid in GRID_OF_INPUT.items()}
    feed = {**codes, GEOMETRY: np.zeros((1, 4, 1, 1), np.float32)}
    expected, answered = (reader.answer(feed) for reader in (float32, int8))
    shape = 4, -1, *expected.shape[1:]
    errors_dn = reflectance_errors_dn(expected.reshape(shape), answered.reshape(shape))
    assert errors_dn.max() <= 5, errors_dn
