"""Reads the payload's telemetry: a live table, or one line a packet, and CSV or Parquet tables.

    python -m tools.telemetry FILE                      what was recorded; - is standard input
    python -m tools.telemetry --udp 10015               what the payload sends there, until Ctrl-C
    python -m tools.telemetry --tcp 127.0.0.1:10026     connect to the payload
    ... --csv FOLDER --parquet FOLDER --record FILE

A damaged packet costs itself alone, also where its length is damaged. At the end a line says
how many packets came, and how many did not.

exit codes: 0 done; 1 a file cannot be read or written, or nobody is there (also one who closes
the connection without a packet); 2 command line, or the extra parquet is missing
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from payload.config import parse_address
from tools.telemetry import Reader, Reading
from tools.telemetry.export import CsvTables, ParquetTables
from tools.telemetry.screen import Screen, tally_line

_CHUNK_BYTES = 65536
_PAUSE_S = 1.0


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    description, _, epilog = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tools.telemetry",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", metavar="FILE", help="recorded telemetry, or -")
    source.add_argument("--udp", metavar="[HOST:]PORT", type=_address, help="take datagrams here")
    source.add_argument("--tcp", metavar="HOST:PORT", type=_address, help="connect there")
    parser.add_argument("--apid", type=int, default=100, metavar="N", help="of the payload (default 100)")
    parser.add_argument("--csv", type=Path, metavar="FOLDER", help="write KIND.csv there")
    parser.add_argument(
        "--parquet", type=Path, metavar="FOLDER", help="write KIND.parquet there (extra parquet)"
    )
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the bytes as they come to FILE")
    parser.add_argument("--quiet", action="store_true", help="show the last line only")
    return parser


def main() -> int:
    """Read until the end, or until Ctrl-C; see --help."""
    arguments = build_parser().parse_args()
    reader = Reader(arguments.apid)
    screen = None if arguments.quiet else Screen(sys.stdout)
    is_closed = False
    try:
        with ExitStack() as opened:
            tables: list[CsvTables | ParquetTables] = []
            if arguments.csv:
                tables.append(CsvTables(arguments.csv))
            if arguments.parquet:
                tables.append(ParquetTables(arguments.parquet))
            for table in tables:
                opened.callback(table.close)
            record = opened.enter_context(arguments.record.open("ab")) if arguments.record else None
            with suppress(KeyboardInterrupt):
                for reading in readings(arguments, reader, record):
                    for table in tables:
                        table.add(reading)
                    if screen:
                        screen.show(reading, reader.tally)
                is_closed = arguments.tcp is not None
    except BrokenPipeError:
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"tools.telemetry: {where}{error.strerror or error}\n")
        return 1
    if screen:
        screen.refresh(reader.tally, is_last=True)
    sys.stderr.write(tally_line(reader.tally) + "\n")
    if is_closed:
        sys.stderr.write(f"tools.telemetry: {_shown(arguments.tcp)} closed the connection\n")
    return 1 if is_closed and not reader.tally.packets else 0


def readings(arguments: argparse.Namespace, reader: Reader, record: BinaryIO | None) -> Iterator[Reading]:
    """Everything that comes, read; half a packet is given up after a pause."""
    for chunk in chunks(arguments):
        if record and chunk:
            record.write(chunk)
        yield from reader.feed(chunk) if chunk else reader.end()
    yield from reader.end()


def chunks(arguments: argparse.Namespace) -> Iterator[bytes]:
    """The bytes as they come; an empty chunk is a pause, or the end of a datagram."""
    if arguments.udp:
        with _naming(arguments.udp), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(arguments.udp)
            while True:
                yield udp.recv(_CHUNK_BYTES)
                yield b""
    elif arguments.tcp:
        with _naming(arguments.tcp), socket.create_connection(arguments.tcp) as tcp:
            tcp.settimeout(_PAUSE_S)
            yield from _stream(tcp)
    elif arguments.file == "-":
        while chunk := sys.stdin.buffer.read1(_CHUNK_BYTES):  # type: ignore[union-attr]
            yield chunk
    else:
        with Path(arguments.file).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def _stream(tcp: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            chunk = tcp.recv(_CHUNK_BYTES)
        except TimeoutError:
            yield b""
            continue
        if not chunk:
            return
        yield chunk


@contextmanager
def _naming(address: tuple[str, int]) -> Iterator[None]:
    """What goes wrong with a socket says with which."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), _shown(address)) from error


def _shown(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def _address(text: str) -> tuple[str, int]:
    found = parse_address(text if ":" in text else f"0.0.0.0:{text}")
    if found is None:
        raise argparse.ArgumentTypeError(f"{text}: must be PORT or HOST:PORT")
    return found


if __name__ == "__main__":
    # Both end it in good order, also where a shell in the background has Ctrl-C ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
