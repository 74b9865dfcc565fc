"""What is left of a raw line stream to which something happened."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.drivers.raw_frames import FRAME_ROWS
from payload.drivers.strip_raw import open_raw
from payload.errors import StripError
from payload.types import Grid
from tests.drivers.strip_material import (
    Dn,
    assert_equal,
    made_up_dn,
    raw_frames_of,
    raw_header_text,
    read_all,
    read_stream,
    without_frames,
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


@pytest.mark.parametrize("crc", ["crc32", "none"])
def test_rows_of_missing_frames_are_0_and_named(tmp_path: Path, dn: Dn, crc: str) -> None:
    frames = raw_frames_of(dn, ROWS, crc)
    lost = {0, 4, 5, 9}
    stream = b"".join(frame for number, frame in enumerate(frames) if number not in lost)
    found, faults = read_stream(tmp_path, SIZE, stream, crc, sizes=[96])
    assert_equal(found, without_frames(dn, lost))
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
    found, faults = read_stream(tmp_path, SIZE, b"".join([*frames[:3], bytes(hurt), *frames[4:]]))
    assert_equal(found, without_frames(dn, {3}))
    assert len(faults) == 2
    assert "does not match its CRC-32" in faults[0]
    assert faults[1] == "rows 18 to 23 are 0: not received"


@pytest.mark.parametrize("at", [0, 12, 15])
def test_a_frame_whose_sync_word_or_length_is_damaged_is_passed_over(
    tmp_path: Path, frames: list[bytes], dn: Dn, at: int
) -> None:
    hurt = bytearray(frames[3])
    hurt[at] ^= 0x40
    found, faults = read_stream(tmp_path, SIZE, b"".join([*frames[:3], bytes(hurt), *frames[4:]]))
    assert_equal(found, without_frames(dn, {3}))
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
    found, faults = read_stream(tmp_path, SIZE, b"".join([*frames[:3], short, *frames[4:]]), crc)
    lost = {3} if crc == "crc32" else {4}  # unchecked, frame 3 ends with the beginning of frame 4
    for grid in Grid:
        rows = [row for row in range(dn[grid].shape[1]) if row * grid // FRAME_ROWS not in {3, 4}]
        np.testing.assert_array_equal(found[grid][:, rows], dn[grid][:, rows])
    if crc == "crc32":
        assert_equal(found, without_frames(dn, lost))
    assert faults


@pytest.mark.parametrize("gap", [1, 3, 15, 16, 1000, 20_000])
def test_useless_bytes_between_frames_cost_no_frame(
    tmp_path: Path, frames: list[bytes], dn: Dn, gap: int
) -> None:
    noise = np.random.default_rng(3).bytes(gap)
    found, faults = read_stream(tmp_path, SIZE, b"".join([noise, *frames[:7], noise, *frames[7:]]))
    assert_equal(found, dn)
    assert faults == [f"lost sync: {gap} bytes passed over up to the next frame"] * 2


def test_a_sync_word_among_the_samples_is_no_frame(tmp_path: Path, dn: Dn) -> None:
    words = {grid: planes.copy() for grid, planes in dn.items()}
    words[Grid.R10M][:, ::2, 4:6] = np.frombuffer(SYNC, "<u2")
    frames = raw_frames_of(words, ROWS)
    hurt = bytearray(frames[2])
    hurt[200] ^= 0xFF
    found, faults = read_stream(tmp_path, SIZE, b"".join([*frames[:2], bytes(hurt), *frames[3:]]))
    assert_equal(found, without_frames(words, {2}))
    assert faults[-1] == "rows 12 to 17 are 0: not received"


@pytest.mark.parametrize("crc", ["crc32", "none"])
def test_a_frame_that_came_before_or_too_late_is_dropped(tmp_path: Path, dn: Dn, crc: str) -> None:
    frames = raw_frames_of(dn, ROWS, crc)
    order = [0, 1, 1, 2, 4, 3, 5, 0, *range(6, FRAMES)]
    found, faults = read_stream(tmp_path, SIZE, b"".join(frames[number] for number in order), crc, sizes=[96])
    assert_equal(found, without_frames(dn, {3}))
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
    found, faults = read_stream(tmp_path, SIZE, b"".join([*frames[:9], frames[9][:cut]]), sizes=[96])
    assert_equal(found, without_frames(dn, set(range(9, FRAMES))))
    assert faults == ["rows 54 to 92 are 0: rows short: the stream ended"]


@pytest.mark.parametrize("stream", [b"", b"\0" * 5000, SYNC * 3000])
def test_a_stream_without_one_sound_frame_of_this_strip_is_no_strip(tmp_path: Path, stream: bytes) -> None:
    with pytest.raises(
        StripError, match=r"strip.yaml: the stream holds no frame of this strip: check columns"
    ):
        read_stream(tmp_path, SIZE, stream)


def test_a_stream_of_another_width_is_no_strip(tmp_path: Path) -> None:
    with pytest.raises(StripError, match="holds no frame of this strip"):
        read_stream(tmp_path, SIZE, b"".join(raw_frames_of(made_up_dn(ROWS, COLUMNS + 1), ROWS)))


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
    found, faults = read_stream(tmp_path, SIZE, stream, sizes=[24])
    assert_equal(found, without_frames(dn, hurt))
    assert bool(hurt) <= bool(faults)
