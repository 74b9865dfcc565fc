"""The raw line stream: its bytes, and what happens to a stream that something happened to."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.drivers.raw_frames import FRAME_ROWS, FrameLayout, FrameReader
from payload.drivers.strip_header import FrameCheck
from payload.drivers.strip_raw import open_raw
from payload.errors import StripError
from payload.types import U16, Band, Grid
from tests.drivers.strip_material import (
    Dn,
    assert_equal,
    made_up_dn,
    raw_frames_of,
    raw_header_text,
    read_all,
    strip_info,
    write_raw_strip,
)

ROWS, COLUMNS = 93, 50  # 16 frames, the last with 3 rows
FRAMES = 16
SYNC = b"\x1a\xcf\xfc\x1d"


@pytest.fixture(scope="module")
def dn() -> Dn:
    return made_up_dn(ROWS, COLUMNS)


@pytest.fixture(scope="module")
def frames(dn: Dn) -> list[bytes]:
    return raw_frames_of(dn, ROWS)


def read_stream(folder: Path, stream: bytes, crc: str = "crc32", sizes: Any = (12,)) -> Any:
    """Rows and faults of ``stream`` as the strip of this module."""
    (folder / "strip.yaml").write_text(raw_header_text(ROWS, COLUMNS, crc=crc))
    (folder / "strip.raw").write_bytes(stream)
    strip = open_raw(folder / "strip.yaml")
    try:
        return read_all(strip, sizes)
    finally:
        strip.close()


def without(dn: Dn, lost: set[int]) -> dict[Grid, U16]:
    """``dn`` with the rows of ``lost`` frames 0."""
    left = {grid: planes.copy() for grid, planes in dn.items()}
    for frame in lost:
        for grid, planes in left.items():
            planes[:, frame * FRAME_ROWS // grid : (frame + 1) * FRAME_ROWS // grid] = 0
    return left


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
    found, faults = read_stream(tmp_path, b"".join(frames), sizes=sizes)
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


@pytest.mark.parametrize("crc", ["crc32", "none"])
def test_rows_of_missing_frames_are_0_and_named(tmp_path: Path, dn: Dn, crc: str) -> None:
    frames = raw_frames_of(dn, ROWS, crc)
    lost = {0, 4, 5, 9}
    stream = b"".join(frame for number, frame in enumerate(frames) if number not in lost)
    found, faults = read_stream(tmp_path, stream, crc, sizes=[96])
    assert_equal(found, without(dn, lost))
    assert faults == [
        "rows 0 to 5 are 0: not received",
        "rows 24 to 35 are 0: not received",
        "rows 54 to 59 are 0: not received",
    ]


@pytest.mark.parametrize("at", [4, 9, 16, 700, -1])
def test_a_frame_that_does_not_match_its_crc_is_never_delivered(
    tmp_path: Path, frames: list[bytes], dn: Dn, at: int
) -> None:
    hurt = bytearray(frames[3])
    hurt[at] ^= 0x01
    found, faults = read_stream(tmp_path, b"".join([*frames[:3], bytes(hurt), *frames[4:]]))
    assert_equal(found, without(dn, {3}))
    assert len(faults) == 2
    assert "does not match its CRC-32" in faults[0]
    assert faults[1] == "rows 18 to 23 are 0: not received"


@pytest.mark.parametrize("at", [0, 12, 15])
def test_a_frame_whose_sync_word_or_length_is_damaged_is_passed_over(
    tmp_path: Path, frames: list[bytes], dn: Dn, at: int
) -> None:
    hurt = bytearray(frames[3])
    hurt[at] ^= 0x40
    found, faults = read_stream(tmp_path, b"".join([*frames[:3], bytes(hurt), *frames[4:]]))
    assert_equal(found, without(dn, {3}))
    assert faults == [
        f"lost sync: {len(hurt)} bytes passed over up to the next frame",
        "rows 18 to 23 are 0: not received",
    ]


@pytest.mark.parametrize("lost_bytes", [1, 2, 15, 16, 17, 500])
@pytest.mark.parametrize("crc", ["crc32", "none"])
def test_after_lost_bytes_the_stream_goes_on_at_the_next_sync_word(
    tmp_path: Path, dn: Dn, lost_bytes: int, crc: str
) -> None:
    frames = raw_frames_of(dn, ROWS, crc)
    short = frames[3][:100] + frames[3][100 + lost_bytes :]
    found, faults = read_stream(tmp_path, b"".join([*frames[:3], short, *frames[4:]]), crc)
    lost = {3} if crc == "crc32" else {4}  # unchecked, frame 3 ends with the beginning of frame 4
    for grid in Grid:
        rows = [row for row in range(dn[grid].shape[1]) if row * grid // FRAME_ROWS not in {3, 4}]
        np.testing.assert_array_equal(found[grid][:, rows], dn[grid][:, rows])
    if crc == "crc32":
        assert_equal(found, without(dn, lost))
    assert faults


@pytest.mark.parametrize("gap", [1, 3, 15, 16, 1000, 20_000])
def test_useless_bytes_between_frames_cost_no_frame(
    tmp_path: Path, frames: list[bytes], dn: Dn, gap: int
) -> None:
    noise = np.random.default_rng(3).bytes(gap)
    found, faults = read_stream(tmp_path, b"".join([noise, *frames[:7], noise, *frames[7:]]))
    assert_equal(found, dn)
    assert faults == [f"lost sync: {gap} bytes passed over up to the next frame"] * 2


def test_a_sync_word_among_the_samples_is_no_frame(tmp_path: Path, dn: Dn) -> None:
    words = {grid: planes.copy() for grid, planes in dn.items()}
    words[Grid.R10M][:, ::2, 4:6] = np.frombuffer(SYNC, "<u2")
    frames = raw_frames_of(words, ROWS)
    hurt = bytearray(frames[2])
    hurt[200] ^= 0xFF
    found, faults = read_stream(tmp_path, b"".join([*frames[:2], bytes(hurt), *frames[3:]]))
    assert_equal(found, without(words, {2}))
    assert faults[-1] == "rows 12 to 17 are 0: not received"


@pytest.mark.parametrize("crc", ["crc32", "none"])
def test_a_frame_that_came_before_or_too_late_is_dropped(tmp_path: Path, dn: Dn, crc: str) -> None:
    frames = raw_frames_of(dn, ROWS, crc)
    order = [0, 1, 1, 2, 4, 3, 5, 0, *range(6, FRAMES)]
    found, faults = read_stream(tmp_path, b"".join(frames[number] for number in order), crc, sizes=[96])
    assert_equal(found, without(dn, {3}))
    assert faults == [
        "frame 1 came twice or too late and was dropped",
        "frame 3 came twice or too late and was dropped",
        "frame 0 came twice or too late and was dropped",
        "rows 18 to 23 are 0: not received",
    ]


@pytest.mark.parametrize("cut", [1, 16, 700])
def test_a_stream_that_ends_early_still_gives_every_row_of_the_strip(
    tmp_path: Path, frames: list[bytes], dn: Dn, cut: int
) -> None:
    found, faults = read_stream(tmp_path, b"".join([*frames[:9], frames[9][:cut]]), sizes=[96])
    assert_equal(found, without(dn, set(range(9, FRAMES))))
    assert faults == ["rows 54 to 92 are 0: rows short: the stream ended"]


@pytest.mark.parametrize("stream", [b"", b"\0" * 5000, SYNC * 3000])
def test_a_stream_without_one_sound_frame_of_this_strip_is_no_strip(tmp_path: Path, stream: bytes) -> None:
    with pytest.raises(
        StripError, match=r"strip.yaml: the stream holds no frame of this strip: check columns"
    ):
        read_stream(tmp_path, stream)


def test_a_stream_of_another_width_is_no_strip(tmp_path: Path) -> None:
    with pytest.raises(StripError, match="holds no frame of this strip"):
        read_stream(tmp_path, b"".join(raw_frames_of(made_up_dn(ROWS, COLUMNS + 1), ROWS)))


def test_no_more_than_a_strips_length_of_useless_bytes_is_passed_over(
    tmp_path: Path, frames: list[bytes]
) -> None:
    os.mkfifo(tmp_path / "line")
    (tmp_path / "strip.yaml").write_text(raw_header_text(ROWS, COLUMNS, stream="line"))
    sent = 0

    def deliver() -> None:
        nonlocal sent
        with (tmp_path / "line").open("wb", buffering=0) as fifo:
            fifo.write(frames[0])
            try:
                while True:
                    sent += fifo.write(b"\0" * 4096)
            except BrokenPipeError:
                pass

    instrument = threading.Thread(target=deliver)
    instrument.start()
    strip = open_raw(tmp_path / "strip.yaml")
    found, faults = read_all(strip, [96])
    strip.close()
    instrument.join()
    assert (found[Grid.R10M][:, 6:] == 0).all()
    assert faults[-1] == "rows 6 to 92 are 0: rows short: the stream ended"
    assert sent < 2 * FRAMES * len(frames[0]) + (1 << 20)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_frame_that_comes_through_whole_is_delivered(
    tmp_path: Path, frames: list[bytes], dn: Dn, data: st.DataObject
) -> None:
    """Whatever happens to the others: cut, lost, changed, or noise in between."""
    stream, hurt = b"", set()
    for number, frame in enumerate(frames):
        fate = data.draw(st.sampled_from(["whole"] * 6 + ["lost", "changed", "cut", "noise"]))
        if fate == "lost":
            frame = b""
        elif fate == "changed":
            at = data.draw(st.integers(0, len(frame) - 8))
            frame = frame[:at] + data.draw(st.binary(min_size=8, max_size=8)) + frame[at + 8 :]
        elif fate == "cut":
            at = data.draw(st.integers(0, len(frame) - 1))
            frame = frame[:at] + frame[at + data.draw(st.integers(1, 60)) :]
        elif fate == "noise":
            frame += data.draw(st.binary(min_size=1, max_size=60))
        if fate in ("lost", "changed", "cut") and frame != frames[number]:
            hurt.add(number)
        stream += frame
    if len(hurt) == FRAMES:
        return
    found, faults = read_stream(tmp_path, stream, sizes=[24])
    assert_equal(found, without(dn, hurt))
    assert bool(hurt) <= bool(faults)


@pytest.mark.parametrize("skipped", [6, 30, 66, 90, 600])
@pytest.mark.parametrize("lost", [set(), {3}, {0, 1}, {10, 11}])
def test_rows_after_skipped_rows_are_those_of_the_strip(
    tmp_path: Path, frames: list[bytes], dn: Dn, skipped: int, lost: set[int]
) -> None:
    (tmp_path / "strip.yaml").write_text(raw_header_text(ROWS, COLUMNS))
    kept = [frame for number, frame in enumerate(frames) if number not in lost]
    (tmp_path / "strip.raw").write_bytes(b"".join(kept))
    expected = without(dn, lost)
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
        read += count - self._filled
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
