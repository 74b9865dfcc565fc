"""The tables of the product store, and tile records and queue entries as their rows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from payload.types import ProductKind, QueueEntry, SceneStats, TileRecord, Window

APPLICATION_ID = 0x534B5951  # "SKYQ", in the file's header
SCHEMA_VERSION = 2

SCHEMA = (
    "CREATE TABLE strip (strip_id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL)",
    "CREATE TABLE tile (strip_id TEXT NOT NULL, tile_index INTEGER NOT NULL, record TEXT NOT NULL,"
    " thumbnail BLOB NOT NULL, PRIMARY KEY (strip_id, tile_index))",
    "CREATE TABLE product (entry_id INTEGER PRIMARY KEY, product_id TEXT NOT NULL UNIQUE,"
    " kind TEXT NOT NULL, size_bytes INTEGER NOT NULL, value REAL NOT NULL,"
    " created_utc_ns INTEGER NOT NULL, reason TEXT NOT NULL)",
    "CREATE TABLE body (entry_id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE hold (entry_id INTEGER PRIMARY KEY)",
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "INSERT INTO counter VALUES ('next_entry_id', 1), ('accepted_entries', 0), ('accepted_bytes', 0),"
    " ('evicted_entries', 0), ('evicted_bytes', 0), ('acknowledged_entries', 0), ('acknowledged_bytes', 0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

FORGET_THUMBNAILS = (
    "INSERT OR REPLACE INTO tile SELECT strip_id, tile_index, record, x'' FROM tile WHERE strip_id = ?"
)
"""Rows made anew: one that only shrinks leaves its page as empty as it makes it."""


@dataclass(frozen=True, slots=True)
class StoreCounters:
    """Over the whole life of the store: accepted = acknowledged + evicted + still queued.

    What found no room came and went: it is accepted and evicted.
    """

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
            "damaged_rows": record.damaged_rows,
        }
    )


def key_of(record: TileRecord) -> tuple[str, int]:
    """What tells a tile from every other."""
    return record.strip_id, record.index


def entry_of(entry_id: int, product_id: str, kind: str, *rest: Any) -> QueueEntry:
    """The entry of a row of the product table."""
    return QueueEntry(entry_id, product_id, ProductKind(kind), *rest)


def record_of(strip_id: str, index: int, text: str, thumbnail: bytes) -> TileRecord:
    """The record of a row of the tile table; a thumbnail that was forgotten has no rows."""
    known = json.loads(text)
    planes, rows, cols = known["thumbnail"]
    return TileRecord(
        strip_id,
        index,
        Window(**known["inner"]),
        SceneStats(**known["stats"]),
        known["engines"],
        known["product_bytes"],
        known["product_values"],
        np.frombuffer(thumbnail, dtype=np.uint8).reshape(planes, rows if thumbnail else 0, cols),
        known.get("damaged_rows", 0),  # a queue may be older than this count
    )
