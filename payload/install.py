"""The third walk: one new model, from bytes that somebody sent to the network that runs.

    size, layout, CRC -> signatures -> rollback index, versions, hardware, fit -> SHA-256 of files
        -> idle slot: both copies written, synced, read back, hashed
        -> known tiles on every device that will use it, in a process of its own
        -> active, on trial, with the next strip        (any "no": refused, the old model runs on)

Before the idle slot is touched everything that can be known from the bytes is known. A cut at
any point leaves the active model as it is, or the new one on trial; `ModelSlots.start` sorts out
the rest. The same walk takes a full package and a delta: both are a source that can be read twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from numpy.typing import NDArray

from payload.core.delta import DELTA_MAGIC, BaseFiles, DeltaSource
from payload.core.known_answer import Disagreement, KnownAnswers, compare, read_known_answers
from payload.core.manifest import Artifact, ModelManifest
from payload.core.package import (
    Allowance,
    Package,
    Surroundings,
    check_files,
    check_surroundings,
    read_package,
)
from payload.core.plausible import SURFACE_DIFFERENCE_MAX_DN, surface_difference_dn
from payload.core.refusals import Refusal, refuse
from payload.core.scrub import seal_bytes
from payload.core.signed import HEAD_MAX_BYTES, Root
from payload.core.slots import Occurrence, Slot
from payload.core.telemetry import Telemetry
from payload.errors import BudgetError, ConfigError, EngineFault, EngineLostError, InstallError, TrustError
from payload.model_slots import ModelSlots
from payload.slot_files import SlotPackage
from payload.twin_files import COPIES
from payload.types import Target, Task
from payload.update_ports import ByteFile

READ_BYTES = 64 << 10
RECORDS_BYTES = 64 << 10
"""Room on the disk for records and their parts."""


@dataclass(frozen=True, slots=True)
class AskedDevice:
    """A device of a task's order, by its name in the configuration; the reference must serve."""

    name: str
    target: Target
    is_reference: bool


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a device is to answer, and with which network."""

    device: AskedDevice
    model: ModelManifest
    artifact: Artifact
    files: Mapping[str, bytes]
    known: tuple[KnownAnswers, ...]
    """The same tiles in other windows: what the artifact serves of them is asked."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The whole output of a device for each of the tiles that it was asked, in their order."""

    known: KnownAnswers
    outputs: Sequence[NDArray[Any]]


class FactoryFiles(Protocol):
    """Finds the factory's network for a task and a target."""

    def __call__(self, task: Task, target: Target) -> tuple[ModelManifest, Artifact, Mapping[str, bytes]]:
        """Its manifest, artifact and verified files.

        Raises:
            TrustError: it cannot be read, or has nothing for the target.
        """
        ...


