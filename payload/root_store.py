"""The installed root file: who is believed, where the factory's root was followed by another."""

from __future__ import annotations

from contextlib import suppress

from payload.core.signed import Root, read_root
from payload.core.telemetry import Telemetry
from payload.errors import InstallError
from payload.twin_files import COPIES, TwinFiles
from payload.update_ports import ModelDisk

ROOT_MAX_BYTES = 16 << 10


class RootStore:
    """The root file in force, where one was installed after the factory's."""

    def __init__(self, disk: ModelDisk, telemetry: Telemetry) -> None:
        self._files = TwinFiles(disk, "root", ROOT_MAX_BYTES, telemetry)
        self._telemetry = telemetry

    def read(self) -> Root | None:
        """The installed root, of two whole copies the later one; None where there is none.

        Where there are copies and none is whole, that is told: older keys count again.
        """
        return self._newest()[0]

    @property
    def is_there(self) -> bool:
        """Whether a root was ever installed."""
        return any(self._files.read())

    def _newest(self) -> tuple[Root | None, bytes]:
        """The root and its file."""
        newest: Root | None = None
        file = b""
        copies = self._files.read()
        for copy in copies:
            with suppress(InstallError):
                root = read_root(copy)[0]
                if newest is None or root.version > newest.version:
                    newest, file = root, copy
        if newest is None and any(copies):
            self._telemetry.event("root_lost")
        return newest, file

    def mend(self) -> None:
        """Both copies are the root in force, where one is installed."""
        root, file = self._newest()
        if root is not None:
            self._files.mend(file)

    def keep(self, content: bytes) -> None:
        """``content``, a root file that was checked, is in force.

        Raises:
            StoreError: the disk refuses.
        """
        for copy in COPIES:
            self._files.put(copy, content)
        self._telemetry.event("root_rotated", root_version=read_root(content)[0].version)
