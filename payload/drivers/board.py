"""What the board says of this program: memory and processor time of the process tree, clocks.

Everything comes from Linux's /proc (proc(5)); psutil would cost 4 MB of the budget for the
same numbers (docs/decisions/0003-no-psutil.md).

Resident memory of a tree is the sum over its processes. Pages that two processes share are
counted in each: the sum may say too much, never too little.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from payload.ports import Board, Clock

_KIBIBYTE = 1024
_STAT_PARENT, _STAT_USER, _STAT_CHILDREN_SYSTEM = 1, 11, 14
"""Places in /proc/PID/stat after the name in brackets: ppid, utime (stime, cutime) cstime."""


class LinuxBoard(Board):
    """Measures this process and its descendants."""

    def __init__(self, proc: Path = Path("/proc"), look_again_s: float = 0.0) -> None:
        """Looks in ``proc``; which descendants there are is known for ``look_again_s``.

        Finding them out costs a millisecond, and a walk asks three times a tile.
        """
        self._proc = proc
        self._look_again_s = look_again_s
        self._found: list[int] = []
        self._found_mono_s = -look_again_s
        self._self = os.getpid()
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._has_children_files = any(children.exists() for children in self._lists_of_children(self._self))
        self._peak_bytes = 0
        self._descendants_peak_bytes = 0

    def resident_bytes(self) -> int:
        """Resident memory of the process tree now."""
        return sum(self._memory_bytes(pid, "VmRSS") for pid in (self._self, *self._descendants()))

    def peak_bytes(self) -> int:
        """The most that the process tree can have held so far; never falls.

        This process's own high-water mark is the kernel's and misses nothing. That of the
        descendants is the highest sum of theirs seen at a call of this method: of a child
        that has come and gone between two calls nothing is known.
        """
        descendants = sum(self._memory_bytes(pid, "VmHWM") for pid in self._descendants())
        self._descendants_peak_bytes = max(self._descendants_peak_bytes, descendants)
        own = self._memory_bytes(self._self, "VmHWM")
        self._peak_bytes = max(self._peak_bytes, own + self._descendants_peak_bytes)
        return self._peak_bytes

    def cpu_s(self) -> float:
        """Processor time of the process tree so far, of ended and waited-for children too."""
        times = os.times()
        ended_s = times.children_user + times.children_system
        return time.process_time() + ended_s + sum(map(self._process_cpu_s, self._descendants()))

    def _descendants(self) -> list[int]:
        now_s = time.monotonic()
        if now_s - self._found_mono_s >= self._look_again_s:
            self._found, self._found_mono_s = self._look_for_descendants(), now_s
        return self._found

    def _look_for_descendants(self) -> list[int]:
        children_of = self._listed_children if self._has_children_files else self._searched_children()
        found = list(children_of(self._self))
        for pid in found:
            found.extend(children_of(pid))
        return found

    def _listed_children(self, pid: int) -> list[int]:
        return [int(child) for path in self._lists_of_children(pid) for child in _read(path).split()]

    def _lists_of_children(self, pid: int) -> list[Path]:
        """Where each thread's are listed; none once the process has ended, be it in between."""
        tasks = self._proc / str(pid) / "task"
        try:
            return [thread / "children" for thread in tasks.iterdir()]
        except OSError:
            return []

    def _searched_children(self) -> Callable[[int], list[int]]:
        """As `_listed_children`, from every process: for kernels without CONFIG_PROC_CHILDREN."""
        children: dict[int, list[int]] = {}
        for process in self._proc.glob("[0-9]*"):
            if fields := _fields_of_stat(process / "stat"):
                children.setdefault(int(fields[_STAT_PARENT]), []).append(int(process.name))
        return lambda pid: children.get(pid, [])

    def _memory_bytes(self, pid: int, name: str) -> int:
        """A kB line of /proc/PID/status; 0 for a process that has ended."""
        for line in _read(self._proc / str(pid) / "status").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * _KIBIBYTE
        return 0

    def _process_cpu_s(self, pid: int) -> float:
        """Processor time of a process and its waited-for children; 0 once it has ended."""
        fields = _fields_of_stat(self._proc / str(pid) / "stat")
        return sum(map(int, fields[_STAT_USER : _STAT_CHILDREN_SYSTEM + 1])) / self._ticks_per_s


def peak_bytes_of(pid: int | None) -> int:
    """The highest resident memory that a process had (VmHWM); 0 for one that has ended."""
    return LinuxBoard()._memory_bytes(pid, "VmHWM") if pid else 0


def _fields_of_stat(path: Path) -> list[str]:
    """What follows the name, which may itself hold brackets and spaces; empty if ended."""
    return _read(path).rpartition(")")[2].split()


def _read(path: Path) -> str:
    """The text of a /proc file; empty if its process has ended meanwhile, whatever the kernel calls that."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


class SystemClock(Clock):
    """The board's clocks: UTC may jump, the monotonic one never does."""

    def utc_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return time.time_ns()

    def mono_ns(self) -> int:
        """Nanoseconds since an arbitrary instant of this boot."""
        return time.monotonic_ns()
