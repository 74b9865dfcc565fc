"""A run that was killed and went on tells of the whole strip, as one that nobody killed does."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.test_commands import REPOSITORY, STRIP, payload
from tests.test_kill_run import board

OF_THE_PROCESS = {"wall_s", "cpu_s", "peak_bytes", "events", "devices"}
FRAME_ROWS = 6


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty tiles, and a queue that has room for some of their products."""
    path = board(tmp_path_factory.mktemp("board"))
    text = path.read_text()
    assert "capacity_bytes: 536_870_912" in text
    path.write_text(text.replace("capacity_bytes: 536_870_912", "capacity_bytes: 200_000"))
    return path


@pytest.fixture(scope="module")
def strip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example without its frames 1 to 12 and 40, and without the last 5."""
    folder = tmp_path_factory.mktemp("strip")
    shutil.copy(STRIP, folder / "strip.yaml")
    content = (STRIP.parent / "strip.raw").read_bytes()
    frame_bytes = len(content) // 80
    frames = [content[start : start + frame_bytes] for start in range(0, len(content), frame_bytes)]
    kept = [frame for number, frame in enumerate(frames[:75]) if number not in {*range(1, 13), 40}]
    (folder / "strip.raw").write_bytes(b"".join(kept))
    return folder / "strip.yaml"


def run(strip: Path, config: Path, out: Path) -> tuple[dict[str, Any], list[str], dict[str, int]]:
    """run.json, the summary without times and paths, and the last sample of the channels."""
    done = payload("run", strip, "--config", config, "--out", out)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "of processor" not in line and str(out) not in line]
    records = map(json.loads, (out / "telemetry.jsonl").read_text().splitlines())
    values = [record["values"] for record in records if record["record"] == "channels"][-1]
    return json.loads((out / "run.json").read_text()), lines, values


def kill_after(strip: Path, config: Path, out: Path, tiles: int) -> None:
    """The run has ended by SIGKILL with at least so many tiles committed, and not all."""
    command = ["run", str(strip), "--config", str(config), "--out", str(out)]
    with subprocess.Popen([sys.executable, "-m", "payload", *command], cwd=REPOSITORY) as child:
        while child.poll() is None and tiles_in(out) < tiles:
            time.sleep(0.005)
        child.kill()
    assert tiles <= tiles_in(out) < 80


def tiles_in(out: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{out}/queue.sqlite?mode=ro", uri=True)) as queue:
            return int(queue.execute("SELECT count(*) FROM tile").fetchone()[0])
    except sqlite3.Error:  # not there yet, or without tables
        return 0


@pytest.fixture(scope="module")
def whole(
    strip: Path, config: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], list[str], dict[str, int]]:
    return run(strip, config, tmp_path_factory.mktemp("whole"))


def test_what_is_damaged_and_what_found_no_place_is_in_the_report_and_in_the_summary(
    whole: tuple[dict[str, Any], list[str], dict[str, int]],
) -> None:
    report, lines, values = whole
    assert report["damaged_rows"] == (12 + 1 + 5) * FRAME_ROWS
    assert any(line.startswith("108 of 480 rows are damaged or missing") for line in lines)
    made = sum(int(kind["products"]) for kind in report["products"].values())
    evicted = report["queue"]["evicted_entries"]
    assert made == report["queue"]["entries"] + evicted
    assert report["events"]["product_evicted"] + report["events"]["product_refused"] == evicted
    assert values["evicted_products"] == evicted
    assert values["evicted_bytes"] == report["queue"]["evicted_bytes"]
    assert any(line.startswith(f"{evicted} products with ") for line in lines)


@pytest.mark.parametrize("tiles", [1, 20, 45, 70])
def test_a_killed_run_that_went_on_tells_the_same(
    strip: Path,
    config: Path,
    whole: tuple[dict[str, Any], list[str], dict[str, int]],
    tmp_path: Path,
    tiles: int,
) -> None:
    kill_after(strip, config, tmp_path, tiles)
    report, lines, values = run(strip, config, tmp_path)
    assert report["events"]["strip_resumed"] == 1
    assert {key: value for key, value in report.items() if key not in OF_THE_PROCESS} == {
        key: value for key, value in whole[0].items() if key not in OF_THE_PROCESS
    }
    assert lines == whole[1]
    for name in ("evicted_products", "evicted_bytes", "queue_entries"):
        assert values[name] == whole[2][name]


def test_a_queue_made_before_damaged_rows_were_counted_is_read(
    strip: Path, config: Path, tmp_path: Path
) -> None:
    kill_after(strip, config, tmp_path, 20)
    with closing(sqlite3.connect(tmp_path / "queue.sqlite")) as queue, queue:
        queue.execute("UPDATE tile SET record = json_remove(record, '$.damaged_rows')")
    report, _, _ = run(strip, config, tmp_path)
    assert report["tiles_done"] == 80
    assert 0 < report["damaged_rows"] < 108
