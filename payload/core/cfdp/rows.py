"""Snapshots as one line of text each, for the journal, and back."""

from __future__ import annotations

import json
from typing import Any

from payload.core.cfdp.pdus import Head, TransactionId
from payload.core.cfdp.records import OutgoingFile, ReceiveSnapshot, SendSnapshot
from payload.errors import StoreError


def key_of(snapshot: SendSnapshot | ReceiveSnapshot) -> tuple[int, int]:
    """Source and sequence number of its transaction."""
    found = snapshot.transaction if isinstance(snapshot, SendSnapshot) else snapshot.head.transaction
    return found.source, found.sequence


def text_of(snapshot: SendSnapshot | ReceiveSnapshot) -> str:
    """All of it, as JSON."""
    if isinstance(snapshot, SendSnapshot):
        file = snapshot.file
        row: list[Any] = ["out", *key_of(snapshot)]
        row += [file.name, file.size_bytes, file.checksum, file.priority, file.is_acknowledged]
        row += [snapshot.progress, snapshot.is_eof_acknowledged, snapshot.is_cancelled]
    else:
        head = snapshot.head
        row = ["in", *key_of(snapshot), head.destination, head.is_acknowledged]
        row += [head.id_bytes, head.sequence_bytes, snapshot.name, snapshot.size_bytes]
        row += [snapshot.checksum_kind, snapshot.wants_closure, snapshot.eof]
        row += [snapshot.extents, snapshot.condition]
    return json.dumps(row, separators=(",", ":"))


def snapshot_of(text: str) -> SendSnapshot | ReceiveSnapshot:
    """What `text_of` wrote.

    Raises:
        StoreError: it did not write this.
    """
    try:
        way, source, sequence, *rest = json.loads(text)
        transaction = TransactionId(int(source), int(sequence))
        if way == "out":
            return SendSnapshot(transaction, OutgoingFile(*rest[:5]), *rest[5:])
        head = Head(transaction, *rest[:4])
        name, size_bytes, checksum_kind, wants_closure, eof, extents, condition = rest[4:]
        return ReceiveSnapshot(
            head,
            name,
            size_bytes,
            checksum_kind,
            wants_closure,
            (int(eof[0]), int(eof[1])) if eof else None,
            tuple((int(low), int(high)) for low, high in extents),
            condition,
        )
    except (ValueError, TypeError) as error:
        raise StoreError(f"a transfer in the journal is damaged: {error}") from error
