"""Updates in chunks: whatever order, loss, damage, reset or pass, the whole file or nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.core.chunks import (
    Chunk,
    chunks_of,
    pack_answer,
    pack_chunk,
    transfer_of,
    unpack_answer,
    unpack_chunk,
)
from payload.core.refusals import Refusal
from payload.core.telemetry import Telemetry
from payload.errors import InstallError
from payload.reception import Reception, receive_folder, receive_link
from tools.uplink import send_pass, write_chunk_files

CONTENT = np.random.default_rng(3).bytes(40_000)
LIMIT = 1 << 20


def reception(folder: Path) -> Reception:
    return Reception(folder, LIMIT, Telemetry())


@settings(max_examples=30)
@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 39), max_size=10))
def test_any_order_and_any_repetition_makes_the_file(
    tmp_path_factory: pytest.TempPathFactory, random: object, again: list[int]
) -> None:
    packed = list(map(pack_chunk, chunks_of(CONTENT)))
    packed += [packed[number] for number in again]
    random.shuffle(packed)  # type: ignore[attr-defined]
    taking = reception(tmp_path_factory.mktemp("received"))
    found = [path for path in map(taking.take, packed) if path is not None]
    assert found
    assert found[0].read_bytes() == CONTENT
    assert not list(found[0].parent.glob("*.journal"))


@settings(max_examples=200)
@given(st.integers(0, 8 * 1054 - 1))
def test_a_damaged_chunk_is_refused(bit: int) -> None:
    packed = bytearray(pack_chunk(next(chunks_of(CONTENT))))
    packed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InstallError) as refused:
        unpack_chunk(bytes(packed), LIMIT)
    assert refused.value.code == Refusal.CHUNK_DAMAGED


def test_what_contradicts_is_too_large_or_too_many_is_refused(tmp_path: Path) -> None:
    taking = reception(tmp_path)
    transfer = transfer_of(CONTENT)
    taking.take(pack_chunk(Chunk(transfer, 5000, 0, b"x" * 10)))
    for chunk, refusal in (
        (Chunk(transfer, 6000, 0, b"x"), Refusal.CHUNK_FOREIGN),
        (Chunk(transfer, 5000, 4999, b"xx"), Refusal.CHUNK_FOREIGN),
        (Chunk(transfer, LIMIT + 1, 0, b"x"), Refusal.TOO_LARGE),
    ):
        with pytest.raises(InstallError) as refused:
            taking.take(pack_chunk(chunk))
        assert refused.value.code == refusal
    taking.take(pack_chunk(Chunk(b"another.", 5000, 0, b"x")))
    with pytest.raises(InstallError) as refused:
        taking.take(pack_chunk(Chunk(b"a third.", 5000, 0, b"x")))
    assert refused.value.code == Refusal.NO_ROOM


def test_chunks_that_make_another_file_are_forgotten(tmp_path: Path) -> None:
    wrong = [Chunk(transfer_of(CONTENT), 2048, start, b"x" * 1024) for start in (0, 1024)]
    taking = reception(tmp_path)
    taking.take(pack_chunk(wrong[0]))
    with pytest.raises(InstallError) as refused:
        taking.take(pack_chunk(wrong[1]))
    assert refused.value.code == Refusal.WRONG_HASH
    assert not list(tmp_path.iterdir())


def test_after_a_reset_only_what_was_not_synced_is_missing(tmp_path: Path) -> None:
    packed = list(map(pack_chunk, chunks_of(CONTENT)))
    child = os.fork()
    if child == 0:
        taking = reception(tmp_path)
        for one in packed[:37]:
            taking.take(one)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (journal,) = tmp_path.glob("*.journal")
    with journal.open("ab") as file:
        file.write(b"torn")
    (part,) = tmp_path.glob("*.part")
    with part.open("r+b") as file:  # a block that the disk has lost
        file.seek(3000)
        file.write(bytes(5))
    taking = reception(tmp_path)
    question = Chunk(transfer_of(CONTENT), len(CONTENT), 0, b"")
    missing = taking.missing(question)
    assert missing == [(2048, 3072), (32 * 1024, 40_000)]
    found = [path for path in map(taking.take, map(pack_chunk, chunks_of(CONTENT, missing))) if path]
    assert found[0].read_bytes() == CONTENT


@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 9999)), max_size=80))
def test_an_answer_holds_the_lowest_ranges(ranges: list[tuple[int, int]]) -> None:
    answer = pack_answer(Chunk(b"transfer", 1, 0, b""), ranges)
    assert unpack_answer(answer, LIMIT) == ranges[:58]
    assert len(answer) < 512


def test_a_file_drop_makes_the_file_and_leaves_no_chunk(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    assert write_chunk_files(CONTENT, drop) == 40
    (drop / "garbage.skc").write_bytes(b"?" * 100)
    telemetry = Telemetry()
    taking = Reception(tmp_path / "received", LIMIT, telemetry)
    (path,) = receive_folder(taking, drop, telemetry)
    assert path.read_bytes() == CONTENT
    assert not list(drop.iterdir())
    assert telemetry.counts == {"update_received": 1, "chunk_refused": 1}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        port: int = link.getsockname()[1]
        return port


def test_two_passes_over_a_lossy_link_carry_the_file(tmp_path: Path) -> None:
    port, telemetry = free_port(), Telemetry()
    found: list[Path] = []
    for number in range(2):

        def listen() -> None:
            taking = Reception(tmp_path, LIMIT, telemetry)
            found.extend(receive_link(taking, ("127.0.0.1", port), 5.0, telemetry))

        flight = threading.Thread(target=listen)
        flight.start()
        rate_bit_s = 8e6
        pass_s = 0.02 if number == 0 else 30.0
        done = send_pass(CONTENT, ("127.0.0.1", port), rate_bit_s, pass_s, loss_ratio=0.1, seed=number)
        flight.join()
        if number == 0:
            assert done.missing_bytes
            assert done.sent_bytes * 8 <= rate_bit_s * pass_s
    assert found[0].read_bytes() == CONTENT
    assert telemetry.counts == {"update_received": 1}


def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.uplink", str(tmp_path / "none"), "--drop", str(tmp_path / "drop")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr == f"tools.uplink: {tmp_path / 'none'}: No such file or directory\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--to", "no.such.host.invalid:5"], "tools.uplink: no.such.host.invalid:5: cannot be sent to: "),
        (["--to", "127.0.0.1:5", "--rate-bit-s", "0"], "--rate-bit-s 0: must be above 0"),
        (["--to", "127.0.0.1:5", "--rate-bit-s", "nan"], "--rate-bit-s nan: must be above 0"),
    ],
)
def test_a_link_that_cannot_be_is_refused_in_one_line(tmp_path: Path, words: list[str], what: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    command = [sys.executable, "-m", "tools.uplink", str(tmp_path / "file"), *words]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert what in found.stderr.splitlines()[-1]
