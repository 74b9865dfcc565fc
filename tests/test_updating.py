"""The rules of payload.flight.updating, and `payload install` and `models` as processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from payload.config import load_config
from payload.core.package import write_package
from payload.core.packets import Failure, Request
from payload.core.refusals import REFUSED_CODE, Refusal
from payload.core.signed import PACKAGE_MAGIC, Root
from payload.core.telemetry import Telemetry
from payload.errors import CommandError
from payload.flight.calls import Call, Now
from payload.flight.updating import Updating
from payload.ports import FlightMemory
from payload.types import Target
from tests.on_board import DictMemory
from tools.package.keys import make_key, root_file, sign
from tools.package.making import make_package
from tools.retrain.weights import spoil

REPOSITORY = Path(__file__).resolve().parents[1]


class FakeWorker:
    """Implements `ports.StripWorker`: jobs are written down, and end when they are told to."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.told: list[dict[str, object]] = []
        self.code: int | None = None

    def start(self, path: str, _settings: Mapping[str, float]) -> None:
        self.jobs.append(path)
        self.code = None

    def records(self) -> list[dict[str, object]]:
        told, self.told = self.told, []
        return told

    def exit_code(self) -> int | None:
        return self.code

    def stop(self) -> None:
        self.code = -9

    def wakes_on(self) -> Sequence[int]:
        return ()


class FakeCall:
    """What a command sees of itself."""

    def __init__(self, **arguments: str) -> None:
        self.groups = [arguments]
        self.request = Request(6245, 49153)
        self.ended: list[object] = []

    def start(self) -> None:
        self.ended.append("started")

    def complete(self) -> None:
        self.ended.append("completed")

    def fail(self, error: CommandError) -> None:
        self.ended.append(error.failure_code)


class Flight:
    """The service, a worker and a strip that may be under way."""

    def __init__(self, memory: FlightMemory | None = None) -> None:
        self.worker, self.telemetry = FakeWorker(), Telemetry()
        self.memory = memory or DictMemory()
        self.remembered: list[tuple[str, Request, FakeCall]] = []
        self.is_strip_running = False
        self.service = Updating(
            self.worker,
            self.telemetry,
            lambda: self.is_strip_running,
            lambda path: path.startswith("/"),
            lambda: 600.0,
            self.memory,
            self._call_of,
            Now(0, 0),
        )

    def _call_of(self, name: str, request: Request) -> Call:
        self.remembered.append((name, request, FakeCall()))
        return cast(Call, self.remembered[-1][2])

    def command(self, name: str, **arguments: str) -> FakeCall:
        call = FakeCall(**arguments)
        assert self.service.commands[name](cast(Call, call)) is False
        return call

    def turn(self, mono_s: float = 1.0) -> None:
        self.service.poll(Now(0, int(mono_s * 1e9)))


def test_rule_1_an_installation_waits_for_the_strip_and_holds_the_next_one() -> None:
    flight = Flight()
    flight.is_strip_running = True
    call = flight.command("install_model", path="/update")
    flight.turn()
    assert flight.worker.jobs == []
    assert flight.service.is_wanted
    flight.is_strip_running = False
    flight.turn()
    assert flight.worker.jobs == ["install:/update"]
    flight.worker.code = 0
    flight.turn()
    assert call.ended == ["completed"]
    assert not flight.service.is_wanted


def test_rule_2_one_job_at_a_time() -> None:
    flight = Flight()
    flight.command("install_model", path="/update")
    with pytest.raises(CommandError) as refused:
        flight.command("revert_model", task="scene")
    assert refused.value.failure_code == Failure.BUSY


def test_rule_3_a_refusal_fails_the_command_with_its_number() -> None:
    flight = Flight()
    call = flight.command("install_model", path="/update")
    flight.turn()
    parameters = {"code": 7, "refusal": "wrong_signature", "reason": "no"}
    flight.worker.told = [{"record": "event", "event": "install_refused", "parameters": parameters}]
    flight.worker.code = 16
    flight.turn()
    assert call.ended == [REFUSED_CODE + Refusal.WRONG_SIGNATURE]
    assert flight.telemetry.counts == {"install_refused": 1}, "rule 4"


@pytest.mark.parametrize("is_begun", [False, True])
def test_rule_5_an_installation_is_not_repeated_after_a_restart_but_reported_on(is_begun: bool) -> None:
    before = Flight()
    before.is_strip_running = not is_begun
    asked = before.command("install_model", path="/update")
    before.turn()
    after = Flight(before.memory)
    ((name, request, call),) = after.remembered
    assert (name, request) == ("install_model", asked.request)
    assert after.service.is_wanted, "no strip begins before it is known what runs"
    with pytest.raises(CommandError):
        after.command("revert_model", task="scene")
    after.turn()
    assert after.worker.jobs == ["settle:/update"]
    parameters = {"code": int(Refusal.INTERRUPTED), "refusal": "interrupted", "reason": "cut"}
    after.worker.told = [{"record": "event", "event": "install_refused", "parameters": parameters}]
    after.worker.code = 16
    after.turn()
    assert call.ended == ["started", REFUSED_CODE + Refusal.INTERRUPTED]
    assert Flight(after.memory).remembered == [], "once it is reported it is forgotten"


