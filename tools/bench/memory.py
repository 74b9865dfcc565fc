"""Planned against measured memory at several budgets, and whether the output stays the same.

Rules:
    a run that refuses its budget keeps the promise: it is shown, and breaks nothing
    a peak above the plan, a plan above the budget, or another output breaks it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from payload.drivers.product_store import SqliteProductStore
from payload.errors import BudgetError
from tools.bench.campaign import payload_run
from tools.bench.processes import ChildError

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """A budget that the plan does not fit into, and what the payload said."""

    budget_bytes: int
    message: str


def measure_budgets(
    strip: Path, config: Path, folder: Path, budgets_bytes: Sequence[int], tell: Callable[[str], None]
) -> tuple[list[BudgetResult], list[Refusal]]:
    """One run for each budget, each in a fresh process and an empty folder.

    Raises:
        ChildError: a run ended with another error than a refused budget.
    """
    results, refusals = [], []
    for budget_bytes in budgets_bytes:
        out = folder / f"budget_{budget_bytes // _MEBIBYTE}_mib"
        try:
            result, run = payload_run(strip, config, out, budget_bytes)
        except ChildError as error:
            if error.exit_code != BudgetError.exit_code:
                raise
            refusals.append(Refusal(budget_bytes, error.last_lines))
            continue
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
    return results, refusals


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


def is_within_plan(results: Sequence[BudgetResult]) -> bool:
    """Whether there was a run, and none went above its plan, nor a plan above its budget."""
    within = (result.peak_bytes <= result.planned_bytes <= result.budget_bytes for result in results)
    return bool(results) and all(within)


def is_same_output(results: Sequence[BudgetResult]) -> bool:
    """Whether every run queued the same products, byte for byte."""
    return len({(result.products, result.products_sha256) for result in results}) == 1


def is_promise_kept(results: Sequence[BudgetResult]) -> bool:
    """Whether memory stayed within plan and budget, and the output did not depend on them."""
    return is_within_plan(results) and is_same_output(results)


def format_budgets(results: Sequence[BudgetResult], refusals: Sequence[Refusal]) -> str:
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
    lines += [f"{refusal.budget_bytes / _MEBIBYTE:10.0f}  {refusal.message}" for refusal in refusals]
    lines.append(f"peak <= planned <= budget: {'yes' if is_within_plan(results) else 'NO'}")
    lines.append(f"same output at every budget: {'yes' if is_same_output(results) else 'NO'}")
    return "\n".join(lines)


def write_budgets(results: Sequence[BudgetResult], refusals: Sequence[Refusal], file: Path) -> None:
    """``file`` holds the results as JSON."""
    document = {"runs": [asdict(one) for one in results], "refused": [asdict(one) for one in refusals]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
