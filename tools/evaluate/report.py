"""One HTML page that opens without a server: tables, scatter plots, picture strips."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from payload.types import F32, U8, Band, Grid
from tools.evaluate import surface_metrics as metrics
from tools.evaluate import tables
from tools.evaluate.scene_run import OURS, SceneRun, Seen
from tools.evaluate.surface_run import Scored, means_over_pairs
from tools.material import native_grids, true_colour
from tools.networks.contact_sheet import colour_classes

STRIPS_OF_SCENES = 60
DIFFERENCE_FULL_SCALE = 0.05
SCATTER_BANDS = (Band.B02, Band.B03, Band.B04, Band.B08, Band.B11, Band.B12)
SCATTER_BINS = 120
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 } table { border-collapse: collapse; margin: 1rem 0; font-size: 13px }
td, th { border: 1px solid #cfd6df; padding: .2rem .5rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr:first-child th { background: #eef2f6 }
figure { display: inline-block; margin: .4rem } figcaption { font-size: 12px; color: #556 }
img { image-rendering: pixelated; border: 1px solid #cfd6df }
.wide { overflow-x: auto }
"""


def _table(markdown: str) -> str:
    lines = [line.strip("| ").split(" | ") for line in markdown.splitlines()]
    head, body = lines[0], lines[2:]
    rows = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    rows += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in body]
    return '<div class="wide"><table>' + "".join(rows) + "</table></div>"


