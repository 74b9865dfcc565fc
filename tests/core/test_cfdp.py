"""Rules of `payload.core.cfdp`: two entities, a bad link between them, and restarts."""

from __future__ import annotations

import contextlib
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.core.cfdp import CfdpEntity, OutgoingFile, SegmentRequest, TransactionId
from payload.core.cfdp.checksums import CRC_32, MODULAR, NULL, FileChecksum
from payload.core.cfdp.extents import ExtentSet
from payload.core.cfdp.pdus import (
    REQUESTS_MAX,
    SEGMENT_OVERHEAD_BYTES,
    Acknowledgement,
    Eof,
    Finished,
    Head,
    Metadata,
    Nak,
    PduError,
    Segment,
    decode,
    encode,
)
from payload.core.cfdp.receiving import EXTENTS_MAX, NAKS_PER_ROUND
from tests.core.cfdp_link import FLIGHT, GROUND, NS_PER_S, End, Pass, Weather, parameters

LOSSES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3)
DOWN = Head(TransactionId(FLIGHT, 7), GROUND, is_acknowledged=True)


def ends(**changes: float) -> tuple[End, End]:
    return End(parameters(FLIGHT, GROUND, **changes)), End(parameters(GROUND, FLIGHT, **changes))


def some_files(source: random.Random) -> dict[str, bytes]:
    """One tiny, perhaps empty; one small; one of a hundred segments or so."""
    sizes = (source.randrange(400), source.randrange(1, 20_000), source.randrange(40_000, 120_000))
    return {f"P{number}": source.randbytes(size) for number, size in enumerate(sizes)}


def sizes_of(files: dict[str, bytes]) -> int:
    return sum(map(len, files.values()))


def transfer(loss: float, seed: int) -> tuple[int, int, int, int]:
    """Bytes of the files down, sent from flight, of the file up, sent from ground; asserts the promise."""
    source = random.Random(seed)
    flight, ground = ends()
    down, up = some_files(source), {"up": source.randbytes(3000)}
    for name, content in down.items():
        flight.put(name, content, source.random())
    ground.put("up", up["up"])
    weather = Weather(loss, double=0.01, damage=0.005, jitter_s=0.01)
    assert Pass(flight, ground, weather, seed).run(), f"seed {seed}: not closed at both ends"
    assert (ground.files, flight.files) == (down, up), f"seed {seed}"
    assert sorted(ground.deliveries) == sorted(down), f"seed {seed}: delivered twice"
    assert sorted(end.name for end in flight.ended if end.is_delivered) == sorted(down), f"seed {seed}"
    return sizes_of(down), flight.bytes_sent, sizes_of(up), ground.bytes_sent


def check_bytes(loss: float, seeds: range) -> str:
    """All of ``seeds`` at ``loss``: what went down, and both ways together, are under the bound."""
    rows = [transfer(loss, seed) for seed in seeds]
    files, down, files_up, up = (sum(column) for column in zip(*rows, strict=True))
    bound = 1 / (1 - loss) + 0.1
    both = (down + up) / (files + files_up)
    assert down / files <= bound
    assert both <= bound
    return f"| {loss:.0%} | {len(rows)} | {down / files:.3f} | {both:.3f} | {bound:.3f} |"


@pytest.mark.parametrize("loss", LOSSES)
def test_whatever_the_link_loses_all_files_arrive_and_both_ends_close(loss: float) -> None:
    check_bytes(loss, range(20))


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_thousand_seeds_at_each_loss(loss: float) -> None:
    print(check_bytes(loss, range(1000)))


