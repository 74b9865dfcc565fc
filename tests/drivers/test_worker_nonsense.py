"""A child that says what no worker says is lost as any other: killed, told, and nothing held of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from payload.drivers.board import LinuxBoard
from payload.drivers.engine_process import ProcessEngine, WorkerSpec
from payload.errors import EngineFault, EngineLostError
from payload.types import Precision, Target, Task
from tests.drivers.test_engine_openvino import TILES, flight_network, random_tile
from tests.drivers.test_engine_process import runs

WORKER = """
import os, sys, time
sys.path.insert(0, {repository!r})
from payload.drivers import engine_worker as protocol

class Quick:
    facts = {{"device": "quick", "runtime": "none 1"}}
    def __init__(self, load, networks): pass
    def infer(self, number, inputs, output): output[:] = 1
    def temperature(self): return None

def say(content):
    while content:
        content = content[os.write(worker._answers, content):]

def frame(kind, number=0, value=0, body=b""):
    say(protocol.FRAME.pack(kind, number, value, len(body)) + body)

class Worker(protocol.Worker):
    def _send(self, kind, number, value, body):
        global worker
        worker = self
        if kind == {when!r}:
            {what}
        super()._send(kind, number, value, body)

protocol.Worker = Worker
protocol.main({{"openvino": Quick}})
"""

AT_START = {
    "no JSON": "body = b'\\xff{'",
    "no facts": "body = b'{}'",
    "a list": "body = b'[]'",
    "numbers": 'body = b\'{"device": 5, "runtime": null, "python": 3}\'',
    "too deep": "body = b'[' * 60000",
    "an unknown fault": 'frame(b\'FAIL\', protocol.SETUP, 0, b\'{"fault": "martian", "text": "x"}\')',
    "a fault without JSON": "frame(b'FAIL', protocol.SETUP, 0, b'zzz')",
}
AT_A_TILE = {
    "ready again": "frame(b'REDY', 0, 0, b'{}')",
    "an unknown kind": "kind = b'XXXX'",
    "another slot": "number = 7",
    "a failure without JSON": "kind, body = b'FAIL', b'zzz'",
    "a body of 4 GiB": "say(protocol.FRAME.pack(b'DONE', number, value, 0xFFFFFFFF))",
    "noise": "say(bytes(range(256)) * 64); time.sleep(100)",
    "a flood": "[say(protocol.FRAME.pack(b'DONE', 9, 0, 65536) + bytes(65536)) for _ in range(4000)]",
}


def engine_that_says(folder: Path, when: bytes, what: str) -> ProcessEngine:
    worker = folder / "worker.py"
    repository = str(Path(__file__).resolve().parents[2])
    worker.write_text(WORKER.format(repository=repository, when=when, what=what))
    spec = WorkerSpec("child", Target.CPU, "openvino", None, 1, 256 << 20, 20.0, 20.0, worker)
    return ProcessEngine(spec, [flight_network(task) for task in Task], TILES, slots=3)


@pytest.mark.parametrize("name", AT_START)
def test_nonsense_at_the_start_loses_the_child(tmp_path: Path, name: str) -> None:
    engine = engine_that_says(tmp_path, b"REDY", AT_START[name])
    engine.start()
    with pytest.raises(EngineLostError) as lost:
        engine.wait_ready()
    assert lost.value.fault is EngineFault.FAILED
    assert engine.pid is None
    engine.close()


@pytest.mark.parametrize("name", AT_A_TILE)
def test_nonsense_instead_of_an_answer_loses_the_child(tmp_path: Path, name: str) -> None:
    engine = engine_that_says(tmp_path, b"DONE", AT_A_TILE[name])
    engine.start()
    engine.wait_ready()
    before_bytes = LinuxBoard().resident_bytes()
    engine.submit(Task.SCENE, random_tile(1))
    with pytest.raises(EngineLostError) as lost:
        engine.collect(30)
    assert lost.value.fault is EngineFault.FAILED
    assert engine.pid is None
    assert LinuxBoard().resident_bytes() < before_bytes + (64 << 20), "little of it is held"
    engine.close()


def test_a_child_that_prints_without_end_answers_all_the_same(tmp_path: Path) -> None:
    engine = engine_that_says(tmp_path, b"DONE", "[os.write(1, bytes(65536)) for _ in range(200)]")
    engine.start()
    engine.wait_ready()
    engine.submit(Task.SURFACE, random_tile(1))
    found = engine.collect(30)
    assert found is not None
    assert found.engine.precision is Precision.INT8
    engine.close()


def wait_for_loss(engine: ProcessEngine) -> None:
    for _ in range(50):  # 12 s; its deadline is 20 s
        assert engine.collect(0.25) is None


@pytest.mark.parametrize("is_dying", [False, True], ids=["killed", "dead by itself"])
def test_what_a_child_has_forked_dies_with_it_and_does_not_hide_its_death(
    tmp_path: Path, is_dying: bool
) -> None:
    told = tmp_path / "forked"
    fork = f"forked = os.fork() or time.sleep(600); open({str(told)!r}, 'w').write(str(forked))"
    engine = engine_that_says(tmp_path, b"DONE", fork + ("; os._exit(3)" if is_dying else ""))
    engine.start()
    engine.wait_ready()
    engine.submit(Task.SURFACE, random_tile(1))
    if is_dying:
        with pytest.raises(EngineLostError, match="exit code 3"):
            wait_for_loss(engine)
    else:
        assert engine.collect(30) is not None
    engine.close()
    forked, until_s = int(told.read_text()), time.monotonic() + 10
    while runs(forked) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not runs(forked)
