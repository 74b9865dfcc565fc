"""What must be the same for a run to go on where another stopped.

Rules:
1. All that decides what the products of a strip are counts: strip, missing bands, tiling, products,
   judge, value, interest, models.
2. What only decides how they are made does not: budget, slots, threads, queue, scratch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any

from payload.config import Config
from payload.types import StripInfo


def fingerprint(
    strip: StripInfo, config: Config, model_sha256: Mapping[str, str], areas_sha256: str = ""
) -> str:
    """64 hexadecimal digits: equal exactly if the products would be equal."""
    facts = {
        "strip": asdict(strip),
        "missing_bands": sorted(band.value for band in config.strip.missing_bands or ()),
        "inner_px": [config.tiles.inner_rows_px, config.tiles.inner_columns_px],
        "products": asdict(config.products),
        "judge": asdict(config.judge),
        "value": asdict(config.value),
        "interest": {**asdict(config.interest), "areas": areas_sha256},
        "models": dict(model_sha256),
    }
    return hashlib.sha256(json.dumps(_plain(facts), sort_keys=True).encode()).hexdigest()


def _plain(thing: Any) -> Any:
    """Enums by their value, also where they are keys, so that JSON can write them."""
    if isinstance(thing, Enum):
        return thing.value
    if isinstance(thing, dict):
        return {str(_plain(key)): _plain(item) for key, item in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(item) for item in thing]
    return thing