def interrupted(seed: int, restarts: str) -> tuple[int, int]:
    """One transfer with a loss of signal in it: bytes sent again that had arrived, bytes allowed."""
    source = random.Random(seed)
    window = 8 * 1024
    flight, ground = ends(window_bytes=window, round_trip_min_s=0.008)
    files = some_files(source)
    for name, content in files.items():
        flight.put(name, content, source.random())
    run = Pass(flight, ground, Weather(delay_s=0.005), seed)
    stop_ns = int(source.uniform(0.0, 0.9) * sizes_of(files) * 8 / 2e6 * NS_PER_S)
    while run.now_ns < stop_ns and not run.is_over:
        run.step()
    run.lose_signal()
    for end in (flight, ground):
        if end is {"flight": flight, "ground": ground}.get(restarts) or restarts == "both":
            end.restart()
    run.find_signal(after_s=3600.0)
    assert run.run(limit_s=7200.0), f"seed {seed}"
    assert ground.files == files, f"seed {seed}"
    assert sorted(ground.deliveries) == sorted(files), f"seed {seed}: delivered twice"
    again = sum(end - start for _, start, end in flight.data_sent) - sizes_of(files)
    return again - run.dropped_bytes, {"none": 0, "both": 2}.get(restarts, 1) * window


@pytest.mark.parametrize("restarts", ["none", "flight", "ground", "both"])
def test_after_loss_of_signal_and_restart_at_most_one_window_is_sent_again(restarts: str) -> None:
    rows = [interrupted(seed, restarts) for seed in range(40)]
    assert all(again <= allowed for again, allowed in rows), rows
    assert restarts == "none" or max(again for again, _ in rows) > 0  # the cut does hit something


@pytest.mark.slow
@pytest.mark.parametrize("restarts", ["none", "flight", "ground", "both"])
def test_a_thousand_losses_of_signal(restarts: str) -> None:
    rows = [interrupted(seed, restarts) for seed in range(1000)]
    assert all(again <= allowed for again, allowed in rows)
    print(f"| {restarts} | {len(rows)} | {max(again for again, _ in rows)} | {rows[0][1]} |")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 20)), max_size=40))
def test_a_gap_map_is_a_set_of_bytes(steps: list[tuple[bool, int, int]]) -> None:
    extents, model = ExtentSet(), set()
    for is_add, start, length in steps:
        span = set(range(start, start + length))
        if is_add:
            assert extents.add(start, start + length) == len(span - model)
            model |= span
        else:
            extents.remove(start, start + length)
            model -= span
        assert {byte for low, high in extents for byte in range(low, high)} == model
        assert extents.size_bytes == len(model)
        ranges = list(extents)
        assert all(first[1] < second[0] for first, second in itertools.pairwise(ranges))
        missing = {byte for low, high in extents.gaps(5, 50) for byte in range(low, high)}
        assert missing == set(range(5, 50)) - model


heads = st.builds(
    Head,
    st.builds(TransactionId, st.integers(0, 65535), st.integers(0, 2**32 - 1)),
    st.integers(0, 65535),
    st.booleans(),
)
offsets = st.integers(0, 2**32 - 2048)
names = st.text(st.characters(blacklist_categories=["Cs"]), max_size=60)
conditions = st.sampled_from([0, 1, 4, 5, 6, 7, 8, 10, 15])
pdus = st.one_of(
    st.builds(Metadata, heads, offsets, st.sampled_from([0, 3, 15]), names, names, st.booleans()),
    st.builds(Segment, heads, offsets, st.binary(min_size=1, max_size=64)),
    st.builds(Eof, heads, conditions, st.integers(0, 2**32 - 1), offsets),
    st.builds(Finished, heads, conditions, st.booleans(), st.booleans()),
    st.builds(Acknowledgement, heads, st.booleans(), conditions),
    st.builds(
        Nak,
        heads,
        st.tuples(offsets, offsets),
        st.lists(offsets.map(lambda start: (start, start + 9)), max_size=REQUESTS_MAX).map(tuple),
    ),
)


@given(pdus)
def test_a_pdu_comes_back_as_it_went(pdu: Metadata | Segment) -> None:
    assert decode(encode(pdu)) == pdu


@given(st.binary(max_size=80) | pdus.map(encode), st.data())
@settings(max_examples=300)
def test_whatever_the_bytes_decoding_gives_a_record_or_a_pdu_error(raw: bytes, draw: st.DataObject) -> None:
    spoilt = bytearray(raw)
    for place in draw.draw(st.lists(st.integers(0, max(0, len(raw) - 1)), max_size=4)):
        if spoilt:
            spoilt[place] ^= draw.draw(st.integers(1, 255))
    with_crc = bytes(spoilt)
    if draw.draw(st.booleans()) and len(spoilt) > 2:  # the CRC right, the rest not
        import binascii

        with_crc = bytes(spoilt[:-2]) + binascii.crc_hqx(bytes(spoilt[:-2]), 0xFFFF).to_bytes(2, "big")
    with contextlib.suppress(PduError):
        decode(with_crc)


