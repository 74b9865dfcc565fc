"""The raw line stream: its bytes, and what happens to a stream that something happened to."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.drivers.raw_frames import FrameLayout, FrameReader
from payload.drivers.strip_header import FrameCheck
from payload.drivers.strip_raw import open_raw
from payload.errors import StripError
from payload.types import Band, Grid
from tests.drivers.strip_material import (
    Dn,
    assert_equal,
    made_up_dn,
    raw_frames_of,
    raw_header_text,
    read_all,
    read_stream,
    strip_info,
    without_frames,
    write_raw_strip,
)

ROWS, COLUMNS = 93, 50  # 16 frames, the last with 3 rows
FRAMES = 16
SIZE = (ROWS, COLUMNS)
SYNC = b"\x1a\xcf\xfc\x1d"


@pytest.fixture(scope="module")
def dn() -> Dn:
    return made_up_dn(ROWS, COLUMNS)


@pytest.fixture(scope="module")
def frames(dn: Dn) -> list[bytes]:
    return raw_frames_of(dn, ROWS)


def test_the_bytes_of_a_frame_are_these() -> None:
    """Frame 3 of a strip of 2 columns; sample = 1000 x grid + 100 x row + 10 x band + column."""
    dn = {}
    for grid, (bands, rows, columns) in {
        Grid.R10M: (4, 6, 2),
        Grid.R20M: (6, 3, 1),
        Grid.R60M: (3, 1, 1),
    }.items():
        band, row, column = np.indices((bands, rows, columns))
        dn[grid] = (1000 * grid + 100 * row + 10 * band + column).astype(np.uint16)
    payload = bytes.fromhex(
        # 10 m, row 0: B02 (1000, 1001), B03 (1010, 1011), B04 (1020, 1021), B08 (1030, 1031)
        "e803 e903  f203 f303  fc03 fd03  0604 0704"
        "4c04 4d04  5604 5704  6004 6104  6a04 6b04"  # row 1: 1100 ..
        "b004 b104  ba04 bb04  c404 c504  ce04 cf04"  # row 2: 1200 ..
        "1405 1505  1e05 1f05  2805 2905  3205 3305"  # row 3: 1300 ..
        "7805 7905  8205 8305  8c05 8d05  9605 9705"  # row 4: 1400 ..
        "dc05 dd05  e605 e705  f005 f105  fa05 fb05"  # row 5: 1500 ..
        # 20 m, rows 0, 1, 2: B05, B06, B07, B8A, B11, B12 (one column)
        "d007 da07 e407 ee07 f807 0208"
        "3408 3e08 4808 5208 5c08 6608"
        "9808 a208 ac08 b608 c008 ca08"
        # 60 m, row 0: B01, B09, B10
        "7017 7a17 8417"
    )
    golden = (
        bytes.fromhex("1acffc1d")  # sync word
        + bytes.fromhex("03000000")  # counter 3, little-endian
        + bytes.fromhex("2126fccf")  # CRC-32 of counter, length and payload
        + bytes.fromhex("8a000000")  # length of the payload, 138 bytes
        + payload
    )
    frame = FrameLayout(2).pack(3, dn, FrameCheck.CRC32)
    assert bytes(frame) == golden
    crc = zlib.crc32(golden[4:8] + golden[12:16] + payload)
    assert struct.unpack("<I", golden[8:12]) == (crc,)
    unchecked = FrameLayout(2).pack(3, dn, FrameCheck.NONE)
    assert bytes(unchecked) == golden[:8] + bytes(4) + golden[12:]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 18).map(lambda sixes: 6 * sixes), min_size=1, max_size=4))
def test_rows_read_in_any_block_sizes_equal_the_whole(
    tmp_path: Path, frames: list[bytes], dn: Dn, sizes: list[int]
) -> None:
    found, faults = read_stream(tmp_path, SIZE, b"".join(frames), sizes=sizes)
    assert not faults
    assert_equal(found, dn)


def test_the_header_becomes_the_strips_description(tmp_path: Path) -> None:
    offsets = {band: -1000 - number for number, band in enumerate(Band)}
    info = strip_info(ROWS, COLUMNS, offset_dn=offsets, ground_sample_m=159.8)
    header, dn = write_raw_strip(tmp_path, ROWS, COLUMNS, offset_dn=offsets, ground_sample_m=159.8)
    strip = open_raw(header)
    assert strip.info == info
    found, _ = read_all(strip)
    assert_equal(found, dn)
    strip.close()


def test_a_header_without_place_and_angles_says_so(tmp_path: Path) -> None:
    nothing = dict.fromkeys(
        ("georeference", "sun_zenith_deg", "sun_azimuth_deg", "view_zenith_deg", "view_azimuth_deg")
    )
    header, _ = write_raw_strip(tmp_path, 12, 12, **nothing)
    strip = open_raw(header)
    assert strip.info == strip_info(12, 12, **nothing)
    strip.close()


def test_a_fifo_gives_what_the_file_gives(tmp_path: Path, frames: list[bytes], dn: Dn) -> None:
    os.mkfifo(tmp_path / "line")
    (tmp_path / "strip.yaml").write_text(raw_header_text(ROWS, COLUMNS, stream="line"))
    stream = b"".join(frames)

    def deliver() -> None:
        with (tmp_path / "line").open("wb", buffering=0) as fifo:
            for start in range(0, len(stream), 777):  # never a whole frame
                fifo.write(stream[start : start + 777])

    instrument = threading.Thread(target=deliver)
    instrument.start()
    strip = open_raw(tmp_path / "strip.yaml")
    strip.skip(12)
    block = strip.read(6)
    assert block is not None
    np.testing.assert_array_equal(block.dn[Grid.R10M], dn[Grid.R10M][:, 12:18])
    rest = []
    while (block := strip.read(30)) is not None:
        assert not block.faults
        rest.append(block.dn[Grid.R20M].copy())
    instrument.join()
    strip.close()
    np.testing.assert_array_equal(np.concatenate(rest, axis=1), dn[Grid.R20M][:, 9:])


def test_standard_input_gives_what_the_file_gives(tmp_path: Path, frames: list[bytes], dn: Dn) -> None:
    (tmp_path / "strip.yaml").write_text(raw_header_text(ROWS, COLUMNS, stream="-"))
    program = (
        "import sys, pathlib\n"
        "from payload.drivers.strip_raw import open_raw\n"
        "strip = open_raw(pathlib.Path(sys.argv[1]))\n"
        "while (block := strip.read(18)) is not None:\n"
        "    assert not block.faults\n"
        "    for planes in block.dn.values():\n"
        "        sys.stdout.buffer.write(planes.tobytes())\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "strip.yaml")],
        input=b"".join(frames),
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    expected = b""
    for row in range(0, ROWS, 18):
        for grid, planes in dn.items():
            expected += planes[:, row // grid : -(-min(row + 18, ROWS) // grid)].tobytes()
    assert child.stdout == expected


@pytest.mark.parametrize("skipped", [6, 30, 66, 90, 600])
@pytest.mark.parametrize("lost", [set(), {3}, {0, 1}, {10, 11}])
def test_rows_after_skipped_rows_are_those_of_the_strip(
    tmp_path: Path, frames: list[bytes], dn: Dn, skipped: int, lost: set[int]
) -> None:
    (tmp_path / "strip.yaml").write_text(raw_header_text(ROWS, COLUMNS))
    kept = [frame for number, frame in enumerate(frames) if number not in lost]
    (tmp_path / "strip.raw").write_bytes(b"".join(kept))
    expected = without_frames(dn, lost)
    strip = open_raw(tmp_path / "strip.yaml")
    strip.skip(skipped)
    row = min(skipped, ROWS)
    while (block := strip.read(12)) is not None:
        assert block.row == row
        for grid, planes in block.dn.items():
            start = row // grid
            np.testing.assert_array_equal(planes, expected[grid][:, start : start + planes.shape[1]])
        row += block.rows
    assert row == ROWS
    strip.close()


def test_skipped_rows_of_a_file_are_not_even_read(
    tmp_path: Path, frames: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0
    fill = FrameReader._fill

    def counted(self: FrameReader, count: int) -> bool:
        nonlocal read
        read += count - self._filled_bytes
        return fill(self, count)

    monkeypatch.setattr(FrameReader, "_fill", counted)
    (tmp_path / "strip.yaml").write_text(raw_header_text(ROWS, COLUMNS))
    (tmp_path / "strip.raw").write_bytes(b"".join(frames))
    strip = open_raw(tmp_path / "strip.yaml")
    strip.skip(90)
    strip.close()
    assert read == 15 * 16


def test_the_last_frame_of_a_strip_is_filled_up_with_zeros(frames: list[bytes], dn: Dn) -> None:
    views = FrameLayout(COLUMNS).views(bytearray(frames[-1]))
    assert (views[Grid.R10M][3:] == 0).all()
    np.testing.assert_array_equal(views[Grid.R10M][:3], dn[Grid.R10M][:, 90:].transpose(1, 0, 2))
    assert (views[Grid.R20M][2:] == 0).all()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("rows: 93", "rows: many", "strip.yaml:4: rows: 'many' is not allowed; must be a whole number"),
        ("rows: 93", "rows: 0", "strip.yaml:4: rows: '0' is not allowed"),
        ("rows: 93\n", "", "rows: missing"),
        ("columns: 50", "colums: 50", "strip.yaml:5: colums: unknown key; did you mean columns?"),
        ("crc: crc32", "crc: md5", "strip.yaml:8: crc: 'md5' is not allowed; must be one of none, crc32"),
        ("B8A: -1000", "B8A: low", "radiometry.offset_dn.B8A: 'low' is not allowed"),
        ("strip_id: MADE_UP", "strip_id: MADE UP", "strip_id: 'MADE UP' must be printable ASCII"),
        ("stream: strip.raw", "stream: other.raw", "stream: 'other.raw' cannot be opened: No such file"),
        ("stream: strip.raw", "stream: .", "stream: '.' cannot be opened: Is a directory"),
        ("rows: 93", "rows: [93", "not YAML"),
    ],
)
def test_a_header_that_cannot_be_used_names_file_line_and_key(
    tmp_path: Path, frames: list[bytes], old: str, new: str, complaint: str
) -> None:
    header, stream = tmp_path / "strip.yaml", tmp_path / "strip.raw"
    text = raw_header_text(ROWS, COLUMNS)
    assert old in text
    header.write_text(text.replace(old, new))
    stream.write_bytes(b"".join(frames))
    with pytest.raises(StripError) as refused:
        open_raw(header)
    assert complaint in str(refused.value)
    assert str(header) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "No such file"), (b"\xff\xfe", "not UTF-8 text"), (b"#" * 70000, "larger than 65536 bytes")],
)
def test_a_header_that_is_no_text_is_refused(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "strip.yaml").write_bytes(content)
    with pytest.raises(StripError, match=complaint):
        open_raw(tmp_path / "strip.yaml")
