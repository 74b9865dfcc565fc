"""Damaged, forged and replayed packets by the ten thousand, or by the ten million with `make fuzz`.

SKYSIFT_FUZZ_PACKETS cases are shared by the kinds that a CRC-16 may let through; of each of the
two kinds that it always finds there are a tenth of that. Between them stand undamaged
neighbours. The judge of what is a whole packet is `binascii.crc_hqx`, the standard library's
CRC-CCITT, and of what is authentic its `hmac`, not the code under test.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from payload.core.guard import CommandGuard, seal
from payload.core.packets import TC_MAX_BYTES, pack_telecommand, pack_telemetry
from payload.core.telecommands import COMMANDS
from payload.core.telemetry import Telemetry
from payload.core.wire import Wire
from payload.flight.calls import Call, Execute, Now, Quiet
from payload.flight.downlink import Downlink
from payload.flight.uplink import Uplink
from payload.ports import Arrival
from tests.on_board import DictMemory, ToldClock
from tools.telemetry import Reader

CASES = int(os.environ.get("SKYSIFT_FUZZ_PACKETS", "20000"))
APID, KEY = 100, bytes(range(32))
COMMAND_ID = (0x1800 | APID).to_bytes(2, "big")
BATCH = 10
"""Neighbours in a stream."""
BETWEEN = 5
"""Wrong packets behind each of them."""
GROWTH_MAX_BYTES = 4 << 20
INNER = pack_telecommand(APID, 17, 1, 1, b"")

Damage = Callable[[bytes, random.Random], bytes]


class Witness(Quiet):
    """Does every command by remembering which request it was."""

    def __init__(self) -> None:
        self.done: list[int] = []

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {command.name: self._note for command in COMMANDS}

    def _note(self, call: Call) -> bool:
        self.done.append(call.request.sequence_control & 0x3FFF)
        return True


def flips(low: int, high: int) -> Damage:
    def damage(packet: bytes, dice: random.Random) -> bytes:
        changed = bytearray(packet)
        for place in dice.sample(range(8 * len(packet)), dice.randint(low, high)):
            changed[place // 8] ^= 1 << place % 8
        return bytes(changed)

    return damage


def burst(low: int, high: int) -> Damage:
    def damage(packet: bytes, dice: random.Random) -> bytes:
        bits = dice.randint(low, high)
        at = dice.randrange(8 * len(packet) - bits)
        pattern = 1 | 1 << (bits - 1) | dice.getrandbits(bits)
        return (int.from_bytes(packet, "big") ^ pattern << at).to_bytes(len(packet), "big")

    return damage


def truncated(packet: bytes, dice: random.Random) -> bytes:
    return packet[: dice.randrange(len(packet))]


def garbled(packet: bytes, dice: random.Random) -> bytes:
    keep = dice.randrange(6, len(packet))
    return packet[:keep] + dice.randbytes(len(packet) - keep)


def lengthened(packet: bytes, dice: random.Random) -> bytes:
    return packet[:4] + dice.randrange(TC_MAX_BYTES).to_bytes(2, "big") + packet[6:]


def spliced(packet: bytes, dice: random.Random) -> bytes:
    other = dice.choice(fresh_commands())
    return packet[: dice.randrange(6, len(packet))] + other[dice.randrange(6, len(other)) :]


def forged(packet: bytes, dice: random.Random) -> bytes:
    """Another content with a right CRC, by somebody who has no key."""
    changed = bytearray(packet[:-2])
    for _ in range(dice.randint(1, 8)):
        changed[dice.randrange(6, len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed) + binascii.crc_hqx(changed, 0xFFFF).to_bytes(2, "big")


def untagged(packet: bytes, dice: random.Random) -> bytes:
    return pack_telecommand(APID, packet[7], packet[8], dice.randrange(1 << 14), packet[11:-18])


LIGHT: dict[str, Damage] = {  # CRC-16 finds all of these
    "flips of 1 to 3 bits": flips(1, 3),
    "bursts up to 16 bits": burst(2, 16),
}
HEAVY: dict[str, Damage] = {
    "flips of 4 to 40 bits": flips(4, 40),
    "bursts of 17 to 64 bits": burst(17, 64),
    "truncated": truncated,
    "garbled tails": garbled,
    "other lengths": lengthened,
    "spliced": spliced,
    "forged with a right CRC": forged,
    "without a tag": untagged,
    "replayed": lambda packet, _: packet,
}
DAMAGES = LIGHT | HEAVY


def batches(name: str) -> int:
    cases = CASES // 10 if name in LIGHT else CASES // len(HEAVY)
    return max(1, -(-cases // (BATCH * BETWEEN)))


def damaged(packet: bytes, name: str, dice: random.Random) -> bytes:
    """Not what chance leaves whole, which it may also by what the next packet starts with."""
    while True:
        wrong = DAMAGES[name](packet, dice)
        if name == "replayed" or not (wrong + packet[:2]).startswith(packet):
            return wrong


def a_command(dice: random.Random, counter: int, sequence: int) -> bytes:
    command = dice.choice(COMMANDS)
    held = {Wire.PACKET: INNER, Wire.TEXT: "/data/strip.yaml", Wire.TIME: 10**18, Wire.F64: 0.5}
    group = {
        f.name: held.get(f.wire, dice.randrange(100)) for f in command.fields if f.name not in command.fixed
    }
    groups = [group] if command.repeats or group else []
    return seal(KEY, counter, APID, command.service, command.subtype, sequence, command.pack(*groups))


@cache
def fresh_commands() -> Sequence[bytes]:
    """Authentic ones of which none is ever done, so their counters stay new: what refuses what is
    made of them is its CRC, its structure or its tag."""
    dice = random.Random(0)
    return [a_command(dice, 1 << 62 | number, 0x3000 | number) for number in range(4096)]


def is_whole_command(packet: bytes) -> bool:
    """By the standard library: length, CRC-16, and that it claims to be a command of our APID."""
    return (
        8 <= len(packet) <= TC_MAX_BYTES
        and packet[:2] == COMMAND_ID
        and packet[2] >= 0xC0
        and int.from_bytes(packet[4:6], "big") + 7 == len(packet)
        and binascii.crc_hqx(packet, 0xFFFF) == 0
    )


def is_authentic_command(packet: bytes) -> bool:
    return hmac.digest(KEY, packet[:-10], hashlib.sha256)[:8] == packet[-10:-2]


def whole_commands(stream: bytes) -> int:
    """How many a stream holds; what is not authentic may hide others, whole ones or by chance."""
    found, at = 0, stream.find(COMMAND_ID)
    while at >= 0:
        packet = stream[at : at + int.from_bytes(stream[at + 4 : at + 6], "big") + 7]
        is_whole = is_whole_command(packet)
        found += is_whole
        behind = at + (len(packet) if is_whole and is_authentic_command(packet) else 1)
        at = stream.find(COMMAND_ID, behind)
    return found


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("name", DAMAGES)
def test_nothing_damaged_forged_or_replayed_is_done_and_every_neighbour_is(name: str) -> None:
    dice, telemetry, witness, answers = random.Random(name), Telemetry(), Witness(), [0]

    def send(_packet: bytes) -> None:
        answers[0] += 1

    downlink = Downlink(APID, ToldClock(), telemetry, send)
    uplink = Uplink(APID, CommandGuard(KEY, 0), DictMemory(), [witness], downlink, telemetry)
    counter, whole, undetected = 0, 0, 0
    started_bytes = resident_bytes()
    for batch in range(batches(name)):
        stream: list[bytes] = []
        for number in range(BATCH):
            counter += 1
            neighbour = a_command(dice, counter, number)
            sources = [neighbour] if name == "replayed" else fresh_commands()
            wrong = [damaged(dice.choice(sources), name, dice) for _ in range(BETWEEN)]
            stream += [neighbour, *wrong]
            undetected += sum(map(is_whole_command, wrong))
        content = b"".join(stream)
        whole += whole_commands(content)
        witness.done.clear()
        feed_in_pieces(uplink, content, dice, Now(10**18, batch))
        assert witness.done == list(range(BATCH))
        telemetry.take_events(0)
        if batch == 20:
            started_bytes = resident_bytes()
    fed = BETWEEN * counter
    assert telemetry.values["commands_accepted"] == counter
    rejected = telemetry.values["commands_rejected"]
    assert rejected == telemetry.counts.get("command_rejected", 0) == whole - counter
    assert resident_bytes() - started_bytes < GROWTH_MAX_BYTES
    # All wanted reports of the neighbours, and no more answers to noise than the throttle lets.
    assert answers[0] <= 3 * counter + 16
    if name in ("forged with a right CRC", "without a tag", "replayed"):
        assert undetected == fed
        is_forged = name.startswith("forged")  # which may be of another PUS version, too
        assert telemetry.values["commands_unauthentic"] == rejected or is_forged
    elif name in LIGHT:
        assert undetected == 0
    print(
        f"{name}: {fed} fed, {undetected} had a right CRC-16, none done; "
        f"{rejected} packets rejected, {counter} neighbours done"
    )


def feed_in_pieces(uplink: Uplink, content: bytes, dice: random.Random, now: Now) -> None:
    """In pieces of any size, as TCP has them; the end of the content is the end of the stream."""
    at = 0
    while at < len(content):
        size = dice.randint(1, 2000)
        uplink.receive([Arrival(1, content[at : at + size], is_end=False)], now)
        at += size
    uplink.receive([Arrival(1, b"", is_end=True)], now)


@pytest.mark.parametrize("name", [name for name in DAMAGES if name != "replayed"])
def test_the_ground_reads_every_telemetry_packet_beside_a_damaged_one(name: str) -> None:
    if name in ("spliced", "forged with a right CRC", "without a tag"):
        pytest.skip("made for commands")
    dice, reader = random.Random(name), Reader(APID)
    for _ in range(max(1, batches(name) // 4)):
        packets = [
            pack_telemetry(APID, 17, 2, number, number, 10**18, True, b"") for number in range(2 * BATCH)
        ]
        stream = [damaged(p, name, dice) if number % 2 else p for number, p in enumerate(packets)]
        readings = [*reader.feed(b"".join(stream)), *reader.end()]
        found = {reading.sequence for reading in readings if reading.name == "alive"}
        assert found >= set(range(0, 2 * BATCH, 2))
