"""The slots of one task on a disk: the record kept, and what it says of the packages looked after.

Every file stands twice. A record is written as a new file in place of the older of the two, so
that the younger one is never touched, and again in place of the other at a start, at a round of
checks and when another model is active or confirmed; a slot's package is written as two sealed files.

    scene.record.0  scene.record.1      core.slots.write_record
    scene.a.0  scene.a.1                core.scrub.sealed package, and its second copy
    scene.b.0  scene.b.1
    root.0     root.1                   the root file in force, where one was installed

Rules:
1. Where the disk does not take the record of a start or of a tile, the last good model runs,
   and in this process nothing more is kept: a trial that cannot be counted is none.
2. Where no record is whole, no slot is believed but for its rollback index: the factory's model
   runs until a package is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from payload.core import slots as core
from payload.core.delta import BaseFile
from payload.core.scrub import BLOCK_BYTES
from payload.core.slots import Occurrence, Slot, SlotName, SlotRecord, SlotState, TrialLimits
from payload.core.telemetry import Telemetry
from payload.errors import PayloadError, StoreError
from payload.slot_events import tell_changes, tell_interrupted, tell_return
from payload.slot_files import SlotFiles, SlotPackage
from payload.twin_files import COPIES, TwinFiles
from payload.types import Task
from payload.update_ports import ModelDisk

_RECORD_READ_BYTES = core.RECORD_MAX_BYTES + 16
_IN_USE = (SlotState.GOOD, SlotState.TRIAL)


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What one round over the slots found, in blocks of 4096 bytes, and which slots it lost."""

    blocks: int
    mended_blocks: int
    lost: tuple[SlotName, ...] = ()


