"""What one instrument's bands make of a spectrum that Sentinel-2 saw: reflectance and atmosphere.

A spectrum is taken as straight lines between Sentinel-2's bands (the knots). A band's value is
then a weighted sum of knots, its weights the averages of the hat functions over the response:
the same weights serve surface reflectance and the terms of SMAC. B10 is no knot (no surface is
seen in it), nor is B08 (B07 and B8A lie inside it). Weighting by sunlight is left out: within
one band it moves a weight by less than 0.02.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.types import Band
from tools import smac
from tools.material import FILE_BANDS

F64 = NDArray[np.float64]

KNOTS = (
    *(Band.B01, Band.B02, Band.B03, Band.B04, Band.B05, Band.B06, Band.B07),
    *(Band.B8A, Band.B09, Band.B11, Band.B12),
)
KNOT_UM = np.array([0.443, 0.492, 0.560, 0.665, 0.704, 0.741, 0.783, 0.865, 0.945, 1.610, 2.190])
KNOT_ROWS = [FILE_BANDS.index(band) for band in KNOTS]
NANOMETRES_FROM = 100.0
"""A wavelength above this is in nanometres, below it in micrometres."""


@dataclass(frozen=True, eq=False)
class Response:
    """Relative spectral response: wavelengths in um, rising, and values >= 0 of any scale."""

    wavelength_um: F64
    value: F64


def gaussian(centre_um: float, width_um: float) -> Response:
    """A bell of that full width at half maximum."""
    sigma = width_um / (2 * np.sqrt(2 * np.log(2)))
    wavelength = np.linspace(centre_um - 3 * sigma, centre_um + 3 * sigma, 121)
    return Response(wavelength, np.exp(-(((wavelength - centre_um) / sigma) ** 2) / 2))


def box(first_um: float, last_um: float) -> Response:
    return Response(np.linspace(first_um, last_um, 121), np.ones(121))


# Blue, green, red, near infrared, as their makers name the edges (Airbus, Pleiades Imagery User
# Guide; ESA, Sentinel-2 MSI). For use where the measured responses are absent.
PLEIADES_NOMINAL = (box(0.430, 0.550), box(0.490, 0.610), box(0.600, 0.720), box(0.750, 0.950))
SENTINEL2_NOMINAL = (box(0.458, 0.523), box(0.543, 0.578), box(0.650, 0.680), box(0.785, 0.900))

# Centre and full width at half maximum of Proba-V's VEGETATION instrument: blue, red, near
# infrared, short-wave infrared. ESA, earth.esa.int/web/sppa, "PROBA-V, sensor description".
PROBA_V = (gaussian(0.460, 0.042), gaussian(0.658, 0.082), gaussian(0.834, 0.121), gaussian(1.610, 0.089))


def read_responses(path: Path) -> list[Response]:
    """The responses in a text file: comment lines (# or ;) stand between one band and the next.

    Raises:
        ValueError: a line holds no two numbers, or no band was found.
    """
    bands: list[list[tuple[float, float]]] = []
    is_open = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or line[0] in "#;":
            is_open = False
            continue
        if not is_open:
            bands.append([])
            is_open = True
        try:
            bands[-1].append((float(words[0]), float(words[1])))
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path}:{number}: expected wavelength and response, not {line!r}") from error
    if not bands:
        raise ValueError(f"{path}: no spectral response in this file")
    return [_response(rows) for rows in bands]


def _response(rows: Sequence[tuple[float, float]]) -> Response:
    wavelength, value = np.array(rows).T
    unit = 1000.0 if wavelength[0] > NANOMETRES_FROM else 1.0
    return Response(wavelength / unit, np.maximum(value, 0.0))


def knot_weights(responses: Sequence[Response]) -> F64:
    """(band, knot): the share of every knot in a band's value; each row sums to one.

    Beyond the first and the last knot the spectrum goes on level.
    """
    hats = np.eye(len(KNOT_UM))
    rows = []
    for response in responses:
        fine = np.linspace(response.wavelength_um[0], response.wavelength_um[-1], 400)
        value = np.interp(fine, response.wavelength_um, response.value)
        shares = np.array([np.interp(fine, KNOT_UM, hat) @ value for hat in hats])
        rows.append(shares / shares.sum())
    return np.array(rows)


def knot_stack(planes: Mapping[Band, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The knots' planes as one array (knot, row, col)."""
    return np.stack([planes[band] for band in KNOTS])


def through(above: smac.Terms, weights: F64) -> smac.Terms:
    """SMAC's terms of Sentinel-2's 13 bands, carried over to bands of other ``weights``.

    The terms are averaged over the response as reflectance is: good where they are smooth,
    rough where a gas has lines that no knot shows.
    """
    fields = (above.path, above.transmittance, above.albedo, above.rayleigh_path)
    return smac.Terms(*(np.tensordot(weights, values[KNOT_ROWS], axes=1) for values in fields))
