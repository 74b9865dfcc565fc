"""Damaged and wrong packages by the hundred, and particles in the weights: none gets through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

from payload.core.refusals import Refusal
from payload.core.scrub import BLOCK_BYTES, block_checks, mended, reblocked
from payload.errors import EngineFault, InstallError, TrustError
from payload.types import Target
from tests.crash_disk import CrashDisk
from tests.packages import SIGNERS, STRANGER
from tests.update_bench import Bench, small_files, small_package

OLD, NEW = small_files(1)["net.bin"], small_package(2)
IN_TRANSIT = {
    Refusal.NOT_A_PACKAGE,
    Refusal.WRONG_LENGTH,
    Refusal.DAMAGED,
    Refusal.WRONG_HASH,
    Refusal.TOO_LARGE,
}

Rng = np.random.Generator


def bench_with_old() -> Bench:
    bench = Bench(CrashDisk())
    bench.install(small_package(1))
    bench.confirm()
    return bench


def damaged(rng: Rng) -> bytes:
    """The package after one kind of damage, drawn anew until it differs."""
    content = bytearray(NEW)
    size = len(content)
    kind = int(rng.integers(0, 6))
    if kind == 0:
        for bit in rng.integers(0, 8 * size, int(rng.integers(1, 9))):
            content[bit // 8] ^= 1 << bit % 8
    elif kind == 1:
        start = int(rng.integers(0, size))
        content[start : start + 64] = rng.bytes(len(content[start : start + 64]))
    elif kind == 2:
        del content[int(rng.integers(0, size)) :]
    elif kind == 3:
        content += rng.bytes(int(rng.integers(1, 300)))
    elif kind == 4:
        start = int(rng.integers(0, size - 1))
        del content[start : start + int(rng.integers(1, 64))]
    else:
        content = bytearray(rng.bytes(int(rng.integers(0, 2000))))
    return bytes(content) if bytes(content) != NEW else damaged(rng)


def test_no_damaged_package_is_taken() -> None:
    _refuse_damaged(1500)


@pytest.mark.slow
def test_no_damaged_package_of_a_hundred_thousand_is_taken() -> None:
    _refuse_damaged(100_000)


def _refuse_damaged(count: int) -> None:
    bench, rng, seen = bench_with_old(), np.random.default_rng(11), Counter[str]()
    before = bench.record
    for _ in range(count):
        with pytest.raises(InstallError) as refused:
            bench.install(damaged(rng))
        seen[Refusal(refused.value.code).name] += 1
    print(f"{count} damaged packages: {dict(seen)}")
    assert {Refusal[name] for name in seen} <= IN_TRANSIT
    assert bench.record == before, "not even the idle slot was touched"
    assert bench.active_weights() == OLD


@lru_cache(maxsize=64)
def signed_by(first: int, second: int) -> bytes:
    keys = [*SIGNERS, STRANGER]
    return small_package(2, signers=[keys[first]] if first == second else [keys[first], keys[second]])


def _wrong_key(_bench: Bench, rng: Rng) -> bytes:
    one = int(rng.integers(0, 4))
    return signed_by(one, 3 if one < 3 and rng.random() < 0.5 else one)


@lru_cache(maxsize=64)
def of_index(index: int) -> bytes:
    return small_package(2, rollback_index=index)


def _old_index(_bench: Bench, rng: Rng) -> bytes:
    return of_index(int(rng.integers(0, 5)))


def _wrong_hardware(bench: Bench, rng: Rng) -> bytes:
    bench.targets = (Target.MYRIAD,) if rng.random() < 0.5 else (Target.CPU, Target.TFLITE)
    return NEW


def _swapped_chunks(_bench: Bench, rng: Rng) -> bytes:
    size = 1 << int(rng.integers(6, 12))
    first, second = sorted(rng.choice(len(NEW) // size, 2, replace=False))
    chunks = [NEW[start : start + size] for start in range(0, len(NEW), size)]
    chunks[first], chunks[second] = chunks[second], chunks[first]
    swapped = b"".join(chunks)
    return swapped if swapped != NEW else _swapped_chunks(_bench, rng)


def _failed_answer(bench: Bench, rng: Rng) -> bytes:
    bench.offset = int(rng.integers(9, 120))
    return of_index(9)


def _too_slow(bench: Bench, _rng: Rng) -> bytes:
    bench.fault = EngineFault.LATE
    return of_index(9)


def _too_big(bench: Bench, _rng: Rng) -> bytes:
    bench.fault = EngineFault.MEMORY
    return of_index(9)


WRONG: dict[str, tuple[Callable[[Bench, Rng], bytes], set[Refusal]]] = {
    "wrong key": (_wrong_key, {Refusal.TOO_FEW_SIGNATURES}),
    "old index": (_old_index, {Refusal.OLD_INDEX}),
    "wrong hardware": (_wrong_hardware, {Refusal.WRONG_HARDWARE}),
    "swapped chunks": (_swapped_chunks, IN_TRANSIT),
    "failed known answer": (_failed_answer, {Refusal.WRONG_ANSWER}),
    "too slow": (_too_slow, {Refusal.TOO_SLOW}),
    "too big": (_too_big, {Refusal.TOO_BIG}),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_refused_with_its_code_and_the_old_model_runs(kind: str) -> None:
    _refuse_wrong(kind, 25)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_refused_a_thousand_times(kind: str) -> None:
    _refuse_wrong(kind, 1000)


def _refuse_wrong(kind: str, count: int) -> None:
    draw, codes = WRONG[kind]
    bench, rng = bench_with_old(), np.random.default_rng(12)
    if kind == "old index":
        bench.install(of_index(5))
        bench.confirm()
    active, weights = bench.record.active, bench.active_weights()
    for _ in range(count):
        with pytest.raises(InstallError) as refused:
            bench.install(draw(bench, rng))
        assert Refusal(refused.value.code) in codes
        assert bench.record.active is active
        assert not bench.record.is_trial
    assert bench.active_weights() == weights
    again = Bench(bench.disk)
    again.slots.start()
    assert again.active_weights() == weights


# Particles


PATTERNS = {"1 bit": 1, "2 bits": 2, "3 bits": 3, "4 bits": 4, "8 bits": 8, "64 byte burst": 0}


def _strike(content: bytearray, bits: int, rng: Rng) -> None:
    if bits:
        for bit in rng.choice(8 * len(content), bits, replace=False):
            content[bit // 8] ^= 1 << bit % 8
        return
    start = int(rng.integers(0, len(content) - 64))
    noise = np.frombuffer(rng.bytes(64), np.uint8) | 1  # no byte stays what it was
    burst = np.frombuffer(bytes(content[start : start + 64]), np.uint8) ^ noise
    content[start : start + 64] = burst.tobytes()


def _scrub(bits: int, count: int) -> None:
    """Particles in a copy of the weights, each found and mended from the other copy."""
    rng = np.random.default_rng(13)
    whole = rng.bytes(5 * BLOCK_BYTES + 100)
    checks = block_checks([whole])
    for _ in range(count):
        struck = bytearray(whole)
        _strike(struck, bits, rng)
        assert struck != whole
        found = list(mended(reblocked([bytes(struck)]), reblocked([whole]), checks))
        assert not all(was_whole for _, was_whole in found), "unseen"
        assert b"".join(block for block, _ in found) == whole


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_particle_in_the_weights_stays_unseen(pattern: str) -> None:
    _scrub(PATTERNS[pattern], 400)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_particle_of_a_hundred_thousand_stays_unseen(pattern: str) -> None:
    _scrub(PATTERNS[pattern], 100_000)


def test_a_block_that_is_damaged_in_both_copies_is_said_and_not_taken() -> None:
    whole = bytes(range(256)) * 64
    checks = block_checks([whole])
    first, second = bytearray(whole), bytearray(whole)
    first[5000] ^= 1
    second[5001] ^= 1
    with pytest.raises(TrustError, match="block 1 of 4 is damaged in both copies"):
        list(mended(reblocked([bytes(first)]), reblocked([bytes(second)]), checks))


@pytest.mark.parametrize("copy", [0, 1])
def test_particles_on_the_disk_are_found_and_mended(copy: int) -> None:
    bench, rng = bench_with_old(), np.random.default_rng(14)
    assert isinstance(bench.disk, CrashDisk)
    held = bench.disk._names[f"scene.a.{copy}"]
    whole = held.now
    for bits in (1, 2, 3, 8, 0) * 6:
        struck = bytearray(whole)
        _strike(struck, bits, rng)
        held.now = held.synced = bytes(struck)
        assert bench.slots.scrub().mended_blocks >= 1
        held = bench.disk._names[f"scene.a.{copy}"]
        assert held.now == whole
    assert bench.active_weights() == OLD
