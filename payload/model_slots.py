"""The slots of one task on a disk: the record kept, the packages written, read back and mended.

Every file stands twice. A record is written as a new file in place of the older of the two, so
that the younger one is never touched; a slot's package is written as two sealed files.

    scene.record.0  scene.record.1      core.slots.write_record
    scene.a.0  scene.a.1                core.scrub.sealed package, and its second copy
    scene.b.0  scene.b.1
    root.0     root.1                   the root file in force, where one was installed
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from payload.core import slots as core
from payload.core.delta import BaseFile
from payload.core.package import PackageManifest, package_manifest
from payload.core.refusals import Refusal, refuse
from payload.core.scrub import BLOCK_BYTES, mended, read_seal, seal_bytes, sealed
from payload.core.signed import HEAD_MAX_BYTES, PACKAGE_MAGIC, read_head, read_header
from payload.core.slots import Occurrence, Slot, SlotName, SlotRecord, SlotState, TrialLimits
from payload.core.telemetry import Telemetry
from payload.errors import InstallError, TrustError
from payload.slot_events import tell_changes, tell_interrupted, tell_return
from payload.types import Task
from payload.update_ports import ModelDisk

COPIES = (0, 1)
_RECORD_READ_BYTES = core.RECORD_MAX_BYTES + 16


@dataclass(frozen=True, slots=True, eq=False)
class SlotPackage:
    """The verified package of a slot: its manifest and the content of its files by name."""

    manifest: PackageManifest
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What one round over the slots found, in blocks of 4096 bytes."""

    blocks: int
    mended_blocks: int


