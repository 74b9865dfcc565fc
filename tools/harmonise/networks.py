"""CalibNet, ConvCalibNet and BCNet of Michel and Inglada, "Learning harmonised Pleiades and
Sentinel-2 surface reflectances", ISPRS Archives XLIII-B3-2021, 265-272.

        CalibNet      x -> norm -> 1x1, 320 -> 1x1, 320 -> 1x1, 4 -> tanh -> + x
        ConvCalibNet  x -> norm -> 3x3,  64 -> 3x3,  64 -> 3x3, 4 -> tanh -> + x
        BCNet         x (2 m) -> point spread, stride 5 (10 m) -> CalibNet

The point spread is there for training: it takes up blur and misregistration, and is removed
when the network is used, which then works pixel by pixel at 2 m. Where the paper is silent:
leaky ReLU of slope 0.01, tanh unscaled, and a last layer that starts at zero, so that an
untrained network changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.harmonise.pair import BANDS, RATIO
from tools.harmonise.simulation import FINE_M, NYQUIST_TRANSFER, bell_sigma_m

CALIB_WIDTH = 320
CONV_WIDTH = 64
SPREAD_TAPS = 21
SPREAD_PAD_PX = (SPREAD_TAPS - RATIO) // 2
"""So that tap 10 lies over the middle of its coarse pixel."""
MIN_SCALE = 1e-3
CONV_REACH_PX = 3


class PairNorm(nn.Module):
    """Reflectance of a pair with mean 0 and deviation 1, band by band: the same numbers in every
    step and in use. Batch normalisation, which the paper has, sees another mean in each of our
    small batches, and the network never learns which (measured in docs/harmonisation.md)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(BANDS, 1, 1))
        self.register_buffer("deviation", torch.ones(BANDS, 1, 1))

    def fit(self, stack: Tensor) -> None:
        """Take the statistics of ``stack`` (N, 4, R, C) where it holds data."""
        seen = stack.permute(0, 2, 3, 1)[(stack > 0).all(1)]
        self.mean.copy_(seen.mean(0).reshape(-1, 1, 1))
        self.deviation.copy_(seen.std(0).clamp(min=1e-6).reshape(-1, 1, 1))

    def forward(self, reflectance: Tensor) -> Tensor:
        return (reflectance - self.mean) / self.deviation


class CalibNet(nn.Module):
    """Reflectance (N, 4, R, C) to reflectance, pixel by pixel.

    With ``has_confidence`` four more channels come out: the scale b > 0 of the relative error
    |t - r| / (eps + t), of a second last layer on the same features. ELU + 1 keeps it positive
    (ELU alone reaches -1).
    """

    def __init__(self, *, taps: int = 1, width: int = CALIB_WIDTH, has_confidence: bool = False) -> None:
        super().__init__()
        pad = taps // 2
        self.norm = PairNorm()
        self.first = nn.Conv2d(BANDS, width, taps, padding=pad, padding_mode="replicate")
        self.second = nn.Conv2d(width, width, taps, padding=pad, padding_mode="replicate")
        self.last = nn.Conv2d(width, BANDS, taps, padding=pad, padding_mode="replicate")
        self.scale = nn.Conv2d(width, BANDS, taps, padding=pad) if has_confidence else None
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, reflectance: Tensor) -> Tensor:
        hidden = functional.leaky_relu(self.first(self.norm(reflectance)))
        hidden = functional.leaky_relu(self.second(hidden))
        harmonised = reflectance + torch.tanh(self.last(hidden))
        if self.scale is None:
            return harmonised
        return torch.cat([harmonised, functional.elu(self.scale(hidden)) + 1 + MIN_SCALE], 1)


class PointSpread(nn.Module):
    """Fine to coarse: per band 21 x 21 taps, positive, of sum one (a softmax), stride 5.

    It starts as the bell of Sentinel-2's transfer at Nyquist. The logits are the logarithms of
    the taps.
    """

    def __init__(self) -> None:
        super().__init__()
        place = torch.arange(SPREAD_TAPS, dtype=torch.float32) - SPREAD_TAPS // 2
        square = place[:, None] ** 2 + place[None, :] ** 2
        sigmas = [bell_sigma_m(transfer) / FINE_M for transfer in NYQUIST_TRANSFER]
        self.logits = nn.Parameter(torch.stack([-square / (2 * sigma**2) for sigma in sigmas]))

    def taps(self) -> Tensor:
        """(4, 21, 21), each band's sum one."""
        flat = torch.softmax(self.logits.flatten(1), 1)
        return flat.reshape(BANDS, SPREAD_TAPS, SPREAD_TAPS)

    def inner(self, fine: Tensor) -> Tensor:
        """(N, 4, 5 R, 5 C) with 8 px more on every side to (N, 4, R, C)."""
        return functional.conv2d(fine, self.taps()[:, None], stride=RATIO, groups=BANDS)

    def forward(self, fine: Tensor) -> Tensor:
        return self.inner(functional.pad(fine, (SPREAD_PAD_PX,) * 4, mode="replicate"))


class BCNet(nn.Module):
    """CalibNet behind a point spread that can be removed: `forward` at 10 m, `calib` at 2 m."""

    def __init__(self, *, has_confidence: bool = False) -> None:
        super().__init__()
        self.spread = PointSpread()
        self.calib = CalibNet(has_confidence=has_confidence)

    def forward(self, fine: Tensor) -> Tensor:
        return self.calib(self.spread(fine))


MODELS = ("calibnet", "convcalibnet", "bcnet", "bcnet_confidence")


def build(model: str) -> nn.Module:
    """An untrained network by its name in `MODELS`."""
    if model == "calibnet":
        return CalibNet()
    if model == "convcalibnet":
        return CalibNet(taps=3, width=CONV_WIDTH)
    return BCNet(has_confidence=model == "bcnet_confidence")


def pixelwise(network: nn.Module) -> nn.Module:
    """What works on the fine image: the network itself, or BCNet without its point spread."""
    return network.calib if isinstance(network, BCNet) else network


def spread_found_m(network: BCNet) -> tuple[list[float], list[float]]:
    """Centre of the learned point spread (row, col) and its sigma (row, col), mean of bands, metres."""
    taps = network.spread.taps().detach().mean(0)
    place = torch.arange(SPREAD_TAPS, dtype=torch.float32) - SPREAD_TAPS // 2
    centres, sigmas = [], []
    for axis in (1, 0):
        profile = taps.sum(axis)
        centre = float((profile * place).sum())
        centres.append(FINE_M * centre)
        sigmas.append(FINE_M * float((profile * (place - centre) ** 2).sum().sqrt()))
    return centres, sigmas