@pytest.mark.parametrize("kind", [MODULAR, CRC_32, NULL])
@given(content=st.binary(max_size=50), cuts=st.lists(st.integers(0, 50), max_size=4))
def test_a_checksum_does_not_depend_on_the_chunks(kind: int, content: bytes, cuts: list[int]) -> None:
    whole, chunked = FileChecksum(kind), FileChecksum(kind)
    whole.feed(content)
    places = [0, *sorted(cuts), len(content)]
    for start, end in itertools.pairwise(places):
        chunked.feed(content[start : max(start, end)])
    assert chunked.value() == whole.value()


def test_the_modular_checksum_is_that_of_the_standard() -> None:
    """CCSDS 727.0-B-5, annex F: 15 bytes from 00 to 0E."""
    checksum = FileChecksum(MODULAR)
    checksum.feed(bytes(range(15)))
    assert checksum.value() == 0x181C2015


def delivered(files: dict[str, bytes]) -> tuple[End, End, list[tuple[End, bytes]]]:
    """Both ends after a clean pass, and every PDU with the end that heard it."""
    flight, ground = ends()
    for name, content in files.items():
        flight.put(name, content)
    run = Pass(flight, ground, Weather(), 1)
    heard = []
    while not run.is_over:
        kind, end, raw = run._events[0][2:5]
        if kind == "hear":
            heard.append((end, raw))
        run.step()
    return flight, ground, heard


def test_a_closed_transaction_is_never_opened_again_and_still_answers() -> None:
    flight, ground, heard = delivered({"a": b"x" * 5000, "b": b""})
    for is_restarted in (False, True):
        if is_restarted:
            flight.restart()
            ground.restart()
            for end in (flight, ground):
                end.entity.thaw(0)
        for end, raw in heard:
            end.entity.receive(raw, 10**12)
            end.perform()
        assert (ground.deliveries, len(flight.ended)) == (["a", "b"], 2)
        assert (ground.journal, flight.journal) == ({}, {})
        answers = []
        while (raw := ground.pull(10**12)) is not None:
            answers.append(decode(raw))
        kinds = sorted(type(answer).__name__ for answer in answers)
        assert kinds == ["Acknowledgement"] * 2 + ["Finished"] * 2
        while flight.pull(10**12) is not None:
            pass


def pulled(entity: CfdpEntity, now_ns: int, most: int = 10_000) -> list[object]:
    """What the entity sends now: PDUs, and segment requests."""
    found: list[object] = []
    while len(found) < most and (one := entity.next_outgoing(now_ns)) is not None:
        found.append(one if isinstance(one, SegmentRequest) else decode(one))
    return found


def entity_with(*files: OutgoingFile, **changes: float) -> CfdpEntity:
    entity = CfdpEntity(parameters(FLIGHT, GROUND, **changes), 1)
    entity.thaw(0)
    for file in files:
        entity.put(file)
    return entity


def test_what_is_asked_for_again_goes_at_the_priority_of_its_file() -> None:
    entity = entity_with(OutgoingFile("low", 3000, 0, 1.0))
    pulled(entity, 0)
    entity.put(OutgoingFile("high", 3000, 0, 2.0))
    for sequence, start in ((1, 0), (1, 1024)):
        head = Head(TransactionId(FLIGHT, sequence), GROUND, True)
        entity.receive(encode(Nak(head, (0, 3000), ((start, start + 1024),))), NS_PER_S)
    names = [one.name for one in pulled(entity, NS_PER_S) if isinstance(one, SegmentRequest)]
    assert names == ["high"] * 3 + ["low"] * 2
    entity.put(OutgoingFile("late", 1024, 0, 0.5))
    entity.prioritise({"late": 9.0})
    head = Head(TransactionId(FLIGHT, 2), GROUND, True)
    entity.receive(encode(Nak(head, (0, 3000), ((0, 1024),))), 2 * NS_PER_S)
    names = [one.name for one in pulled(entity, 2 * NS_PER_S) if isinstance(one, SegmentRequest)]
    assert names == ["late", "high"]


