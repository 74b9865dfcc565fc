"""Areas of interest: GeoJSON polygons with weights, laid over the tiles of a strip.

Rules:
1. A place has the largest weight of the areas that it lies in, and outside them all the weight
   of elsewhere; holes are outside.
2. A tile's weight is the mean over its clear pixels, or over all of it if none is clear; so
   clear times weight is the clear part of the areas.
3. A strip without a place, or not in a UTM projection, has the weight of elsewhere.

GeoJSON (RFC 7946) is in WGS 84 longitude and latitude. Polygons are brought into the strip's
UTM zone corner by corner; an edge is straight there. An area across the 180th meridian has
to be cut there, as the RFC says (3.1.9).
"""

from __future__ import annotations

import hashlib
import itertools
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

_SAMPLES = 32  # a side of the tile, at least
_PIXEL_M = 10.0
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
        """The areas in the projection of a strip."""
        zone = _utm_zone(georeference)
        if georeference is None or zone is None:
            return PlacedAreas((), self.elsewhere, georeference)
        placed = [Area(area.weight, tuple(_utm(ring, *zone) for ring in area.rings)) for area in self.areas]
        return PlacedAreas(tuple(placed), self.elsewhere, georeference)


@dataclass(frozen=True, slots=True)
class PlacedAreas:
    """Areas whose rings are (easting, northing) in metres."""

    areas: tuple[Area, ...]
    elsewhere: float
    georeference: Georeference | None

    def weight(self, window: Window, classes: U8) -> float:
        """Of a tile (rule 2); ``classes`` is uint8 (row, col) of the window."""
        if self.georeference is None or not self.areas:
            return self.elsewhere
        rows = np.arange(0, window.rows, max(1, window.rows // _SAMPLES))
        cols = np.arange(0, window.cols, max(1, window.cols // _SAMPLES))
        easting = self.georeference.easting_m + _PIXEL_M * (window.col + cols + 0.5)
        northing = self.georeference.northing_m - _PIXEL_M * (window.row + rows + 0.5)
        weights = np.full((len(rows), len(cols)), -1.0)
        for area in self.areas:
            if _meets(area, easting, northing):
                inside = _inside(area.rings, easting, northing)
                weights[inside] = np.maximum(weights[inside], area.weight)
        weights[weights < 0] = self.elsewhere
        clear = classes[np.ix_(rows, cols)] == SceneClass.CLEAR
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
    except (ValueError, TypeError, KeyError, RecursionError) as error:
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
        weight = float(feature["properties"]["weight"])
        if not 0 <= weight <= WEIGHT_MAX:
            raise ValueError(f"weight {weight:g} is not 0 to {WEIGHT_MAX:g}")
        shape = feature["geometry"]
        if shape["type"] not in ("Polygon", "MultiPolygon"):
            raise ValueError(f"{shape['type']}: only a Polygon or MultiPolygon has an inside")
        polygons = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
        for polygon in polygons:
            yield Area(weight, tuple(_ring(ring) for ring in polygon))


def _ring(corners: Any) -> _F64:
    ring = np.array([corner[:2] for corner in corners], dtype=np.float64)
    if ring.ndim != 2 or len(ring) < 4 or not (ring[0] == ring[-1]).all():
        raise ValueError("a ring is at least four corners, the last the same as the first")
    if not (np.isfinite(ring).all() and (np.abs(ring) <= (180.0, 90.0)).all()):
        raise ValueError("a corner is not a longitude and a latitude in degrees")
    return ring


def _utm_zone(georeference: Georeference | None) -> tuple[int, bool] | None:
    """Number and whether it is a southern one, of EPSG 326zz and 327zz."""
    hemisphere, zone = divmod(georeference.epsg if georeference else 0, 100)
    return (zone, hemisphere == 327) if hemisphere in (326, 327) and 1 <= zone <= 60 else None


def _utm(ring: _F64, zone: int, is_south: bool) -> _F64:
    """Easting and northing in metres: Krüger's series to the fourth power, good to millimetres
    within the zone (EPSG guidance note 7-2, 3.5.3.1, JHS formulas)."""
    n = _FLATTENING / (2 - _FLATTENING)
    radius_m = _A_M / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    series = (
        n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16 + 41 * n**4 / 180,
        13 * n**2 / 48 - 3 * n**3 / 5 + 557 * n**4 / 1440,
        61 * n**3 / 240 - 103 * n**4 / 140,
        49561 * n**4 / 161280,
    )
    eccentricity = math.sqrt(_FLATTENING * (2 - _FLATTENING))
    # 89.9 and 80 degrees: the series has no end at the pole, nor far from the zone.
    latitude = np.radians(np.clip(ring[:, 1], -89.9, 89.9))
    longitude = np.radians(np.clip((ring[:, 0] - (6 * zone - 183) + 180) % 360 - 180, -80, 80))
    isometric = np.arcsinh(np.tan(latitude)) - eccentricity * np.arctanh(eccentricity * np.sin(latitude))
    beta = np.arctan(np.sinh(isometric))
    eta0 = np.arctanh(np.cos(beta) * np.sin(longitude))
    xi0 = np.arcsin(np.clip(np.sin(beta) * np.cosh(eta0), -1, 1))
    xi, eta = xi0.copy(), eta0.copy()
    for order, factor in enumerate(series, start=1):
        xi += factor * np.sin(2 * order * xi0) * np.cosh(2 * order * eta0)
        eta += factor * np.cos(2 * order * xi0) * np.sinh(2 * order * eta0)
    north_m = _FALSE_NORTHING_M if is_south else 0.0
    return np.stack([_FALSE_EASTING_M + _SCALE * radius_m * eta, north_m + _SCALE * radius_m * xi], axis=1)


def _meets(area: Area, easting: _F64, northing: _F64) -> bool:
    low = np.min([ring.min(axis=0) for ring in area.rings], axis=0)
    high = np.max([ring.max(axis=0) for ring in area.rings], axis=0)
    return bool(
        low[0] <= easting[-1] and high[0] >= easting[0] and low[1] <= northing[0] and high[1] >= northing[-1]
    )


def _inside(rings: tuple[_F64, ...], easting: _F64, northing: _F64) -> NDArray[np.bool_]:
    """Bool (northing, easting): an odd number of edges crosses the ray to the east."""
    inside = np.zeros((len(northing), len(easting)), dtype=bool)
    for ring in rings:
        for (start_e, start_n), (end_e, end_n) in itertools.pairwise(ring):
            crossed = (start_n > northing) != (end_n > northing)
            if crossed.any():
                rows = np.flatnonzero(crossed)
                at_e = start_e + (northing[rows] - start_n) / (end_n - start_n) * (end_e - start_e)
                inside[rows] ^= easting[None, :] < at_e[:, None]
    return inside
