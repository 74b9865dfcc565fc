"""The scene network: a dense U-Net on the native grids, from codes to four class logits.

        b10 (4, R, C)      b20 (6, R/2, C/2)   b60 (3, R/6, C/6)
        4x4 stride 4       2x2 stride 2        nearest x3, 2x2 stride 2
              \\_________________ sum, ReLU _______________/
    1/4   1x1 -> 3x3 ----------------------------- + -> 3x3 -> 3x3 -> + -> 1x1 -> shuffle x4
          |  \\ 2x2 stride 2                      / 2x2 transposed    |
    1/8   |   3x3 ---------------------- + -> 3x3                     |
          |     \\ 2x2 stride 2         / 2x2 transposed              |
    1/16  |      3x3 -> 3x3                                           |
          \\________________________ 1x1 ____________________________/

The way at the bottom carries what each 40 m square says itself, all 91 numbers of it: without it
outlines were as soft as the convolutions (docs/decisions/0064).
A second look at what is bright may take cloud back in the last layer (`second_look`); B09 may be let through
over snow alone (`vapour_gate`).
Every change of resolution is a 2 x 2 patch, so nothing leaks across blocks. Convolutions
reach 4 + 8 + 16 + 16 + 8 + 4 + 4 = 60 px, whole 16 px blocks round that up: seen from the
edge of an inner, which windows place 72 px plus a multiple of 48 px from their own edge,
nothing farther than 72 px away matters.
Only operators that a Myriad X compiler accepts are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from payload.core.scene import LOGIT_RANGE
from payload.types import BANDS_OF_GRID, Grid, SceneClass
from tools.networks.blocks import means_of_blocks
from tools.networks.second_look import CHANNELS, COARSE, STRENGTH, SecondLook, fine_blocks
from tools.networks.vapour_gate import BESIDE, VapourGate

CLASSES = 4
RECEPTIVE_PX = 72
"""No pixel farther than this from the edge of an inner changes a pixel of the inner."""

STEM_PX = 4
STEM_WIDTH = 64
"""Of a square's 91 codes nothing much is lost."""
CODES_PER_UNIT = 255.0

LOOKED_AT_20M = [BANDS_OF_GRID[Grid.R20M].index(band) for band in COARSE]
BESIDE_20M = [BANDS_OF_GRID[Grid.R20M].index(band) for band in BESIDE]


def _conv3(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=1)


