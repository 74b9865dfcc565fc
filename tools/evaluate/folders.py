"""Finds and reads what is scored: a folder of labelled patches, or of surface pairs.

    <stem>_l1c.tif   with <stem>_label.tif      13 bands at 10 m; 0 clear, 1 thick cloud,
                                                2 thin cloud, 3 cloud shadow, 255 not sure
    <stem>_S2L1C.tif with <stem>_S2L2A.tif      13 and 12 bands (no B10) at 10 m

Bands are B01 to B08, B8A, B09 to B12, on either axis; whole numbers are reflectance x 10000
without offset, fractions are reflectance. 0 in every band is no data.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from payload.types import F32, U8, Band
from tools.material import DN_PER_REFLECTANCE, FILE_BANDS

L2A_BANDS = tuple(band for band in FILE_BANDS if band is not Band.B10)
LABEL_INDEX = "labels.jsonl"

_PARTS_OF_A_PLACE = re.compile(r"(_p\d+.*|_(input|target|cloudy|clear)|_\d{4}-?\d{2}-?\d{2}.*)$")


class FolderError(Exception):
    """A folder or file cannot be scored; the message names it and says what is expected."""


@dataclass(frozen=True)
class Entry:
    """One pair of files: ``stem`` names it, ``group`` its place."""

    stem: str
    group: str
    image: Path
    truth: Path


def _pairs(folder: Path, image_ending: str, truth_ending: str) -> list[tuple[str, Path, Path]]:
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder")
    found = []
    for image in sorted(folder.rglob(f"*{image_ending}")):
        stem = image.name.removesuffix(image_ending)
        truth = image.with_name(stem + truth_ending)
        if not truth.exists():
            raise FolderError(f"{image}: {truth.name} must lie beside it")
        found.append((stem, image, truth))
    if not found:
        raise FolderError(f"{folder}: no <stem>{image_ending} with <stem>{truth_ending} in it")
    return found


def group_of(stem: str) -> str:
    """The place that a stem speaks of: what is left without patch number, date and kind."""
    return _PARTS_OF_A_PLACE.sub("", stem) or stem


def labelled_entries(folder: Path) -> list[Entry]:
    """Images with labels, in the order of their names; groups from labels.jsonl where it is there.

    Raises:
        FolderError: nothing there, or an image without its label.
    """
    groups = {}
    for index in sorted(folder.rglob(LABEL_INDEX)) if folder.is_dir() else []:
        for line in index.read_text().splitlines():
            if line.strip():
                entry = json.loads(line)
                groups[entry["stem"]] = entry.get("group", group_of(entry["stem"]))
    return [
        Entry(stem, groups.get(stem, group_of(stem)), image, truth)
        for stem, image, truth in _pairs(folder, "_l1c.tif", "_label.tif")
    ]


def pair_entries(folder: Path) -> list[Entry]:
    """Pairs of Level-1C and Level-2A, in the order of their names.

    Raises:
        FolderError: nothing there, or a Level-1C file without its Level-2A.
    """
    return [
        Entry(stem, group_of(stem), image, truth)
        for stem, image, truth in _pairs(folder, "_S2L1C.tif", "_S2L2A.tif")
    ]


def read_stack(path: Path, bands: tuple[Band, ...]) -> dict[Band, F32]:
    """Reflectance per band at 10 m, (row, col); what is not finite becomes no data.

    Raises:
        FolderError: the file cannot be read or has another number of bands.
    """
    try:
        stack = np.asarray(tifffile.imread(path))
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise FolderError(f"{path}: cannot be read: {error}") from error
    if stack.ndim != 3 or len(bands) not in (stack.shape[0], stack.shape[2]):
        raise FolderError(f"{path}: expected {len(bands)} bands, found an array of shape {stack.shape}")
    if stack.shape[0] != len(bands):
        stack = np.moveaxis(stack, -1, 0)
    if np.issubdtype(stack.dtype, np.floating):
        reflectance = np.nan_to_num(stack.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        if np.percentile(reflectance, 99) > 20:  # DN stored as float
            reflectance /= np.float32(DN_PER_REFLECTANCE)
    else:
        reflectance = stack.astype(np.float32) / np.float32(DN_PER_REFLECTANCE)
    return dict(zip(bands, reflectance, strict=True))


def read_label(path: Path, shape: tuple[int, int]) -> U8:
    """Classes (row, col), 255 where nobody is sure.

    Raises:
        FolderError: the file cannot be read, or does not fit its image.
    """
    try:
        label = np.squeeze(tifffile.imread(path))
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise FolderError(f"{path}: cannot be read: {error}") from error
    if label.shape != shape:
        raise FolderError(f"{path}: is {label.shape}, its image is {shape}")
    return label.astype(np.uint8)
