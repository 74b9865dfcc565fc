"""What a model says of itself, and whether that can be believed and used here.

Rules:
1. A manifest has all keys of its format and no other (``training`` is free); the first
   fault is named by its place in the document.
2. An artifact is believed when it has exactly the named files with their sizes and SHA-256.
   Nothing of an artifact reaches a runtime's parser before that.
3. A model fits when its task, bands, codes, halo, phase and cells are those that the
   program works with, and one artifact is for the configured target.

A signature over the manifest's bytes is checked before `parse_manifest`, where one is asked
for; the bytes, not the parsed document, are what is signed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from payload.core.document import (
    Place,
    decimal,
    mapping,
    member,
    read_document,
    text_like,
    whole,
)
from payload.core.probe import Disagreement
from payload.core.radiometry import FULL_SCALE_REFLECTANCE
from payload.errors import ConfigError, TrustError
from payload.types import BANDS_OF_GRID, Band, Grid, Precision, Target, Task, TileGrid

FORMAT = 1
MANIFEST_MAX_BYTES = 256 << 10
SENSOR_PROFILE = "sentinel2_msi"
CODES_LAW = "sqrt"

_FILE_MAX_BYTES = 1 << 30
_ARTIFACTS_MAX = 16
_FILES_MAX = 8
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_METRES_OF_GRID = {str(10 * grid): grid for grid in Grid}


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One file of an artifact; ``path`` is a plain name inside the model's folder."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A network for one target, and what it costs on the host.

    ``host_fixed_bytes``: resident memory once loaded; ``host_bytes_per_window_px``: that of
    each window in flight, per 10 m pixel; both measured when the artifact was made.
    ``disagreement``: how far its answers may lie from float32's; None permits none.
    """

    target: Target
    runtime: str
    precision: Precision
    files: tuple[ArtifactFile, ...]
    host_fixed_bytes: int
    host_bytes_per_window_px: float
    disagreement: Disagreement | None = None


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """A model version: one network, for every target that has an artifact.

    ``halo_px``: how far the network sees, phase included; ``phase_px``: windows start at
    multiples of it; ``cell_px``: pitch of the coarse output of a surface network, else None;
    ``sha256`` identifies the manifest, and through its hashes the weights.
    """

    name: str
    task: Task
    version: int
    sensor_profile: str
    bands: Mapping[Grid, tuple[Band, ...]]
    codes_law: str
    full_scale_reflectance: float
    halo_px: int
    phase_px: int
    cell_px: int | None
    artifacts: tuple[Artifact, ...]
    sha256: str


def parse_manifest(content: bytes) -> ModelManifest:
    """The manifest in ``content``, the bytes of a manifest.json.

    Raises:
        TrustError: it is not a manifest of this format; one line that names the place.
    """
    document = read_document(content, "manifest", MANIFEST_MAX_BYTES)
    return manifest_of(document, hashlib.sha256(content).hexdigest())


def manifest_of(document: Any, sha256: str) -> ModelManifest:
    """The manifest in a document that was read already and is called ``sha256``.

    Raises:
        TrustError: as `parse_manifest`.
    """
    top = Place(document, "manifest")
    if top.take("format", whole(1, 1 << 31)) != FORMAT:
        top.refuse("format", f"must be {FORMAT}, the only one that this payload reads")
    task = top.take("task", member(Task))
    codes = top.inside("codes")
    top.take("training", mapping)
    manifest = ModelManifest(
        name=top.take("name", text_like(_NAME)),
        task=task,
        version=top.take("version", whole(1, 1 << 31)),
        sensor_profile=top.take("sensor_profile", text_like(_NAME)),
        bands=_bands(top.inside("bands")),
        codes_law=codes.take("law", text_like(_NAME)),
        full_scale_reflectance=codes.take("full_scale_reflectance", decimal(0.01, 100.0)),
        halo_px=top.take("halo_px", whole(0, 4096)),
        phase_px=top.take("phase_px", whole(1, 4096)),
        cell_px=top.take("cell_px", whole(1, 4096)) if task is Task.SURFACE else None,
        artifacts=tuple(map(_artifact, top.each("artifacts", _ARTIFACTS_MAX))),
        sha256=sha256,
    )
    codes.end()
    top.end()
    targets = [artifact.target for artifact in manifest.artifacts]
    if len(set(targets)) != len(targets):
        top.refuse("artifacts", "two are for the same target")
    return manifest


