"""Sensors with fewer bands, each band as the nearest of Sentinel-2's."""

from __future__ import annotations

from payload.types import Band

FULL = "sentinel2"
PROFILES: dict[str, tuple[Band, ...]] = {
    FULL: tuple(Band),
    "probav": (Band.B02, Band.B04, Band.B08, Band.B11),
    "planetscope": (Band.B02, Band.B03, Band.B04, Band.B08),
    "phisat2": (Band.B02, Band.B03, Band.B04, Band.B05, Band.B06, Band.B07, Band.B08),
}
"""Full Sentinel-2; Proba-V and its cubesat companion; PlanetScope; Phi-Sat-2 without its PAN."""
