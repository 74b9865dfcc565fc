"""Wire, packets, tag and resynchronisation: round trips, golden bytes, and what must be refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from payload.core import packet_scan, wire
from payload.core.guard import TRAILER_BYTES, CommandGuard, parse_key, seal
from payload.core.packet_scan import LOOK_BYTES, WASTED_MAX_BYTES, PacketScan
from payload.core.packets import (
    TC_MAX_BYTES,
    Failure,
    is_whole,
    pack_telecommand,
    pack_telemetry,
    packet_id_of,
    unpack_telecommand,
)
from payload.core.reports import every_report, report_of
from payload.core.telecommands import COMMANDS, command_of
from payload.core.wire import Field, Wire, WireError
from payload.errors import CommandError, ConfigError

KEY = bytes(range(32))
APID = 100
NOON_UTC_NS = 1_800_000_000_123_000_000
MS = 1_000_000


def failure_of(packet: bytes, last_counter: int = 0) -> Failure | None:
    """Why a packet is refused, or None if it would be done."""
    try:
        found = unpack_telecommand(packet, APID)
        arguments, _ = CommandGuard(KEY, last_counter).admit(found)
        command_of(found.service, found.subtype, arguments).unpack(arguments)
    except CommandError as error:
        return Failure(error.failure_code)
    return None


def values(kind: Wire) -> st.SearchStrategy[object]:
    if kind is Wire.TEXT:
        return st.text(st.characters(max_codepoint=127), max_size=wire.TEXT_MAX_CHARS)
    if kind is Wire.F64:
        return st.floats(allow_nan=False)
    if kind is Wire.TIME:
        return st.integers(-378_691_200_000, 5_283_619_199_999).map(lambda ms: ms * MS)
    return st.integers(0, wire.ones(kind))


def test_telemetry_is_these_bytes() -> None:
    packet = pack_telemetry(APID, 17, 2, 5, 3, NOON_UTC_NS, True, b"")
    assert (
        packet.hex(" ")
        == (
            "08 64 c0 05 00 0f "  # telemetry with secondary header, APID 100, unsegmented, count 5, 16 bytes
            "21 11 02 00 03 00 00 "  # PUS-C, time set, service 17, subtype 2, message 3, destination 0
            "40 62 80 01 b7 74 7b "  # CDS: 20833 + 4383 = 25216 days since 1958, 28 800 123 ms
            + packet[-2:].hex(" ")
        )
    )
    assert is_whole(packet)


def test_a_sealed_command_is_these_bytes() -> None:
    packet = seal(KEY, 7, APID, 17, 1, 5, b"")
    assert packet.hex(" ").startswith(
        "18 64 c0 05 00 16 "  # telecommand with secondary header, APID 100, count 5, 23 bytes
        "2f 11 01 00 00 "  # PUS-C, all reports wanted, service 17, subtype 1, source 0
        "00 00 00 00 00 00 00 07 "  # counter
    )
    # The tag: HMAC-SHA256 over the 19 bytes before it, cut to 8; by the standard library alone.
    import hashlib
    import hmac

    assert packet[19:27] == hmac.new(KEY, packet[:19], hashlib.sha256).digest()[:8]


@given(st.data())
def test_what_is_packed_and_unpacked_is_the_same(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from([kind for kind in Wire if kind is not Wire.PACKET])))
    fields = [Field(f"f{number}", kind) for number, kind in enumerate(kinds)]
    held = {field.name: data.draw(values(field.wire)) for field in fields}
    content = wire.pack_fields(fields, held)  # type: ignore[arg-type]
    assert wire.unpack_fields(fields, content) == (held, len(content))
    for size in range(len(content)):
        with pytest.raises(WireError):
            wire.unpack_fields(fields, content[:size])


@given(st.sampled_from([Wire.U8, Wire.U16, Wire.U32, Wire.U64]), st.integers(-(1 << 70), 1 << 70))
def test_a_number_that_does_not_fit_is_the_nearest_that_does(kind: Wire, number: int) -> None:
    (found, _) = wire.unpack(kind, wire.pack(kind, number), 0)
    assert found == min(max(number, 0), wire.ones(kind))


def test_no_value_is_all_ones_or_not_a_number() -> None:
    assert wire.pack(Wire.U32, None) == b"\xff" * 4
    assert math.isnan(float(wire.unpack(Wire.F64, wire.pack(Wire.F64, None), 0)[0]))
    assert wire.pack(Wire.TEXT, "Zürich") == b"\x06Z?rich"


@given(st.integers(-(1 << 70), 1 << 70))
def test_every_instant_has_a_time_and_those_of_the_range_come_back(utc_ns: int) -> None:
    found = wire.unpack_time(wire.pack_time(utc_ns))
    first, last = -4383 * 86_400_000 * MS, ((0x10000 - 4383) * 86_400_000 - 1) * MS
    assert found == min(max(utc_ns // MS * MS, first), last)


@pytest.mark.parametrize("report", list(every_report()), ids=lambda report: report.name)
def test_a_report_is_known_by_its_bytes(report: object) -> None:
    values = {field.name: None for field in report.fields}  # type: ignore[attr-defined]
    content = report.pack(values)  # type: ignore[attr-defined]
    assert report_of(report.service, report.subtype, content) is report  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_comes_through_as_it_was_sealed(command: object) -> None:
    inner = pack_telecommand(APID, 17, 1, 9, b"")
    samples = {Wire.PACKET: inner, Wire.TIME: NOON_UTC_NS, Wire.TEXT: "/a", Wire.F64: 0.5}
    group = {f.name: samples.get(f.wire, 3) for f in command.fields if f.name not in command.fixed}  # type: ignore[attr-defined]
    groups = [group, group] if command.repeats else [group]  # type: ignore[attr-defined]
    content = command.pack(*groups)  # type: ignore[attr-defined]
    packet = seal(KEY, 1, APID, command.service, command.subtype, 3, content)  # type: ignore[attr-defined]
    found = unpack_telecommand(packet, APID)
    arguments, counter = CommandGuard(KEY, 0).admit(found)
    assert (arguments, counter) == (content, 1)
    assert command_of(found.service, found.subtype, arguments) is command
    expected = [{**one, **command.fixed} for one in groups]  # type: ignore[attr-defined]
    assert command.unpack(arguments) == expected  # type: ignore[attr-defined]


@given(st.data())
@settings(max_examples=300)
def test_no_changed_bit_and_no_other_key_lets_a_command_through(data: st.DataObject) -> None:
    packet = bytearray(
        seal(KEY, 9, APID, 20, 3, 1, COMMANDS[-1].pack({"parameter_id": 1, "parameter_value": 1}))
    )
    assert failure_of(bytes(packet)) is None
    for place in data.draw(st.sets(st.integers(0, 8 * len(packet) - 1), min_size=1, max_size=40)):
        packet[place // 8] ^= 1 << place % 8
    assert failure_of(bytes(packet)) is not None


@given(st.integers(1, 1 << 63), st.integers(0, 1 << 63))
def test_a_counter_that_is_not_above_the_last_is_a_replay(counter: int, last: int) -> None:
    packet = seal(KEY, counter, APID, 17, 1, 1, b"")
    expected = None if counter > last else Failure.REPLAYED
    assert failure_of(packet, last) == expected


@given(st.binary(min_size=32, max_size=32).filter(lambda key: key != KEY))
def test_another_key_is_not_authentic(key: bytes) -> None:
    assert failure_of(seal(key, 1, APID, 17, 1, 1, b"")) is Failure.NOT_AUTHENTIC


@pytest.mark.parametrize(
    ("packet", "failure"),
    [
        (b"", Failure.BAD_LENGTH),
        (bytes(12), Failure.BAD_LENGTH),
        (bytes(TC_MAX_BYTES + 1), Failure.BAD_LENGTH),
        (seal(KEY, 1, APID, 17, 1, 1, b"")[:-1], Failure.BAD_LENGTH),
        (seal(KEY, 1, APID, 17, 1, 1, b"") + b"\0", Failure.BAD_LENGTH),
        (seal(KEY, 1, APID, 17, 1, 1, b"")[:-1] + b"\0", Failure.BAD_CHECKSUM),
        (seal(KEY, 1, APID + 1, 17, 1, 1, b""), Failure.ILLEGAL_APID),
        (pack_telemetry(APID, 17, 1, 1, 1, 0, True, bytes(TRAILER_BYTES)), Failure.ILLEGAL_APID),
        (pack_telecommand(APID, 17, 1, 1, b""), Failure.NOT_AUTHENTIC),
        (pack_telecommand(APID, 17, 1, 1, bytes(TRAILER_BYTES)), Failure.NOT_AUTHENTIC),
    ],
)
def test_what_is_no_command_of_ours_is_refused_with_its_reason(packet: bytes, failure: Failure) -> None:
    assert failure_of(packet) is failure


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33, KEY.hex() + " 00"])
def test_what_is_no_key_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"key\.txt: no command key"):
        parse_key(text, "key.txt")
    assert parse_key(KEY.hex() + "\n", "key.txt") == KEY


def telemetry(number: int, size: int) -> bytes:
    return pack_telemetry(APID, 17, 2, number, number, NOON_UTC_NS, True, bytes([number % 251]) * size)


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 50), max_size=30),
    noise=st.lists(st.binary(max_size=20), min_size=13, max_size=13),
)
@example(sizes=[0], cuts=[1] * 30, noise=[b"\x08"] * 13)
def test_whole_packets_come_out_however_the_stream_is_cut_and_whatever_lies_between(
    sizes: list[int], cuts: list[int], noise: list[bytes]
) -> None:
    packets = [telemetry(number, size) for number, size in enumerate(sizes)]
    wanted = packet_id_of(APID, is_command=False)
    between = [piece.replace(wanted[:1], b"\x07") for piece in noise]
    stream = b"".join(piece + packet for piece, packet in zip(between, packets, strict=False))
    scan = PacketScan([wanted], 4096)
    found, at = [], 0
    for cut in [*cuts, len(stream)]:
        found += scan.feed(stream[at : at + cut])
        at += cut
    found += scan.give_up()
    assert found == packets
    assert scan.discarded_bytes == len(stream) - sum(map(len, packets))


@given(
    sizes=st.lists(st.integers(0, 60), min_size=3, max_size=12),
    which=st.integers(0, 11),
    bit=st.integers(0, 16 * 8 - 1),
    cut=st.integers(1, 200),
)
def test_a_damaged_packet_costs_itself_alone_also_where_its_length_is_damaged(
    sizes: list[int], which: int, bit: int, cut: int
) -> None:
    packets = [telemetry(number, size) for number, size in enumerate(sizes)]
    hit = which % len(packets)
    damaged = bytearray(packets[hit])
    damaged[bit // 8] ^= 1 << bit % 8
    stream = b"".join([*packets[:hit], bytes(damaged), *packets[hit + 1 :]])
    scan = PacketScan([packet_id_of(APID, is_command=False)], 4096)
    found = [packet for at in range(0, len(stream), cut) for packet in scan.feed(stream[at : at + cut])]
    found += scan.give_up()
    assert found == [*packets[:hit], *packets[hit + 1 :]]
    assert scan.discarded_bytes == len(damaged)
    assert scan.held_bytes == 0


@given(
    kinds=st.lists(st.tuples(st.sampled_from([APID, APID + 1, APID + 2]), st.integers(0, 30)), max_size=12),
    cut=st.integers(1, 200),
)
def test_packets_of_several_ids_come_out_in_their_order_and_no_others(
    kinds: list[tuple[int, int]], cut: int
) -> None:
    packets = [
        (apid, pack_telemetry(apid, 17, 2, number, 0, NOON_UTC_NS, True, bytes(size)))
        for number, (apid, size) in enumerate(kinds)
    ]
    stream = b"".join(packet for _, packet in packets)
    scan = PacketScan([packet_id_of(apid, is_command=False) for apid in (APID + 2, APID)], 4096)
    found = [packet for at in range(0, len(stream), cut) for packet in scan.feed(stream[at : at + cut])]
    assert found + scan.give_up() == [packet for apid, packet in packets if apid != APID + 1]


@pytest.mark.parametrize(
    "crafted",
    [b"\x18\x64\xc0\x00\x07\xf0" * 10_000, b"\x18\x64" * 30_000, b"\x18\x64\xc0\x00\x00\x01" * 10_000],
)
def test_rule_6_what_is_made_to_cost_much_costs_its_own_datagram_and_a_bounded_effort(
    crafted: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    effort = [0, 0]

    def counted(packet: bytes) -> bool:
        effort[0] += 1
        effort[1] += len(packet)
        return is_whole(packet)

    monkeypatch.setattr(packet_scan, "is_whole", counted)
    scan = PacketScan([packet_id_of(APID, is_command=True)], TC_MAX_BYTES)
    genuine = seal(KEY, 1, APID, 17, 1, 1, b"")
    assert scan.feed(crafted) + scan.give_up() == []
    assert effort[0] * LOOK_BYTES + effort[1] <= WASTED_MAX_BYTES + LOOK_BYTES + TC_MAX_BYTES
    assert scan.discarded_bytes == len(crafted)
    assert scan.feed(genuine) == [genuine]


def test_rule_6_what_is_damaged_by_chance_hides_nothing_behind_it() -> None:
    """As much as comes in one piece, all of it damaged; then one that is not."""
    packets = [bytearray(telemetry(number, number % 40)) for number in range(1500)]
    for packet in packets:
        packet[-1] ^= 1
    scan = PacketScan([packet_id_of(APID, is_command=False)], 4096)
    last = telemetry(1, 1)
    assert scan.feed(b"".join(map(bytes, packets)) + last) + scan.give_up() == [last]


def test_a_cut_packet_whose_crc_fits_over_its_neighbour_by_chance_does_not_cost_the_neighbour() -> None:
    # A command cut off in its content; its missing bytes are taken from the next one, and the
    # last two of the first content are chosen so that the CRC-16 over both fits.
    neighbour = seal(KEY, 2, APID, 17, 1, 2, b"")
    whole = seal(KEY, 1, APID, 8, 1, 1, b"\x03\x0a" + b"x" * 10)
    head, tail = whole[:21], neighbour[: len(whole) - 23]
    chimera = next(
        packet for chosen in range(1 << 16) if is_whole(packet := head + chosen.to_bytes(2, "big") + tail)
    )
    stream = chimera + neighbour[len(tail) :]
    naive, careful = (
        PacketScan([packet_id_of(APID, is_command=True)], TC_MAX_BYTES),
        PacketScan([packet_id_of(APID, is_command=True)], TC_MAX_BYTES, CommandGuard(KEY, 0).is_authentic),
    )
    assert neighbour not in [*naive.feed(stream), *naive.give_up()]
    assert [*careful.feed(stream), *careful.give_up()] == [chimera, neighbour]
    assert careful.discarded_bytes == len(stream) - len(neighbour)
