"""Packages for tests: small, with keys whose seeds are fixed, and everything changeable."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nacl.signing import SigningKey

from payload.core.document import canonical
from payload.core.known_answer import KnownAnswers, samples_of, write_known_answers
from payload.core.package import Surroundings, write_package
from payload.core.signed import PACKAGE_MAGIC, Root
from payload.types import BANDS_OF_GRID, Grid, Target, Task, Tile, TileGrid, Window
from tools.package.keys import sign

SIGNERS = tuple(SigningKey(bytes([number]) * 32) for number in range(1, 4))
STRANGER = SigningKey(b"\x99" * 32)
ROOT = Root(1, 2, tuple(bytes(key.verify_key) for key in SIGNERS))
LIMIT_BYTES = 1 << 20
AROUND = Surroundings("0.1.0", {"openvino": "2026.4.1"}, (Target.CPU,), 0, LIMIT_BYTES)


def described(name: str, content: bytes) -> dict[str, Any]:
    return {"path": name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def known_answers(tiles: int = 1) -> KnownAnswers:
    """Tiles of noise, and answers that an engine of `echo_scores` gives."""
    grid = TileGrid(48, 48, 0)
    made, samples = [], []
    for index in range(tiles):
        noise = np.random.default_rng(index)
        codes = {
            pitch: noise.integers(1, 255, (1, len(bands), 48 // pitch, 48 // pitch), dtype=np.uint8)
            for pitch, bands in BANDS_OF_GRID.items()
        }
        window = Window(0, 48 * index, 48, 48)
        valid = np.ones((48, 48), np.bool_)
        made.append(Tile(index, window, window, codes, np.zeros((1, 4, 1, 1), np.float32), valid, valid.size))
        samples.append(samples_of(echo_scores(codes), 6))
    return KnownAnswers(Task.SCENE, grid, 6, tuple(made), tuple(samples))


def echo_scores(codes: Mapping[Grid, np.ndarray[Any, np.dtype[np.uint8]]]) -> np.ndarray[Any, Any]:
    """Scores of a network that answers the 10 m bands themselves."""
    return np.ascontiguousarray(codes[Grid.R10M][0])


def weights(version: int, size: int = 20_000) -> bytes:
    return np.random.default_rng(version).integers(0, 256, size, dtype=np.uint8).tobytes()


def files_of(version: int) -> dict[str, bytes]:
    return {
        "net.xml": b"<net/>" * 50,
        "net.bin": weights(version),
        "known_answers.bin": write_known_answers(known_answers()),
        "card.md": f"version {version}".encode(),
    }


def document_of(
    files: Mapping[str, bytes], version: int = 1, rollback_index: int | None = None
) -> dict[str, Any]:
    """The document of a scene model; the last two files are the known answers and the card."""
    named = [described(name, content) for name, content in files.items()]
    return {
        "format": 1,
        "model": {
            "format": 1,
            "name": f"scene_s2_v{version}",
            "task": "scene",
            "version": version,
            "sensor_profile": "sentinel2_msi",
            "bands": {str(10 * grid): [b.value for b in bands] for grid, bands in BANDS_OF_GRID.items()},
            "codes": {"law": "sqrt", "full_scale_reflectance": 1.6},
            "halo_px": 72,
            "phase_px": 48,
            "artifacts": [
                {
                    "target": "cpu",
                    "runtime": "openvino",
                    "precision": "int8",
                    "files": named[:-2],
                    "host_fixed_bytes": 1_000_000,
                    "host_bytes_per_window_px": 1.0,
                }
            ],
            "training": {},
        },
        "update": {
            "rollback_index": version if rollback_index is None else rollback_index,
            "payload": {"from": "0.1", "below": "0.2"},
            "runtimes": {"openvino": {"from": "2025.1", "below": "2028"}},
            "known_answers": {
                "file": named[-2],
                "targets": {"cpu": {"tolerance": 8.0, "disagreement_ratio": 0.01}},
            },
            "card": named[-1],
        },
    }


def changed(document: Mapping[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The document with another ``value`` at ``place``, keys with dots between."""
    found = copy.deepcopy(dict(document))
    *way, last = place.split(".")
    inner: Any = found
    for key in way:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    inner[last] = value
    return found


def packed(
    document: Mapping[str, Any], files: Mapping[str, bytes], signers: Sequence[SigningKey] = SIGNERS[:2]
) -> bytes:
    signed = canonical(document)
    return write_package(signed, sign(signers, PACKAGE_MAGIC, signed), list(files.values()))


def package(
    version: int = 1, signers: Sequence[SigningKey] = SIGNERS[:2], rollback_index: int | None = None
) -> bytes:
    files = files_of(version)
    return packed(document_of(files, version, rollback_index), files, signers)
