"""The same places seen by Sentinel-2 and by Proba-V at 100 m, through simulated skies.

Ground is real: clear L1C patches, inverted and averaged to 100 m. Sentinel-2's bands come from
its measured responses and SMAC's own columns; Proba-V's from bells of the centre and width that
ESA publishes, with SMAC's terms carried over (nobody publishes SMAC coefficients for Proba-V),
its short-wave band seen at 200 m, its gains somewhat off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from payload.types import F32, Band
from tools import bandpass, smac
from tools.harmonise import simulation
from tools.material import FILE_BANDS, clear_patches

F64 = NDArray[np.float64]

BANDS = (Band.B02, Band.B04, Band.B08, Band.B11)
BAND_NAMES = ("blue", "red", "nir", "swir")
BAND_ROWS = [FILE_BANDS.index(band) for band in BANDS]
TEN_METRES_PER_PIXEL = 10
PLACE_PX = 24
"""A place's side at 100 m: what is whole in a patch of 250 px, and a multiple of four."""
SWIR_PITCH_PX = 2
GAIN_DEVIATION = 0.02
NOISE = 0.001
SENTINEL_VIEW_DEG, PROBA_VIEW_DEG = 12.0, 20.0
MIN_SURFACE = simulation.MIN_SURFACE

# How wrong the ancillary fields of an operational chain are, as deviations of a logarithm: a
# climatology of aerosol, analysed water vapour.
AEROSOL_ERROR, WATER_ERROR = 0.5, 0.1


@dataclass(frozen=True, eq=False)
class Seen:
    """One instrument at one place: (4, 24, 24) each.

    Attributes:
        top: reflectance at the top of the atmosphere, as measured.
        surface: the true reflectance of the ground in the instrument's bands.
        by_smac: what SMAC makes of ``top`` with somewhat wrong ancillary fields.
    """

    top: F32
    surface: F32
    by_smac: F32


@dataclass(frozen=True, eq=False)
class Instrument:
    """Weights of knots in its four bands; ``own_columns``: SMAC has columns for these bands."""

    weights: F64
    own_columns: bool
    view_deg: float
    swir_pitch_px: int


@dataclass(frozen=True, eq=False)
class Instruments:
    sentinel: Instrument
    proba: Instrument
    coefficients: smac.Coefficients


def read_instruments(shared: Path) -> Instruments:
    folder = shared / "data"
    responses = bandpass.read_responses(folder / "spectral_response" / "acolite_rsr" / "S2A_MSI.txt")
    # The file lists B1 to B8, B8A, B9 to B12, as FILE_BANDS does.
    chosen = [responses[row] for row in BAND_ROWS]
    coefficients = smac.read_coefficients(folder / "smac_coefficients" / "Coef_S2A_CONTINENTAL.dat")
    return Instruments(
        Instrument(bandpass.knot_weights(chosen), True, SENTINEL_VIEW_DEG, 1),
        Instrument(bandpass.knot_weights(bandpass.PROBA_V), False, PROBA_VIEW_DEG, SWIR_PITCH_PX),
        coefficients,
    )


def read_grounds(shared: Path, split: str, coefficients: smac.Coefficients) -> list[F32]:
    """Knot spectra (11, 24, 24) at 100 m of the clear patches of a split."""
    folder = shared / "data" / "l1c" / split / "clear"
    return [
        to_hundred_metres(simulation.real_ground(folder / f"{patch.name}.tif", coefficients))
        for patch in clear_patches(shared, split)
    ]


def to_hundred_metres(fine: F32) -> F32:
    """Means over 10 x 10 pixels, the first 24 x 24 of them."""
    pitch, size = TEN_METRES_PER_PIXEL, PLACE_PX * TEN_METRES_PER_PIXEL
    blocks = fine[:, :size, :size].reshape(len(fine), PLACE_PX, pitch, PLACE_PX, pitch)
    return blocks.mean(axis=(2, 4)).astype(np.float32)


def vary(rng: np.random.Generator, grounds: Sequence[F32]) -> F32:
    """A ground like those given: two of them mixed, turned, brighter or darker, somewhat tinted."""
    first, second = (grounds[int(i)] for i in rng.integers(0, len(grounds), 2))
    share = float(rng.beta(0.4, 0.4))
    mixed = share * first + (1 - share) * np.rot90(second, int(rng.integers(4)), (1, 2))
    tint = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.06, len(mixed)))
    turned = np.rot90(mixed, int(rng.integers(4)), (1, 2))
    return np.clip(turned * tint[:, None, None], MIN_SURFACE, simulation.MAX_SURFACE).astype(np.float32)


def look(
    rng: np.random.Generator, ground: F32, instrument: Instrument, coefficients: smac.Coefficients
) -> Seen:
    """One instrument's view of a ground through a random sky."""
    surface = np.tensordot(instrument.weights, ground, axes=1)
    angles = smac.Angles(
        float(rng.uniform(20, 65)), float(rng.uniform(0, instrument.view_deg)), float(rng.uniform(0, 180))
    )
    aot = float(np.clip(np.exp(rng.normal(np.log(0.12), 0.7)), 0.02, 0.7))
    water = float(np.clip(np.exp(rng.normal(np.log(1.6), 0.6)), 0.2, 5.0))
    pressure = smac.pressure_at(float(rng.uniform(0, 1200)))
    sky = smac.Atmosphere(aot, water, float(rng.uniform(0.25, 0.42)), pressure)
    guess = smac.Atmosphere(
        float(aot * np.exp(rng.normal(0, AEROSOL_ERROR))),
        float(water * np.exp(rng.normal(0, WATER_ERROR))),
        0.32,
        pressure,
    )
    top = smac.to_top(surface, _terms(instrument, coefficients, angles, sky))
    if not instrument.own_columns:
        top = top * (1 + GAIN_DEVIATION * rng.standard_normal((len(BANDS), 1, 1)))
    top = _at_pitch(top, instrument.swir_pitch_px) + NOISE * rng.standard_normal(top.shape)
    top = np.maximum(top, MIN_SURFACE)
    corrected = smac.to_surface(top, _terms(instrument, coefficients, angles, guess))
    seen = (top, _at_pitch(surface, instrument.swir_pitch_px), np.maximum(corrected, MIN_SURFACE))
    return Seen(*(stack.astype(np.float32) for stack in seen))


def _at_pitch(stack: F64, swir_pitch_px: int) -> F64:
    """The stack with its short-wave band blurred to that many pixels."""
    blurred = np.array(stack)
    blurred[-1] = ndimage.uniform_filter(stack[-1], swir_pitch_px)
    return blurred


def _terms(
    instrument: Instrument, coefficients: smac.Coefficients, angles: smac.Angles, sky: smac.Atmosphere
) -> smac.Terms:
    above = smac.terms(coefficients, angles, sky)
    if not instrument.own_columns:
        above = bandpass.through(above, instrument.weights)
        rows = list(range(len(BANDS)))
    else:
        rows = BAND_ROWS
    fields = (above.path, above.transmittance, above.albedo, above.rayleigh_path)
    return smac.Terms(*(values[rows].reshape(-1, 1, 1) for values in fields))
