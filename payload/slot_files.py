"""The packages in the slots of one task: written twice, read back, checked block by block and mended.

Rules:
1. What cannot be read of a copy is damaged; the other copy serves.
2. A slot is lost only where no copy is whole and none can be made whole. A mend that the disk
   does not take is told, and stops nobody while the other copy is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from payload.core.delta import BaseFile
from payload.core.package import Package, PackageManifest, check_files, package_manifest
from payload.core.refusals import Refusal, refuse
from payload.core.scrub import BLOCK_BYTES, block_checks, mended, read_seal, seal_bytes, sealed
from payload.core.signed import (
    HEAD_MAX_BYTES,
    HEADER_BYTES,
    PACKAGE_MAGIC,
    claimed_bytes,
    read_head,
    read_header,
)
from payload.core.slots import WRITABLE, Slot, SlotName
from payload.core.telemetry import Telemetry
from payload.errors import InstallError, StoreError, TrustError
from payload.twin_files import COPIES
from payload.types import Task
from payload.update_ports import ModelDisk


@dataclass(frozen=True, slots=True, eq=False)
class SlotPackage:
    """The verified package of a slot: its manifest and the content of its files by name."""

    manifest: PackageManifest
    files: dict[str, bytes]


class SlotFiles:
    """The copies of both slots of a task; what should be in a slot is told with every call."""

    def __init__(self, disk: ModelDisk, task: Task, telemetry: Telemetry) -> None:
        self._task = task
        self._disk = disk
        self._telemetry = telemetry

    def write(self, name: SlotName, content: Callable[[], Iterable[bytes]]) -> None:
        """Both copies of the package that ``content`` gives are on the disk.

        Raises:
            StoreError: the disk refuses.
        """
        for copy in COPIES:
            self._disk.write(self._file(name, copy), sealed(content()))
            self._disk.sync(self._file(name, copy))
        self._disk.sync_folder()

    def check_written(self, name: SlotName, slot: Slot) -> None:
        """Returns if both copies, read back from the disk, are ``slot``.

        Raises:
            InstallError: they are not.
        """
        for copy in COPIES:
            self._disk.forget_cached(self._file(name, copy))
            if not self.is_whole(name, slot, copy):
                raise refuse(
                    Refusal.READ_BACK,
                    f"slot {name.value}, copy {copy}: not the {slot.size_bytes} bytes written",
                )

    def are_there(self) -> bool:
        """Whether any slot was ever written."""
        return any(self._size(self._file(name, copy)) for name in WRITABLE for copy in COPIES)

    def taken_bytes(self, name: SlotName) -> int:
        """What the copies of a slot take on the disk."""
        return sum(self._size(self._file(name, copy)) for copy in COPIES)

    def is_whole(self, name: SlotName, slot: Slot, copy: int) -> bool:
        """Whether a copy is ``slot``, its seal included."""
        file = self._file(name, copy)
        if self._size(file) != slot.size_bytes + seal_bytes(slot.size_bytes):
            return False
        if self._seal(name, slot, copy) is None:
            return False
        return self._digest(file, slot.size_bytes) == slot.package_sha256

    def is_any_whole(self, name: SlotName, slot: Slot) -> bool:
        """Whether one copy at least is ``slot``; nothing is mended."""
        return any(self.is_whole(name, slot, copy) for copy in COPIES)

    def scrub(self, name: SlotName, slot: Slot) -> int | None:
        """How many blocks were mended; None where the package cannot be used any more."""
        for copy in COPIES:
            with suppress(StoreError):
                if self._disk.size_bytes(self._file(name, copy)) is not None:
                    self._disk.forget_cached(self._file(name, copy))
        damaged = [copy for copy in COPIES if not self.is_whole(name, slot, copy)]
        if not damaged:
            return 0
        table = self._table(name, slot)
        if table is None:
            return None
        count, whole = 0, len(COPIES) - len(damaged)
        for copy in damaged:
            try:
                count += self._mend(name, slot, copy, table)
                whole += 1
            except TrustError:
                return None
            except StoreError as error:
                self._telemetry.event("copy_not_mended", path=self._file(name, copy), reason=str(error))
        return count if whole else None

    def _mend(self, name: SlotName, slot: Slot, bad: int, table: list[int]) -> int:
        """One copy is whole again, blocks from the other; how many. Hashed before it counts."""
        part = self._file(name, bad) + ".part"
        flags: list[bool] = []

        def blocks() -> Iterator[bytes]:
            ours, theirs = self._blocks(name, slot, bad), self._blocks(name, slot, 1 - bad)
            for block, was_whole in mended(ours, theirs, table):
                flags.append(was_whole)
                yield block

        try:
            self._disk.write(part, sealed(blocks()))
            self._disk.sync(part)
            if self._digest(part, slot.size_bytes) != slot.package_sha256:
                raise TrustError(f"slot {name.value}: cannot be mended")
            self._disk.rename(part, self._file(name, bad))
        except (StoreError, TrustError):
            with suppress(StoreError):
                self._disk.remove(part)
            raise
        self._disk.sync_folder()
        count = max(1, flags.count(False))  # the table itself may have been all that was damaged
        self._telemetry.event("slot_mended", task=self._task.value, slot=name.value, blocks=count)
        return count

    def _table(self, name: SlotName, slot: Slot) -> list[int] | None:
        """The block checks of the package: by a copy's seal, or made of a copy with the right hash."""
        for copy in COPIES:
            if (table := self._seal(name, slot, copy)) is not None:
                return table
        for copy in COPIES:
            if self._digest(self._file(name, copy), slot.size_bytes) == slot.package_sha256:
                return block_checks(self._blocks(name, slot, copy))
        return None

    def _seal(self, name: SlotName, slot: Slot, copy: int) -> list[int] | None:
        end = self._read(self._file(name, copy), slot.size_bytes, seal_bytes(slot.size_bytes))
        return read_seal(end, slot.size_bytes)

    def _digest(self, file: str, size_bytes: int) -> str:
        digest = hashlib.sha256()
        for block in self._file_blocks(file, size_bytes, 64 * BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest()

    def _blocks(self, name: SlotName, slot: Slot, copy: int) -> Iterator[bytes]:
        return self._file_blocks(self._file(name, copy), slot.size_bytes, BLOCK_BYTES)

    def _file_blocks(self, file: str, size_bytes: int, block_bytes: int) -> Iterator[bytes]:
        for start in range(0, size_bytes, block_bytes):
            yield self._read(file, start, min(block_bytes, size_bytes - start))

    def load(self, name: SlotName, slot: Slot) -> SlotPackage:
        """The package of a slot, checked against ``slot`` and then against its own hashes.

        Raises:
            TrustError: neither copy is what it was when it was installed.
        """
        for copy in COPIES:
            if self.is_whole(name, slot, copy):
                with suppress(InstallError):
                    return self._load(name, slot, copy)
        raise TrustError(f"slot {name.value} of {self._task.value}: damaged in both copies; install it again")

    def _load(self, name: SlotName, slot: Slot, copy: int) -> SlotPackage:
        file = self._file(name, copy)
        manifest, start = self._manifest(file, slot.size_bytes)
        files = {}
        for one in manifest.files:
            files[one.path] = self._read(file, start, one.size_bytes)
            start += one.size_bytes
            if hashlib.sha256(files[one.path]).hexdigest() != one.sha256:
                raise refuse(Refusal.READ_BACK, f"{one.path} in slot {name.value}")
        return SlotPackage(manifest, files)

    def model_sha256(self, name: SlotName, slot: Slot) -> str | None:
        """`ModelManifest.sha256` of the package, where a copy is whole."""
        for copy in COPIES:
            if self.is_whole(name, slot, copy):
                with suppress(InstallError):
                    return self._manifest(self._file(name, copy), slot.size_bytes)[0].model.sha256
        return None

    def base_files(self, name: SlotName, slot: Slot) -> Iterator[tuple[str, BaseFile]]:
        """SHA-256 and place of every file of a slot's package, and of its model document."""
        for copy in COPIES:
            if not self.is_whole(name, slot, copy):
                continue
            file = self._file(name, copy)
            manifest, start = self._manifest(file, slot.size_bytes)
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

    def _manifest(self, file: str, size_bytes: int) -> tuple[PackageManifest, int]:
        """The manifest of a package that is whole, and where its first file begins."""
        head = self._read(file, 0, min(HEAD_MAX_BYTES, size_bytes))
        header = read_header(head, PACKAGE_MAGIC, size_bytes)
        return package_manifest(read_head(head, header).document), header.head_bytes

    def found(self, name: SlotName) -> Slot | None:
        """The package that a slot holds, whole by its own seal and hashes, where no record tells."""
        for copy in COPIES:
            with suppress(InstallError):
                return self._found(name, copy)
        return None

    def _found(self, name: SlotName, copy: int) -> Slot:
        file = self._file(name, copy)
        size_bytes = claimed_bytes(self._read(file, 0, HEADER_BYTES))
        head = self._read(file, 0, min(HEAD_MAX_BYTES, size_bytes))
        header = read_header(head, PACKAGE_MAGIC, size_bytes)
        signed = read_head(head, header)
        manifest = package_manifest(signed.document)
        package = Package(manifest, signed, header.head_bytes)
        rest = size_bytes - header.head_bytes
        check_files(
            package,
            (
                self._read(file, header.head_bytes + start, min(BLOCK_BYTES, rest - start))
                for start in range(0, rest, BLOCK_BYTES)
            ),
        )
        return Slot(
            package_sha256=self._digest(file, size_bytes),
            size_bytes=size_bytes,
            model=manifest.model.name,
            version=manifest.model.version,
            rollback_index=manifest.rollback_index,
        )

    def _size(self, file: str) -> int:
        with suppress(StoreError):
            return self._disk.size_bytes(file) or 0
        return 0

    def _read(self, file: str, start: int, size_bytes: int) -> bytes:
        """Nothing where it cannot be read (rule 1)."""
        with suppress(StoreError):
            return self._disk.read(file, start, size_bytes)
        return b""

    def _file(self, name: SlotName, copy: int) -> str:
        return f"{self._task.value}.{name.value}.{copy}"


def held_bytes(content: bytes) -> BaseFile:
    """Bytes in memory that a delta may build on."""
    return BaseFile(len(content), lambda start, size: content[start : start + size])
