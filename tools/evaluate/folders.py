"""Finds and reads what is scored: a folder of labelled patches, or of surface pairs.

    <stem>_l1c.tif   with <stem>_label.tif      13 bands at 10 m; 0 clear, 1 thick cloud,
                                                2 thin cloud, 3 cloud shadow, all else not sure
    <stem>_S2L1C.tif with <stem>_S2L2A.tif      13 and 12 bands (no B10) at 10 m

Bands are B01 to B08, B8A, B09 to B12, as `tools.band_files` reads them: whole numbers are
reflectance x 10000 without offset, fractions are reflectance. 0 in every band is no data.
Where a stem stands in several folders, images are named by their path.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from payload.types import F32, U8, Band, SceneClass
from tools import progress
from tools.band_files import BandFileError, read_plane, read_reflectance
from tools.material import FILE_BANDS, IGNORED_LABEL

L2A_BANDS = tuple(band for band in FILE_BANDS if band is not Band.B10)
LABEL_INDEX = "labels.jsonl"
LABELLED = ("_l1c.tif", "_label.tif")
PAIRED = ("_S2L1C.tif", "_S2L2A.tif")
LABELS = (SceneClass.CLEAR, SceneClass.THICK_CLOUD, SceneClass.THIN_CLOUD, SceneClass.CLOUD_SHADOW)
OFFSET_REFLECTANCE = 0.09
"""Without an offset the darkest of all bands is darker than this nearly everywhere; with that of baseline
04.00 nothing is."""
MANY_ZEROS_RATIO = 0.01

_PARTS_OF_A_PLACE = re.compile(r"(_p\d+.*|_(input|target|cloudy|clear)|_\d{4}-?\d{2}-?\d{2}.*)$")


class FolderError(Exception):
    """A folder or file cannot be scored; the message names it and says what is expected."""


@dataclass(frozen=True)
class Entry:
    """One pair of files: ``stem`` names it and no other of its folder, ``group`` its place."""

    stem: str
    group: str
    image: Path
    truth: Path


def _pairs(folder: Path, endings: tuple[str, str]) -> list[tuple[Path, Path]]:
    image_ending, truth_ending = endings
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder")
    found = []
    for image in sorted(folder.rglob(f"*{image_ending}")):
        truth = image.with_name(bare_stem(image, image_ending) + truth_ending)
        if not truth.exists():
            raise FolderError(f"{image}: {truth.name} must lie beside it")
        found.append((image, truth))
    if not found:
        raise FolderError(f"{folder}: no <stem>{image_ending} with <stem>{truth_ending} in it")
    return found


def bare_stem(image: Path, ending: str) -> str:
    """The name of ``image`` without its ``ending``."""
    return image.name.removesuffix(ending)


def stems_of(folder: Path, images: Sequence[Path], bare: Sequence[str]) -> list[str]:
    """A name for every image, no two the same: its ``bare`` stem, where that repeats with its path in
    ``folder``, and where that repeats too the file's own."""
    stems = list(bare)
    for longer in (lambda image, stem: image.with_name(stem or image.name), lambda image, _: image):
        counts = Counter(stems)
        stems = [
            stem if counts[stem] == 1 else longer(image, own).relative_to(folder).as_posix()
            for stem, image, own in zip(stems, images, bare, strict=True)
        ]
    return stems


def group_of(stem: str) -> str:
    """The place that a stem speaks of: what is left without patch number, date and kind."""
    return _PARTS_OF_A_PLACE.sub("", stem) or stem


def labelled_entries(folder: Path) -> list[Entry]:
    """Images with labels, in the order of their paths; groups from labels.jsonl where it is there, the one
    beside an image before any other.

    Raises:
        FolderError: nothing there, an image without its label, or a labels.jsonl that is none.
    """
    groups: dict[tuple[Path | None, str], str] = {}
    for index in sorted(folder.rglob(LABEL_INDEX)) if folder.is_dir() else []:
        for stem, group in _groups_in(index).items():
            groups[index.parent, stem] = groups[None, stem] = group
    pairs = _pairs(folder, LABELLED)
    bare = [bare_stem(image, LABELLED[0]) for image, _ in pairs]
    stems = stems_of(folder, [image for image, _ in pairs], bare)
    return [
        Entry(stem, groups.get((image.parent, own)) or groups.get((None, own)) or group_of(own), image, truth)
        for stem, own, (image, truth) in zip(stems, bare, pairs, strict=True)
    ]


