"""A bench file, and the board that it leads to.

A bench promises *roles*; a test asks for the roles it needs. A role that the bench does not
have skips the test and says so; a role that it promises and does not fill fails it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROLES: Mapping[str, frozenset[str]] = {
    "board": frozenset({"shell", "folder", "payload", "config", "out"}),
    "full_strip": frozenset({"path"}),
    "vpu": frozenset({"device"}),
    "vpu_power": frozenset({"cut", "restore"}),
    "board_power": frozenset({"cut", "restore", "boot_s"}),
}
"""Every role with the keys it must have; README.md says what they mean."""


class BenchError(Exception):
    """The bench file cannot be used."""


def read_bench(path: Path) -> dict[str, dict[str, Any]]:
    """The roles of the bench file at ``path``.

    Raises:
        BenchError: unreadable, an unknown role, or one with other keys or kinds of values than it must have.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BenchError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or "board" not in document:
        raise BenchError(f"{path}: a bench has at least the role board; see hil_tests/README.md")
    for role, found in document.items():
        if role not in ROLES:
            raise BenchError(f"{path}: no role {role!r}; there are {', '.join(ROLES)}")
        keys = set(found) if isinstance(found, dict) else set()
        if keys != ROLES[role]:
            raise BenchError(f"{path}: {role} must have the keys {', '.join(sorted(ROLES[role]))}")
        for key, value in found.items():
            kind, name = (int | float, "a number") if key.endswith("_s") else (str, "a text")
            if not isinstance(value, kind) or isinstance(value, bool):
                raise BenchError(f"{path}: {role}: {key} must be {name}, and is {value!r}")
    return document


@dataclass(frozen=True, slots=True)
class FlightBoard:
    """The board under test, reached through a shell: a local one, or ``ssh flatsat``."""

    shell: str
    folder: str
    payload: str
    config: str
    out: str

    def run(self, command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """``command`` in the folder of the repository on the board."""
        return subprocess.run(
            self._words(command), capture_output=True, text=True, check=False, timeout=timeout_s
        )

    @contextmanager
    def running(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """As `run`, without waiting for its end; what is left of it here is gone with the block."""
        words = self._words(command)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def json(self, command: str, timeout_s: float = 3600.0) -> Any:
        """What ``payload COMMAND --json`` printed; it must succeed."""
        done = self.run(f"{self.payload} {command} --json", timeout_s)
        assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)

    def imaging(self, strip: str, out: str) -> str:
        """The command line, without the program, that processes ``strip``."""
        return f"run {shlex.quote(strip)} --config {shlex.quote(self.config)} --out {shlex.quote(out)}"

    def fresh_out(self, name: str) -> str:
        """An empty folder on the board."""
        out = f"{self.out}/{name}"
        done = self.run(f"rm -rf {shlex.quote(out)} && mkdir -p {shlex.quote(out)}")
        assert done.returncode == 0, done.stderr
        return out

    def wait_until_up(self, boot_s: float) -> None:
        """The board answers again within ``boot_s``."""
        end_s = time.monotonic() + boot_s
        while time.monotonic() < end_s:
            try:
                if self.run("true", timeout_s=10).returncode == 0:
                    return
            except subprocess.TimeoutExpired:
                continue
            time.sleep(1)
        raise AssertionError(f"the board did not answer within {boot_s:g} s of its power")

    def _words(self, command: str) -> list[str]:
        return [*shlex.split(self.shell), f"cd {shlex.quote(self.folder)} && {command}"]


@contextmanager
def power_cut(power: Mapping[str, Any]) -> Iterator[None]:
    """The power is off in the block, and on again after whatever has happened there."""
    try:
        switch(power["cut"])
        yield
    finally:
        switch(power["restore"])


def switch(command: str) -> None:
    """Run a command of the bench itself: a relay, a USB hub."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stderr}"
