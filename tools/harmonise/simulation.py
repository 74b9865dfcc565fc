"""Simulated Pleiades and Sentinel-2 pairs of which the truth is known.

        10 m texture, taken for 2 m ground      spectrum: straight lines between 11 bands
                         |                               |
          Pleiades bands at 2 m              Sentinel-2 bands at 2 m  = truth
           |  sky (SMAC), gain, noise          |  point spread, misregistration, 10 m, noise
          fine                               coarse

Real Sentinel-2 patches have no 2 m detail, so their 10 m pixels stand for 2 m ground: a true
texture at another scale. Their own blur (sigma 0.5 px) is then a fine instrument's with a
modulation transfer of 0.2 to 0.3 at its Nyquist frequency, as it should be. The coarse image's
point spread is a 10 m detector convolved with a bell, so that the two meet Sentinel-2's
transfer at Nyquist, drawn between the least that its specification allows and the nominal value.
The bell of the nominal value, with which BCNet starts, is narrower and of another shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from payload.types import F32, Band, Grid
from tools import bandpass, smac
from tools.harmonise.pair import BANDS, RATIO, WINDOW_PX, Mask, Pair
from tools.material import DN_PER_REFLECTANCE, FILE_BANDS, Patch, read_planes

F64 = NDArray[np.float64]

FINE_M = 2.0
COARSE_M = FINE_M * RATIO
GROUND_PX = WINDOW_PX * RATIO

# Modulation transfer of Sentinel-2 at the Nyquist frequency of 10 m, B02 B03 B04 B08, as the
# library sensorsio (CNES, Apache-2.0) lists it.
NYQUIST_TRANSFER = (0.304, 0.276, 0.233, 0.222)
LEAST_TRANSFER = 0.15
"""ESA, Sentinel-2 MSI specification: 0.15 to 0.30 at Nyquist for the 10 m bands."""
DETECTOR_TRANSFER = 2 / np.pi
"""Of a square detector as wide as the pixel, at the Nyquist frequency: sinc(1/2)."""

MIN_SURFACE = 0.0005
MAX_SURFACE = 1.2
MIN_TEXTURE_B08 = 0.02
"""Patches whose B08 varies less (flat water) hold no detail that could be kept or lost."""
SPLIT_OF_SEEN, SPLIT_OF_HELD = "train", "val"


def bell_sigma_m(transfer: float) -> float:
    """Sigma of the bell whose transfer at the Nyquist frequency of 10 m is ``transfer``."""
    return float(COARSE_M / np.pi * np.sqrt(-2 * np.log(transfer)))


@dataclass(frozen=True)
class PairRecipe:
    """Everything that decides a simulated pair besides the ground.

    Attributes:
        is_top: the fine image is reflectance at the top of the atmosphere; else it was
            corrected by SMAC with an optical thickness and water that are somewhat wrong.
        misregistration_m: largest shift a axis of the coarse image against the fine one.
        cloud_ratio: share of the fine image under unmasked small clouds.
    """

    seed: int = 0
    is_top: bool = True
    misregistration_m: float = 6.0
    cloud_ratio: float = 0.0
    gain_deviation: float = 0.03
    noise_fine: float = 0.001
    noise_coarse: float = 0.0007


def synthetic_ground(seed: int, count: int) -> list[F32]:
    """Made-up knot spectra (11, 250, 250) with edges and texture, for tests and trials.

    Fields of soil, crop, wood and water with winding borders, each with a grain of its own.
    """
    covers = np.array(
        [
            [0.08, 0.10, 0.14, 0.20, 0.23, 0.25, 0.27, 0.30, 0.31, 0.40, 0.34],
            [0.03, 0.04, 0.08, 0.05, 0.11, 0.32, 0.40, 0.44, 0.45, 0.22, 0.10],
            [0.02, 0.02, 0.04, 0.02, 0.05, 0.18, 0.22, 0.25, 0.26, 0.12, 0.05],
            [0.04, 0.05, 0.05, 0.03, 0.02, 0.02, 0.02, 0.01, 0.01, 0.01, 0.01],
            [0.13, 0.15, 0.17, 0.19, 0.20, 0.21, 0.22, 0.23, 0.23, 0.25, 0.24],
        ]
    )
    grounds = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kinds = np.argmax([power_field(rng, 1.8) for _ in covers], axis=0)
        grain = np.exp(0.18 * power_field(rng, 0.7))
        mixed = covers[kinds].transpose(2, 0, 1) * grain
        mixed = ndimage.gaussian_filter(mixed, (0, 0.5, 0.5), mode="wrap")
        grounds.append(np.clip(mixed, MIN_SURFACE, MAX_SURFACE).astype(np.float32))
    return grounds


def power_field(rng: np.random.Generator, slope: float) -> F64:
    """A random field (250, 250), mean 0, deviation 1, whose amplitude falls as frequency^-slope."""
    rows = np.fft.fftfreq(GROUND_PX)[:, None]
    cols = np.fft.rfftfreq(GROUND_PX)[None, :]
    frequency = np.hypot(rows, cols)
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(rng.standard_normal((GROUND_PX, GROUND_PX)))
    field = np.fft.irfft2(noise / frequency**slope, (GROUND_PX, GROUND_PX))
    return np.asarray((field - field.mean()) / field.std())


def textured(patches: Sequence[Patch]) -> list[Patch]:
    """The patches that hold detail."""
    return [patch for patch in patches if patch.grids[Grid.R10M][3].std() >= MIN_TEXTURE_B08]


_SHARP_BAND = {
    **dict.fromkeys((Band.B01, Band.B02), Band.B02),
    Band.B03: Band.B03,
    **dict.fromkeys((Band.B04, Band.B05, Band.B11, Band.B12), Band.B04),
    **dict.fromkeys((Band.B06, Band.B07, Band.B8A, Band.B09), Band.B08),
}
_PITCH_PX = {Band.B01: 6, Band.B09: 6, Band.B02: 1, Band.B03: 1, Band.B04: 1}


def real_ground(path: Path, sentinel: smac.Coefficients) -> F32:
    """Knot spectra (11, 250, 250) of a clear L1C patch, seen through a mild sky and inverted.

    Bands of 20 and 60 m get the detail of a 10 m neighbour (ratio to its local mean): a
    plausible ground is wanted, not this place's.
    """
    planes = read_planes(path)
    state = smac.Atmosphere(0.06, 1.5, 0.32, 1000.0)
    mild = smac.terms(sentinel, smac.Angles(38.0, 4.0, 90.0), state)
    surface = {}
    for band in (*bandpass.KNOTS, Band.B08):
        row = FILE_BANDS.index(band)
        fields = (mild.path, mild.transmittance, mild.albedo, mild.rayleigh_path)
        inverted = smac.to_surface(planes[band], smac.Terms(*(values[row] for values in fields)))
        surface[band] = np.clip(inverted, MIN_SURFACE, MAX_SURFACE)
    for band in bandpass.KNOTS:
        pitch = _PITCH_PX.get(band, 2)
        if pitch > 1:
            sharp = surface[_SHARP_BAND[band]]
            detail = np.clip(sharp / ndimage.uniform_filter(sharp, 2 * pitch - 1), 0.5, 2.0)
            surface[band] = ndimage.uniform_filter(surface[band], pitch) * detail
    knots = bandpass.knot_stack(surface)[:, :GROUND_PX, :GROUND_PX]
    return np.clip(knots, MIN_SURFACE, MAX_SURFACE).astype(np.float32)


def coarse_taps(transfer: float, shift_px: float, reach_px: int = 15) -> F64:
    """The coarse point spread along one axis, on fine pixels, moved by ``shift_px``; sums to one.

    A 10 m box convolved with the bell that brings the transfer at Nyquist down to ``transfer``.
    """
    sigma = bell_sigma_m(transfer / DETECTOR_TRANSFER) / FINE_M
    place = np.arange(-reach_px, reach_px + 1) - shift_px
    half = RATIO / 2
    taps = special.erf((place + half) / (sigma * np.sqrt(2)))
    taps = taps - special.erf((place - half) / (sigma * np.sqrt(2)))
    return np.asarray(taps / taps.sum())


def see_coarse(truth: F32, transfers: Sequence[float], shift_px: Sequence[float]) -> F32:
    """What the coarse instrument makes of sharp ground: (4, R, C) of (4, 5 R, 5 C)."""
    seen = []
    for plane, transfer in zip(truth, transfers, strict=True):
        rows = ndimage.correlate1d(plane, coarse_taps(transfer, shift_px[0]), axis=0, mode="nearest")
        both = ndimage.correlate1d(rows, coarse_taps(transfer, shift_px[1]), axis=1, mode="nearest")
        seen.append(both[RATIO // 2 :: RATIO, RATIO // 2 :: RATIO])
    return np.stack(seen).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Instruments:
    """Weights of knots in the four bands of each instrument, and the sky's coefficients."""

    fine: F64
    coarse: F64
    sentinel: smac.Coefficients | None


