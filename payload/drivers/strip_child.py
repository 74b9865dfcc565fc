"""A strip in a process of its own: `payload run`, whose telemetry comes through a pipe.

Its memory is given back when it ends, the service answers while it computes, and whatever
happens to it happens to one strip. It dies with the service.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from payload.errors import NO_PROCESS, StoreError, StripError
from payload.ports import StripWorker

_NICENESS = 5
_CHUNK_BYTES = 65536
_RUNS = "runs"
RUNS_KEPT = 16
"""Reports and pictures of strips that stay on the board, besides that under way."""
_STOP_S = 1.0
"""What is asked to end has nothing to finish: what it committed stays."""
_LOOK_MAX_S = 1.0
"""Of the time between two looks no more counts as silence: this process may have stood still itself."""
_STEM_MAX_CHARS = 40  # of a path's name in its folder's: no file system takes more than 255 bytes
_PR_SET_PDEATHSIG = 1  # prctl(2)


class StripProcess(StripWorker):
    """Implements `ports.StripWorker`. What says nothing for too long is killed."""

    def __init__(
        self,
        command_of: Callable[[str, Mapping[str, float], int], Sequence[str]],
        silence_s: Callable[[], float],
    ) -> None:
        """``command_of`` gives the command for a path, settings and the descriptor for telemetry;
        ``silence_s`` how long the process may say nothing."""
        self._command_of = command_of
        self._silence_s = silence_s
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._rest = b""
        self._failed: int | None = None
        self._silent_s = 0.0
        self._looked_s = 0.0
        self._own_records: list[dict[str, object]] = []

    def start(self, path: str, settings: Mapping[str, float]) -> None:
        """The process runs, at a lower priority than the service, or ended (NO_PROCESS, or as no strip)."""
        assert self._process is None
        self._close_pipe()
        self._rest = b""
        self._silent_s, self._looked_s = 0.0, time.monotonic()
        try:
            self._pipe, theirs = os.pipe()
            try:
                os.set_blocking(self._pipe, False)
                self._process = subprocess.Popen(
                    self._command_of(path, settings, theirs),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # the service's may be a pipe that nobody reads
                    pass_fds=(theirs,),
                )
            finally:
                os.close(theirs)
        except OSError:  # no memory, process or descriptor to be had
            self._failed = NO_PROCESS
            return
        except ValueError:  # a path that no process can be given
            self._failed = StripError.exit_code
            return
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)

    def records(self) -> list[dict[str, object]]:
        """Whole lines that have come through the pipe, and that it was too silent."""
        own, self._own_records = self._own_records, []
        if self._pipe < 0:
            return own
        with suppress(BlockingIOError):
            while chunk := os.read(self._pipe, _CHUNK_BYTES):
                self._rest += chunk
                self._silent_s = 0.0
        *lines, self._rest = self._rest.split(b"\n")
        found = []
        for line in lines:
            with suppress(ValueError):  # torn by a kill
                found.append(json.loads(line))
        return [record for record in found if isinstance(record, dict)] + own

    def exit_code(self) -> int | None:
        """How the process ended; the pipe stays open for `records` until the next start."""
        if self._process is None:
            failed, self._failed = self._failed, None
            return failed
        code = self._process.poll()
        if code is not None:
            self._process = None
        elif self._is_silent():
            self._process.kill()  # it ends at one of the next looks
        return code

    def _is_silent(self) -> bool:
        """Whether it has just become so; told by an event."""
        now_s, limit_s = time.monotonic(), self._silence_s()
        was_silent = self._silent_s > limit_s
        self._silent_s += min(now_s - self._looked_s, _LOOK_MAX_S)
        self._looked_s = now_s
        is_silent = not was_silent and self._silent_s > limit_s
        if is_silent:
            event = {"event": "process_silent", "parameters": {"silence_s": limit_s}}
            self._own_records.append({"record": "event", **event})
        return is_silent

    def stop(self) -> None:
        """The process has ended, if need be by force; what it committed stays."""
        self._failed = None
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)  # one that was stopped would never see the other
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._close_pipe()

    def wakes_on(self) -> Sequence[int]:
        return (self._pipe,) if self._process is not None else ()

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


class TelemetryPipe:
    """The child's end: records as JSON lines into a descriptor that it was given."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, records: Sequence[Mapping[str, object]]) -> None:
        """The records are on their way.

        Raises:
            StoreError: nobody reads them any more: the service has gone.
        """
        content = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
        unwritten = memoryview(content.encode("ascii"))
        try:
            while unwritten:
                unwritten = unwritten[os.write(self._descriptor, unwritten) :]
        except OSError as error:
            raise StoreError(f"the service that started this run is gone: {error.strerror}") from error

    def close(self) -> None:
        """No record follows."""
        os.close(self._descriptor)


def die_with_parent() -> None:
    """This process is killed when its parent ends, however that ends (Linux, prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def drop_old_runs(state: Path) -> None:
    """Of what `run_command` has left in ``state`` the latest RUNS_KEPT folders are there."""
    with suppress(OSError):  # none was made yet, or the disk is going: that ends no strip
        runs = sorted((state / _RUNS).iterdir(), key=lambda run: run.stat().st_mtime_ns)
        for run in runs[:-RUNS_KEPT]:
            shutil.rmtree(run, ignore_errors=True)


def run_command(
    path: str,
    settings: Mapping[str, float],
    descriptor: int,
    config: Path,
    state: Path,
    queue: Path,
    budget_bytes: int,
) -> list[str]:
    """The `payload run` of a strip; its report and picture go to a folder of its own in ``state``."""
    stem = Path(path).stem[:_STEM_MAX_CHARS] or "strip"
    name = f"{stem}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    words = [sys.executable, "-m", "payload", "run", "--config", str(config)]
    words += ["--out", str(state / _RUNS / name), "--queue", str(queue)]
    words += ["--telemetry-to", str(descriptor), "--budget-bytes", str(budget_bytes)]
    for key, number in settings.items():
        words += ["--set", f"{key}={number!r}"]
    return [*words, "--", path]  # whatever it looks like, it is no option


def devices_command(config: Path, descriptor: int) -> list[str]:
    """The command that asks every network its known tile."""
    words = ["payload", "devices", "--config", str(config), "--telemetry-to", str(descriptor)]
    return [sys.executable, "-m", *words]


def model_job(job: str, descriptor: int, config: Path) -> list[str]:
    """The command for a job of `flight.updating`: install:PATH, settle:PATH, revert:TASK or scrub:."""
    kind, _, what = job.partition(":")
    words = {
        "install": ["install", "--", what],
        "settle": ["install", "--settle", "--", what],
        "revert": ["models", f"--revert={what}"],
        "scrub": ["models", "--scrub"],
    }
    verb, *rest = words[kind]
    own = ["--config", str(config), "--telemetry-to", str(descriptor)]
    return [sys.executable, "-m", "payload", verb, *own, *rest]
