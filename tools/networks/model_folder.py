"""Writes one model folder: manifest, artifacts and their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from payload.core.radiometry import FULL_SCALE_REFLECTANCE
from payload.types import BANDS_OF_GRID, Task

FORMAT = 1
VERSION_OF_TASK = {Task.SCENE: 7, Task.SURFACE: 5}
HALO_PX = 72
PHASE_PX = 48
FOLDER_OF_TASK = {task: f"{task.value}_s2_v{version}" for task, version in VERSION_OF_TASK.items()}
"""What flies; what flew before stays beside it, to go back to."""


def describe_file(path: Path) -> dict[str, Any]:
    """Name, size and SHA-256 of one artifact file."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path.name, "size_bytes": len(content), "sha256": digest}


def manifest(
    task: Task,
    files: Sequence[Path],
    host_line: tuple[int, float],
    training: Mapping[str, Any],
    cell_px: int | None,
) -> dict[str, Any]:
    """The manifest of a Sentinel-2 network with one OpenVINO INT8 artifact for the CPU."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "name": FOLDER_OF_TASK[task],
        "task": task.value,
        "version": VERSION_OF_TASK[task],
        "sensor_profile": "sentinel2_msi",
        "bands": {str(10 * grid): [band.value for band in bands] for grid, bands in BANDS_OF_GRID.items()},
        "codes": {"law": "sqrt", "full_scale_reflectance": FULL_SCALE_REFLECTANCE},
        "halo_px": HALO_PX,
        "phase_px": PHASE_PX,
        "artifacts": [
            {
                "target": "cpu",
                "runtime": "openvino",
                "precision": "int8",
                "files": [describe_file(path) for path in files],
                "host_fixed_bytes": host_line[0],
                "host_bytes_per_window_px": host_line[1],
            }
        ],
        "training": dict(training),
    }
    if cell_px is not None:
        content["cell_px"] = cell_px
    return content


def write_manifest(content: Mapping[str, Any], folder: Path) -> None:
    text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n")
