"""Files that nobody has signed: whatever their bytes are, they are refused by a number."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payload.core.delta import DELTA_MAGIC, ENTRY, HEADER, NAME_BYTES, DeltaSource
from payload.core.document import decimal
from payload.core.signed import ROOT_MAGIC, read_root, write_head
from payload.errors import InstallError


def delta(packed: bytes, table: bytes, count: int, packed_bytes: int) -> bytes:
    """A delta whose CRC holds, whatever it says."""
    body = bytes(NAME_BYTES) + packed + table
    first = HEADER.pack(DELTA_MAGIC, 1, count, 0, packed_bytes, HEADER.size + len(body), 0)[:-4]
    return first + struct.pack(">I", zlib.crc32(body, zlib.crc32(first))) + body


@given(st.binary(max_size=200), st.integers(0, 64), st.integers(0, 300))
@example(b"y" * 10, 1, 0)
@example(b"y" * ENTRY.size, 1, 20)
def test_a_delta_with_any_table_is_refused(table: bytes, count: int, packed_bytes: int) -> None:
    content = delta(b"", table, count, packed_bytes)
    with pytest.raises(InstallError):
        DeltaSource(lambda start, size: content[start : start + size], len(content), lambda _: None, 1 << 20)


@pytest.mark.parametrize(
    "document",
    [
        b'{"format":1e999}',
        b'{"format":1,"keys":[],"threshold":1,"version":-1e999}',
        b'{"format":1' + b"0" * 400 + b"}",
        b'{"format":' + b"9" * 5000 + b"}",
        b"[" * 800 + b"]" * 800,
        b'{"a":' * 990 + b"1" + b"}" * 990,
        b'{"format":"\\ud800"}',
    ],
)
def test_a_root_file_with_any_document_is_refused(document: bytes) -> None:
    with pytest.raises(InstallError):
        read_root(write_head(ROOT_MAGIC, [], document, 0))


@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf"), float("nan"), True, "1"])
def test_a_number_out_of_its_bounds_is_a_fault_however_large(value: object) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        decimal(0.0, 1.0)(value)
