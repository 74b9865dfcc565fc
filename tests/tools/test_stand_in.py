"""Real processes lost in every way over a strip of tiles: none lost, none doubled, every bit right."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from payload.config.engines import FailoverConfig
from payload.core.engine_chain import EngineChain
from payload.core.engine_posts import Link
from payload.core.probe import Disagreement
from payload.core.telemetry import Telemetry
from payload.drivers.board import SystemClock
from payload.drivers.engine_inside import InsideEngine
from payload.drivers.engine_openvino import OpenVinoEngine
from payload.drivers.engine_process import ProcessEngine, WorkerSpec
from payload.errors import EngineFault, EngineLostError, EngineOutputError
from payload.types import Target, Task
from tests.drivers.test_engine_openvino import TILES, flight_network, random_tile
from tools import stand_in

WORKER = Path(stand_in.__file__)
SAME = dict.fromkeys(Task, Disagreement(0.0, 0.0))
RULES = FailoverConfig(0.02, 0.2, 3, 1000, 1.0, 0.1, 68.0, 0, 0)
DEADLINE_S = 1.5
SLOTS = 3
MEMORY_BYTES = 256 << 20
DIFFERENT_TILES = 7
FAULTS_OF_KINDS = {
    "died": ("crash",),
    "late": ("hang", "late"),
    "wrong": ("nan",),
    "failed": ("lose",),
    "mutex_taken": ("mutex",),
    "hot": ("hot",),
}
"""What is counted, of what is injected; memory is found by looking, so that its tile is no matter."""


def spec_of(
    folder: Path, faults: str, target: Target = Target.CPU, deadline_s: float = DEADLINE_S
) -> WorkerSpec:
    options = {
        "faults": faults,
        "state": str(folder / "state.json"),
        "target": target.value,
        "late_s": deadline_s + 3.0,  # not there yet when a slow machine looks at last
        "memory_bytes": MEMORY_BYTES,
    }
    return WorkerSpec(
        "stand_in", target, "stand_in", None, 1, MEMORY_BYTES, 60.0, deadline_s, WORKER, options
    )


def random_kinds(count: int, chance: random.Random) -> list[str]:
    """As many of each kind that counts at its tile, in any order but twice hot in a row: once hot."""
    those = [kind for made_by in FAULTS_OF_KINDS.values() for kind in made_by]
    kinds = [those[n % len(those)] for n in range(count)]
    others = [kind for kind in kinds if kind != "hot"]
    chance.shuffle(others)
    for place in sorted(chance.sample(range(len(others) + 1), kinds.count("hot")), reverse=True):
        others.insert(place, "hot")
    return others


@pytest.mark.parametrize("count", [14, pytest.param(1000, marks=pytest.mark.slow)], ids="{}_faults".format)
def test_whatever_happens_to_the_device_each_tile_is_answered_once_and_right(
    tmp_path: Path, count: int
) -> None:
    chance = random.Random(20260711)
    kinds = random_kinds(count, chance)
    places = [2 + 4 * n + chance.randrange(3) for n in range(count)]  # the first two are known tiles
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
    assert facts["cpu"]["faults"] == {}
    check_counters(kinds, int(state.now["refused"]), facts["stand_in"], telemetry)
    assert facts["stand_in"]["tiles"] == makers["stand_in"]
    assert facts["cpu"]["tiles"] == makers["CPU"]


def check_counters(kinds: list[str], refused: int, facts: Mapping[str, object], telemetry: Telemetry) -> None:
    """What the chain reports (`run.json`) and its telemetry are what was injected, fault by fault."""
    expected = Counter({name: sum(map(kinds.count, made_by)) for name, made_by in FAULTS_OF_KINDS.items()})
    expected["no_device"] = refused
    assert facts["faults"] == {name: count for name, count in expected.items() if count}
    losses = expected.total() - expected["hot"]
    assert facts["losses"] == telemetry.counts["engine_demoted"] == losses
    assert facts["promotions"] == telemetry.counts["engine_promoted"] - 1, "and the processor once"
    assert telemetry.counts["engine_hot"] == expected["hot"]
    assert telemetry.counts["stand_in_used"] == 1
    values = telemetry.sample(0)["values"]
    assert isinstance(values, dict)
    assert values["engine_losses"] == losses
    assert values["tiles_redone"] <= losses - refused


@pytest.mark.parametrize("fault", ["nan", "crash", "lose"])
def test_one_loss_costs_the_work_of_one_tile_however_many_wait_in_the_child(
    tmp_path: Path, fault: str
) -> None:
    engine = ProcessEngine(spec_of(tmp_path, f"{fault}@1"), [flight_network(Task.SCENE)], TILES, SLOTS)
    engine.start()
    engine.wait_ready()
    for index in range(SLOTS):
        engine.submit(Task.SCENE, random_tile(index))
    assert engine.collect(60.0) is not None
    time.sleep(0.3)  # a child that goes on would have begun the third by now
    with pytest.raises((EngineLostError, EngineOutputError)):
        engine.collect(60.0)
    engine.close()
    assert stand_in.State(tmp_path / "state.json").now["tiles"] == 2, "the third was never begun"


def walk(engine: ProcessEngine, folder: Path, answered: list[int], is_slow: bool) -> None:
    """Forty tiles, SLOTS in flight; if it is slow, every answer waits when it is asked for."""
    for submitted in range(40):
        if submitted >= SLOTS:
            answer = engine.collect(60.0)
            assert answer is not None
            answered.append(answer.index)
        engine.submit(Task.SCENE, random_tile(submitted))
        while is_slow and stand_in.State(folder / "state.json").now["tiles"] <= submitted:
            if engine.resident_bytes() == 0:
                break
            time.sleep(0.01)


@pytest.mark.parametrize("is_slow", [False, True], ids=["quick", "slower than the device"])
def test_a_device_above_its_memory_is_killed_though_it_answers_every_tile_in_time(
    tmp_path: Path, is_slow: bool
) -> None:
    engine = ProcessEngine(spec_of(tmp_path, "memory@4"), [flight_network(Task.SCENE)], TILES, SLOTS)
    engine.start()
    engine.wait_ready()
    answered: list[int] = []
    with pytest.raises(EngineLostError, match=f"more than its {MEMORY_BYTES} bytes") as lost:
        walk(engine, tmp_path, answered, is_slow)
    assert lost.value.fault is EngineFault.MEMORY
    assert engine.resident_bytes() == 0
    engine.close()
    assert answered == list(range(len(answered)))
    begun = stand_in.State(tmp_path / "state.json").now["tiles"]
    assert begun - len(answered) <= 1, "what it had answered was handed out before its loss was told"


def test_faults_are_told_from_nonsense() -> None:
    assert stand_in.parse_faults("hang@3 nan@10") == {3: "hang", 10: "nan"}
    assert stand_in.parse_faults("none") == {}
    for wrong in ("hang", "hang@", "boil@3", "hang@-1"):
        with pytest.raises(ValueError, match="must be one of"):
            stand_in.parse_faults(wrong)