class ModelSlots:
    """The slots of one task; the only one who writes their files."""

    def __init__(self, disk: ModelDisk, task: Task, limits: TrialLimits, telemetry: Telemetry) -> None:
        self.task = task
        self._disk = disk
        self._limits = limits
        self._telemetry = telemetry
        self.record, self._record_file = self._read_record()

    # The record

    def _read_record(self) -> tuple[SlotRecord, int]:
        """The younger whole record and which file it is in; a fresh one where there is none."""
        found = []
        for copy in COPIES:
            record = core.read_record(self._disk.read(self._record_name(copy), 0, _RECORD_READ_BYTES))
            if record is not None:
                found.append((record.sequence, copy, record))
        if not found:
            return SlotRecord(), 1
        _, copy, record = max(found, key=lambda one: one[0])
        return record, copy

    def keep(self, record: SlotRecord) -> None:
        """``record`` is on the disk and in force: one rename, nothing in between.

        Raises:
            StoreError: the disk refuses; the old record is in force.
        """
        copy = 1 - self._record_file
        name = self._record_name(copy)
        part = name + ".part"
        self._disk.write(part, [core.write_record(record)])
        self._disk.sync(part)
        self._disk.rename(part, name)
        self._disk.sync_folder()
        before, self.record, self._record_file = self.record, record, copy
        tell_changes(self._telemetry, self.task, before, record)

    def read_again(self) -> None:
        """The record as it is on the disk now: another process may have written it."""
        self.record, self._record_file = self._read_record()

    # Starting, and tiles on trial

    def start(self) -> None:
        """The active slot is one whose package is whole, or the factory's; a trial's start counts.

        Raises:
            StoreError: the disk refuses to keep that.
        """
        if self.record.sequence:  # where nothing was ever installed there is nothing to look after
            with self._disk.locked():
                self.read_again()
                self._start()

    def _start(self) -> None:
        intact = [name for name in core.WRITABLE if self.is_intact(name)]
        before = self.record
        found = core.booted(before, intact, self._limits)
        if found is not before:
            self.keep(found)
            tell_interrupted(self._telemetry, self.task, before)
        if found.active is not before.active:
            tell_return(
                self._telemetry,
                self.task,
                before,
                self.record,
                "damaged" if before.active not in intact else "starts without a tile",
            )

    def settle(self) -> None:
        """Nothing is half installed; the caller has locked the disk, so no installation is under way.

        Raises:
            StoreError: the disk refuses to keep that.
        """
        before = self.record
        found = core.settled(before)
        if found is not before:
            self.keep(found)
            tell_interrupted(self._telemetry, self.task, before)

    def tile_done(self, is_good: bool) -> bool:
        """One tile of the model on trial was made; True if another model is active from now on.

        Raises:
            StoreError: the disk refuses to keep that.
        """
        active = self.record.slots.get(self.record.active)
        with self._disk.locked():
            self.read_again()
            return self.record.slots.get(self.record.active) == active and self._tile_done(is_good)

    def _tile_done(self, is_good: bool) -> bool:
        before = self.record
        if not before.is_trial:
            return False
        self.keep(core.tile_done(before, is_good, self._limits))
        if self.record.active is not before.active:
            tell_return(self._telemetry, self.task, before, self.record, "too many bad tiles")
            return True
        if not self.record.is_trial:
            slot = self.record.slots[self.record.active]
            self._telemetry.event(
                "model_confirmed",
                task=self.task.value,
                model=slot.model,
                model_version=slot.version,
                rollback_index=self.record.rollback_index,
            )
        return False

    def revert(self, reason: str) -> None:
        """The trial ends: the last good model is active."""
        before = self.record
        self.keep(core.reverted(before))
        tell_return(self._telemetry, self.task, before, self.record, reason)

    # Packages in slots

    def write(self, name: SlotName, content: Callable[[], Iterable[bytes]]) -> None:
        """Both copies of the package that ``content`` gives are on the disk.

        Raises:
            StoreError: the disk refuses.
        """
        for copy in COPIES:
            self._disk.write(self._slot_name(name, copy), sealed(content()))
            self._disk.sync(self._slot_name(name, copy))
        self._disk.sync_folder()

    def check_written(self, name: SlotName) -> None:
        """Returns if both copies, read back from the disk, are what the record says.

        Raises:
            InstallError: they are not.
        """
        slot = self.record.slots[name]
        for copy in COPIES:
            self._disk.forget_cached(self._slot_name(name, copy))
            if not self._is_whole(name, copy):
                raise refuse(
                    Refusal.READ_BACK,
                    f"slot {name.value}, copy {copy}: not the {slot.size_bytes} bytes written",
                )

    def is_intact(self, name: SlotName) -> bool:
        """Whether the slot's package is what the record says; damaged blocks are mended first."""
        if self.record.slots[name].state not in (SlotState.GOOD, SlotState.TRIAL):
            return False
        return self._scrub_slot(name) is not None

    def scrub(self) -> Scrubbed:
        """Every copy of every model in use is whole again, as far as its second copy allows.

        Raises:
            StoreError: the disk refuses.
        """
        blocks = mended_blocks = 0
        for name in core.WRITABLE:
            if self.record.slots[name].state in (SlotState.GOOD, SlotState.TRIAL):
                found = self._scrub_slot(name)
                blocks += len(COPIES) * -(-self.record.slots[name].size_bytes // BLOCK_BYTES)
                mended_blocks += found or 0
                self._telemetry.add("mended_blocks", found or 0)
                if found is None:
                    self._telemetry.event("slot_damaged", task=self.task.value, slot=name.value)
        self._telemetry.add("scrubbed_blocks", blocks)
        return Scrubbed(blocks, mended_blocks)

    def _scrub_slot(self, name: SlotName) -> int | None:
        """How many blocks were mended; None where the package cannot be mended."""
        for copy in COPIES:
            if self._disk.size_bytes(self._slot_name(name, copy)) is not None:
                self._disk.forget_cached(self._slot_name(name, copy))
        damaged = [copy for copy in COPIES if not self._is_whole(name, copy)]
        table = self._table(name)
        if not damaged:
            return 0
        try:
            return sum(self._mend(name, copy, table) for copy in damaged) if table else None
        except TrustError:
            return None

    def _mend(self, name: SlotName, bad: int, table: list[int]) -> int:
        """One copy is whole again, blocks from the other; how many. Hashed before it counts."""
        slot = self.record.slots[name]
        part = self._slot_name(name, bad) + ".part"
        flags: list[bool] = []

        def blocks() -> Iterator[bytes]:
            for block, was_whole in mended(self._blocks(name, bad), self._blocks(name, 1 - bad), table):
                flags.append(was_whole)
                yield block

        self._disk.write(part, sealed(blocks()))
        self._disk.sync(part)
        if self._digest(part, slot.size_bytes) != slot.package_sha256:
            self._disk.remove(part)
            raise TrustError(f"slot {name.value}: cannot be mended")
        self._disk.rename(part, self._slot_name(name, bad))
        self._disk.sync_folder()
        count = max(1, flags.count(False))  # the table itself may have been all that was damaged
        self._telemetry.event("slot_mended", task=self.task.value, slot=name.value, blocks=count)
        return count

    def _table(self, name: SlotName) -> list[int] | None:
        size_bytes = self.record.slots[name].size_bytes
        for copy in COPIES:
            end = self._disk.read(self._slot_name(name, copy), size_bytes, seal_bytes(size_bytes) + 1)
            if (table := read_seal(end, size_bytes)) is not None:
                return table
        return None

    def _is_whole(self, name: SlotName, copy: int) -> bool:
        slot, file = self.record.slots[name], self._slot_name(name, copy)
        if self._disk.size_bytes(file) != slot.size_bytes + seal_bytes(slot.size_bytes):
            return False
        end = self._disk.read(file, slot.size_bytes, seal_bytes(slot.size_bytes))
        if read_seal(end, slot.size_bytes) is None:
            return False
        return self._digest(file, slot.size_bytes) == slot.package_sha256

    def _digest(self, file: str, size_bytes: int) -> str:
        digest = hashlib.sha256()
        for block in self._file_blocks(file, size_bytes, 64 * BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest()

    def _blocks(self, name: SlotName, copy: int) -> Iterator[bytes]:
        return self._file_blocks(self._slot_name(name, copy), self.record.slots[name].size_bytes, BLOCK_BYTES)

    def _file_blocks(self, file: str, size_bytes: int, block_bytes: int) -> Iterator[bytes]:
        for start in range(0, size_bytes, block_bytes):
            yield self._disk.read(file, start, min(block_bytes, size_bytes - start))

    def load(self, name: SlotName) -> SlotPackage:
        """The package of a slot, checked against the record and then against its own hashes.

        Raises:
            TrustError: neither copy is what it was when it was installed.
        """
        for copy in COPIES:
            if self._is_whole(name, copy):
                with suppress(InstallError):
                    return self._load(name, copy)
        raise TrustError(f"slot {name.value} of {self.task.value}: damaged in both copies; install it again")

    def _load(self, name: SlotName, copy: int) -> SlotPackage:
        file = self._slot_name(name, copy)
        manifest, start = self._manifest(name, copy)
        files = {}
        for one in manifest.files:
            files[one.path] = self._disk.read(file, start, one.size_bytes)
            start += one.size_bytes
            if hashlib.sha256(files[one.path]).hexdigest() != one.sha256:
                raise refuse(Refusal.READ_BACK, f"{one.path} in slot {name.value}")
        return SlotPackage(manifest, files)

    def known_models(self) -> list[str]:
        """`ModelManifest.sha256` of every package that is whole, also of one that was given up."""
        found = []
        for name in core.WRITABLE:
            states = (SlotState.GOOD, SlotState.TRIAL, SlotState.BAD)
            if self.record.slots[name].state in states and self._is_whole(name, 0):
                with suppress(InstallError):
                    found.append(self._manifest(name, 0)[0].model.sha256)
        return found

    def base_files(self, name: SlotName) -> Iterator[tuple[str, BaseFile]]:
        """SHA-256 and place of every file of a slot's package, and of its model document."""
        for copy in COPIES:
            if not self._is_whole(name, copy):
                continue
            file, manifest, start = self._slot_name(name, copy), *self._manifest(name, copy)
            yield manifest.model.sha256, held_bytes(manifest.document)
            for one in manifest.files:
                yield (
                    one.sha256,
                    BaseFile(one.size_bytes, partial(self._read_at, file, start, one.size_bytes)),
                )
                start += one.size_bytes
            return

    def _read_at(self, file: str, offset: int, end: int, start: int, size_bytes: int) -> bytes:
        """Bytes of one file inside a package, never past its end."""
        return self._disk.read(file, offset + start, max(0, min(size_bytes, end - start)))

    def _manifest(self, name: SlotName, copy: int) -> tuple[PackageManifest, int]:
        """The manifest of a package that is whole, and where its first file begins."""
        file, size_bytes = self._slot_name(name, copy), self.record.slots[name].size_bytes
        head = self._disk.read(file, 0, min(HEAD_MAX_BYTES, size_bytes))
        header = read_header(head, PACKAGE_MAGIC, size_bytes)
        return package_manifest(read_head(head, header).document), header.head_bytes

    def begin(self, slot: Slot) -> SlotName:
        """The idle slot is being written; it is no model any more."""
        name = self.record.idle
        self.keep(core.begun(self.record, slot))
        return name

    def move(self, name: SlotName, occurrence: Occurrence) -> None:
        """What has happened to a slot is kept."""
        self.keep(core.moved(self.record, name, occurrence))

    def activate(self, name: SlotName) -> None:
        """The model in ``name`` is active, on trial, from the next strip on."""
        self.keep(core.activated(self.record, name))

    def room_bytes(self) -> int:
        """What the disk still takes, the idle slot's old package counted as room."""
        old = [self._disk.size_bytes(self._slot_name(self.record.idle, copy)) or 0 for copy in COPIES]
        return self._disk.free_bytes() + sum(old)

    def _record_name(self, copy: int) -> str:
        return f"{self.task.value}.record.{copy}"

    def _slot_name(self, name: SlotName, copy: int) -> str:
        return f"{self.task.value}.{name.value}.{copy}"


def held_bytes(content: bytes) -> BaseFile:
    """Bytes in memory that a delta may build on."""
    return BaseFile(len(content), lambda start, size: content[start : start + size])
