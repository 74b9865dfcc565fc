"""A model version as a folder: manifest.json and the artifact files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from payload.errors import TrustError

MANIFEST = "manifest.json"


def read_manifest(folder: Path, limit_bytes: int) -> bytes:
    """The manifest as it lies on disk, at most ``limit_bytes``.

    Raises:
        TrustError: there is none, or it is too large to be one.
    """
    return _read(folder / MANIFEST, limit_bytes)


def read_files(folder: Path, size_bytes: Mapping[str, int]) -> dict[str, bytes]:
    """The named files, none longer than the manifest says.

    Raises:
        TrustError: one is missing or longer than it says.
    """
    return {name: _read(folder / name, size) for name, size in size_bytes.items()}


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(limit_bytes + 1)
    except OSError as error:
        raise TrustError(f"{path}: cannot read the model: {error.strerror}") from error
    if len(content) > limit_bytes:
        raise TrustError(f"{path}: longer than {limit_bytes} bytes; the model folder is damaged")
    return content
