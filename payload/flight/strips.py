"""Strips out of the inbox, one after the other, through the networks beside the service.

Rules:
1. What is taken is remembered on the disk before anything is done with it, and until it is
   finished or left; so neither `kill -9` nor a power cut loses a strip. A line of a FIFO, which
   comes once, is tried again until the disk has taken it.
2. Something in a folder is taken when it has not changed for SETTLED_S.
3. A strip keeps the settings with which it began, or it could not be resumed.
4. A strip that cannot be taken (exit codes of `payload run`: configuration, memory, strip,
   model) is left and told. Any other early end is tried again, ``attempts`` times, as of a strip
   that ends the program or a queue that is damaged, and without end where the disk is full or the
   board has no process for it, each time after a longer pause. The attempts are more than a model
   on trial can end before it is given up: no strip is lost to a trial.
5. With WAITING_MAX strips waiting the inbox is not looked at: it keeps them. While it cannot be
   looked at, or not all of it has been seen, nothing is known to have gone from it.
6. Imaging that the ground has stopped stays stopped over a restart; the strip under way goes on
   where it was when imaging starts again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from payload.core.packets import Failure
from payload.core.telemetry import CHANNELS, EVENTS, Telemetry
from payload.errors import (
    NO_PROCESS,
    NO_SPACE,
    BudgetError,
    CommandError,
    ConfigError,
    StripError,
    TrustError,
)
from payload.flight.calls import Call, Execute, Now, Quiet
from payload.ports import Candidate, FlightMemory, Inbox, StripWorker

ATTEMPTS = 3
SETTLED_S = 1.0
PAUSE_S, PAUSE_MAX_S = 1.0, 60.0
WAITING_MAX = 1024
_NS_PER_S = 1_000_000_000
_LOOK_S = 0.5
_FIRST, _WAITING, _SEEN = "strip/0/", "strip/1/", "seen/"
_JOB, _STOPPED, _NUMBER = "job", "imaging_stopped", "strip_number"
_OF_THE_BOARD = {NO_SPACE, NO_PROCESS}
_HOPELESS = {kind.exit_code for kind in (ConfigError, BudgetError, StripError, TrustError)}
_OF_THE_SERVICE = {"resident_bytes", "peak_bytes", "cpu_s", "budget_bytes", "queue_bytes", "queue_entries"}
"""Channels that the service measures itself, for the whole process tree."""
_COUNTED = {"scrubbed_blocks", "mended_blocks", "weights_asked"}
"""Channels that count since the start of the service, over all strips."""
_CHANNELS = {channel.name for channel in CHANNELS} - _OF_THE_SERVICE - _COUNTED
_EVENTS = {event.name: set(event.parameters) for event in EVENTS}


class Strips(Quiet):
    """Feeds the worker and listens to it."""

    def __init__(
        self,
        inbox: Inbox,
        worker: StripWorker,
        memory: FlightMemory,
        telemetry: Telemetry,
        settings: Callable[[], Mapping[str, float]],
        is_strip: Callable[[str], bool],
        started: Now,
        is_held: Callable[[], bool] = lambda: False,
        attempts: int = ATTEMPTS,
    ) -> None:
        """``settings`` are those of now; ``is_strip`` says whether a path exists.

        While ``is_held``, no strip begins; the one under way goes on.
        """
        self._is_held = is_held
        self._attempts = attempts
        self._inbox = inbox
        self._worker = worker
        self._memory = memory
        self._telemetry = telemetry
        self._settings = settings
        self._is_strip = is_strip
        self._waiting = {name: str(memory.get(name)) for name in memory.names("strip/")}
        self._seen = {name: str(memory.get(name)) for name in memory.names(_SEEN)}
        self._stamps: dict[str, tuple[str, int]] = {}
        self._lines: list[str] = []
        self._refused: set[str] = set()
        self._is_stopped = memory.get(_STOPPED) is not None
        self._is_running = False
        self._counted: dict[str, int | float] = {}
        self._look_ns = self._start_ns = started.mono_ns
        self._pause_s = PAUSE_S
        for name in ("strips_finished", "strips_left"):
            telemetry.set(name, 0)
        self._tell()

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {"start_imaging": self._start, "stop_imaging": self._stop, "load_strip": self._load}

    @property
    def is_running(self) -> bool:
        """Whether a strip is under way."""
        return self._is_running

    def wakes_on(self) -> Sequence[int]:
        return self._worker.wakes_on()

    def poll(self, now: Now) -> None:
        """The inbox has been looked at, the worker heard, and the next strip begun."""
        if now.mono_ns >= self._look_ns and len(self._waiting) < WAITING_MAX:
            self._look_ns = now.mono_ns + int(_LOOK_S * _NS_PER_S)
            self._look(now)
        self._listen()
        code = self._worker.exit_code()
        if code is not None:
            self._is_running = False
            self._listen()
            self._end(code, now)
        is_free = not (self._is_running or self._is_stopped or self._is_held())
        if self._waiting and is_free and now.mono_ns >= self._start_ns:
            self._begin()

    def close(self) -> None:
        """The strip under way goes on after the next start."""
        self._worker.stop()
        self._inbox.close()

    def _look(self, now: Now) -> None:
        there = None if self._lines else self._inbox.listing()
        if there is not None:
            self._refuse({candidate.path: candidate.fault for candidate in there if candidate.fault})
            there = [candidate for candidate in there if not candidate.fault]
            self._lines += [candidate.path for candidate in there if not candidate.stamp]
            self._take_settled([candidate for candidate in there if candidate.stamp], now)
        lines = self._lines[: WAITING_MAX - len(self._waiting)]
        self._take(_WAITING, lines, {})
        del self._lines[: len(lines)]

    def _refuse(self, faults: Mapping[str, str]) -> None:
        """What cannot be taken is told, once as long as it lies there."""
        for path in faults.keys() - self._refused:
            self._telemetry.event("inbox_name_refused", path=path, reason=faults[path])
        self._refused = set(faults)

    def _take_settled(self, there: Sequence[Candidate], now: Now) -> None:
        settled: dict[str, str] = {}
        for candidate in there:
            if self._seen.get(f"{_SEEN}{candidate.path}") == candidate.stamp:
                continue
            stamp, since_ns = self._stamps.get(candidate.path, ("", 0))
            if stamp != candidate.stamp:
                self._stamps[candidate.path] = (candidate.stamp, now.mono_ns)
            elif now.mono_ns - since_ns >= SETTLED_S * _NS_PER_S:
                settled[candidate.path] = candidate.stamp
        taken = list(settled)[: WAITING_MAX - len(self._waiting)]
        self._take(_WAITING, taken, {f"{_SEEN}{path}": settled[path] for path in taken})
        paths = {candidate.path for candidate in there}
        changing = paths - set(taken)
        self._stamps = {path: stamp for path, stamp in self._stamps.items() if path in changing}
        gone = {key: None for key in self._seen if key.removeprefix(_SEEN) not in paths}
        if gone:
            self._memory.put_all(gone)
            self._seen = {key: stamp for key, stamp in self._seen.items() if key not in gone}

    def _take(self, place: str, paths: Sequence[str], seen: Mapping[str, str]) -> None:
        """All of them wait, in this order, and that is on the disk; or none does."""
        if not paths:
            return
        last = int(self._memory.get(_NUMBER) or 0)
        names = {f"{place}{last + number:012d}": path for number, path in enumerate(paths, start=1)}
        self._memory.put_all({**names, _NUMBER: last + len(paths), **seen})
        self._seen.update(seen)
        self._waiting = dict(sorted({**self._waiting, **names}.items()))
        for path in paths:
            self._telemetry.event("strip_queued", path=path)
        self._tell()

    def _begin(self) -> None:
        job = self._job()
        name = job.get("name")
        if name not in self._waiting:  # none was under way, or it has been finished
            name = next(iter(self._waiting))
            job = {"name": name, "settings": dict(self._settings()), "attempts": 0}
        job["attempts"] += 1
        self._memory.put(_JOB, json.dumps(job))
        self._counted = {}
        self._worker.start(self._waiting[name], job["settings"])
        self._is_running = True
        self._tell()

    def _end(self, code: int, now: Now) -> None:
        job = self._job()
        path = self._waiting[job["name"]]
        self._start_ns = now.mono_ns
        if code == 0:
            self._telemetry.add("strips_finished")
            self._finish(job["name"])
        elif code in _HOPELESS or (code not in _OF_THE_BOARD and job["attempts"] >= self._attempts):
            self._telemetry.add("strips_left")
            self._telemetry.event("strip_left", path=path, exit_code=str(code), attempts=job["attempts"])
            self._finish(job["name"])
        else:
            self._start_ns += int(self._pause_s * _NS_PER_S)
            self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
            self._telemetry.event("strip_again", path=path, exit_code=str(code), attempts=job["attempts"])
        self._tell()

    def _finish(self, name: str) -> None:
        self._memory.drop(name)
        del self._waiting[name]
        self._pause_s = PAUSE_S

    def _listen(self) -> None:
        for record in self._worker.records():
            if record.get("record") == "event":
                name, parameters = str(record["event"]), cast("dict[str, Any]", record["parameters"])
                if _EVENTS.get(name) == set(parameters):
                    self._telemetry.event(name, **parameters)
            else:
                values = cast("dict[str, int | float]", record.get("values", {}))
                for name in values.keys() & _CHANNELS:
                    self._telemetry.set(name, values[name])
                for name in values.keys() & _COUNTED:
                    self._telemetry.add(name, values[name] - self._counted.get(name, 0))
                    self._counted[name] = values[name]

    def _start(self, call: Call) -> bool:
        self._memory.drop(_STOPPED)
        self._is_stopped = False
        self._start_ns = call.now.mono_ns
        self._tell()
        return True

    def _stop(self, _call: Call) -> bool:
        self._memory.put(_STOPPED, 1)
        self._is_stopped = True
        if self._is_running:
            self._worker.stop()
            self._is_running = False
            job = self._job()
            self._memory.put(_JOB, json.dumps({**job, "attempts": job["attempts"] - 1}))
        self._tell()
        return True

    def _load(self, call: Call) -> bool:
        path = str(call.groups[0]["path"])
        if not self._is_strip(path):
            raise CommandError(f"{path}: not on this disk", Failure.NOT_FOUND)
        if len(self._waiting) >= WAITING_MAX:
            raise CommandError(f"{len(self._waiting)} strips wait already", Failure.BUSY)
        self._take(_FIRST, [path], {})
        return True

    def _job(self) -> dict[str, Any]:
        job: dict[str, Any] = json.loads(str(self._memory.get(_JOB) or "{}"))
        return job

    def _tell(self) -> None:
        self._telemetry.set("strips_waiting", len(self._waiting))
        self._telemetry.set("is_imaging", int(self._is_running))
