"""Linear regression of coarse on fine reflectance: the simplest way to harmonise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tools.harmonise.pair import BANDS, Pair
from tools.harmonise.training import CONV_REACH_PX, seen_windows

LINEAR_MODELS = ("linear", "linear_4x4")


def fit(pair: Pair, model: str) -> nn.Module:
    """Ordinary least squares on the seen windows, each band from its own fine band (``linear``)
    or from all four (``linear_4x4``), plus a constant."""
    windows = seen_windows(pair)
    inner = (..., slice(CONV_REACH_PX, -CONV_REACH_PX), slice(CONV_REACH_PX, -CONV_REACH_PX))
    given = _pixels(windows.blurred[inner])
    wanted = _pixels(windows.coarse[inner])
    known = ((given > 0) & (wanted > 0)).all(1)
    given, wanted = given[known], wanted[known]
    network = Linear()
    with torch.no_grad():
        network.map.weight.zero_()
        for band in range(BANDS):
            used = [band] if model == "linear" else list(range(BANDS))
            columns = np.column_stack([given[:, used], np.ones(len(given))])
            found, *_ = np.linalg.lstsq(columns, wanted[:, band], rcond=None)
            network.map.weight[band, used, 0, 0] = torch.from_numpy(found[:-1]).float()
            network.map.bias[band] = float(found[-1])
    return network.eval()


class Linear(nn.Module):
    """One 1x1 convolution, (N, 4, R, C) to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Conv2d(BANDS, BANDS, 1)

    def forward(self, reflectance: Tensor) -> Tensor:
        return self.map(reflectance)


def _pixels(stack: Tensor) -> np.ndarray:
    return stack.permute(0, 2, 3, 1).reshape(-1, BANDS).double().numpy()
