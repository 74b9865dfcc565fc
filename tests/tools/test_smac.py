"""SMAC against its own laws and against physics that is known independently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools import smac

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
COEFFICIENTS = SHARED / "data" / "smac_coefficients"
pytestmark = pytest.mark.skipif(not COEFFICIENTS.exists(), reason="../shared is absent")

# Bodhaine et al. (1999) averaged over the real spectral responses of Sentinel-2A, B01 ... B12
# (shared/facts/simulation.md, section 1).
RAYLEIGH = [0.2370, 0.1551, 0.0906, 0.0450, 0.0356, 0.0290, 0.0232, 0.0183, 0.0155, 0.0109]

ZENITH_DEG = st.floats(0.0, 72.0)
ATMOSPHERES = st.builds(
    smac.Atmosphere,
    st.floats(0.01, 0.8),
    st.floats(0.2, 5.0),
    st.floats(0.25, 0.45),
    st.floats(750.0, 1030.0),
)


@pytest.fixture(scope="module")
def sentinel() -> smac.Coefficients:
    return smac.read_coefficients(COEFFICIENTS / "Coef_S2A_CONTINENTAL.dat")


@settings(max_examples=60, deadline=None)
@given(sun=ZENITH_DEG, view=st.floats(0.0, 12.0), azimuth=st.floats(0.0, 180.0), state=ATMOSPHERES)
def test_what_goes_up_through_an_atmosphere_comes_back_down_unchanged(
    sun: float, view: float, azimuth: float, state: smac.Atmosphere
) -> None:
    sentinel = smac.read_coefficients(COEFFICIENTS / "Coef_S2A_CONTINENTAL.dat")
    above = smac.terms(sentinel, smac.Angles(sun, view, azimuth), state)
    for reflectance in (0.0, 0.05, 0.4, 1.0):
        surface = np.full(13, reflectance)
        back = smac.to_surface(smac.to_top(surface, above), above)
        assert np.allclose(back, surface, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(sun=ZENITH_DEG, view=st.floats(0.0, 12.0), azimuth=st.floats(0.0, 180.0), state=ATMOSPHERES)
def test_every_term_is_physical(sun: float, view: float, azimuth: float, state: smac.Atmosphere) -> None:
    sentinel = smac.read_coefficients(COEFFICIENTS / "Coef_S2A_CONTINENTAL.dat")
    above = smac.terms(sentinel, smac.Angles(sun, view, azimuth), state)
    assert (above.path >= 0).all()
    assert (above.path < 0.5).all()
    assert (above.transmittance > 0).all()
    assert (above.transmittance <= 1).all()
    assert (above.albedo >= 0).all()
    assert (above.albedo < 0.5).all()


def test_rayleigh_optical_depths_are_those_of_the_literature(sentinel: smac.Coefficients) -> None:
    assert np.allclose(sentinel["tau_rayleigh"][:10], RAYLEIGH, rtol=0.02)


def test_a_clean_blue_sky_is_the_first_order_of_rayleigh_scattering(sentinel: smac.Coefficients) -> None:
    """tau P / (4 mu_s mu_v) with the Rayleigh phase function, within the second order's 20 %."""
    angles = smac.Angles(40.0, 0.0, 0.0)
    path = smac.terms(sentinel, angles, smac.Atmosphere(0.0, 2.0, 0.0, 1013.0)).path[3]
    mu = np.cos(np.radians(40.0))
    expected = 0.0450 * 0.75 * (1 + mu**2) / (4 * mu)
    assert path == pytest.approx(expected, rel=0.2)


def test_more_aerosol_makes_the_sky_brighter_and_the_ground_fainter(sentinel: smac.Coefficients) -> None:
    state = smac.Atmosphere(np.linspace(0.02, 0.8, 9), 2.0, 0.3, 1013.0)
    above = smac.terms(sentinel, smac.Angles(35.0, 5.0, 100.0), state)
    visible = slice(0, 8)
    assert (np.diff(above.path[visible], axis=1) > 0).all()
    assert (np.diff(above.transmittance[visible], axis=1) < 0).all()


def test_less_air_above_a_mountain_scatters_less(sentinel: smac.Coefficients) -> None:
    angles = smac.Angles(35.0, 5.0, 100.0)
    low, high = (
        smac.terms(sentinel, angles, smac.Atmosphere(0.05, 1.0, 0.3, smac.pressure_at(metres))).path[0]
        for metres in (0.0, 2500.0)
    )
    assert high < 0.85 * low


def test_water_vapour_closes_the_band_at_945_nm_and_leaves_the_red_open(sentinel: smac.Coefficients) -> None:
    state = smac.Atmosphere(0.1, np.array([0.5, 4.0]), 0.3, 1013.0)
    transmittance = smac.terms(sentinel, smac.Angles(35.0, 5.0, 100.0), state).transmittance
    assert transmittance[9, 1] < 0.6 * transmittance[9, 0]
    assert transmittance[3, 1] > 0.97 * transmittance[3, 0]


def test_a_file_of_one_band_in_free_layout_is_read_too() -> None:
    landsat = smac.read_coefficients(COEFFICIENTS / "Coef_LANDSAT8_440_1.dat")
    assert landsat["tau_rayleigh"].shape == (1,)
    assert landsat["tau_rayleigh"][0] == pytest.approx(0.2367, abs=1e-3)


def test_a_file_with_numbers_missing_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "short.dat"
    path.write_text("0.1 0.2\n")
    with pytest.raises(ValueError, match=r"short\.dat"):
        smac.read_coefficients(path)
