"""What the board measures beside this program: temperature and room on the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from payload.ports import Surroundings

_MILLI = 1000.0


class LinuxSurroundings(Surroundings):
    """From the kernel's thermal zones (sysfs) and the file system of ``folder``."""

    def __init__(self, folder: Path, zones: Path = Path("/sys/class/thermal")) -> None:
        self._folder = folder
        self._sensors = sorted(zones.glob("thermal_zone*/temp"))

    def temperature_degc(self) -> float | None:
        """The warmest zone."""
        found = []
        for sensor in self._sensors:
            with suppress(OSError, ValueError):  # a sensor may be asleep
                found.append(int(sensor.read_text()) / _MILLI)
        return max(found, default=None)

    def free_bytes(self) -> int | None:
        """What an ordinary user may still write; None where the folder has gone."""
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize
