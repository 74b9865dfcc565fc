"""Real processes lost in every way over a strip of tiles: none lost, none doubled, every bit right."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from payload.config.engines import FailoverConfig
from payload.core.engine_chain import EngineChain, Link
from payload.core.probe import Disagreement
from payload.core.telemetry import Telemetry
from payload.drivers.board import SystemClock
from payload.drivers.engine_inside import InsideEngine
from payload.drivers.engine_openvino import OpenVinoEngine
from payload.drivers.engine_process import ProcessEngine, WorkerSpec
from payload.types import Target, Task
from tests.drivers.test_engine_openvino import TILES, flight_network, random_tile
from tools import stand_in

WORKER = Path(stand_in.__file__)
SAME = dict.fromkeys(Task, Disagreement(0.0, 0.0))
RULES = FailoverConfig(0.02, 0.2, 3, 1000, 1.0, 0.1, 68.0, 0, 0)
DEADLINE_S = 1.0
SLOTS = 3
DIFFERENT_TILES = 7


def spec_of(
    folder: Path, faults: str, target: Target = Target.CPU, deadline_s: float = DEADLINE_S
) -> WorkerSpec:
    options = {
        "faults": faults,
        "state": str(folder / "state.json"),
        "target": target.value,
        "late_s": deadline_s + 0.2,
    }
    return WorkerSpec("stand_in", target, "stand_in", None, 1, 512 << 20, 60.0, deadline_s, WORKER, options)


@pytest.mark.parametrize("count", [14, pytest.param(1000, marks=pytest.mark.slow)], ids="{}_faults".format)
def test_whatever_happens_to_the_device_each_tile_is_answered_once_and_right(
    tmp_path: Path, count: int
) -> None:
    chance = random.Random(20260711)
    kinds = [stand_in.KINDS[n % len(stand_in.KINDS)] for n in range(count)]
    chance.shuffle(kinds)
    places = [2 + 4 * n + chance.randrange(3) for n in range(count)]
    faults = " ".join(f"{kind}@{place}" for kind, place in zip(kinds, places, strict=True))
    networks = [flight_network(task) for task in Task]
    reference = OpenVinoEngine(networks, TILES, 1, 1)
    expected = {}
    for task in Task:
        for index in range(DIFFERENT_TILES):
            reference.submit(task, random_tile(index))
            answer = reference.collect(60.0)
            assert answer is not None
            expected[task, index] = answer.output.copy()
    reference.close()
    telemetry = Telemetry()
    best = Link(ProcessEngine(spec_of(tmp_path, faults), networks, TILES, SLOTS), SAME, is_stand_in=True)
    last = Link(InsideEngine("cpu", SLOTS, lambda: OpenVinoEngine(networks, TILES, SLOTS, 1)), SAME)
    order = {task: [best, last] for task in Task}
    chain = EngineChain(order, TILES, SLOTS, RULES, SystemClock(), time.sleep, telemetry)
    chain.begin(60.0)
    state = stand_in.State(tmp_path / "state.json")
    submitted = answered = 0
    waiting: dict[tuple[Task, int], int] = {}
    makers: dict[str, int] = {}
    while state.now["tiles"] <= places[-1] or answered < submitted:
        while submitted - answered < SLOTS and state.now["tiles"] <= places[-1]:
            task = Task.SURFACE if submitted % 3 == 2 else Task.SCENE
            key = task, submitted
            waiting[key] = submitted % DIFFERENT_TILES
            tile = random_tile(waiting[key])
            chain.submit(task, type(tile)(submitted, *[getattr(tile, name) for name in tile.__slots__[1:]]))
            submitted += 1
        inference = chain.collect(120.0)
        assert inference is not None
        which = waiting.pop((inference.task, inference.index))  # KeyError: answered twice
        np.testing.assert_array_equal(inference.output, expected[inference.task, which])
        makers[inference.engine.device] = makers.get(inference.engine.device, 0) + 1
        answered += 1
        if inference.engine.device == "CPU":
            time.sleep(0.02)  # the device comes back sooner if the processor is not kept busy
        state = stand_in.State(tmp_path / "state.json")
    facts = {str(post["device"]): post for post in chain.facts()}
    chain.close()
    print(count, "faults:", makers, facts["stand_in"], telemetry.counts)
    assert waiting == {}
    assert makers["stand_in"] > count
    losses = count - kinds.count("hot")
    assert telemetry.counts["engine_demoted"] + telemetry.counts.get("engine_no_device", 0) >= losses
    assert telemetry.sample(0)["values"]["tiles_redone"] <= losses + 1  # type: ignore[index]
    assert facts["cpu"]["losses"] == 0
    assert telemetry.counts["stand_in_used"] == 1


def test_faults_are_told_from_nonsense() -> None:
    assert stand_in.parse_faults("hang@3 nan@10") == {3: "hang", 10: "nan"}
    assert stand_in.parse_faults("none") == {}
    for wrong in ("hang", "hang@", "boil@3", "hang@-1"):
        with pytest.raises(ValueError, match="must be one of"):
            stand_in.parse_faults(wrong)
