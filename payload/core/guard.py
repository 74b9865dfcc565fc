"""Which telecommands may change anything: those with the right tag and a new counter.

Rules:
1. The last 16 bytes of a command's content are its counter (64 bits) and its tag (64 bits).
2. The tag is the first 8 bytes of HMAC-SHA256 (RFC 2104) under the command key, over the whole
   packet before the tag: headers, arguments and counter. So nothing that matters can be
   changed, and a CRC-16 that fits by chance lets nothing through.
3. The counter is above that of every command taken so far, or the command is a replay. Whoever
   takes a command must remember its counter for good before doing anything.
4. A wrong tag is found out before the counter is looked at, in a time that does not tell how
   wrong it is.
"""

from __future__ import annotations

import hashlib
import hmac

from payload.core.packets import (
    ACKNOWLEDGE_ALL,
    CRC_BYTES,
    Failure,
    Telecommand,
    pack_telecommand,
)
from payload.core.wire import Wire, pack
from payload.errors import CommandError, ConfigError

COUNTER_BYTES = 8
TAG_BYTES = 8
TRAILER_BYTES = COUNTER_BYTES + TAG_BYTES
KEY_BYTES = 32


class CommandGuard:
    """Knows the key and the last counter."""

    def __init__(self, key: bytes, last_counter: int) -> None:
        assert len(key) == KEY_BYTES
        self._key = key
        self.last_counter = last_counter

    def admit(self, command: Telecommand) -> tuple[bytes, int]:
        """The arguments of an authentic, new command, and its counter; nothing is remembered yet.

        Raises:
            CommandError: it is not authentic, or a replay.
        """
        arguments, trailer = command.content[:-TRAILER_BYTES], command.content[-TRAILER_BYTES:]
        if len(trailer) < TRAILER_BYTES or not self.is_authentic(command.packet):
            raise CommandError("the authentication tag is wrong or missing", Failure.NOT_AUTHENTIC)
        counter = int.from_bytes(trailer[:COUNTER_BYTES], "big")
        if counter <= self.last_counter:
            raise CommandError(f"counter {counter} is not above {self.last_counter}", Failure.REPLAYED)
        return arguments, counter

    def is_authentic(self, packet: bytes) -> bool:
        """Whether somebody with the key made the packet; it may be a replay."""
        tag = packet[-TAG_BYTES - CRC_BYTES : -CRC_BYTES]
        return hmac.compare_digest(tag, tag_of(self._key, packet[: -TAG_BYTES - CRC_BYTES]))


def tag_of(key: bytes, covered: bytes) -> bytes:
    """The tag over ``covered``, everything in the packet before the tag."""
    return hmac.new(key, covered, hashlib.sha256).digest()[:TAG_BYTES]


def seal(
    key: bytes,
    counter: int,
    apid: int,
    service: int,
    subtype: int,
    sequence: int,
    arguments: bytes,
    acknowledge: int = ACKNOWLEDGE_ALL,
) -> bytes:
    """A telecommand packet with its counter and tag: what a ground station sends."""
    unsigned = arguments + pack(Wire.U64, counter) + bytes(TAG_BYTES)
    packet = pack_telecommand(apid, service, subtype, sequence, unsigned, acknowledge=acknowledge)
    tag = tag_of(key, packet[: -TAG_BYTES - CRC_BYTES])
    signed = unsigned[:-TAG_BYTES] + tag
    return pack_telecommand(apid, service, subtype, sequence, signed, acknowledge=acknowledge)


def parse_key(text: str, source: str) -> bytes:
    """The key in a key file: 64 hexadecimal digits, nothing else.

    Raises:
        ConfigError: it holds something else.
    """
    digits = text.strip()
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or len(digits) != 2 * KEY_BYTES:
        raise ConfigError(f"{source}: no command key; it must be {2 * KEY_BYTES} hexadecimal digits")
    return key
