"""The strips that the benchmark runs on, made once and kept in its folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from payload.drivers.raw_frames import FRAME_ROWS, FrameLayout
from tools import mosaic
from tools.bench.processes import run_python

SEED = 1


def raw_strip(folder: Path, shared: Path, rows: int, columns: int, tell: Callable[[str], None]) -> Path:
    """The header of a raw mosaic of that size; of real patches where they are, else of made-up ones."""
    header = folder / f"mosaic_{rows}x{columns}.yaml"
    if not _is_whole(header, rows, columns):
        tell(f"laying out {header.name} (once)")
        try:
            patches = mosaic.real_patches(shared)
        except FileNotFoundError:
            tell(f"{shared} has no patches: made-up ones instead")
            patches = mosaic.simulated_patches(SEED)
        mosaic.write_mosaic(header, patches, rows, columns, SEED)
    return header


def _is_whole(header: Path, rows: int, columns: int) -> bool:
    """Whether an earlier run left the strip there and was not interrupted."""
    stream = header.with_suffix(".raw")
    wanted_bytes = -(-rows // FRAME_ROWS) * FrameLayout(columns).frame_bytes
    return header.exists() and stream.exists() and stream.stat().st_size == wanted_bytes


def safe_strip(folder: Path, raw: Path, tell: Callable[[str], None]) -> Path:
    """The same strip as a SAFE with JPEG 2000 images."""
    safe = folder / (raw.stem + ".SAFE")
    if not safe.exists():
        tell(f"writing {safe.name} (once)")
        partial = safe.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        run_python(["-m", "tools.write_safe", str(raw.resolve()), str(partial.resolve())], has_answer=False)
        partial.rename(safe)
    return safe
