"""The real plugin's environment, with something missing: an event of its own, and the CPU goes on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from payload.types import Task
from tests.drivers.test_engine_openvino import FOLDERS
from tests.test_commands import payload
from tests.without_myriad import (
    REPOSITORY,
    another_python,
    foreign_mutex,
    needs_old_runtime,
    no_device,
    nowhere,
    without_libusb,
)

STRIP = REPOSITORY / "strips" / "example" / "strip.yaml"
WORKER = REPOSITORY / "payload" / "drivers" / "engine_worker.py"


@pytest.mark.parametrize(
    ("lacking", "event"),
    [
        (nowhere, "engine_no_python"),
        (another_python, "engine_no_runtime"),
        pytest.param(no_device, "engine_no_device", marks=needs_old_runtime),
        pytest.param(without_libusb, "engine_no_libusb", marks=needs_old_runtime),
        pytest.param(foreign_mutex, "engine_mutex_taken", marks=needs_old_runtime),
    ],
)
def test_a_flatsat_that_lacks_something_says_what_and_goes_on_on_the_cpu(
    tmp_path: Path, lacking: Callable[[Path], AbstractContextManager[Path]], event: str
) -> None:
    text = (REPOSITORY / "firmware_configs" / "flatsat.yaml").read_text()
    with lacking(tmp_path) as python:
        text = text.replace("../build/myriad/bin/python", "PYTHON").replace(": ../build/", f": {tmp_path}/")
        board = tmp_path / "flatsat.yaml"
        board.write_text(text.replace(": ../", f": {REPOSITORY}/").replace("PYTHON", str(python)))
        done = payload("run", STRIP, "--config", board, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    told = {name: count for name, count in report["events"].items() if name.startswith("engine_")}
    assert told == {event: 1, "engine_promoted": 1}, "one event of its own, and the processor serves"
    assert sum(report["engines"]["scene"].values()) == report["tiles"]
    assert all(maker.startswith("cpu CPU openvino ") for maker in report["engines"]["scene"])


@needs_old_runtime
def test_what_the_real_plugin_says_without_libusb_is_understood(tmp_path: Path) -> None:
    network = FOLDERS[Task.SCENE] / "myriad_fp16.xml"
    program = (
        f"import sys; sys.path.insert(0, {str(WORKER.parent)!r})\n"
        "import engine_worker\nfrom openvino.inference_engine import IECore\n"
        f"core = IECore(); network = core.read_network({str(network)!r})\n"
        "try:\n    core.load_network(network, 'MYRIAD')\n"
        "except RuntimeError as error:\n    print(*engine_worker.myriad_fault(str(error)), sep=': ')\n"
    )
    with without_libusb(tmp_path) as python:
        done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    assert "no_libusb: libusb-1.0.so.0 is missing" in done.stdout, done.stderr
