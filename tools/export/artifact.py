"""What an artifact's entry in the manifest says, whatever its target."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.networks.model_folder import describe_file

Window = tuple[int, int]
"""Rows and columns in pixels of the 10 m grid."""

PERMITTED = {
    "myriad": {"class_ratio": 0.02, "reflectance_dn": 20.0},
    "cpu": {"class_ratio": 0.04, "reflectance_dn": 5.0},
    "tflite": {"class_ratio": 0.04, "reflectance_dn": 5.0},
}
"""How far a target's answers may lie from float32's; `tools.parity` holds it. Simulated float16 is
within 0.0004 and 1 dn, a device will be off further; INT8 is within 0.017 and 0.5 dn (4 in B09)."""


class ExportError(Exception):
    """One line that says what stands in the way."""


def run_old(python: Path, script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """``script`` run to its end by the ``python`` that has the old runtime.

    Raises:
        ExportError: there is no such Python.
    """
    command = [str(python), str(script), *map(str, arguments)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ExportError(
            f"{python}: {error.strerror}; `python -m tools.make_myriad_env build/myriad` makes it"
        ) from error


def described(
    target: str, runtime: str, precision: str, files: Sequence[Path], host_line: tuple[int, float]
) -> dict[str, Any]:
    """The manifest's entry of the artifact in ``files``; ``host_line``: bytes, and bytes per pixel."""
    return {
        "target": target,
        "runtime": runtime,
        "precision": precision,
        "files": [describe_file(path) for path in files],
        "host_fixed_bytes": host_line[0],
        "host_bytes_per_window_px": host_line[1],
        "disagreement": PERMITTED[target],
    }
