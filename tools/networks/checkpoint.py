"""Keeps trained weights between `tools.train` and `tools.quantize`: arrays and JSON, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


def save(network: nn.Module, record: dict[str, Any], folder: Path, name: str) -> None:
    """Write ``name``.npz (weights) and ``name``.json (everything else) into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: value.detach().numpy() for key, value in network.state_dict().items()}
    np.savez(folder / f"{name}.npz", **arrays)
    save_record(record, folder, name)


def save_record(record: dict[str, Any], folder: Path, name: str) -> None:
    (folder / f"{name}.json").write_text(json.dumps(record, sort_keys=True, indent=2) + "\n")


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """The record as JSON gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(record))
    return found


def holds(record: dict[str, Any], folder: Path, name: str) -> bool:
    """Whether ``folder`` has the weights of a run whose record says all that ``record`` says."""
    if not (folder / f"{name}.npz").exists() or not (folder / f"{name}.json").exists():
        return False
    kept = load_record(folder, name)
    return all(kept.get(key) == value for key, value in plain(record).items())


def load_record(folder: Path, name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return record


def load_weights(network: nn.Module, folder: Path, name: str) -> None:
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        state = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    network.load_state_dict(state)
