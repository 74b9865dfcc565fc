"""Planned memory of the strip sources against the resident memory of real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.drivers.strip_material import (
    made_up_dn,
    stack_of,
    write_geotiff,
    write_raw_strip,
    write_safe_strip,
)

READER = """
import pathlib, sys
import imagecodecs, tifffile
from payload.drivers.strips import open_strip

def resident_kib(name):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])

imagecodecs.jpeg2k_decode, imagecodecs.deflate_decode  # loads the codecs
before = resident_kib("VmRSS")
strip = open_strip(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
block_bytes = 0
while (block := strip.read(48)) is not None:
    assert not block.faults
    block_bytes = max(block_bytes, sum(planes.nbytes for planes in block.dn.values()))
print(1024 * (resident_kib("VmHWM") - before), strip.planned_bytes + block_bytes)
"""

LIBRARIES_BYTES = 4 << 20
"""Pages of the codecs' own code that first use brings in; part of the interpreter's term."""


def peak_and_plan(strip: Path, scratch: Path) -> tuple[int, int]:
    child = subprocess.run(
        [sys.executable, "-c", READER, str(strip), str(scratch)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    peak, planned = child.stdout.split()
    return int(peak), int(planned)


@pytest.mark.slow
def test_a_safe_with_tiles_of_true_size_is_read_within_its_plan(tmp_path: Path) -> None:
    write_safe_strip(tmp_path / "a.SAFE", 1300, 2100, (1024, 640, 192))
    peak, planned = peak_and_plan(tmp_path / "a.SAFE", tmp_path)
    assert peak <= planned + LIBRARIES_BYTES
    assert planned < 20_000_000


@pytest.mark.slow
def test_a_raw_strip_is_read_within_its_plan(tmp_path: Path) -> None:
    header, _ = write_raw_strip(tmp_path, 300, 10980)
    peak, planned = peak_and_plan(header, tmp_path)
    assert peak <= planned + LIBRARIES_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("is_contiguous", [True, False])
def test_a_geotiff_is_read_within_its_plan(tmp_path: Path, is_contiguous: bool) -> None:
    path = tmp_path / "a.tif"
    stack = stack_of(made_up_dn(1200, 2400))
    write_geotiff(path, stack, is_contiguous, tile=(256, 256), compression="deflate", predictor=True)
    peak, planned = peak_and_plan(path, tmp_path)
    assert peak <= planned + LIBRARIES_BYTES
