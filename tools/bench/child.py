"""One row of the table in its own fresh process: `python -m tools.bench.child ROW JSON`.

Prints one JSON document: the cost of each part, and the peak memory of this process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tools.bench import peer_rows
from tools.bench.timing import Cost, own_peak_bytes


def run_row(row: str, settings: dict[str, Any]) -> dict[str, Cost]:
    """The cost of each part of a row; settings as `campaign` gives them."""
    if row == "torch":
        return peer_rows.torch_cost(settings["threads"], settings["repeats"])
    if row == "openvino":
        return peer_rows.openvino_cost(Path(settings["folder"]), settings["threads"], settings["repeats"])
    if row == "networks":
        # The peers' rows do without the payload, which leaves out OpenVINO's model converter.
        from payload.config import load_config
        from tools.bench import own_rows

        config = load_config(settings["config"])
        return own_rows.network_cost(config, settings["repeats"], with_halo=settings["with_halo"])
    raise ValueError(f"{row}: no such row")


def main(arguments: list[str]) -> int:
    row, settings = arguments[0], json.loads(arguments[1])
    if row == "write_int8":
        peer_rows.write_int8_networks(Path(settings["folder"]))
        return 0
    costs = run_row(row, settings)
    answer = {name: cost.to_json() for name, cost in costs.items()}
    print(json.dumps({"costs": answer, "peak_bytes": own_peak_bytes()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
