"""Makes the delta between two model versions: each file told in the cheapest way."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from payload.core.delta import (
    DELTA_MAGIC,
    DICTIONARY_BYTES,
    ENTRY,
    ESCAPE,
    FORMAT,
    HEADER,
    NAME_BYTES,
    RAW_DEFLATE,
    Kind,
)
from payload.core.document import canonical
from payload.core.manifest import parse_manifest
from tools.package.making import Unpacked, unpack

MEMORY_LEVEL = 9


@dataclass(frozen=True)
class Old:
    """The files of the version that is on board, and its canonical model document."""

    files: Mapping[str, bytes]
    model: bytes


def read_old(path: Path) -> Old:
    """An old version: a package, or the model folder that is the factory's.

    Raises:
        InstallError, TrustError: neither.
    """
    if path.is_dir():
        content = (path / "manifest.json").read_bytes()
        manifest = parse_manifest(content)
        names = [file.path for artifact in manifest.artifacts for file in artifact.files]
        files = {name: (path / name).read_bytes() for name in [*names, "card.md"]}
        return Old(files, canonical(json.loads(content)))
    package = unpack(path.read_bytes())
    names = [file.path for file in package.manifest.files]
    model = canonical(json.loads(package.document)["model"])
    return Old(dict(zip(names, package.files, strict=True)), model)


def make_delta(old: Old, new: bytes) -> bytes:
    """The delta from which flight makes exactly the package ``new`` out of ``old``."""
    package = unpack(new)
    table, streams = [], []
    for file, content in zip(package.manifest.files, package.files, strict=True):
        kind, base, parts = _cheapest(content, old, file.path)
        lengths = [len(part) for part in parts] + [0] * (3 - len(parts))
        table.append(ENTRY.pack(kind, base, len(content), *lengths))
        streams += parts
    head = new[: len(new) - sum(map(len, package.files))]
    packed = _deflate(head, old.model)
    name = hashlib.sha256(old.model).digest()
    body = packed + b"".join(table)
    total_bytes = HEADER.size + NAME_BYTES + len(body) + sum(map(len, streams))
    sizes = (len(table), len(head), len(packed), total_bytes)
    first = HEADER.pack(DELTA_MAGIC, FORMAT, *sizes, 0)[:-4]
    rest = name + body + b"".join(streams)
    return first + struct.pack(">I", zlib.crc32(rest, zlib.crc32(first))) + rest


def describe_delta(old: Old, new: Unpacked, delta: bytes) -> str:
    """One line on what has become cheaper."""
    files = dict(zip([file.path for file in new.manifest.files], new.files, strict=True))
    changed = total = 0
    for name, content in files.items():
        before = old.files.get(name)
        if before is not None and len(before) == len(content) and name.endswith(".bin"):
            changed += int(np.count_nonzero(_bytes(before) != _bytes(content)))
            total += len(content)
    full = len(new.document) + sum(map(len, new.files))
    share = f", {changed / total:.1%} of {total} bytes in binary files changed" if total else ""
    return f"{len(delta)} bytes instead of {full}{share}"


def _cheapest(content: bytes, old: Old, name: str) -> tuple[Kind, bytes, list[bytes]]:
    base = old.files.get(name)
    choices: list[tuple[Kind, bytes, list[bytes]]] = [(Kind.WHOLE, bytes(NAME_BYTES), [_deflate(content)])]
    if base is not None:
        digest = hashlib.sha256(base).digest()
        if base == content:
            return Kind.SAME, digest, []
        choices.append((Kind.NEAR, digest, [_deflate(content, base)]))
        if len(base) == len(content):
            choices.append((Kind.SPARSE, digest, sparse_streams(base, content)))
    return min(choices, key=lambda choice: sum(map(len, choice[2])))


def sparse_streams(old: bytes, new: bytes) -> list[bytes]:
    """Distances, signs and magnitudes of the changes (`core.delta`)."""
    difference = _bytes(new) - _bytes(old)
    places = np.flatnonzero(difference)
    gaps = np.diff(places, prepend=-1) - 1
    distances = np.full(int((gaps // ESCAPE + 1).sum()), ESCAPE, np.uint8)
    distances[np.cumsum(gaps // ESCAPE + 1) - 1] = gaps % ESCAPE
    changes = difference[places].view(np.int8).astype(np.int16)
    magnitudes = (np.abs(changes) - 1).astype(np.uint8).tobytes()
    huffman = zlib.compressobj(9, zlib.DEFLATED, RAW_DEFLATE, MEMORY_LEVEL, zlib.Z_HUFFMAN_ONLY)
    packed = huffman.compress(distances.tobytes()) + huffman.flush()
    return [packed, np.packbits(changes < 0).tobytes(), _deflate(magnitudes)]


def _deflate(content: bytes, dictionary: bytes = b"") -> bytes:
    end = dictionary[-DICTIONARY_BYTES:]
    settings = (9, zlib.DEFLATED, RAW_DEFLATE, MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY)
    packer = zlib.compressobj(*settings, zdict=end) if end else zlib.compressobj(*settings)
    return packer.compress(content) + packer.flush()


def _bytes(content: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(content, np.uint8)
