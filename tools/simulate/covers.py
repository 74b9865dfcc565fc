"""Spectra of the ground by physics, as reflectance in the 13 bands, kept in a shipped library.

Needs the extra 'simulate' (prosail) to be built again.

Vegetation: PROSPECT-D leaves in a 4SAIL canopy (Feret et al. 2017; Verhoef et al. 2007; the
library prosail) over its measured soils. Soils: a rising continuum with iron (0.50, 0.88 um)
and clay (2.21 um) bands under a film of water. Snow: exp(-sqrt(gamma L)), the asymptotic
solution for grains of ice with soot (Kokhanovsky and Zege 2004, Appl. Opt. 43, 1589). Water:
absorption and backscatter of pure water, phytoplankton, yellow substance and sediment turned
into reflectance after Gordon et al. (1988), J. Geophys. Res. 93, 10909, over a bottom where it
is shallow. Rock, sand, salt and what towns are built of: continua with the known bands.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.simulate.particles import ICE_ABSORPTION, ICE_UM

F64 = NDArray[np.float64]
Random = np.random.Generator

COVER_FILE = "covers.npz"
COUNTS = {
    "crop": 420,
    "forest": 260,
    "dry": 220,
    "burnt": 40,
    "soil": 360,
    "rock": 120,
    "bright": 140,
    "snow": 220,
    "water": 420,
    "urban": 360,
}
_UM = np.arange(400, 2501) / 1000.0
_BAND_UM = (
    ("B01", 0.4427, 0.020), ("B02", 0.4924, 0.065), ("B03", 0.5598, 0.035), ("B04", 0.6646, 0.030),
    ("B05", 0.7041, 0.014), ("B06", 0.7405, 0.014), ("B07", 0.7828, 0.019), ("B08", 0.8328, 0.105),
    ("B8A", 0.8647, 0.021), ("B09", 0.9451, 0.019), ("B10", 1.3735, 0.029), ("B11", 1.6137, 0.090),
    ("B12", 2.2024, 0.174),
)  # fmt: skip
"""Centre and full width at half maximum of the bands (um): smooth spectra ask for no more."""


def build(folder: Path) -> None:
    """Write the library COVER_FILE into ``folder``: float16 (count, 13) for each kind."""
    rng = np.random.default_rng(20)
    soils = _measured_soils()
    made = {name: _many(rng, name, count, soils) for name, count in COUNTS.items()}
    np.savez_compressed(folder / COVER_FILE, **made)


def _many(rng: Random, name: str, count: int, soils: F64) -> NDArray[np.float16]:
    draw: dict[str, Callable[[], F64]] = {
        "crop": lambda: _plants(rng, "crop"),
        "forest": lambda: _plants(rng, "forest") * rng.uniform(0.5, 1.0),
        "dry": lambda: _plants(rng, "dry"),
        "burnt": lambda: _soil(rng, soils) * rng.uniform(0.15, 0.4),
        "soil": lambda: _soil(rng, soils),
        "rock": lambda: _rock(rng),
        "bright": lambda: _bright(rng),
        "snow": lambda: _snow(rng),
        "water": lambda: _water(rng),
        "urban": lambda: _urban(rng),
    }
    spectra = np.array([np.clip(draw[name](), 0.0005, 1.0) for _ in range(count)])
    return (spectra @ _band_weights().T).astype(np.float16)


def _band_weights() -> F64:
    rows = [(np.abs(_UM - centre) <= width / 2).astype(float) for _, centre, width in _BAND_UM]
    return np.array([row / row.sum() for row in rows])


def _measured_soils() -> F64:
    from prosail.spectral_library import get_spectra

    soil = get_spectra().soil
    return np.array([soil.rsoil1, soil.rsoil2])


def _dip(centre_um: float, width_um: float, depth: float) -> F64:
    return np.asarray(1 - depth * np.exp(-0.5 * ((_UM - centre_um) / width_um) ** 2))


def _plants(rng: Random, kind: str) -> F64:
    import prosail

    dry = kind == "dry"
    chlorophyll = (
        rng.uniform(0, 12) if dry else rng.uniform(30, 80) if kind == "forest" else rng.uniform(15, 75)
    )
    brown = rng.uniform(0.2, 1.4) if dry else max(0.0, rng.normal(0.05, 0.2))
    water = rng.uniform(0.0005, 0.006) if dry else rng.uniform(0.004, 0.035)
    dry_matter = rng.uniform(0.006, 0.02) if dry or kind == "forest" else rng.uniform(0.002, 0.015)
    leaf_area = {"dry": rng.uniform(0.5, 4), "forest": rng.uniform(2, 7), "crop": rng.uniform(0.3, 6.5)}[kind]
    slope = rng.uniform(-0.6, 0.6)
    found = prosail.run_prosail(
        rng.uniform(1.2, 2.2), chlorophyll, rng.uniform(4, 16), brown, water, dry_matter, leaf_area, slope,
        rng.uniform(0.01, 0.5), rng.uniform(20, 65), rng.uniform(0, 10), rng.uniform(0, 180),
        typelidf=1, lidfb=rng.uniform(-0.4, 0.4) * (1 - abs(slope)), prospect_version="D",
        ant=rng.exponential(1.5), rsoil=rng.uniform(0.3, 1.4), psoil=rng.uniform(0, 1),
    )  # fmt: skip
    return np.asarray(found, np.float64)


def _soil(rng: Random, measured: F64) -> F64:
    level = np.clip(np.exp(rng.normal(np.log(0.28), 0.38)), 0.06, 0.75)
    start = rng.uniform(0.12, 0.55)
    soil = level * (start + (1 - start) * -np.expm1(-(_UM - 0.38) / rng.uniform(0.18, 0.7)))
    iron = rng.beta(1.2, 2.0)
    soil = (
        soil * _dip(0.50, 0.06, 0.45 * iron) * _dip(0.66, 0.05, 0.10 * iron) * _dip(0.88, 0.09, 0.22 * iron)
    )
    soil = soil * _dip(2.21, 0.03, rng.uniform(0, 0.18)) * _dip(2.34, 0.035, rng.uniform(0, 0.12))
    soil = soil * (1 - rng.uniform(0, 0.25) * np.clip((_UM - 1.8) / 0.7, 0, 1))
    if rng.random() < 0.5:
        dry = rng.uniform(0.3, 1)
        soil = 0.5 * soil + 0.5 * (dry * measured[0] + (1 - dry) * measured[1]) * rng.uniform(0.5, 1.4)
    return soil * np.exp(-1.1 * rng.random() ** 2 * _film())


def _film() -> F64:
    """Absorbance of a film of water among grains, relative."""
    where = [0.4, 0.8, 0.97, 1.07, 1.2, 1.3, 1.4, 1.45, 1.6, 1.7, 1.8, 1.9, 1.95, 2.1, 2.2, 2.3, 2.5]
    value = [0.25, 0.28, 0.36, 0.3, 0.38, 0.4, 0.8, 1.1, 0.6, 0.5, 0.6, 1.7, 1.9, 1.0, 0.85, 1.0, 2.2]
    return np.interp(_UM, where, value)


def _rock(rng: Random) -> F64:
    level, rise = np.exp(rng.normal(np.log(0.2), 0.45)), rng.uniform(0.05, 0.6)
    rock = level * (1 - rise * np.exp(-(_UM - 0.38) / rng.uniform(0.1, 0.5)))
    rock = rock * _dip(0.95, 0.15, rng.uniform(0, 0.25)) * _dip(2.33, 0.04, rng.uniform(0, 0.2))
    return rock * _dip(0.88, 0.1, rng.uniform(0, 0.15))


def _bright(rng: Random) -> F64:
    """Salt, gypsum, quartz sand, chalk."""
    start = rng.uniform(0.2, 0.75)
    level = rng.uniform(0.35, 0.85)
    found = level * (start + (1 - start) * -np.expm1(-(_UM - 0.38) / rng.uniform(0.06, 0.35)))
    for centre, width, most in ((1.45, 0.05, 0.4), (1.75, 0.03, 0.3), (1.94, 0.06, 0.6), (2.21, 0.04, 0.4)):
        found = found * _dip(centre, width, rng.uniform(0, most))
    return found * (1 - rng.uniform(0, 0.6) * np.clip((_UM - 1.3) / 1.1, 0, 1))


def _snow(rng: Random) -> F64:
    ice = np.exp(np.interp(_UM, ICE_UM, np.log(ICE_ABSORPTION)))
    length_um = 12.0 * np.exp(rng.uniform(np.log(60.0), np.log(2000.0)))
    soot = 10 ** rng.uniform(-9.0, -6.2) * 0.2 * (0.55 / _UM) ** rng.uniform(-0.5, 2.0)
    gamma = 4 * np.pi * (ice + soot) / _UM
    return np.asarray(rng.uniform(0.88, 1.02) * np.exp(-np.sqrt(gamma * length_um)))


def _water(rng: Random) -> F64:
    where = [0.4, 0.443, 0.49, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0, 2.5]
    pure = np.interp(
        _UM, where, [0.0066, 0.007, 0.015, 0.0565, 0.222, 0.34, 0.624, 2.5, 2.1, 4.1, 6.5, 40, 2000]
    )
    green, mud, yellow = (
        10 ** rng.uniform(-1.5, 1.9),
        10 ** rng.uniform(-1.5, 2.3),
        10 ** rng.uniform(-2.0, 0.7),
    )
    pigment = np.exp(-0.5 * ((_UM - 0.44) / 0.045) ** 2) + 0.45 * np.exp(-0.5 * ((_UM - 0.675) / 0.014) ** 2)
    absorbed = pure + 0.05 * green**0.65 * (pigment + 0.12) + yellow * np.exp(-15 * (_UM - 0.44))
    absorbed = absorbed + 0.03 * mud * np.exp(-11 * (_UM - 0.44))
    back = (
        0.0009 * (0.55 / _UM) ** 4.3 + 0.0067 * mud * (0.55 / _UM) ** rng.uniform(0, 1.2) + 0.002 * green**0.6
    )
    share = back / (absorbed + back)
    below = 0.0949 * share + 0.0794 * share**2
    found = np.pi * 0.52 * below / (1 - 1.7 * below)
    if rng.random() < 0.2:
        seen = np.exp(-2 * (absorbed + back) * rng.uniform(0.5, 8.0))
        found = found * (1 - seen) + rng.uniform(0.04, 0.13) * seen
    glint = rng.exponential(0.006) if rng.random() < 0.75 else rng.uniform(0.0, 0.12)
    return np.asarray(
        found + glint * np.interp(_UM, [0.4, 0.865, 1.6, 2.2, 2.5], [1.05, 1.0, 0.92, 0.85, 0.8])
    )


def _urban(rng: Random) -> F64:
    kind = rng.choice(
        ["asphalt", "concrete", "tile", "metal", "white", "paint"], p=[0.3, 0.3, 0.16, 0.1, 0.08, 0.06]
    )
    infrared = np.clip((_UM - 0.9) / 1.3, 0, 1)
    if kind == "asphalt":
        return rng.uniform(0.04, 0.14) * (0.7 + 0.35 * np.clip((_UM - 0.4) / 1.2, 0, 1.4))
    if kind == "concrete":
        return rng.uniform(0.14, 0.45) * (0.55 - 0.5 * np.expm1(-(_UM - 0.38) / 0.25)) * _dip(2.3, 0.05, 0.08)
    if kind == "tile":
        edge = 0.25 + 0.85 / (1 + np.exp(-(_UM - 0.6) / 0.05))
        return np.asarray(rng.uniform(0.15, 0.4) * edge * _dip(0.87, 0.09, 0.15))
    if kind == "metal":
        return np.asarray(rng.uniform(0.15, 0.8) * (1 + rng.uniform(-0.2, 0.15) * (_UM - 0.6)))
    if kind == "white":
        bright = np.clip((_UM - 0.36) / 0.06, 0, 1)
        return np.asarray(rng.uniform(0.45, 0.9) * bright * (1 - rng.uniform(0, 0.35) * infrared))
    colour = 0.3 + np.exp(-0.5 * ((_UM - rng.uniform(0.42, 0.7)) / 0.06) ** 2)
    return np.asarray(rng.uniform(0.1, 0.4) * (colour + 0.5 * np.clip((_UM - 0.7) / 0.5, 0, 1)))
