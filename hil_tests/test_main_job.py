"""The main job on the board itself."""

from __future__ import annotations

import pytest

from hil_tests.bench import FlightBoard

pytestmark = pytest.mark.hil

EXAMPLE = "strips/example/strip.yaml"


def test_the_example_strip_is_done_within_the_memory_that_was_planned(board: FlightBoard) -> None:
    report = board.json(board.imaging(EXAMPLE, board.fresh_out("example")))
    assert report["tiles_done"] == report["tiles"] > 0
    assert report["peak_bytes"] <= report["planned_bytes"] <= report["budget_bytes"]


def test_a_full_strip_is_done_within_the_memory_that_was_planned(board: FlightBoard, full_strip: str) -> None:
    report = board.json(board.imaging(full_strip, board.fresh_out("full")))
    assert report["tiles_done"] == report["tiles"] > 100
    assert report["peak_bytes"] <= report["planned_bytes"] <= report["budget_bytes"]


def test_what_was_queued_comes_down_and_the_queue_is_empty(board: FlightBoard) -> None:
    out = board.fresh_out("contact")
    board.json(board.imaging(EXAMPLE, out))
    waiting = board.json(f"queue {out}")
    passed = board.json(f"contact --out {out} --rate-bit-s 1e9 --duration-s 60 --to {out}/ground")
    assert len(passed["sent"]) == len(waiting) > 0
    assert board.json(f"queue {out}") == []
