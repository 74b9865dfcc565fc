"""A command on its way through the payload, and what a service is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from payload.core.packets import Request, Telecommand
from payload.core.telecommands import Arguments, Command
from payload.core.telemetry import Telemetry, Value
from payload.errors import CommandError
from payload.flight.downlink import Downlink


@dataclass(frozen=True, slots=True)
class Now:
    """The time of one turn of the loop: UTC may be wrong or jump, ``mono_ns`` only grows."""

    utc_ns: int
    mono_ns: int


class Call:
    """One accepted command, reported on by service 1 until it is completed or has failed.

    ``groups`` are its arguments: one group, or N where the command repeats them. ``now`` is
    when it was taken.
    """

    def __init__(
        self,
        command: Command,
        groups: list[Arguments],
        request: Request,
        now: Now,
        acknowledge: Telecommand | None,
        downlink: Downlink,
        telemetry: Telemetry,
    ) -> None:
        """``acknowledge`` says which reports are wanted; None wants them all."""
        self.command = command
        self.groups = groups
        self.request = request
        self.now = now
        self._wants = acknowledge
        self._downlink = downlink
        self._telemetry = telemetry
        self._steps = 0

    def report(self, name: str, values: Mapping[str, Value | None]) -> None:
        """A report that the command asked for, or one on it, goes to where the command came from."""
        self._downlink.report(name, values, self._wants.source_id if self._wants else 0)

    def start(self) -> None:
        """The command is being done."""
        if self._wants is None or self._wants.wants_start:
            self.report("command_started", self.request.fields())

    def progress(self) -> None:
        """One more step of it is done."""
        self._steps += 1
        if self._wants is None or self._wants.wants_progress:
            self.report("command_progressed", {**self.request.fields(), "step": self._steps})

    def complete(self) -> None:
        """All of it is done."""
        if self._wants is None or self._wants.wants_completion:
            self.report("command_completed", self.request.fields())

    def stop_at_step(self, error: CommandError) -> None:
        """The next step could not be done, and so neither can the command; always reported."""
        step: dict[str, Value] = {"step": self._steps + 1, "failure_code": error.failure_code}
        self.report("command_not_progressed", {**self.request.fields(), **step, "reason": str(error)})
        self.fail(error)

    def fail(self, error: CommandError) -> None:
        """Nothing more of it will be done; a failure is always reported."""
        self._fail("command_not_completed", error)

    def not_started(self, error: CommandError) -> None:
        """There is nobody who does it; always reported."""
        self._fail("command_not_started", error)

    def _fail(self, report: str, error: CommandError) -> None:
        self._telemetry.add("commands_failed")
        self._telemetry.event(
            "command_failed",
            service=self.command.service,
            subtype=self.command.subtype,
            failure_code=error.failure_code,
            reason=str(error),
        )
        self.report(
            report,
            {**self.request.fields(), "failure_code": error.failure_code, "reason": str(error)},
        )


Execute = Callable[[Call], bool]
"""Does a command: True if it is done, False if `Call.complete` or `fail` follow later.

Raises:
    CommandError: it cannot be done; nothing was changed.
"""


class Service(Protocol):
    """Something that hangs in the loop."""

    @property
    def commands(self) -> Mapping[str, Execute]:
        """By the name of the command in `core.telecommands`."""
        ...

    @property
    def packets(self) -> Mapping[int, Callable[[bytes, Now], None]]:
        """What takes the content of space packets of another APID than the payload's commands."""
        ...

    def wakes_on(self) -> Sequence[int]:
        """File descriptors whose readability ends the loop's wait."""
        ...

    def pause_s(self) -> float:
        """How long the loop may wait before the next poll."""
        ...

    def poll(self, now: Now) -> None:
        """Do what is due, in a few milliseconds."""
        ...

    def close(self) -> None:
        """The loop ends in order; what must survive is on the disk."""
        ...


class Quiet:
    """What a service need not write down: no command, no packet, nothing to wait for."""

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {}

    @property
    def packets(self) -> Mapping[int, Callable[[bytes, Now], None]]:
        return {}

    def wakes_on(self) -> Sequence[int]:
        return ()

    def pause_s(self) -> float:
        return math.inf

    def poll(self, now: Now) -> None:
        """Nothing is due."""

    def close(self) -> None:
        """Nothing is open."""
