"""`python -m tools.evaluate`: figures of the networks as they fly, INT8, through the flight code."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from payload.types import Task
from tools.evaluate import clear_run, flown, tables
from tools.evaluate import surface_metrics as metrics
from tools.evaluate.folders import (
    LABELLED,
    PAIRED,
    Entry,
    FolderError,
    labelled_entries,
    left_out,
    pair_entries,
)
from tools.evaluate.pixel_rivals import load_rivals
from tools.evaluate.report import write_report
from tools.evaluate.rivals import make_rivals
from tools.evaluate.scene_run import (
    OURS,
    Judge,
    SceneRun,
    classify_all,
    score_all,
    score_without,
    sigma_as_cloud_mask,
)
from tools.evaluate.surface_run import Scored, means_over_pairs, score_pairs, score_truths
from tools.material import place_of
from tools.networks.folds import fold_folder
from tools.networks.model_folder import FOLDER_OF_TASK
from tools.networks.runtime import Runner
from tools.whole import make_way

MODELS = Path("models")
SCENE_MODEL = MODELS / FOLDER_OF_TASK[Task.SCENE]
SURFACE_MODEL = MODELS / FOLDER_OF_TASK[Task.SURFACE]
SMAC_FILE = Path("../shared/data/smac_coefficients/Coef_S2A_CONTINENTAL.dat")
BAD_INPUT = 2


def judge_of(model: Path, folds: Path | None) -> tuple[Judge, str, dict[str, int]]:
    """(who answers for an entry, what to call it, fold of every place that was trained on).

    Raises:
        FolderError: no model, or no networks of folds, in the folder named.
    """
    if folds is None:
        opened = flown.open_model(model, Task.SCENE)
        trained = opened.manifest.get("training", {}).get("cross_validation", {}).get("folds", {})
        return (lambda _: opened.answer), f"{model}", trained
    try:
        record = json.loads((folds / "scene.json").read_text())
        places: dict[str, int] = record["training"]["cross_validation"]["folds"]
    except (OSError, ValueError, KeyError) as error:
        raise FolderError(f"{folds}: not what tools.train scene leaves: {error}") from error
    networks = {}
    for fold in set(places.values()):
        xml = fold_folder(folds, fold) / "openvino_int8.xml"
        if not xml.exists():
            raise FolderError(f"{xml}: not there; python -m tools.quantize {folds} makes it")
        networks[fold] = Runner(xml)

    def out_of_fold(entry: Entry) -> flown.Answer:
        place = place_of(entry.group)
        if place not in places:
            raise FolderError(f"{entry.stem}: its place {place} is in no fold of {folds}")
        return networks[places[place]]

    return out_of_fold, f"out of fold, {folds}", places


def judged_entries(
    asked: argparse.Namespace, *, is_clear: bool = False
) -> tuple[list[Entry], Judge, list[str]]:
    """(what is scored, who answers, remarks on both)."""
    entries = clear_run.entries_of(asked.images, is_clear=is_clear)
    judge, name, trained = judge_of(asked.model, asked.out_of_fold)
    remarks = [] if is_clear else left_out(asked.images, LABELLED)
    known = [entry.stem for entry in entries if place_of(entry.group) in trained]
    if known and asked.out_of_fold is None:
        remarks.append(
            f"{len(known)} of {len(entries)} images show places that {name} was trained on: "
            "these are not scores on new ground (see --out-of-fold)"
        )
    return entries, judge, remarks


def run_scene(asked: argparse.Namespace) -> SceneRun:
    """The scored images."""
    entries, judge, remarks = judged_entries(asked)
    rivals, missing = make_rivals(asked.dtacsnet)
    _remark([*remarks, *missing])
    return score_all(classify_all(entries, judge), rivals)


def score_folder(asked: argparse.Namespace, surface: Path, scene: Path) -> list[Scored]:
    """The scored pairs of a folder."""
    rivals, missing = load_rivals(surface, asked.smac)
    if not metrics.has_ssim():
        missing.append("scikit-image is not installed (extra 'rivals'): no SSIM")
    entries = pair_entries(asked.pairs)
    _remark([*left_out(asked.pairs, PAIRED), *missing])
    networks = flown.open_model(surface, Task.SURFACE), flown.open_model(scene, Task.SCENE)
    return score_pairs(entries, *(network.answer for network in networks), rivals)


def as_json(content: Any, *, is_sorted: bool = True) -> str:
    """What any reader of JSON reads: no NaN, no infinity."""
    return json.dumps(content, indent=2, sort_keys=is_sorted, allow_nan=False)


def scene_text(figures: dict[str, Any]) -> str:
    """All tables of a scene run."""
    ours = figures[OURS]
    parts = [
        "Pooled over pixels:\n\n" + tables.pooled_table(figures),
        "Confusion of ours, pixels:\n\n" + tables.confusion_table(ours["confusion"]),
        "Ours by group:\n\n" + tables.target_table("group", ours["groups"]),
        "Ours by patch:\n\n" + tables.target_table("patch", ours["patches"]),
    ]
    return "\n\n".join(parts)


def scene_command(asked: argparse.Namespace) -> str:
    figures = run_scene(asked).figures()
    return as_json(figures) if asked.json else scene_text(figures)


def bands_command(asked: argparse.Namespace) -> str:
    entries, judge, remarks = judged_entries(asked)
    _remark(remarks)
    found = score_without(entries, judge)
    return as_json(found, is_sorted=False) if asked.json else tables.target_table("missing", found)


def clear_command(asked: argparse.Namespace) -> str:
    entries, judge, remarks = judged_entries(asked, is_clear=asked.all_clear)
    rivals, missing = make_rivals()
    _remark([*remarks, *missing])
    by_image = clear_run.table_of(
        list(clear_run.judge_clear(entries, judge, rivals, is_clear=asked.all_clear))
    )
    if asked.json:
        plain = {s: {k: dataclasses.asdict(c) for k, c in found.items()} for s, found in by_image.items()}
        return as_json(plain, is_sorted=False)
    return tables.clear_table(by_image)


def confidence_command(asked: argparse.Namespace) -> str:
    entries = labelled_entries(asked.images)
    _remark(left_out(asked.images, LABELLED))
    found = sigma_as_cloud_mask(entries, flown.open_model(asked.model_surface, Task.SURFACE).answer)
    return as_json(found, is_sorted=False) if asked.json else tables.curve_table(found)


def surface_command(asked: argparse.Namespace) -> str:
    if asked.truth is not None:
        report = score_truths(asked.truth, flown.open_model(asked.model, Task.SURFACE).answer)
        return as_json(report, is_sorted=False) if asked.json else _truth_text(report)
    scored = score_folder(asked, asked.model, asked.scene_model)
    if asked.json:
        report = {pair.entry.stem: pair.figures for pair in scored}
        means = {kind: means_over_pairs(scored, kind) for kind in ("clear", "all")}
        return as_json({"pairs": report, "mean_rmse": means})
    parts = []
    for pair in scored:
        share = tables.share_text(pair.figures["clear_share"])
        for kind in ("clear", "all"):
            by_method = pair.figures[kind]
            if by_method is None:
                parts.append(f"{pair.entry.stem}: {share}: too little to score")
                continue
            where = share if kind == "clear" else "all pixels"
            rmse = {m: tables.band_rows(r, "rmse") for m, r in by_method.items() if m != "confidence"}
            bias = {m: tables.band_rows(r, "bias") for m, r in by_method.items() if m != "confidence"}
            parts.append(f"{pair.entry.stem}, {where}:\n\n" + tables.rmse_table(rmse))
            if kind == "clear":
                parts.append(tables.rmse_table(bias, "bias"))
                parts.append(tables.image_table(by_method))
                parts.append("Confidence:\n\n" + tables.confidence_table(by_method["confidence"]))
    for kind in ("clear", "all"):
        parts.append(f"Mean over pairs, {kind}:\n\n" + tables.rmse_table(means_over_pairs(scored, kind)))
    return "\n\n".join(parts)


def _truth_text(report: dict[str, Any]) -> str:
    parts = []
    for name, rows in report.items():
        lines = [
            [band, *(tables.number(row[key], 4) for key in ("toa", "truth", "found")),
             tables.number(row["found"] - row["truth"], 4),
             tables.number(100 * (row["found"] / row["truth"] - 1) if row["truth"] else None, 1)]
            for band, row in rows.items()
        ]  # fmt: skip
        head = ["band", "top", "measured surface", "ours", "ours - measured", "%"]
        parts.append(f"{name}:\n\n" + tables.markdown(head, lines))
    return "\n\n".join(parts)


def report_command(asked: argparse.Namespace) -> str:
    if asked.images is None and asked.pairs is None:
        raise FolderError("nothing to report on: name --images, --pairs or both")
    try:
        make_way(asked.out)
    except OSError as error:
        raise FolderError(f"--out: {error}") from error
    run = pairs = None
    remarks: list[str] = []
    if asked.images is not None:
        entries, judge, remarks = judged_entries(asked)
        rivals, missing = make_rivals(asked.dtacsnet)
        _remark([*remarks, *missing])
        seen = list(classify_all(entries, judge))
        run = score_all(iter(seen), rivals), seen
    if asked.pairs is not None:
        pairs = score_folder(asked, asked.model_surface, asked.model)
    write_report(asked.out, run, pairs, remarks)
    return f"{asked.out}"


def _remark(remarks: Sequence[str]) -> None:
    for remark in remarks:
        print(f"evaluate: {remark}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.evaluate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    scene = commands.add_parser(
        "scene",
        help="class maps beside labels, per patch, per group and pooled",
        description="DIR holds <stem>_l1c.tif (13 bands, reflectance x 10000) and <stem>_label.tif (0 clear, "
        "1 thick cloud, 2 thin cloud, 3 cloud shadow, 255 not sure); labels.jsonl may name groups.",
    )
    scene.set_defaults(run=scene_command)
    surface = commands.add_parser(
        "surface",
        help="surface reflectance beside Level-2A, per band",
        description="DIR holds <stem>_S2L1C.tif (13 bands) and <stem>_S2L2A.tif (12 bands, no B10), "
        "reflectance x 10000. Clear pixels are those of our own class map.",
    )
    surface.set_defaults(run=surface_command)
    report = commands.add_parser("report", help="one HTML page with tables, scatter plots and picture strips")
    report.set_defaults(run=report_command)
    bands = commands.add_parser("bands", help="class maps where bands are missing, one by one and by sensor")
    bands.set_defaults(run=bands_command)
    clear = commands.add_parser(
        "clear",
        help="clear snow, bright ground, glint and the rest that is called cloud",
        description="Of labelled images the pixels labelled clear; of images named as clear, all.",
    )
    clear.set_defaults(run=clear_command)
    clear.add_argument(
        "--all-clear",
        action="store_true",
        help="DIR holds <stem>_S2L1C.tif or <stem>_l1c.tif without a cloud",
    )
    confidence = commands.add_parser("confidence", help="the surface's sigma as a cloud mask")
    confidence.set_defaults(run=confidence_command)
    confidence.add_argument("--images", type=Path, required=True, metavar="DIR", help="labelled patches")
    for command in (confidence, report):
        command.add_argument("--model-surface", type=Path, default=SURFACE_MODEL, help="surface model folder")
    for command in (scene, bands, clear, report):
        required = command is not report
        command.add_argument("--images", type=Path, required=required, metavar="DIR", help="labelled patches")
        command.add_argument("--model", type=Path, default=SCENE_MODEL, help=f"model folder ({SCENE_MODEL})")
        command.add_argument(
            "--out-of-fold",
            type=Path,
            metavar="TRAINED",
            help="judge every place by the network of the fold that left it out (build/networks)",
        )
    for command in (scene, report):
        command.add_argument(
            "--dtacsnet",
            type=Path,
            metavar="TRAINED",
            help="also DTACSNet's architecture as tools.train peer left it there (build/networks)",
        )
    one_of = surface.add_mutually_exclusive_group(required=True)
    one_of.add_argument("--pairs", type=Path, metavar="DIR", help="pairs of Level-1C and Level-2A")
    one_of.add_argument(
        "--truth",
        "--radcalnet",
        type=Path,
        metavar="CSV",
        help="measured places: name,kind,B01,...; see docs",
    )
    surface.add_argument("--model", type=Path, default=SURFACE_MODEL, help=f"model folder ({SURFACE_MODEL})")
    surface.add_argument("--scene-model", type=Path, default=SCENE_MODEL, help=f"class map ({SCENE_MODEL})")
    report.add_argument("--pairs", type=Path, metavar="DIR", help="pairs of Level-1C and Level-2A")
    report.add_argument("--out", type=Path, default=Path("build/report.html"), help="the page to write")
    for command in (surface, report):
        command.add_argument("--smac", type=Path, default=SMAC_FILE, help="SMAC coefficients for its row")
    for command in (scene, bands, clear, confidence, surface):
        command.add_argument("--json", action="store_true", help="figures for machines instead of tables")
    return parser


def main(arguments: list[str] | None = None) -> int:
    asked = build_parser().parse_args(arguments)
    try:
        print(asked.run(asked))
    except FolderError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