def test_what_was_sent_again_just_now_does_not_go_once_more() -> None:
    entity = entity_with(OutgoingFile("a", 3000, 0, 1.0))
    pulled(entity, 0)
    nak = encode(Nak(Head(TransactionId(FLIGHT, 1), GROUND, True), (0, 3000), ((0, 1024),)))
    for now_ns, segments in ((NS_PER_S, 1), (NS_PER_S + 70_000_000, 0), (2 * NS_PER_S, 1)):
        entity.receive(nak, now_ns)
        entity.receive(nak, now_ns)  # the link doubled it
        assert len(pulled(entity, now_ns)) == segments


def test_nothing_outside_what_was_sent_goes_because_of_a_nak() -> None:
    entity = entity_with(OutgoingFile("a", 30_000, 0, 1.0))
    before = pulled(entity, 0, most=4)
    assert [one.offset for one in before if isinstance(one, SegmentRequest)] == [0, 1024, 2048]
    nak = Nak(Head(TransactionId(FLIGHT, 1), GROUND, True), (0, 2**32 - 1), ((2048, 2**32 - 1),))
    entity.receive(encode(nak), NS_PER_S)
    requests = [one for one in pulled(entity, NS_PER_S) if isinstance(one, SegmentRequest)]
    assert [(one.offset, one.is_again) for one in requests[:2]] == [(2048, True), (3072, False)]
    assert sum(one.length for one in requests) == 30_000 - 2048


def test_a_file_of_which_the_end_was_never_sent_cannot_be_finished() -> None:
    entity = entity_with(OutgoingFile("a", 5000, 0, 1.0))
    pulled(entity, 0, most=3)
    finished = encode(Finished(Head(TransactionId(FLIGHT, 1), GROUND, True), 0, True, True))
    entity.take_effects()
    entity.receive(finished, 0)
    assert (entity.take_effects(), list(entity.sending())) == ([], ["a"])
    assert entity.counters.pdus_strange == 1
    pulled(entity, 0)
    entity.receive(finished, 0)
    assert list(entity.sending()) == []
    assert [type(one) for one in pulled(entity, 0)] == [Acknowledgement]


def test_frozen_it_sends_nothing_and_its_timers_stand_still() -> None:
    entity = entity_with(OutgoingFile("a", 1000, 0, 1.0), answer_limit=2)
    assert len(pulled(entity, 0)) == 3
    entity.freeze()
    for now_s in range(1, 100):
        entity.tick(now_s * NS_PER_S)
        assert pulled(entity, now_s * NS_PER_S) == []
    entity.thaw(100 * NS_PER_S)
    (eof,) = pulled(entity, 100 * NS_PER_S)
    assert isinstance(eof, Eof)


def test_without_a_word_a_transaction_rests_until_something_is_heard() -> None:
    entity = entity_with(OutgoingFile("a", 1000, 0, 1.0), OutgoingFile("b", 1000, 0, 1.0), answer_limit=3)
    eofs = []
    for now_s in range(60):
        entity.tick(now_s * NS_PER_S)
        eofs += [one for one in pulled(entity, now_s * NS_PER_S) if isinstance(one, Eof)]
    assert len(eofs) == 2 * (1 + 3)
    entity.receive(encode(Acknowledgement(Head(TransactionId(FLIGHT, 1), GROUND, True), False, 0)), 10**12)
    assert [type(one) for one in pulled(entity, 10**12)] == [Eof]  # the other's


def test_the_lists_of_a_nak_and_the_gap_map_are_bounded() -> None:
    """Every other byte range of a large file is lost, and segments come one by one."""
    ground = End(parameters(GROUND, FLIGHT))
    ground.entity.thaw(0)
    pieces = 2 * EXTENTS_MAX
    for number in range(0, 2 * pieces, 2):
        ground.entity.receive(encode(Segment(DOWN, number * 8, b"12345678")), 0)
    ground.entity.receive(encode(Metadata(DOWN, 16 * pieces, 3, "a", "a")), 0)
    ground.entity.receive(encode(Eof(DOWN, 0, 0, 16 * pieces)), 0)
    ground.perform()
    (snapshot,) = ground.journal.values()
    assert len(snapshot.extents) == EXTENTS_MAX  # type: ignore[union-attr]
    naks = [one for one in pulled(ground.entity, 0) if isinstance(one, Nak)]
    assert [len(nak.requests) for nak in naks] == [REQUESTS_MAX] * NAKS_PER_ROUND
    assert max(len(encode(nak)) for nak in naks) <= 512


