"""Progress of a long command: over the last line of a terminal, and nowhere else."""

from __future__ import annotations

import sys


def show(line: str) -> None:
    """Replace the line on stderr."""
    if sys.stderr.isatty():
        print(f"\r{line}", end="", file=sys.stderr, flush=True)


def end() -> None:
    """Leave the last line and begin another."""
    if sys.stderr.isatty():
        print(file=sys.stderr)
