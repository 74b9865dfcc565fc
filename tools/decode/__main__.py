"""`python -m tools.decode FOLDER --out DIR`: products back to GeoTIFF, PNG and CSV.

Every *.skp in FOLDER is verified; what is damaged is named with the reason, and the rest is
put together, per strip: NAME_classes.tif and .png, NAME_surface_10m.tif (20m, 60m; and
_sigma), NAME_raw_10m.tif, NAME_quicklook.png, NAME_statistics.csv. Exit code 0: all whole;
1: some damaged, the rest decoded; 2: nothing there to decode, or DIR cannot be written.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from payload.core.pictures import class_palette
from payload.core.products import Content
from payload.drivers.picture import write_png
from payload.errors import PayloadError
from payload.types import SceneStats
from tools.decode.folder import Found, labels_of, scan
from tools.decode.geotiff import Raster, write_geotiff
from tools.decode.mosaic import Layer, layers_of, picture_of, tiles_of

PICTURE_LONGEST_PX = 2000

_REFLECTANCE = (Content.SURFACE, Content.TOP_OF_ATMOSPHERE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Decode a folder; the exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        found, faults = scan(parsed.folder)
        if not found and not faults:
            print(f"{parsed.folder}: no product (*.skp) there", file=sys.stderr)
            return 2
        parsed.out.mkdir(parents=True, exist_ok=True)
        strips = {strip: _write_strip(products, parsed.out) for strip, products in _by_strip(found).items()}
    except (OSError, PayloadError) as error:
        print(f"tools.decode: {error}", file=sys.stderr)
        return 2
    for fault in faults:
        print(f"{fault.name}: {fault.reason}", file=sys.stderr)
    summary = {"products": len(found), "damaged": [asdict(fault) for fault in faults], "strips": strips}
    print(json.dumps(summary, indent=2) if parsed.json else _text(summary))
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.decode",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the products came down")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    parser.add_argument("--json", action="store_true", help="say what was made as JSON")
    return parser


def _by_strip(found: Sequence[Found]) -> dict[str, list[Found]]:
    strips: dict[str, list[Found]] = {}
    for product in found:
        strips.setdefault(product.container.label.origin.strip_id, []).append(product)
    return strips


def _write_strip(found: list[Found], folder: Path) -> dict[str, Any]:
    strip_id = found[0].container.label.origin.strip_id
    stem = quote(strip_id, safe="")
    files = []
    for layer in layers_of(found):
        files += _write_layer(layer, folder, stem)
    rows = [_statistics_row(label.tile_index, label.window, stats) for label, stats in labels_of(found)]
    if rows:
        files.append(f"{stem}_statistics.csv")
        with (folder / files[-1]).open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    tiles = {product.container.label.tile_index for product in found}
    return {"tiles": len(tiles), "files": files, "scene": _scene(rows)}


def _write_layer(layer: Layer, folder: Path, stem: str) -> list[str]:
    name = f"{stem}_{layer.name}"
    if layer.content is Content.RED:
        write_png(folder / f"{name}.png", picture_of(layer, PICTURE_LONGEST_PX))
        return [f"{name}.png"]
    write_geotiff(folder / f"{name}.tif", _raster(layer), tiles_of(layer))
    if layer.content is not Content.CLASS:
        return [f"{name}.tif"]
    picture = class_palette()[picture_of(layer, PICTURE_LONGEST_PX)[..., 0]]
    write_png(folder / f"{name}.png", picture)
    return [f"{name}.tif", f"{name}.png"]


def _raster(layer: Layer) -> Raster:
    per_reflectance = layer.container.counts_per_reflectance
    is_reflectance = layer.content in _REFLECTANCE
    is_class = layer.content is Content.CLASS
    return Raster(
        bands=layer.bands,
        rows=layer.rows,
        columns=layer.columns,
        bits=layer.bits,
        no_data=layer.no_data,
        pixel_m=layer.origin.ground_sample_m * layer.pitch_px,
        georeference=layer.origin.georeference,
        scale=1.0 if is_class else 1 / per_reflectance,
        offset=-layer.container.counts_offset / per_reflectance if is_reflectance else 0.0,
        palette=class_palette() if is_class else None,
    )


def _statistics_row(tile_index: int, window: Any, stats: SceneStats) -> dict[str, Any]:
    return {"tile": tile_index, **asdict(window), **asdict(stats)}


def _scene(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Ratios of the valid pixels of all tiles that came down."""
    valid_px = sum(row["valid_px"] for row in rows)
    ratios = [field.name for field in fields(SceneStats) if field.name.endswith("_ratio")]
    return {
        name: round(sum(row[name] * row["valid_px"] for row in rows) / valid_px, 6) if valid_px else 0.0
        for name in ratios
    }


def _text(summary: dict[str, Any]) -> str:
    lines = [f"{summary['products']} products, {len(summary['damaged'])} damaged"]
    for strip_id, strip in summary["strips"].items():
        lines.append(f"{strip_id}: {strip['tiles']} tiles")
        lines += [f"  {name}" for name in strip["files"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
