"""Fits what a band that is missing is likely to be: the table of `payload.core.missing_bands`.

    python -m tools.networks.missing_bands [--shared ../shared]

Least squares on clear and cloudy images of l1c/train, reflectance against reflectance, on the grid of
the band that is missing. Prints the table's rows with the error that is left.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.bands import GRID_OF_BAND, plane_of
from payload.core.missing_bands import LIKELY, on_grid
from payload.types import Band
from tools.material import Patch, all_patches

EVERY = 7


def fit(patches: Sequence[Patch], band: Band, others: Sequence[Band]) -> tuple[NDArray[np.float64], float]:
    """Factors of the others and a constant, and the root mean square of what is left."""
    grid = GRID_OF_BAND[band]
    columns, wanted = [], []
    for patch in patches:
        planes = [on_grid(plane_of(patch.grids, one), GRID_OF_BAND[one], grid) for one in (band, *others)]
        rows, cols = (min(plane.shape[axis] for plane in planes) for axis in (0, 1))
        target, *given = (plane[:rows, :cols].ravel()[::EVERY] for plane in planes)
        columns.append(np.stack([*given, np.ones_like(target)], axis=1)[target > 0])
        wanted.append(target[target > 0])
    x, y = np.concatenate(columns).astype(np.float64), np.concatenate(wanted)
    found, *_ = np.linalg.lstsq(x, y, rcond=None)
    return found, float(np.sqrt(np.mean((x @ found - y) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.networks.missing_bands",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    patches = all_patches(parser.parse_args().shared, "train")
    for band, likely in LIKELY.items():
        others = tuple(likely.factors)
        found, left = fit(patches, band, others)
        named = zip(others, found[:-1], strict=True)
        factors = ", ".join(f"Band.{one.value}: {value:.3f}" for one, value in named)
        print(f"    Band.{band.value}: Likely({{{factors}}}, {found[-1]:.3f}),  # leaves {left:.4f}")


if __name__ == "__main__":
    main()