def read_instruments(shared: Path | None) -> Instruments:
    """Measured responses and SMAC out of the shared material; None: nominal bands, no sky."""
    if shared is None:
        nominal = (bandpass.PLEIADES_NOMINAL, bandpass.SENTINEL2_NOMINAL)
        return Instruments(*(bandpass.knot_weights(bands) for bands in nominal), None)
    folder = shared / "data" / "spectral_response" / "acolite_rsr"
    pleiades = bandpass.read_responses(folder / "PHR1A.txt")[:BANDS]
    sentinel2 = bandpass.read_responses(folder / "S2A_MSI.txt")
    chosen = [sentinel2[number] for number in (1, 2, 3, 7)]
    coefficients = smac.read_coefficients(shared / "data" / "smac_coefficients" / "Coef_S2A_CONTINENTAL.dat")
    return Instruments(bandpass.knot_weights(pleiades), bandpass.knot_weights(chosen), coefficients)


def _sky(rng: np.random.Generator) -> tuple[smac.Angles, smac.Atmosphere]:
    angles = smac.Angles(*(float(rng.uniform(*span)) for span in ((25, 60), (0, 25), (0, 180))))
    aot = float(np.clip(np.exp(rng.normal(np.log(0.15), 0.5)), 0.04, 0.5))
    return angles, smac.Atmosphere(aot, float(rng.uniform(0.8, 3.5)), 0.32, float(rng.uniform(930, 1013)))


