"""Which function does a command. What the service has no need of is not even imported for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from payload.errors import NO_SPACE, PayloadError, StoreError

_IN_FLIGHT = ("fly", "dictionary")
_OF_MODELS = ("install", "models", "receive")


def main_of(arguments: argparse.Namespace) -> int:
    """Run the command; its exit code, with one line on standard error if it failed."""
    try:
        _commands(arguments.command)[arguments.command](arguments)
    except PayloadError as error:
        sys.stderr.write(f"payload {arguments.command}: {error}\n")
        return NO_SPACE if isinstance(error, StoreError) and error.is_disk_full else error.exit_code
    return 0


def _commands(name: str) -> Mapping[str, Callable[[argparse.Namespace], None]]:
    """The table that ``name`` is in; the codecs and networks of the others are some 25 MB."""
    if name in _IN_FLIGHT:
        from payload.flying import COMMANDS

        return COMMANDS
    if name in _OF_MODELS:
        from payload.model_commands import COMMANDS as OF_MODELS

        return OF_MODELS
    from payload.commands import COMMANDS as OTHERS

    return OTHERS
