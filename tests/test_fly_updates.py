"""New weights by command, in a real `payload fly`: accepted, refused with its code, given up."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from payload.config import load_config
from payload.core.packets import request_of
from payload.core.refusals import REFUSED_CODE, Refusal
from payload.core.signed import Root
from payload.core.slots import SlotRecord, read_record
from payload.types import Target
from tests.flying import Flight
from tools.ground.rehearsal import free_ports, write_contacts
from tools.ground.settings import Settings, load_key, load_settings
from tools.ground.station import Station
from tools.package.keys import make_key, root_file
from tools.package.making import make_package

REPOSITORY = Path(__file__).resolve().parents[1]
STRIP = REPOSITORY / "strips" / "example" / "strip.yaml"


def flight_with_keys(folder: Path) -> tuple[Flight, Path, Path]:
    """The service, a package that two of two have signed, and one that nobody has."""
    flight = Flight(folder)
    flight.stop()
    keys = [make_key(folder / f"{name}.key") for name in "ab"]
    (folder / "root.skr").write_bytes(root_file(Root(1, 2, tuple(bytes(k.verify_key) for k in keys)), keys))
    text = flight.config.read_text().replace("../build/slots", str(folder / "slots"))
    flight.config.write_text(text.replace("../build/root.skr", str(folder / "root.skr")))
    config = load_config(flight.config)
    model = config.folder(config.models.scene)
    for name, signers in (("signed.skm", keys), ("unsigned.skm", [])):
        (folder / name).write_bytes(make_package(model, 1, STRIP, signers, targets=[Target.CPU]))
    flight.start()
    return flight, folder / "signed.skm", folder / "unsigned.skm"


def test_a_model_is_installed_and_given_up_by_command(tmp_path: Path) -> None:
    flight, signed, unsigned = flight_with_keys(tmp_path / "flight")
    try:
        *before, last = flight.do("install_model", {"path": str(unsigned)})
        assert [reading.name for reading in before] == ["command_accepted", "command_started"]
        assert last.name == "command_not_completed"
        assert dict(last.values)["failure_code"] == REFUSED_CODE + Refusal.TOO_FEW_SIGNATURES
        assert str(dict(last.values)["reason"]).endswith("(refusal 6, too_few_signatures)")
        *_, last = flight.do("install_model", {"path": str(signed)})
        assert last.name == "command_completed"
        *_, last = flight.do("install_model", {"path": str(signed)})
        assert dict(last.values)["failure_code"] == REFUSED_CODE + Refusal.TRIAL_RUNS
        names = [reading.name for reading in flight.do("revert_model", {"task": "scene"})]
        assert names == ["command_accepted", "command_started", "command_completed"]
        *_, last = flight.do("revert_model", {"task": "scene"})
        assert last.name == "command_not_completed"
        assert dict(last.values)["failure_code"] == REFUSED_CODE + Refusal.NO_TRIAL
        told = {reading.name for reading in flight.seen}
        assert {"event_install_refused", "event_model_activated", "event_model_reverted"} <= told
    finally:
        flight.close()
    record = json.loads((tmp_path / "flight" / "slots" / "scene.record.0").read_text().partition("\n")[2])
    assert record["active"] == "factory" or (tmp_path / "flight" / "slots" / "scene.record.1").exists()


def test_an_installation_that_a_restart_cuts_is_undone_reported_and_may_be_repeated(tmp_path: Path) -> None:
    flight, signed, _ = flight_with_keys(tmp_path / "flight")
    slots = tmp_path / "flight" / "slots"
    try:
        request = request_of(flight.send("install_model", {"path": str(signed)})).fields()
        wait_until(lambda: "written" in states(slots))
        flight.kill()
        assert "written" in states(slots), "killed while the devices were asked"
        flight.start()
        flight.wait_for("command_not_completed", failure_code=REFUSED_CODE + Refusal.INTERRUPTED, **request)
        assert states(slots) == ["bad", "empty"]
        *_, last = flight.do("install_model", {"path": str(signed)})
        assert last.name == "command_completed"
        assert states(slots) == ["trial", "empty"]
        assert "event_install_interrupted" in {reading.name for reading in flight.seen}
    finally:
        flight.close()


def test_a_model_that_ends_every_run_is_given_up_and_costs_no_strip(tmp_path: Path) -> None:
    flight, signed, _ = flight_with_keys(tmp_path / "flight")
    slots = tmp_path / "flight" / "slots"
    try:
        *_, last = flight.do("install_model", {"path": str(signed)})
        assert last.name == "command_completed"
        flight.do("load_strip", {"path": str(STRIP)})
        for start in (1, 2, 3):
            wait_until(lambda start=start: record_of(slots).trial_boots == start)  # type: ignore[misc]
            for run in children_of(flight.process.pid):
                os.kill(run, signal.SIGKILL)
        flight.wait_for("event_model_reverted")
        flight.wait_for("event_strip_finished")
        assert states(slots) == ["bad", "empty"]
        assert "event_strip_left" not in {reading.name for reading in flight.seen}
    finally:
        flight.close()


def children_of(pid: int) -> list[int]:
    """Processes that ``pid`` has started and that still run (proc(5))."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def record_of(slots: Path) -> SlotRecord:
    """The younger record of the scene's slots on the disk."""
    records = [read_record(path.read_bytes()) for path in slots.glob("scene.record.[01]")]
    return max((record for record in records if record), key=lambda record: record.sequence)


