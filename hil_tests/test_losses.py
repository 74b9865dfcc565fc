"""What may go away in the middle of a strip: the accelerator, and the power of the board."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from hil_tests.bench import FlightBoard, power_cut

pytestmark = pytest.mark.hil

_UNDER_WAY_S = 120.0


def wait_for_tiles(board: FlightBoard, running: subprocess.Popen[str], out: str, tiles: int) -> None:
    """At least ``tiles`` products' worth of work is queued in ``out``, and the run goes on."""
    end_s = time.monotonic() + _UNDER_WAY_S
    while time.monotonic() < end_s:
        if running.poll() is not None:
            _, told = running.communicate()
            raise AssertionError(f"the run ended too early, with exit code {running.returncode}: {told}")
        done = board.run(f"{board.payload} queue {out} --json")
        if done.returncode == 0 and len(json.loads(done.stdout)) >= tiles:
            return
        time.sleep(0.5)
    raise AssertionError(f"nothing was queued within {_UNDER_WAY_S:g} s")


def queued(board: FlightBoard, out: str) -> list[str]:
    return sorted(entry["product_id"] for entry in board.json(f"queue {out}"))


@pytest.mark.vpu
def test_the_scene_network_runs_on_the_vpu(board: FlightBoard, vpu: str, full_strip: str) -> None:
    report = board.json(board.imaging(full_strip, board.fresh_out("vpu")))
    engines = report["engines"]["scene"]
    assert any(vpu in engine for engine in engines), f"the bench promises a {vpu}; it ran on {engines}"


@pytest.mark.vpu
def test_a_vpu_that_is_pulled_costs_no_tile(
    board: FlightBoard, vpu: str, vpu_power: dict[str, str], full_strip: str
) -> None:
    out = board.fresh_out("pulled")
    with board.running(f"{board.payload} {board.imaging(full_strip, out)} --json") as running:
        wait_for_tiles(board, running, out, 12)
        with power_cut(vpu_power):
            printed, told = running.communicate(timeout=3600)
    assert running.returncode == 0, told
    report = json.loads(printed)
    assert report["tiles_done"] == report["tiles"]
    losses = {device["device"]: device["losses"] for device in report["devices"]}
    assert losses.get(vpu, 0) >= 1, f"nothing was said of the {vpu} that was pulled: {losses}"
    assert report["events"].get("engine_demoted", 0) >= losses[vpu]
    assert len(report["engines"]["scene"]) >= 2, "one engine did it all: the VPU was not pulled in time"


def test_a_power_cut_loses_no_tile_and_doubles_none(
    board: FlightBoard, board_power: dict[str, Any], full_strip: str
) -> None:
    whole, cut = board.fresh_out("whole"), board.fresh_out("cut")
    board.json(board.imaging(full_strip, whole))
    with board.running(f"{board.payload} {board.imaging(full_strip, cut)}") as running:
        wait_for_tiles(board, running, cut, 12)
        with power_cut(board_power):
            running.kill()  # what leads to a board without power may never end by itself
    board.wait_until_up(board_power["boot_s"])
    kept = queued(board, cut)
    assert kept, "what was queued before the cut is gone"
    report = board.json(board.imaging(full_strip, cut))
    assert report["tiles_done"] == report["tiles"]
    found = queued(board, cut)
    assert found == queued(board, whole)
    assert len(found) == len(set(found))
    assert set(kept) <= set(found)
