"""Optics of the particles in the air, by Mie theory: extinction, albedo and phase function per band.

Needs the extra 'simulate' (miepython); what comes out is kept in the shipped tables.

Aerosols are mixtures, by volume, of components with lognormal sizes. Continental, maritime
and urban: WMO WCP-112 (1986), the models that 6S also has. Desert: a fine and a coarse mode
with the imaginary indices that Dubovik et al. (2002, J. Atmos. Sci. 59, 590) retrieved over
Arabia and the Sahara. Smoke: fine mode of savanna burning, same source. Refractive indices of
the components: Shettle and Fenn (1979), AFGL-TR-79-0214. Water: Hale and Querry (1973), Appl.
Opt. 12, 555. Ice absorption: Warren and Brandt (2008), J. Geophys. Res. 113, D14220; crystals
are not spheres, so their phase function is a double Henyey-Greenstein one of asymmetry 0.76
(measured in cirrus by Gerber et al. 2000, J. Atmos. Sci. 57, 3021) and their co-albedo that of
geometrical optics.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

F64 = NDArray[np.float64]

REFERENCE_UM = 0.55
MOMENTS = 600

_UM = np.array([0.40, 0.488, 0.55, 0.694, 0.86, 1.06, 1.536, 2.25])
_INDEX: dict[str, tuple[list[float], list[float]]] = {
    "dust": (
        [1.53, 1.53, 1.53, 1.53, 1.52, 1.52, 1.40, 1.22],
        [0.008, 0.008, 0.008, 0.008, 0.008, 0.008, 0.008, 0.009],
    ),
    "soluble": (
        [1.53, 1.53, 1.53, 1.53, 1.52, 1.52, 1.51, 1.42],
        [0.005, 0.005, 0.006, 0.007, 0.012, 0.017, 0.023, 0.010],
    ),
    "ocean": (
        [1.385, 1.382, 1.381, 1.376, 1.372, 1.367, 1.359, 1.334],
        [9.9e-9, 6.4e-9, 4.3e-9, 5.04e-8, 1.09e-6, 6.01e-5, 2.43e-4, 8.5e-4],
    ),
    "soot": (
        [1.75, 1.75, 1.75, 1.75, 1.75, 1.75, 1.77, 1.81],
        [0.46, 0.45, 0.44, 0.43, 0.43, 0.44, 0.46, 0.50],
    ),
    "desert": (
        [1.53, 1.53, 1.53, 1.53, 1.53, 1.53, 1.52, 1.50],
        [0.0050, 0.0035, 0.0026, 0.0014, 0.0012, 0.0010, 0.0010, 0.0010],
    ),
    "smoke": ([1.50] * 8, [0.016, 0.0155, 0.015, 0.0145, 0.014, 0.014, 0.014, 0.014]),
}
_WATER_UM = np.array([0.443, 0.49, 0.56, 0.665, 0.705, 0.74, 0.783, 0.833, 0.865, 0.945, 1.375, 1.61, 2.2])
_WATER = (
    [1.337, 1.335, 1.333, 1.331, 1.330, 1.330, 1.329, 1.328, 1.327, 1.326, 1.321, 1.317, 1.298],
    [1.2e-9, 1e-9, 2e-9, 2.2e-8, 4.5e-8, 1.5e-7, 1.5e-7, 2.8e-7, 3.4e-7, 2.9e-6, 1.1e-4, 8.6e-5, 2.9e-4],
)
_ICE = (
    "0.400 2.4e-11  0.443 1.0e-10  0.490 4.0e-10  0.560 2.3e-9  0.600 5.7e-9  0.665 1.8e-8  0.705 3.1e-8 "
    "0.740 6.0e-8  0.783 1.1e-7  0.833 2.0e-7  0.865 2.5e-7  0.945 8.0e-7  1.030 2.3e-6  1.100 1.7e-6 "
    "1.200 8.0e-6  1.300 1.3e-5  1.400 2.0e-5  1.450 1.5e-4  1.500 5.5e-4  1.550 4.2e-4  1.600 2.9e-4 "
    "1.650 2.3e-4  1.700 1.9e-4  1.800 1.2e-4  1.870 8.0e-5  1.950 8.0e-4  2.000 1.6e-3  2.100 7.0e-4 "
    "2.200 3.2e-4  2.250 2.2e-4  2.300 3.2e-4  2.400 5.5e-4  2.500 7.0e-4"
)
ICE_UM, ICE_ABSORPTION = np.array(_ICE.split(), np.float64).reshape(-1, 2).T
"""Imaginary refractive index of ice at ICE_UM."""


@dataclass(frozen=True, eq=False)
class Optics:
    """One kind of particle over W wavelengths.

    Attributes:
        extinction: relative to 0.55 um (W,).
        albedo: single-scattering albedo (W,).
        cosines: where the phase function is given (A,), Gauss nodes of -1..1, rising.
        phase: phase function of mean 1 over the sphere (W, A).
        moments: its Legendre moments (W, MOMENTS).
    """

    extinction: F64
    albedo: F64
    cosines: F64
    phase: F64
    moments: F64


Population = tuple[F64, F64, F64]
"""Per volume: extinction (W,), scattering (W,), scattering times phase function (W, A)."""

_COSINES, _WEIGHTS = legendre.leggauss(900)


def _index(name: str, um: F64) -> NDArray[np.complex128]:
    where, (real, imaginary) = (_WATER_UM, _WATER) if name == "water" else (_UM, _INDEX[name])
    absorbing = np.exp(np.interp(um, where, np.log(imaginary)))
    return np.asarray(np.interp(um, where, real) - 1j * absorbing)


def _population(
    number: Callable[[F64], F64], name: str, um: F64, radii: tuple[float, float, int]
) -> Population:
    """Mie sums over sizes; ``number`` is dN / d ln r, ``radii`` first, last (um) and how many."""
    os.environ.setdefault("MIEPYTHON_USE_JIT", "1")
    import miepython

    radius = np.geomspace(*radii)
    step = np.log(radius[1] / radius[0])
    density = number(radius) * step
    volume = float(np.sum(4 / 3 * np.pi * radius**3 * density))
    extinction, scattering = np.zeros(len(um)), np.zeros(len(um))
    phase = np.zeros((len(um), len(_COSINES)))
    for band, (wavelength, index) in enumerate(zip(um, _index(name, um), strict=True)):
        size = 2 * np.pi * radius / wavelength
        out, scattered, _, _ = miepython.efficiencies_mx(np.full(len(radius), index), size)
        area = np.pi * radius**2 * density
        extinction[band], scattering[band] = np.sum(out * area), np.sum(scattered * area)
        for this, share in enumerate(scattered * area / scattering[band]):
            if share > 1e-8:
                first, second = miepython.S1_S2(index, size[this], _COSINES, norm="qsca")
                phase[band] += area[this] * 0.5 * (np.abs(first) ** 2 + np.abs(second) ** 2)
    phase *= (2 * scattering / (phase @ _WEIGHTS))[:, None]
    return extinction / volume, scattering / volume, phase / volume


def _lognormal(radius_um: float, spread: float) -> Callable[[F64], F64]:
    return lambda r: np.exp(-0.5 * (np.log(r / radius_um) / np.log(spread)) ** 2)


def _volume_mode(radius_um: float, spread_ln: float) -> Callable[[F64], F64]:
    return lambda r: np.exp(-0.5 * (np.log(r / radius_um) / spread_ln) ** 2) / r**3


def _droplets(effective_um: float, variance: float = 0.1) -> Callable[[F64], F64]:
    """Hansen's gamma distribution of cloud droplets."""
    power = (1 - 3 * variance) / variance + 1
    return lambda r: (r / effective_um) ** power * np.exp(-r / (effective_um * variance))


