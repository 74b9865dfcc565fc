"""Fresh child processes, measured from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, eq=False)
class ChildResult:
    """What a child answered (one JSON document), and what the kernel says it took."""

    answer: dict[str, Any]
    cpu_s: float
    wall_s: float
    peak_bytes: int


class ChildError(RuntimeError):
    """A child ended with an error; the message holds the last lines of its stderr."""

    def __init__(self, command: str, exit_code: int, last_lines: str) -> None:
        super().__init__(f"{command} ended with {exit_code}:\n{last_lines}")
        self.exit_code = exit_code
        self.last_lines = last_lines


def run_python(arguments: Sequence[str], *, has_answer: bool = True) -> ChildResult:
    """Run ``python ARGUMENTS`` in the repository and wait.

    With ``has_answer`` its stdout must be one JSON document, else it is ignored.

    ``cpu_s`` and ``peak_bytes`` come from wait4(2): user and system time of the child and of
    what it waited for, and the child's largest resident set.

    Raises:
        ChildError: it did not exit with 0.
    """
    environment = dict(os.environ, PYTHONPATH=str(REPOSITORY))
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaints:
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *arguments], stdout=answer, stderr=complaints, cwd=REPOSITORY, env=environment
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        answer.seek(0)
        complaints.seek(0)
        if child.returncode:
            last = complaints.read()[-2000:].decode(errors="replace").strip()
            raise ChildError(f"python {' '.join(arguments)}", child.returncode, last)
        return ChildResult(
            answer=json.loads(answer.read()) if has_answer else {},
            cpu_s=usage.ru_utime + usage.ru_stime,
            wall_s=wall_s,
            peak_bytes=usage.ru_maxrss * 1024,
        )
