"""Tile records and queue entries as rows of the product store."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from payload.types import ProductKind, QueueEntry, SceneStats, TileRecord, Window


@dataclass(frozen=True, slots=True)
class StoreCounters:
    """Over the whole life of the store: accepted = acknowledged + evicted + still queued."""

    accepted_entries: int
    accepted_bytes: int
    evicted_entries: int
    evicted_bytes: int
    acknowledged_entries: int
    acknowledged_bytes: int


def text_of(record: TileRecord) -> str:
    """All of a record but its key and thumbnail, as one JSON document."""
    planes, rows, cols = record.thumbnail.shape
    return json.dumps(
        {
            "inner": asdict(record.inner),
            "stats": asdict(record.stats),
            "engines": dict(record.engines),
            "product_bytes": dict(record.product_bytes),
            "product_values": dict(record.product_values),
            "thumbnail": [planes, rows, cols],
        }
    )


def key_of(record: TileRecord) -> tuple[str, int]:
    """What tells a tile from every other."""
    return record.strip_id, record.index


def entry_of(entry_id: int, product_id: str, kind: str, *rest: Any) -> QueueEntry:
    """The entry of a row of the product table."""
    return QueueEntry(entry_id, product_id, ProductKind(kind), *rest)


def record_of(strip_id: str, index: int, text: str, thumbnail: bytes) -> TileRecord:
    """The record of a row of the tile table."""
    known = json.loads(text)
    return TileRecord(
        strip_id,
        index,
        Window(**known["inner"]),
        SceneStats(**known["stats"]),
        known["engines"],
        known["product_bytes"],
        known["product_values"],
        np.frombuffer(thumbnail, dtype=np.uint8).reshape(known["thumbnail"]),
    )