class ModelSlots:
    """The slots of one task; the only one who writes their files."""

    def __init__(self, disk: ModelDisk, task: Task, limits: TrialLimits, telemetry: Telemetry) -> None:
        self.task = task
        self.files = SlotFiles(disk, task, telemetry)
        self._disk = disk
        self._limits = limits
        self._telemetry = telemetry
        self._twins = TwinFiles(disk, f"{task.value}.record", _RECORD_READ_BYTES, telemetry)
        self._is_held = False
        self._is_lost = False
        self.record, self._record_file = self._read_record()

    # The record

    def _read_record(self) -> tuple[SlotRecord, int]:
        """The younger whole record and which file it is in; a fresh one where there is none."""
        records = [(core.read_record(content), copy) for copy, content in enumerate(self._twins.read())]
        found = [(record, copy) for record, copy in records if record is not None]
        self._is_lost = not found and self.files.are_there()
        if found:
            return max(found, key=lambda one: one[0].sequence)
        if self._is_lost:
            slots = {name: self.files.found(name) for name in core.WRITABLE}
            return core.rebuilt({name: slot for name, slot in slots.items() if slot is not None}), 1
        return SlotRecord(), 1

    def keep(self, record: SlotRecord) -> None:
        """``record`` is on the disk and in force: one rename, nothing in between.

        Raises:
            StoreError: the disk refuses; the old record is in force.
        """
        content = core.write_record(record)
        copy = 1 - self._record_file
        try:
            self._twins.put(copy, content)
        except (
            StoreError
        ):  # the place of the older copy may be bad; a rename harms the younger one in no case
            copy = self._record_file
            self._twins.put(copy, content)
        before, self.record, self._record_file = self.record, record, copy
        tell_changes(self._telemetry, self.task, before, record)

    def _hold(self, record: SlotRecord, reason: StoreError) -> None:
        """``record`` is in force in this process alone, its trial given up (rule 1)."""
        self._is_held = True
        self.record = core.reverted(record) if record.is_trial else record
        self._telemetry.event("record_not_kept", task=self.task.value, reason=str(reason))

    def _keep_or_hold(self, record: SlotRecord) -> None:
        try:
            self.keep(record)
        except StoreError as error:
            self._hold(record, error)

    def _mend_record(self) -> None:
        if self.record.sequence and not self._is_held:
            self._twins.mend(core.write_record(self.record))

    def read_again(self) -> None:
        """The record as it is on the disk now: another process may have written it.

        One that is lost is made anew of what the slots hold, and that is told.
        """
        if self._is_held:
            return
        self.record, self._record_file = self._read_record()
        if self._is_lost:
            self._telemetry.event(
                "record_lost", task=self.task.value, rollback_index=self.record.rollback_index
            )
            self._keep_or_hold(self.record)
            self._mend_record()

    @property
    def active_sha256(self) -> str:
        """Of the active model's package; empty for the factory's."""
        active = self.record.slots.get(self.record.active)
        return active.package_sha256 if active else ""

    # Starting, and tiles on trial

    def start(self) -> None:
        """The active slot is one whose package is whole, or the factory's.

        Raises:
            StoreError: the slots cannot be locked.
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
            self._keep_or_hold(found)
            tell_interrupted(self._telemetry, self.task, before)
        self._mend_record()
        if self.record.active is not before.active:
            tell_return(
                self._telemetry,
                self.task,
                before,
                self.record,
                "damaged" if before.active not in intact else "starts without a tile",
            )

    def foresee(self) -> None:
        """The record is what a start would make of it; nothing is written, told or counted."""
        intact = [
            name
            for name, slot in self.record.slots.items()
            if slot.state in _IN_USE and self.files.is_any_whole(name, slot)
        ]
        self.record = core.booted(self.record, intact, self._limits)

    def count_start(self) -> bool:
        """A start of a model on trial counts; True if another model is active from now on."""
        before = self.record.active
        if not self.record.is_trial:
            return False
        try:
            with self._disk.locked():
                self.read_again()
                if self.record.is_trial:
                    self.keep(core.trial_started(self.record))
        except StoreError as error:
            self._hold(self.record, error)
        return self.record.active is not before

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
        """One tile of the model on trial was made; True if another model is active from now on."""
        active = self.record.slots.get(self.record.active)
        try:
            with self._disk.locked():
                self.read_again()
                return self.record.slots.get(self.record.active) == active and self._tile_done(is_good)
        except StoreError as error:
            self._hold(self.record, error)
            return self.record.slots.get(self.record.active) != active

    def _tile_done(self, is_good: bool) -> bool:
        before = self.record
        if not before.is_trial:
            return False
        self.keep(core.tile_done(before, is_good, self._limits))
        if self.record.active is not before.active:
            tell_return(self._telemetry, self.task, before, self.record, "too many bad tiles")
            return True
        if not self.record.is_trial:
            self._mend_record()  # an index that has risen stands twice at once
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
        """The trial ends: the last good model is active.

        Raises:
            StoreError: the disk refuses to keep that.
        """
        before = self.record
        self.keep(core.reverted(before))
        self._mend_record()
        tell_return(self._telemetry, self.task, before, self.record, reason)

    @contextmanager
    def without_trial(self, reason: str) -> Iterator[None]:
        """Inside, the last good model is active instead of one on trial, and afterwards for good.

        Where the inside fails too, the trial was not at fault and goes on.
        """
        before = self.record
        if not before.is_trial:
            yield
            return
        self.record = core.reverted(before)
        try:
            yield
        except PayloadError:
            self.record = before
            raise
        self.record = before
        try:
            with self._disk.locked():
                self.read_again()
                if self.record.is_trial:
                    self.revert(reason)
        except StoreError as error:
            self._hold(self.record, error)

    # Packages in slots

    def write(self, name: SlotName, content: Callable[[], Iterable[bytes]]) -> None:
        """Both copies of the package that ``content`` gives are on the disk.

        Raises:
            StoreError: the disk refuses.
        """
        self.files.write(name, content)

    def check_written(self, name: SlotName) -> None:
        """Returns if both copies, read back from the disk, are what the record says.

        Raises:
            InstallError: they are not.
        """
        self.files.check_written(name, self.record.slots[name])

    def is_intact(self, name: SlotName) -> bool:
        """Whether the slot's package is what the record says; damaged blocks are mended first."""
        slot = self.record.slots[name]
        return slot.state in _IN_USE and self.files.scrub(name, slot) is not None

    def scrub(self) -> Scrubbed:
        """Every copy of every model in use is whole again, as far as its second copy allows.

        A slot that cannot be mended holds no model any more.
        """
        self._mend_record()
        blocks = mended_blocks = 0
        lost = []
        for name, slot in self.record.slots.items():
            if slot.state in _IN_USE:
                found = self.files.scrub(name, slot)
                blocks += len(COPIES) * -(-slot.size_bytes // BLOCK_BYTES)
                mended_blocks += found or 0
                self._telemetry.add("mended_blocks", found or 0)
                if found is None:
                    lost.append(name)
                    self._telemetry.event("slot_damaged", task=self.task.value, slot=name.value)
        self._telemetry.add("scrubbed_blocks", blocks)
        if lost and not self._is_held:
            before = self.record
            self._keep_or_hold(core.damaged(before, lost))
            if self.record.active is not before.active:
                tell_return(self._telemetry, self.task, before, self.record, "damaged")
            self._mend_record()
        return Scrubbed(blocks, mended_blocks, tuple(lost))

    def load(self, name: SlotName) -> SlotPackage:
        """The package of a slot, checked against the record and then against its own hashes.

        Raises:
            TrustError: neither copy is what it was when it was installed.
        """
        return self.files.load(name, self.record.slots[name])

    def known_models(self) -> list[str]:
        """`ModelManifest.sha256` of every package that is whole, also of one that was given up."""
        found = [
            self.files.model_sha256(name, slot)
            for name, slot in self.record.slots.items()
            if slot.state in (*_IN_USE, SlotState.BAD)
        ]
        return [sha256 for sha256 in found if sha256 is not None]

    def base_files(self, name: SlotName) -> Iterator[tuple[str, BaseFile]]:
        """SHA-256 and place of every file of a slot's package, and of its model document."""
        return self.files.base_files(name, self.record.slots[name])

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
        self._mend_record()

    def room_bytes(self) -> int:
        """What the disk still takes, the idle slot's old package counted as room."""
        return self._disk.free_bytes() + self.files.taken_bytes(self.record.idle)
