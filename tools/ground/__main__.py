"""`python -m tools.ground --config YAML --out DIR`: a small ground station for benches.

Takes telemetry and files from `payload fly` by UDP, acknowledges every file by CFDP class 2,
writes products to DIR/products, telemetry packets to DIR/telemetry.tm, decodes the products to
DIR/pictures (GeoTIFF, PNG, CSV; see tools.decode) and prints the report of the pass, which is
in DIR/pass.json too. Started again, it goes on in the middle of a file; where the disk is full it
says so and acknowledges nothing until there is room. Files that go up are kept in DIR/outgoing until
they are on board. An example of the configuration is tools/ground/bench.yaml.

Exit code 0: done; 1: products came that are damaged; 2: it cannot start; 3: a file was refused on
board, or its copy was lost before it was there.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from payload.errors import PayloadError
from tools.decode.__main__ import main as decode_main
from tools.ground.settings import load_key, load_settings
from tools.ground.station import PRODUCTS, PassReport, Station

PICTURES, REPORT = "pictures", "pass.json"
_REFUSED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one pass; the exit code."""
    parsed = _parser().parse_args(arguments)
    say = (lambda _: None) if parsed.quiet else (lambda line: print(line, file=sys.stderr))
    try:
        settings = load_settings(parsed.config)
        parsed.out.mkdir(parents=True, exist_ok=True)
        station = Station(settings, load_key(settings, parsed.config), parsed.out, say)
    except (PayloadError, OSError) as error:
        print(f"tools.ground: {error}", file=sys.stderr)
        return 2
    try:
        station.send_up(*parsed.up)
        report = station.run(parsed.duration_s, _end(parsed.until_quiet_s))
    except (PayloadError, OSError) as error:
        print(f"tools.ground: {error}; what came is in {parsed.out}", file=sys.stderr)
        return 2
    finally:
        station.close()
    try:
        (parsed.out / REPORT).write_text(json.dumps(station.facts(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        print(f"tools.ground: {parsed.out / REPORT}: {error.strerror}", file=sys.stderr)
    code = _decode(parsed.out) if any((parsed.out / PRODUCTS).iterdir()) else 0
    print(json.dumps(station.facts(), indent=2) if parsed.json else report.text())
    return code or _REFUSED * bool(report.files_refused)


def _end(until_quiet_s: float | None) -> Callable[[PassReport], bool]:
    """Ends the pass at a signal, or when nothing has come for a while."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda given, _: asked.append(given))

    def is_done(report: PassReport) -> bool:
        is_quiet = (
            until_quiet_s is not None
            and report.last_packet_s is not None
            and report.lasted_s - report.last_packet_s > until_quiet_s
        )
        return bool(asked) or is_quiet

    return is_done


def _decode(out: Path) -> int:
    code = decode_main([str(out / PRODUCTS), "--out", str(out / PICTURES)])
    print(f"pictures: {out / PICTURES}")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.ground",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="YAML", help="the station")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where everything goes")
    parser.add_argument(
        "--duration-s",
        type=float,
        default=float("inf"),
        metavar="T",
        help="end after so long (default: never)",
    )
    parser.add_argument(
        "--until-quiet-s", type=float, metavar="T", help="end when no file packet has come for so long"
    )
    parser.add_argument("--up", type=Path, nargs="*", default=[], metavar="FILE", help="files to send up")
    parser.add_argument("--quiet", action="store_true", help="no line for each file")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
