"""The machine and the software of a run: what makes two benchmark files comparable."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

ISA_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Processor extensions that decide how fast INT8 and float convolutions run (proc(5))."""
PACKAGES = ("numpy", "openvino", "imagecodecs", "torch", "segmentation-models-pytorch", "nncf")


def describe_machine() -> dict[str, object]:
    """Processor, its INT8 extensions, cores, load, and the versions that were measured."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    facts = dict(_field(line) for line in text.splitlines() if ":" in line)
    flags = set(facts.get("flags", "").split())
    return {
        "processor": facts.get("model name", platform.machine()),
        "isa": " ".join(flag for flag in ISA_FLAGS if flag in flags) or "none of note",
        "cores": len(os.sched_getaffinity(0)),
        "load_average_1_min": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _field(line: str) -> tuple[str, str]:
    name, _, content = line.partition(":")
    return name.strip(), content.strip()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
