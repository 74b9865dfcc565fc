"""Scattering of sunlight in a stack of plane layers, by adding and doubling.

Rules:
- Light is a vector of directions (cosines of the zenith angle) and Fourier modes in azimuth;
  with three Stokes parameters (I, Q, U) for molecules, one (I) for everything else.
- A layer is doubled from a film so thin that single scattering is exact in it.
- Two layers are added by summing the light that goes to and fro between them.
- Nothing is lost: what does not absorb reflects and transmits all that falls on it.

The equations are those of Hansen and Travis, "Light scattering in planetary atmospheres",
Space Sci. Rev. 16, 527-610, 1974. Sharp forward peaks are cut off by the delta-M method
(Wiscombe 1977, J. Atmos. Sci. 34, 1408); the single scattering that this spoils is left
out of the stored modes and put back exactly by whoever uses them (TMS, Nakajima and Tanaka
1988, J. Quant. Spectrosc. Radiat. Transfer 40, 51).

Directions: gauss nodes carry the fluxes; nodes of weight 0 stand at the sun and view zenith
angles that are asked for. Matrices are (batch, mode, N, N), outgoing direction first, N =
directions x Stokes parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

F64 = NDArray[np.float64]

AZIMUTHS = 72
FILM_DEPTH = 1e-7
DEPOLARISATION = 0.0279
"""Of air (Young 1980), the value of 6S."""
MAX_DOUBLINGS = 40


@dataclass(frozen=True, eq=False)
class Streams:
    """The directions in which light is followed.

    Attributes:
        cosines: (N,), all above 0; an up and a down direction each.
        weights: (N,), Gauss weights on 0..1; 0 at the sun and view nodes.
        sun, view: where the asked-for zenith angles stand among the cosines.
        modes: Fourier modes 0 .. modes - 1 in azimuth.
        stokes: 1 or 3.
    """

    cosines: F64
    weights: F64
    sun: slice
    view: slice
    modes: int
    stokes: int = 1

    @property
    def wide_weights(self) -> F64:
        return np.repeat(self.weights, self.stokes)

    @property
    def mirror(self) -> F64:
        """Signs of the Stokes parameters when a layer is turned upside down."""
        signs = np.ones(self.stokes)
        if self.stokes == 3:
            signs[2] = -1.0
        return np.tile(signs, len(self.cosines))

    @property
    def legendre_terms(self) -> int:
        """Moments of a phase function that the Gauss nodes integrate exactly."""
        return 2 * int((self.weights > 0).sum())


def streams(
    sun_zenith_deg: Sequence[float], view_zenith_deg: Sequence[float], nodes: int, modes: int, stokes: int = 1
) -> Streams:
    """Gauss nodes plus the asked-for directions."""
    gauss, weights = legendre.leggauss(nodes)
    sun = np.cos(np.radians(np.maximum(sun_zenith_deg, 0.05)))
    view = np.cos(np.radians(np.maximum(view_zenith_deg, 0.02)))
    cosines = np.concatenate([0.5 * (gauss + 1.0), sun, view])
    padded = np.concatenate([0.5 * weights, np.zeros(len(sun) + len(view))])
    first_view = nodes + len(sun)
    return Streams(cosines, padded, slice(nodes, first_view), slice(first_view, None), modes, stokes)


@dataclass(frozen=True, eq=False)
class Slab:
    """What a layer does to light from above and, ``_below``, to light from below.

    ``direct`` (batch, N) is the share of a beam that crosses untouched.
    """

    reflection: F64
    transmission: F64
    reflection_below: F64
    transmission_below: F64
    direct: F64


def _azimuths() -> F64:
    return 2.0 * np.pi * np.arange(AZIMUTHS) / AZIMUTHS


def _scattering(out: F64, into: F64) -> tuple[F64, F64, F64]:
    """Cosine of the scattering angle and of the two rotation angles, (N, N, azimuth).

    ``out`` and ``into`` are signed cosines, upward positive.
    """
    out, into = out[:, None, None], into[None, :, None]
    sine_out, sine_into = np.sqrt(1 - out**2), np.sqrt(1 - into**2)
    cosine = np.clip(out * into + sine_out * sine_into * np.cos(_azimuths()), -1.0, 1.0)
    sine = np.sqrt(np.maximum(1 - cosine**2, 1e-14))
    first = np.clip((out - into * cosine) / np.maximum(sine_into * sine, 1e-14), -1.0, 1.0)
    second = np.clip((into - out * cosine) / np.maximum(sine_out * sine, 1e-14), -1.0, 1.0)
    return cosine, first, second


def phase_modes(how: Streams, moments: F64) -> F64:
    """Modes (2, modes, N, N) of a scalar phase function: back to above, and on to below.

    Args:
        moments: Legendre moments, the first 1; at most ``how.legendre_terms`` of them.
    """
    series = moments * (2 * np.arange(len(moments)) + 1)
    both = []
    for out in (how.cosines, -how.cosines):
        cosine, _, _ = _scattering(out, -how.cosines)
        around = np.fft.rfft(legendre.legval(cosine, series), axis=-1).real / AZIMUTHS
        both.append(np.moveaxis(around[..., : how.modes], -1, 0))
    return np.stack(both)


def rayleigh_moments() -> F64:
    """Legendre moments of the scalar Rayleigh phase function."""
    anisotropic = (1 - DEPOLARISATION) / (1 + DEPOLARISATION / 2)
    return np.array([1.0, 0.0, anisotropic / 10.0])


def rayleigh_vector_modes(how: Streams) -> F64:
    """Modes (2, modes, 3 N, 3 N) of the Rayleigh phase matrix for I, Q and U."""
    assert how.stokes == 3
    anisotropic = (1 - DEPOLARISATION) / (1 + DEPOLARISATION / 2)
    both = []
    for out in (how.cosines, -how.cosines):
        cosine, first, second = _scattering(out, -how.cosines)
        same = anisotropic * 0.75 * (1 + cosine**2) + (1 - anisotropic)
        cross = -anisotropic * 0.75 * (1 - cosine**2)
        inner = anisotropic * 0.75 * (1 + cosine**2)
        other = anisotropic * 1.5 * cosine
        matrix = _rotated(same, cross, inner, other, first, second)
        both.append(_vector_modes(matrix, how.modes))
    return np.stack(both)


def _rotated(same: F64, cross: F64, inner: F64, other: F64, first: F64, second: F64) -> F64:
    """The phase matrix between meridian planes (N, N, azimuth, 3, 3); Hovenier 1969."""
    side = np.where(np.sin(_azimuths()) >= 0, 1.0, -1.0)
    c1, c2 = 2 * first**2 - 1, 2 * second**2 - 1
    s1 = 2 * first * np.sqrt(np.maximum(1 - first**2, 0)) * side
    s2 = 2 * second * np.sqrt(np.maximum(1 - second**2, 0)) * side
    rows = [
        [same, cross * c1, -cross * s1],
        [cross * c2, c2 * inner * c1 - s2 * other * s1, -c2 * inner * s1 - s2 * other * c1],
        [cross * s2, s2 * inner * c1 + c2 * other * s1, -s2 * inner * s1 + c2 * other * c1],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _vector_modes(matrix: F64, modes: int) -> F64:
    """Cosine parts where I and Q stay among themselves or U with U, sine parts between them."""
    around = np.fft.rfft(matrix, axis=2)[:, :, :modes] / AZIMUTHS
    even, odd = around.real, -around.imag
    kept = even.copy()
    kept[..., :2, 2] = -odd[..., :2, 2]
    kept[..., 2, :2] = odd[..., 2, :2]
    directions = matrix.shape[0]
    return kept.transpose(2, 0, 3, 1, 4).reshape(modes, 3 * directions, 3 * directions)


def homogeneous(how: Streams, depth: F64, albedo: F64, phase: F64) -> Slab:
    """A layer of one kind of particle mix.

    Args:
        depth: optical depth (batch,).
        albedo: single-scattering albedo (batch,).
        phase: (batch, 2, modes, N, N) from `phase_modes` or `rayleigh_vector_modes`.
    """
    doublings = int(np.clip(np.ceil(np.log2(max(depth.max(), 1e-12) / FILM_DEPTH)), 0, MAX_DOUBLINGS))
    film = depth / 2.0**doublings
    slab = _film(how, film, albedo, phase)
    for _ in range(doublings):
        reflection, transmission = _lit_from_above(how, slab, slab)
        slab = _turned(how, reflection, transmission, slab.direct**2)
    return slab


def _film(how: Streams, depth: F64, albedo: F64, phase: F64) -> Slab:
    cosines = np.repeat(how.cosines, how.stokes)
    out, into = cosines[:, None], cosines[None, :]
    thin = depth[:, None, None]
    scattered = (0.5 * albedo)[:, None, None] / out
    back = scattered * -np.expm1(-thin * (1 / out + 1 / into)) * (out * into / (out + into))
    on = scattered * thin * np.exp(-0.5 * thin * (1 / out + 1 / into))
    direct = np.exp(-depth[:, None] / cosines)
    return _turned(how, phase[:, 0] * back[:, None], phase[:, 1] * on[:, None], direct)


def _turned(how: Streams, reflection: F64, transmission: F64, direct: F64) -> Slab:
    """A layer that is the same from below, up to the sense of U."""
    signs = how.mirror[:, None] * how.mirror
    return Slab(reflection, transmission, reflection * signs, transmission * signs, direct)


def _lit_from_above(how: Streams, top: Slab, bottom: Slab) -> tuple[F64, F64]:
    """Reflection and transmission of ``top`` over ``bottom`` for light from above."""
    weights = how.wide_weights
    into, out = top.direct[:, None, None, :], top.direct[:, None, :, None]
    onward = bottom.direct[:, None, :, None]
    once = (top.reflection_below * weights) @ bottom.reflection
    always = np.linalg.solve(np.eye(len(weights)) - once * weights, once)
    down = top.transmission + always * into + (always * weights) @ top.transmission
    up = bottom.reflection * into + (bottom.reflection * weights) @ down
    reflection = top.reflection + out * up + (top.transmission_below * weights) @ up
    transmission = onward * down + bottom.transmission * into + (bottom.transmission * weights) @ down
    return reflection, transmission


def add(how: Streams, top: Slab, bottom: Slab) -> Slab:
    """One layer upon another."""
    reflection, transmission = _lit_from_above(how, top, bottom)
    below, above = (
        Slab(
            s.reflection_below,
            s.transmission_below,
            s.reflection,
            s.transmission,
            s.direct,
        )
        for s in (bottom, top)
    )
    reflection_below, transmission_below = _lit_from_above(how, below, above)
    return Slab(reflection, transmission, reflection_below, transmission_below, top.direct * bottom.direct)


@dataclass(frozen=True, eq=False)
class Fluxes:
    """What a stack does to the light of the sun, to diffuse light, and towards the instrument.

    Attributes:
        modes: reflectance per Fourier mode (batch, mode, view, sun): the reflectance is the
            sum over modes of (1 or 2) modes cos(m azimuth), azimuth 0 looking into the sun.
        down: total transmittance of sunlight (batch, sun).
        up: total transmittance towards the instrument (batch, view).
        albedo: reflectance of the stack for diffuse light from below (batch,).
        reflected: plane albedo, all that goes back up of sunlight (batch, sun).
        direct_down, direct_up: shares that cross untouched (batch, sun), (batch, view).
    """

    modes: F64
    down: F64
    up: F64
    albedo: F64
    reflected: F64
    direct_down: F64
    direct_up: F64


def fluxes(how: Streams, slab: Slab) -> Fluxes:
    """Summary of a slab at the sun and view nodes, intensity only."""
    step, cosines, weights = how.stokes, how.cosines, how.weights
    carried = weights * cosines
    reflection = slab.reflection[:, :, ::step, ::step]
    mean_reflection, mean_transmission = reflection[:, 0], slab.transmission[:, 0, ::step, ::step]
    direct = slab.direct[:, ::step]
    sun = cosines[how.sun]
    spread = np.einsum("i,bis->bs", carried, mean_transmission[:, :, how.sun]) / sun
    gathered = slab.transmission_below[:, 0, ::step, ::step][:, how.view] @ weights
    below = slab.reflection_below[:, 0, ::step, ::step]
    return Fluxes(
        modes=reflection[:, :, how.view, how.sun] / (2.0 * sun),
        down=direct[:, how.sun] + spread,
        up=direct[:, how.view] + gathered,
        albedo=2.0 * np.einsum("i,bij,j->b", carried, below, weights),
        reflected=np.einsum("i,bis->bs", carried, mean_reflection[:, :, how.sun]) / sun,
        direct_down=direct[:, how.sun],
        direct_up=direct[:, how.view],
    )


def single_scattering_modes(how: Streams, layers: Sequence[tuple[F64, F64, F64]]) -> F64:
    """The part of `Fluxes.modes` that was scattered once (batch, mode, view, sun).

    Args:
        layers: from the top down, each (depth (batch,), scattering share (batch,), phase
            (batch, 2, modes, N, N)).
    """
    view, sun = how.cosines[how.view][:, None], how.cosines[how.sun][None, :]
    slant = 1 / view + 1 / sun
    above = np.zeros_like(layers[0][0])
    total = 0.0
    for depth, albedo, phase in layers:
        crossing = np.exp(-above[:, None, None] * slant) * -np.expm1(-depth[:, None, None] * slant)
        once = albedo[:, None, None] * crossing / (4 * (view + sun))
        total = total + phase[:, 0][:, :, how.view, how.sun] * once[:, None]
        above = above + depth
    return np.asarray(total)


def delta_moments(moments: F64, terms: int) -> tuple[F64, float]:
    """Moments (terms,) of the phase function without its forward peak, and the peak's share."""
    peak = float(moments[terms])
    return (moments[:terms] - peak) / (1.0 - peak), peak
