"""Rules of `payload.core.value`."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.config import InterestConfig, JudgeConfig, ValueConfig
from payload.core.value import product_value, wants_surface
from payload.types import ProductKind, SceneStats

WEIGHTS = ValueConfig(10.0, 11.0, 20.0, 100.0, 60.0, 12.0, 30.0)
TILE_PX = 1000
ALL_ALIKE = InterestConfig("none", 1.0, 1.0, 1.0, 1.0, 1.0)
FULL = SceneStats(TILE_PX, 0, 1.0, 0.0, 0.0, 0.0, 1.0)
JUDGE = JudgeConfig(min_clear_ratio=0.02)

SURFACES = (ProductKind.SURFACE_10M, ProductKind.SURFACE_20M, ProductKind.SURFACE_60M)
ratios = st.floats(0, 1)
shares = st.lists(st.floats(0.001, 1), min_size=4, max_size=4).map(
    lambda parts: [part / sum(parts) for part in parts]
)
stats = st.builds(
    lambda valid, no_data, parts, sure: SceneStats(valid, no_data, *parts, sure),
    st.integers(0, TILE_PX),
    st.integers(0, TILE_PX),
    shares,
    ratios,
)


def value(
    kind: ProductKind, of: SceneStats, interest: InterestConfig = ALL_ALIKE, area_weight: float = 1.0
) -> float:
    return product_value(kind, of, WEIGHTS, TILE_PX, interest, area_weight)[0]


def test_a_tile_gets_a_surface_product_if_enough_of_its_valid_pixels_are_clear() -> None:
    assert wants_surface(FULL, JUDGE)
    assert wants_surface(replace(FULL, clear_ratio=0.02), JUDGE)
    assert not wants_surface(replace(FULL, clear_ratio=0.0199), JUDGE)
    few_but_clear = replace(FULL, valid_px=1, no_data_px=TILE_PX - 1)
    assert wants_surface(few_but_clear, JUDGE)


def test_a_tile_without_a_valid_pixel_gets_none_whatever_the_configuration() -> None:
    assert not wants_surface(SceneStats(0, 9, 0.0, 0.0, 0.0, 0.0, 0.0), JudgeConfig(min_clear_ratio=0.0))


@pytest.mark.parametrize("kind", list(ProductKind))
def test_a_product_of_a_full_clear_and_sure_tile_is_worth_its_weight(kind: ProductKind) -> None:
    assert value(kind, FULL) == getattr(WEIGHTS, kind.value)


def test_every_kind_has_its_weight_in_the_configuration() -> None:
    assert {field.name for field in fields(ValueConfig)} == {kind.value for kind in ProductKind}


@given(stats)
def test_statistics_are_always_worth_their_full_weight(of: SceneStats) -> None:
    assert value(ProductKind.STATISTICS, of) == WEIGHTS.statistics


@given(stats)
def test_a_quicklook_and_a_raw_tile_are_worth_their_weight_by_what_is_valid(of: SceneStats) -> None:
    share = of.valid_px / TILE_PX
    assert value(ProductKind.QUICKLOOK, of) == pytest.approx(WEIGHTS.quicklook * share)
    assert value(ProductKind.RAW, of) == WEIGHTS.raw * share


@given(stats)
def test_a_class_map_also_by_how_sure_the_network_is_and_surface_by_what_is_clear(of: SceneStats) -> None:
    share, sure = of.valid_px / TILE_PX, of.mean_confidence_ratio
    assert value(ProductKind.CLASSES, of) == pytest.approx(WEIGHTS.classes * share * sure)
    expected = WEIGHTS.surface_20m * share * of.clear_ratio * sure
    assert value(ProductKind.SURFACE_20M, of) == pytest.approx(expected)


@given(stats, st.sampled_from(SURFACES), st.sampled_from(["clear_ratio", "mean_confidence_ratio"]), ratios)
def test_more_clear_or_surer_is_never_worth_less(
    of: SceneStats, kind: ProductKind, name: str, more: float
) -> None:
    better = replace(of, **{name: max(getattr(of, name), more)})
    assert value(kind, better) >= value(kind, of)


interests = st.builds(InterestConfig, st.just("none"), st.just(1.0), ratios, ratios, ratios, ratios)


@given(stats, interests)
def test_a_class_map_and_a_quick_look_are_worth_what_the_classes_in_them_are(
    of: SceneStats, interest: InterestConfig
) -> None:
    share = (
        of.clear_ratio * interest.clear
        + of.thick_cloud_ratio * interest.thick_cloud
        + of.thin_cloud_ratio * interest.thin_cloud
        + of.cloud_shadow_ratio * interest.cloud_shadow
    )
    for kind in (ProductKind.CLASSES, ProductKind.QUICKLOOK):
        assert value(kind, of, interest) == pytest.approx(value(kind, of) * share, abs=1e-9)
    for kind in (*SURFACES, ProductKind.RAW, ProductKind.STATISTICS):
        assert value(kind, of, interest) == value(kind, of)


@given(stats, st.floats(0, 50), st.sampled_from(list(ProductKind)))
def test_all_but_statistics_are_worth_the_weight_of_their_area(
    of: SceneStats, weight: float, kind: ProductKind
) -> None:
    factor = 1.0 if kind is ProductKind.STATISTICS else weight
    assert value(kind, of, area_weight=weight) == pytest.approx(factor * value(kind, of))


@given(stats, st.sampled_from(list(ProductKind)))
def test_no_value_is_above_its_weight_times_the_areas_or_below_0(of: SceneStats, kind: ProductKind) -> None:
    assert 0 <= value(kind, of) <= getattr(WEIGHTS, kind.value)
    assert value(kind, of, area_weight=2.5) <= 2.5 * getattr(WEIGHTS, kind.value)


def test_the_reason_shows_the_whole_sum() -> None:
    of = SceneStats(500, 500, 0.8, 0.2, 0.0, 0.0, 0.9)
    worth, reason = product_value(ProductKind.SURFACE_10M, of, WEIGHTS, TILE_PX, ALL_ALIKE, 1.5)
    assert worth == pytest.approx(54.0)
    assert reason == "surface_10m: valid 0.500 x clear 0.800 x sure 0.900 x area 1.500 x weight 100 = 54"
    always = product_value(ProductKind.STATISTICS, of, WEIGHTS, TILE_PX, ALL_ALIKE, 1.5)
    assert always == (10.0, "statistics: always 10")
