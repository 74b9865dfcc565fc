"""What an update needs of this board: slots on its disk, who is believed, devices to ask.

Named once here, used by `payload install`, `payload models` and every run that loads a model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import product
from pathlib import Path

from payload import __version__
from payload.config import Config
from payload.core.delta import BaseFile
from payload.core.document import canonical
from payload.core.manifest import (
    MANIFEST_MAX_BYTES,
    Artifact,
    ModelManifest,
    check_artifact,
    check_model_fits,
    parse_manifest,
)
from payload.core.memory import engine_loads, plan_memory, smallest_strip
from payload.core.package import Surroundings
from payload.core.refusals import Refusal, refuse
from payload.core.signed import ROOT_MAGIC, Root, check_next_root, read_root
from payload.core.slots import WRITABLE, SlotName, SlotState, TrialLimits
from payload.core.telemetry import Telemetry
from payload.drivers.file_bytes import FileBytes
from payload.drivers.model_folder import read_manifest
from payload.drivers.weight_slots import SlotFolder
from payload.errors import InstallError, PayloadError, StoreError, TrustError
from payload.install import Installation, Installed, source_of
from payload.model_files import files_in, manifest_in
from payload.model_slots import ModelSlots
from payload.proving import DeviceProver, asked_devices, runtime_versions
from payload.root_store import ROOT_MAX_BYTES, RootStore
from payload.slot_files import held_bytes
from payload.types import Target, Task, TileGrid


class Updates:
    """The model slots of one board."""

    def __init__(self, config: Config, telemetry: Telemetry) -> None:
        """Look at the records on the disk; nothing is written.

        Raises:
            StoreError: the disk refuses.
        """
        self._config = config
        self._telemetry = telemetry
        self._keys = config.updates
        self._disk = SlotFolder(config.folder(self._keys.slots))
        limits = TrialLimits(self._keys.trial_tiles, self._keys.trial_faults, self._keys.trial_boots)
        self.slots = {task: ModelSlots(self._disk, task, limits, telemetry) for task in Task}
        self._roots = RootStore(self._disk, telemetry)
        self._told: set[Path] = set()

    def factory_folder(self, task: Task) -> Path:
        """The model folder that the configuration names."""
        models = self._config.models
        return self._config.folder(models.scene if task is Task.SCENE else models.surface)

    def manifest(self, task: Task) -> ModelManifest:
        """The manifest of the active model.

        Raises:
            TrustError: it cannot be read or is not one.
        """
        slots = self.slots[task]
        if slots.record.active is SlotName.FACTORY:
            return self.factory_manifest(task)
        return slots.load(slots.record.active).manifest.model

    def verified_files(self, task: Task, artifact: Artifact) -> dict[str, bytes]:
        """The artifact's files of the active model, each of the size and hash of its manifest.

        Raises:
            TrustError: they are not.
        """
        slots = self.slots[task]
        if slots.record.active is SlotName.FACTORY:
            return files_in(self.factory_folder(task), artifact)
        content = slots.load(slots.record.active).files
        files = {file.path: content[file.path] for file in artifact.files}
        check_artifact(artifact, files)
        return files

    def known_models(self) -> Iterator[dict[Task, str]]:
        """Every set of models that may have made the tiles of a strip: `ModelManifest.sha256`."""
        names = []
        for task in Task:
            factory = self.readable_factory(task)
            names.append([*([factory.sha256] if factory else []), *self.slots[task].known_models()])
        for chosen in product(*names):
            yield dict(zip(Task, chosen, strict=True))

    def start(self) -> None:
        """What runs from now on is decided, and what stands twice on the disk is whole twice."""
        for slots in self.slots.values():
            slots.start()
        if self._roots.is_there:
            with self._disk.locked():
                self._roots.mend()

    def foresee(self) -> None:
        """What runs is what a start would decide; nothing is written."""
        for slots in self.slots.values():
            slots.foresee()

    def count_starts(self) -> bool:
        """A start of every model on trial is counted; True if another model is active from now on,
        because the disk does not take that."""
        others = [slots.count_start() for slots in self.slots.values()]
        return any(others)

    @contextmanager
    def without_trials(self, reason: str) -> Iterator[None]:
        """Inside, and from then on, no model is on trial: with one the inside could not be done.

        Where it cannot be done without them either, they are on trial as before.
        """
        with ExitStack() as stack:
            for slots in self.slots.values():
                stack.enter_context(slots.without_trial(reason))
            yield

    def install(self, path: Path) -> Installed | Root:
        """The package, delta or root file at ``path`` is in force; a model is on trial.

        Raises:
            InstallError: refused; what was in force still is.
            StoreError: the disk refuses.
        """
        file = FileBytes(path)
        with self._disk.locked():
            for slots in self.slots.values():
                slots.read_again()
            self._roots.mend()
            if file.read(0, len(ROOT_MAGIC)) == ROOT_MAGIC:
                return self._install_root(file.read(0, ROOT_MAX_BYTES))
            walk = Installation(
                self.slots,
                self._surroundings,
                self._fits,
                lambda task: asked_devices(self._config, task),
                DeviceProver(self._config, self.tiles()),
                self._factory_network,
                self._telemetry,
            )
            limit_bytes = self._keys.package_max_bytes
            return walk.install(source_of(file, self.base, limit_bytes), self.root())

    def settle(self, path: Path) -> Installed | Root:
        """Nothing is half installed, and what ``path`` holds is in force: an installation of it
        that was cut had come to its end.

        Raises:
            InstallError: it is not in force.
            StoreError: the disk refuses.
        """
        with self._disk.locked():
            for slots in self.slots.values():
                slots.read_again()
                slots.settle()
            file = FileBytes(path)
            if file.read(0, len(ROOT_MAGIC)) == ROOT_MAGIC:
                return self._settled_root(file.read(0, ROOT_MAX_BYTES))
            source = source_of(file, self.base, self._keys.package_max_bytes)
            digest = hashlib.sha256()
            for block in source.blocks():
                digest.update(block)
            sha256 = digest.hexdigest()
            for task, slots in self.slots.items():
                active = slots.record.slots.get(slots.record.active)
                if active is not None and active.package_sha256 == sha256:
                    return Installed(task, active.model, active.version, slots.record.active.value, sha256)
        raise refuse(Refusal.INTERRUPTED, f"{path} is not in force")

    def _settled_root(self, content: bytes) -> Root:
        found, _ = read_root(content)
        if found != self.root():
            raise refuse(Refusal.INTERRUPTED, f"root version {found.version} is not in force")
        self._roots.keep(content)  # a cut between its two copies left the old one in the second
        return found

    def scrub(self) -> list[str]:
        """Every package in use, record and root is whole on the disk; the slots that no copy could
        mend, in words: they hold no model any more."""
        with self._disk.locked():
            for slots in self.slots.values():
                slots.read_again()
            self._roots.mend()
            return [
                f"slot {name.value} of {task.value}"
                for task, slots in self.slots.items()
                for name in slots.scrub().lost
            ]

    def revert(self, task: Task) -> None:
        """The model on trial is given up by command.

        Raises:
            InstallError: none is on trial.
        """
        with self._disk.locked():
            slots = self.slots[task]
            slots.read_again()
            if not slots.record.is_trial:
                raise refuse(Refusal.NO_TRIAL, f"no {task.value} model is on trial")
            slots.revert("by command")

    # Who is believed

    def root(self) -> Root | None:
        """The root in force: the installed one, else the one at updates.root; None without any.

        Raises:
            InstallError: the file at updates.root is damaged, and none was installed since.
        """
        installed = self._roots.read()
        try:
            factory = self._factory_root()
        except (InstallError, StoreError) as error:
            path = self._config.folder(self._keys.root)
            if installed is None:
                raise refuse(Refusal.NO_ROOT, f"{path}: {error}") from error
            self._tell_damaged(path, error)
            return installed
        if installed is None or (factory is not None and factory.version >= installed.version):
            return factory
        return installed

    def _factory_root(self) -> Root | None:
        path = self._config.folder(self._keys.root)
        if not path.exists():
            return None
        return read_root(FileBytes(path).read(0, ROOT_MAX_BYTES))[0]

    def _install_root(self, content: bytes) -> Root:
        present = self.root()
        found, signed = read_root(content)
        if present is None:
            raise refuse(
                Refusal.NO_ROOT, f"there is no root file at updates.root, {self._keys.root}, to follow on"
            )
        check_next_root(present, found, signed)
        self._roots.keep(content)
        return found

    # What a package must fit

    def _surroundings(self, task: Task) -> Surroundings:
        return Surroundings(
            __version__,
            runtime_versions(),
            (self._config.engine.reference_target(task),),
            self.slots[task].record.rollback_index,
            self._keys.package_max_bytes,
        )

    def _fits(self, model: ModelManifest) -> None:
        """As `payload.install.Installation` asks: with the other task's model, a strip of a single
        tile has room in the plan."""
        models = {task: model if task is model.task else self.manifest(task) for task in Task}
        tiles = self.tiles()
        for task, one in models.items():
            check_model_fits(one, task, tiles, self._config.engine.reference_target(task))
        strip = smallest_strip(tiles)
        plan_memory(self._config, strip, tiles, 0, engine_loads(self._config, models))

    def tiles(self) -> TileGrid:
        """The tiles of the configuration; their halo is the widest that a factory model needs.

        Installed models must do with it: the tiling of a board does not change in flight. Of a
        factory model that cannot be read, the active one of its task speaks in its place.

        Raises:
            TrustError: neither can be read.
        """
        halo_px = max((self.readable_factory(task) or self.manifest(task)).halo_px for task in Task)
        return TileGrid(self._config.tiles.inner_rows_px, self._config.tiles.inner_columns_px, halo_px)

    def factory_manifest(self, task: Task) -> ModelManifest:
        """What the factory's folder says of its model.

        Raises:
            TrustError: it cannot be read.
        """
        return manifest_in(self.factory_folder(task))

    def _factory_network(
        self, task: Task, target: Target
    ) -> tuple[ModelManifest, Artifact, dict[str, bytes]]:
        """As `payload.install.FactoryFiles`."""
        manifest = self.factory_manifest(task)
        for artifact in manifest.artifacts:
            if artifact.target is target:
                return manifest, artifact, files_in(self.factory_folder(task), artifact)
        raise TrustError(f"{manifest.name}: no artifact for {target.value}")

    def readable_factory(self, task: Task) -> ModelManifest | None:
        """As `factory_manifest`; None where it cannot be read, which is told."""
        try:
            return self.factory_manifest(task)
        except TrustError as error:
            self._tell_damaged(self.factory_folder(task), error)
            return None

    def _tell_damaged(self, path: Path, error: PayloadError) -> None:
        """Once for each file of the factory's."""
        if path not in self._told:
            self._told.add(path)
            self._telemetry.event("factory_damaged", path=str(path), reason=str(error))

    # Files that a delta may build on

    def base(self, sha256: str) -> BaseFile | None:
        """A file of the factory's folders or of a good slot, by its SHA-256."""
        for file_sha256, base in self._bases():
            if file_sha256 == sha256:
                return base
        return None

    def _bases(self) -> Iterator[tuple[str, BaseFile]]:
        for task, slots in self.slots.items():
            for name in WRITABLE:
                if slots.record.slots[name].state in (SlotState.GOOD, SlotState.TRIAL):
                    yield from slots.base_files(name)
            if self.readable_factory(task):
                yield from _folder_bases(self.factory_folder(task))


def _folder_bases(folder: Path) -> Iterator[tuple[str, BaseFile]]:
    content = read_manifest(folder, MANIFEST_MAX_BYTES)
    manifest = parse_manifest(content)
    model = canonical(json.loads(content))
    yield hashlib.sha256(model).hexdigest(), held_bytes(model)
    for artifact in manifest.artifacts:
        for file in artifact.files:
            yield file.sha256, BaseFile(file.size_bytes, FileBytes(folder / file.path).read)
    with suppress(StoreError):
        card = FileBytes(folder / "card.md")
        content = card.read(0, card.size_bytes)
        yield hashlib.sha256(content).hexdigest(), held_bytes(content)
