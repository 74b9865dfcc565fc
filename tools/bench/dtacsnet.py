"""DTACSNet's published network architectures, with random weights, as the peer to measure.

Scene classification is a U-Net of segmentation-models-pytorch (mobilenet_v2 encoder, default
decoder, 13 bands in, 4 classes out); atmospheric correction is a per-pixel network of two
1x1 convolutions, 13 -> 52 -> 12, that predicts what to take away from the reflectance. Their
cost does not depend on the weights, so random ones are as good as theirs for a benchmark; the
numbers of parameters are checked against the published ones.
"""

from __future__ import annotations

import importlib.metadata

import torch
from torch import Tensor, nn

TILE_PX = 512
BANDS = 13
CLASSES = 4
SURFACE_BANDS = tuple(band for band in range(BANDS) if band != 10)
"""All but B10, in the order B01 .. B08, B8A, B09, B11, B12."""
SCENE_PARAMETERS = 6_632_260
SURFACE_PARAMETERS = 1_364


class SurfaceCorrector(nn.Module):
    """Reflectance (N, 13, R, C) to surface reflectance (N, 12, R, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.correction = nn.Sequential(
            nn.Conv2d(BANDS, 4 * BANDS, 1), nn.ReLU(), nn.Conv2d(4 * BANDS, len(SURFACE_BANDS), 1)
        )

    def forward(self, reflectance: Tensor) -> Tensor:
        kept = torch.cat((reflectance[:, :10], reflectance[:, 11:]), dim=1)
        surface: Tensor = kept - self.correction(reflectance)
        return surface


def build_networks() -> tuple[nn.Module, nn.Module]:
    """Scene and surface network, seeded random weights, ready for inference.

    Raises:
        RuntimeError: their size is not the published one.
    """
    _declare_missing_vision_operators()
    import segmentation_models_pytorch as smp  # only after the declaration above

    torch.manual_seed(0)
    scene = smp.Unet("mobilenet_v2", encoder_weights=None, in_channels=BANDS, classes=CLASSES).eval()
    surface = SurfaceCorrector().eval()
    for name, network, published in (
        ("scene", scene, SCENE_PARAMETERS),
        ("surface", surface, SURFACE_PARAMETERS),
    ):
        count = sum(parameter.numel() for parameter in network.parameters())
        if count != published:
            raise RuntimeError(f"DTACSNet {name} network: {count} parameters instead of {published}")
    return scene, surface


_declared: list[torch.library.Library] = []


def _declare_missing_vision_operators() -> None:
    """Let torchvision import beside a CPU-only torch.

    torchvision's wheel on PyPI is built for CUDA; beside a CPU torch its compiled operators
    do not load, and its import stops where it annotates two of them. No network here uses an
    operator of torchvision: declaring the two without an implementation is enough.
    """
    matched = "+cpu" in importlib.metadata.version("torchvision")
    if torch.version.cuda is not None or matched or _declared:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