def _optics(parts: list[tuple[float, Population]], um: F64) -> Optics:
    """The mixture of ``parts`` by volume."""
    extinction = np.asarray(sum(share * part[0] for share, part in parts))
    scattering = np.asarray(sum(share * part[1] for share, part in parts))
    phase = np.asarray(sum(share * part[2] for share, part in parts)) / scattering[:, None]
    reference = np.exp(np.interp(np.log(REFERENCE_UM), np.log(um), np.log(extinction)))
    return _shaped(extinction / reference, scattering / extinction, phase)


def _shaped(extinction: F64, albedo: F64, phase: F64) -> Optics:
    table = legendre.legvander(_COSINES, MOMENTS - 1)
    moments = 0.5 * (phase * _WEIGHTS) @ table
    return Optics(extinction, albedo, _COSINES, phase, moments / moments[:, :1])


def aerosols(um: F64) -> dict[str, Optics]:
    """The aerosol types at wavelengths ``um`` (W,), rising."""
    wide = (0.002, 20.0, 140)
    dust = _population(_lognormal(0.5, 2.99), "dust", um, (0.005, 20.0, 140))
    soluble = _population(_lognormal(0.005, 2.99), "soluble", um, wide)
    ocean = _population(_lognormal(0.3, 2.51), "ocean", um, wide)
    soot = _population(_lognormal(0.0118, 2.0), "soot", um, (0.001, 5.0, 120))
    fine = _population(_volume_mode(0.15, 0.42), "desert", um, (0.01, 2.0, 80))
    coarse = _population(_volume_mode(2.2, 0.62), "desert", um, (0.1, 20.0, 120))
    burnt = _population(_volume_mode(0.15, 0.45), "smoke", um, (0.01, 2.0, 80))
    return {
        "continental": _optics([(0.70, dust), (0.29, soluble), (0.01, soot)], um),
        "maritime": _optics([(0.05, soluble), (0.95, ocean)], um),
        "urban": _optics([(0.17, dust), (0.61, soluble), (0.22, soot)], um),
        "desert": _optics([(0.06, fine), (0.94, coarse)], um),
        "smoke": _optics([(0.80, burnt), (0.20, coarse)], um),
    }


def clouds(um: F64, smoke: Optics) -> dict[str, Optics]:
    """Droplets of three sizes, crystals of two, and the smoke of a plume, at ``um`` (W,)."""
    made = {
        f"water_{size}um": _optics([(1.0, _population(_droplets(size), "water", um, (0.5, 60.0, 160)))], um)
        for size in (6, 10, 16)
    }
    return {**made, "ice_40um": _ice(um, 40.0), "ice_80um": _ice(um, 80.0), "smoke": smoke}


def _ice(um: F64, path_um: float) -> Optics:
    """Crystals whose light paths inside are about ``path_um`` long."""
    absorbing = np.exp(np.interp(um, ICE_UM, np.log(ICE_ABSORPTION)))
    lost = 0.47 * -np.expm1(-0.93 * 4 * np.pi * absorbing / um * path_um)
    asymmetry = 0.76 + 0.10 * np.minimum(1.0, lost / 0.2)
    forward = (asymmetry + 0.08 * 0.25) / 0.92
    phase = 0.92 * _henyey(forward[:, None]) + 0.08 * _henyey(np.array([[-0.25]]))
    return _shaped(np.ones(len(um)), 1 - lost, phase)


def _henyey(asymmetry: F64) -> F64:
    return np.asarray((1 - asymmetry**2) / (1 + asymmetry**2 - 2 * asymmetry * _COSINES) ** 1.5)
