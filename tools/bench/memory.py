"""Planned against measured memory at several budgets, and whether the output stays the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from payload.drivers.product_store import SqliteProductStore
from tools.bench.campaign import payload_run

BUDGETS_MIB = (160, 192, 256, 512)
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """One run under one budget; ``products_sha256`` is over all product bodies in queue order."""

    budget_bytes: int
    planned_bytes: int
    peak_bytes: int
    cpu_s: float
    products: int
    products_sha256: str


def measure_budgets(
    strip: Path, config: Path, folder: Path, budgets_bytes: Sequence[int], tell: Callable[[str], None]
) -> list[BudgetResult]:
    """One run for each budget, each in a fresh process and an empty folder."""
    results = []
    for budget_bytes in budgets_bytes:
        out = folder / f"budget_{budget_bytes // _MEBIBYTE}_mib"
        result, run = payload_run(strip, config, out, budget_bytes)
        count, digest = digest_of_products(out / "queue.sqlite")
        results.append(
            BudgetResult(
                budget_bytes=budget_bytes,
                planned_bytes=run["planned_bytes"],
                peak_bytes=max(result.peak_bytes, int(run["peak_bytes"])),
                cpu_s=result.cpu_s,
                products=count,
                products_sha256=digest,
            )
        )
        tell(f"{budget_bytes / _MEBIBYTE:.0f} MiB: {result.wall_s:.0f} s")
    return results


def digest_of_products(queue: Path) -> tuple[int, str]:
    """How many products wait, and one SHA-256 over their names and bodies in entry order."""
    digest = hashlib.sha256()
    count = 0
    store = SqliteProductStore(queue, read_only=True)
    try:
        for entry in store.entries():
            body = store.body(entry.entry_id)
            digest.update(f"{entry.product_id}\0{len(body)}\0".encode())
            digest.update(body)
            count += 1
    finally:
        store.close()
    return count, digest.hexdigest()


def is_same_output(results: Sequence[BudgetResult]) -> bool:
    """Whether every run queued the same products, byte for byte."""
    return len({(result.products, result.products_sha256) for result in results}) == 1


def is_promise_kept(results: Sequence[BudgetResult]) -> bool:
    """Whether no run went above its plan or budget, and all gave the same output."""
    kept = all(result.peak_bytes <= result.planned_bytes <= result.budget_bytes for result in results)
    return kept and is_same_output(results)


def format_budgets(results: Sequence[BudgetResult]) -> str:
    """The table as text, and below it what must hold."""
    lines = [
        f"{'budget MiB':>10}{'planned MiB':>13}{'peak MiB':>10}{'CPU s':>8}{'products':>10}  products sha256"
    ]
    for result in results:
        lines.append(
            f"{result.budget_bytes / _MEBIBYTE:10.0f}{result.planned_bytes / _MEBIBYTE:13.1f}"
            f"{result.peak_bytes / _MEBIBYTE:10.1f}{result.cpu_s:8.1f}{result.products:10d}"
            f"  {result.products_sha256[:16]}"
        )
    kept = all(result.peak_bytes <= result.planned_bytes <= result.budget_bytes for result in results)
    lines.append(f"peak <= planned <= budget: {'yes' if kept else 'NO'}")
    lines.append(f"same output at every budget: {'yes' if is_same_output(results) else 'NO'}")
    return "\n".join(lines)


def write_budgets(results: Sequence[BudgetResult], file: Path) -> None:
    """``file`` holds the results as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", encoding="utf-8")
