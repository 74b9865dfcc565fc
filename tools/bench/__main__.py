"""`python -m tools.bench`: how fast and how large we are beside DTACSNet's networks."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from payload.drivers.strip_header import read_raw_header
from tools import extras
from tools.bench import memory, strips, table
from tools.bench.campaign import Campaign, TileCounts, measure
from tools.bench.machine import describe_machine
from tools.bench.peer_rows import FILES
from tools.bench.processes import REPOSITORY, ChildError, run_python

FULL_ROWS = FULL_COLUMNS = 10980
QUICK_ROWS, QUICK_COLUMNS = 288, 1104
MEMORY_ROWS = 1440

_DESCRIPTION = """\
Measure the payload beside DTACSNet's published networks: processor and wall seconds for a full
Sentinel-2 tile (10980 x 10980 px, 13 bands) and peak memory, one table from one run. Each row
runs in fresh processes, all rows in turn, several rounds; the table shows medians. The strips
are made on the first run and kept (2.5 GB for a full tile). docs/benchmark.md says what each
row means. `memory` instead runs one strip under several budgets.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", choices=("table", "memory"), default="table", help="table (default) or memory"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: small strip, one round")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="rounds of every row (default 3; 1 with --quick)"
    )
    parser.add_argument(
        "--rows",
        type=int,
        metavar="R",
        help="rows of our strip, scaled to a tile by area (default 10980, no scaling; memory: 1440)",
    )
    parser.add_argument("--columns", type=int, metavar="C", help="columns of our strip (default 10980)")
    parser.add_argument("--no-jp2", action="store_true", help="leave out the row that reads JP2")
    parser.add_argument(
        "--config",
        type=Path,
        default=REPOSITORY / "firmware_configs" / "ci_cpu.yaml",
        metavar="YAML",
        help="the board's configuration for our rows (default firmware_configs/ci_cpu.yaml)",
    )
    parser.add_argument(
        "--shared",
        type=Path,
        default=REPOSITORY.parent / "shared",
        metavar="DIR",
        help="real patches for the strip (default ../shared; made-up ones where it is absent)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=REPOSITORY / "build" / "bench",
        metavar="DIR",
        help="where strips and outputs lie (default build/bench)",
    )
    parser.add_argument("--out", type=Path, metavar="JSON", help="the results (default build/bench.json)")
    parser.add_argument(
        "--budgets-mib",
        type=int,
        nargs="+",
        default=list(memory.BUDGETS_MIB),
        metavar="M",
        help="memory: the budgets to try (default 160 192 256 512)",
    )
    return parser


def tell(line: str) -> None:
    """Progress for a person; the table alone goes to standard output."""
    print(line, file=sys.stderr, flush=True)


def run_table(wanted: argparse.Namespace) -> int:
    extras.need("bench")  # before a strip of gigabytes is made
    rows, columns = _size(wanted, FULL_ROWS)
    raw = strips.raw_strip(wanted.folder, wanted.shared, rows, columns, tell)
    safe = None if wanted.no_jp2 else strips.safe_strip(wanted.folder, raw, tell)
    if not all((wanted.folder / file).exists() for file in FILES.values()):
        tell("quantizing DTACSNet's networks (once)")
        settings = json.dumps({"folder": str(wanted.folder.resolve())})
        run_python(["-m", "tools.bench.child", "write_int8", settings], has_answer=False)
    campaign = Campaign(
        folder=wanted.folder.resolve(),
        config=wanted.config.resolve(),
        raw=raw.resolve(),
        safe=safe.resolve() if safe else None,
        strip_px=rows * columns,
        rounds=wanted.rounds or (1 if wanted.quick else 3),
        repeats=5 if wanted.quick else 100,
    )
    machine = describe_machine()
    found = measure(campaign, tell)
    counts, result = found.counts, table.make_rows(found.samples)
    ratios = table.make_ratios(result)
    run = {
        "machine": machine,
        "strip": {"strip_id": read_raw_header(raw).strip_id, "rows": rows, "columns": columns},
        "tiles": {"scene": counts.scene, "surface": counts.surface},
        "config": wanted.config.name,
        "is_quick": wanted.quick,
        "failures": found.failures,
    }
    out = wanted.out or REPOSITORY / "build" / "bench.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(table.to_document(result, ratios, run), indent=1) + "\n", encoding="utf-8")
    notes = _notes(machine, counts, rows, columns)
    if wanted.quick:
        notes.append("QUICK RUN: start-up is scaled up with the small strip; its ratios mean nothing.")
    print(table.format_table(result, ratios, notes))
    for failure in found.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if found.failures else 0


def _notes(machine: dict[str, object], counts: TileCounts, rows: int, columns: int) -> list[str]:
    return [
        f"machine: {machine['processor']}, {machine['cores']} cores; extensions: {machine['isa']}",
        f"our strip: {rows} x {columns} px; {counts.scene} scene tiles, {counts.surface} surface tiles",
        "DTACSNet's rows: bare forward passes, float tiles of 512 x 512 in memory, no halo, 1 thread.",
        "skysift_raw, _jp2: the whole `payload run`, start-up, reading, products and queue included.",
        "skysift_networks_only: the same tiles with halo, codes in memory, and the closed-form inversion",
        "that is part of the atmospheric correction; _no_halo: the same tiles without their halo.",
    ]


def run_memory(wanted: argparse.Namespace) -> int:
    rows, columns = _size(wanted, MEMORY_ROWS)
    raw = strips.raw_strip(wanted.folder, wanted.shared, rows, columns, tell)
    budgets_bytes = [mebibytes << 20 for mebibytes in wanted.budgets_mib]
    results, refusals = memory.measure_budgets(
        raw.resolve(), wanted.config.resolve(), wanted.folder.resolve() / "out", budgets_bytes, tell
    )
    memory.write_budgets(results, refusals, wanted.out or REPOSITORY / "build" / "bench_memory.json")
    print(memory.format_budgets(results, refusals))
    return 0 if memory.is_promise_kept(results) else 1


def _size(wanted: argparse.Namespace, default_rows: int) -> tuple[int, int]:
    if wanted.quick:
        return wanted.rows or QUICK_ROWS, wanted.columns or QUICK_COLUMNS
    return wanted.rows or default_rows, wanted.columns or FULL_COLUMNS


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    wanted = parser.parse_args(arguments)
    for name in ("rounds", "rows", "columns"):
        if getattr(wanted, name) is not None and getattr(wanted, name) < 1:
            parser.error(f"--{name} must be above 0")
    try:
        if wanted.what == "memory":
            return run_memory(wanted)
        return run_table(wanted)
    except ChildError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
