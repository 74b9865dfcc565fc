"""`python -m tools.downlink`: the downlink order against its bounds, FIFO and a cloud filter.

200 seeded instances of each family (dense, layered, lumpy, half cloudy, many tiles); with true values and
with estimates that are off by a factor of exp(normal(0, 0.3)). Writes DIR/downlink.json and
DIR/downlink.png, and prints the table of docs/downlink.md. Takes some ten minutes; simulated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.downlink",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="instances of each family (200)")
    parser.add_argument("--out", type=Path, default=Path("build"), metavar="DIR", help="where (build)")
    parsed = parser.parse_args(arguments)
    from tools.downlink.figure import draw  # the extra 'downlink'; --help does without
    from tools.downlink.study import FAMILIES, NOISE, Row, promises, study, table

    rows: list[Row] = []
    for family in FAMILIES:
        for seed in range(parsed.seeds):
            rows.append(study(family, seed))
            print(f"\r{family}: {seed + 1} of {parsed.seeds} ", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    parsed.out.mkdir(parents=True, exist_ok=True)
    document = {"seeds": parsed.seeds, "noise": NOISE, "rows": [row.facts() for row in rows]}
    (parsed.out / "downlink.json").write_text(json.dumps(document, indent=1) + "\n")
    draw(rows, parsed.out / "downlink.png")
    print(table(rows))
    print(f"\n{promises(rows)}")
    print(f"\n{parsed.out / 'downlink.json'}, {parsed.out / 'downlink.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
