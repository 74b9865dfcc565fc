"""`python -m tools.simulate`: strips that were never flown."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from payload.drivers.picture import write_png
from payload.types import U8
from tools.simulate.lookup import FOLDER
from tools.simulate.patch_files import write_patches
from tools.simulate.patches import SIZE_PX
from tools.simulate.scene import Scene, make_scene
from tools.write_raw import write_raw

PICTURE_FULL_SCALE_REFLECTANCE = 0.32
PICTURE_GAMMA = 0.7
MIN_ROWS, MIN_COLUMNS = 48, 48
_TRUE_COLOUR = (3, 2, 1)  # B04 B03 B02 among the 13 bands


def true_colour(scene: Scene) -> U8:
    """What a person would see: uint8 (rows, cols, 3), no-data black."""
    rows = []
    for row in range(0, scene.info.rows, 60):
        row_end = min(row + 60, scene.info.rows)
        part = scene.reflectance(row, row_end)[list(_TRUE_COLOUR)]
        shown = np.clip(part / PICTURE_FULL_SCALE_REFLECTANCE, 0, 1) ** PICTURE_GAMMA
        rows.append(np.moveaxis(shown * scene.has_data[row:row_end], 0, -1))
    picture: U8 = np.ascontiguousarray(np.rint(np.concatenate(rows) * 255), dtype=np.uint8)
    return picture


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.simulate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    strip = commands.add_parser(
        "strip",
        help="a 13-band strip with fields, water, a town, snow, clouds, shadows and cirrus",
        description="Write a made-up 13-band strip as a raw line stream on the native 10, 20 and 60 m "
        "grids: a YAML header and, beside it, the frames. The same seed and size give the same bytes. "
        "Needs about 250 bytes of memory for each 10 m pixel.",
    )
    strip.add_argument("--seed", type=int, default=7, help="what is made up (default 7)")
    strip.add_argument("--rows", type=int, default=480, metavar="R", help="rows of the 10 m grid (480)")
    strip.add_argument("--columns", type=int, default=720, metavar="C", help="columns of it (720)")
    strip.add_argument("--out", type=Path, required=True, metavar="YAML", help="the header; frames beside it")
    strip.add_argument("--picture", type=Path, metavar="PNG", help="also a true-colour picture of the truth")
    patches = commands.add_parser(
        "patches",
        help="training patches with everything known of them",
        description="Write simulated patches: reflectance on the native grids, surface, classes, cloud "
        "depth and height, shade, air and angles (npz), or 13 bands and a label (tif); a picture of each. "
        "The same seed gives the same patches.",
    )
    patches.add_argument("--seed", type=int, default=0, help="which patches (0)")
    patches.add_argument("--count", type=int, default=16, help="how many (16)")
    patches.add_argument(
        "--size", type=int, default=SIZE_PX, metavar="PX", help=f"side, a multiple of 6 ({SIZE_PX})"
    )
    patches.add_argument(
        "--shared", type=Path, help="folder with data/l1c: half of the patches on real clear ground"
    )
    patches.add_argument("--format", choices=["npz", "tif"], default="npz", help="what to write (npz)")
    patches.add_argument("--jobs", type=int, default=2, help="processes (2)")
    patches.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to")
    commands.add_parser(
        "tables",
        help="build the look-up tables of air and cloud again (a minute; needs the extra 'simulate')",
        description="Solve the radiative transfer anew and write the shipped look-up tables.",
    )
    return parser


def make_patches(wanted: argparse.Namespace) -> int:
    """Write what the command asks for. Returns the exit code."""
    begun = time.monotonic()
    made = write_patches(
        wanted.out,
        wanted.seed,
        wanted.count,
        shared=wanted.shared,
        size_px=wanted.size,
        kind=wanted.format,
        jobs=wanted.jobs,
    )
    for number, name in enumerate(made, 1):
        if sys.stderr.isatty() or number % 100 == 0 or number == wanted.count:
            rate = number / (time.monotonic() - begun)
            print(
                f"\r{number}/{wanted.count} patches, {rate:.1f} a second: {name:<60}", end="", file=sys.stderr
            )
    print(file=sys.stderr)
    return 0


def build_tables() -> int:
    """Write the tables into their place in the repository. Returns the exit code."""
    try:
        from tools.simulate.build import build
        from tools.simulate.covers import build as build_covers

        build(FOLDER, lambda line: print(line, file=sys.stderr, flush=True))
        build_covers(FOLDER)
    except ModuleNotFoundError as missing:
        print(f"needs {missing.name}: pip install -e '.[simulate]'", file=sys.stderr)
        return 2
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    wanted = parser.parse_args(arguments)
    if wanted.command == "tables":
        return build_tables()
    if wanted.command == "patches":
        if (
            wanted.size % 6
            or wanted.size < MIN_ROWS
            or wanted.count < 1
            or wanted.seed < 0
            or wanted.jobs < 1
        ):
            parser.error(
                f"needs a size that is a multiple of 6 and at least {MIN_ROWS}, a count and jobs above 0"
            )
        if wanted.shared is not None and not (wanted.shared / "data" / "l1c" / "index.json").exists():
            parser.error(f"{wanted.shared}: no data/l1c/index.json in it; name the shared folder")
        return make_patches(wanted)
    if wanted.rows < MIN_ROWS or wanted.columns < MIN_COLUMNS or wanted.seed < 0:
        parser.error(f"needs at least {MIN_ROWS} rows and {MIN_COLUMNS} columns, and a seed of 0 or more")
    scene = make_scene(wanted.seed, (wanted.rows, wanted.columns))
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    write_raw(wanted.out, scene.info, scene.blocks())
    if wanted.picture is not None:
        write_png(wanted.picture, true_colour(scene))
    return 0


if __name__ == "__main__":
    sys.exit(main())
