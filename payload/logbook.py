"""The one log: telemetry on its way to a file, and the folder that it lies in."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from payload.core.telemetry import Telemetry
from payload.drivers.board import SystemClock
from payload.drivers.telemetry_log import TelemetryLog
from payload.errors import PayloadError, StoreError


def make_folder(folder: Path) -> None:
    """The folder is there.

    Raises:
        StoreError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot make the folder: {error.strerror}") from error


class RecordSink(Protocol):
    """What takes records: a file, or a pipe."""

    def append(self, records: Sequence[dict[str, object]]) -> None:
        """All records are taken, or a StoreError is raised."""
        ...

    def close(self) -> None: ...


class Log:
    """Telemetry on its way to the file, mirrored to standard error if asked for."""

    def __init__(self, to: Path | RecordSink, echo: bool) -> None:
        """Open the log, and make its folder if it is not there; or log to what is open already.

        Raises:
            StoreError: the disk refuses.
        """
        if isinstance(to, Path):
            make_folder(to.parent)
        self.telemetry = Telemetry()
        self._clock = SystemClock()
        self._file: RecordSink = TelemetryLog(to) if isinstance(to, Path) else to
        self._echo = echo

    def flush(self) -> None:
        """The events so far are in the file, and one sample of the channels."""
        events = self.telemetry.take_events(self._clock.utc_ns())
        if self._echo:
            for event in events:
                sys.stderr.write(f"{event['severity']}: {event['event']} {event['parameters']}\n")
        self._file.append([*events, self.telemetry.sample(self._clock.utc_ns())])

    def refuse(self, error: PayloadError) -> None:
        """The error as an event, if the disk still takes it."""
        if error.event is not None:
            self.telemetry.event(error.event, **error.parameters())
        try:
            self.flush()
        except StoreError as second:
            sys.stderr.write(f"payload: {second}\n")

    def close(self) -> None:
        """What was told is on the disk."""
        self._file.close()


@contextmanager
def opened_log(to: Path | RecordSink, echo: bool) -> Iterator[Log]:
    """A log for one command: what ends the command is told before it is closed.

    Raises:
        StoreError: the disk refuses.
    """
    log = Log(to, echo)
    try:
        yield log
    except PayloadError as error:
        log.refuse(error)
        raise
    finally:
        log.close()
