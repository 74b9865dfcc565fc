"""The memory promise in real processes: measured peak at most what was planned, term by term."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from payload.drivers.product_store import SqliteProductStore
from payload.types import BANDS_OF_GRID, RowBlock
from tests.core.strip_in_memory import random_dn, strip_info
from tools.write_raw import write_raw

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG, SMALL = (REPOSITORY / "firmware_configs" / f"{name}.yaml" for name in ("ci_cpu", "small"))
COLUMNS, ROWS = 10980, 600
MIB = 1 << 20
SMALL_TERMS_BYTES = MIB // 2
"""The kernel adds up resident pages some at a time: the small board's terms are measured no finer."""


def noise_blocks() -> Iterator[RowBlock]:
    """The width of a granule in noise: nothing compresses, everything is at its worst."""
    for row in range(0, ROWS, 60):
        yield RowBlock(row, 60, {g: random_dn(60, COLUMNS, row)[g] for g in BANDS_OF_GRID})


@pytest.fixture(scope="module")
def strip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    header = tmp_path_factory.mktemp("strip") / "strip.yaml"
    write_raw(header, strip_info(ROWS, COLUMNS), noise_blocks())
    return header


def payload(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "payload", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("config", "budget_mib"), [(CONFIG, 256), (CONFIG, 512), (SMALL, 160)], ids=str)
def test_the_measured_peak_is_at_most_the_plan_and_the_plan_at_most_the_budget(
    strip: Path, tmp_path: Path, config: Path, budget_mib: int
) -> None:
    done = payload(
        "run", strip, "--config", config, "--out", tmp_path, "--budget-bytes", budget_mib * MIB, "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["tiles_done"] == report["tiles"] > 20
    assert report["peak_bytes"] <= report["planned_bytes"] <= budget_mib * MIB


@pytest.mark.parametrize(("config", "unsure_bytes"), [(CONFIG, 0), (SMALL, SMALL_TERMS_BYTES)], ids=str)
def test_every_term_measured_is_at_most_the_term_planned(
    strip: Path, tmp_path: Path, config: Path, unsure_bytes: int
) -> None:
    child = [sys.executable, "-m", "tests.measure_terms", str(strip), str(config), str(tmp_path / "q.sqlite")]
    done = subprocess.run(child, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    plan = json.loads(payload("plan", strip, "--config", config, "--json").stdout)
    planned = {term["name"]: term["planned_bytes"] for term in plan["terms"]}
    assert measured.keys() == planned.keys()
    over = {n: (measured[n], planned[n]) for n in planned if measured[n] > planned[n] + unsure_bytes}
    assert not over, over
    assert sum(measured.values()) <= sum(planned.values())


def test_64_mib_is_refused_before_the_first_row_with_the_largest_term_named(
    strip: Path, tmp_path: Path
) -> None:
    done = payload("run", strip, "--config", CONFIG, "--out", tmp_path, "--budget-bytes", 64 * MIB)
    assert done.returncode == 3
    assert "largest term is interpreter" in done.stderr
    assert done.stderr.count("\n") == 1
    log = [json.loads(line) for line in (tmp_path / "telemetry.jsonl").read_text().splitlines()]
    assert [record["event"] for record in log if record["record"] == "event"] == ["budget_refused"]
    assert not (tmp_path / "queue.sqlite").exists()


def test_the_products_are_the_same_to_the_byte_whatever_the_budget(strip: Path, tmp_path: Path) -> None:
    digests = set()
    for budget_mib in (256, 320, 1024):
        out = tmp_path / str(budget_mib)
        done = payload("run", strip, "--config", CONFIG, "--out", out, "--budget-bytes", budget_mib * MIB)
        assert done.returncode == 0, done.stderr
        store = SqliteProductStore(out / "queue.sqlite")
        digest = hashlib.sha256()
        for entry in store.entries():
            digest.update(f"{entry}".encode())
            digest.update(store.body(entry.entry_id))
        store.close()
        digests.add(digest.hexdigest())
    assert len(digests) == 1
