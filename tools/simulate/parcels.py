"""Farm land: districts with their own direction, cut into strips and fields with one crop each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from payload.types import F32
from tools.simulate.fields import Shape, fractal
from tools.simulate.spectra import SPECTRA

CROPS = ("crop_green", "crop_young", "crop_ripe", "rapeseed", "meadow", "soil_bright", "soil_dark", "stubble")
CROP_SHARES = (0.22, 0.14, 0.12, 0.07, 0.16, 0.06, 0.12, 0.11)
DISTRICT_PX = 30_000
"""Mean size of a district of one field direction: 3 km²."""


@dataclass(frozen=True, slots=True, eq=False)
class Parcels:
    """``number`` (rows, cols) says which of ``spectra`` (parcel, 13) grows where.

    ``furrows`` (rows, cols) is the brightness change along tractor lines and at field edges.
    """

    number: NDArray[np.int32]
    spectra: F32
    furrows: F32


def lay_parcels(rng: np.random.Generator, shape: Shape) -> Parcels:
    """Fields for the whole strip, each with one crop of one state."""
    district = _districts(rng, shape)
    rows, columns = np.mgrid[0.0 : shape[0], 0.0 : shape[1]].astype(np.float32)
    number = np.zeros(shape, np.int64)
    furrows = np.zeros(shape, np.float32)
    first = 0
    for this in range(int(district.max()) + 1):
        inside = district == this
        if not inside.any():
            continue
        angle = rng.uniform(0, np.pi)
        across = rows[inside] * np.cos(angle) + columns[inside] * np.sin(angle)
        along = columns[inside] * np.cos(angle) - rows[inside] * np.sin(angle)
        along = along + 0.15 * across
        number[inside], count = _fields(rng, across, along)
        number[inside] += first
        first += count
        lines = np.sin(across * rng.uniform(1.2, 2.6)) * rng.uniform(0.005, 0.035)
        furrows[inside] = lines
    furrows -= 0.10 * _edges(number)
    used, packed = np.unique(number, return_inverse=True)
    packed = packed.reshape(shape).astype(np.int32)
    return Parcels(packed, _crops(rng, len(used)), furrows)


def _districts(rng: np.random.Generator, shape: Shape) -> NDArray[np.int32]:
    """The nearest of some random places, seen through a warp so that borders are not straight."""
    count = max(2, shape[0] * shape[1] // DISTRICT_PX)
    rows, columns = np.mgrid[0.0 : shape[0], 0.0 : shape[1]].astype(np.float32)
    rows += 14.0 * fractal(rng, shape, 1.8)
    columns += 14.0 * fractal(rng, shape, 1.8)
    nearest = np.full(shape, np.inf, np.float32)
    district = np.zeros(shape, np.int32)
    for this in range(count):
        place = rng.uniform(0, 1, 2) * shape
        distance = (rows - place[0]) ** 2 + (columns - place[1]) ** 2
        closer = distance < nearest
        district[closer] = this
        nearest[closer] = distance[closer]
    return district


def _fields(rng: np.random.Generator, across: F32, along: F32) -> tuple[NDArray[np.int64], int]:
    """A running number for each field of one district, and how many there may be."""
    width = rng.uniform(9.0, 26.0)
    cuts = np.cumsum(rng.gamma(4.0, width / 4.0, size=4000)) + across.min()
    strip = np.searchsorted(cuts[cuts < across.max()], across)
    strips = int(strip.max()) + 1
    length = rng.uniform(18.0, 75.0, strips)
    start = rng.uniform(0.0, 75.0, strips)
    field = np.floor((along - along.min() + start[strip]) / length[strip]).astype(np.int64)
    most = int(field.max()) + 1
    return strip.astype(np.int64) * most + field, strips * most


def _edges(number: NDArray[np.int64]) -> F32:
    edge = np.zeros(number.shape, np.float32)
    edge[1:] += number[1:] != number[:-1]
    edge[:, 1:] += number[:, 1:] != number[:, :-1]
    return np.minimum(edge, 1.0).astype(np.float32)


def _crops(rng: np.random.Generator, count: int) -> F32:
    """A spectrum for each field: two crops mixed a little, brighter or darker."""
    table = np.stack([SPECTRA[name] for name in CROPS])
    first = rng.choice(len(CROPS), count, p=CROP_SHARES)
    second = rng.choice(len(CROPS), count, p=CROP_SHARES)
    mix = np.float32(0.35) * rng.random((count, 1), dtype=np.float32)
    bright = rng.normal(1.0, 0.10, (count, 1))
    tint = rng.normal(1.0, 0.03, (count, 13))
    spectra: F32 = ((table[first] * (1 - mix) + table[second] * mix) * bright * tint).astype(np.float32)
    return np.clip(spectra, 0.004, 0.7).astype(np.float32)
