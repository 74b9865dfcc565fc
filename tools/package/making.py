"""From a model folder to a package, and signatures onto it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from payload import __version__
from payload.core.document import canonical
from payload.core.known_answer import WINDOW_MAX_PX, read_known_answers, write_known_answers
from payload.core.manifest import ModelManifest, check_artifact, parse_manifest
from payload.core.package import PackageManifest, package_manifest, write_package
from payload.core.signed import HEAD_MAX_BYTES, PACKAGE_MAGIC, Signature, read_head, read_header
from payload.types import Target, Task, TileGrid
from tools.package.keys import sign
from tools.package.known_tiles import answers_of, choose_tiles, side_by_side

KNOWN_ANSWERS = "known_answers.bin"
OWN_WINDOW = "known_answers_own_window.bin"
CARD = "card.md"

RUNTIME_RANGES = {"openvino": {"from": "2025.1", "below": "2028"}}
"""Runtimes whose answers were compared: the oldest that pyproject allows, and below the next untried."""

ANY_VERSION = {"from": "0", "below": "99999"}
"""For runtimes whose name says their version."""

TOLERANCES = {
    Target.CPU: {Task.SCENE: 8.0, Task.SURFACE: 0.01},
    Target.MYRIAD: {Task.SCENE: 24.0, Task.SURFACE: 0.03},
    Target.TFLITE: {Task.SCENE: 24.0, Task.SURFACE: 0.03},
}
"""The expected answers are the processor's. Eight steps of a score are 0.4 of a logit; 0.01 of a
ratio is what float32 leaves after another order of additions, a hundred times over. Float16
weights instead of INT8 ones, simulated, were 17 steps off at most and 1.6 % of the samples more
than 8; 1.2 % of the ratios were off by more than 0.01, 0.4 % by more than 0.02."""

DISAGREEMENT_RATIO = 0.01

_TFLITE = re.compile(r"(\d+)x(\d+)\.tflite$")


@dataclass(frozen=True)
class Unpacked:
    """A package in memory, its signatures not looked at."""

    manifest: PackageManifest
    document: bytes
    signatures: tuple[Signature, ...]
    files: tuple[bytes, ...]


def describe(name: str, content: bytes) -> dict[str, Any]:
    """A file as a manifest names it."""
    return {"path": name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def make_package(
    folder: Path,
    rollback_index: int,
    strip: Path,
    keys: Sequence[SigningKey] = (),
    payload_range: tuple[str, str] | None = None,
    known: bytes | None = None,
    targets: Collection[Target] | None = None,
) -> bytes:
    """The package of a model folder.

    Args:
        targets: pack the artifacts for these alone; None packs all. The processor's must be among
            them: its answers are the expected ones.
        strip: gives the known tiles; their expected answers are made here.
        known: known answers to keep the tiles of, instead of those of ``strip``.
    """
    model = json.loads((folder / "manifest.json").read_bytes())
    if targets is not None:
        wanted = {target.value for target in targets}
        model["artifacts"] = [artifact for artifact in model["artifacts"] if artifact["target"] in wanted]
    manifest = parse_manifest(canonical(model))
    files = _artifact_files(manifest, folder)
    known_files = _known_answers(manifest, files, strip, known)
    card = (folder / CARD).read_bytes()
    lowest, below = payload_range or _this_payload()
    document = {
        "format": 1,
        "model": model,
        "update": {
            "rollback_index": rollback_index,
            "payload": {"from": lowest, "below": below},
            "runtimes": {
                artifact.runtime: RUNTIME_RANGES.get(artifact.runtime, ANY_VERSION)
                for artifact in manifest.artifacts
            },
            "known_answers": {
                "file": describe(KNOWN_ANSWERS, known_files[KNOWN_ANSWERS]),
                **({"own_window": describe(OWN_WINDOW, own)} if (own := known_files.get(OWN_WINDOW)) else {}),
                "targets": {
                    artifact.target.value: _allowance(manifest.task, artifact.target)
                    for artifact in manifest.artifacts
                },
            },
            "card": describe(CARD, card),
        },
    }
    signed = canonical(document)
    package_manifest(signed)  # what is made is what is read
    return write_package(
        signed, sign(keys, PACKAGE_MAGIC, signed), [*files.values(), *known_files.values(), card]
    )


def unpack(content: bytes) -> Unpacked:
    """The parts of a package; trust is another question.

    Raises:
        InstallError: it is none, or damaged.
    """
    header = read_header(content[:HEAD_MAX_BYTES], PACKAGE_MAGIC, len(content))
    signed = read_head(content[: header.head_bytes], header)
    manifest = package_manifest(signed.document)
    files, start = [], header.head_bytes
    for file in manifest.files:
        files.append(content[start : start + file.size_bytes])
        start += file.size_bytes
    return Unpacked(manifest, signed.document, signed.signatures, tuple(files))


def add_signatures(content: bytes, keys: Sequence[SigningKey]) -> bytes:
    """The package with the signatures of ``keys`` besides those that it has."""
    package = unpack(content)
    signatures = {signature.key_id: signature for signature in package.signatures}
    for signature in sign(keys, PACKAGE_MAGIC, package.document):
        signatures[signature.key_id] = signature
    return write_package(package.document, list(signatures.values()), package.files)


def _artifact_files(manifest: ModelManifest, folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for artifact in manifest.artifacts:
        found = {file.path: (folder / file.path).read_bytes() for file in artifact.files}
        check_artifact(artifact, found)
        files |= found
    return files


def _known_answers(
    manifest: ModelManifest, files: Mapping[str, bytes], strip: Path, known: bytes | None
) -> dict[str, bytes]:
    """The files of known tiles: in their small window, and in that of the TFLite file."""
    tiles = choose_tiles(strip) if known is None else read_known_answers(known, manifest.task).tiles
    topology, weights = (files[name] for name in cpu_files(manifest))
    found = {KNOWN_ANSWERS: write_known_answers(answers_of(manifest.task, tiles, topology, weights))}
    window_px = own_window_px(manifest)
    if window_px is not None:
        larger = [side_by_side(tiles, window_px)]
        answers = answers_of(manifest.task, larger, topology, weights, TileGrid(*window_px, 0))
        found[OWN_WINDOW] = write_known_answers(answers)
    return found


def own_window_px(manifest: ModelManifest) -> tuple[int, int] | None:
    """Rows and columns of the one window that the TFLite file serves, by its name; None where there
    is no such file, or its window is larger than known tiles may be."""
    for artifact in manifest.artifacts:
        for file in artifact.files:
            if found := _TFLITE.search(file.path):
                rows_px, columns_px = int(found[1]), int(found[2])
                return (rows_px, columns_px) if max(rows_px, columns_px) <= WINDOW_MAX_PX else None
    return None


def cpu_files(manifest: ModelManifest) -> tuple[str, str]:
    """The names of topology and weights of the processor's artifact.

    Raises:
        ValueError: there is none.
    """
    for artifact in manifest.artifacts:
        if artifact.target is Target.CPU:
            names = [file.path for file in artifact.files]
            (topology,) = (name for name in names if name.endswith(".xml"))
            (weights,) = (name for name in names if name.endswith(".bin"))
            return topology, weights
    raise ValueError(f"{manifest.name}: no artifact for the processor; its answers are the expected ones")


def _allowance(task: Task, target: Target) -> dict[str, float]:
    return {"tolerance": TOLERANCES[target][task], "disagreement_ratio": DISAGREEMENT_RATIO}


def _this_payload() -> tuple[str, str]:
    major, minor = __version__.split(".")[:2]
    return f"{major}.{minor}", f"{major}.{int(minor) + 1}"
