"""Weights as they will fly, already while they are learnt.

Flight weights have seven bits (`export.quantize`, OverflowFix): 63 steps to either side of
zero in every output channel. A network that has been rounded so in every step of its training
loses nothing more when it is quantized. Gradients pass through the rounding as if it were not
there (the straight-through estimator of Bengio, Leonard and Courville 2013).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

STEPS = 63


class SevenBits(nn.Module):
    """Rounds a weight to 63 steps of its output channel's largest value."""

    def __init__(self, channel_dimension: int) -> None:
        super().__init__()
        self._others = tuple(d for d in range(4) if d != channel_dimension)

    def forward(self, weight: Tensor) -> Tensor:
        step = weight.detach().abs().amax(self._others, keepdim=True).clamp_min(1e-12) / STEPS
        return weight + (torch.round(weight / step) * step - weight).detach()


def round_weights(network: nn.Module) -> None:
    """From now on every convolution of ``network`` sees its weights rounded."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.ConvTranspose2d):
            parametrize.register_parametrization(layer, "weight", SevenBits(1))
        elif isinstance(layer, nn.Conv2d):
            parametrize.register_parametrization(layer, "weight", SevenBits(0))


def keep_rounded(network: nn.Module) -> None:
    """The rounded weights become the weights; nothing is rounded any more."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
