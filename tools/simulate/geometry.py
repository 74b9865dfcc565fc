"""Where sun and instrument stand, and where a shadow falls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sun and instrument as seen from the ground; azimuths clockwise from north."""

    sun_zenith_deg: float
    sun_azimuth_deg: float
    view_zenith_deg: float
    view_azimuth_deg: float

    @property
    def cos_sun(self) -> float:
        return float(np.cos(np.radians(self.sun_zenith_deg)))

    @property
    def cos_view(self) -> float:
        return float(np.cos(np.radians(self.view_zenith_deg)))

    @property
    def relative_azimuth_deg(self) -> float:
        """0 .. 180; 0 with the sun behind the instrument."""
        return abs((self.sun_azimuth_deg - self.view_azimuth_deg + 180.0) % 360.0 - 180.0)

    @property
    def scattering_deg(self) -> float:
        """By how much sunlight turns on its way to the instrument; 180 straight back."""
        sines = np.sqrt((1 - self.cos_sun**2) * (1 - self.cos_view**2))
        cosine = -self.cos_sun * self.cos_view - sines * np.cos(np.radians(self.relative_azimuth_deg))
        return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))

    @property
    def towards_sun(self) -> tuple[float, float]:
        """Horizontal direction (row, col) to the sun; rows grow southward."""
        return direction(self.sun_azimuth_deg)

    @property
    def shadow_per_height(self) -> tuple[float, float]:
        """Where the shadow lies (row, col) as seen from its cloud, per unit of height.

        Away from the sun by tan(sun zenith); and the cloud itself is seen displaced away
        from the instrument by tan(view zenith).
        """
        sun, view = self.towards_sun, direction(self.view_azimuth_deg)
        sun_tangent = float(np.tan(np.radians(self.sun_zenith_deg)))
        view_tangent = float(np.tan(np.radians(self.view_zenith_deg)))
        return (
            view[0] * view_tangent - sun[0] * sun_tangent,
            view[1] * view_tangent - sun[1] * sun_tangent,
        )


def direction(azimuth_deg: float) -> tuple[float, float]:
    """Unit vector (row, col) of an azimuth; rows grow southward, columns eastward."""
    azimuth = np.radians(azimuth_deg)
    return float(-np.cos(azimuth)), float(np.sin(azimuth))
