"""Scattering in plane layers: the laws it must keep, closed solutions, and other people's code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre
from numpy.typing import NDArray

from payload.types import Band
from tools import smac
from tools.simulate import lookup
from tools.simulate.bands import RAYLEIGH_DEPTH, WAVELENGTH_UM, gas_transmittance
from tools.simulate.geometry import Geometry
from tools.simulate.lookup import AirState, air, cloud, place
from tools.simulate.radiation import (
    Slab,
    Streams,
    add,
    fluxes,
    homogeneous,
    phase_modes,
    rayleigh_moments,
    rayleigh_vector_modes,
    single_scattering_modes,
    streams,
)

SUNS_DEG, VIEWS_DEG = (0.0, 30.0, 60.0, 75.0), (0.0, 12.0, 50.0)
SMAC_FILE = Path(__file__).resolve().parents[3] / "shared/data/smac_coefficients/Coef_S2A_CONTINENTAL.dat"
F64 = NDArray[np.float64]


def henyey_moments(asymmetry: float, terms: int) -> F64:
    return np.asarray(asymmetry ** np.arange(terms))


def layer(how: Streams, moments: F64, depth: list[float], albedo: float = 1.0) -> Slab:
    phase = phase_modes(how, moments)
    depths = np.array(depth)
    whole = np.broadcast_to(phase, (len(depths), *phase.shape))
    return homogeneous(how, depths, np.full(len(depths), albedo), whole)


@settings(deadline=None, max_examples=12)
@given(depth=st.floats(0.001, 60.0), asymmetry=st.floats(-0.5, 0.8))
def test_what_does_not_absorb_loses_no_light(depth: float, asymmetry: float) -> None:
    how = streams(SUNS_DEG, VIEWS_DEG, 10, 1)
    found = fluxes(how, layer(how, henyey_moments(asymmetry, 20), [depth]))
    np.testing.assert_allclose(found.down + found.reflected, 1.0, atol=3e-4)


@settings(deadline=None, max_examples=10)
@given(depth=st.floats(0.01, 20.0), albedo=st.floats(0.3, 1.0))
def test_sun_and_instrument_can_change_places(depth: float, albedo: float) -> None:
    how = streams(SUNS_DEG, VIEWS_DEG, 8, 3)
    reflected = layer(how, henyey_moments(0.6, 16), [depth], albedo).reflection[0]
    reflectance = reflected / (2 * how.cosines)
    np.testing.assert_allclose(reflectance, reflectance.transpose(0, 2, 1), rtol=1e-6, atol=1e-9)


def test_two_halves_are_the_whole_and_air_over_cloud_loses_nothing() -> None:
    how = streams(SUNS_DEG, VIEWS_DEG, 8, 2)
    half, whole = (layer(how, henyey_moments(0.7, 16), [depth], 0.95) for depth in (1.3, 2.6))
    both = add(how, half, half)
    for part in ("reflection", "transmission", "reflection_below", "transmission_below", "direct"):
        np.testing.assert_allclose(getattr(both, part), getattr(whole, part), rtol=2e-5, atol=1e-7)
    molecules = layer(how, rayleigh_moments(), [0.2])
    drops = layer(how, henyey_moments(0.8, 16), [10.0])
    found = fluxes(how, add(how, molecules, drops))
    np.testing.assert_allclose(found.down + found.reflected, 1.0, atol=1e-4)


@pytest.mark.parametrize("albedo", [0.5, 0.9, 0.99])
def test_a_bottomless_isotropic_layer_obeys_chandrasekhar(albedo: float) -> None:
    """R = w/4 H(mu) H(mu0) / (mu + mu0), H by iteration of its integral equation (1950, chapter V)."""
    how = streams(SUNS_DEG, VIEWS_DEG, 16, 1)
    nodes, weights = legendre.leggauss(64)
    mu, weights = 0.5 * (nodes + 1), 0.5 * weights
    h = np.ones_like(mu)
    root = np.sqrt(1 - albedo)

    def next_h(at: F64) -> F64:
        return 1 / (root + 0.5 * albedo * (mu * h * weights / (at[:, None] + mu)).sum(1))

    for _ in range(300):
        h = next_h(mu)
    view, sun = how.cosines[how.view], how.cosines[how.sun]
    expected = albedo / 4 * np.outer(next_h(view), next_h(sun)) / (view[:, None] + sun)
    found = fluxes(how, layer(how, np.array([1.0]), [400.0], albedo)).modes[0, 0]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_a_film_reflects_what_it_scatters_once() -> None:
    how = streams(SUNS_DEG, VIEWS_DEG, 8, 3)
    phase = phase_modes(how, rayleigh_moments())
    depth, one = np.array([1e-4]), np.ones(1)
    found = fluxes(how, homogeneous(how, depth, one, phase[None]))
    once = single_scattering_modes(how, [(depth, one, phase[None])])
    np.testing.assert_allclose(found.modes, once, rtol=2e-3, atol=1e-9)


def test_polarised_light_loses_nothing_and_changes_what_air_reflects() -> None:
    """Scalar theory errs by several percent for air, either way (Mishchenko et al. 1994)."""
    found = {}
    for stokes in (1, 3):
        how = streams(SUNS_DEG, VIEWS_DEG, 10, 3, stokes)
        phase = rayleigh_vector_modes(how) if stokes == 3 else phase_modes(how, rayleigh_moments())
        found[stokes] = fluxes(how, homogeneous(how, np.array([0.237]), np.ones(1), phase[None]))
        np.testing.assert_allclose(found[stokes].down + found[stokes].reflected, 1.0, atol=1e-6)
    relative = found[3].modes[0, 0, 0] / found[1].modes[0, 0, 0] - 1
    assert 0.05 < relative[0] < 0.09
    assert -0.08 < relative[-1] < -0.04


def test_a_third_party_solution_agrees() -> None:
    disort = pytest.importorskip("PythonicDISORT", reason="PythonicDISORT is not installed")
    how = streams((40.0,), (6.0,), 16, 12)
    moments = 0.3 * np.pad([1.0, 0.0, 0.096], (0, 29)) + 0.7 * henyey_moments(0.6, 32)
    found = fluxes(how, layer(how, moments, [0.35], 0.93))
    solved = disort.pydisort(
        np.array([0.35]), np.array([0.93]), 32, moments[None], np.cos(np.radians(40.0)), 1.0, 0.0
    )
    to_ground = sum(np.asarray(part) for part in solved[2](0.35))
    assert found.down[0, 0] == pytest.approx(float(to_ground) / np.cos(np.radians(40.0)), abs=2e-5)
    upward = float(np.asarray(solved[1](0.0)))
    assert found.reflected[0, 0] == pytest.approx(upward / np.cos(np.radians(40.0)), abs=2e-5)


def test_rayleigh_depths_are_the_published_ones() -> None:
    """Hansen and Travis 1974, their formula 2.30, at the band centres; wide bands differ a little."""
    um = WAVELENGTH_UM.astype(np.float64)
    formula = 0.008569 * um**-4 * (1 + 0.0113 * um**-2 + 0.00013 * um**-4)
    np.testing.assert_allclose(RAYLEIGH_DEPTH[:10], formula[:10], rtol=0.035)


@settings(deadline=None, max_examples=60)
@given(
    aerosol=st.sampled_from(lookup.AEROSOLS),
    depth=st.floats(0.0, 1.0),
    elevation=st.floats(0.0, 8.0),
    sun=st.floats(0, 78),
    view=st.floats(0, 30),
    azimuth=st.floats(0, 180),
)
def test_air_stays_within_physical_bounds(
    aerosol: str, depth: float, elevation: float, sun: float, view: float, azimuth: float
) -> None:
    found = air(AirState(aerosol, depth, 1.0, 0.3, elevation), Geometry(sun, azimuth, view, 0.0))
    for name in ("path", "down", "up", "sphere", "direct_down", "direct_up"):
        values = getattr(found, name)
        assert values.shape == (len(Band),)
        assert ((values >= 0) & (values <= 1.0001)).all(), name
    assert (found.direct_down <= found.down).all()
    assert (found.direct_up <= found.up).all()


def test_the_table_is_the_solution_between_its_nodes() -> None:
    """A state at no node, solved anew with more streams and more modes: within 0.001."""
    state = AirState("continental", 0.0, 1.0, 0.3, 0.7)
    geometry = Geometry(47.0, 130.0, 9.0, 0.0)
    how = streams((47.0,), (9.0,), 20, 3, 3)
    depth = RAYLEIGH_DEPTH.astype(np.float64) * state.pressure_ratio
    phase = rayleigh_vector_modes(how)
    slab = homogeneous(how, depth, np.ones(13), np.broadcast_to(phase, (13, *phase.shape)))
    solved = fluxes(how, slab)
    around = np.array([1.0, 2.0, 2.0]) * np.cos(np.arange(3) * np.radians(180.0 - 130.0))
    path = np.einsum("bmvs,m->b", solved.modes, around)
    found = air(state, geometry)
    np.testing.assert_allclose(found.path, path, atol=0.001)
    np.testing.assert_allclose(found.down, solved.down[:, 0], atol=0.0015)
    np.testing.assert_allclose(found.sphere, solved.albedo, atol=0.0015)


@pytest.mark.skipif(not SMAC_FILE.exists(), reason="needs the shared SMAC coefficients")
def test_air_and_gases_agree_with_smac_within_its_own_error() -> None:
    """SMAC departs from 6S by 0.007 in B01 and 0.003 in B04 (path); the table must stay as near."""
    coefficients = smac.read_coefficients(SMAC_FILE)
    rng = np.random.default_rng(1)
    paths, tops = [], []
    for _ in range(40):
        sun, view, azimuth = rng.uniform(15, 65), rng.uniform(0, 11), rng.uniform(0, 180)
        depth, water = rng.uniform(0.02, 0.5), rng.uniform(0.5, 4.0)
        theirs = smac.terms(
            coefficients, smac.Angles(sun, view, azimuth), smac.Atmosphere(depth, water, 0.3, 1013.0)
        )
        geometry = Geometry(sun, azimuth, view, 0.0)
        ours = air(AirState("continental", depth, water, 0.3), geometry)
        gas = gas_transmittance(water, 0.3, 1.0, 1 / geometry.cos_sun + 1 / geometry.cos_view)
        paths.append(ours.path * gas - theirs.path)
        for rho in (0.0, 0.1, 0.3):
            top = gas * (ours.path + ours.down * ours.up * rho / (1 - ours.sphere * rho))
            tops.append(top - smac.to_top(rho, theirs))
    path_error, top_error = (np.sqrt(np.mean(np.square(e), axis=0)) for e in (paths, tops))
    assert path_error[0] < 0.006
    assert path_error[1:].max() < 0.004
    assert top_error[0] < 0.006
    assert top_error[1:].max() < 0.0045


@settings(deadline=None, max_examples=30)
@given(kind=st.sampled_from(lookup.CLOUDS), sun=st.floats(0, 75), azimuth=st.floats(0, 180))
def test_a_thicker_cloud_reflects_more_passes_less_and_makes_no_light(
    kind: str, sun: float, azimuth: float
) -> None:
    curves = cloud(kind, Geometry(sun, azimuth, 5.0, 0.0))
    visible = slice(1, 4)
    assert (np.diff(curves.down[visible], axis=1) < 1e-4).all()
    assert (np.diff(curves.direct_down, axis=1) <= 0).all()
    assert (curves.direct_down <= curves.down + 2e-3).all()
    assert curves.reflectance.min() >= -1e-3
    assert curves.sphere.max() <= 1.0
    if kind != "smoke":
        assert (np.diff(curves.reflectance[visible], axis=1) > -1e-3).all()


def test_drops_and_crystals_are_dark_in_the_short_wave_infrared_and_white_before() -> None:
    geometry = Geometry(40.0, 90.0, 5.0, 0.0)
    thick = place(np.array([30.0], np.float32))[0]
    for kind in ("water_10um", "ice_40um"):
        seen = dict(zip(Band, cloud(kind, geometry).reflectance[:, thick], strict=True))
        assert seen[Band.B12] < seen[Band.B11] + 0.05 < seen[Band.B04]
        assert abs(seen[Band.B02] - seen[Band.B04]) < 0.02
    ice, water = (cloud(kind, geometry).reflectance[11, thick] for kind in ("ice_40um", "water_10um"))
    assert ice < 0.7 * water
