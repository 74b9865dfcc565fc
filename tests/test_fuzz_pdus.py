"""Damaged, cut, spliced, replayed and hostile CFDP PDUs into an entity in the middle of its transfers.

SKYSIFT_FUZZ_PDUS of each kind (`make fuzz` takes a million; plain pytest a few thousand).
"""

from __future__ import annotations

import binascii
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from payload.transfer_ports import CLOSED_TRANSFERS_MAX
from tests.core.cfdp_link import FLIGHT, GROUND, NS_PER_S, End, Pass, Weather, parameters

PDUS = int(os.environ.get("SKYSIFT_FUZZ_PDUS", "3000"))
GROWTH_MAX_BYTES = 24 << 20
FILE_MAX_BYTES = 1 << 17

Damage = Callable[[random.Random, list[bytes]], bytes]


def flips(low: int, high: int) -> Damage:
    def damage(source: random.Random, pdus: list[bytes]) -> bytes:
        spoilt = bytearray(source.choice(pdus))
        for place in source.sample(range(len(spoilt) * 8), source.randint(low, high)):
            spoilt[place // 8] ^= 1 << place % 8
        return bytes(spoilt)

    return damage


def burst(low: int, high: int) -> Damage:
    def damage(source: random.Random, pdus: list[bytes]) -> bytes:
        pdu = source.choice(pdus)
        length = source.randint(low, high)
        pattern = source.getrandbits(length) | 1 | 1 << length - 1
        shifted = pattern << source.randrange(max(1, len(pdu) * 8 - length))
        whole = int.from_bytes(pdu, "big") ^ shifted
        return whole.to_bytes(len(pdu) + length // 8 + 1, "big")[-len(pdu) :]

    return damage


def truncated(source: random.Random, pdus: list[bytes]) -> bytes:
    pdu = source.choice(pdus)
    return pdu[: source.randrange(len(pdu))]


def spliced(source: random.Random, pdus: list[bytes]) -> bytes:
    first, second = source.choice(pdus), source.choice(pdus)
    return first[: source.randint(1, len(first))] + second[source.randrange(len(second)) :]


def noise(source: random.Random, _: list[bytes]) -> bytes:
    return source.randbytes(source.randrange(1, 80))


def hostile(source: random.Random, pdus: list[bytes]) -> bytes:
    """Damaged, and its CRC made right again: what a broken or evil peer may say."""
    spoilt = bytearray(source.choice(pdus)[:-2])
    for _ in range(source.randint(1, 6)):
        spoilt[source.randrange(len(spoilt))] = source.randrange(256)
    return bytes(spoilt) + binascii.crc_hqx(bytes(spoilt), 0xFFFF).to_bytes(2, "big")


def replayed(source: random.Random, pdus: list[bytes]) -> bytes:
    return source.choice(pdus)


def heard_in_a_pass(flight: End, ground: End, seconds: float) -> tuple[Pass, dict[int, list[bytes]]]:
    """A pass in its middle, and what each end has heard until then."""
    run = Pass(flight, ground, Weather(loss=0.1, rate_bit_s=1e6), 1)
    heard: dict[int, list[bytes]] = {id(flight): [], id(ground): []}
    while run.now_ns < seconds * NS_PER_S:
        kind, end, raw = run._events[0][2:5]
        if kind == "hear":
            heard[id(end)].append(raw)
        run.step()
    return run, heard


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def middle_of_a_pass() -> tuple[End, End, Pass, dict[int, list[bytes]]]:
    source = random.Random(2)
    flight = End(parameters(FLIGHT, GROUND, file_max_bytes=FILE_MAX_BYTES))
    ground = End(parameters(GROUND, FLIGHT, file_max_bytes=FILE_MAX_BYTES))
    for number, size in enumerate((0, 300, 20_000, 60_000, 90_000)):
        flight.put(f"P{number}", source.randbytes(size), -float(number))
    for number in range(3):
        ground.put(f"U{number}", source.randbytes(30_000), -float(number))
    run, heard = heard_in_a_pass(flight, ground, 1.0)
    assert not run.is_over
    assert ground.closed
    assert ground.journal
    return flight, ground, run, heard


@pytest.mark.parametrize(
    ("damage", "is_always_seen"),
    [
        pytest.param(flips(1, 3), True, id="1-3 flips"),
        pytest.param(burst(2, 16), True, id="burst to 16"),
        pytest.param(flips(4, 12), False, id="4-12 flips"),
        pytest.param(burst(17, 64), False, id="burst to 64"),
        pytest.param(truncated, False, id="truncated"),
        pytest.param(spliced, False, id="spliced"),
        pytest.param(noise, False, id="noise"),
    ],
)
def test_damaged_pdus_change_nothing_and_the_pass_goes_on(damage: Damage, is_always_seen: bool) -> None:
    flight, ground, run, heard = middle_of_a_pass()
    source = random.Random(7)
    known = {key: set(pdus) for key, pdus in heard.items()}
    before = resident_bytes()
    slipped = fed = 0
    for number in range(PDUS):
        end = (flight, ground)[number % 2]
        raw = damage(source, heard[id(end)])
        if raw in known[id(end)]:
            continue
        fed += 1
        rejected = end.entity.counters.pdus_rejected
        end.entity.receive(raw, run.now_ns)
        if end.entity.counters.pdus_rejected == rejected:
            slipped += 1  # a CRC-16 lets one in 65536 through; the file's CRC-32 sees the rest
            end.perform()
        else:
            assert end.entity.take_effects() == []
    assert slipped <= (0 if is_always_seen else fed * 2**-16 * 3 + 3)
    assert resident_bytes() - before < GROWTH_MAX_BYTES
    check_the_rest(flight, ground, run)
    print(f"{fed} fed, {slipped} had a right CRC-16")


@pytest.mark.parametrize("kind", [hostile, replayed], ids=lambda kind: kind.__name__)
def test_replayed_and_hostile_pdus_neither_break_nor_fill_it_and_deliver_nothing_wrong(kind: Damage) -> None:
    flight, ground, run, heard = middle_of_a_pass()
    source = random.Random(8)
    before, delivered = resident_bytes(), list(ground.deliveries)
    for number in range(PDUS):
        end = (flight, ground)[number % 2]
        end.entity.receive(kind(source, heard[id(end)]), run.now_ns)
        end.perform()
        if number % 100 == 0:
            end.entity.tick(run.now_ns)
            for _ in range(50):  # the link goes on
                end.pull(run.now_ns)
    for end in (flight, ground):
        assert end.entity.receiving() <= end.setup.open_limit
        assert len(end.entity._closed) <= CLOSED_TRANSFERS_MAX
        assert len(end.entity._answers) <= 6 * (CLOSED_TRANSFERS_MAX + 2 * end.setup.open_limit)
    assert resident_bytes() - before < GROWTH_MAX_BYTES
    for name, content in ground.files.items():
        assert flight.sources.get(name) == content or kind is hostile
    if kind is replayed:
        assert len(set(ground.deliveries)) == len(ground.deliveries)
        assert ground.deliveries[: len(delivered)] == delivered
        check_the_rest(flight, ground, run)


def check_the_rest(flight: End, ground: End, run: Pass) -> None:
    """Every undamaged neighbour arrives, and both ends close."""
    assert run.run()
    assert ground.files == flight.sources
    assert flight.files == ground.sources
    assert len(set(ground.deliveries)) == len(ground.deliveries)