def test_rule_5_an_installation_that_had_come_to_its_end_is_reported_as_completed() -> None:
    before = Flight()
    before.command("install_model", path="/update")
    after = Flight(before.memory)
    after.turn()
    after.worker.code = 0
    after.turn()
    assert after.remembered[0][2].ended == ["started", "completed"]


def test_rule_5_giving_up_a_trial_is_done_again() -> None:
    before = Flight()
    before.command("revert_model", task="scene")
    after = Flight(before.memory)
    after.turn()
    assert after.worker.jobs == ["revert:scene"]


def test_a_job_that_is_reported_is_forgotten() -> None:
    flight = Flight()
    flight.command("install_model", path="/update")
    flight.turn()
    flight.worker.code = 0
    flight.turn()
    assert Flight(flight.memory).remembered == []


def test_a_process_that_dies_fails_the_command() -> None:
    flight = Flight()
    call = flight.command("revert_model", task="surface")
    flight.turn()
    assert flight.worker.jobs == ["revert:surface"]
    flight.worker.code = -9
    flight.turn()
    assert call.ended == [Failure.INTERRUPTED]


def test_rule_4_the_weights_are_checked_on_a_period_when_nothing_else_is_to_be_done() -> None:
    flight = Flight()
    flight.turn(599)
    assert flight.worker.jobs == []
    flight.turn(601)
    assert flight.worker.jobs == ["scrub:"]
    flight.worker.told = [{"record": "channels", "values": {"scrubbed_blocks": 300, "mended_blocks": 2}}]
    flight.worker.code = 0
    flight.turn(602)
    flight.turn(1000)
    assert flight.worker.jobs == ["scrub:"]
    assert flight.telemetry.values["mended_blocks"] == 2
    flight.turn(1202)
    assert flight.worker.jobs == ["scrub:", "scrub:"]


@pytest.mark.parametrize(
    ("name", "arguments"), [("install_model", {"path": "x"}), ("revert_model", {"task": "x"})]
)
def test_what_is_not_there_is_refused_at_once(name: str, arguments: dict[str, str]) -> None:
    flight = Flight()
    with pytest.raises(CommandError) as refused:
        flight.command(name, **arguments)
    assert refused.value.failure_code == Failure.NOT_FOUND


# Real processes


class Ground:
    """Keys, a board whose slots lie in a folder of their own, and the shipped scene network packed."""

    def __init__(self, folder: Path, board: str = "ci_cpu") -> None:
        self.folder, self.config = folder, folder / "board.yaml"
        names = ("a", "b", "c")
        self.keys = [make_key(folder / f"{name}.key") for name in names]
        root = Root(1, 2, tuple(bytes(key.verify_key) for key in self.keys))
        (folder / "root.skr").write_bytes(root_file(root, self.keys))
        text = (REPOSITORY / "firmware_configs" / f"{board}.yaml").read_text()
        text = text.replace("../build/slots", str(folder / "slots")).replace(
            "../build/root.skr", str(folder / "root.skr")
        )
        text = text.replace("inner_columns_px: 1008", "inner_columns_px: 336").replace(
            "trial_tiles: 24", "trial_tiles: 2"
        )
        self.config.write_text(text.replace("../", f"{REPOSITORY}/"))

    def package(
        self,
        name: str,
        model: Path,
        index: int,
        signers: int = 2,
        targets: Sequence[Target] = (Target.CPU,),
    ) -> Path:
        path = self.folder / name
        strip = REPOSITORY / "strips" / "example" / "strip.yaml"
        path.write_bytes(make_package(model, index, strip, self.keys[:signers], targets=targets))
        return path

    def signed(self, document: bytes, files: Sequence[bytes]) -> bytes:
        """A package of any document and files, signed by two."""
        return write_package(document, sign(self.keys[:2], PACKAGE_MAGIC, document), files)

    def payload(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "payload", *map(str, words), "--config", str(self.config)]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    def models(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.payload("models", "--json").stdout)
        return found


STRIP = REPOSITORY / "strips" / "example" / "strip.yaml"
BOARD = load_config(REPOSITORY / "firmware_configs" / "ci_cpu.yaml")
SCENE = BOARD.folder(BOARD.models.scene)