def check_artifact(artifact: Artifact, files: Mapping[str, bytes]) -> None:
    """Returns if ``files`` (name to content) are what the manifest says of the artifact.

    Raises:
        TrustError: a file is missing, unnamed, of another size or of another content.
    """
    named = {file.path for file in artifact.files}
    if unnamed := sorted(set(files) - named):
        raise TrustError(f"{unnamed[0]}: not named in the manifest")
    for file in artifact.files:
        if file.path not in files:
            raise TrustError(f"{file.path}: missing; install the model again")
        content = files[file.path]
        if len(content) != file.size_bytes:
            raise TrustError(
                f"{file.path}: {len(content)} bytes where the manifest says {file.size_bytes}; "
                "install the model again"
            )
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise TrustError(f"{file.path}: its SHA-256 is not the manifest's; install the model again")


def check_model_fits(manifest: ModelManifest, task: Task, tiles: TileGrid, target: Target) -> Artifact:
    """The artifact for ``target`` of a model that can do ``task`` on windows of ``tiles``.

    Raises:
        ConfigError: the model does not fit; one line with what it has and what is needed.
    """
    for what, has, needed in (
        ("task", manifest.task.value, task.value),
        ("sensor profile", manifest.sensor_profile, SENSOR_PROFILE),
        ("bands", _band_words(manifest.bands), _band_words(BANDS_OF_GRID)),
        ("law of the codes", manifest.codes_law, CODES_LAW),
        ("full scale reflectance", manifest.full_scale_reflectance, FULL_SCALE_REFLECTANCE),
    ):
        if has != needed:
            raise ConfigError(f"model {manifest.name}: {what}: it has {has}, needed is {needed}")
    if manifest.halo_px > tiles.halo_px:
        raise ConfigError(
            f"model {manifest.name}: it sees {manifest.halo_px} px around a pixel, "
            f"the tiles' halo is {tiles.halo_px} px"
        )
    _check_steps(manifest, tiles)
    for artifact in manifest.artifacts:
        if artifact.target is target:
            return artifact
    has_targets = ", ".join(artifact.target.value for artifact in manifest.artifacts)
    raise ConfigError(f"model {manifest.name}: no artifact for target {target.value}; it has {has_targets}")


def _check_steps(manifest: ModelManifest, tiles: TileGrid) -> None:
    """Windows must start at the network's phase and be whole in its cells."""
    inner = {"inner_rows_px": tiles.inner_rows_px, "inner_columns_px": tiles.inner_columns_px}
    steps = [("phase", manifest.phase_px, inner)]
    if manifest.cell_px is not None:
        steps.append(("cell", manifest.cell_px, {**inner, "halo_px": tiles.halo_px}))
    for what, step_px, sizes in steps:
        for key, size_px in sizes.items():
            if size_px % step_px:
                raise ConfigError(
                    f"model {manifest.name}: its {what} of {step_px} px does not divide "
                    f"the tiles' {key} {size_px}"
                )


def _artifact(place: Place) -> Artifact:
    artifact = Artifact(
        target=place.take("target", member(Target)),
        runtime=place.take("runtime", text_like(_NAME)),
        precision=place.take("precision", member(Precision)),
        files=tuple(map(read_artifact_file, place.each("files", _FILES_MAX))),
        host_fixed_bytes=place.take("host_fixed_bytes", whole(0, 1 << 40)),
        host_bytes_per_window_px=place.take("host_bytes_per_window_px", decimal(0.0, 1e6)),
        disagreement=_disagreement(place.inside("disagreement")) if place.has("disagreement") else None,
    )
    place.end()
    if len({file.path for file in artifact.files}) != len(artifact.files):
        place.refuse("files", "one is named twice")
    return artifact


def _disagreement(place: Place) -> Disagreement:
    found = Disagreement(
        class_ratio=place.take("class_ratio", decimal(0.0, 1.0)),
        reflectance_dn=place.take("reflectance_dn", decimal(0.0, 1e4)),
    )
    place.end()
    return found


def read_artifact_file(place: Place) -> ArtifactFile:
    """Name, size and SHA-256 of one file; nothing else stands in ``place``."""
    file = ArtifactFile(
        path=place.take("path", text_like(_NAME)),
        size_bytes=place.take("size_bytes", whole(1, _FILE_MAX_BYTES)),
        sha256=place.take("sha256", text_like(_SHA256)),
    )
    place.end()
    return file


def _bands(place: Place) -> dict[Grid, tuple[Band, ...]]:
    bands = {grid: place.take(metres, _band_list) for metres, grid in _METRES_OF_GRID.items()}
    place.end()
    return bands


def _band_words(bands: Mapping[Grid, tuple[Band, ...]]) -> str:
    return "; ".join(" ".join(band.value for band in bands[grid]) for grid in Grid)


def _band_list(value: Any) -> tuple[Band, ...]:
    if not isinstance(value, list) or len(value) > len(Band):
        raise ValueError(f"must be a list of at most {len(Band)} bands")
    return tuple(map(member(Band), value))
