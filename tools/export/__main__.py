"""Artifacts for the Myriad X from trained networks, made and gated without a device.

    python -m tools.make_myriad_env build/myriad          once
    python -m tools.export models/scene_s2_v2 models/surface_s2_v2

For each model and each window of the boards: static ONNX (float32, opset 13, in build/export), an
IR v10 with float16 weights that every OpenVINO from 2021.4 on reads, and the blob that the real
2021.4.2 compiler makes. What the blob takes of the chip is printed and held to a budget; an
operator that the Myriad does not take ends the export with its name. The model's manifest gets
the new files, with how far the answers may lie from the processor's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from payload.assembly import load_models
from payload.config import load_config
from tools.export.blob import BlobError, check_budget, read_header, strip_first_line
from tools.export.static_onnx import static_model, with_half_weights
from tools.networks.model_folder import describe_file, write_manifest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = Path(__file__).with_name("myriad_compiler.py")
STEM = "myriad_fp16"
PERMITTED = {
    "myriad": {"class_ratio": 0.02, "reflectance_dn": 20.0},
    "cpu": {"class_ratio": 0.04, "reflectance_dn": 100.0},
}
"""How far a target's answers may lie from float32's; `tools.parity` holds it. Simulated float16 is
within 0.0004 and 1 dn, a device will be off further; INT8 is within 0.017 and 26 dn (225 in B09)."""

Window = tuple[int, int]


class ExportError(Exception):
    """One line that says what stands in the way."""


def windows_of(boards: Sequence[Path]) -> list[Window]:
    """Rows and columns of the windows of every board, each once."""
    found = set()
    for board in boards:
        _, tiles = load_models(load_config(board))
        found.add((tiles.window_rows_px, tiles.window_columns_px))
    return sorted(found)


def compile_myriad(network: Path, window: Window, stem: Path, python: Path) -> bytes:
    """The blob of ``network``; the IR lies at ``stem`` with .xml and .bin.

    Raises:
        ExportError: the compiler refuses, or cannot be run.
    """
    command = [str(python), str(COMPILER), str(network), *map(str, window), str(stem)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ExportError(
            f"{python}: {error.strerror}; `python -m tools.make_myriad_env build/myriad` makes it"
        ) from error
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    told = json.loads(lines[-1]) if lines else {"error": done.stderr.strip()[-400:] or "said nothing"}
    if "error" in told:
        raise ExportError(f"{network.stem}: {told['error']}")
    cached = stem.with_suffix(".cached")
    blob = strip_first_line(cached.read_bytes())
    cached.unlink()
    return blob


def export_model(folder: Path, windows: Sequence[Window], python: Path, work: Path) -> list[str]:
    """Write the Myriad's files into ``folder`` and its manifest; what the gate says of each.

    Raises:
        ExportError, BlobError: nothing of the folder's manifest has changed.
    """
    work.mkdir(parents=True, exist_ok=True)
    files, lines = [], []
    for rows_px, columns_px in windows:
        size = f"{rows_px}x{columns_px}"
        static = static_model(folder / "fp32.onnx", rows_px, columns_px)
        onnx.save(static, str(work / f"{folder.name}_fp32_{size}.onnx"))
        halved = work / f"{folder.name}_fp16_{size}.onnx"
        onnx.save(with_half_weights(static), str(halved))
        blob = compile_myriad(halved, (rows_px, columns_px), folder / STEM, python)
        header = read_header(blob)
        check_budget(header)
        lines.append(f"{folder.name} {size}: {header.line}")
        path = folder / f"{STEM}_{size}.blob"
        path.write_bytes(blob)
        files.append(path)
    files = [folder / f"{STEM}.xml", folder / f"{STEM}.bin", *files]
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    others = [artifact for artifact in content["artifacts"] if artifact["target"] != "myriad"]
    ours = {
        "target": "myriad",
        "runtime": "openvino-2021.4.2",
        "precision": "fp16",
        "files": [describe_file(path) for path in files],
        "host_fixed_bytes": 0,
        "host_bytes_per_window_px": 0.0,
        "disagreement": PERMITTED["myriad"],
    }
    for artifact in others:
        if artifact["target"] in PERMITTED:
            artifact.setdefault("disagreement", PERMITTED[artifact["target"]])
    content["artifacts"] = [*others, ours]
    write_manifest(content, folder)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="folders with fp32.onnx")
    parser.add_argument("--python", type=Path, default=Path("build/myriad/bin/python"), help="(%(default)s)")
    parser.add_argument(
        "--boards", nargs="+", type=Path, default=sorted(ROOT.glob("firmware_configs/*.yaml"))
    )
    parser.add_argument("--work", type=Path, default=Path("build/export"), help="for the ONNX (%(default)s)")
    asked = parser.parse_args()
    windows = windows_of(asked.boards)
    for folder in asked.models:
        try:
            lines = export_model(folder, windows, asked.python, asked.work)
        except (ExportError, BlobError, OSError, ValueError) as error:
            sys.stderr.write(f"export: {folder}: {error}\n")
            return 1
        print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