def test_a_model_is_installed_runs_on_trial_and_a_bad_one_is_given_up_in_the_same_run(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    few = ground.payload("install", ground.package("few.skm", SCENE, 1, signers=1))
    assert few.returncode == 16
    assert f"refusal {Refusal.TOO_FEW_SIGNATURES.value}," in few.stderr
    assert ground.models()["tasks"]["scene"]["active"] == "factory"

    done = ground.payload("install", ground.package("good.skm", SCENE, 1))
    assert done.returncode == 0, done.stderr
    assert ground.models()["tasks"]["scene"]["is_trial"]
    run = ground.payload("run", STRIP, "--out", tmp_path / "run1")
    assert run.returncode == 0, run.stderr
    scene = ground.models()["tasks"]["scene"]
    assert (scene["active"], scene["last_good"], scene["rollback_index"]) == ("a", "a", 1)

    spoil(SCENE, tmp_path / "bad")
    # Its known answers are its own, as if the ground had evaluated nothing: only the trial sees it.
    done = ground.payload("install", ground.package("bad.skm", tmp_path / "bad", 2))
    assert done.returncode == 0, done.stderr
    run = ground.payload("run", STRIP, "--out", tmp_path / "run2", "--json")
    assert run.returncode == 0, run.stderr
    events = json.loads(run.stdout)["events"]
    assert events["model_reverted"] == 1
    assert json.loads(run.stdout)["tiles_done"] == 6
    scene = ground.models()["tasks"]["scene"]
    assert (scene["active"], scene["rollback_index"], scene["slots"]["b"]["state"]) == ("a", 1, "bad")
    old = ground.payload("install", ground.package("old.skm", SCENE, 0))
    assert f"refusal {Refusal.OLD_INDEX.value}," in old.stderr


def test_what_became_of_an_installation_that_was_cut_is_said(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    package = ground.package("good.skm", SCENE, 1)
    cut = ground.payload("install", package, "--settle")
    assert f"refusal {Refusal.INTERRUPTED.value}," in cut.stderr
    assert ground.payload("install", package).returncode == 0
    done = ground.payload("install", package, "--settle", "--json")
    assert json.loads(done.stdout)["slot"] == "a"
    root = ground.payload("install", tmp_path / "root.skr", "--settle")
    assert root.returncode == 0, root.stderr


def test_what_is_not_there_to_be_installed_or_given_up_is_said_as_what_it_is(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    log = tmp_path / "slots" / "telemetry.jsonl"
    absent = ground.payload("install", tmp_path / "absent.skm")
    assert (absent.returncode, absent.stderr.count("\n"), log.exists()) == (2, 1, False)
    none = ground.payload("models", "--revert", "scene")
    assert none.returncode == 16
    assert "no scene model is on trial (refusal 31, no_trial)" in none.stderr
    records = map(json.loads, log.read_text().splitlines())
    assert [one["event"] for one in records if one["record"] == "event"] == ["install_refused"]


def test_a_second_device_is_asked_too_and_its_failure_refuses_the_model(tmp_path: Path) -> None:
    ground = Ground(tmp_path, "bench_stand_in")
    package = ground.package("good.skm", SCENE, 1, targets=(Target.CPU, Target.MYRIAD))
    text = ground.config.read_text().replace("target: cpu", "target: myriad")
    faults = {"nan@0": Refusal.WRONG_ANSWER, "hang@2": Refusal.TOO_SLOW, "crash@3": Refusal.DEVICE_LOST}
    for fault, refusal in faults.items():
        failing = text.replace("faults: none", f"faults: {fault}")
        if refusal is Refusal.TOO_SLOW:
            failing = failing.replace("deadline_s: 10.0", "deadline_s: 1.0")
        ground.config.write_text(failing)
        assert f"refusal {refusal.value}," in ground.payload("install", package).stderr
    ground.config.write_text(text)
    done = ground.payload("install", package, "--echo")
    assert done.returncode == 0, done.stderr
    passed = [line for line in done.stderr.splitlines() if "known_answers_passed" in line]
    assert ["openvino" in passed[0], "stand_in" in passed[1]] == [True, True]


def test_an_absent_device_is_named_and_the_model_installed(tmp_path: Path) -> None:
    ground = Ground(tmp_path, "flatsat")
    package = ground.package("good.skm", SCENE, 1, targets=(Target.CPU, Target.MYRIAD))
    done = ground.payload("install", package, "--echo")
    assert done.returncode == 0, done.stderr
    (named,) = (line for line in done.stderr.splitlines() if "known_answers_not_asked" in line)
    assert "myriad" in named


def test_a_device_that_is_too_slow_or_takes_too_much_is_seen_in_a_real_child(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    package = ground.package("good.skm", SCENE, 1)
    text = ground.config.read_text()
    ground.config.write_text(text.replace("known_answer_timeout_s: 120.0", "known_answer_timeout_s: 0.1"))
    assert f"refusal {Refusal.TOO_SLOW.value}," in ground.payload("install", package).stderr
    ground.config.write_text(re.sub(r"interpreter_bytes: \S+", "interpreter_bytes: 20_000_000", text))
    assert f"refusal {Refusal.TOO_BIG.value}," in ground.payload("install", package).stderr
    assert ground.models()["tasks"]["scene"]["slots"]["a"]["state"] == "bad"


def test_what_the_end_of_the_service_interrupts_has_failed() -> None:
    flight = Flight()
    running = flight.command("install_model", path="/update")
    flight.turn()
    flight.service.close()
    assert running.ended == [Failure.INTERRUPTED]
    flight = Flight()
    flight.is_strip_running = True
    waiting = flight.command("install_model", path="/update")
    flight.turn()
    flight.service.close()
    assert waiting.ended == [Failure.INTERRUPTED]
