"""Artifacts for every target from trained networks, made and gated without a device.

    python -m tools.make_myriad_env build/myriad          once, for myriad and cpu_v10
    python -m tools.export models/scene_s2_v7 models/surface_s2_v5

For each model and each window of the boards that run the target:
  myriad   static ONNX (float32, opset 13, in build/export), an IR v10 with float16 weights that
           every OpenVINO from 2021.4 on reads, and the blob that the real 2021.4.2 compiler makes.
           What the blob takes of the chip is printed and held to a budget; an operator that the
           Myriad does not take ends the export with its name
  tflite   INT8 for LiteRT and tflite-runtime, with the numbers of the INT8 IR; no TensorFlow
  cpu_v10  INT8 IR v10 for the processor under OpenVINO 2021.4 and 2022.3, in build/export
The model's manifest gets the new files of the first two, with how far the answers may lie from
float32's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from payload.config import Config, load_config
from payload.core.telemetry import Telemetry
from payload.types import Target
from payload.updates import Updates
from tools.export.artifact import PERMITTED, ExportError, Window
from tools.export.blob import BlobError
from tools.export.ir_reading import TfliteError
from tools.export.ir_v10 import write_ir_v10
from tools.export.litert import export_litert
from tools.export.myriad import export_myriad
from tools.networks.model_folder import write_manifest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("myriad", "tflite", "cpu_v10")


def windows_of(boards: Sequence[Config], target: Target) -> list[Window]:
    """Rows and columns of the windows of every board that runs artifacts for ``target``, each once."""
    found = set()
    for board in boards:
        if target in map(board.engine.target, board.engine.in_use()):
            tiles = Updates(board, Telemetry()).tiles()  # models may lack what is made here
            found.add((tiles.window_rows_px, tiles.window_columns_px))
    return sorted(found)


def enter(folder: Path, artifact: dict[str, Any]) -> None:
    """The manifest in ``folder`` names ``artifact``, instead of the one for the same target."""
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    others = [one for one in content["artifacts"] if one["target"] != artifact["target"]]
    for other in others:
        if other["target"] in PERMITTED:
            other.setdefault("disagreement", PERMITTED[other["target"]])
    content["artifacts"] = [*others, artifact]
    write_manifest(content, folder)


def export_model(
    folder: Path, targets: Sequence[str], boards: Sequence[Config], python: Path, work: Path
) -> list[str]:
    """Write the files of every target, the manifest after each; what there is to say of them.

    Raises:
        ExportError, BlobError, TfliteError: the manifest does not name what could not be made.
    """
    work.mkdir(parents=True, exist_ok=True)
    lines = []
    if "myriad" in targets:
        artifact, told = export_myriad(folder, windows_of(boards, Target.MYRIAD), python, work)
        enter(folder, artifact)
        lines += told
    if "tflite" in targets:
        artifact, told = export_litert(folder, windows_of(boards, Target.TFLITE))
        enter(folder, artifact)
        lines += told
    if "cpu_v10" in targets:
        xml, _ = write_ir_v10(folder, work / f"{folder.name}_int8_v10", python)
        lines.append(f"{folder.name}: INT8 IR v10, {xml}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="folders with fp32.onnx")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS, help="(all)")
    parser.add_argument("--python", type=Path, default=Path("build/myriad/bin/python"), help="(%(default)s)")
    parser.add_argument(
        "--boards", nargs="+", type=Path, default=sorted(ROOT.glob("firmware_configs/*.yaml"))
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/export"), help="for what does not fly (%(default)s)"
    )
    asked = parser.parse_args()
    boards = [load_config(board) for board in asked.boards]
    for folder in asked.models:
        try:
            lines = export_model(folder, asked.targets, boards, asked.python, asked.work)
        except (ExportError, BlobError, TfliteError, OSError, ValueError) as error:
            sys.stderr.write(f"export: {folder}: {error}\n")
            return 1
        print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