def test_metadata_that_never_came_is_asked_for() -> None:
    flight, ground = ends()
    flight.put("a", b"content" * 500)
    flight.entity.thaw(0)
    lost = flight.pull(0)
    assert isinstance(decode(lost or b""), Metadata)
    assert Pass(flight, ground, Weather(), 1).run()
    assert ground.files == flight.sources


@pytest.mark.parametrize(("loss", "arrives"), [(0.0, True), (0.4, False)])
def test_class_1_asks_for_nothing_and_drops_what_is_not_whole(loss: float, arrives: bool) -> None:
    flight, ground = ends(answer_limit=3)
    flight.put("a", b"content" * 5000, is_acknowledged=False)
    run = Pass(flight, ground, Weather(loss), 3)
    assert run.run(limit_s=60.0)
    assert ground.bytes_sent == 0
    assert ground.files == (flight.sources if arrives else {})
    assert ground.parts == {}


def test_a_cancelled_file_goes_no_further_and_the_other_end_drops_its_part() -> None:
    flight, ground = ends()
    flight.put("a", b"content" * 50_000)
    run = Pass(flight, ground, Weather(loss=0.2), 3)
    while run.now_ns < NS_PER_S // 3:
        run.step()
    assert ground.parts
    flight.entity.cancel("a")
    flight.perform()
    assert run.run(limit_s=60.0)
    assert (ground.files, ground.parts, flight.ended) == ({}, {}, [])
    assert flight.bytes_sent < 200_000


def test_a_file_whose_checksum_is_wrong_is_refused_and_the_sender_told() -> None:
    flight, ground = ends()
    flight.put("a", b"content" * 500)
    flight.sources["a"] = b"changed" * 500  # the disk went bad after the checksum was made
    assert Pass(flight, ground, Weather(loss=0.2), 3).run()
    assert ground.files == {}
    assert [(end.condition, end.is_delivered) for end in flight.ended] == [(5, False)]


def test_a_file_larger_than_allowed_is_refused() -> None:
    flight, _ = ends()
    ground = End(parameters(GROUND, FLIGHT, file_max_bytes=10_000))
    flight.put("a", b"x" * 10_001)
    assert Pass(flight, ground, Weather(loss=0.1), 3).run()
    assert (ground.files, ground.parts) == ({}, {})
    assert [(end.condition, end.is_delivered) for end in flight.ended] == [(6, False)]


def test_the_transaction_that_was_silent_longest_makes_room_and_is_not_refused() -> None:
    ground = End(parameters(GROUND, FLIGHT, open_limit=4))
    ground.entity.thaw(0)
    for sequence in range(6):
        head = Head(TransactionId(FLIGHT, sequence), GROUND, True)
        ground.entity.receive(encode(Segment(head, 0, b"abc")), sequence * NS_PER_S)
        ground.perform()
    assert ground.entity.receiving() == 4
    assert {transaction.sequence for transaction in ground.parts} == {2, 3, 4, 5}
    assert ground.closed == {}


def test_a_pdu_for_another_entity_changes_nothing() -> None:
    ground = End(parameters(GROUND, FLIGHT))
    for source, destination in ((FLIGHT, 9), (9, GROUND), (GROUND, FLIGHT), (GROUND, GROUND)):
        head = Head(TransactionId(source, 1), destination, True)
        ground.entity.receive(encode(Metadata(head, 3, 3, "a", "a")), 0)
    assert (ground.entity.receiving(), ground.entity.take_effects()) == (0, [])
    assert ground.entity.counters.pdus_strange == 4


def test_the_overhead_of_a_segment_is_as_stated() -> None:
    assert len(encode(Segment(DOWN, 0, b"x" * 100))) == 100 + SEGMENT_OVERHEAD_BYTES
