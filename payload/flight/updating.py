"""New weights in flight: installed by command, given up by command, checked on a period.

Rules:
1. An installation runs in a process of its own, and only while no strip does: its known tiles
   need the memory that a strip's networks have. No strip begins until it has ended.
2. One job at a time; an installation is refused while another one waits or runs.
3. What is refused fails its command with REFUSED_CODE plus the number of the refusal, and its reason.
4. What the process tells is told again here. A round over the weights waits for an idle turn.
5. A job is remembered on the disk from its acceptance to its report. After a restart nobody
   repeats an installation: what is half done is undone, and its command is reported as completed
   if the model or root is in force, else as failed by the refusal INTERRUPTED. Giving up a trial is
   done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from payload.core.packets import Failure, Request
from payload.core.refusals import MEANINGS, REFUSED_CODE
from payload.core.telemetry import CHANNELS, EVENTS, Telemetry
from payload.errors import CommandError
from payload.flight.calls import Call, Execute, Now, Quiet
from payload.ports import FlightMemory, StripWorker
from payload.types import Task

INSTALL, REVERT, SCRUB, SETTLE = "install", "revert", "scrub", "settle"
_COMMANDS = {INSTALL: "install_model", REVERT: "revert_model"}
_JOB = "model_job"
_NS_PER_S = 1_000_000_000
_EVENTS = {event.name: set(event.parameters) for event in EVENTS}
_CHANNELS = {channel.name for channel in CHANNELS}


class Updating(Quiet):
    """Runs one job of the model slots after the other."""

    def __init__(
        self,
        worker: StripWorker,
        telemetry: Telemetry,
        is_strip_running: Callable[[], bool],
        is_file: Callable[[str], bool],
        scrub_period_s: Callable[[], float],
        memory: FlightMemory,
        call_of: Callable[[str, Request], Call],
        started: Now,
    ) -> None:
        """``worker`` is started with a job: its kind, a colon, and the path or task.

        ``call_of`` gives the call of a command that was accepted before this start.
        """
        self._worker = worker
        self._telemetry = telemetry
        self._is_strip_running = is_strip_running
        self._is_file = is_file
        self._scrub_period_s = scrub_period_s
        self._memory = memory
        self._scrub_ns = started.mono_ns + int(scrub_period_s() * _NS_PER_S)
        self._waiting: tuple[str, Call | None] | None = None
        self._call: Call | None = None
        self._is_running = False
        self._refusal: CommandError | None = None
        self._taken_before: Call | None = None
        self._remember_last(call_of)

    def _remember_last(self, call_of: Callable[[str, Request], Call]) -> None:
        """A job that the last life of the service did not end is to be settled (rule 5)."""
        found = self._memory.get(_JOB)
        if found is not None:
            job, packet_id, sequence_control = json.loads(str(found))
            kind, _, what = job.partition(":")
            call = call_of(_COMMANDS[kind], Request(packet_id, sequence_control))
            self._waiting = (job if kind == REVERT else f"{SETTLE}:{what}", call)
            self._taken_before = call

    @property
    def is_running(self) -> bool:
        """Whether a job runs."""
        return self._is_running

    @property
    def is_wanted(self) -> bool:
        """Whether a job runs, or waits for the strip under way: then no strip begins."""
        return self._is_running or self._waiting is not None

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {"install_model": self._install, "revert_model": self._revert}

    def wakes_on(self) -> Sequence[int]:
        return self._worker.wakes_on()

    def poll(self, now: Now) -> None:
        """The job under way has been heard, or the next begun."""
        self._listen()
        code = self._worker.exit_code() if self._is_running else None
        if code is not None:
            self._is_running = False
            self._listen()
            self._end(code)
        if self._waiting is None and now.mono_ns >= self._scrub_ns and not self.is_wanted:
            self._scrub_ns = now.mono_ns + int(self._scrub_period_s() * _NS_PER_S)
            self._waiting = (f"{SCRUB}:", None)
        if self._waiting is not None and not self._is_running and not self._is_strip_running():
            job, self._call = self._waiting
            self._waiting = None
            self._refusal = None
            self._is_running = True
            self._worker.start(job, {})
            if self._call is not None and self._call is self._taken_before:
                self._call.start()  # of this life's calls whoever took them has said so

    def close(self) -> None:
        """The job under way ends; the slots stay as its last whole step left them."""
        self._worker.stop()
        waiting = self._waiting[1] if self._waiting is not None else None
        for call in (self._call, waiting):
            if call is not None:
                call.fail(CommandError("the service ends", Failure.INTERRUPTED))
        self._call = self._waiting = None

    def _install(self, call: Call) -> bool:
        path = str(call.groups[0]["path"])
        if not self._is_file(path):
            raise CommandError(f"{path}: there is no such file", Failure.NOT_FOUND)
        return self._take(f"{INSTALL}:{path}", call)

    def _revert(self, call: Call) -> bool:
        task = str(call.groups[0]["task"])
        if task not in {known.value for known in Task}:
            raise CommandError(f"{task}: no task; scene or surface", Failure.NOT_FOUND)
        return self._take(f"{REVERT}:{task}", call)

    def _take(self, job: str, call: Call) -> bool:
        is_busy = self._call is not None or (self._waiting is not None and self._waiting[1] is not None)
        if is_busy:
            raise CommandError("another job of the model slots is under way", Failure.BUSY)
        request = call.request
        self._memory.put(_JOB, json.dumps([job, request.packet_id, request.sequence_control]))
        self._waiting = (job, call)
        return False

    def _listen(self) -> None:
        for record in self._worker.records():
            if record.get("record") == "event":
                self._retell(str(record.get("event")), record.get("parameters"))
            values = record.get("values")
            if isinstance(values, Mapping):
                for name in ("trial_tiles", "trial_faults", "rollback_index"):
                    if name in _CHANNELS and name in values:
                        self._telemetry.set(name, values[name])
                for name in ("scrubbed_blocks", "mended_blocks"):
                    self._telemetry.add(name, values.get(name, 0))

    def _retell(self, name: str, parameters: object) -> None:
        if isinstance(parameters, Mapping) and set(parameters) == _EVENTS.get(name):
            self._telemetry.event(name, **parameters)
            if name == "install_refused" and parameters["code"] in MEANINGS:
                self._refusal = CommandError(
                    str(parameters["reason"]), REFUSED_CODE + int(parameters["code"])
                )

    def _end(self, code: int) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        if code == 0:
            call.complete()
        elif self._refusal is not None:
            call.fail(self._refusal)
        else:
            call.fail(CommandError(f"it ended with exit code {code}", Failure.INTERRUPTED))
        self._memory.drop(_JOB)
