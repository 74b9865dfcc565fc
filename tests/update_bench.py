"""Everything an installation needs in a test: real slots and walk, a device of one rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from nacl.signing import SigningKey

from payload.core.delta import BaseFile
from payload.core.manifest import Artifact, ModelManifest
from payload.core.package import Surroundings
from payload.core.signed import Root
from payload.core.slots import SlotName, SlotRecord, TrialLimits
from payload.core.telemetry import Telemetry
from payload.errors import ConfigError, EngineFault, EngineLostError, TrustError
from payload.install import Answers, Asked, AskedDevice, Installation, Installed, source_of
from payload.model_slots import ModelSlots
from payload.types import Target, Task
from payload.update_ports import ModelDisk
from tests import packages
from tests.packages import LIMIT_BYTES, ROOT, SIGNERS, document_of, echo_scores, packed

LIMITS = TrialLimits(tiles=3, faults=1, boots=2)


class Bytes:
    """Implements `payload.update_ports.ByteFile`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size_bytes = len(content)

    def read(self, start: int, size_bytes: int) -> bytes:
        return self._content[start : start + size_bytes]


def small_files(version: int) -> dict[str, bytes]:
    """As `packages.files_of`, with few weights."""
    return {**packages.files_of(version), "net.bin": packages.weights(version, 9_000)}


def small_package(
    version: int, rollback_index: int | None = None, signers: Sequence[SigningKey] = SIGNERS[:2]
) -> bytes:
    files = small_files(version)
    return packed(document_of(files, version, rollback_index), files, signers)


def no_base(_sha256: str) -> BaseFile | None:
    return None


@dataclass
class Bench:
    """The payload's side, with whatever disk, and a device that may go wrong."""

    disk: ModelDisk
    telemetry: Telemetry = field(default_factory=Telemetry)
    fault: EngineFault | None = None
    offset: int = 0
    targets: tuple[Target, ...] = (Target.CPU,)
    root: Root | None = ROOT
    refused_halo_px: int | None = None
    asked: int = 0
    faults: dict[str, EngineFault] = field(default_factory=dict)
    devices: tuple[AskedDevice, ...] = (AskedDevice("openvino", Target.CPU, is_reference=True),)

    def __post_init__(self) -> None:
        self.slots = ModelSlots(self.disk, Task.SCENE, LIMITS, self.telemetry)

    @property
    def record(self) -> SlotRecord:
        return self.slots.record

    def prove(self, asked: Asked) -> Answers:
        self.asked += 1
        fault = self.faults.get(asked.device.name, self.fault)
        if fault is not None:
            raise EngineLostError(f"{asked.device.name}: {fault.value}", fault)
        answers = [echo_scores(tile.codes).astype(int) for tile in asked.known[0].tiles]
        moved = [np.where(scores < 128, scores + self.offset, scores - self.offset) for scores in answers]
        return Answers(asked.known[0], [scores.astype(np.uint8) for scores in moved])

    def factory(self, task: Task, _target: Target) -> tuple[ModelManifest, Artifact, dict[str, bytes]]:
        raise TrustError(f"no factory's model of {task.value}")

    def surroundings(self, _task: Task) -> Surroundings:
        return Surroundings(
            "0.1.0", {"openvino": "2026.4.1"}, self.targets, self.record.rollback_index, LIMIT_BYTES
        )

    def fits(self, model: ModelManifest) -> None:
        if model.halo_px == self.refused_halo_px:
            raise ConfigError("it sees too far")

    def install(self, content: bytes) -> Installed:
        walk = Installation(
            {Task.SCENE: self.slots},
            self.surroundings,
            self.fits,
            lambda _task: self.devices,
            self.prove,
            self.factory,
            self.telemetry,
        )
        return walk.install(source_of(Bytes(content), no_base, LIMIT_BYTES), self.root)

    def confirm(self) -> None:
        while self.record.is_trial:
            self.slots.tile_done(is_good=True)

    def active_weights(self) -> bytes | None:
        """The weights that a run would load; None is the factory's."""
        if self.record.active is SlotName.FACTORY:
            return None
        return self.slots.load(self.record.active).files["net.bin"]
