"""The Myriad's worker on the runtimes that carry its plugin, with their CPU plugin as the device.

No Myriad is here: what is judged is the worker's file against each API, and the files it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from payload.core.probe import Disagreement, disagreement, probe_tile
from payload.drivers.engine_openvino import OpenVinoEngine
from payload.drivers.engine_process import ProcessEngine, WorkerSpec
from payload.drivers.network import Network
from payload.ports import Device, Engine
from payload.types import Precision, Target, Task
from tests.drivers.test_engine_openvino import FOLDERS, TILES, flight_network
from tools.export.ir_v10 import write_ir_v10

BUILD = Path(__file__).resolve().parents[2] / "build"
RUNTIMES = {"2021.4.2": BUILD / "myriad", "2022.3.2": BUILD / "myriad_2022"}
WRITER = RUNTIMES["2021.4.2"] / "bin" / "python"
SAME_INTEGERS = Disagreement(0.01, 10.0)
FLOAT16_AND_INT8 = Disagreement(0.06, 120.0)
"""The sum of what the manifests permit."""


@pytest.fixture(params=RUNTIMES)
def python(request: pytest.FixtureRequest) -> Path:
    found = RUNTIMES[request.param] / "bin" / "python"
    if not found.exists():
        pytest.skip(f"python -m tools.make_myriad_env {found.parents[1]} --runtime openvino-... first")
    return found


@contextmanager
def worker(python: Path, networks: list[Network]) -> Iterator[ProcessEngine]:
    spec = WorkerSpec(
        "old", Target.CPU, "myriad", python, 1, 256 << 20, 60.0, 60.0, options={"device": "CPU"}
    )
    engine = ProcessEngine(spec, networks, TILES, 1)
    try:
        engine.start()
        engine.wait_ready()
        yield engine
    finally:
        engine.close()


def network(task: Task, stem: Path) -> Network:
    files = {path.name: path.read_bytes() for path in (stem.with_suffix(".xml"), stem.with_suffix(".bin"))}
    return Network(task, stem.name, "0" * 64, Precision.INT8, files)


def answers(engine: Engine | Device) -> dict[Task, np.ndarray]:
    found = {}
    for task in Task:
        engine.submit(task, probe_tile(TILES))
        answer = engine.collect(60.0)
        assert answer is not None
        found[task] = answer.output.copy()
    return found


def check(engine: ProcessEngine, permitted: Disagreement) -> None:
    expected = answers(OpenVinoEngine([flight_network(task) for task in Task], TILES, 1, 1))
    for task, found in answers(engine).items():
        off = disagreement(task, expected[task], found)
        print(engine.facts["runtime"], task.value, off)
        assert off.is_within(permitted)


def test_the_worker_runs_the_myriads_files_on_every_runtime_that_has_the_plugin(python: Path) -> None:
    networks = [network(task, FOLDERS[task] / "myriad_fp16") for task in Task]
    with worker(python, networks) as engine:
        check(engine, FLOAT16_AND_INT8)


def test_the_int8_ir_v10_is_read_and_right_on_old_runtimes(python: Path, tmp_path: Path) -> None:
    if not WRITER.exists():
        pytest.skip("python -m tools.make_myriad_env build/myriad first")
    networks = []
    for task in Task:
        stem = tmp_path / task.value
        write_ir_v10(FOLDERS[task], stem, WRITER)
        assert 'version="10"' in stem.with_suffix(".xml").read_text()[:200]
        networks.append(network(task, stem))
    with worker(python, networks) as engine:
        check(engine, SAME_INTEGERS)
