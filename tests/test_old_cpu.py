"""Everything runs without AVX2: the networks under an emulated IvyBridge."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
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


def test_the_networks_answer_the_same_on_a_processor_without_avx2(tmp_path: Path) -> None:
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("needs qemu-x86_64 (apt: qemu-user)")
    answers = {}
    for name, prefix in (("here", []), ("old", [emulator, "-cpu", "IvyBridge"])):
        path = tmp_path / f"{name}.npz"
        done = subprocess.run(
            [*prefix, sys.executable, "-c", PROGRAM, str(path)], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
        answers[name] = np.load(path)
    np.testing.assert_array_equal(answers["old"]["scene"], answers["here"]["scene"])
    np.testing.assert_allclose(answers["old"]["surface"], answers["here"]["surface"], atol=2e-5)