def _see_fine(
    rng: np.random.Generator,
    grounds: Sequence[F32],
    instruments: Instruments,
    recipe: PairRecipe,
) -> tuple[list[F32], dict[str, float]]:
    """The fine image of each ground, without clouds and noise, and the sky in words."""
    surfaces = [np.tensordot(instruments.fine, ground, axes=1) for ground in grounds]
    gain = 1 + recipe.gain_deviation * rng.standard_normal((BANDS, 1, 1))
    if instruments.sentinel is None:
        return [(surface * gain).astype(np.float32) for surface in surfaces], {}
    angles, state = _sky(rng)
    guess = smac.Atmosphere(
        float(state.aot550 * np.exp(rng.normal(0, 0.35))),
        float(state.water_g_cm2 * np.exp(rng.normal(0, 0.2))),
        state.ozone_cm_atm,
        state.pressure_hpa,
    )
    images = []
    for surface in surfaces:
        here = smac.Atmosphere(
            float(state.aot550 * np.exp(rng.normal(0, 0.05))),
            state.water_g_cm2,
            state.ozone_cm_atm,
            state.pressure_hpa,
        )
        seen = smac.to_top(surface, _column(instruments, angles, here)) * gain
        if not recipe.is_top:
            seen = smac.to_surface(seen, _column(instruments, angles, guess))
        images.append(np.maximum(seen, MIN_SURFACE).astype(np.float32))
    words = {"sun_zenith_deg": angles.sun_zenith_deg, "view_zenith_deg": angles.view_zenith_deg}
    return images, {**words, "aot550": state.aot550, "water_g_cm2": state.water_g_cm2}


def _column(instruments: Instruments, angles: smac.Angles, state: smac.Atmosphere) -> smac.Terms:
    assert instruments.sentinel is not None
    above = bandpass.through(smac.terms(instruments.sentinel, angles, state), instruments.fine)
    fields = (above.path, above.transmittance, above.albedo, above.rayleigh_path)
    return smac.Terms(*(values.reshape(-1, 1, 1) for values in fields))


def _add_clouds(rng: np.random.Generator, images: list[F32], ratio: float) -> Mask:
    """Small bright clouds over about ``ratio`` of the images, in place; where they stand."""
    masks = []
    for image in images:
        field = power_field(rng, 2.0)
        edge = np.quantile(field, 1 - ratio)
        share = np.clip((field - edge) / 0.3, 0, 1) * rng.uniform(0.7, 1.0)
        bright = np.array([0.55, 0.57, 0.58, 0.62])[:, None, None] * rng.uniform(0.6, 1.2)
        image += (share * (bright - image)).astype(np.float32)
        masks.append(share > 0)
    return np.concatenate(masks)


def make_pair(seen: Sequence[F32], held: Sequence[F32], instruments: Instruments, recipe: PairRecipe) -> Pair:
    """One pair under one sky: a column of grounds, the ``held`` ones last and never trained on."""
    rng = np.random.default_rng(recipe.seed)
    grounds = [*seen, *held]
    truths = [np.tensordot(instruments.coarse, ground, axes=1).astype(np.float32) for ground in grounds]
    images, sky = _see_fine(rng, grounds, instruments, recipe)
    reach_px = recipe.misregistration_m / FINE_M
    shift_px = tuple(float(v) for v in rng.uniform(-reach_px, reach_px, 2))
    softness = float(rng.uniform())
    transfers = [nominal + softness * (LEAST_TRANSFER - nominal) for nominal in NYQUIST_TRANSFER]
    coarse = np.concatenate([see_coarse(truth, transfers, shift_px) for truth in truths], axis=1)
    cloud = _add_clouds(rng, images, recipe.cloud_ratio) if recipe.cloud_ratio else None
    fine = np.concatenate(images, axis=1)
    fine = fine + recipe.noise_fine * rng.standard_normal(fine.shape)
    coarse = coarse + recipe.noise_coarse * rng.standard_normal(coarse.shape)
    story = {
        "source": "simulated",
        "level": "top of atmosphere" if recipe.is_top else "surface, corrected with a wrong sky",
        "transfer_at_nyquist": transfers,
        "misregistration_m": [FINE_M * shift for shift in shift_px],
        "sky": sky,
        "seed": recipe.seed,
    }
    least = 1 / DN_PER_REFLECTANCE
    return Pair(
        np.maximum(fine, least).astype(np.float32),
        np.maximum(coarse, least).astype(np.float32),
        np.concatenate(truths, axis=1),
        cloud,
        tuple(range(len(seen), len(grounds))),
        story,
    )
