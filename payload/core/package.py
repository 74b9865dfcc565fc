"""A model version as one signed file, and whether this payload may run it.

The document of a package:

    format      1
    model       the model's manifest, as in models/*/manifest.json (`core.manifest`)
    update      rollback_index; payload and runtimes: versions that it is made for, from
                (inclusive) and below (exclusive); known_answers: the file of known tiles and
                expected outputs, one more for the one window of a TFLite file, and per target the
                tolerance and the share of samples that may disagree; card: the file of the model card

Its files lie behind it in the order of `PackageManifest.files`: those of the artifacts, the
known answers, the card.

Rules:
1. The order of the checks is the order of trust: size, layout, CRC, signatures, then the
   document, the rollback index, versions, hardware and fit, then the hash of every file.
   No parser of a network sees a byte before all of them hold.
2. A rollback index equal to the one reached is allowed, so that a model can be repaired.
3. A package has a hash for every file and no byte besides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from payload.core.document import Place, canonical, decimal, mapping, text_like, whole
from payload.core.manifest import Artifact, ArtifactFile, ModelManifest, manifest_of, read_artifact_file
from payload.core.refusals import Refusal, refuse
from payload.core.signed import (
    FORMAT,
    PACKAGE_MAGIC,
    Root,
    Signature,
    Signed,
    check_signatures,
    read_canonical,
    read_head,
    read_header,
    write_head,
)
from payload.errors import TrustError
from payload.types import Target

_VERSION = re.compile(r"\d{1,5}(\.\d{1,5}){0,3}")


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions from ``lowest`` (inclusive) to ``below`` (exclusive)."""

    lowest: str
    below: str

    def has(self, version: str) -> bool:
        """Whether ``version`` lies inside; what follows its numbers is not looked at."""
        return _numbers(self.lowest) <= _numbers(version) < _numbers(self.below)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How far a device's answers may lie from the expected ones.

    ``tolerance``: of one sample, in units of the output (steps of a score; reflectance and
    other ratios); ``disagreement_ratio``: share of samples that may lie further.
    """

    tolerance: float
    disagreement_ratio: float


@dataclass(frozen=True, slots=True)
class PackageManifest:
    """A package's document.

    ``model.sha256`` is that of ``document``, the canonical model document, so the same weights
    have the same name in every package.
    """

    model: ModelManifest
    document: bytes
    rollback_index: int
    payload: VersionRange
    runtimes: Mapping[str, VersionRange]
    known_answers: ArtifactFile
    own_window: ArtifactFile | None
    """The same known tiles in the one window that the TFLite file serves, where there is one."""
    allowances: Mapping[Target, Allowance]
    card: ArtifactFile

    @property
    def files(self) -> tuple[ArtifactFile, ...]:
        """All files, in the order in which they lie in the package."""
        artifacts = [file for artifact in self.model.artifacts for file in artifact.files]
        return (*artifacts, *self.known_files, self.card)

    @property
    def known_files(self) -> tuple[ArtifactFile, ...]:
        """The files of known tiles."""
        return (self.known_answers, self.own_window) if self.own_window else (self.known_answers,)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a package must fit: this payload, its runtimes, its devices, its history.

    ``runtimes``: version of each runtime by its name in artifacts; ``targets``: devices that
    the configuration uses; ``rollback_index``: the highest that was confirmed for the task.
    """

    payload_version: str
    runtimes: Mapping[str, str]
    targets: tuple[Target, ...]
    rollback_index: int
    package_max_bytes: int


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a file lies inside its package."""

    file: ArtifactFile
    start: int


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose signatures hold; its files are still to be hashed (`check_files`)."""

    manifest: PackageManifest
    signed: Signed
    head_bytes: int

    @property
    def places(self) -> tuple[FilePlace, ...]:
        """Every file and its first byte."""
        places, start = [], self.head_bytes
        for file in self.manifest.files:
            places.append(FilePlace(file, start))
            start += file.size_bytes
        return tuple(places)


def read_package(head: bytes, size_bytes: int, root: Root | None, limit_bytes: int) -> Package:
    """The package of ``size_bytes`` that begins with ``head``, if enough keys have signed it.

    Args:
        head: the first HEAD_MAX_BYTES of the file, or all of it if it is shorter.
        root: who is believed; None where there is no root on board.

    Raises:
        InstallError: it is not to be believed.
    """
    if size_bytes > limit_bytes:
        raise refuse(Refusal.TOO_LARGE, f"{size_bytes} bytes, at most {limit_bytes} are taken")
    header = read_header(head, PACKAGE_MAGIC, size_bytes)
    signed = read_head(head, header)
    if root is None:
        raise refuse(Refusal.NO_ROOT, "there is no root file at updates.root")
    check_signatures(signed, root)
    manifest = package_manifest(signed.document)
    found = Package(manifest, signed, header.head_bytes)
    files_bytes = sum(file.size_bytes for file in manifest.files)
    if header.head_bytes + files_bytes != size_bytes:
        raise refuse(Refusal.WRONG_LENGTH, f"its files have {files_bytes} bytes, not the rest of the package")
    return found


