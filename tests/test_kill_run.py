"""kill -9 on the whole program: runs and contacts end at random instants, nothing is lost.

SKYSIFT_KILLS sets how many kills; a thousand take a quarter of an hour.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from payload.drivers.product_store import SqliteProductStore

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[1]
STRIP = REPOSITORY / "strips" / "example" / "strip.yaml"
KILLS = int(os.environ.get("SKYSIFT_KILLS", "60"))
LIFE_RATIO = 1.1
"""Longest life, in times of what the command takes when nobody kills it."""


def board(folder: Path) -> Path:
    """ci_cpu.yaml with tiles so small that a run commits eighty times."""
    text = (REPOSITORY / "firmware_configs" / "ci_cpu.yaml").read_text()
    text = re.sub(r"inner_rows_px: \d+", "inner_rows_px: 48", text)
    text = re.sub(r"inner_columns_px: \d+", "inner_columns_px: 96", text)
    text = text.replace("../models", str(REPOSITORY / "models")).replace("../build", str(folder))
    config = folder / "board.yaml"
    config.write_text(text)
    return config


def run_of(config: Path, out: Path) -> list[str]:
    return ["run", str(STRIP), "--config", str(config), "--out", str(out)]


def contact_of(out: Path, ground: Path) -> list[str]:
    pass_ = ["--rate-bit-s", "4e6", "--duration-s", "1", "--to", str(ground)]
    return ["contact", "--out", str(out), *pass_]


def lived(arguments: list[str], life_s: float | None) -> bool:
    """True if the command ended by itself, with success, before it was killed."""
    command = [sys.executable, "-m", "payload", *arguments]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        try:
            _, complaint = child.communicate(timeout=life_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.communicate()
            return False
    assert child.returncode == 0, complaint.decode()
    return True


def bodies(store: SqliteProductStore) -> dict[str, bytes]:
    return {entry.product_id: store.body(entry.entry_id) for entry in store.entries()}


def test_a_killed_run_loses_nothing_doubles_nothing_and_the_next_goes_on(tmp_path: Path) -> None:
    config = board(tmp_path)
    began_s = time.monotonic()
    assert lived(run_of(config, tmp_path / "whole"), None)
    run_s = (time.monotonic() - began_s) * LIFE_RATIO
    whole = SqliteProductStore(tmp_path / "whole" / "queue.sqlite")
    expected = bodies(whole)
    whole.close()
    began_s = time.monotonic()
    assert lived(contact_of(tmp_path / "whole", tmp_path / "ground"), None)
    contact_s = (time.monotonic() - began_s) * LIFE_RATIO
    lives = random.Random(17)
    kills, rounds = 0, 0
    while kills < KILLS:
        rounds += 1
        assert rounds <= KILLS, "nearly every life ends by itself: make them shorter"
        out, ground = tmp_path / f"run{rounds}", tmp_path / f"ground{rounds}"
        while not lived(run_of(config, out), lives.uniform(0.2 * run_s, run_s)):
            kills += 1
        done = json.loads((out / "run.json").read_text())
        assert done["tiles_done"] == done["tiles"]
        received: set[str] = set()
        while received != expected.keys():
            if not lived(contact_of(out, ground), lives.uniform(0.5 * contact_s, contact_s)):
                kills += 1
            if ground.exists():
                now = {path.stem for path in ground.iterdir() if path.suffix == ".skp"}
                assert received <= now, "what the ground has, it keeps"
                received = now
        for product_id, body in expected.items():
            assert (ground / f"{product_id}.skp").read_bytes() == body
        assert lived(contact_of(out, ground), None)
        left = SqliteProductStore(out / "queue.sqlite")
        assert not list(left.entries())
        assert left.counters().acknowledged_entries == len(expected), "each acknowledged exactly once"
        left.close()
        print(f"{kills} kills in {rounds} rounds: nothing lost, nothing doubled", flush=True)
