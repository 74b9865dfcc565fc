"""The program's entry: arguments in, exit code out."""

from __future__ import annotations

import sys
import traceback

from payload.arguments import build_parser
from payload.dispatch import main_of
from payload.errors import INTERRUPTED

_UNFORESEEN = 1


def main() -> int:
    """Run one command; see `payload --help` for the exit codes."""
    arguments = build_parser().parse_args()
    try:
        return main_of(arguments)
    except KeyboardInterrupt:
        sys.stderr.write(f"\npayload {arguments.command}: interrupted; the same command goes on from here\n")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone; what was done is done
        return 0
    except Exception:
        traceback.print_exc()
        sys.stderr.write(f"payload {arguments.command}: not foreseen; please report the lines above\n")
        return _UNFORESEEN


if __name__ == "__main__":
    sys.exit(main())
