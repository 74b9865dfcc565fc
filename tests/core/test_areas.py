"""Rules of `payload.core.areas`, with PROJ as the judge of the projection."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.areas import AreaMap, _utm, parse_areas
from payload.errors import ConfigError
from payload.types import Georeference, SceneClass, Window

PLACE = Georeference(32632, 600_000.0, 5_300_040.0)
WINDOW = Window(0, 0, 96, 96)
CLEAR = np.zeros((96, 96), dtype=np.uint8)


def lonlat(easting_m: float, northing_m: float) -> list[float]:
    """Where a UTM 32N place lies, by PROJ."""
    warp = pytest.importorskip("rasterio.warp")
    (lon,), (lat,) = warp.transform("EPSG:32632", "EPSG:4326", [easting_m], [northing_m])
    return [lon, lat]


def square(row: int, col: int, side_px: int) -> list[list[float]]:
    """A ring round pixels of the strip at PLACE."""
    e, n = PLACE.easting_m + 10 * col, PLACE.northing_m - 10 * row
    s = 10 * side_px
    return [lonlat(*corner) for corner in ((e, n), (e + s, n), (e + s, n - s), (e, n - s), (e, n))]


def feature(weight: float, *rings: list[list[float]], kind: str = "Polygon") -> dict[str, Any]:
    coordinates = [list(rings)] if kind == "MultiPolygon" else list(rings)
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"weight": weight}, "geometry": geometry}


def areas(*features: dict[str, Any], elsewhere: float = 1.0) -> AreaMap:
    return parse_areas(
        json.dumps({"type": "FeatureCollection", "features": features}), "areas.json", elsewhere
    )


@given(st.integers(1, 60), st.booleans(), st.floats(-3.5, 3.5), st.floats(-80, 84))
def test_the_projection_is_that_of_proj(zone: int, is_south: bool, off_deg: float, latitude: float) -> None:
    warp = pytest.importorskip("rasterio.warp")
    longitude = 6 * zone - 183 + off_deg
    epsg = (32700 if is_south else 32600) + zone
    (easting,), (northing,) = warp.transform("EPSG:4326", f"EPSG:{epsg}", [longitude], [latitude])
    ours = _utm(np.array([[longitude, latitude]]), zone, is_south)[0]
    assert ours == pytest.approx([easting, northing], abs=0.005)


def test_a_tile_in_an_area_has_its_weight_and_one_outside_that_of_elsewhere() -> None:
    placed = areas(feature(5.0, square(0, 0, 96)), elsewhere=0.5).placed(PLACE)
    assert placed.weight(WINDOW, CLEAR) == 5.0
    assert placed.weight(Window(96, 0, 96, 96), CLEAR) == 0.5
    assert placed.weight(Window(48, 0, 96, 96), CLEAR) == pytest.approx(2.75, abs=0.1)


def test_where_areas_overlap_the_largest_weight_counts_and_holes_are_outside() -> None:
    outer, hole = square(0, 0, 96), square(24, 24, 48)
    assert areas(feature(2.0, outer), feature(5.0, outer)).placed(PLACE).weight(WINDOW, CLEAR) == 5.0
    with_hole = areas(feature(5.0, outer, hole, kind="MultiPolygon")).placed(PLACE)
    assert with_hole.weight(WINDOW, CLEAR) == pytest.approx(5.0 * 0.75 + 0.25, abs=0.1)


def test_a_tile_has_the_mean_weight_of_its_clear_pixels() -> None:
    placed = areas(feature(5.0, square(0, 0, 48))).placed(PLACE)  # the upper left quarter
    cloudy_there = CLEAR.copy()
    cloudy_there[:48, :48] = SceneClass.THICK_CLOUD
    clear_there = np.full_like(CLEAR, SceneClass.THICK_CLOUD)
    clear_there[:48, :48] = SceneClass.CLEAR
    assert placed.weight(WINDOW, cloudy_there) == 1.0
    assert placed.weight(WINDOW, clear_there) == 5.0
    assert placed.weight(WINDOW, np.full_like(CLEAR, SceneClass.THIN_CLOUD)) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("place", [None, Georeference(4326, 9.0, 48.0), Georeference(32661, 0.0, 0.0)])
def test_a_strip_without_a_utm_place_has_the_weight_of_elsewhere(place: Georeference | None) -> None:
    assert areas(feature(5.0, square(0, 0, 96))).placed(place).weight(WINDOW, CLEAR) == 1.0


def test_without_areas_everything_is_elsewhere() -> None:
    assert AreaMap((), 0.7).placed(PLACE).weight(WINDOW, CLEAR) == 0.7


RING = [[0, 0], [1, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    "document",
    [
        "nothing",
        "[]",
        {"type": "FeatureCollection", "features": []},
        {"type": "Polygon", "coordinates": [RING]},
        feature(-1.0, RING),
        feature(1001.0, RING),
        feature(1.0, RING[:3]),
        feature(1.0, [*RING[:3], [5, 5]]),
        feature(1.0, [[0, 0], [500, 0], [1, 1], [0, 0]]),
        feature(1.0, [["a", 0], [1, 0], [1, 1], ["a", 0]]),
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [RING]}},
        {
            "type": "Feature",
            "properties": {"weight": 1},
            "geometry": {"type": "Point", "coordinates": [0, 0]},
        },
        {"type": "Feature", "properties": {"weight": 1}, "geometry": None},
    ],
)
def test_what_are_no_areas_is_refused_with_the_name_of_the_file(document: object) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(ConfigError, match=r"^areas\.json: "):
        parse_areas(text, "areas.json", 1.0)
