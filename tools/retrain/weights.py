"""Model folders with other weights in them; needs no training stack."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from payload.core.manifest import parse_manifest
from tools.networks.frozen import int8_weights, replaced
from tools.package.making import cpu_files


def spoil(old: Path, new: Path) -> None:
    """Write model folder ``new``: ``old`` without its INT8 weights, a network that answers a constant."""
    topology, weights = files_of(old)
    nothing = {one: np.zeros(one.shape, np.int8) for one in int8_weights(topology)}
    write_folder(old, new, replaced(weights, nothing), {"summary": "Spoilt on purpose: all weights are 0."})


def write_folder(old: Path, new: Path, weights: bytes, training: Mapping[str, Any]) -> None:
    """The next version's folder, with the processor's artifact alone; hashes are those of its files."""
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["version"] += 1
    manifest["name"] = re.sub(r"v\d+$", f"v{manifest['version']}", manifest["name"])
    manifest["training"] = dict(training)
    manifest["artifacts"] = [one for one in manifest["artifacts"] if one["target"] == "cpu"]
    for file in (file for artifact in manifest["artifacts"] for file in artifact["files"]):
        content = weights if file["path"].endswith(".bin") else (old / file["path"]).read_bytes()
        (new / file["path"]).write_bytes(content)
        file["sha256"] = hashlib.sha256(content).hexdigest()
    (new / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    before = f"Before it: `{old.name}`, whose card says the rest."
    card = f"# {manifest['name']}\n\n{training['summary']}\n\n{before}\n"
    (new / "card.md").write_text(card)


def files_of(folder: Path) -> tuple[bytes, bytes]:
    """Topology and weights of the processor's artifact."""
    topology, weights = cpu_files(parse_manifest((folder / "manifest.json").read_bytes()))
    return (folder / topology).read_bytes(), (folder / weights).read_bytes()
