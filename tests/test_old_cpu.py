"""Everything runs without AVX2 and VNNI: the networks of every engine under an emulated IvyBridge."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from payload.core.probe import Disagreement, disagreement
from payload.types import Task
from tests.drivers.test_engine_openvino import FOLDERS
from tests.drivers.test_old_runtimes import WRITER, answers, network, worker
from tools.export.ir_v10 import write_ir_v10

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
OPENVINO = """
import sys
import numpy as np
from payload.drivers.engine_openvino import OpenVinoEngine
from payload.types import Task
from tests.drivers.test_engine_openvino import TILES, flight_network, random_tile
engine = OpenVinoEngine([flight_network(task) for task in Task], TILES, 1, 1)
found = {}
for task in Task:
    engine.submit(task, random_tile(3))
    found[task.value] = engine.collect(3600).output.copy()
np.savez(sys.argv[1], **found)
"""
LITERT = """
import sys
import numpy as np
from payload.drivers.engine_litert import LiteRtEngine
from payload.drivers.network import Network
from payload.types import Precision, Task
from tests.drivers.test_engine_openvino import FOLDERS, TILES, random_tile
from tools.export.tflite import tflite_of
found = {}
for task in Task:
    content = tflite_of(FOLDERS[task], TILES.window_rows_px, TILES.window_columns_px)
    network = Network(task, "any", "0" * 64, Precision.INT8, {"any.tflite": content})
    engine = LiteRtEngine([network], TILES, 1, 1)
    engine.submit(task, random_tile(3))
    found[task.value] = engine.collect(3600).output.copy()
np.savez(sys.argv[1], **found)
"""


@pytest.fixture
def emulator() -> list[str]:
    found = shutil.which("qemu-x86_64")
    if found is None:
        pytest.skip("needs qemu-x86_64 (apt: qemu-user)")
    return [found, "-cpu", "IvyBridge"]


@pytest.mark.parametrize("program", [OPENVINO, LITERT], ids=["openvino", "litert"])
def test_the_networks_answer_the_same_on_a_processor_without_avx2(
    tmp_path: Path, emulator: list[str], program: str
) -> None:
    if program is LITERT and importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("needs the extra 'litert'")
    found = {}
    for name, prefix in (("here", []), ("old", emulator)):
        path = tmp_path / f"{name}.npz"
        done = subprocess.run(
            [*prefix, sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
        found[name] = np.load(path)
    np.testing.assert_array_equal(found["old"]["scene"], found["here"]["scene"])
    np.testing.assert_allclose(found["old"]["surface"], found["here"]["surface"], atol=2e-5)


def test_the_int8_ir_v10_does_not_saturate_without_vnni(tmp_path: Path, emulator: list[str]) -> None:
    if not WRITER.exists():
        pytest.skip("python -m tools.make_myriad_env build/myriad first")
    networks = []
    for task in Task:
        write_ir_v10(FOLDERS[task], tmp_path / task.value, WRITER)
        networks.append(network(task, tmp_path / task.value))
    old = tmp_path / "python"
    old.write_text(f'#!/bin/sh\nexec {" ".join(emulator)} {WRITER} "$@"\n')
    old.chmod(0o755)
    found = {}
    for name, python in (("here", WRITER), ("old", old)):
        with worker(python, networks) as engine:
            found[name] = answers(engine)
    for task in Task:
        off = disagreement(task, found["here"][task], found["old"][task])
        print(task.value, off)
        assert off.is_within(Disagreement(0.005, 10.0))