class Prover(Protocol):
    """Runs known tiles on a device, in a process of its own."""

    def __call__(self, asked: Asked) -> Answers | None:
        """What the device answers; None where its artifact serves no window of the known tiles, and
        was judged by one of flight size alone, as the reference never is.

        Raises:
            EngineLostError: no answer: dead, late, over its memory, or not there.
            InstallError: a wrong one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Installed:
    """What a successful installation reports."""

    task: Task
    model: str
    version: int
    slot: str
    package_sha256: str


class PackageSource(Protocol):
    """A package that can be read from its beginning as often as wanted."""

    @property
    def size_bytes(self) -> int: ...

    def blocks(self) -> Iterator[bytes]:
        """All of it, in pieces of bounded size."""
        ...


class WholePackage:
    """Implements PackageSource on a file that is the package itself."""

    def __init__(self, file: ByteFile) -> None:
        self.size_bytes = file.size_bytes
        self._file = file

    def blocks(self) -> Iterator[bytes]:
        """The file in pieces of 64 KiB."""
        for start in range(0, self.size_bytes, READ_BYTES):
            yield self._file.read(start, min(READ_BYTES, self.size_bytes - start))


def source_of(file: ByteFile, bases: BaseFiles, limit_bytes: int) -> PackageSource:
    """The package that ``file`` is, or that it makes out of files on board.

    Raises:
        InstallError: too large, or a delta whose base is not here.
    """
    if file.size_bytes > limit_bytes:
        raise refuse(Refusal.TOO_LARGE, f"{file.size_bytes} bytes, at most {limit_bytes} are taken")
    if file.read(0, len(DELTA_MAGIC)) == DELTA_MAGIC:
        return DeltaSource(file.read, file.size_bytes, bases, limit_bytes)
    return WholePackage(file)


class Installation:
    """One package on its way into the idle slot of its task.

    Args:
        slots: the slots of each task.
        surroundings: what a package of a task must fit.
        fits: raises ConfigError or BudgetError where the model cannot work with the configuration.
        devices: who will use a task's models, the reference first.
        prove: asks a device.
        factory: what a surface model is compared with (`core.plausible`, rule 4): the factory's and
            not the active one, which may be what has to be replaced.
    """

    def __init__(
        self,
        slots: Mapping[Task, ModelSlots],
        surroundings: Callable[[Task], Surroundings],
        fits: Callable[[ModelManifest], None],
        devices: Callable[[Task], Sequence[AskedDevice]],
        prove: Prover,
        factory: FactoryFiles,
        telemetry: Telemetry,
    ) -> None:
        self._slots = slots
        self._surroundings = surroundings
        self._fits = fits
        self._devices = devices
        self._prove = prove
        self._factory = factory
        self._telemetry = telemetry

    def install(self, source: PackageSource, root: Root | None) -> Installed:
        """The model is active, on trial; or nothing has changed but the idle slot.

        Raises:
            InstallError: refused, with the number of the reason.
            StoreError: the disk refuses.
        """
        package, sha256 = self.check(source, root)
        model = package.manifest.model
        slots = self._slots[model.task]
        needed_bytes = len(COPIES) * (source.size_bytes + seal_bytes(source.size_bytes)) + RECORDS_BYTES
        if slots.room_bytes() < needed_bytes:
            raise refuse(Refusal.NO_ROOM, f"{needed_bytes} bytes are needed, {slots.room_bytes()} are there")
        slot = Slot(
            package_sha256=sha256,
            size_bytes=source.size_bytes,
            model=model.name,
            version=model.version,
            rollback_index=package.manifest.rollback_index,
        )
        name = slots.begin(slot)
        try:
            slots.write(name, source.blocks)
            slots.check_written(name)
            slots.move(name, Occurrence.WROTE)
            self._ask_devices(slots.load(name))
            slots.move(name, Occurrence.ANSWERED)
        except InstallError:
            slots.move(name, Occurrence.REFUSED)
            raise
        slots.activate(name)
        self._telemetry.event(
            "model_activated",
            task=model.task.value,
            slot=name.value,
            model=model.name,
            model_version=model.version,
            rollback_index=slot.rollback_index,
        )
        return Installed(model.task, model.name, model.version, name.value, sha256)

    def check(self, source: PackageSource, root: Root | None) -> tuple[Package, str]:
        """The package and its SHA-256; nothing is written.

        Raises:
            InstallError: it is not to be believed, or not for this payload now.
        """
        blocks = source.blocks()
        head = b""
        while len(head) < min(HEAD_MAX_BYTES, source.size_bytes):
            block = next(blocks, b"")
            if not block:
                raise refuse(Refusal.WRONG_LENGTH, f"it ends after {len(head)} bytes")
            head += block
        digest = hashlib.sha256(head)
        # The size limit is the surroundings' of either task: what is sent is one file.
        limit_bytes = self._surroundings(Task.SCENE).package_max_bytes
        package = read_package(head, source.size_bytes, root, limit_bytes)
        model = package.manifest.model
        check_surroundings(package.manifest, self._surroundings(model.task))
        try:
            self._fits(model)
        except (ConfigError, BudgetError) as error:
            raise refuse(Refusal.DOES_NOT_FIT, str(error)) from error
        if self._slots[model.task].record.is_trial:
            raise refuse(Refusal.TRIAL_RUNS, f"the {model.task.value} model on trial is not confirmed yet")
        check_files(package, chain([head[package.head_bytes :]], _hashed(blocks, digest.update)))
        return package, digest.hexdigest()

    def _ask_devices(self, written: SlotPackage) -> None:
        manifest = written.manifest
        task = manifest.model.task
        known = tuple(read_known_answers(written.files[file.path], task) for file in manifest.known_files)
        artifacts = {artifact.target: artifact for artifact in manifest.model.artifacts}
        for device in self._devices(task):
            artifact = artifacts.get(device.target)
            if artifact is None:  # the reference's is there: `check_surroundings`
                self._tell_unasked(task, device, f"no artifact for {device.target.value}")
                continue
            files = {file.path: written.files[file.path] for file in artifact.files}
            asked = Asked(device, manifest.model, artifact, files, known)
            is_compared = device.is_reference and task is Task.SURFACE
            before = self._factory_answers(asked) if is_compared else None
            answers = self._ask(asked, manifest.allowances[device.target])
            if before is not None and answers is not None:
                _check_difference(before, answers)

    def _factory_answers(self, asked: Asked) -> Answers | None:
        """What the factory's network answers to the same tiles; None, and told, where it cannot."""
        device = asked.device
        try:
            model, artifact, files = self._factory(asked.model.task, device.target)
            return self._prove(Asked(device, model, artifact, files, asked.known))
        except (TrustError, EngineLostError, InstallError) as error:
            self._tell_unasked(asked.model.task, device, f"the factory's model: {error}")
            return None

    def _ask(self, asked: Asked, allowed: Allowance) -> Answers | None:
        device = asked.device
        try:
            answers = self._prove(asked)
        except EngineLostError as error:
            if error.fault in ABSENT and not device.is_reference:
                self._tell_unasked(asked.model.task, device, str(error))
                return None
            raise refuse(_REFUSAL_OF_FAULT.get(error.fault, Refusal.DEVICE_LOST), str(error)) from error
        found = Disagreement(0.0, 0.0)
        if answers is not None:
            found = compare(answers.known, answers.outputs, allowed.tolerance)
        if found.ratio > allowed.disagreement_ratio:
            raise refuse(
                Refusal.WRONG_ANSWER,
                f"{device.name}: {found.ratio:.1%} of the samples differ by more than "
                f"{allowed.tolerance:g}, the largest by {found.largest:g}",
            )
        self._telemetry.event(
            "known_answers_passed",
            task=asked.model.task.value,
            device=device.name,
            target=device.target.value,
            largest_difference=found.largest,
            disagreement_ratio=found.ratio,
        )
        return answers

    def _tell_unasked(self, task: Task, device: AskedDevice, reason: str) -> None:
        self._telemetry.event("known_answers_not_asked", task=task.value, device=device.name, reason=reason)


def _check_difference(before: Answers, answers: Answers) -> None:
    found_dn = surface_difference_dn(before.outputs, answers.outputs)
    if not found_dn <= SURFACE_DIFFERENCE_MAX_DN:
        raise refuse(
            Refusal.FAR_FROM_FACTORY,
            f"its surface reflectance lies {found_dn:.0f} dn from the factory model's, "
            f"{SURFACE_DIFFERENCE_MAX_DN:.0f} are permitted",
        )


ABSENT = frozenset(
    {
        EngineFault.NO_PYTHON,
        EngineFault.NO_RUNTIME,
        EngineFault.NO_LIBUSB,
        EngineFault.NO_DEVICE,
        EngineFault.NO_PERMISSION,
        EngineFault.MUTEX_TAKEN,
    }
)
"""The board does not have the device now; it is none that will use the model."""

_REFUSAL_OF_FAULT = {EngineFault.LATE: Refusal.TOO_SLOW, EngineFault.MEMORY: Refusal.TOO_BIG}


def _hashed(blocks: Iterator[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    for block in blocks:
        update(block)
        yield block
