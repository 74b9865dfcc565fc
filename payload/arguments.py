"""The command line: what can be asked for, and the manual page."""

from __future__ import annotations

import argparse
from pathlib import Path

from payload import __version__

_DESCRIPTION = """\
Skysift takes a Sentinel-2 strip through scene classification, atmospheric correction and a
ranked downlink queue, inside a memory budget that it works out beforehand and keeps.
"""

_EPILOG = """\
a strip is one of
  an L1C SAFE folder (JP2, processing baselines before and after 04.00)
  a folder of 13 JP2 files, one a band
  a raw line stream: its YAML header, beside the stream (a file, a FIFO, or - for stdin)
  a GeoTIFF stack of 13 bands

a first run
  payload plan strips/example/strip.yaml --config firmware_configs/flatsat.yaml
  payload run strips/example/strip.yaml --config firmware_configs/flatsat.yaml --out build/run
  payload queue build/run
  payload contact --out build/run --rate-bit-s 2e6 --duration-s 60 --to build/ground
  python -m tools.decode build/ground --out build/decoded

exit codes
  0  done                               7  the contact broke off
  1  something not foreseen             8  the engine was lost
  2  command line or configuration      9  the engine's answer cannot be right
  3  the memory plan does not fit      10  a product is damaged or of another version
  4  the strip cannot be read, or was  11  a command is not accepted or cannot be done
     begun here otherwise              12  the disk is full
  5  the queue or the output cannot    16  an update was refused; the old model runs on
     be opened or written (damaged,   130  ended by Ctrl-C
     other version, in use)
  6  a model is not what its manifest says

A run that ended early, by whatever cause, goes on where it stopped when the same command is
given again: finished tiles are never done twice.
"""


_LARGEST = 1e12  # of a rate or a duration: nobody means more

_JSON = "print one JSON document for machines; a refusal is an exit code and a line on standard error"

_FLY = """\
everything it needs is in the section service of the configuration: APID, addresses for UDP and
TCP, the inbox for strips, the command key, intervals. docs/telemetry.md says what it sends and takes.

  python -m tools.command new-key build/command.key
  payload fly --config firmware_configs/flatsat.yaml
  python -m tools.telemetry --tcp 127.0.0.1:10026
  python -m tools.command --config firmware_configs/flatsat.yaml are_you_alive
  cp strips/example/* build/inbox/

After SIGTERM, kill -9 or a power cut the same command goes on where it was.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; `--help` reads like a manual page."""
    parser = argparse.ArgumentParser(
        prog="payload",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"skysift {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_plan(commands)
    _add_run(commands)
    _add_contact(commands)
    _add_queue(commands)
    summary = "which engines the board has, what they answer to a known tile, or why not and what to do"
    devices = _command(commands, "devices", summary)
    _add_config(devices)
    _add_telemetry_to(devices)
    _add_fly(commands)
    _add_dictionary(commands)
    _add_install(commands)
    _add_models(commands)
    _add_receive(commands)
    return parser


def _add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plan = _command(commands, "plan", "the memory plan of a strip, term by term, before anything runs")
    _add_strip(plan)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = _command(commands, "run", "take a strip through the networks into the downlink queue")
    _add_strip(run)
    run.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="gets run.json, queue.sqlite, telemetry.jsonl and quicklook.png; made if it is not there",
    )
    run.add_argument("--echo", action="store_true", help="mirror the events to standard error")
    run.add_argument(
        "--queue", type=Path, metavar="FILE", help="the queue, where it is not queue.sqlite in --out"
    )
    run.add_argument(
        "--set",
        type=_assignment,
        action="append",
        default=[],
        metavar="KEY=NUMBER",
        help="another value of the configuration, of those that may change in flight (service 20)",
    )
    _add_telemetry_to(run)


def _add_telemetry_to(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--telemetry-to",
        type=int,
        metavar="N",
        help="write telemetry to this open descriptor, not to telemetry.jsonl; the process ends with its "
        "parent: how `payload fly` runs what takes long",
    )


