"""The surface network: the atmosphere over coarse cells, from which the surface follows in closed form.

        b10 4x4 stride 4   b20 2x2 stride 2   b60 nearest x3, 2x2 stride 2
              \\________________ sum, ReLU ___________/            per square of 40 m, INT8
                       1x1 -> 1x1                                 per square of 40 m, INT8
          mean and maximum over 6 x 6 squares     means of the codes, and their logarithms
                    \\_______________________________/              per cell of 24 px, float32
       1x1 + 1x1(geometry) -> 1x1 -> 1x1 -> 3x3 -> 3x3 -> 1x1 -> 1x1 -> 1x1 + 1x1(levels)
        path reflectance, transmittance, spherical albedo, sigma of 12 bands

The means of the codes stay exact however the rest is quantized: what the air adds to a cell
is in them; what its darkest and greenest pixels say is in the 8-bit features.
What a gas leaves of a band is a difference of two logarithms: a shortcut takes them straight to the outputs.
A cell sees two cells around it (48 px); the bilinear interpolation between cell centres
adds one more (24 px): 72 px in all. Outputs cannot leave their physical ranges.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.networks.blocks import means_of_blocks

BANDS = 12
CODES = 13
QUANTITIES = 4
CELL_PX = 24
CELL_40M = CELL_PX // 4
RECEPTIVE_PX = 72
CODES_PER_UNIT = 255.0
LEAST_LEVEL = 1 / CODES_PER_UNIT
LEAST_SEEN = 1 / 16
"""One of the sixteen 60 m pixels of a cell."""
MAX_ALBEDO = 0.5
MIN_SIGMA = 0.0005
MAX_SIGMA = 0.25


class _Seen(nn.Module):
    """1 where the codes (N, C, R, S) hold data, 0 elsewhere: the least of their sum and 1, of
    operators that every compiler takes."""

    ones: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.register_buffer("ones", torch.ones(1, bands, 1, 1), persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        together = functional.conv2d(codes, self.ones)
        return together - torch.relu(together - 1)


class _Levels(nn.Module):
    """Means of codes (N, 13, R, C) to levels 0..1 and their logarithms (N, 26, R, C).

    ``seen`` (N, 1, R, C) is the share of each cell that holds data, by 40 m blocks for the bands of 10 and
    20 m and by 60 m pixels for the others: at the data's edge a level is that of what is there.

    What a gas leaves of a band is a ratio of two bands: a difference of logarithms, which one layer
    can take (docs/decisions/0017).
    """

    def forward(self, fine: Tensor, coarse: Tensor, seen40: Tensor, seen60: Tensor) -> Tensor:
        fine, coarse = (
            means / (torch.relu(seen - LEAST_SEEN) + LEAST_SEEN) / CODES_PER_UNIT
            for means, seen in ((fine, seen40), (coarse, seen60))
        )
        level = torch.cat([fine, coarse], 1)
        return torch.cat([level, torch.log(level + LEAST_LEVEL)], 1)


class SurfaceNetwork(nn.Module):
    """Codes on three grids and geometry to (N, 48, R/24, C/24).

    The 48 channels are path reflectance, two-way transmittance (gases included),
    spherical albedo and sigma of the surface reflectance, 12 bands each. ``low`` and
    ``high`` (48 values each) bound them; ``prior`` is what the network says before training.
    """

    low: Tensor
    span: Tensor
    block10: Tensor
    block20: Tensor

    def __init__(
        self,
        low: Sequence[float],
        high: Sequence[float],
        prior: Sequence[float],
        widths: Sequence[int] = (48, 48, 32, 128, 64),
    ) -> None:
        super().__init__()
        stem, pixel, feature, cell, around = widths
        self.widths = tuple(widths)
        self.stem10 = nn.Conv2d(4, stem, 4, stride=4)
        self.stem20 = nn.Conv2d(6, stem, 2, stride=2, bias=False)
        self.stem60 = nn.Conv2d(3, stem, 2, stride=2, bias=False)
        self.pixel1 = nn.Conv2d(stem, pixel, 1)
        self.pixel2 = nn.Conv2d(pixel, feature, 1)
        self.mean = nn.AvgPool2d(CELL_40M)
        self.peak = nn.MaxPool2d(CELL_40M)
        self.register_buffer("block10", means_of_blocks(4, 4), persistent=False)
        self.register_buffer("block20", means_of_blocks(6, 2), persistent=False)
        self.mean10 = nn.AvgPool2d(CELL_40M)
        self.mean20 = nn.AvgPool2d(CELL_40M)
        self.mean60 = nn.AvgPool2d(CELL_PX // 6)
        self.seen40, self.seen60 = _Seen(6), _Seen(3)
        self.levels = _Levels()
        self.cell = nn.Conv2d(2 * feature, cell, 1)
        self.level = nn.Conv2d(2 * CODES, cell, 1, bias=False)
        self.geometry = nn.Conv2d(4, cell, 1, bias=False)
        self.cell1 = nn.Conv2d(cell, cell, 1)
        self.cell2 = nn.Conv2d(cell, around, 1)
        self.cell3a = nn.Conv2d(around, around, 3, padding=1)
        self.cell3b = nn.Conv2d(around, around, 3, padding=1)
        self.cell4 = nn.Conv2d(around, cell, 1)
        self.cell5 = nn.Conv2d(cell, cell, 1)
        self.head = nn.Conv2d(cell, QUANTITIES * BANDS, 1)
        self.shortcut = nn.Conv2d(2 * CODES, QUANTITIES * BANDS, 1, bias=False)
        nn.init.zeros_(self.shortcut.weight)
        self.code_scale = 1.0 / CODES_PER_UNIT
        lows, highs, priors = (torch.tensor(v, dtype=torch.float32) for v in (low, high, prior))
        self.register_buffer("low", lows.reshape(1, -1, 1, 1))
        self.register_buffer("span", (highs - lows).reshape(1, -1, 1, 1))
        with torch.no_grad():
            share = ((priors - lows) / (highs - lows)).clamp(0.01, 0.99)
            self.head.weight.mul_(0.1)
            self.head.bias.copy_(torch.log(share / (1 - share)))

    def features(self, b10: Tensor, b20: Tensor, b60: Tensor) -> tuple[Tensor, Tensor]:
        """What the pixels of a cell have in common, (N, C, R/24, C/24): means and maxima of
        learnt features, and means of the codes."""
        fine = self.mean10(functional.conv2d(b10, self.block10, stride=4))
        blocks20 = functional.conv2d(b20, self.block20, stride=2)
        level = self.levels(
            torch.cat([fine, self.mean20(blocks20)], 1),
            self.mean60(b60),
            self.mean20(self.seen40(blocks20)),
            self.mean60(self.seen60(b60)),
        )
        if self.code_scale != 1.0:
            b10, b20, b60 = b10 * self.code_scale, b20 * self.code_scale, b60 * self.code_scale
        b60 = functional.interpolate(b60, scale_factor=3.0, mode="nearest")
        pixels = torch.relu(self.stem10(b10) + self.stem20(b20) + self.stem60(b60))
        pixels = torch.relu(self.pixel2(torch.relu(self.pixel1(pixels))))
        return torch.cat([self.mean(pixels), self.peak(pixels)], 1), level

    def atmosphere(self, features: Tensor, level: Tensor, geometry: Tensor) -> Tensor:
        """The 48 quantities of every cell."""
        cells = torch.relu(self.cell(features) + self.level(level) + self.geometry(geometry))
        own = torch.relu(self.cell2(torch.relu(self.cell1(cells))))
        around = torch.relu(self.cell3b(torch.relu(self.cell3a(own))))
        cells = torch.relu(self.cell4(around + own))
        cells = torch.relu(self.cell5(cells))
        return self.low + self.span * torch.sigmoid(self.head(cells) + self.shortcut(level))

    def forward(self, b10: Tensor, b20: Tensor, b60: Tensor, geometry: Tensor) -> Tensor:
        return self.atmosphere(*self.features(b10, b20, b60), geometry)

    def fold_code_scale(self) -> None:
        """Move the factor 1/255 into the stem's weights, so that the network reads raw codes."""
        with torch.no_grad():
            for stem in (self.stem10, self.stem20, self.stem60):
                stem.weight.mul_(self.code_scale)
        self.code_scale = 1.0
