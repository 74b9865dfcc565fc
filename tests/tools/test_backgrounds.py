"""Real clear patches as ground, and the sheet that shows simulated beside real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from payload.types import BANDS_OF_GRID, Grid, Window
from tools import material
from tools.simulate import sheet
from tools.simulate.backgrounds import GUESSED_GEOMETRY, GUESSED_STATE, real_backgrounds, to_ground
from tools.simulate.bands import gas_transmittance, of_grid
from tools.simulate.lookup import air

SHARED = Path(__file__).resolve().parents[3] / "shared"
needs_material = pytest.mark.skipif(
    not (SHARED / "data" / "l1c" / "index.json").exists(), reason="needs the shared material"
)


def clear_patch() -> tuple[material.Patch, dict[Grid, np.ndarray]]:
    """A patch of known ground, seen through the air that the inversion assumes."""
    rng = np.random.default_rng(1)
    above = air(GUESSED_STATE, GUESSED_GEOMETRY)
    mass = 1 / GUESSED_GEOMETRY.cos_sun + 1 / GUESSED_GEOMETRY.cos_view
    gas = gas_transmittance(GUESSED_STATE.water_cm, GUESSED_STATE.ozone_cm_atm, 1.0, mass)
    grids, truth = {}, {}
    for grid, bands in BANDS_OF_GRID.items():
        rho = rng.uniform(0.02, 0.5, (len(bands), 60 // grid, 60 // grid)).astype(np.float32)
        path, through, sphere = (
            values[of_grid(grid)][:, None, None]
            for values in (above.path * gas, above.down * above.up * gas, above.sphere)
        )
        truth[grid], grids[grid] = rho, path + through * rho / (1 - sphere * rho)
    return material.Patch("made", "made", grids, None), truth


def test_a_clear_patch_is_inverted_to_its_ground() -> None:
    patch, truth = clear_patch()
    ground = to_ground(patch)
    for grid in (Grid.R10M, Grid.R20M):
        np.testing.assert_allclose(ground.grids[grid], truth[grid], atol=1e-4)
    np.testing.assert_allclose(ground.grids[Grid.R60M][0], truth[Grid.R60M][0], atol=1e-4)


def test_ground_goes_on_as_its_mirror_image_and_turns() -> None:
    ground = to_ground(clear_patch()[0])
    wide = ground.native(Window(-12, -12, 84, 84))
    for grid, planes in wide.items():
        margin = 12 // grid
        np.testing.assert_array_equal(planes[:, margin:-margin, margin:-margin], ground.grids[grid])
        np.testing.assert_array_equal(planes[:, margin - 1], planes[:, margin])
    turned = ground.turned(1, flip=True)
    for grid, planes in turned.grids.items():
        np.testing.assert_array_equal(np.rot90(planes[..., ::-1], -1, (1, 2)), ground.grids[grid])


@needs_material
def test_backgrounds_of_val_and_train_are_different_places() -> None:
    train, val = ({ground.name for ground in real_backgrounds(SHARED, split)} for split in ("train", "val"))
    assert train
    assert val
    assert not train & val


@needs_material
def test_the_sheet_shows_real_and_simulated_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "ROWS", 1)
    monkeypatch.setattr(sheet, "PAIRS_A_ROW", 1)
    picture = sheet.contact_sheet(SHARED, 1)
    assert picture.shape == (252, 4 * 252 + 24, 3)
    assert picture[:, :252].std() > 1
    assert picture[:, -504:-252].std() > 1