class SceneNetwork(nn.Module):
    """Codes (0..255 as float) on three grids to logits (N, 4, R, C); R and C multiples of 48."""

    block10: Tensor
    block20: Tensor
    block60: Tensor

    def __init__(self, widths: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.widths = tuple(widths)
        self.stem10 = nn.Conv2d(4, STEM_WIDTH, 4, stride=4)
        self.stem20 = nn.Conv2d(6, STEM_WIDTH, 2, stride=2, bias=False)
        self.stem60 = nn.Conv2d(3, STEM_WIDTH, 2, stride=2, bias=False)
        self.squeeze4 = nn.Conv2d(STEM_WIDTH, fine, 1)
        self.encode4 = _conv3(fine)
        self.down8 = nn.Conv2d(fine, middle, 2, stride=2)
        self.encode8 = _conv3(middle)
        self.down16 = nn.Conv2d(middle, coarse, 2, stride=2)
        self.bottom16a = _conv3(coarse)
        self.bottom16b = _conv3(coarse)
        self.up8 = nn.ConvTranspose2d(coarse, middle, 2, stride=2)
        self.decode8 = _conv3(middle)
        self.up4 = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.decode4a = _conv3(fine)
        self.decode4b = _conv3(fine)
        self.join4 = nn.Conv2d(fine, STEM_WIDTH, 1)
        self.detail4 = nn.Conv2d(STEM_WIDTH, STEM_WIDTH, 1, bias=False)
        self.head = nn.Conv2d(STEM_WIDTH, CLASSES * STEM_PX * STEM_PX, 1)
        self.shuffle = nn.PixelShuffle(STEM_PX)
        self.code_scale = 1.0 / CODES_PER_UNIT
        self.second_look: SecondLook | None = None
        self.vapour_gate: VapourGate | None = None
        self.register_buffer("block10", fine_blocks(), persistent=False)
        self.register_buffer("block20", means_of_blocks(6, 2)[LOOKED_AT_20M], persistent=False)
        self.register_buffer("block60", means_of_blocks(6, 3)[BESIDE_20M], persistent=False)

    def gate_vapour(self) -> None:
        """From now on B09 is as measured over snow alone."""
        self.vapour_gate = VapourGate()

    def take(self, look: SecondLook) -> None:
        """From now on ``look`` takes cloud back where it doubts it."""
        taken = torch.zeros(CLASSES, STEM_PX * STEM_PX, CHANNELS, 1, 1)
        taken[[SceneClass.THICK_CLOUD, SceneClass.THIN_CLOUD]] = -2 * LOGIT_RANGE / (CHANNELS * STRENGTH)
        head = nn.Conv2d(STEM_WIDTH + CHANNELS, self.head.out_channels, 1)
        with torch.no_grad():
            head.weight.copy_(torch.cat([taken.flatten(0, 1), self.head.weight[:, -STEM_WIDTH:]], 1))
            head.bias.copy_(self.head.bias)  # type: ignore[union-attr,arg-type]
        self.head, self.second_look = head, look

    def blocks(self, b10: Tensor, b20: Tensor) -> tuple[Tensor, Tensor]:
        """Mean codes for the second look, (N, 5, R/4, C/4) and (N, 2, R/4, C/4)."""
        fine = functional.conv2d(b10, self.block10, stride=STEM_PX)
        return fine, functional.conv2d(b20, self.block20, stride=STEM_PX // 2)

    def forward(self, b10: Tensor, b20: Tensor, b60: Tensor) -> Tensor:
        doubt = None if self.second_look is None else self.second_look(*self.blocks(b10, b20))
        if self.vapour_gate is not None:
            b60 = self.vapour_gate(functional.conv2d(b20, self.block60, stride=3), b60)
        if self.code_scale != 1.0:
            b10, b20, b60 = b10 * self.code_scale, b20 * self.code_scale, b60 * self.code_scale
        b60 = functional.interpolate(b60, scale_factor=3.0, mode="nearest")
        stem = torch.relu(self.stem10(b10) + self.stem20(b20) + self.stem60(b60))
        quarter = torch.relu(self.encode4(torch.relu(self.squeeze4(stem))))
        eighth = torch.relu(self.encode8(torch.relu(self.down8(quarter))))
        sixteenth = torch.relu(self.down16(eighth))
        sixteenth = torch.relu(self.bottom16a(sixteenth))
        sixteenth = torch.relu(self.bottom16b(sixteenth))
        eighth = torch.relu(self.up8(sixteenth) + eighth)
        eighth = torch.relu(self.decode8(eighth))
        quarter = torch.relu(self.up4(eighth) + quarter)
        quarter = torch.relu(self.decode4a(quarter))
        quarter = torch.relu(self.decode4b(quarter))
        sharp = torch.relu(self.join4(quarter) + self.detail4(stem))
        if doubt is not None:
            sharp = torch.cat([doubt, sharp], 1)
        logits: Tensor = self.shuffle(self.head(sharp))
        return logits

    def fold_code_scale(self) -> None:
        """Move the factor 1/255 into the stem's weights, so that the network reads raw codes."""
        with torch.no_grad():
            for stem in (self.stem10, self.stem20, self.stem60):
                stem.weight.mul_(self.code_scale)
        self.code_scale = 1.0


def recorded_network(record: Mapping[str, Any]) -> SceneNetwork:
    """A network as a training record describes it, without its weights."""
    network = SceneNetwork(record["widths"])
    if record.get("vapour_gate"):
        network.gate_vapour()
    if record.get("second_look"):
        network.take(SecondLook())
    return network


def build_scene_network(widths: Sequence[int], seed: int) -> SceneNetwork:
    """A network with seeded He weights and small biases."""
    torch.manual_seed(seed)
    network = SceneNetwork(widths)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        for stem in (network.stem10, network.stem20, network.stem60):
            stem.weight.mul_(3.0)
        network.head.weight.mul_(0.1)
    return network
