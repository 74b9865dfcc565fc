"""`payload devices`, and the real Myriad plugin without a device: each absence has its own words."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from payload.assembly import load_models
from payload.config import load_config
from payload.config.engines import ChildConfig, EngineKind
from payload.core.engine_posts import EVENT_OF_FAULT
from payload.core.telemetry import Telemetry
from payload.devices import REMEDIES, build_chain, network_of, remedy, worker_spec
from payload.drivers import engine_worker
from payload.drivers.engine_process import ProcessEngine
from payload.errors import EngineFault, EngineLostError
from payload.types import MemoryPlan, Task
from tests.ground_alone import ask, packages_in
from tests.test_commands import payload
from tests.test_stand_in_run import board
from tests.without_myriad import MYRIAD_PYTHON, foreign_mutex, needs_old_runtime

REPOSITORY = Path(__file__).resolve().parents[1]
FLATSAT = REPOSITORY / "firmware_configs" / "flatsat.yaml"


def bus_with_a_myriad(folder: Path) -> str:
    """A look-alike of /sys/bus/usb/devices, so that the plugin itself is asked."""
    place = folder / "usb" / "1-1"
    place.mkdir(parents=True)
    for name, text in (("idVendor", "03e7\n"), ("busnum", "1\n"), ("devnum", "99\n")):
        (place / name).write_text(text)
    return str(place.parent)


def complaint(python: Path, options: dict[str, object]) -> EngineLostError:
    """What the worker says with those options of the flatsat's Myriad."""
    config = load_config(FLATSAT)
    child = ChildConfig(str(python), 200 << 20, 30.0, 10.0)
    config = replace(config, engine=replace(config.engine, myriad=child))
    models, tiles = load_models(config)
    window_px = tiles.window_rows_px, tiles.window_columns_px
    network = network_of(EngineKind.MYRIAD, config, models[Task.SCENE], window_px)
    spec = replace(worker_spec(EngineKind.MYRIAD, config), options=options)
    engine = ProcessEngine(spec, [network], tiles, 1)
    try:
        with pytest.raises(EngineLostError) as caught:
            start_and_wait(engine)
        return caught.value
    finally:
        engine.close()


def start_and_wait(engine: ProcessEngine) -> None:
    engine.start()
    engine.wait_ready()


def test_every_fault_says_what_to_do() -> None:
    assert set(REMEDIES) == set(EngineFault)
    assert set(EVENT_OF_FAULT.values()) == {f"engine_{fault.value}" for fault in EVENT_OF_FAULT}


