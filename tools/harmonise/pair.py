"""A pair: the same ground seen fine (Pleiades-like, 2 m) and coarse (Sentinel-2-like, 10 m).

A folder holds fine.tif and coarse.tif, four bands each (blue, green, red, near infrared), the
fine one five times the rows and columns of the coarse one, and at will truth.tif and cloud.tif
(simulated pairs) and pair.json. Samples are what `tools.band_files` reads: reflectance x 10000, or
fractions; 0 is no data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from payload.types import F32
from tools.band_files import BandFileError, read_plane, read_reflectance
from tools.material import DN_PER_REFLECTANCE
from tools.whole import whole

BAND_NAMES = ("blue", "green", "red", "nir")
BANDS = len(BAND_NAMES)
RATIO = 5
"""Fine pixels per coarse pixel: 2 m to 10 m."""
WINDOW_PX = 50
"""Coarse pixels a side of the windows into which a pair is cut."""
HELD_SHARE = 0.1
"""Share of a real pair's windows that no training sees, as in the paper."""
MAX_DN = 65535

Mask = NDArray[np.bool_]


class PairError(ValueError):
    """A folder does not hold a pair; the message says what is wrong and what to do."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Reflectance, float32, 0 where nothing was seen.

    Attributes:
        fine: (4, 5 R, 5 C), the image that is to be harmonised.
        coarse: (4, R, C), the image whose reflectance is wanted.
        truth: (4, 5 R, 5 C), what the coarse instrument's bands see at the fine image's
            resolution; simulated pairs only.
        cloud: (5 R, 5 C), True where an unmasked cloud stands in the fine image.
        held: numbers of the windows that no training may see.
        story: how the pair came to be.
    """

    fine: F32
    coarse: F32
    truth: F32 | None
    cloud: Mask | None
    held: tuple[int, ...]
    story: dict[str, Any]

    @property
    def columns_of_windows(self) -> int:
        return self.coarse.shape[2] // WINDOW_PX

    @property
    def windows(self) -> int:
        return self.coarse.shape[1] // WINDOW_PX * self.columns_of_windows

    def seen(self) -> tuple[int, ...]:
        """The windows that training may use."""
        return tuple(number for number in range(self.windows) if number not in self.held)

    def coarse_window(self, number: int) -> F32:
        row, col = self._corner(number)
        return self.coarse[:, row : row + WINDOW_PX, col : col + WINDOW_PX]

    def fine_window(self, number: int, plane: NDArray[Any] | None = None) -> NDArray[Any]:
        """A window of the fine image, or of another ``plane`` on its grid."""
        chosen = self.fine if plane is None else plane
        row, col = (RATIO * place for place in self._corner(number))
        size = RATIO * WINDOW_PX
        return chosen[..., row : row + size, col : col + size]

    def _corner(self, number: int) -> tuple[int, int]:
        row, col = divmod(number, self.columns_of_windows)
        return row * WINDOW_PX, col * WINDOW_PX


def read_bands(path: Path) -> F32:
    """Reflectance (4, row, col) of a TIFF with four bands, first or last axis."""
    if not path.is_file():
        raise PairError(f"{path}: no such file")
    try:
        return read_reflectance(path, BANDS)
    except BandFileError as error:
        raise PairError(f"{error}; expected four bands: blue, green, red, nir") from error


def read_pair(folder: Path, seed: int = 0) -> Pair:
    """The pair in ``folder``; held windows as pair.json lists them, else one in ten by ``seed``."""
    fine, coarse = read_bands(folder / "fine.tif"), read_bands(folder / "coarse.tif")
    wanted = (BANDS, *(RATIO * size for size in coarse.shape[1:]))
    if fine.shape != wanted:
        raise PairError(f"{folder}: fine.tif is {fine.shape}; beside this coarse.tif it must be {wanted}")
    story_file = folder / "pair.json"
    story = json.loads(story_file.read_text()) if story_file.is_file() else {"source": "measured"}
    truth = read_bands(folder / "truth.tif") if (folder / "truth.tif").is_file() else None
    cloud = read_plane(folder / "cloud.tif") != 0 if (folder / "cloud.tif").is_file() else None
    rows, cols = (size // WINDOW_PX for size in coarse.shape[1:])
    if rows * cols < 2:
        raise PairError(f"{folder}: too small; at least two windows of {WINDOW_PX} coarse pixels are needed")
    held = tuple(story["held"]) if "held" in story else _draw_held(rows * cols, seed)
    return Pair(fine, coarse, truth, cloud, held, story)


def _draw_held(windows: int, seed: int) -> tuple[int, ...]:
    count = max(1, round(HELD_SHARE * windows))
    drawn = np.random.default_rng(seed).permutation(windows)[:count]
    return tuple(sorted(int(number) for number in drawn))


def write_pair(pair: Pair, folder: Path) -> None:
    """Write the pair as `read_pair` reads it; reflectance is rounded to 0.0001."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bands(folder / "fine.tif", pair.fine)
    write_bands(folder / "coarse.tif", pair.coarse)
    if pair.truth is not None:
        write_bands(folder / "truth.tif", pair.truth)
    if pair.cloud is not None:
        tifffile.imwrite(folder / "cloud.tif", pair.cloud.astype(np.uint8))
    story = {**pair.story, "held": list(pair.held)}
    (folder / "pair.json").write_text(json.dumps(story, indent=2, sort_keys=True) + "\n")


GEOGRAPHY_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
"""Pixel scale, tie points, transformation and the three lists of keys (OGC 19-008r4)."""


def write_bands(path: Path, reflectance: F32, tags: Sequence[tuple[Any, ...]] = ()) -> None:
    """uint16, reflectance x 10000, 0 kept for no data; ``path`` is there whole or not at all."""
    dn = np.clip(np.rint(reflectance * DN_PER_REFLECTANCE), 1, MAX_DN)
    dn[reflectance == 0] = 0
    layout = {"photometric": "minisblack", "planarconfig": "separate"}
    with whole(path) as part:
        tifffile.imwrite(part, dn.astype(np.uint16), extratags=list(tags), **layout)


def geography_of(path: Path) -> list[tuple[Any, ...]]:
    """The tags that say where a TIFF lies, as `write_bands` takes them."""
    with tifffile.TiffFile(path) as file:
        found = [file.pages.first.tags.get(code) for code in GEOGRAPHY_TAGS]
        return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in found if tag is not None]
