"""Seeded instances of the downlink problem: what is made when, and which passes there are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from payload.config import AgeingConfig
from payload.core.value import product_value
from payload.types import ProductKind, QueueEntry, SceneStats
from tools.downlink.weights import INTEREST, SIZE_BYTES, TILE_PX, WEIGHTS

NS_PER_S = 1_000_000_000
_DAY_S = 86_400.0


@dataclass(frozen=True)
class PassSlot:
    """When a pass begins, and what it carries."""

    start_utc_ns: int
    capacity_bytes: int


@dataclass(frozen=True)
class Instance:
    """Products with their true values when made; ``cloud_ratio`` of each one's tile."""

    name: str
    entries: tuple[QueueEntry, ...]
    passes: tuple[PassSlot, ...]
    ageing: AgeingConfig
    cloud_ratio: tuple[float, ...]


def _passes(random: np.random.Generator, count: int, total_bytes: float) -> tuple[PassSlot, ...]:
    """``count`` passes over as many half days, unequal in length."""
    starts_s = np.sort(random.uniform(0.05, 1.0, count)) * count * _DAY_S / 2
    shares = random.uniform(0.5, 1.5, count)
    capacities = shares / shares.sum() * total_bytes
    return tuple(
        PassSlot(int(start * NS_PER_S), max(1, int(capacity)))
        for start, capacity in zip(starts_s, capacities, strict=True)
    )


def _instance(
    name: str,
    random: np.random.Generator,
    entries: list[QueueEntry],
    passes: int,
    load: float,
    cloud: list[float],
) -> Instance:
    """Arrivals spread over the passes, which together carry 1/``load`` of all bytes."""
    slots = _passes(random, passes, sum(entry.size_bytes for entry in entries) / load)
    tiles = sorted({entry.product_id.rpartition(".")[0] for entry in entries})
    made_ns = dict(zip(tiles, random.uniform(0, slots[-1].start_utc_ns, len(tiles)).astype(int), strict=True))
    placed = [
        replace(entry, created_utc_ns=int(made_ns[entry.product_id.rpartition(".")[0]])) for entry in entries
    ]
    ageing = AgeingConfig(float(random.uniform(1, 10)) * _DAY_S, 30 * _DAY_S)
    return Instance(name, tuple(placed), slots, ageing, tuple(cloud))


def _entry(number: int, tile: int, kind: ProductKind, size_bytes: float, value: float) -> QueueEntry:
    return QueueEntry(number, f"S.{tile:05d}.{kind.value}", kind, max(1, int(size_bytes)), value, 0, "")


def dense(seed: int) -> Instance:
    """300 to 800 products, each a small part of a pass; value and size hardly related."""
    random = np.random.default_rng([1, seed])
    count, passes = int(random.integers(300, 800)), int(random.integers(4, 12))
    sizes = random.lognormal(10.0, 0.8, count)
    values = random.lognormal(0.0, 1.0, count)
    entries = [
        _entry(n, n, ProductKind.CLASSES, size, float(value))
        for n, (size, value) in enumerate(zip(sizes, values, strict=True))
    ]
    return _instance("dense", random, entries, passes, float(random.uniform(1.5, 6)), [0.0] * count)


def layered(seed: int) -> Instance:
    """Tiles with preview, base and residual: nothing of a tile before what comes before it."""
    random = np.random.default_rng([2, seed])
    entries = []
    kinds = (ProductKind.QUICKLOOK, ProductKind.SURFACE_10M, ProductKind.RAW)
    for tile in range(int(random.integers(100, 200))):
        worth = float(random.lognormal(0.0, 1.0))
        for kind, size, share in zip(kinds, (4e3, 5e4, 9e4), (0.2, 1.0, 0.5), strict=True):
            size_bytes = size * random.lognormal(0.0, 0.4)
            value = worth * share * random.lognormal(0.0, 0.5)
            entries.append(_entry(len(entries), tile, kind, size_bytes, float(value)))
    load = float(random.uniform(1.5, 6))
    return _instance("layered", random, entries, int(random.integers(4, 10)), load, [0.0] * len(entries))


def lumpy(seed: int) -> Instance:
    """30 to 60 products, of which a pass carries a handful."""
    random = np.random.default_rng([3, seed])
    count, passes = int(random.integers(30, 60)), int(random.integers(3, 6))
    sizes = random.lognormal(14.0, 1.0, count)
    values = sizes**0.5 * random.lognormal(0.0, 0.7, count)
    entries = [
        _entry(n, n, ProductKind.SURFACE_10M, size, float(value))
        for n, (size, value) in enumerate(zip(sizes, values, strict=True))
    ]
    return _instance("lumpy", random, entries, passes, float(random.uniform(2, 6)), [0.0] * count)


def half_cloudy(seed: int) -> Instance:
    """Tiles as the payload makes them, half of the sky clouded: all kinds, their real sizes and
    values by `core.value`; a fifth of the tiles lie in an area that is worth three times as much."""
    random = np.random.default_rng([4, seed])
    entries: list[QueueEntry] = []
    cloud: list[float] = []
    for tile in range(150):
        covered = float(random.beta(0.35, 0.35))
        stats = SceneStats(TILE_PX, 0, 1 - covered, 0.7 * covered, 0.2 * covered, 0.1 * covered, 0.95)
        area = 3.0 if random.random() < 0.2 else 1.0
        for kind, size_bytes in SIZE_BYTES.items():
            if kind.value.startswith("surface") and stats.clear_ratio < 0.02:
                continue
            value, _ = product_value(kind, stats, WEIGHTS, TILE_PX, INTEREST, area)
            size = size_bytes * random.lognormal(0.0, 0.2)
            entries.append(_entry(len(entries), tile, kind, size, value))
            cloud.append(covered)
    return _instance("half cloudy", random, entries, 6, 4.0, cloud)


def many_tiles(seed: int) -> Instance:
    """900 to 1400 tiles of statistics, quick-look and class map, all there before four passes that
    are so short that a class map is larger than a fiftieth of one."""
    random = np.random.default_rng([5, seed])
    entries: list[QueueEntry] = []
    for tile in range(int(random.integers(900, 1400))):
        seen = float(random.uniform(0.4, 1.0))
        for kind, value in (
            (ProductKind.STATISTICS, WEIGHTS.statistics),
            (ProductKind.QUICKLOOK, WEIGHTS.quicklook * seen),
            (ProductKind.CLASSES, WEIGHTS.classes * seen),
        ):
            size = SIZE_BYTES[kind] * random.lognormal(0.0, 0.2)
            entries.append(_entry(len(entries), tile, kind, size, value))
    slots = _passes(random, 4, 4 * float(random.uniform(50e3, 500e3)))
    ageing = AgeingConfig(float(random.uniform(1, 10)) * _DAY_S, 30 * _DAY_S)
    return Instance("many tiles", tuple(entries), slots, ageing, (0.0,) * len(entries))
