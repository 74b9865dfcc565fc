"""What a person at a terminal, or a program behind a pipe, sees of a command."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from payload.errors import StoreError

if TYPE_CHECKING:  # the service speaks, too, and has no use for the networks
    from payload.imaging import Progress

_MEBIBYTE = 1 << 20
_BETWEEN_S = 0.2


def say(text: str) -> None:
    """``text`` is a line, or some, of standard output, and has left this process.

    Raises:
        StoreError: it cannot be written, as to a file on a full disk.
        BrokenPipeError: who read it has gone.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what still waits in the buffer
        if isinstance(error, BrokenPipeError):
            raise
        raise StoreError(f"standard output: {error.strerror}") from error


class ProgressLine:
    """One line on standard error that is written over; nothing at all if it is no terminal."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_mib = budget_bytes / _MEBIBYTE
        self._first: int | None = None
        self._began_s = time.monotonic()
        self._next_s = 0.0
        self._is_shown = sys.stderr.isatty()

    def show(self, progress: Progress) -> None:
        """Write the line anew, a few times a second at most, and always for the last tile."""
        now_s = time.monotonic()
        if self._first is None:  # tiles of earlier runs do not count for the rate
            self._first = progress.tiles_done - 1
        is_last = progress.tiles_done == progress.tiles
        if not self._is_shown or (now_s < self._next_s and not is_last):
            return
        self._next_s = now_s + _BETWEEN_S
        rate_hz = (progress.tiles_done - self._first) / max(now_s - self._began_s, 1e-9)
        left_s = (progress.tiles - progress.tiles_done) / rate_hz if rate_hz else 0.0
        line = (
            f"tiles {progress.tiles_done}/{progress.tiles}  {rate_hz:.1f}/s  {left_s:.0f} s left  "
            f"memory {progress.resident_bytes / _MEBIBYTE:.0f} of {self._budget_mib:.0f} MiB  "
            f"queue {progress.queue_entries} products, {progress.queue_bytes / _MEBIBYTE:.1f} MiB"
        )
        sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if is_last else ""))
        sys.stderr.flush()


def table(rows: list[tuple[str, ...]], numeric: tuple[int, ...] = ()) -> str:
    """``rows``, the first of them the heading, as aligned columns; ``numeric`` to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