def _groups_in(index: Path) -> dict[str, str]:
    """Group by stem; '' where a line names none."""
    groups = {}
    try:
        lines = index.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise FolderError(f"{index}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise FolderError(f"{index}: line {number} is not JSON: {error}") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("stem"), str):
            raise FolderError(f'{index}: line {number} must be an object with a text "stem"')
        group = entry.get("group")
        if not isinstance(group, str | int | None):
            raise FolderError(f'{index}: line {number}: "group" must be a text')
        groups[entry["stem"]] = "" if group is None else str(group)
    return groups


def pair_entries(folder: Path) -> list[Entry]:
    """Pairs of Level-1C and Level-2A, in the order of their paths.

    Raises:
        FolderError: nothing there, or a Level-1C file without its Level-2A.
    """
    pairs = _pairs(folder, PAIRED)
    bare = [bare_stem(image, PAIRED[0]) for image, _ in pairs]
    stems = stems_of(folder, [image for image, _ in pairs], bare)
    return [
        Entry(stem, group_of(own), image, truth)
        for stem, own, (image, truth) in zip(stems, bare, pairs, strict=True)
    ]


def left_out(folder: Path, endings: tuple[str, str]) -> list[str]:
    """A remark where truth has no image beside it and is not scored."""
    image_ending, truth_ending = endings
    alone = [
        truth
        for truth in sorted(folder.rglob(f"*{truth_ending}"))
        if not truth.with_name(bare_stem(truth, truth_ending) + image_ending).exists()
    ]
    if not alone:
        return []
    return [f"{len(alone)} <stem>{truth_ending} without <stem>{image_ending} not scored, as {alone[0]}"]


def read_stack(path: Path, bands: tuple[Band, ...]) -> dict[Band, F32]:
    """Reflectance per band at 10 m, (row, col); 0 in every band where there is no data. What looks as
    if it were not what is expected is said on stderr.

    Raises:
        FolderError: the file cannot be read or has another number of bands.
    """
    try:
        planes = dict(zip(bands, read_reflectance(path, len(bands)), strict=True))
    except BandFileError as error:
        raise FolderError(str(error)) from error
    for remark in doubts_about(planes):
        progress.end()
        print(f"evaluate: {path}: {remark}", file=sys.stderr)
    return planes


def seen_in(planes: Mapping[Band, F32]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where any band has data (row, col)."""
    return np.any([plane != 0 for plane in planes.values()], axis=0)


def doubts_about(planes: Mapping[Band, F32]) -> list[str]:
    """What is odd about an image of whole reflectance, for whoever made the file."""
    seen = seen_in(planes)
    if not seen.any():
        return ["holds no data"]
    doubts = []
    zeros = {band.value: float((plane[seen] == 0).mean()) for band, plane in planes.items()}
    absent = [band for band, share in zeros.items() if share == 1]
    if absent:
        doubts.append(f"nothing in {', '.join(absent)}: as if it saw black there")
    dark = [f"{band} ({share:.0%})" for band, share in zeros.items() if MANY_ZEROS_RATIO < share < 1]
    if dark:
        doubts.append(f"0 where other bands have data, read as dark: {', '.join(dark)}")
    darkest = min(float(np.percentile(plane[seen], 1)) for plane in planes.values() if plane.any())
    if darkest <= -OFFSET_REFLECTANCE / 2:
        doubts.append(f"a band is as dark as {darkest:.3f}: was an offset taken off that was not in it?")
    if darkest >= OFFSET_REFLECTANCE:
        doubts.append(
            f"no band is darker than {darkest:.3f}: does it hold the offset of 1000 of baseline 04.00? "
            "None is expected (DN = reflectance x 10000); read as it is"
        )
    return doubts


def read_label(path: Path, shape: tuple[int, int]) -> U8:
    """Classes (row, col), 255 where nobody is sure: whatever is not one of the four classes.

    Raises:
        FolderError: the file cannot be read, or does not fit its image.
    """
    try:
        label = read_plane(path)
    except BandFileError as error:
        raise FolderError(str(error)) from error
    if tuple(size for size in label.shape if size != 1) != tuple(size for size in shape if size != 1):
        raise FolderError(f"{path}: is {label.shape}, its image is {shape}")
    label = label.reshape(shape)
    return np.where(np.isin(label, LABELS), label, IGNORED_LABEL).astype(np.uint8)
