"""The Myriad X's files: static ONNX, IR v10 with float16 weights, blobs; gated without a device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from tools.export.artifact import ExportError, Window, described, run_old
from tools.export.blob import check_budget, read_header, strip_first_line
from tools.export.static_onnx import static_model, with_half_weights

COMPILER = Path(__file__).with_name("myriad_compiler.py")
STEM = "myriad_fp16"


def compile_myriad(network: Path, window: Window, stem: Path, python: Path) -> bytes:
    """The blob of ``network``; the IR lies at ``stem`` with .xml and .bin.

    Raises:
        ExportError: the compiler refuses, or cannot be run.
    """
    done = run_old(python, COMPILER, network, *window, stem)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    told = json.loads(lines[-1]) if lines else {"error": done.stderr.strip()[-400:] or "said nothing"}
    if "error" in told:
        raise ExportError(f"{network.stem}: {told['error']}")
    cached = stem.with_suffix(".cached")
    blob = strip_first_line(cached.read_bytes())
    cached.unlink()
    return blob


def export_myriad(
    folder: Path, windows: Sequence[Window], python: Path, work: Path
) -> tuple[dict[str, Any], list[str]]:
    """The artifact whose files lie in ``folder`` now, and what the gate says of each blob.

    Raises:
        ExportError, BlobError, ValueError: the network cannot fly there.
    """
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
    return described("myriad", "openvino-2021.4.2", "fp16", files, (0, 0.0)), lines
