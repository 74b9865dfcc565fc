"""Engines in child processes: real children, really killed, stopped and starved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from payload.drivers.engine_openvino import OpenVinoEngine
from payload.drivers.engine_process import ProcessEngine, WorkerSpec
from payload.drivers.network import Network
from payload.errors import EngineFault, EngineLostError
from payload.types import Precision, Target, Task
from tests.drivers.test_engine_openvino import TILES, flight_network, random_tile

SPEC = WorkerSpec("cpu_child", Target.CPU, "openvino", None, 1, 256 << 20, 60.0, 60.0)
NETWORKS = [flight_network(task) for task in Task]


@pytest.fixture
def started() -> Iterator[Callable[..., ProcessEngine]]:
    engines: list[ProcessEngine] = []

    def start(**changes: object) -> ProcessEngine:
        engine = ProcessEngine(replace(SPEC, **changes), NETWORKS, TILES, slots=3)  # type: ignore[arg-type]
        engines.append(engine)
        engine.start()
        engine.wait_ready()
        return engine

    yield start
    for engine in engines:
        engine.close()


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_a_child_answers_bit_for_bit_what_the_same_engine_answers_in_process(
    started: Callable[..., ProcessEngine],
) -> None:
    child, inside = started(), OpenVinoEngine(NETWORKS, TILES, 3, 1)
    order = [(Task.SCENE, 4), (Task.SURFACE, 7), (Task.SCENE, 5)]
    for engine in (child, inside):
        for task, index in order:
            engine.submit(task, random_tile(index))
    for task, index in order:
        here, there = inside.collect(30), child.collect(30)
        assert here is not None
        assert there is not None
        assert (there.task, there.index) == (task, index)
        np.testing.assert_array_equal(here.output, there.output)
        assert here.engine == there.engine
    assert child.collect(0.01) is None
    inside.close()


def test_a_killed_child_is_told_with_how_it_ended_and_a_new_one_gives_the_same_bits(
    started: Callable[..., ProcessEngine],
) -> None:
    engine = started()
    engine.submit(Task.SCENE, random_tile(1))
    first = engine.collect(30)
    assert first is not None
    scores = first.output.copy()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    engine.submit(Task.SCENE, random_tile(1))
    with pytest.raises(EngineLostError, match="cpu_child: the process ended with signal 9") as caught:
        engine.collect(30)
    assert caught.value.fault is EngineFault.DIED
    assert engine.resident_bytes() == 0
    engine.start()
    engine.wait_ready()
    engine.submit(Task.SCENE, random_tile(1))
    again = engine.collect(30)
    assert again is not None
    np.testing.assert_array_equal(again.output, scores)


def test_what_was_answered_before_the_end_is_collected_before_the_loss_is_told(
    started: Callable[..., ProcessEngine],
) -> None:
    engine = started()
    for index in (1, 2):
        engine.submit(Task.SURFACE, random_tile(index))
    time.sleep(0.5)  # both are answered by now, or the first collect waits for it
    assert engine.pid is not None
    first = engine.collect(30)
    os.kill(engine.pid, signal.SIGKILL)
    second = engine.collect(30)
    assert [first and first.index, second and second.index] == [1, 2]
    engine.submit(Task.SCENE, random_tile(3))
    with pytest.raises(EngineLostError):
        engine.collect(30)


def test_a_child_that_hangs_is_killed_at_its_deadline(started: Callable[..., ProcessEngine]) -> None:
    engine = started(deadline_s=0.3)
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    engine.submit(Task.SCENE, random_tile(1))
    with pytest.raises(EngineLostError, match=r"no answer within 0\.3 s") as caught:
        engine.collect(30)
    assert caught.value.fault is EngineFault.LATE
    assert not runs(pid)


def test_a_wait_shorter_than_the_deadline_ends_without_an_answer(
    started: Callable[..., ProcessEngine],
) -> None:
    engine = started()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    engine.submit(Task.SCENE, random_tile(1))
    assert engine.collect(0.05) is None
    os.kill(engine.pid, signal.SIGCONT)
    answer = engine.collect(30)
    assert answer is not None
    assert answer.index == 1


def test_a_child_above_its_memory_is_killed(started: Callable[..., ProcessEngine]) -> None:
    with pytest.raises(EngineLostError, match="more than its 20000000 bytes") as caught:
        started(memory_bytes=20_000_000)
    assert caught.value.fault is EngineFault.MEMORY


def test_a_child_gets_no_more_addresses_than_its_memory_allows(
    started: Callable[..., ProcessEngine], tmp_path: Path
) -> None:
    greedy = tmp_path / "greedy.py"  # what it takes at once is never touched: no look at it would tell
    greedy.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "import numpy as np\nfrom payload.drivers import engine_worker\n"
        "engine_worker.main({'openvino': lambda load, networks: np.empty(1 << 30, np.uint8)})\n"
    )
    with pytest.raises(EngineLostError, match="got no more memory") as caught:
        started(worker=greedy, memory_bytes=128 << 20)
    assert caught.value.fault is EngineFault.MEMORY


def test_a_child_tells_what_it_weighs(started: Callable[..., ProcessEngine]) -> None:
    engine = started()
    assert 40 << 20 < engine.resident_bytes() < 256 << 20
    assert engine.facts["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize("state", ["waiting", "stopped"])
def test_a_child_does_not_outlive_its_parent(state: str) -> None:
    stop = "os.kill(engine.pid, signal.SIGSTOP)\n" if state == "stopped" else ""  # reads its pipe no more
    program = (
        "from tests.drivers.test_engine_process import *\n"
        "engine = ProcessEngine(SPEC, NETWORKS, TILES, 1); engine.start(); engine.wait_ready()\n"
        f"{stop}"
        "print(engine.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    pid = int(done.stdout)
    until_s = time.monotonic() + 10
    while runs(pid) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not runs(pid)


@pytest.mark.parametrize(
    ("changes", "fault", "words"),
    [
        ({"python": Path("/nowhere/python")}, EngineFault.NO_PYTHON, "/nowhere/python cannot be run"),
        ({"runtime": "myriad", "options": {"device": "CPU"}}, EngineFault.NO_RUNTIME, "has no openvino 2021"),
    ],
)
def test_what_is_missing_has_a_name_and_words(
    started: Callable[..., ProcessEngine], changes: dict[str, object], fault: EngineFault, words: str
) -> None:
    with pytest.raises(EngineLostError, match=words) as caught:
        started(**changes)
    assert caught.value.fault is fault


def test_an_interpreter_without_numpy_is_named(started: Callable[..., ProcessEngine], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    with pytest.raises(EngineLostError, match="No module named 'numpy'") as caught:
        started(python=bare / "bin" / "python")
    assert caught.value.fault is EngineFault.NO_RUNTIME


def test_a_network_that_cannot_be_loaded_is_told_in_one_line() -> None:
    broken = Network(
        Task.SCENE, "broken", "0" * 64, Precision.INT8, {"a.xml": b"<net>no</net>", "a.bin": b""}
    )
    engine = ProcessEngine(SPEC, [broken], TILES, 1)
    engine.start()
    with pytest.raises(EngineLostError) as caught:
        engine.wait_ready()
    assert caught.value.fault is EngineFault.BAD_NETWORK
    assert "\n" not in str(caught.value)
    engine.close()


def test_a_particle_in_the_shared_weights_is_mended_before_a_new_child_reads_them() -> None:
    engine = ProcessEngine(SPEC, NETWORKS, TILES, slots=1)
    size_bytes = os.fstat(engine._files).st_size
    whole = os.pread(engine._files, size_bytes, 0)
    for place in (0, size_bytes // 2, size_bytes - 1):
        os.pwrite(engine._files, bytes([whole[place] ^ 4]), place)
    engine.scrub()
    assert os.pread(engine._files, size_bytes, 0) == whole
    engine.close()


def test_both_copies_of_the_weights_in_memory_are_checked_by_block_and_mended_from_each_other() -> None:
    engine = ProcessEngine(SPEC, NETWORKS, TILES, slots=1)
    blocks, mended = engine.scrub()
    assert mended == 0
    size_bytes = os.fstat(engine._files).st_size
    whole = os.pread(engine._files, size_bytes, 0)
    kept = {which: bytes(content) for which, content in engine._held.items()}
    os.pwrite(engine._files, bytes([whole[5000] ^ 4]), 5000)
    held = engine._held[next(iter(kept))]
    held[len(held) - 1] ^= 1
    assert engine.scrub() == (blocks, 2)
    assert os.pread(engine._files, size_bytes, 0) == whole
    assert {which: bytes(content) for which, content in engine._held.items()} == kept
    engine.close()


def test_weights_damaged_in_both_copies_in_memory_are_not_loaded() -> None:
    engine = ProcessEngine(SPEC, NETWORKS[:1], TILES, slots=1)
    held = next(iter(engine._held.values()))
    held[0] ^= 1
    os.pwrite(engine._files, b"!", 0)
    with pytest.raises(EngineLostError) as lost:
        engine.start()
    assert lost.value.fault is EngineFault.BAD_NETWORK
    engine.close()
