"""The strips that the benchmark runs on, made once and kept in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tools import mosaic
from tools.bench.processes import run_python

SEED = 1


def raw_strip(folder: Path, shared: Path, rows: int, columns: int, tell: Callable[[str], None]) -> Path:
    """The header of a raw mosaic of that size; of real patches where they are, else of made-up ones."""
    header = folder / f"mosaic_{rows}x{columns}.yaml"
    if not header.exists():
        tell(f"laying out {header.name} (once)")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            clear, cloudy = mosaic.real_patches(shared)
        except FileNotFoundError:
            tell(f"{shared} has no patches: made-up ones instead")
            clear, cloudy = mosaic.simulated_patches(SEED)
        mosaic.write_mosaic(header, clear, cloudy, rows, columns, SEED)
    return header


def safe_strip(folder: Path, raw: Path, tell: Callable[[str], None]) -> Path:
    """The same strip as a SAFE with JP2 images."""
    safe = folder / (raw.stem + ".SAFE")
    if not safe.exists():
        tell(f"writing {safe.name} (once)")
        run_python(["-m", "tools.write_safe", str(raw), "--out", str(safe)])
    return safe
