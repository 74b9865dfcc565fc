"""What a person sees of telemetry: on a terminal a table that stays, elsewhere one line a packet."""

from __future__ import annotations

import shutil
import time
from collections import deque
from typing import TextIO

from payload.core.limits import Level, level_of
from payload.core.telemetry import CHANNELS
from payload.core.wire import Value
from tools.telemetry import Reading, Tally

_BETWEEN_S = 0.25
_EVENTS_SHOWN = 8
_MARK = {Level.NORMAL: "", Level.YELLOW: "  yellow", Level.RED: "  RED"}
_COLOUR = {Level.NORMAL: "", Level.YELLOW: "\x1b[33m", Level.RED: "\x1b[1;31m"}


class Screen:
    """Shows readings on ``out``."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_live = out.isatty()
        self._channels: dict[str, Value | None] = {}
        self._lines: deque[str] = deque(maxlen=_EVENTS_SHOWN)
        self._next_s = 0.0
        self._limits = {channel.name: channel.limits for channel in CHANNELS}
        self._units = {channel.name: channel.unit for channel in CHANNELS}

    def show(self, reading: Reading, tally: Tally) -> None:
        """The reading is on the screen, at the latest with the next one."""
        if not self._is_live:
            self._out.write(line_of(reading) + "\n")
            return
        if reading.name.startswith("housekeeping_"):
            self._channels.update(reading.values)
        else:
            self._lines.append(line_of(reading))
        self.refresh(tally)

    def refresh(self, tally: Tally, is_last: bool = False) -> None:
        """The table is drawn anew, a few times a second at most."""
        if not self._is_live or (time.monotonic() < self._next_s and not is_last):
            return
        self._next_s = time.monotonic() + _BETWEEN_S
        self._out.write(
            "\x1b[H\x1b[J" + "\n".join([*self._table(), "", *self._lines, "", tally_line(tally)]) + "\n"
        )
        self._out.flush()

    def _table(self) -> list[str]:
        cells = [self._cell(name, value) for name, value in self._channels.items() if name in self._units]
        columns = max(1, shutil.get_terminal_size().columns // 52)
        rows = -(-len(cells) // columns)
        return ["".join(cells[row::rows]) for row in range(rows)]

    def _cell(self, name: str, value: Value | None) -> str:
        limits = self._limits.get(name)
        level = level_of(float(value), limits) if limits and isinstance(value, int | float) else Level.NORMAL
        text = "-" if value is None else f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"
        line = f"{name:<24}{text:>16} {self._units[name]}{_MARK[level]}"
        return f"{_COLOUR[level]}{line:<52}" + ("\x1b[0m" if _COLOUR[level] else "")


def line_of(reading: Reading) -> str:
    """One reading on one line."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(reading.utc_ns / 1e9))
    clock = "Z" if reading.is_time_set else "?"
    values = " ".join(f"{name}={_short(value)}" for name, value in reading.values.items())
    return f"{stamp}.{reading.utc_ns // 1_000_000 % 1000:03d}{clock} {reading.name} {values}"


def tally_line(tally: Tally) -> str:
    """How much came, and what did not."""
    return (
        f"{tally.packets} packets, {tally.lost_packets} missing by their counts, "
        f"{tally.unknown_packets} of no known kind, {tally.discarded_bytes} bytes discarded, "
        f"{tally.restarts} restarts of the payload"
    )


def _short(value: Value | None) -> str:
    if value is None:
        return "-"
    return (
        repr(value) if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)
    )
