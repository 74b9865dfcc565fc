"""Rules of `payload.core.cfdp` on how transactions end: numbers used twice, cancellations, closure."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.core.cfdp import OutgoingFile, TransactionId, first_sequence_at
from payload.core.cfdp.pdus import (
    SEQUENCE_END,
    Acknowledgement,
    Eof,
    Finished,
    Head,
    Metadata,
    Pdu,
    PduError,
    Segment,
    decode,
    encode,
)
from payload.transfer_ports import CLOSED_TRANSFERS_MAX
from tests.core.cfdp_link import FLIGHT, GROUND, NS_PER_S, End, Pass, Weather, parameters

CHECKSUM_FAILURE, CANCELLED = 5, 15


def head_of(sequence: int, is_acknowledged: bool = True) -> Head:
    return Head(TransactionId(FLIGHT, sequence), GROUND, is_acknowledged)


def pdus_of(head: Head, name: str, body: bytes, wants_closure: bool = False) -> list[Pdu]:
    """A whole file in four PDUs at most."""
    found: list[Pdu] = [Metadata(head, len(body), 3, name, name, wants_closure)]
    if body:
        found.append(Segment(head, 0, body))
    return [*found, Eof(head, 0, crc32(body), len(body))]


def hear(end: End, pdus: Iterable[Pdu], now_ns: int = 0) -> None:
    """All of them in one turn."""
    for pdu in pdus:
        end.entity.receive(encode(pdu), now_ns)
    end.perform()


def said(end: End, now_ns: int = 0) -> list[Pdu]:
    found = []
    while (raw := end.pull(now_ns)) is not None:
        found.append(decode(raw))
    return found


def receiver(**changes: float) -> End:
    end = End(parameters(GROUND, FLIGHT, **changes))
    end.entity.thaw(0)
    return end


def finished_of(end: End, now_ns: int = 0) -> list[int]:
    """The conditions of the Finished PDUs that it says now."""
    return [pdu.condition for pdu in said(end, now_ns) if isinstance(pdu, Finished)]


bodies = st.binary(min_size=1, max_size=40)
stages = st.sampled_from(["partial", "end known", "judged", "closed"])


@given(bodies, bodies, stages, st.booleans(), st.booleans())
def test_a_file_is_never_confirmed_under_the_number_of_another(
    old: bytes, new: bytes, stage: str, is_restarted: bool, is_metadata_lost: bool
) -> None:
    """Whatever became of the first file: the second is there when NO_ERROR is said of its EOF."""
    end, head = receiver(), head_of(1)
    metadata, segment, eof = pdus_of(head, "old", old)
    hear(end, {"partial": [metadata], "end known": [metadata, eof]}.get(stage, [metadata, segment, eof]))
    said(end)
    if stage == "closed":
        hear(end, [Acknowledgement(head, True, 0)])
    if is_restarted:
        end.restart()
        end.entity.thaw(0)
        said(end)
    news = pdus_of(head, "new", new)
    hear(end, news[is_metadata_lost:], NS_PER_S)
    for condition in finished_of(end, NS_PER_S):
        assert condition != 0 or new in end.files.values()
    hear(end, news, 2 * NS_PER_S)  # it repeats its EOF until it is told how it ended
    ends = finished_of(end, 2 * NS_PER_S)
    assert ends
    assert 0 not in ends or new in end.files.values()
    if stage in ("judged", "closed"):
        assert end.files["old"] == old


def test_a_sender_whose_number_was_used_is_told_and_sends_again_under_another() -> None:
    first, ground = End(parameters(FLIGHT, GROUND)), End(parameters(GROUND, FLIGHT))
    first.put("a", b"first" * 500)
    assert Pass(first, ground, Weather(), 1).run()
    second = End(parameters(FLIGHT, GROUND))  # its disk is new, and its clock is not set
    second.put("b", b"second" * 500)
    again = Pass(second, ground, Weather(loss=0.2), 1)
    assert again.run()
    assert [(end.condition, end.is_delivered) for end in second.ended] == [(CHECKSUM_FAILURE, False)]
    assert ground.files == first.sources
    second.put("b", b"second" * 500)
    assert again.run()
    assert [end.is_delivered for end in second.ended] == [False, True]
    assert ground.files == first.sources | second.sources


def test_a_new_journal_begins_where_no_lost_one_has_been() -> None:
    set_ns = 1_800_000_000 * NS_PER_S
    assert first_sequence_at(set_ns) == 1_800_000_000
    assert first_sequence_at(set_ns + 7 * NS_PER_S) == 1_800_000_007
    unset = [first_sequence_at(40 * NS_PER_S + start) for start in range(0, 50_000, 1000)]
    gaps = [abs(one - other) for place, one in enumerate(unset) for other in unset[:place]]
    assert min(gaps) > 4096
    assert all(0 <= number < 2**32 for number in unset)


@pytest.mark.parametrize("body", [b"", b"content"])
def test_a_cancellation_while_the_file_is_checked_changes_nothing(body: bytes) -> None:
    end, head = receiver(), head_of(1)
    hear(end, [*pdus_of(head, "a", body), Eof(head, CANCELLED, 0, 0)])
    assert end.files == {"a": body}
    assert [pdu.condition for pdu in said(end) if isinstance(pdu, Finished)] == [0]


def test_a_file_that_is_checked_is_not_the_one_that_makes_room() -> None:
    end = receiver(open_limit=1)
    for pdu in pdus_of(head_of(1), "a", b"content"):
        end.entity.receive(encode(pdu), 0)
    end.entity.receive(encode(Segment(head_of(2), 0, b"other")), 100 * NS_PER_S)
    end.perform()
    assert end.files == {"a": b"content"}
    assert finished_of(end, 100 * NS_PER_S) == [0]


def test_a_delivered_file_that_makes_room_stays_delivered() -> None:
    end = receiver(open_limit=1)
    eof = pdus_of(head_of(1), "a", b"content")[-1]
    hear(end, pdus_of(head_of(1), "a", b"content"))
    said(end)
    hear(end, [Segment(head_of(2), 0, b"other")], 100 * NS_PER_S)
    said(end, 100 * NS_PER_S)
    hear(end, [eof], 101 * NS_PER_S)
    assert finished_of(end, 101 * NS_PER_S) == [0]


def conflicting() -> st.SearchStrategy[Pdu]:
    """PDUs of two files each under two numbers, of both classes, cancelled and acknowledged."""
    heads = st.builds(head_of, st.integers(1, 2), st.booleans())
    some = st.sampled_from([b"", b"one", b"other"])
    files = st.builds(pdus_of, heads, st.sampled_from(["a", "b"]), some, st.booleans())
    ends = st.builds(lambda head: [Eof(head, CANCELLED, 0, 3), Acknowledgement(head, True, 0)], heads)
    return st.one_of(files, ends).flatmap(st.sampled_from)


@given(st.lists(st.tuples(conflicting(), st.sampled_from(["", "", "", "perform", "restart"])), max_size=40))
@settings(max_examples=200)
def test_whatever_comes_in_one_turn_every_check_finds_its_transaction(steps: list[tuple[Pdu, str]]) -> None:
    end = receiver(open_limit=2)
    for number, (pdu, then) in enumerate(steps):
        end.entity.receive(encode(pdu), number * NS_PER_S)
        if then == "restart":
            end.perform()
            end.restart()
            end.entity.thaw(number * NS_PER_S)
        elif then == "perform":
            end.perform()
            said(end, number * NS_PER_S)
    end.perform()
    assert set(end.files.values()) <= {b"", b"one", b"other"}


@pytest.mark.parametrize("wants_closure", [False, True])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_class_1_is_told_the_end_once_if_it_asked_for_that(wants_closure: bool, is_restarted: bool) -> None:
    end = receiver(answer_limit=2)
    hear(end, pdus_of(head_of(1, is_acknowledged=False), "a", b"content", wants_closure))
    if is_restarted:
        end.restart()
        end.entity.thaw(0)
    conditions = []
    for now_s in range(10):
        end.entity.tick(now_s * NS_PER_S)
        conditions += finished_of(end, now_s * NS_PER_S)
    assert conditions == [0] * wants_closure
    assert (end.files, end.journal) == ({"a": b"content"}, {})


@pytest.mark.parametrize("sequence", [SEQUENCE_END - 1, SEQUENCE_END, 2**64 - 1])
def test_a_sequence_number_is_one_that_the_journal_can_keep(sequence: int) -> None:
    raw = encode(Metadata(Head(TransactionId(FLIGHT, sequence), GROUND, True, 2, 8), 3, 3, "a", "a"))
    if sequence < SEQUENCE_END:
        assert decode(raw).head.transaction.sequence == sequence
        return
    with pytest.raises(PduError, match="too large to be kept"):
        decode(raw)


def test_what_goes_out_does_not_push_out_what_is_known_of_what_came_in() -> None:
    """A recorded upload is no new one, however many products went down since."""
    end = receiver()
    recorded = pdus_of(head_of(1), "a", b"old")
    hear(end, [*recorded, Acknowledgement(head_of(1), True, 0)])
    end.files["a"] = b"new"
    for number in range(CLOSED_TRANSFERS_MAX):
        name = f"P{number}"
        sequence = end.entity.put(OutgoingFile(name, 0, 0, 1.0)).sequence
        end.sources[name] = b""
        said(end)
        own = Head(TransactionId(GROUND, sequence), FLIGHT, True)
        hear(end, [Acknowledgement(own, False, 0), Finished(own, 0, True, True)])
    assert end.entity.counters.files_delivered == CLOSED_TRANSFERS_MAX
    said(end)
    for is_restarted in (False, True):
        if is_restarted:
            end.restart()
            end.entity.thaw(0)
        hear(end, recorded)
        assert (end.files["a"], end.deliveries) == (b"new", ["a"])
