"""DTACSNet's network as a peer: what it sees is what ours sees, and it is trained by its seed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from payload.types import BANDS_OF_GRID, Grid  # noqa: E402
from tools.evaluate.folders import FolderError  # noqa: E402
from tools.evaluate.rivals import make_dtacsnet  # noqa: E402
from tools.material import FILE_BANDS, Patch, encode  # noqa: E402
from tools.networks import dtacsnet_peer, scene_samples  # noqa: E402


def _patch(size: int = 96) -> Patch:
    rng = np.random.default_rng(4)
    grids = {
        grid: rng.uniform(0.02, 0.6, (len(bands), size // grid, size // grid)).astype(np.float32)
        for grid, bands in BANDS_OF_GRID.items()
    }
    return Patch("a", "p", grids, np.zeros((size, size), np.uint8))


def test_the_stack_holds_every_band_in_the_order_of_the_files() -> None:
    patch = _patch()
    codes = [torch.from_numpy(encode(patch.grids[grid])[None]).float() for grid in Grid]
    stack = dtacsnet_peer.stack_of(codes)[0].numpy()
    for grid, bands in BANDS_OF_GRID.items():
        for plane, band in zip(patch.grids[grid], bands, strict=True):
            wide = plane.repeat(grid, 0).repeat(grid, 1)
            assert np.allclose(stack[FILE_BANDS.index(band)], wide, atol=0.006), band


def test_it_is_trained_by_its_seed_and_answers_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("segmentation_models_pytorch") is None:
        pytest.skip("DTACSNet's network needs the extra 'bench'")
    monkeypatch.setattr(scene_samples, "FIRST_SAMPLES", 2)
    fields = np.zeros((48, 512, 512), np.float32)
    monkeypatch.setattr(scene_samples, "fractal_fields", lambda _: fields)
    recipe = replace(dtacsnet_peer.SECOND, steps=2, batch=2, fresh=1)
    grounds = scene_samples.Grounds([_patch(192)], [])
    first, second = (dtacsnet_peer.train_peer(grounds, recipe, "", None) for _ in range(2))
    again = second.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.state_dict().items())
    planes = {band: np.full((50, 70), 0.2, np.float32) for band in FILE_BANDS}
    classes = dtacsnet_peer.classify(first, planes)
    assert classes.shape == (50, 70)
    assert classes.max() <= 3


def test_a_folder_without_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"tools\.train peer"):
        make_dtacsnet(tmp_path)
