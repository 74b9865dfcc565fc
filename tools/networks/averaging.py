"""A running average of a network's weights: steadier than the last step's."""

from __future__ import annotations

import torch
from torch import nn


class RunningAverage:
    """Exponential average of parameters; young averages forget faster."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._parameters = list(network.parameters())
        self.means = [parameter.detach().clone() for parameter in self._parameters]
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        for mean, parameter in zip(self.means, self._parameters, strict=True):
            mean.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def write_back(self) -> None:
        """The network's weights become their averages."""
        for mean, parameter in zip(self.means, self._parameters, strict=True):
            parameter.copy_(mean)
