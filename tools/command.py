"""Commands the payload from the ground, and shows what it answers.

    python -m tools.command new-key build/command.key         a key for payload and ground
    python -m tools.command list                              every command with its arguments
    python -m tools.command --config YAML are_you_alive
    python -m tools.command --config YAML set_parameters parameter_id=1 parameter_value=0.1
    python -m tools.command --config YAML load_strip path=/data/strip.yaml
    python -m tools.command --config YAML at 2026-12-01T12:00:00Z stop_imaging

Address, APID and key are those of the payload's configuration; --tcp and --key say otherwise.
The counter that makes a replay impossible is the time in nanoseconds, so nothing has to be kept;
a ground whose clock was once ahead must wait until it has caught up with itself.

exit codes: 0 the command is completed; 1 it was refused, failed, or nobody answered; 2 the command line,
the configuration or the key cannot be used: nothing was sent
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from payload.config import Config, load_config, parse_address
from payload.core.guard import KEY_BYTES, parse_key, seal
from payload.core.packets import pack_telecommand, request_of
from payload.core.telecommands import COMMANDS, Command, command_named
from payload.core.wire import TEXT_MAX_CHARS, Field, Wire, ones
from payload.errors import ConfigError
from payload.instants import utc_ns_of
from tools.telemetry import Reader, Reading
from tools.telemetry.screen import line_of

_ENDINGS = {
    "command_completed": 0,
    "command_not_accepted": 1,
    "command_not_started": 1,
    "command_not_completed": 1,
}
_NS_PER_MS = 1_000_000
_NUMBERS = (Wire.U8, Wire.U16, Wire.U32, Wire.U64)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    description, _, epilog = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tools.command",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="YAML", help="the payload's configuration")
    parser.add_argument("--tcp", metavar="HOST:PORT", help="where the payload is, if elsewhere")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the command key, if elsewhere")
    parser.add_argument(
        "--timeout-s", type=float, default=10.0, metavar="T", help="for the answer (default 10)"
    )
    parser.add_argument("words", nargs="+", metavar="COMMAND [NAME=VALUE ...]", help="see list")
    return parser


def main() -> int:
    """Send one command and show its reports; see --help."""
    parser = build_parser()
    arguments = parser.parse_args()
    name, *rest = arguments.words
    if name == "list":
        sys.stdout.write("\n".join(map(_synopsis, COMMANDS)) + "\n")
        return 0
    try:
        if name == "new-key" and len(rest) == 1:
            return _make_key(Path(rest[0]))
        if arguments.config is None:
            parser.error("--config is needed to command the payload")
        config = load_config(arguments.config)
        address = _address(arguments, config)
        packet = _packet(arguments, config)
    except (ConfigError, ValueError, OSError) as error:
        sys.stderr.write(f"tools.command: {error}\n")
        return 2
    try:
        return _send(address, packet, Reader(config.service.apid), arguments.timeout_s)
    except OSError as error:
        sys.stderr.write(f"tools.command: {address[0]}:{address[1]}: {error.strerror or error}\n")
        return 1


def packet_of(words: Sequence[str], key: bytes, apid: int, counter: int, sequence: int) -> bytes:
    """The telecommand that ``words`` ask for, sealed.

    Raises:
        ValueError: no such command, argument or value.
    """
    if words[0] == "at":
        if len(words) < 3:
            raise ValueError("at TIME COMMAND [NAME=VALUE ...]; given: " + " ".join(words))
        release_ns = utc_ns_of(words[1]) // _NS_PER_MS * _NS_PER_MS
        command, content = _parsed(words[2:])
        inner = pack_telecommand(apid, command.service, command.subtype, sequence, content)
        scheduling = _named("schedule_commands")
        content = scheduling.pack({"release_time": release_ns, "command": inner})
        command = scheduling
    else:
        command, content = _parsed(words)
    return seal(key, counter, apid, command.service, command.subtype, sequence, content)


def _address(arguments: argparse.Namespace, config: Config) -> tuple[str, int]:
    address = parse_address(arguments.tcp or config.service.tcp_listen)
    if address is not None:
        return address
    if arguments.tcp:
        raise ConfigError(f"--tcp {arguments.tcp}: must be HOST:PORT")
    raise ConfigError("no address to connect to: the configuration has no tcp_listen, give --tcp")


def _packet(arguments: argparse.Namespace, config: Config) -> bytes:
    path = arguments.key or config.folder(config.service.command_key)
    key = parse_key(path.read_text(encoding="ascii"), str(path))
    counter = time.time_ns()
    return packet_of(arguments.words, key, config.service.apid, counter, counter & 0x3FFF)


def _send(address: tuple[str, int], packet: bytes, reader: Reader, timeout_s: float) -> int:
    with socket.create_connection(address, timeout=timeout_s) as tcp:
        tcp.sendall(packet)
        return _watch(tcp, reader, packet, timeout_s)


def _watch(tcp: socket.socket, reader: Reader, packet: bytes, timeout_s: float) -> int:
    """Shows what comes until the command has ended; its exit code."""
    request = request_of(packet).fields()
    ends_s = time.monotonic() + timeout_s
    while (left_s := ends_s - time.monotonic()) > 0:
        tcp.settimeout(left_s)
        try:
            chunk = tcp.recv(65536)
        except TimeoutError:
            break
        if not chunk:
            sys.stderr.write("tools.command: the payload closed the connection before the command's end\n")
            return 1
        for reading in reader.feed(chunk):
            sys.stdout.write(line_of(reading) + "\n")
            if _is_about(reading, request) and reading.name in _ENDINGS:
                return _ENDINGS[reading.name]
    sys.stderr.write(f"tools.command: no end of the command within {timeout_s:g} s\n")
    return 1


def _is_about(reading: Reading, request: dict[str, int]) -> bool:
    return all(reading.values.get(name) == value for name, value in request.items())


def _parsed(words: Sequence[str]) -> tuple[Command, bytes]:
    """A command and its arguments on the wire."""
    command = _named(words[0] if words else "")
    names = [word.partition("=")[0] for word in words[1:]]
    given = dict(word.partition("=")[::2] for word in words[1:])
    wanted = {field.name: field for field in command.fields if field.name not in command.fixed}
    if sorted(names) != sorted(wanted):
        raise ValueError(f"{_synopsis(command)}; given: {', '.join(names) or 'nothing'}")
    values = {name: _value(field, given[name]) for name, field in wanted.items()}
    return command, command.pack(values) if command.fields else command.pack()


def _named(name: str) -> Command:
    try:
        return command_named(name)
    except KeyError:
        raise ValueError(f"{name!r} is no command; `list` shows them all") from None


def _value(field: Field, text: str) -> int | float | str:
    """What goes up is what was given, or nothing goes: on the wire it would be cut or changed silently."""
    shown = f"{field.name}={text}"
    if field.wire is Wire.TEXT:
        if not text.isascii():
            raise ValueError(f"{shown}: only ASCII goes up")
        if len(text) > TEXT_MAX_CHARS:
            raise ValueError(f"{shown}: {len(text)} characters, at most {TEXT_MAX_CHARS} go up")
        return text
    try:
        number = int(text, 0) if field.wire in _NUMBERS else float(text)
    except ValueError:
        raise ValueError(f"{shown}: no number") from None
    if field.wire in _NUMBERS and not 0 <= number <= ones(field.wire):
        raise ValueError(f"{shown}: must be 0 to {ones(field.wire)}")
    return number


def _synopsis(command: Command) -> str:
    names = [
        f"{field.name}={field.wire.value.upper()}"
        for field in command.fields
        if field.name not in command.fixed
    ]
    return f"({command.service},{command.subtype}) {' '.join([command.name, *names])}  {command.meaning}"


def _make_key(path: Path) -> int:
    """A new random key, which only its owner may read; an old one is never written over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
    sys.stdout.write(f"{path}: a new command key\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
