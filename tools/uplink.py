"""Sends an update to the payload in chunks, pass after pass; what arrived is never sent again.

    python -m tools.uplink build/update.skd --drop build/drop          chunk files, for a file drop
    python -m tools.uplink build/update.skd --to 127.0.0.1:10040 --rate-bit-s 64000 --pass-s 10

The payload's side is `payload receive` with --drop or --udp. A pass begins with a question for
what is missing, so the same command given again goes on where the last one was cut off.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from payload.config import parse_address
from payload.core.chunks import Chunk, chunks_of, pack_chunk, transfer_of, unpack_answer
from payload.errors import InstallError

LIMIT_BYTES = 1 << 32
ANSWER_S = 2.0
QUESTIONS = 10
ROUNDS = 20
"""Questions at the end of a pass: what was lost in it is sent again while there is time."""


@dataclass(frozen=True)
class Passed:
    """What one pass carried; ``missing_bytes`` is None where nobody answered."""

    chunks: int
    sent_bytes: int
    seconds: float
    missing_bytes: int | None


def write_chunk_files(content: bytes, folder: Path) -> int:
    """One .skc file for each chunk, in ``folder``; how many."""
    folder.mkdir(parents=True, exist_ok=True)
    name, chunks = transfer_of(content).hex(), list(chunks_of(content))
    for chunk in chunks:
        (folder / f"{name}.{chunk.start:010d}.skc").write_bytes(pack_chunk(chunk))
    return len(chunks)


def send_pass(
    content: bytes,
    address: tuple[str, int],
    rate_bit_s: float,
    pass_s: float,
    loss_ratio: float = 0.0,
    seed: int = 0,
) -> Passed:
    """What is missing goes over the link, at its rate, until the pass is over.

    Args:
        loss_ratio: simulated: this share of the datagrams is not sent.
    """
    chance = random.Random(seed)
    began_s = time.monotonic()
    chunks = sent_bytes = 0
    missing: list[tuple[int, int]] | None = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(address)
        for _ in range(ROUNDS):
            missing = ask(link, content)
            if not missing or time.monotonic() - began_s >= pass_s:
                break
            for chunk in chunks_of(content, missing):
                packed = pack_chunk(chunk)
                due_s = began_s + (sent_bytes + len(packed)) * 8 / rate_bit_s
                if due_s - began_s > pass_s:
                    break
                time.sleep(max(0.0, due_s - time.monotonic()))
                if chance.random() >= loss_ratio:
                    link.send(packed)
                chunks += 1
                sent_bytes += len(packed)
            else:
                continue
            missing = ask(link, content)
            break
    missing_bytes = None if missing is None else sum(end - start for start, end in missing)
    return Passed(chunks, sent_bytes, time.monotonic() - began_s, missing_bytes)


def ask(link: socket.socket, content: bytes) -> list[tuple[int, int]] | None:
    """What the payload lacks of the file; None if it does not answer."""
    question = pack_chunk(Chunk(transfer_of(content), len(content), 0, b""))
    for _ in range(QUESTIONS):
        try:
            link.settimeout(ANSWER_S)
            link.send(question)
            return unpack_answer(link.recv(65536), LIMIT_BYTES)
        except ConnectionRefusedError:  # nobody listens there yet
            time.sleep(0.2)
        except (OSError, InstallError):
            continue
    return None


def main() -> int:
    """Files, or one pass; 0 if the whole file is there, 1 if not, 2 if it cannot be read, written or sent."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.uplink",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a package, delta or root file")
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--drop", type=Path, metavar="DIR", help="write chunk files there")
    ways.add_argument("--to", metavar="HOST:PORT", help="send one pass to payload receive --udp")
    parser.add_argument("--rate-bit-s", type=float, default=64_000.0, metavar="R", help="of the link (64000)")
    parser.add_argument("--pass-s", type=float, default=480.0, metavar="T", help="length of the pass (480)")
    asked = parser.parse_args()
    if not asked.rate_bit_s > 0:
        parser.error(f"--rate-bit-s {asked.rate_bit_s:g}: must be above 0")
    try:
        content = asked.file.read_bytes()
        chunks = write_chunk_files(content, asked.drop) if asked.drop else 0
    except OSError as error:
        print(f"tools.uplink: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    if asked.drop:
        print(f"{chunks} chunks of {len(content)} bytes in {asked.drop}")
        return 0
    address = parse_address(asked.to)
    if address is None:
        parser.error(f"--to {asked.to}: must be HOST:PORT")
    try:
        found = send_pass(content, address, asked.rate_bit_s, asked.pass_s)
    except OSError as error:
        print(f"tools.uplink: {asked.to}: cannot be sent to: {error.strerror}", file=sys.stderr)
        return 2
    rest = "nobody answered" if found.missing_bytes is None else f"{found.missing_bytes} bytes are missing"
    print(f"{found.chunks} chunks, {found.sent_bytes} bytes in {found.seconds:.1f} s; {rest}")
    return 0 if found.missing_bytes == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
