"""The gate of B09: over snow it is as measured, elsewhere the scene network cannot see it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from payload.bands import plane_of  # noqa: E402
from payload.types import BANDS_OF_GRID, U8, Band, Grid  # noqa: E402
from tools.networks.scene_network import SceneNetwork, build_scene_network  # noqa: E402
from tools.networks.vapour_gate import LIKELY  # noqa: E402

SIZE_PX = 96
SNOW = {Band.B05: 150, Band.B8A: 150, Band.B11: 50}
CLOUD = {Band.B05: 150, Band.B8A: 150, Band.B11: 130}


def _codes(seed: int, beside: dict[Band, int]) -> dict[Grid, U8]:
    """A window of noise in which some bands have the codes of ``beside``."""
    rng = np.random.default_rng(seed)
    codes = {
        grid: rng.integers(1, 256, (len(bands), SIZE_PX // grid, SIZE_PX // grid)).astype(np.uint8)
        for grid, bands in BANDS_OF_GRID.items()
    }
    for band, code in beside.items():
        plane_of(codes, band)[...] = code
    return codes


def _tensors(codes: dict[Grid, U8]) -> list[torch.Tensor]:
    return [torch.from_numpy(codes[grid][None]).float() for grid in Grid]


def _gated() -> SceneNetwork:
    network = build_scene_network((8, 8, 8), 5)
    network.gate_vapour()
    return network.eval()


def _logits(network: SceneNetwork, codes: dict[Grid, U8]) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(network(*_tensors(codes)))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), vapour=st.integers(0, 255))
def test_where_there_is_no_snow_b09_changes_nothing(seed: int, vapour: int) -> None:
    network, codes = _gated(), _codes(seed, CLOUD)
    before = _logits(network, codes)
    plane_of(codes, Band.B09)[...] = vapour
    np.testing.assert_allclose(_logits(network, codes), before, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_over_snow_the_network_is_as_without_a_gate(seed: int) -> None:
    codes = _codes(seed, SNOW)
    ungated = build_scene_network((8, 8, 8), 5).eval()
    np.testing.assert_allclose(_logits(_gated(), codes), _logits(ungated, codes), atol=1e-4)
    other = {grid: plane.copy() for grid, plane in codes.items()}
    plane_of(other, Band.B09)[...] //= 2
    assert np.abs(_logits(_gated(), other) - _logits(_gated(), codes)).max() > 1e-3, "and B09 counts"


def test_elsewhere_b09_is_what_b8a_says_and_no_other_band_is_touched() -> None:
    codes = _codes(3, CLOUD)
    gate = _gated().vapour_gate
    assert gate is not None
    beside = torch.tensor([150.0, 150.0, 130.0])[None, :, None, None].expand(1, 3, 16, 16)
    b60 = torch.from_numpy(codes[Grid.R60M][None]).float()
    b01, b09, b10 = gate(beside, b60)[0]
    assert torch.equal(b01, b60[0, 0])
    assert torch.equal(b10, b60[0, 2])
    torch.testing.assert_close(b09, torch.full_like(b09, LIKELY * 150))


def test_where_there_is_no_data_there_is_none_behind_the_gate() -> None:
    gate = _gated().vapour_gate
    assert gate is not None
    nothing = torch.zeros(1, 3, 4, 4)
    assert not gate(nothing, nothing).any()
