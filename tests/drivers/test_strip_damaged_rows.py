"""Which rows a source calls damaged: the same whatever is read at a time, and wherever reading begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tifffile

from payload.drivers.strip_geotiff import open_geotiff
from payload.drivers.strip_raw import open_raw
from payload.drivers.strip_safe import open_safe
from payload.ports import StripSource
from payload.types import Band
from tests.drivers.strip_material import (
    band_file,
    made_up_dn,
    raw_frames_of,
    raw_header_text,
    stack_of,
    write_geotiff,
    write_safe_strip,
)

ROWS, COLUMNS = 270, 200


def raw_strip(folder: Path) -> StripSource:
    """Frames 2, 3 and 20 are missing, 30 is damaged, 31 came twice; the stream ends within frame 40."""
    frames = raw_frames_of(made_up_dn(ROWS, COLUMNS), ROWS)
    hurt = bytearray(frames[30])
    hurt[700] ^= 1
    kept = [*frames[:2], *frames[4:20], *frames[21:30], bytes(hurt), frames[31], *frames[31:40]]
    (folder / "strip.yaml").write_text(raw_header_text(ROWS, COLUMNS, crc="crc32"))
    (folder / "strip.raw").write_bytes(b"".join(kept) + frames[40][:100])
    return open_raw(folder / "strip.yaml")


def safe_strip(folder: Path) -> StripSource:
    """B05 has lost a tile, 40 rows of the 20 m grid from its 40th on."""
    write_safe_strip(folder / "A.SAFE", ROWS, COLUMNS, (96, 40, 32))
    path = band_file(folder / "A.SAFE", Band.B05)
    content = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(rb"\xff\x90\x00\x0a", content)]
    content[starts[4] + 12 : starts[4] + 14] = b"\0\0"
    path.write_bytes(content)
    return open_safe(folder / "A.SAFE", folder)


def tiff_strip(folder: Path) -> StripSource:
    """B02 has lost rows 32 to 47, which lie in 60 m samples of rows 30 to 47."""
    path = folder / "patch.tif"
    write_geotiff(path, stack_of(made_up_dn(ROWS, COLUMNS)), False, compression="deflate", rowsperstrip=16)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        hurt = 1 * -(-ROWS // 16) + 2
        start, count = page.dataoffsets[hurt], page.databytecounts[hurt]
    content = bytearray(path.read_bytes())
    content[start : start + count] = bytes(count)
    path.write_bytes(content)
    return open_geotiff(path, folder)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (raw_strip, {*range(12, 24), *range(120, 126), *range(180, 186), *range(240, 270)}),
        (safe_strip, {*range(78, 162)}),
        (tiff_strip, {*range(30, 48)}),
    ],
)
@pytest.mark.parametrize("sizes", [[6], [48], [96, 12]])
@pytest.mark.parametrize("begin", [0, 84, 126])
def test_the_rows_that_lack_something_are_named_however_a_strip_is_read(
    tmp_path: Path,
    made: Callable[[Path], StripSource],
    expected: set[int],
    sizes: Sequence[int],
    begin: int,
) -> None:
    strip = made(tmp_path)
    strip.skip(begin)
    found: set[int] = set()
    end, turn = begin, 0
    while (block := strip.read(sizes[turn % len(sizes)])) is not None:
        assert not found & block.damaged_rows
        assert block.damaged_rows <= set(range(block.row, block.row + block.rows))
        found |= block.damaged_rows
        end, turn = block.row + block.rows, turn + 1
    strip.close()
    assert found | set(range(end, ROWS)) == {row for row in expected if row >= begin}
