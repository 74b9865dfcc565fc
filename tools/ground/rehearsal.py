"""`python -m tools.ground.rehearsal`: a pass on one machine, flight and ground over loopback.

Takes a strip through the networks (unless the queue is there already), starts `payload fly` with
a contact plan whose pass begins now, and the ground station beside it, which throws away a part
of everything that comes down or goes up. Ends when the queue is empty or the pass is over, with
the report and the pictures. Everything lies in DIR. The payload flies with the board's own
configuration, but for its folders, ports and contact plan.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import yaml

from payload.drivers.product_store import SqliteProductStore
from tools.whole import whole

_START_S = 3.0  # until the service is up
_END_TIMEOUT_S = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Rehearse a pass; the exit code."""
    parsed = _parser().parse_args(arguments)
    out: Path = parsed.out.absolute()
    state = out / "state"
    if (state / "queue.sqlite").exists() and queued(state) == 0:
        for folder in (state, out / "ground"):  # that rehearsal is over
            shutil.rmtree(folder, ignore_errors=True)
    state.mkdir(parents=True, exist_ok=True)
    flight, ground = write_configs(parsed.config, out, parsed.loss)
    if not (state / "queue.sqlite").exists():
        command = ["payload", "run", parsed.strip, "--config", str(flight), "--out", str(state)]
        subprocess.run([sys.executable, "-m", *command], check=True)
    before = queued(state)
    write_contacts(out / "contacts.yaml", [(_START_S, parsed.duration_s, parsed.rate_bit_s)])
    print(
        f"{before} products wait; the pass begins in {_START_S:g} s, {parsed.rate_bit_s / 1e6:g} Mbit/s, "
        f"{parsed.loss:.0%} of all packets are lost",
        flush=True,
    )
    with flying(flight):
        limit = ["--duration-s", str(parsed.duration_s + _START_S), "--until-quiet-s", "5"]
        found = subprocess.run([*station_command(ground, out / "ground"), *limit], check=False)
    left = queued(state)
    report = json.loads((out / "ground" / "pass.json").read_text())
    print(f"{left} of {before} products still wait on board")
    return found.returncode or int(len(report["products"]) < before - left)


def station_command(config: Path, out: Path) -> list[str]:
    """What starts the ground station of ``config`` in a process of its own."""
    return [sys.executable, "-m", "tools.ground", "--config", str(config), "--out", str(out)]


def write_configs(board: Path, out: Path, loss: float) -> tuple[Path, Path]:
    """The board's configuration with folders in ``out`` and free ports, and a station that fits it."""
    flight = yaml.safe_load(board.read_text(encoding="utf-8"))
    down, up, tcp = (f"127.0.0.1:{port}" for port in free_ports(3))
    for section, name in (("strip", "scratch"), ("models", "scene"), ("models", "surface")):
        flight[section][name] = str((board.parent / flight[section][name]).resolve())
    flight["service"] |= {
        "state": str(out / "state"),
        "inbox": str(out / "inbox"),
        "command_key": str(out / "command.key"),
        "udp_listen": up,
        "udp_send_to": down,
        "tcp_listen": tcp,
    }
    flight["downlink"] |= {"contact_plan": str(out / "contacts.yaml"), "uplink": str(out / "uplink")}
    ground = yaml.safe_load((Path(__file__).parent / "bench.yaml").read_text(encoding="utf-8"))
    ground |= {"listen": down, "send_to": up, "loss_ratio": loss, "command_key": "command.key"}
    (out / "command.key").write_text(secrets.token_hex(32) + "\n")
    return _written(out / "flight.yaml", flight), _written(out / "ground.yaml", ground)


def _written(path: Path, document: Mapping[str, object]) -> Path:
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def write_contacts(path: Path, passes: Sequence[tuple[float, float, float]]) -> None:
    """A contact plan: each pass begins so many seconds from now, lasts so long, at so many bit/s."""
    now = datetime.now(timezone.utc)
    contacts = [
        {
            "start_utc": (now + timedelta(seconds=after_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "duration_s": float(duration_s),
            "rate_bit_s": float(rate_bit_s),
            "overhead_ratio": 0.0,
        }
        for after_s, duration_s, rate_bit_s in passes
    ]
    with whole(path) as part:
        part.write_text(yaml.safe_dump({"contacts": contacts}), encoding="utf-8")


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def flying(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`payload fly`, until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", "payload", "fly", "--config", str(config)])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def queued(state: Path) -> int:
    """Products in the queue."""
    store = SqliteProductStore(state / "queue.sqlite", read_only=True)
    try:
        return sum(1 for _ in store.entries())
    finally:
        store.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.ground.rehearsal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--strip", default="strips/example/strip.yaml", help="what to fly over")
    parser.add_argument(
        "--config", type=Path, default=Path("firmware_configs/ci_cpu.yaml"), metavar="YAML", help="the board"
    )
    parser.add_argument("--out", type=Path, default=Path("build/pass"), metavar="DIR")
    parser.add_argument("--loss", type=float, default=0.05, metavar="P", help="part of packets lost (0.05)")
    parser.add_argument("--rate-bit-s", type=float, default=2e6, metavar="R", help="of the link (2e6)")
    parser.add_argument("--duration-s", type=float, default=120.0, metavar="T", help="of the pass (120)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
