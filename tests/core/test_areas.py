"""Rules of `payload.core.areas`, with PROJ as the judge of the projection."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.areas import FILE_BYTES_MAX, VERTICES_MAX, AreaMap, _lonlat, parse_areas
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


def place_at(longitude: float, latitude: float) -> Georeference:
    """A UTM place whose first pixel is there, by PROJ."""
    warp = pytest.importorskip("rasterio.warp")
    zone = min(int((longitude + 180) // 6) + 1, 60)
    epsg = (32700 if latitude < 0 else 32600) + zone
    (easting,), (northing,) = warp.transform("EPSG:4326", f"EPSG:{epsg}", [longitude], [latitude])
    return Georeference(epsg, easting, northing)


def box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


@given(st.integers(1, 60), st.booleans(), st.floats(-4.5, 4.5), st.floats(-84, 84))
def test_the_projection_is_that_of_proj(zone: int, is_south: bool, off_deg: float, latitude: float) -> None:
    warp = pytest.importorskip("rasterio.warp")
    longitude = (6 * zone - 183 + off_deg + 180) % 360 - 180
    epsg = (32700 if is_south else 32600) + zone
    found = warp.transform("EPSG:4326", f"EPSG:{epsg}", [longitude], [latitude])
    ours = _lonlat(np.array(found[0]), np.array(found[1]), zone, is_south)[0]
    assert (ours[0] - longitude + 180) % 360 - 180 == pytest.approx(0.0, abs=5e-7)
    assert ours[1] == pytest.approx(latitude, abs=5e-8)  # 5 mm


@given(
    st.integers(-180, 179),
    st.integers(-80, 79),
    st.integers(1, 360),
    st.integers(1, 160),
    st.floats(-179.9, 179.9),
    st.floats(-79.9, 79.9),
)
def test_a_box_of_four_corners_is_its_longitudes_and_latitudes_however_large_or_far(
    west: int, south: int, width: int, height: int, longitude: float, latitude: float
) -> None:
    east, north = min(west + width, 180), min(south + height, 80)
    beyond_deg = max(west - longitude, longitude - east, south - latitude, latitude - north)
    if abs(beyond_deg) < 0.1:  # a tile across the edge
        return
    placed = areas(feature(7.0, box(west, south, east, north))).placed(place_at(longitude, latitude))
    assert placed.weight(WINDOW, CLEAR) == (7.0 if beyond_deg < 0 else 1.0)


@pytest.mark.parametrize(
    ("ring", "longitude", "latitude", "weight"),
    [
        (box(-180, -40, -120, 40), 10.0, 5.0, 1.0),  # the Pacific, and Cameroon
        (box(-180, -23, 180, 23), 10.0, 5.0, 7.0),
        (box(-180, -90, 180, 90), 10.0, 50.0, 7.0),
        (box(27, 41, 180, 82), -20.0, 60.0, 1.0),
        (box(5, 45, 15, 50), 10.0, 45.1, 7.0),
        (box(5, 45, 15, 50), 10.0, 50.1, 1.0),
        (box(140, -40, 180, 40), 179.99, -10.0, 7.0),
        (box(-180, -40, -140, 40), -179.99, -10.0, 7.0),
    ],
)
def test_what_is_large_far_off_or_at_the_180th_meridian_weighs_where_it_is(
    ring: list[list[float]], longitude: float, latitude: float, weight: float
) -> None:
    placed = areas(feature(7.0, ring)).placed(place_at(longitude, latitude))
    assert placed.weight(Window(0, 0, 24, 24), CLEAR[:24, :24]) == weight


def test_a_tile_across_the_180th_meridian_has_the_part_of_it_that_is_in_the_area() -> None:
    place = place_at(179.9999, 0.0)  # 11 m to the west of it
    weight = areas(feature(5.0, box(-180, -1, -179, 1))).placed(place).weight(WINDOW, CLEAR)
    assert weight == pytest.approx(5.0, abs=0.2)
    weight = areas(feature(5.0, box(179, -1, 180, 1))).placed(place).weight(WINDOW, CLEAR)
    assert weight == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("place", [(32632, 1e8, 0.0), (32632, 0.0, 1e8), (32732, -1e8, -1e8)])
def test_what_is_no_place_of_the_earth_has_the_weight_of_elsewhere(place: tuple[int, float, float]) -> None:
    world = areas(feature(5.0, box(-180, -90, 180, 90)))
    assert world.placed(Georeference(*place)).weight(WINDOW, CLEAR) == 1.0


def test_a_file_of_the_most_corners_is_small_enough_to_be_read() -> None:
    angles = np.linspace(0, 2 * np.pi, VERTICES_MAX - 1)
    ring = [[-170 + np.sin(a) / 3, -80 + np.cos(a) / 3] for a in angles]
    text = json.dumps(feature(2.0, [*ring, ring[0]]), indent=2)
    assert len(text) <= FILE_BYTES_MAX
    assert len(parse_areas(text, "areas.json", 1.0).areas) == 1


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


def shape(kind: str, coordinates: object) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"weight": 1}, "geometry": geometry}


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
        feature(1.0),
        feature(1.0, kind="MultiPolygon"),
        shape("MultiPolygon", []),
        shape("MultiPolygon", [[RING], []]),
        shape("Polygon", [[[9], [9], [9], [9]]]),
        feature(10**400, RING),
        feature(1.0, [[10**400, 0], [1, 0], [1, 1], [10**400, 0]]),
        feature(True, RING),
        feature("3", RING),  # type: ignore[arg-type]
        feature(float("nan"), RING),
        feature(1.0, [["0", 0], [1, 0], [1, 1], ["0", 0]]),  # type: ignore[list-item]
        feature(1.0, [[0, 0], [1, False], [1, 1], [0, 0]]),
    ],
)
def test_what_are_no_areas_is_refused_with_the_name_of_the_file(document: object) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(ConfigError, match=r"^areas\.json: "):
        parse_areas(text, "areas.json", 1.0)
