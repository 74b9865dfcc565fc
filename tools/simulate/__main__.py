"""`python -m tools.simulate`: strips, products and training patches that were never flown."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from payload.drivers.picture import write_png
from tools import progress
from tools.simulate.landscape import BIOMES
from tools.simulate.lookup import FOLDER
from tools.simulate.patch_files import write_patches
from tools.simulate.patches import SIZE_PX
from tools.simulate.scene import make_scene
from tools.simulate.sensors import SENSORS
from tools.simulate.sheet import contact_sheet
from tools.simulate.strip_files import Picture, TruthFolder, told_blocks, write_strip
from tools.whole import make_way

MIN_ROWS, MIN_COLUMNS = 48, 48
EXAMPLE_SEED, EXAMPLE_SHAPE = 44, (480, 720)
GRANULE_PX = 10980
BASELINES = ("05.10", "02.06")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    strip = commands.add_parser(
        "strip",
        help="a 13-band strip as a raw line stream",
        description="Write a simulated 13-band strip as a raw line stream on the native 10, 20 and 60 m "
        "grids: a YAML header and, beside it, the frames. The same seed and size give the same bytes.",
    )
    _add_scene(strip, EXAMPLE_SEED, EXAMPLE_SHAPE)
    strip.add_argument("--out", type=Path, required=True, metavar="YAML", help="the header; frames beside it")
    safe = commands.add_parser(
        "safe",
        help="a Level-1C SAFE product with JPEG 2000 images",
        description="Write a simulated strip as a Level-1C SAFE product, by row strips; the extra 'safe'.",
    )
    _add_scene(safe, EXAMPLE_SEED, (GRANULE_PX, GRANULE_PX))
    safe.add_argument(
        "--baseline", choices=BASELINES, default=BASELINES[0], help="decides the offset (05.10)"
    )
    safe.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder, best named *.SAFE")
    patches = commands.add_parser(
        "patches",
        help="training patches with everything known of them",
        description="Write simulated patches: counts on the native grids, surface, classes, cloud depth and "
        "height, shade, air and angles (npz), or 13 bands and a label (tif); a picture of each. The same "
        "seed gives the same patches.",
    )
    patches.add_argument("--seed", type=int, default=0, help="which patches (0)")
    patches.add_argument("--count", type=int, default=16, help="how many (16)")
    patches.add_argument(
        "--size", type=int, default=SIZE_PX, metavar="PX", help=f"side, a multiple of 6 ({SIZE_PX})"
    )
    patches.add_argument(
        "--shared", type=Path, help="holds data/l1c: half of the patches on real clear ground"
    )
    patches.add_argument("--format", choices=["npz", "tif"], default="npz", help="what to write (npz)")
    patches.add_argument("--biome", choices=list(BIOMES), help="all made-up ground of one kind")
    patches.add_argument("--sensor", choices=list(SENSORS), help="with npz: also as this instrument sees it")
    patches.add_argument("--jobs", type=int, default=2, help="processes (2)")
    patches.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to")
    sheet = commands.add_parser(
        "sheet",
        help="a picture of simulated patches beside real ones",
        description="Write a contact sheet: labelled real patches on the left, simulated ones on the right, "
        "true colour beside classes (green clear, white thick, blue thin cloud, red shadow).",
    )
    sheet.add_argument(
        "--shared", type=Path, default=Path("../shared"), help="holds data/labels and data/l1c"
    )
    sheet.add_argument("--seed", type=int, default=0, help="which patches (0)")
    sheet.add_argument("--out", type=Path, required=True, metavar="PNG", help="the picture")
    commands.add_parser(
        "tables",
        help="build the look-up tables again (a minute; needs the extra 'simulate')",
        description="Solve the radiative transfer anew and write the shipped tables.",
    )
    return parser


def _add_scene(parser: argparse.ArgumentParser, seed: int, shape: tuple[int, int]) -> None:
    parser.add_argument("--seed", type=int, default=seed, help=f"what is made up (default {seed})")
    parser.add_argument(
        "--rows", type=int, default=shape[0], metavar="R", help=f"rows of the 10 m grid ({shape[0]})"
    )
    parser.add_argument(
        "--columns", type=int, default=shape[1], metavar="C", help=f"columns of it ({shape[1]})"
    )
    parser.add_argument(
        "--dead-columns", type=int, nargs="+", default=[], metavar="C", help="of B04, without data"
    )
    parser.add_argument(
        "--truth", type=Path, metavar="DIR", help="also classes, cloud depth and height, shade"
    )
    parser.add_argument("--truth-surface", action="store_true", help="with --truth: surface reflectance too")
    parser.add_argument(
        "--picture", type=Path, metavar="PNG", help="also a true-colour picture beside the classes"
    )


def make_strip(wanted: argparse.Namespace) -> int:
    """Write a strip or a SAFE product. Returns the exit code."""
    scene = make_scene(wanted.seed, (wanted.rows, wanted.columns), dead_columns=tuple(wanted.dead_columns))
    truth = TruthFolder(wanted.truth, scene, surface=wanted.truth_surface) if wanted.truth else None
    picture = Picture(wanted.columns) if wanted.picture else None
    begun = time.monotonic()

    def say(rows: int) -> None:
        progress.show(f"{rows}/{wanted.rows} rows, {time.monotonic() - begun:.0f} s")

    try:
        if wanted.command == "strip":
            write_strip(wanted.out, scene, say, truth=truth, picture=picture)
        else:
            from tools.write_safe import write_safe_blocks

            blocks = told_blocks(scene, say, truth=truth, picture=picture)
            write_safe_blocks(scene.info, blocks, wanted.out, wanted.baseline)
    finally:
        progress.end()
        if truth is not None:
            truth.close()
    if picture is not None:
        picture.write(wanted.picture)
    print(f"{wanted.out}: {wanted.rows} x {wanted.columns}, simulated, seed {wanted.seed}")
    return 0


def make_patches(wanted: argparse.Namespace) -> int:
    """Write patches. Returns the exit code."""
    begun = time.monotonic()
    made = write_patches(
        wanted.out,
        wanted.seed,
        wanted.count,
        shared=wanted.shared,
        size_px=wanted.size,
        kind=wanted.format,
        biome=wanted.biome,
        sensor=wanted.sensor,
        jobs=wanted.jobs,
    )
    for number, name in enumerate(made, 1):
        rate = number / (time.monotonic() - begun)
        progress.show(f"{number}/{wanted.count} patches, {rate:.1f} a second: {name:<60}")
    progress.end()
    print(f"{wanted.out}: {wanted.count} patches, simulated, seed {wanted.seed}")
    return 0


def make_sheet(wanted: argparse.Namespace) -> int:
    """Write the contact sheet. Returns the exit code."""
    write_png(wanted.out, contact_sheet(wanted.shared, wanted.seed))
    print(f"{wanted.out}: real on the left, simulated on the right")
    return 0


def build_tables() -> int:
    """Write the tables into their place in the repository. Returns the exit code."""
    from tools.simulate.build import build
    from tools.simulate.covers import build as build_covers

    build(FOLDER, lambda line: print(line, file=sys.stderr, flush=True))
    build_covers(FOLDER)
    return 0


def _refuse_nonsense(parser: argparse.ArgumentParser, wanted: argparse.Namespace) -> None:
    if wanted.command in ("strip", "safe"):
        if wanted.rows < MIN_ROWS or wanted.columns < MIN_COLUMNS or wanted.seed < 0:
            parser.error(f"needs at least {MIN_ROWS} rows and {MIN_COLUMNS} columns, and a seed of 0 or more")
        if wanted.command == "safe" and wanted.out.exists():
            parser.error(f"{wanted.out} exists already: name a new folder")
        beyond = [column for column in wanted.dead_columns if not 0 <= column < wanted.columns]
        if beyond:
            parser.error(f"--dead-columns: {beyond[0]} is not among the columns 0 to {wanted.columns - 1}")
        if wanted.truth_surface and wanted.truth is None:
            parser.error("--truth-surface needs --truth: name the folder")
    if wanted.command == "sheet" and not (wanted.shared / "data" / "labels" / "dev").is_dir():
        parser.error(f"{wanted.shared}: no data/labels/dev in it; name the shared folder")
    if wanted.command == "patches":
        if wanted.size % 6 or wanted.size < MIN_ROWS:
            parser.error(f"--size must be a multiple of 6 and at least {MIN_ROWS}, not {wanted.size}")
        if wanted.sensor is not None and wanted.format != "npz":
            parser.error("--sensor needs --format npz: a tif holds Sentinel-2's bands alone")
        if wanted.count < 1 or wanted.seed < 0 or wanted.jobs < 1:
            parser.error("--count and --jobs must be above 0, --seed 0 or more")
        if wanted.shared is not None and not (wanted.shared / "data" / "l1c" / "index.json").exists():
            parser.error(f"{wanted.shared}: no data/l1c/index.json in it; name the shared folder")


def _prepare(parser: argparse.ArgumentParser, wanted: argparse.Namespace) -> None:
    """What is to be written can be written: asked before the rendering."""
    is_strip = wanted.command in ("strip", "safe")
    files = [wanted.picture] if is_strip else []
    files += [wanted.out] if wanted.command in ("strip", "safe", "sheet") else []
    folders = [wanted.truth] if is_strip else []
    folders += [wanted.out] if wanted.command == "patches" else []
    try:
        for path in filter(None, files):
            make_way(path)
        for path in filter(None, folders):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"{error}")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = build_parser()
    wanted = parser.parse_args(arguments)
    _refuse_nonsense(parser, wanted)
    _prepare(parser, wanted)
    if wanted.command == "tables":
        return build_tables()
    commands = {"strip": make_strip, "safe": make_strip, "patches": make_patches, "sheet": make_sheet}
    return commands[wanted.command](wanted)


if __name__ == "__main__":
    sys.exit(main())
