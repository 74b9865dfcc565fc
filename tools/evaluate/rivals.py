"""What the scene network is measured against, on the same pixels in the same run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from payload.types import F32, U8, Band
from tools.evaluate.folders import Entry, FolderError
from tools.material import FILE_BANDS, place_of

B02_CLOUD_REFLECTANCE = 0.2
S2CLOUDLESS_THRESHOLD, S2CLOUDLESS_AVERAGE_PX, S2CLOUDLESS_DILATION_PX = 0.4, 4, 2
"""What s2cloudless's own documentation recommends for 10 m."""

THICK = 1

Rival = Callable[[Entry, Mapping[Band, F32]], U8]
"""From an entry and its reflectance per band at 10 m to classes (row, col); all but DTACSNet's
network know cloud and clear alone."""


def b02_threshold(_: Entry, planes: Mapping[Band, F32]) -> U8:
    """Cloud wherever B02 is above 0.2."""
    return (planes[Band.B02] > B02_CLOUD_REFLECTANCE).astype(np.uint8)


def all_cloudy(_: Entry, planes: Mapping[Band, F32]) -> U8:
    """Everything is cloud: what a score is worth that this reaches too."""
    return np.full(planes[Band.B02].shape, THICK, np.uint8)


def make_s2cloudless() -> Rival:
    """s2cloudless's own model with its recommended settings."""
    from s2cloudless import S2PixelCloudDetector

    detector = S2PixelCloudDetector(
        threshold=S2CLOUDLESS_THRESHOLD,
        average_over=S2CLOUDLESS_AVERAGE_PX,
        dilation_size=S2CLOUDLESS_DILATION_PX,
        all_bands=True,
    )

    def detect(_: Entry, planes: Mapping[Band, F32]) -> U8:
        stack = np.stack([planes[band] for band in FILE_BANDS], axis=-1)
        masks = np.asarray(detector.get_cloud_masks(stack[None].astype(np.float64)))
        return masks[0].astype(np.uint8)

    return detect


def make_dtacsnet(trained: Path) -> Rival:
    """DTACSNet's architecture as `tools.train peer` left it in ``trained``; places that it was tuned on are
    judged by the network that left them out.

    Raises:
        FolderError: it is not there.
    """
    from tools.networks import dtacsnet_peer as peer

    try:
        places = peer.folds_of(trained)
        networks = {fold: peer.load_tuned(trained, fold) for fold in {None, *places.values()}}
    except (OSError, ValueError, KeyError) as error:
        raise FolderError(f"{trained}: not what tools.train peer leaves: {error}") from error

    def classify(entry: Entry, planes: Mapping[Band, F32]) -> U8:
        return peer.classify(networks[places.get(place_of(entry.group))], planes)

    return classify


def make_rivals(trained_peer: Path | None = None) -> tuple[dict[str, Rival], list[str]]:
    """(the rivals that can run here, why others cannot)."""
    rivals: dict[str, Rival] = {}
    missing = []
    if trained_peer is not None:
        rivals["DTACSNet's architecture, our data"] = make_dtacsnet(trained_peer)
    if importlib.util.find_spec("s2cloudless") is not None:
        rivals["s2cloudless"] = make_s2cloudless()
    else:
        missing.append("s2cloudless is not installed (extra 'rivals'): no row of it")
    rivals["B02 > 0.2"] = b02_threshold
    rivals["all cloudy"] = all_cloudy
    return rivals, missing
