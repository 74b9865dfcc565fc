"""B09 as the scene network sees it: as measured where there may be snow, as B8A says it elsewhere.

B09 lies in the absorption of water vapour. How much vapour lies above a new place no network can know from
the few it was trained on, and what it learnt from B09 there misleads it elsewhere (docs/decisions/0071). Over
snow it is what tells cloud best: cloud lies above most of the vapour. So per pixel of 60 m, from mean codes:

    likely     A x B8A: neither dry nor wet
    snow       bright in B05 and dark in B11, 0 to 1
    B09        likely + snow (B09 - likely)

Nothing is learnt here. Operators are those that every compiler takes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from payload.types import BANDS_OF_GRID, Band, Grid

BESIDE = (Band.B05, Band.B8A, Band.B11)
"""Order of the mean codes that come in."""

NEEDED = (*BESIDE, Band.B09)
"""A sensor without one of them has no gate."""

LIKELY = 0.57
"""Code of B09 by code of B8A: the median of simulated scenes, over cloud (0.58) as over clear ground (0.56):
what says nothing."""

B11_WEIGHT, LEAST, WIDTH = 1.2, 20.0, 8.0
"""It may be snow where B05 - 1.2 B11 is more than 20 codes, surely at 8 more. Snow of reflectance 0.3
in B05 and 0.06 in B11 has 30 more, cloud of 0.5 and 0.4 30 less."""


class VapourGate(nn.Module):
    """Mean codes of BESIDE and codes of the 60 m bands, both (N, 3, R/6, C/6), to codes of the 60 m bands."""

    def __init__(self) -> None:
        super().__init__()
        bands = BANDS_OF_GRID[Grid.R60M]
        is_b09 = torch.tensor([float(band is Band.B09) for band in bands])
        snow = [1.0 / WIDTH, 0.0, -B11_WEIGHT / WIDTH]
        weights = {
            "snow": torch.tensor(snow)[None],
            "likely": torch.tensor([0.0, LIKELY, 0.0])[None],
            "pick": is_b09[None],
            "spread": is_b09[:, None],
        }
        for name, weight in weights.items():
            self.register_buffer(name, weight[:, :, None, None].contiguous(), persistent=False)

    def forward(self, beside: Tensor, b60: Tensor) -> Tensor:
        snow = self._convolve(beside, "snow") - LEAST / WIDTH
        snow = torch.relu(snow) - torch.relu(snow - 1.0)
        short = self._convolve(beside, "likely") - self._convolve(b60, "pick")
        return b60 + self._convolve(short - short * snow, "spread")

    def _convolve(self, x: Tensor, name: str) -> Tensor:
        weights: Tensor = getattr(self, name)
        return functional.conv2d(x, weights)
