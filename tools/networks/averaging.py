"""A running average of a network's weights: steadier than the last step's."""

from __future__ import annotations

import torch
from torch import nn


class RunningAverage(nn.Module):
    """Exponential average of parameters; young averages forget faster. The means are its state."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self._averaged = list(network.parameters())
        for number, parameter in enumerate(self._averaged):
            self.register_buffer(f"mean{number}", parameter.detach().clone())
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        for mean, parameter in zip(self.buffers(), self._averaged, strict=True):
            mean.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def write_back(self) -> None:
        """The network's weights become their averages."""
        for mean, parameter in zip(self.buffers(), self._averaged, strict=True):
            parameter.copy_(mean)