def test_devices_says_what_is_there_and_what_to_do_about_the_rest(tmp_path: Path) -> None:
    text = FLATSAT.read_text().replace("../build/myriad/bin/python", "/nowhere/python")
    path = tmp_path / "flatsat.yaml"
    path.write_text(text.replace(": ../", f": {REPOSITORY}/").replace(f"{REPOSITORY}/build", str(tmp_path)))
    done = payload("devices", "--config", path, "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["engine"]: row for row in json.loads(done.stdout)}
    assert rows["openvino"]["state"] == "ready"
    assert re.search(r"cpu CPU openvino \S+ int8 scene_s2_v\d@\w+ in \d+ ms", rows["openvino"]["what"])
    assert rows["myriad"]["state"] in ("no_python", "bad_network")
    assert rows["myriad"]["to do"]
    shown = payload("devices", "--config", path)
    assert "to do: " in shown.stdout


def test_a_board_of_litert_alone_is_told_the_extra_that_brings_it(tmp_path: Path) -> None:
    ground = packages_in(tmp_path / "ground")
    board, strip = REPOSITORY / "firmware_configs" / "small.yaml", REPOSITORY / "strips/example/strip.yaml"
    looked = ask(ground, "payload", "devices", "--config", board, "--json")
    (row,) = json.loads(looked.stdout)
    assert (looked.returncode, row["state"]) == (8, "no_runtime")
    assert row["to do"] == "install the extra 'litert': .venv/bin/python -m pip install -e '.[litert]'"
    ran = ask(ground, "payload", "run", strip, "--config", board, "--out", tmp_path / "run")
    assert ran.returncode == 8
    assert "(extra 'litert')" in ran.stderr


@pytest.mark.parametrize(
    ("python", "words"),
    [("this", "the extra 'litert'"), ("../build/tflite/bin/python", "--runtime tflite-runtime")],
)
def test_a_child_of_litert_is_told_what_its_own_interpreter_lacks(python: str, words: str) -> None:
    config = load_config(REPOSITORY / "firmware_configs" / "small.yaml")
    child = ChildConfig(python, 128 << 20, 30.0, 10.0)
    config = replace(config, engine=replace(config.engine, litert=child))
    assert words in remedy(EngineFault.NO_RUNTIME, EngineKind.LITERT, config)


@pytest.mark.parametrize(("fault", "words"), [("wrong", "came back wrong: "), ("hot", "too hot: 95 degC")])
def test_a_device_that_no_run_would_use_is_not_called_ready(tmp_path: Path, fault: str, words: str) -> None:
    found = payload("devices", "--config", board(tmp_path, "[stand_in, openvino]", f"{fault}@0"), "--json")
    assert found.returncode == 0, found.stderr
    rows = {row["engine"]: row for row in json.loads(found.stdout)}
    assert list(rows) == ["stand_in", "openvino"], "in the order of the configuration"
    assert (rows["openvino"]["state"], rows["stand_in"]["state"]) == ("ready", fault)
    assert words in rows["stand_in"]["what"]
    assert rows["stand_in"]["to do"]


def test_a_device_that_the_plan_has_no_room_for_is_told_and_left_out() -> None:
    config = load_config(FLATSAT)
    models, tiles = load_models(config)
    telemetry = Telemetry()
    chain = build_chain(config, models, tiles, MemoryPlan((), 1000, 1), telemetry)
    assert [device["device"] for device in chain.facts()] == ["openvino"]
    (told,) = telemetry.take_events(0)
    assert told["event"] == "engine_no_room"
    assert told["parameters"] == {"device": "myriad", "size_bytes": 1000}
    chain.close()


def test_a_bus_without_a_myriad_a_foreign_mutex_and_a_node_without_permission(tmp_path: Path) -> None:
    if not engine_worker._has_library("libusb-1.0.so.0"):
        pytest.skip("libusb is missing here, which is told first")
    (tmp_path / "empty").mkdir()
    with pytest.raises(engine_worker.FaultError, match="no Myriad X") as caught:
        engine_worker.look_for_myriad(str(tmp_path / "empty"), str(tmp_path / "none"))
    assert caught.value.fault == "no_device"
    locked = tmp_path / "locked"
    locked.mkdir()
    with pytest.raises(engine_worker.FaultError, match="belongs to user") as caught:
        engine_worker.look_for_myriad(str(tmp_path / "empty"), str(locked))  # cannot be opened to write
    assert caught.value.fault == "mutex_taken"
    bus = bus_with_a_myriad(tmp_path)
    engine_worker.look_for_myriad(bus, str(tmp_path / "none"))
    assert engine_worker.myriad_nodes(bus) == ["/dev/bus/usb/001/099"]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("Cannot load library 'libmyriadPlugin.so': libusb-1.0.so.0: cannot open shared object", "no_libusb"),
        ('Device with "MYRIAD" name is not registered in the OpenVINO Runtime', "no_runtime"),
        ("Can not init Myriad device: NC_ERROR", "no_device"),
        ('Failed to compile layer "x": unsupported layer type "FakeQuantize"', "bad_network"),
    ],
)
def test_what_the_plugin_complains_of_has_a_name(said: str, fault: str) -> None:
    assert engine_worker.myriad_fault(said)[0] == fault


@needs_old_runtime
@pytest.mark.parametrize("who_looks", ["the worker", "the plugin"])
def test_a_mutex_of_another_user_is_named_even_where_the_plugin_ends_the_process(
    tmp_path: Path, who_looks: str
) -> None:
    options: dict[str, object] = {"usb_devices": bus_with_a_myriad(tmp_path)}
    if who_looks == "the plugin":
        options["mutex"] = str(tmp_path / "none")
    with foreign_mutex(tmp_path) as python:
        error = complaint(python, options)
    assert error.fault is EngineFault.MUTEX_TAKEN
    assert ("belongs to user 65534" if who_looks == "the worker" else "ended the process") in str(error)


@needs_old_runtime
def test_the_real_plugin_without_a_device_gives_up_by_itself(tmp_path: Path) -> None:
    error = complaint(MYRIAD_PYTHON, {"usb_devices": bus_with_a_myriad(tmp_path)})
    assert error.fault is EngineFault.NO_DEVICE
    assert "NC_ERROR" in str(error)


def test_the_wrong_python_is_told_from_a_missing_runtime(tmp_path: Path) -> None:
    error = complaint(Path("/nowhere/python"), {})
    assert error.fault is EngineFault.NO_PYTHON
    here = complaint(Path(sys.executable), {"usb_devices": bus_with_a_myriad(tmp_path)})
    assert here.fault is EngineFault.NO_RUNTIME
