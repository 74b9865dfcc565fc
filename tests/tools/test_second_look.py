"""The second look: what moves between bands is cloud, what stands still may be a roof."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from payload.bands import plane_of  # noqa: E402
from payload.core.missing_bands import fill_codes  # noqa: E402
from payload.types import F32, Band, Grid, SceneClass  # noqa: E402
from tools import material  # noqa: E402
from tools.networks import second_look_fit  # noqa: E402
from tools.networks.scene_network import RECEPTIVE_PX, SceneNetwork, build_scene_network  # noqa: E402
from tools.networks.second_look import CHANNELS, FEATURES, STRENGTH, SecondLook  # noqa: E402
from tools.networks.second_look_fit import Evidence  # noqa: E402
from tools.networks.synthetic_clouds import fractal_fields  # noqa: E402

SIZE_PX = 288
FIELDS = fractal_fields(np.random.default_rng(7))


def _white(seed: int) -> F32:
    """Something bright with a pattern, (row, col), whose edges fit together."""
    field = FIELDS[seed % 16, :SIZE_PX, :SIZE_PX]
    field = np.concatenate([field[:, : SIZE_PX // 2], field[:, SIZE_PX // 2 - 1 :: -1]], axis=1)
    return (0.5 * np.exp(0.2 * field)).astype(np.float32)


def _blocks(far: F32, near: F32) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean codes of a scene that every band sees as ``near`` (row, col), but B08 as ``far``."""
    b10 = np.stack([near, near, near, far])
    b20 = material.average_blocks(np.stack([near] * 6), 2)
    codes = (torch.from_numpy(material.encode(plane)[None]).float() for plane in (b10, b20))
    fine, coarse = SceneNetwork().blocks(*codes)
    return fine, coarse


def _bright() -> list[torch.Tensor]:
    """Codes of 200 of every band, B08 with the grain that a measured band has."""
    codes = [torch.full((1, bands, 96 // p, 96 // p), 200.0) for bands, p in ((4, 1), (6, 2), (3, 6))]
    row, col = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    codes[0][0, 3] += (row + col) % 2
    return codes


def _trained(weight: list[float], bias: float) -> SecondLook:
    look = SecondLook()
    with torch.no_grad():
        look.weigh.weight.copy_(torch.tensor(weight).reshape(1, FEATURES, 1, 1))
        look.weigh.bias.fill_(bias)
    return look


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), moved_px=st.integers(2, 6))
def test_what_moves_between_bands_is_told_from_what_stands_still(seed: int, moved_px: int) -> None:
    near, look = _white(seed), SecondLook()
    stands, moves = (look.features(*_blocks(far, near)) for far in (near, np.roll(near, moved_px, 1)))
    assert moves[0, 0].mean() > stands[0, 0].mean() + 0.3, "B08 against B8A"
    assert torch.equal(moves[0, 1:], stands[0, 1:]), "nothing else moved"


def test_a_look_that_was_never_trained_doubts_nothing_and_changes_nothing() -> None:
    network, codes = build_scene_network((4, 4, 4), 3), _bright()
    with torch.no_grad():
        before = network(*codes)
        network.take(SecondLook())
        after = network(*codes)
    assert torch.allclose(before, after, atol=1e-5)


def test_doubt_takes_both_kinds_of_cloud_below_all_else() -> None:
    network, codes = build_scene_network((4, 4, 4), 3), _bright()
    with torch.no_grad():
        network.head.bias.reshape(4, -1)[SceneClass.THICK_CLOUD] += 5.0
        assert (network(*codes).argmax(1) == SceneClass.THICK_CLOUD).all()
        before = network(*codes)
        network.take(_trained([0.0] * FEATURES, 1.0))
        after = network(*codes)
    moved = (after - before)[0].flatten(1).mean(1)
    assert moved.tolist() == pytest.approx([0.0, -12.0, -12.0, 0.0], abs=1e-3)
    assert not (after.argmax(1) == SceneClass.THICK_CLOUD).any()


@pytest.mark.parametrize("missing", [[0], [3, 4], [6]])
def test_nothing_is_doubted_where_a_band_is_missing_or_it_is_dark(missing: list[int]) -> None:
    near, look = _white(3), _trained([0.0] * FEATURES, 1.0)
    fine, coarse = _blocks(near, near)
    assert look(fine, coarse).shape[1] == CHANNELS
    assert look(fine, coarse)[..., 2:-2, 2:-2].max() == STRENGTH
    assert look(fine * 0.3, coarse * 0.3).max() == 0, "dark"
    for code in (0, 1):
        parts = torch.cat([fine, coarse], 1)
        parts[:, missing] = code / len(missing)
        assert look(parts[:, :5], parts[:, 5:]).max() == 0, "missing"


def test_nothing_is_doubted_where_another_band_stands_in_for_b08() -> None:
    look, codes = _trained([0.0] * FEATURES, 1.0), _bright()
    assert look(*SceneNetwork().blocks(*codes[:2])).max() == STRENGTH
    planes = {grid: plane[0].numpy().astype(np.uint8) for grid, plane in zip(Grid, codes, strict=True)}
    rng = np.random.default_rng(0)
    plane_of(planes, Band.B07)[...] = rng.integers(150, 250, (48, 48))
    fill_codes(planes, [Band.B08])
    filled = (torch.from_numpy(planes[grid][None]).float() for grid in (Grid.R10M, Grid.R20M))
    assert look(*SceneNetwork().blocks(*filled)).max() == 0


def test_nothing_beyond_the_halo_matters_to_the_doubt_of_an_inner() -> None:
    look = _trained([1.0] * FEATURES, 0.0).double()
    blocks = torch.full((1, 7, 84, 84), 90.0, dtype=torch.float64)
    blocks += torch.rand(blocks.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    blocks.requires_grad_()
    inner = slice(30, 54)  # 120 px, as in every window that is cut
    look.features(blocks[:, :5], blocks[:, 5:])[0, :, 15:27, 15:27].sum().backward()
    touched = blocks.grad[0].abs().sum(0).nonzero()
    assert 4 * int(touched.min()) >= 4 * inner.start - RECEPTIVE_PX
    assert 4 * (int(touched.max()) + 1) <= 4 * inner.stop + RECEPTIVE_PX


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_fit_doubts_what_was_wrong_and_keeps_what_was_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wrong, right = (
        rng.normal([middle, 0, 0, 0, 0.5], 0.3, (400, FEATURES)).astype(np.float32) for middle in (0.0, 2.0)
    )
    look = second_look_fit.fit([Evidence(wrong, right, right[:0])])
    with torch.no_grad():
        doubted_wrong, doubted_right = (
            (look.weigh(torch.from_numpy(part.T.copy())[None, :, :, None]) > 0).float().mean().item()
            for part in (wrong, right)
        )
    assert doubted_right == pytest.approx(1 - second_look_fit.KEPT, abs=0.005)
    assert doubted_wrong > 0.5


def test_without_evidence_nothing_is_doubted() -> None:
    nothing = np.zeros((0, FEATURES), np.float32)
    look = second_look_fit.fit([Evidence(nothing, np.ones((5, FEATURES), np.float32), nothing)])
    assert look(*_blocks(_white(0), _white(0))).max() == 0