def package_manifest(content: bytes) -> PackageManifest:
    """The manifest in ``content``, the canonical document of a package.

    Raises:
        InstallError: it is not one.
    """
    place = read_canonical(content, "package")
    try:
        if place.take("format", whole(1, 1 << 31)) != FORMAT:
            place.refuse("format", f"must be {FORMAT}, the only one that this payload reads")
        model = place.take("model", mapping)
        document = canonical(model)
        found = manifest_of(model, hashlib.sha256(document).hexdigest())
        manifest = _update(place.inside("update"), found, document)
        place.end()
    except TrustError as error:
        raise refuse(Refusal.MALFORMED, str(error)) from error
    names = [file.path for file in manifest.files]
    if len(set(names)) != len(names):
        raise refuse(Refusal.MALFORMED, "package: two files have the same name")
    return manifest


def _update(place: Place, model: ModelManifest, document: bytes) -> PackageManifest:
    known = place.inside("known_answers")
    runtimes = place.take("runtimes", mapping)
    targets = known.inside("targets")
    allowances = {
        artifact.target: _allowance(targets.inside(artifact.target.value)) for artifact in model.artifacts
    }
    targets.end()
    manifest = PackageManifest(
        model=model,
        document=document,
        rollback_index=place.take("rollback_index", whole(0, 1 << 31)),
        payload=_range(place.inside("payload")),
        runtimes={
            name: _range(Place(found, f"package.update.runtimes.{name}")) for name, found in runtimes.items()
        },
        known_answers=read_artifact_file(known.inside("file")),
        own_window=read_artifact_file(known.inside("own_window")) if known.has("own_window") else None,
        allowances=allowances,
        card=read_artifact_file(place.inside("card")),
    )
    known.end()
    place.end()
    return manifest


def _allowance(place: Place) -> Allowance:
    found = Allowance(
        place.take("tolerance", decimal(0.0, 255.0)), place.take("disagreement_ratio", decimal(0.0, 1.0))
    )
    place.end()
    return found


def _range(place: Place) -> VersionRange:
    found = VersionRange(place.take("from", text_like(_VERSION)), place.take("below", text_like(_VERSION)))
    place.end()
    return found


def check_surroundings(manifest: PackageManifest, around: Surroundings) -> tuple[Artifact, ...]:
    """The artifacts that will run here, one for each target of the configuration.

    Raises:
        InstallError: old, or made for another payload, runtime or device.
    """
    if manifest.rollback_index < around.rollback_index:
        raise refuse(
            Refusal.OLD_INDEX,
            f"rollback index {manifest.rollback_index}, the payload has reached {around.rollback_index}",
        )
    if not manifest.payload.has(around.payload_version):
        raise refuse(
            Refusal.WRONG_PAYLOAD,
            f"for payload {manifest.payload.lowest} to below {manifest.payload.below}, "
            f"this is {around.payload_version}",
        )
    artifacts = {artifact.target: artifact for artifact in manifest.model.artifacts}
    for target in around.targets:
        if target not in artifacts:
            raise refuse(Refusal.WRONG_HARDWARE, f"no artifact for {target.value}")
        _check_runtime(manifest, artifacts[target].runtime, around.runtimes)
    return tuple(artifacts[target] for target in around.targets)


def _check_runtime(manifest: PackageManifest, runtime: str, present: Mapping[str, str]) -> None:
    wanted, version = manifest.runtimes.get(runtime), present.get(runtime)
    if wanted is None or version is None or not wanted.has(version):
        made_for = f"{wanted.lowest} to below {wanted.below}" if wanted else "no version of it"
        raise refuse(Refusal.WRONG_RUNTIME, f"for {runtime} {made_for}, here is {version or 'none'}")


def check_files(package: Package, blocks: Iterator[bytes]) -> None:
    """Returns if every file has its SHA-256.

    Args:
        blocks: the bytes of the package behind its head, in pieces of any size.

    Raises:
        InstallError: one has not, or there are fewer or more bytes.
    """
    rest = b""
    for file in package.manifest.files:
        digest, missing = hashlib.sha256(), file.size_bytes
        while missing:
            rest = rest or next(blocks, b"")
            if not rest:
                raise refuse(Refusal.WRONG_LENGTH, f"{file.path}: the package ends inside it")
            digest.update(rest[:missing])
            taken = min(missing, len(rest))
            rest, missing = rest[taken:], missing - taken
        if digest.hexdigest() != file.sha256:
            raise refuse(Refusal.WRONG_HASH, f"{file.path}: its SHA-256 is not the signed one")
    if rest or next(blocks, b""):
        raise refuse(Refusal.WRONG_LENGTH, "bytes behind the last file")


def write_package(document: bytes, signatures: Sequence[Signature], files: Sequence[bytes]) -> bytes:
    """The package of a canonical document and its files in their order."""
    head = write_head(PACKAGE_MAGIC, signatures, document, sum(map(len, files)))
    return head + b"".join(files)


def _numbers(version: str) -> tuple[int, ...]:
    match = _VERSION.match(version)
    numbers = [int(number) for number in match.group().split(".")] if match else []
    return tuple(numbers + [0] * (4 - len(numbers)))
