"""Is a tile worth atmospheric correction, and what is a product worth to the ground?

Rules:
1. A tile gets a surface product if any pixel is valid and enough of the valid ones are clear.
2. A product of a full, clear tile of which the network is sure is worth its weight, in points.
3. Statistics are always worth their full weight: they say why nothing else came.
4. A quick-look and a raw tile are worth their weight by what is valid of a full tile.
5. A class map also by how sure the network is; surface reflectance also by what is clear.
6. A class map and a quick-look also by the interest in the classes that they show.
7. All but statistics also by the weight of the area (`core.areas`): so surface reflectance is
   worth the clear land in the areas of interest.
8. No value is above its weight times that of the area, or below 0, and the reason shows the
   whole sum.

A value belongs to a product whatever its size; the queue orders by value per byte.
"""

from __future__ import annotations

from payload.config import InterestConfig, JudgeConfig, ValueConfig
from payload.types import ProductKind, SceneStats

_BY_CONFIDENCE = {
    ProductKind.CLASSES,
    ProductKind.SURFACE_10M,
    ProductKind.SURFACE_20M,
    ProductKind.SURFACE_60M,
}
_BY_CLASS = {ProductKind.CLASSES, ProductKind.QUICKLOOK}
_BY_CLEAR = {ProductKind.SURFACE_10M, ProductKind.SURFACE_20M, ProductKind.SURFACE_60M}


def wants_surface(stats: SceneStats, judge: JudgeConfig) -> bool:
    """Is the tile worth atmospheric correction?"""
    return stats.valid_px > 0 and stats.clear_ratio >= judge.min_clear_ratio


def product_value(
    kind: ProductKind,
    stats: SceneStats,
    weights: ValueConfig,
    tile_px: int,
    interest: InterestConfig,
    area_weight: float,
) -> tuple[float, str]:
    """What a product is worth in points, and the sum behind it for a person.

    Args:
        stats: of the tile that the product was made of.
        tile_px: pixels of a full tile's inner; a tile cut short by the strip's end is worth less.
        area_weight: of the tile, at least 0.
    """
    weight = _weight(kind, weights)
    if kind is ProductKind.STATISTICS:
        return weight, f"statistics: always {weight:g}"
    factors = [("valid", stats.valid_px / tile_px)]
    if kind in _BY_CLEAR:
        factors.append(("clear", stats.clear_ratio))
    if kind in _BY_CONFIDENCE:
        factors.append(("sure", stats.mean_confidence_ratio))
    if kind in _BY_CLASS:
        factors.append(("interest", _interest(stats, interest)))
    worth = weight * area_weight
    for _, factor in factors:
        worth *= min(max(factor, 0.0), 1.0)
    factors.append(("area", area_weight))
    terms = " x ".join(f"{name} {factor:.3f}" for name, factor in factors)
    return worth, f"{kind.value}: {terms} x weight {weight:g} = {worth:.4g}"


def _interest(stats: SceneStats, interest: InterestConfig) -> float:
    return (
        stats.clear_ratio * interest.clear
        + stats.thick_cloud_ratio * interest.thick_cloud
        + stats.thin_cloud_ratio * interest.thin_cloud
        + stats.cloud_shadow_ratio * interest.cloud_shadow
    )


def _weight(kind: ProductKind, weights: ValueConfig) -> float:
    return {
        ProductKind.STATISTICS: weights.statistics,
        ProductKind.QUICKLOOK: weights.quicklook,
        ProductKind.CLASSES: weights.classes,
        ProductKind.SURFACE_10M: weights.surface_10m,
        ProductKind.SURFACE_20M: weights.surface_20m,
        ProductKind.SURFACE_60M: weights.surface_60m,
        ProductKind.RAW: weights.raw,
    }[kind]
