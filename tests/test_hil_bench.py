"""The tests of losses on a bench, against a bench of scripts: this machine is the board."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import test_stand_in_run

REPOSITORY = Path(__file__).resolve().parents[1]
LOSSES = "hil_tests/test_losses.py"

BOARD = """\
if [ -e {here}/power_off ]; then exit 255; fi
exec sh -c "$1"
"""
"""What leads to the board: nothing while it has no power."""

PAYLOAD = """\
#!/bin/sh
case "$*" in *"{refused}"*) echo "payload: something is wrong here" >&2; exit 5;; esac
if [ "$1" = run ]; then echo $$ > {here}/board.pid; fi
exec {python} -m payload "$@"
"""

DEVICE = """\
import os, sys, time
from pathlib import Path
sys.path.insert(0, {repository!r})
from payload.drivers import engine_worker
from tools.stand_in import StandIn

class Device(StandIn):
    def __init__(self, load, networks):
        if Path({here!r}, "device_off").exists():
            raise engine_worker.FaultError("no_device", "the bench has pulled it")
        Path({here!r}, "device.pid").write_text(str(os.getpid()))
        super().__init__(load, networks)

    def infer(self, *tile):
        time.sleep(0.02)  # the strip lasts longer than the bench takes to look into the queue
        super().infer(*tile)

engine_worker.main({{"stand_in": Device}})
"""


def bench(here: Path, refused: str = "nothing is") -> Path:
    """A bench file in ``here``; relays write ``switched``, and what is switched off has a file there."""
    names = {"here": str(here), "python": sys.executable, "repository": str(REPOSITORY), "refused": refused}
    for name, text in (("board.sh", BOARD), ("payload.sh", PAYLOAD), ("device.py", DEVICE)):
        (here / name).write_text(text.format(**names))
    (here / "payload.sh").chmod(0o755)
    config = test_stand_in_run.board(here, "[stand_in, openvino]")
    config.write_text(re.sub(r"worker: \S+", f"worker: {here}/device.py", config.read_text()))
    relays = {
        what: {
            "cut": f"echo cut >> {here}/switched; touch {here}/{what}_off; kill -9 $(cat {here}/{process})",
            "restore": f"rm -f {here}/{what}_off",
        }
        for what, process in (("device", "device.pid"), ("power", "board.pid"))
    }
    roles = {
        "board": {
            "shell": f"sh {here}/board.sh",
            "folder": str(REPOSITORY),
            "payload": f"{here}/payload.sh",
            "config": str(config),
            "out": f"{here}/out",
        },
        "full_strip": {"path": "strips/example/strip.yaml"},
        "vpu": {"device": "stand_in"},
        "vpu_power": relays["device"],
        "board_power": {**relays["power"], "boot_s": 60},
    }
    path = here / "bench.yaml"
    path.write_text(yaml.safe_dump(roles))
    return path


def judged(path: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"{LOSSES}::{name}" for name in tests)]
    return subprocess.run(
        [sys.executable, *words, "--bench", str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_board_that_loses_nothing_passes_when_its_device_is_pulled_and_its_power_is_cut(
    tmp_path: Path,
) -> None:
    done = judged(
        bench(tmp_path),
        "test_a_vpu_that_is_pulled_costs_no_tile",
        "test_a_power_cut_loses_no_tile_and_doubles_none",
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert (tmp_path / "switched").read_text() == "cut\ncut\n"


def test_a_run_that_ends_too_early_is_told_with_its_words_and_its_board_keeps_its_power(
    tmp_path: Path,
) -> None:
    path = bench(tmp_path, refused="out/cut")
    config = tmp_path / "board.yaml"
    config.write_text(config.read_text().replace("[stand_in, openvino]", "[openvino]"))
    done = judged(path, "test_a_power_cut_loses_no_tile_and_doubles_none")
    assert done.returncode == 1
    assert "exit code 5: payload: something is wrong here" in done.stdout
    assert not (tmp_path / "switched").exists()
    assert not (tmp_path / "power_off").exists()


@pytest.mark.parametrize("command", ["false", "exit 3"])
def test_a_board_has_its_power_again_whatever_becomes_of_the_cut(tmp_path: Path, command: str) -> None:
    from hil_tests.bench import power_cut

    power = {"cut": f"touch {tmp_path}/off; {command}", "restore": f"rm {tmp_path}/off"}
    with pytest.raises(AssertionError), power_cut(power):
        raise RuntimeError("not reached")
    assert not (tmp_path / "off").exists()
