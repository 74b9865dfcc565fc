"""Means of blocks as convolutions: in INT8 their sums are exact, a pool of bytes would round."""

from __future__ import annotations

import torch
from torch import Tensor


def means_of_blocks(bands: int, size: int) -> Tensor:
    """Weights of a convolution that gives the mean of every block of every band by itself."""
    return torch.eye(bands)[:, :, None, None].expand(-1, -1, size, size) / size**2
