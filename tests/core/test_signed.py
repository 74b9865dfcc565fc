"""The rules of core.signed and core.package: what is believed, and the number of each refusal."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.core.document import canonical
from payload.core.package import (
    Package,
    Surroundings,
    VersionRange,
    check_files,
    check_surroundings,
    read_package,
    write_package,
)
from payload.core.refusals import MEANINGS, Refusal
from payload.core.signed import (
    HEADER,
    HEADER_BYTES,
    PACKAGE_MAGIC,
    ROOT_MAGIC,
    Root,
    check_next_root,
    read_root,
    root_document,
    write_head,
)
from payload.errors import InstallError
from payload.types import Target
from tests import packages
from tests.packages import (
    AROUND,
    LIMIT_BYTES,
    ROOT,
    SIGNERS,
    STRANGER,
    changed,
    document_of,
    files_of,
    packed,
)
from tools.package.keys import root_file, sign

PACKAGE = packages.package()
FILES = files_of(1)
DOCUMENT = document_of(FILES)


def accept(content: bytes, root: Root | None = ROOT, around: Surroundings = AROUND) -> Package:
    """All that the payload checks before it writes."""
    package = read_package(content, len(content), root, LIMIT_BYTES)
    check_surroundings(package.manifest, around)
    check_files(package, iter([content[package.head_bytes :]]))
    return package


def refusal_of(content: bytes, root: Root | None = ROOT, around: Surroundings = AROUND) -> Refusal:
    with pytest.raises(InstallError) as refused:
        accept(content, root, around)
    assert "\n" not in str(refused.value)
    return Refusal(refused.value.code)


def with_document(place: str, value: object) -> bytes:
    return packed(changed(DOCUMENT, place, value), FILES)


def test_a_signed_package_is_taken_with_all_that_it_says() -> None:
    package = accept(PACKAGE)
    assert package.manifest.model.name == "scene_s2_v1"
    assert [place.file.path for place in package.places] == list(FILES)
    for place, content in zip(package.places, FILES.values(), strict=True):
        assert PACKAGE[place.start : place.start + place.file.size_bytes] == content


def test_every_refusal_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Refusal)


CASES = {
    "stranger": (packages.package(signers=[STRANGER, SIGNERS[0]]), Refusal.TOO_FEW_SIGNATURES),
    "nobody": (packages.package(signers=[]), Refusal.TOO_FEW_SIGNATURES),
    "one of two": (packages.package(signers=SIGNERS[:1]), Refusal.TOO_FEW_SIGNATURES),
    "empty": (b"", Refusal.WRONG_LENGTH),
    "short": (PACKAGE[:-1], Refusal.WRONG_LENGTH),
    "long": (PACKAGE + b"\0", Refusal.WRONG_LENGTH),
    "another kind": (b"PK\3\4" + PACKAGE[4:], Refusal.NOT_A_PACKAGE),
    "too large": (PACKAGE + bytes(LIMIT_BYTES), Refusal.TOO_LARGE),
    "format": (with_document("format", 2), Refusal.MALFORMED),
    "model": (with_document("model.halo_px", "wide"), Refusal.MALFORMED),
    "unknown key": (with_document("update.colour", 1), Refusal.MALFORMED),
    "same name": (with_document("update.card.path", "net.bin"), Refusal.MALFORMED),
    "payload": (with_document("update.payload", {"from": "0.2", "below": "1"}), Refusal.WRONG_PAYLOAD),
    "payload past": (with_document("update.payload", {"from": "0.0", "below": "0.1"}), Refusal.WRONG_PAYLOAD),
    "runtime": (
        with_document("update.runtimes.openvino", {"from": "2027", "below": "2028"}),
        Refusal.WRONG_RUNTIME,
    ),
    "no runtime": (with_document("update.runtimes", {}), Refusal.WRONG_RUNTIME),
    "size": (with_document("update.card.size_bytes", 10), Refusal.WRONG_LENGTH),
    "hash": (with_document("update.card.sha256", "0" * 64), Refusal.WRONG_HASH),
    "weights": (packed(DOCUMENT, {**FILES, "net.bin": packages.weights(9)}), Refusal.WRONG_HASH),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_refused_with_its_number(name: str) -> None:
    content, refusal = CASES[name]
    assert refusal_of(content) is refusal


def test_a_package_is_for_this_board_and_not_older_than_what_was_reached() -> None:
    assert refusal_of(PACKAGE, root=None) is Refusal.NO_ROOT
    assert refusal_of(PACKAGE, around=replace(AROUND, rollback_index=2)) is Refusal.OLD_INDEX
    assert accept(PACKAGE, around=replace(AROUND, rollback_index=1))
    assert refusal_of(PACKAGE, around=replace(AROUND, targets=(Target.MYRIAD,))) is Refusal.WRONG_HARDWARE
    both = replace(AROUND, targets=(Target.CPU, Target.MYRIAD))
    assert refusal_of(PACKAGE, around=both) is Refusal.WRONG_HARDWARE


def test_a_wrong_signature_of_a_known_key_refuses_all_even_beside_enough_good_ones() -> None:
    signed = canonical(DOCUMENT)
    signatures = sign(SIGNERS, PACKAGE_MAGIC, signed)
    wrong = replace(signatures[2], signature=signatures[0].signature)
    assert refusal_of(write_package(signed, [*signatures[:2], wrong], list(FILES.values()))) is (
        Refusal.WRONG_SIGNATURE
    )


def test_signatures_of_strangers_count_nothing_and_harm_nothing() -> None:
    accept(packages.package(signers=[*SIGNERS[:2], STRANGER]))


def test_the_same_key_twice_counts_once() -> None:
    signed = canonical(DOCUMENT)
    (one,) = sign(SIGNERS[:1], PACKAGE_MAGIC, signed)
    assert refusal_of(write_package(signed, [one, one], list(FILES.values()))) is Refusal.NOT_CANONICAL


def test_a_signature_over_one_kind_of_file_is_none_over_another() -> None:
    signed = canonical(DOCUMENT)
    content = write_package(signed, sign(SIGNERS, ROOT_MAGIC, signed), list(FILES.values()))
    assert refusal_of(content) is Refusal.WRONG_SIGNATURE


@pytest.mark.parametrize("blanks", [b" ", b"\n"])
def test_a_document_has_one_form(blanks: bytes) -> None:
    signed = canonical(DOCUMENT) + blanks
    content = write_package(signed, sign(SIGNERS, PACKAGE_MAGIC, signed), list(FILES.values()))
    assert refusal_of(content) is Refusal.NOT_CANONICAL


def test_the_package_of_the_same_content_is_the_same_whatever_the_order_of_signing() -> None:
    assert packages.package(signers=SIGNERS[:2]) == packages.package(signers=SIGNERS[1::-1])


DAMAGE_CODES = {Refusal.NOT_A_PACKAGE, Refusal.DAMAGED, Refusal.WRONG_LENGTH, Refusal.WRONG_HASH}


@settings(max_examples=400)
@given(st.integers(0, len(PACKAGE) * 8 - 1), st.integers(0, 63))
def test_no_flipped_bits_are_taken(place: int, apart: int) -> None:
    damaged = bytearray(PACKAGE)
    for bit in {place, min(place + apart, len(PACKAGE) * 8 - 1)}:
        damaged[bit // 8] ^= 1 << bit % 8
    assert refusal_of(bytes(damaged)) in DAMAGE_CODES


@settings(max_examples=200)
@given(st.integers(0, len(PACKAGE) - 1), st.binary(max_size=64))
def test_no_cut_or_spliced_package_is_taken(cut: int, tail: bytes) -> None:
    if PACKAGE[:cut] + tail != PACKAGE:
        assert refusal_of(PACKAGE[:cut] + tail) in DAMAGE_CODES


def forged(document: bytes) -> bytes:
    """The signatures of PACKAGE over another document, with a CRC that is right."""
    count = HEADER.unpack_from(PACKAGE)[2]
    place = HEADER_BYTES
    signatures = []
    for _ in range(count):
        signatures.append((PACKAGE[place : place + 32], PACKAGE[place + 32 : place + 96]))
        place += 96
    from payload.core.signed import Signature

    head = write_head(
        PACKAGE_MAGIC, [Signature(*pair) for pair in signatures], document, sum(map(len, FILES.values()))
    )
    return head + b"".join(FILES.values())


def one_change(document: bytes) -> Iterator[bytes]:
    for place in range(0, len(document), 97):
        yield document[:place] + bytes([document[place] ^ 1]) + document[place + 1 :]


def test_no_changed_document_passes_with_the_old_signatures() -> None:
    assert forged(canonical(DOCUMENT)) == PACKAGE
    for document in one_change(canonical(DOCUMENT)):
        assert refusal_of(forged(document)) is Refusal.WRONG_SIGNATURE


@given(st.binary(max_size=300))
def test_garbage_is_no_package(garbage: bytes) -> None:
    assert refusal_of(garbage) in {Refusal.NOT_A_PACKAGE, Refusal.WRONG_LENGTH}


NEXT = Root(2, 1, (bytes(STRANGER.verify_key),))


def rotation(root: Root, signers: list[int]) -> bytes:
    keys = [*SIGNERS, STRANGER]
    return root_file(root, [keys[number] for number in signers])


def test_a_root_is_followed_by_one_that_enough_of_both_have_signed() -> None:
    found, signed = read_root(rotation(NEXT, [0, 1, 3]))
    check_next_root(ROOT, found, signed)
    assert found == NEXT
    assert refusal_of(PACKAGE, root=NEXT) is Refusal.TOO_FEW_SIGNATURES


@pytest.mark.parametrize(
    ("root", "signers", "refusal"),
    [
        (NEXT, [0, 3], Refusal.TOO_FEW_SIGNATURES),
        (NEXT, [0, 1], Refusal.TOO_FEW_SIGNATURES),
        (replace(NEXT, version=3), [0, 1, 3], Refusal.ROOT_NOT_NEXT),
        (replace(NEXT, version=1), [0, 1, 3], Refusal.ROOT_NOT_NEXT),
    ],
)
def test_a_root_that_is_not_next_or_not_meant_is_refused(
    root: Root, signers: list[int], refusal: Refusal
) -> None:
    found, signed = read_root(rotation(root, signers))
    with pytest.raises(InstallError) as refused:
        check_next_root(ROOT, found, signed)
    assert refused.value.code == refusal


def test_a_root_whose_threshold_cannot_be_reached_is_malformed() -> None:
    for root in (replace(NEXT, threshold=2), Root(2, 2, (NEXT.keys[0], NEXT.keys[0]))):
        with pytest.raises(InstallError) as refused:
            read_root(rotation(root, [0, 1, 3]))
        assert refused.value.code == Refusal.MALFORMED


@settings(max_examples=200)
@given(st.integers(0, 8 * len(rotation(NEXT, [0, 1, 3])) - 1))
def test_no_flipped_bit_of_a_root_is_taken(bit: int) -> None:
    damaged = bytearray(rotation(NEXT, [0, 1, 3]))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InstallError):
        read_root(bytes(damaged))


@given(
    st.lists(st.integers(0, 99999), min_size=1, max_size=4),
    st.lists(st.integers(0, 99999), min_size=1, max_size=4),
)
def test_versions_are_ordered_by_their_numbers(first: list[int], second: list[int]) -> None:
    low, high = (".".join(map(str, numbers)) for numbers in (first, second))
    padded = [numbers + [0] * (4 - len(numbers)) for numbers in (first, second)]
    assert VersionRange(low, high).has(low) == (padded[0] < padded[1])
    assert not VersionRange(low, high).has(high)
    assert VersionRange("2025.1", "2028").has("2026.4.1-22019-0e4bd5b")


def test_the_layout_is_the_one_that_is_written_down() -> None:
    root = Root(1, 1, (bytes(STRANGER.verify_key),))
    content = root_file(root, [STRANGER])
    document = root_document(root)
    assert content[:8] == b"SKYROOT\n"
    assert struct.unpack(">HHIQ", content[8:24]) == (1, 1, len(document), len(content))
    assert content[28 + 96 :] == document
    assert document.startswith(b'{"format":1,"keys":["')
