"""The rules of core.delta: what is made is what was meant, and what the link has to carry."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import tracemalloc
import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.core.delta import BaseFile, BaseFiles, DeltaSource
from payload.core.document import canonical
from payload.core.known_answer import read_known_answers, write_known_answers
from payload.core.refusals import Refusal
from payload.errors import InstallError
from payload.types import Task
from tests import packages
from tests.packages import document_of, files_of, packed
from tools.package.deltas import Old, make_delta, sparse_streams
from tools.package.making import unpack

LIMIT = 8 << 20
WEIGHTS = 1_500_000


def on_board(*files: bytes) -> BaseFiles:
    named = {hashlib.sha256(content).hexdigest(): content for content in files}

    def find(sha256: str) -> BaseFile | None:
        content = named.get(sha256)
        if content is None:
            return None
        return BaseFile(len(content), lambda start, size: content[start : start + size])

    return find


def opened(delta: bytes, bases: BaseFiles, limit: int = LIMIT) -> DeltaSource:
    return DeltaSource(lambda start, size: delta[start : start + size], len(delta), bases, limit)


def made(delta: bytes, bases: BaseFiles) -> bytes:
    return b"".join(opened(delta, bases).blocks())


def old_of(package: bytes) -> Old:
    parts = unpack(package)
    names = [file.path for file in parts.manifest.files]
    model = canonical(json.loads(parts.document)["model"])
    return Old(dict(zip(names, parts.files, strict=True)), model)


def bases_of(old: Old) -> BaseFiles:
    return on_board(*old.files.values(), old.model)


def package_with(files: Mapping[str, bytes], version: int) -> bytes:
    return packed(document_of(files, version), files)


@settings(max_examples=60)
@given(st.data())
def test_the_package_comes_back_whatever_changed(data: st.DataObject) -> None:
    old_files, new_files = files_of(1), files_of(1)
    weights = bytearray(old_files["net.bin"])
    for place in data.draw(st.lists(st.integers(0, len(weights) - 1), max_size=40)):
        weights[place] = data.draw(st.integers(0, 255))
    new_files["net.bin"] = bytes(weights)
    new_files["net.xml"] = data.draw(st.binary(min_size=1, max_size=3000))
    old, new = package_with(old_files, 1), package_with(new_files, 2)
    delta = make_delta(old_of(old), new)
    assert made(delta, bases_of(old_of(old))) == new


@pytest.mark.parametrize("place", [0, 254, 255, 256, 509, 510, 511, 19_999])
def test_single_changes_near_the_escapes_come_back(place: int) -> None:
    files = files_of(1)
    weights = bytearray(files["net.bin"])
    weights[place] ^= 0x80
    old = old_of(packages.package(1))
    new = package_with({**files, "net.bin": bytes(weights)}, 2)
    assert made(make_delta(old, new), bases_of(old)) == new


def retrained(share: float) -> tuple[bytes, bytes]:
    """INT8 weights before and after float weights moved so far that ``share`` of them changed."""
    rng = np.random.default_rng(1)
    weights = rng.normal(0, 20, WEIGHTS)
    # A weight lies anywhere in its step, so the share that changes is the mean of |move|.
    moved = weights + rng.normal(0, share * np.sqrt(np.pi / 2), WEIGHTS)
    before, after = (np.clip(np.rint(w), -63, 63).astype(np.int8) for w in (weights, moved))
    assert np.count_nonzero(before != after) / WEIGHTS == pytest.approx(share, rel=0.02)
    return before.tobytes(), after.tobytes()


@pytest.mark.parametrize(("share", "at_most_bytes"), [(0.02, 35_000), (0.24, 260_000)])
def test_retrained_weights_with_frozen_scales_fit_the_link(share: float, at_most_bytes: int) -> None:
    before, after = retrained(share)
    old_files = {**files_of(1), "net.bin": before}
    new_files = {**files_of(1), "net.bin": after}
    known = read_known_answers(old_files["known_answers.bin"], Task.SCENE)
    moves = np.random.default_rng(2).integers(0, 3, known.samples[0].shape, dtype=np.uint8)
    others = tuple(samples + moves for samples in known.samples)  # every expected answer is another one
    new_files["known_answers.bin"] = write_known_answers(replace(known, samples=others))
    old = old_of(package_with(old_files, 1))
    new = package_with(new_files, 2)
    delta = make_delta(old, new)
    print(f"{share:.0%} of {WEIGHTS} weights: {len(delta)} bytes")
    assert len(delta) <= at_most_bytes
    assert made(delta, bases_of(old)) == new


def test_it_is_applied_with_a_few_blocks_of_memory() -> None:
    before, after = retrained(0.02)
    old = old_of(package_with({**files_of(1), "net.bin": before}, 1))
    delta = make_delta(old, package_with({**files_of(1), "net.bin": after}, 2))
    bases = bases_of(old)
    tracemalloc.start()
    for _ in opened(delta, bases).blocks():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20, "the package has 1.5 MB"


def test_new_last_layers_leave_everything_else_untold() -> None:
    before = retrained(0.02)[0]
    after = before[:-50_000] + packages.weights(5, 50_000)
    old = old_of(package_with({**files_of(1), "net.bin": before}, 1))
    delta = make_delta(old, package_with({**files_of(1), "net.bin": after}, 2))
    assert len(delta) < 50_000 + 60_000


def refusal_of(delta: bytes, bases: BaseFiles, limit: int = LIMIT) -> Refusal:
    with pytest.raises(InstallError) as refused:
        for _ in opened(delta, bases, limit).blocks():
            pass
    return Refusal(refused.value.code)


OLD = old_of(packages.package(1))
NEW = packages.package(2)
DELTA = make_delta(OLD, NEW)


def test_a_delta_whose_base_is_not_on_board_says_so() -> None:
    assert refusal_of(DELTA, on_board(*list(OLD.files.values())[1:])) is Refusal.BASE_MISSING
    assert refusal_of(DELTA, on_board()) is Refusal.BASE_MISSING


def test_a_delta_that_makes_too_much_is_refused_before_it_makes_it() -> None:
    assert refusal_of(DELTA, bases_of(OLD), limit=len(NEW) - 1) is Refusal.TOO_LARGE
    assert refusal_of(DELTA[:-1], bases_of(OLD)) is Refusal.WRONG_LENGTH


@settings(max_examples=300)
@given(st.integers(0, len(DELTA) * 8 - 1))
def test_a_damaged_delta_is_refused(bit: int) -> None:
    damaged = bytearray(DELTA)
    damaged[bit // 8] ^= 1 << bit % 8
    assert refusal_of(bytes(damaged), bases_of(OLD)) in {
        Refusal.NOT_A_PACKAGE,
        Refusal.WRONG_LENGTH,
        Refusal.DAMAGED,
    }


@settings(max_examples=300)
@given(st.integers(0, len(DELTA) * 8 - 1))
def test_a_forged_delta_is_refused_or_makes_something_that_is_verified_as_a_package(bit: int) -> None:
    forged = bytearray(DELTA)
    forged[bit // 8] ^= 1 << bit % 8
    forged[28:32] = struct.pack(">I", zlib.crc32(forged[32:], zlib.crc32(forged[:28])))
    with contextlib.suppress(InstallError):
        assert len(made(bytes(forged), bases_of(OLD))) <= LIMIT


@given(st.binary(min_size=1, max_size=3000), st.binary(max_size=64))
def test_no_stream_makes_more_than_the_table_says(content: bytes, noise: bytes) -> None:
    old = np.frombuffer(content, np.uint8)
    new = old.copy()
    new[: len(noise)] ^= np.frombuffer(noise, np.uint8)[: new.size]
    assert sum(map(len, sparse_streams(content, new.tobytes()))) < 4 * len(content) + 64