def _picture(picture: U8, caption: str, width_px: int = 200) -> str:
    code = base64.b64encode(imagecodecs.png_encode(np.ascontiguousarray(picture))).decode()
    image = f'<img width="{width_px}" alt="{html.escape(caption)}" src="data:image/png;base64,{code}">'
    return f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _plot(draw: Any, caption: str, width_px: int = 300) -> str:
    """A figure that ``draw(axes)`` fills, as a picture in the page; nothing without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return ""
    figure = Figure(figsize=(3.6, 3.3), dpi=110, layout="constrained")
    draw(figure.add_subplot())
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    code = base64.b64encode(file.getvalue()).decode()
    image = f'<img width="{width_px}" alt="{html.escape(caption)}" src="data:image/png;base64,{code}">'
    return f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _mistakes(label: U8, classes: U8) -> U8:
    """Grey where right, red where missed, yellow where a false alarm, black where not sure."""
    picture = np.full((*label.shape, 3), 200, np.uint8)
    contaminated, said = (label >= 1) & (label <= 3), (classes >= 1) & (classes <= 3)
    picture[contaminated & ~said] = (210, 40, 40)
    picture[(label == 0) & said] = (240, 200, 30)
    picture[contaminated & said & (label != classes)] = (140, 140, 200)
    picture[label > 3] = 0
    return picture


def scene_section(run: SceneRun, seen: Sequence[Seen]) -> str:
    """Tables and strips: true colour, ours, reference, difference."""
    figures = run.figures()
    ours = figures[OURS]
    parts = ["<h2>Scene classification</h2>", _table(tables.pooled_table(figures))]
    parts += ["<h3>Confusion of ours, pixels</h3>", _table(tables.confusion_table(ours["confusion"]))]
    parts += ["<h3>By group</h3>", _table(tables.target_table("group", ours["groups"]))]
    parts += ["<h3>By patch</h3>", _table(tables.target_table("patch", ours["patches"]))]
    parts.append(
        "<h3>Pictures</h3><p>Difference: grey agrees, red missed, yellow false alarm, blue another kind of "
        "cloud or shadow, black not judged.</p>"
    )
    for patch in list(seen)[:STRIPS_OF_SCENES]:
        rows, cols = patch.label.shape
        colour = true_colour(native_grids(patch.planes))[:rows, :cols]
        parts.append(f"<div><b>{html.escape(patch.entry.stem)}</b><br>")
        parts.append(_picture(colour, "true colour"))
        parts.append(_picture(colour_classes(patch.classes), "ours"))
        parts.append(_picture(colour_classes(patch.label), "reference"))
        parts.append(_picture(_mistakes(patch.label, patch.classes), "difference") + "</div>")
    return "\n".join(parts)


def _difference(found: F32, truth: F32) -> U8:
    """Mean difference of B02, B03, B04: white agrees, red too bright, blue too dark."""
    mean = (found[:3] - truth[:3]).mean(axis=0) / DIFFERENCE_FULL_SCALE
    level = np.clip(mean, -1, 1)[..., None]
    red, blue = np.array([255, 60, 40.0]), np.array([40, 80, 255.0])
    picture = 255 + np.where(level > 0, level * (red - 255), -level * (blue - 255))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _scatter(pair: Scored, band: Band, kind: str) -> str:
    grid, index = metrics.band_places()[band]
    counted = pair.masks[kind][grid]
    x, y = pair.truth[grid][index], pair.found[grid][index]
    counts = counted & (x != 0)
    if not counts.any():
        return ""

    def draw(axes: Any) -> None:
        top = float(np.percentile(np.concatenate([x[counts], y[counts]]), 99.8)) * 1.05
        edges = np.linspace(0, top, SCATTER_BINS)
        axes.hist2d(x[counts], y[counts], bins=[edges, edges], norm="log", cmap="viridis")
        axes.plot([0, top], [0, top], color="crimson", linewidth=0.8)
        axes.set(xlabel=f"reference {band.value}", ylabel=f"ours {band.value}", aspect="equal")

    return _plot(draw, f"{band.value}: ours against the reference", 250)


def surface_section(pairs: Sequence[Scored]) -> str:
    """Tables, scatter plots and strips of every pair."""
    parts = ["<h2>Surface reflectance</h2>"]
    for kind in ("clear", "all"):
        parts += [f"<h3>RMSE, mean over pairs, {kind} pixels</h3>"]
        parts.append(_table(tables.rmse_table(means_over_pairs(pairs, kind))))
    for pair in pairs:
        kind = "clear" if pair.figures["clear"] is not None else "all"
        by_method = pair.figures[kind]
        share = tables.share_text(pair.figures["clear_share"])
        parts.append(f"<h3>{html.escape(pair.entry.stem)}: {share}; {kind} pixels below</h3>")
        rmse = {m: tables.band_rows(r, "rmse") for m, r in by_method.items() if m != "confidence"}
        parts += [_table(tables.rmse_table(rmse)), _table(tables.image_table(by_method))]
        parts.append(_table(tables.confidence_table(by_method["confidence"])))
        scale = max(0.15, float(np.percentile(pair.truth[Grid.R10M][:3], 98)))
        found, truth = pair.found[Grid.R10M], pair.truth[Grid.R10M]
        parts.append("<div>" + _picture(true_colour(pair.top, scale), "top of atmosphere"))
        parts.append(_picture(true_colour(pair.found, scale), "ours"))
        parts.append(_picture(true_colour(pair.truth, scale), "reference"))
        parts.append(_picture(_difference(found, truth), "difference, full colour at 0.05"))
        parts.append(_picture(colour_classes(pair.classes), "our class map") + "</div><div>")
        parts += [_scatter(pair, band, kind) for band in SCATTER_BANDS]
        parts.append("</div>")
    return "\n".join(parts)


def write_report(
    path: Path,
    scenes: tuple[SceneRun, Sequence[Seen]] | None,
    pairs: Sequence[Scored] | None,
    remarks: Sequence[str] = (),
) -> None:
    """Write the page; whatever it shows is in the one file. ``remarks`` stand before the figures."""
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>Skysift report</title><style>{STYLE}"]
    parts.append("</style><h1>Skysift: the networks as they fly</h1>")
    parts.append("<p>Every figure is of the INT8 network through the flight code.</p>")
    parts += [f"<p><b>{html.escape(remark)}</b></p>" for remark in remarks]
    if scenes is not None:
        parts.append(scene_section(*scenes))
    if pairs is not None:
        parts.append(surface_section(pairs))
    path.write_text("\n".join(parts) + "</html>\n")
