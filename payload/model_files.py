"""A model as it lies in a folder: believed, or refused with the folder's name in front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from payload.core.manifest import (
    MANIFEST_MAX_BYTES,
    Artifact,
    ModelManifest,
    check_artifact,
    parse_manifest,
)
from payload.drivers.model_folder import read_files, read_manifest
from payload.errors import TrustError


def manifest_in(folder: Path) -> ModelManifest:
    """What ``folder`` says of its model.

    Raises:
        TrustError: it cannot be read or is not one.
    """
    content = read_manifest(folder, MANIFEST_MAX_BYTES)
    with _named(folder):
        return parse_manifest(content)


def files_in(folder: Path, artifact: Artifact) -> dict[str, bytes]:
    """The files of ``artifact`` in ``folder``, each of the size and hash of its manifest.

    Raises:
        TrustError: they are not, or cannot be read.
    """
    files = read_files(folder, {file.path: file.size_bytes for file in artifact.files})
    with _named(folder):
        check_artifact(artifact, files)
    return files


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """The core knows no paths: which of a board's models it refuses is said here."""
    try:
        yield
    except TrustError as error:
        raise TrustError(f"{folder}: {error}") from error
