"""Whole packets out of a stream of bytes, whatever happened to the stream.

Rules:
1. A packet starts with one of the wanted packet ids, is unsegmented, not longer than allowed
   and has a fitting CRC-16. Everything else is passed over, byte by byte, and counted.
2. So a damaged packet costs itself alone, also where its length field is what was damaged.
3. While a packet is not all there nothing behind its start is looked at, until `give_up`:
   the stream has paused or ended, and what came is all there is.
4. No more than one packet of the greatest length is ever held back.
5. A CRC-16 fits one time in 65 536 by chance, as where a packet was cut off and the next one
   follows. So a packet that is not sound by what else is known of it is given out, for whoever
   counts those, and then looked into all the same.
6. What seemed to be a packet and was none costs a look and its CRC-16. Once these came to
   WASTED_MAX_BYTES in one call the rest is passed over unseen: whoever sends such bytes spends his
   own datagram or chunk, and not the time of those who wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from payload.core.packets import PRIMARY_HEADER_BYTES, is_whole, packet_bytes

_UNSEGMENTED = 0xC0
WASTED_MAX_BYTES = 256 << 10
"""Four times the largest datagram, some milliseconds: far above what damage costs."""
LOOK_BYTES = 64
"""A look at a packet id takes as long as the CRC-16 of so many bytes or more."""


class PacketScan:
    """Finds the packets of one stream."""

    def __init__(
        self,
        packet_ids: Sequence[bytes],
        max_bytes: int,
        is_sound: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        """Wanted are packets that start with one of ``packet_ids`` (2 bytes each)."""
        self._ids = tuple(packet_ids)
        self._max_bytes = max_bytes
        self._is_sound = is_sound
        self._held = b""
        self.discarded_bytes = 0
        """Bytes so far that are in no sound packet; what is held back is not counted yet."""

    @property
    def held_bytes(self) -> int:
        """Bytes that wait for the rest of their packet."""
        return len(self._held)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The packets that are whole now, in their order."""
        return self._scan(self._held + chunk, is_end=False)

    def give_up(self) -> list[bytes]:
        """The packets in what was held back, its start being damaged (rule 3)."""
        return self._scan(self._held, is_end=True)

    def _scan(self, content: bytes, is_end: bool) -> list[bytes]:
        found: list[bytes] = []
        at = wasted_bytes = 0
        places = [-1] * len(self._ids)
        while True:
            start = len(content) if wasted_bytes > WASTED_MAX_BYTES else self._next_id(content, at, places)
            self.discarded_bytes += start - at
            at = start
            left = len(content) - at
            if left < PRIMARY_HEADER_BYTES and (not is_end or left == 0):
                break
            size = packet_bytes(content, at)
            is_possible = (
                left >= PRIMARY_HEADER_BYTES
                and content[at + 2] & _UNSEGMENTED == _UNSEGMENTED
                and size <= self._max_bytes
            )
            if is_possible and size > left and not is_end:
                break
            is_sound = False
            if is_possible and size <= left and is_whole(packet := content[at : at + size]):
                found.append(packet)
                is_sound = self._is_sound(packet)
            if not is_sound:
                self.discarded_bytes += 1
                wasted_bytes += LOOK_BYTES + (size if is_possible else 0)
            at += size if is_sound else 1
        self._held = content[at:]
        return found

    def _next_id(self, content: bytes, at: int, places: list[int]) -> int:
        """Where the next wanted packet id stands, from ``at`` on; a first half at the end counts.

        Args:
            places: where each id was found last, so that nothing is searched twice.
        """
        for number, wanted in enumerate(self._ids):
            if places[number] < at:
                place = content.find(wanted, at)
                places[number] = place if place >= 0 else len(content)
        start = min(places, default=len(content))
        is_half = len(content) > at and any(content[-1] == wanted[0] for wanted in self._ids)
        return min(start, len(content) - 1) if is_half else start
