"""A second look at bright cloud: does it stand above the ground?

Bands look one after another. Between B08 and B8A a cloud moves 15 m for each kilometre that it is high,
between B07 and B8A 2 m, between B02 and B03 or B04 4 and 9 m; the ground does not move. So over cloud the
difference of far bands has more of a pattern than that of near ones, over roofs and sand as little or less,
however bright they are (Frantz et al. 2018, Remote Sensing of Environment 215, 471).

Per square of 80 m, from the mean codes of its four squares of 40 m:

    differences      B08 - B8A, B07 - B8A, B04 - B02, B03 - B02
    their sizes      along rows, columns and diagonals (Haar), averaged over 11 x 11 squares; logarithms
    brightness       of B02, averaged over the same squares: cloud is seldom alone
    grain            what B08 has of its own inside squares of 20 m, averaged over the same squares
    doubt            a weighted sum of these five, 0 to 1; per 40 m 0 where B02 is not bright, a band
                     is missing, or B08 has no grain: it is missing, and what stands in for it
                     (`payload.core.missing_bands`) moves with another band

Where there is doubt, the scene network's scores of both kinds of cloud fall behind those of all else
(`SceneNetwork.take`). Nothing farther than 5 + 1 squares of 80 m away matters. The weights are found
by `second_look_fit`. Operators are those that every compiler takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from payload.types import BANDS_OF_GRID, Band, Grid
from tools.networks.blocks import means_of_blocks

FINE, COARSE = BANDS_OF_GRID[Grid.R10M], (Band.B07, Band.B8A)
"""Order of the mean codes that come in, of bands of 10 m and of 20 m; a sensor without one of them cannot
look twice."""

DIFFERENCES = (
    (Band.B08, Band.B8A),
    (Band.B07, Band.B8A),
    (Band.B04, Band.B02),
    (Band.B03, Band.B02),
)
DETAILS = (((1.0, 1.0), (-1.0, -1.0)), ((1.0, -1.0), (1.0, -1.0)), ((1.0, -1.0), (-1.0, 1.0)))
FEATURES = len(DIFFERENCES) + 1
CELLS = 11
LEAST_SIZE = 0.3
"""Of a pattern, in codes: noise."""

DIM, BRIGHT = 80.0, 100.0
"""Codes of B02 that count as nothing and as all of brightness: reflectance 0.16 and 0.25."""

GATE = (88.0, 92.0)
"""Nothing darker than reflectance 0.2 in B02 is looked at twice."""

LEAST_SEEN = 0.01
GRAIN = 0.05
"""Codes of grain that show that B08 was measured: what stands in for it has none, noise of one code 0.2."""

STRENGTH, CHANNELS = 6.0, 8
"""What the last layer reads: so many channels alike, because the INT8 weights of one alone would have
to be so large that all others lost their digits."""


class SecondLook(nn.Module):
    """Mean codes (N, 5, R/4, C/4) of FINE, B08 in two halves, and (N, 2, R/4, C/4) of COARSE to doubt
    (N, 8, R/4, C/4), 0 to STRENGTH.

    As little as can be is done per 40 m: a runtime that works on 16 channels at a time pays for
    all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(FEATURES, 1, 1)
        nn.init.zeros_(self.weigh.weight)
        nn.init.constant_(self.weigh.bias, -1.0)  # type: ignore[arg-type]
        for name, weights in _fixed_weights().items():
            self.register_buffer(name, weights, persistent=False)

    def features(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, 5, R/8, C/8): logarithms of the sizes of the four differences, brightness 0 to 1."""
        return self._measure(fine, coarse)[0]

    def _measure(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """`features`, and whether B08 has grain (N, 1, R/8, C/8), 0 to 1."""
        details = self._convolve(fine, "fine_details", 2) + self._convolve(coarse, "coarse_details", 2)
        sizes = self._convolve(torch.relu(details), "sums")
        level = self._convolve(fine, "level", 2)
        bright = (torch.relu(level - DIM) - torch.relu(level - BRIGHT)) / (BRIGHT - DIM)
        seen = level - torch.relu(level - 1.0)
        grain = self._convolve(torch.relu(self._convolve(fine, "grain")), "mean_grain", 2)
        around = torch.cat([sizes, bright, seen, grain], 1)
        half = CELLS // 2
        around = functional.conv2d(around, self._of("column"), padding=(half, 0))
        around = functional.conv2d(around, self._of("row"), padding=(0, half))
        share = torch.relu(self._convolve(around, "pick_seen") - LEAST_SEEN) + LEAST_SEEN
        sizes = torch.log(self._convolve(around, "pick_sizes") / share + LEAST_SIZE)
        grain = self._convolve(around, "pick_grain") / share
        features = torch.cat([sizes, self._convolve(around, "pick_bright") / share], 1)
        return features, grain - torch.relu(grain - 1.0)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        features, has_grain = self._measure(fine, coarse)
        doubt = torch.relu(self.weigh(features))
        doubt = (doubt - torch.relu(doubt - 1.0)) * has_grain * self._is_whole(fine, coarse)
        doubt = functional.interpolate(doubt, scale_factor=2.0, mode="nearest")
        return self._convolve(doubt * self._is_bright(fine), "spread")

    def _is_bright(self, fine: Tensor) -> Tensor:
        """1 where B02 is bright, (N, 1, R/4, C/4)."""
        low, high = GATE
        level = self._convolve(fine, "pick_b02")
        return (torch.relu(level - low) - torch.relu(level - high)) / (high - low)

    def _is_whole(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """1 where no band is missing, (N, 1, R/8, C/8).

        A band that is missing where others have data is as dark as can be: code 1 (`core.radiometry`).
        """
        means = torch.cat(
            [self._convolve(fine, "fine_means", 2), self._convolve(coarse, "coarse_means", 2)], 1
        )
        seen = self._convolve(torch.relu(means - 1.0) - torch.relu(means - 2.0), "count")
        return torch.relu(seen - (len(FINE + COARSE) - 1))

    def _of(self, name: str) -> Tensor:
        weights: Tensor = getattr(self, name)
        return weights

    def _convolve(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        return functional.conv2d(x, self._of(name), stride=stride)


def fine_blocks() -> Tensor:
    """Weights (5, 4, 4, 4) of the convolution, stride 4, that makes what comes in of FINE from codes.

    B08 comes in two halves, the fields of a chessboard: their sum is its mean, their difference its grain.
    """
    means = means_of_blocks(len(FINE), 4)
    row, col = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    white = ((row + col) % 2 == 0).float()
    return torch.cat([means[:-1], means[-1:] * white, means[-1:] * (1 - white)])


def _fixed_weights() -> dict[str, Tensor]:
    """Weights of the convolutions that nothing learns: (out, in, row, col)."""
    bands = FINE + COARSE
    signed = [sign * torch.tensor(detail) / 4 for detail in DETAILS for sign in (1.0, -1.0)]
    details = torch.zeros(len(DIFFERENCES) * len(signed), len(bands), 2, 2)
    sums = torch.zeros(len(DIFFERENCES), len(details), 1, 1)
    for number, (later, earlier) in enumerate(DIFFERENCES):
        for place, detail in enumerate(signed, number * len(signed)):
            details[place, bands.index(later)] = detail
            details[place, bands.index(earlier)] = -detail
            sums[number, place] = 1.0
    around = FEATURES + 2
    box = torch.eye(around)[:, :, None, None] / CELLS
    fine_means = means_of_blocks(len(FINE), 2)
    others = [0.0] * (len(FINE) - 1)
    grain = torch.tensor([[*others, 1.0, -1.0], [*others, -1.0, 1.0]])
    return {
        "fine_details": _halved(details[:, : len(FINE)]),
        "coarse_details": details[:, len(FINE) :].contiguous(),
        "fine_means": _halved(fine_means),
        "coarse_means": means_of_blocks(len(COARSE), 2).contiguous(),
        "sums": sums,
        "level": _halved(fine_means[:1]),
        "grain": grain[:, :, None, None].contiguous(),
        "mean_grain": torch.full((1, 2, 2, 2), 1 / (4 * GRAIN)),
        "column": box.expand(-1, -1, CELLS, 1).contiguous(),
        "row": box.expand(-1, -1, 1, CELLS).contiguous(),
        "pick_sizes": _pick(range(FEATURES - 1), around),
        "pick_bright": _pick([FEATURES - 1], around),
        "pick_seen": _pick([FEATURES], around),
        "pick_grain": _pick([FEATURES + 1], around),
        "pick_b02": _halved(_pick([0], len(FINE))),
        "count": torch.ones(1, len(bands), 1, 1),
        "spread": torch.full((CHANNELS, 1, 1, 1), STRENGTH),
    }


def _halved(weights: Tensor) -> Tensor:
    """Weights for FINE as it comes in: both halves of B08 count as B08."""
    return torch.cat([weights, weights[:, -1:]], 1).contiguous()


def _pick(places: Sequence[int], size: int) -> Tensor:
    """Weights of a convolution that lets only some channels through."""
    return torch.eye(size)[list(places)][:, :, None, None].contiguous()