def states(slots: Path) -> list[str]:
    """The states of the scene's slots by the younger record on the disk."""
    records = [read_record(path.read_bytes()) for path in slots.glob("scene.record.[01]")]
    found = [record for record in records if record is not None]
    if not found:
        return []
    return [slot.state.value for slot in max(found, key=lambda record: record.sequence).slots.values()]


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(6000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("not within a minute")


def test_a_model_that_came_up_by_cfdp_is_installed_by_command_tried_and_confirmed(tmp_path: Path) -> None:
    flight, signed, _ = flight_with_keys(tmp_path / "flight")
    flight.stop()
    (tmp_path / "ground").mkdir()
    settings = settings_for(flight, tmp_path)
    key = load_key(settings, flight.config)
    station = Station(settings, key, tmp_path / "ground", lambda _: None)
    write_contacts(tmp_path / "contacts.yaml", [(-1.0, 3600.0, 8e6)])
    station.send_up(signed)
    arrived = tmp_path / "uplink" / signed.name
    flight.start()
    try:
        report = station.run(60.0, lambda report: arrived.exists() and report.lasted_s > 1.0)
        assert report.thrown_away > 0, "the link loses packets"
        assert arrived.read_bytes() == signed.read_bytes()
        *_, last = flight.do("install_model", {"path": str(arrived)})
        assert last.name == "command_completed", dict(last.values)
        flight.do("load_strip", {"path": str(STRIP)})
        flight.wait_for("event_model_confirmed", rollback_index=1)
        assert states(tmp_path / "flight" / "slots") == ["good", "empty"]
    finally:
        flight.close()
        station.close()


def settings_for(flight: Flight, folder: Path) -> Settings:
    """A station beside the service, over a link that loses 5 %; two tiles are a trial."""
    down, up = (f"127.0.0.1:{port}" for port in free_ports(2))
    board = yaml.safe_load(flight.config.read_text())
    board["service"] |= {"udp_listen": up, "udp_send_to": down}
    board["downlink"] |= {"contact_plan": str(folder / "contacts.yaml"), "uplink": str(folder / "uplink")}
    board["tiles"]["inner_columns_px"] = 336
    board["updates"]["trial_tiles"] = 2
    flight.config.write_text(yaml.safe_dump(board, sort_keys=False))
    ground = yaml.safe_load((REPOSITORY / "tools" / "ground" / "bench.yaml").read_text())
    ground |= {"listen": down, "send_to": up, "loss_ratio": 0.05}
    ground["command_key"] = str(flight.folder / "command.key")
    (folder / "ground.yaml").write_text(yaml.safe_dump(ground))
    return load_settings(folder / "ground.yaml")
