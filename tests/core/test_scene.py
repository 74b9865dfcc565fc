"""Rules of `payload.core.scene`."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from payload.core.scene import LOGIT_RANGE, SCORE_MAX, classify, inner_scores, no_data_stats
from payload.types import SceneClass, TileGrid, Window


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_the_class_is_the_highest_score_and_of_equals_the_lowest_number(
    seed: int, rows: int, columns: int, top: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, top + 1, (4, rows, columns)).astype(np.uint8)
    valid = np.ones((rows, columns), dtype=bool)
    classes, _ = classify(scores, valid)
    np.testing.assert_array_equal(classes, scores.argmax(axis=0))


@given(st.integers(0, 2**32 - 1))
def test_a_pixel_that_lacks_a_band_is_no_data_and_ratios_are_of_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 256, (4, 20, 30)).astype(np.uint8)
    valid = rng.random((20, 30)) < 0.6
    classes, stats = classify(scores, valid)
    np.testing.assert_array_equal(classes == SceneClass.NO_DATA, ~valid)
    assert stats.valid_px == valid.sum()
    assert stats.no_data_px == (~valid).sum()
    assert np.isclose(stats.clear_ratio, (classes[valid] == 0).mean())
    assert np.isclose(stats.cloud_shadow_ratio, (classes[valid] == 3).mean())
    total = stats.clear_ratio + stats.thick_cloud_ratio + stats.thin_cloud_ratio + stats.cloud_shadow_ratio
    assert np.isclose(total, 1)
    logits = np.sort(scores.astype(float) * (2 * LOGIT_RANGE / SCORE_MAX), axis=0)
    sure = np.exp(logits[3]) / (np.exp(logits[3]) + np.exp(logits[2]))
    assert np.isclose(stats.mean_confidence_ratio, sure[valid].mean())


def test_a_tile_without_a_valid_pixel_has_ratios_of_0() -> None:
    _, stats = classify(np.full((4, 3, 5), 9, np.uint8), np.zeros((3, 5), bool))
    assert stats == no_data_stats(Window(0, 0, 3, 5))
    assert stats.no_data_px == 15


def test_the_inner_of_window_scores_leaves_the_halo_out() -> None:
    scores = np.arange(4 * 60 * 70, dtype=np.uint32).reshape(4, 60, 70).astype(np.uint8)
    inner = inner_scores(scores, TileGrid(48, 48, 6), Window(0, 0, 40, 30))
    np.testing.assert_array_equal(inner, scores[:, 6:46, 6:36])
