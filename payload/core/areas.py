"""Areas of interest: GeoJSON polygons with weights, laid over the tiles of a strip.

Rules:
1. A place has the largest weight of the areas that it lies in, and outside them all the weight
   of elsewhere; holes are outside.
2. A tile's weight is the mean over its clear pixels, or over all of it if none is clear; so
   clear times weight is the clear part of the areas.
3. A strip without a place, or not in a UTM projection, has the weight of elsewhere; so has a
   tile that is no place of the Earth.

GeoJSON (RFC 7946) is in WGS 84 longitude and latitude, and its edges are straight there (3.1.1).
So the places of a tile are brought there, and the polygons stay as they are. An area across the
180th meridian has to be cut there, as the RFC says (3.1.9): an edge from 179 to -179 goes round
the world the other way.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.errors import ConfigError
from payload.types import U8, Georeference, SceneClass, Window

VERTICES_MAX = 20_000
WEIGHT_MAX = 1000.0
FILE_BYTES_MAX = 2 << 20
"""VERTICES_MAX corners with fifteen digits, each number on a line of its own."""

_SAMPLES = 32  # a side of the tile, at least
_PIXEL_M = 10.0
_ROUNDS = 6  # each gains two digits and more
_F64 = NDArray[np.floating[Any]]

# WGS 84 and UTM (EPSG guidance note 7-2, 3.5.3.1)
_A_M, _FLATTENING = 6_378_137.0, 1 / 298.257223563
_SCALE, _FALSE_EASTING_M, _FALSE_NORTHING_M = 0.9996, 500_000.0, 10_000_000.0


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """Rings of (longitude, latitude) in degrees, float64 (corner, 2); inside is where an odd
    number of rings goes round."""

    weight: float
    rings: tuple[_F64, ...]


@dataclass(frozen=True, slots=True)
class AreaMap:
    """Every area, the weight of elsewhere, and the hash of the document they came from."""

    areas: tuple[Area, ...]
    elsewhere: float
    sha256: str = ""

    def placed(self, georeference: Georeference | None) -> PlacedAreas:
        """The areas over a strip."""
        is_placed = _utm_zone(georeference) is not None
        areas = self.areas if is_placed else ()
        bounds = np.array([_bounds(area) for area in areas]).reshape(len(areas), 2, 2)
        return PlacedAreas(areas, bounds, self.elsewhere, georeference)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedAreas:
    """Areas over a strip; ``bounds`` is float64 (area, 2, 2), least and largest longitude and latitude."""

    areas: tuple[Area, ...]
    bounds: _F64
    elsewhere: float
    georeference: Georeference | None

    def weight(self, window: Window, classes: U8) -> float:
        """Of a tile (rule 2); ``classes`` is uint8 (row, col) of the window."""
        zone = _utm_zone(self.georeference)
        if self.georeference is None or zone is None or not self.areas:
            return self.elsewhere
        rows = np.arange(0, window.rows, max(1, window.rows // _SAMPLES))
        cols = np.arange(0, window.cols, max(1, window.cols // _SAMPLES))
        easting = self.georeference.easting_m + _PIXEL_M * (window.col + cols + 0.5)
        northing = self.georeference.northing_m - _PIXEL_M * (window.row + rows + 0.5)
        places = _lonlat(np.tile(easting, len(rows)), np.repeat(northing, len(cols)), *zone)
        low, high = places.min(axis=0), places.max(axis=0)
        weights = np.full(len(places), -1.0)
        meets = ((self.bounds[:, 0] <= high) & (self.bounds[:, 1] >= low)).all(axis=1)
        for number in np.flatnonzero(meets):
            area = self.areas[number]
            inside = _inside(area.rings, places)
            weights[inside] = np.maximum(weights[inside], area.weight)
        weights[weights < 0] = self.elsewhere
        clear = classes[np.ix_(rows, cols)].ravel() == SceneClass.CLEAR
        return float(weights[clear].mean() if clear.any() else weights.mean())


def parse_areas(text: str, source: str, elsewhere: float) -> AreaMap:
    """The areas of a GeoJSON document; ``source`` names it in errors.

    Every Polygon and MultiPolygon counts; the number under ``weight`` in its feature's
    properties, 0 to WEIGHT_MAX, is how much more than elsewhere = 1 it is worth.

    Raises:
        ConfigError: no GeoJSON, or an area that cannot be used.
    """
    try:
        areas = tuple(_areas_of(json.loads(text)))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{source}: no areas of interest: {error}") from error
    vertices = sum(len(ring) for area in areas for ring in area.rings)
    if not areas or vertices > VERTICES_MAX:
        raise ConfigError(f"{source}: {len(areas)} areas with {vertices} corners; 1 to {VERTICES_MAX} wanted")
    return AreaMap(areas, elsewhere, hashlib.sha256(text.encode()).hexdigest())


def _areas_of(document: Any) -> Iterator[Area]:
    features = document["features"] if document["type"] == "FeatureCollection" else [document]
    for feature in features:
        if feature["type"] != "Feature":
            raise ValueError("neither a Feature nor a FeatureCollection")
        weight = _number(feature["properties"]["weight"])
        if not 0 <= weight <= WEIGHT_MAX:
            raise ValueError(f"weight {weight:g} is not 0 to {WEIGHT_MAX:g}")
        shape = feature["geometry"]
        if shape["type"] not in ("Polygon", "MultiPolygon"):
            raise ValueError(f"{shape['type']}: only a Polygon or MultiPolygon has an inside")
        polygons = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
        if not polygons or not all(polygons):
            raise ValueError("a polygon without a ring")
        for polygon in polygons:
            yield Area(weight, tuple(_ring(ring) for ring in polygon))


def _ring(corners: Any) -> _F64:
    ring = np.array([[_number(degrees) for degrees in corner[:2]] for corner in corners])
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 4 or not (ring[0] == ring[-1]).all():
        raise ValueError("a ring is at least four corners, the last the same as the first")
    if not (np.isfinite(ring).all() and (np.abs(ring) <= (180.0, 90.0)).all()):
        raise ValueError("a corner is not a longitude and a latitude in degrees")
    return ring


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.40} is not a number")
    return float(value)


def _utm_zone(georeference: Georeference | None) -> tuple[int, bool] | None:
    """Number and whether it is a southern one, of EPSG 326zz and 327zz."""
    hemisphere, zone = divmod(georeference.epsg if georeference else 0, 100)
    return (zone, hemisphere == 327) if hemisphere in (326, 327) and 1 <= zone <= 60 else None


def _lonlat(easting_m: _F64, northing_m: _F64, zone: int, is_south: bool) -> _F64:
    """Longitude, -180 to 180, and latitude in degrees, (place, 2), of places in a UTM zone.

    Krüger's series to the fourth power of the flattening, good to millimetres within the zone
    (EPSG guidance note 7-2, 3.5.3.1, JHS formulas, the reverse case; the longitude as in
    Karney 2011, doi:10.1007/s00190-011-0445-3, equation 18). NaN for what lies in no place of the
    Earth: beyond a pole, or where the series has no end.
    """
    n = _FLATTENING / (2 - _FLATTENING)
    radius_m = _SCALE * _A_M / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    series = (
        n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96 - n**4 / 360,
        n**2 / 48 + n**3 / 15 - 437 * n**4 / 1440,
        17 * n**3 / 480 - 37 * n**4 / 840,
        4397 * n**4 / 161280,
    )
    xi = (northing_m - (_FALSE_NORTHING_M if is_south else 0.0)) / radius_m
    eta = (easting_m - _FALSE_EASTING_M) / radius_m
    eta = np.where((np.abs(eta) < 1) & (np.abs(xi) <= np.pi / 2), eta, np.nan)
    xi0, eta0 = xi.copy(), eta.copy()
    for order, factor in enumerate(series, start=1):
        xi0 -= factor * np.sin(2 * order * xi) * np.cosh(2 * order * eta)
        eta0 -= factor * np.cos(2 * order * xi) * np.sinh(2 * order * eta)
    conformal = np.arcsinh(np.sin(xi0) / np.hypot(np.sinh(eta0), np.cos(xi0)))
    eccentricity = math.sqrt(_FLATTENING * (2 - _FLATTENING))
    isometric = conformal
    for _ in range(_ROUNDS):
        isometric = conformal + eccentricity * np.arctanh(eccentricity * np.tanh(isometric))
    longitude = 6 * zone - 183 + np.degrees(np.arctan2(np.sinh(eta0), np.cos(xi0)))
    return np.stack([(longitude + 180) % 360 - 180, np.degrees(np.arctan(np.sinh(isometric)))], axis=1)


def _bounds(area: Area) -> _F64:
    """Least and largest longitude and latitude, float64 (2, 2)."""
    corners = np.concatenate(area.rings)
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def _inside(rings: tuple[_F64, ...], places: _F64) -> NDArray[np.bool_]:
    """Bool (place,): an odd number of edges crosses the ray to the east."""
    longitude, latitude = places[:, 0], places[:, 1]
    west, south, north = longitude.min(), latitude.min(), latitude.max()
    inside = np.zeros(len(places), dtype=bool)
    for ring in rings:
        low, high = np.minimum(ring[:-1], ring[1:]), np.maximum(ring[:-1], ring[1:])
        near = (high[:, 0] > west) & (low[:, 1] <= north) & (high[:, 1] > south)
        for edge in np.flatnonzero(near):
            (start_lon, start_lat), (end_lon, end_lat) = ring[edge], ring[edge + 1]
            crossed = np.flatnonzero((start_lat > latitude) != (end_lat > latitude))
            part = (latitude[crossed] - start_lat) / (end_lat - start_lat)
            inside[crossed] ^= longitude[crossed] < start_lon + part * (end_lon - start_lon)
    return inside