def _add_contact(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    contact = _command(
        commands, "contact", "one ground pass: send the best that fits, from the queue to a folder"
    )
    contact.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the run")
    contact.add_argument(
        "--rate-bit-s",
        type=_positive,
        required=True,
        metavar="R",
        help="downlink rate, bit/s (2e6 is 2 Mbit/s)",
    )
    contact.add_argument(
        "--duration-s", type=_positive, required=True, metavar="T", help="length of the pass, s"
    )
    contact.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where the ground receives")
    _add_ageing(contact)


def _add_queue(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    summary = "what waits for the ground, in the order in which one pass would carry it all, and why"
    queue = _command(commands, "queue", summary)
    queue.add_argument("out", type=Path, metavar="DIR", help="the folder of the run")
    queue.add_argument(
        "--limit",
        type=_whole,
        metavar="N",
        help="lines to show (default 20, with --json all; 0 for all)",
    )
    _add_ageing(queue)


def _add_ageing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        help="the board: products are worth what its section ageing leaves of them now; without it, "
        "what they were worth when made",
    )


def _add_fly(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    summary = "the long-running service: commands and strips in, telemetry out, until SIGTERM"
    fly = commands.add_parser(
        "fly",
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=_FLY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_config(fly)


def _add_dictionary(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    summary = "all telemetry and commands as XTCE, for the ground's own tools"
    dictionary = _command(commands, "dictionary", summary)
    _add_config(dictionary)
    dictionary.add_argument("--xtce", type=Path, required=True, metavar="FILE", help="where it goes")


def _add_install(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    install = _command(
        commands, "install", "verify new weights, a delta or a root file, and put it in force; else nothing"
    )
    install.add_argument("package", type=Path, metavar="FILE", help="what python -m tools.package made")
    install.add_argument(
        "--settle",
        action="store_true",
        help="install nothing: undo what a cut has left half done, and say whether FILE is in force",
    )
    _add_config(install)
    install.add_argument("--echo", action="store_true", help="mirror the events to standard error")
    _add_telemetry_to(install)


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = _command(commands, "models", "slots, versions, states and hashes of the models, and trials")
    _add_config(models)
    models.add_argument("--scrub", action="store_true", help="first check every package and mend its copies")
    models.add_argument(
        "--revert", choices=("scene", "surface"), help="first give up the model on trial of this task"
    )
    _add_telemetry_to(models)


def _add_receive(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    receive = _command(
        commands,
        "receive",
        "take chunks of an update, from a folder or a link; what is missing stays missing",
    )
    _add_config(receive)
    ways = receive.add_mutually_exclusive_group(required=True)
    ways.add_argument("--drop", type=Path, metavar="DIR", help="a folder with chunk files (*.skc)")
    ways.add_argument("--udp", metavar="HOST:PORT", help="listen for chunks, one a datagram")
    receive.add_argument(
        "--for-s", type=_positive, default=10.0, metavar="T", help="with --udp: end after T s without a chunk"
    )


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    command.add_argument("--json", action="store_true", help=_JSON)
    return command


def _add_strip(command: argparse.ArgumentParser) -> None:
    command.add_argument("strip", metavar="STRIP", help="SAFE or JP2 folder, raw header YAML, or GeoTIFF")
    _add_config(command)
    command.add_argument(
        "--budget-bytes",
        type=_whole_bytes,
        metavar="N",
        help="memory of the whole process tree, bytes; instead of the configuration's memory.budget_bytes",
    )


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        type=Path,
        required=True,
        metavar="YAML",
        help="the board, e.g. firmware_configs/flatsat.yaml",
    )


def _assignment(text: str) -> tuple[str, float]:
    key, is_one, number = text.partition("=")
    if not is_one:
        raise argparse.ArgumentTypeError(f"{text}: must be KEY=NUMBER, as in judge.min_clear_ratio=0.1")
    return key, float(number)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= _LARGEST:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 and at most {_LARGEST:g}")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: must not be below 0")
    return value


def _whole_bytes(text: str) -> int:
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return value
