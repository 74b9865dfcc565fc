"""A whole run whose device is lost on the way leaves, to the byte, what a run without it leaves."""

from __future__ import annotations

import json
import re
from pathlib import Path

from payload.drivers.product_store import SqliteProductStore
from tests.test_commands import payload
from tests.test_kill_run import bodies

REPOSITORY = Path(__file__).resolve().parents[1]
STRIP = REPOSITORY / "strips" / "example" / "strip.yaml"
FAULTS = "crash@6 nan@14 hang@22"
NAMES = {"crash": "died", "nan": "wrong", "hang": "late"}
"""What run.json calls them."""


def board(folder: Path, order: str, faults: str = "none") -> Path:
    """bench_stand_in.yaml with small tiles, so that a device can be lost often in a short strip."""
    text = (REPOSITORY / "firmware_configs" / "bench_stand_in.yaml").read_text()
    text = re.sub(r"inner_rows_px: \d+", "inner_rows_px: 48", text)
    text = re.sub(r"inner_columns_px: \d+", "inner_columns_px: 96", text)
    text = re.sub(r"  scene: \[stand_in.*", f"  scene: {order}", text)
    text = text.replace("faults: none", f"faults: {faults}").replace(
        "first_rest_s: 1.0", "first_rest_s: 0.05"
    )
    text = text.replace("deadline_s: 10.0", "deadline_s: 2.0")
    text = text.replace(": ../", f": {REPOSITORY}/").replace(f"{REPOSITORY}/build", str(folder))
    path = folder / "board.yaml"
    path.write_text(text)
    return path


def ran(folder: Path, *choice: str) -> tuple[dict[str, bytes], dict[str, object]]:
    folder.mkdir()
    done = payload("run", STRIP, "--config", board(folder, *choice), "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    store = SqliteProductStore(folder / "queue.sqlite")
    found = bodies(store)
    store.close()
    return found, json.loads(done.stdout)


def test_a_run_that_lost_its_device_three_times_equals_one_on_the_cpu(tmp_path: Path) -> None:
    expected, _ = ran(tmp_path / "cpu", "[openvino]")
    found, report = ran(tmp_path / "lost", "[stand_in, openvino]", FAULTS)
    assert set(found) == set(expected)
    assert {name for name, body in found.items() if body != expected[name]} == set()
    devices = {str(device["device"]): device for device in report["devices"]}  # type: ignore[attr-defined]
    assert devices["stand_in"]["is_stand_in"]
    begun = json.loads((tmp_path / "lost" / "scratch" / "stand_in.state").read_text())["tiles"]
    reached = [
        NAMES[kind] for kind, _, tile in map(str.partition, FAULTS.split(), "@@@") if int(tile) < begun
    ]
    assert reached
    assert devices["stand_in"]["faults"] == {name: reached.count(name) for name in reached}
    assert devices["stand_in"]["losses"] == len(reached) == report["events"]["engine_demoted"]  # type: ignore[index]
    assert report["events"]["stand_in_used"] == 1  # type: ignore[index]
    scene = report["engines"]["scene"]  # type: ignore[index]
    assert sum(scene.values()) + report["tiles_no_data"] == report["tiles"]  # type: ignore[operator]
    assert any("stand_in" in line for line in scene), "every record names its maker"


def test_a_device_that_is_wrong_on_the_known_tile_makes_none_before_it_is_right(tmp_path: Path) -> None:
    path = board(tmp_path, "[stand_in, openvino]", " ".join(f"wrong@{tile}" for tile in range(99)))
    path.write_text(re.sub(r"start_wait_s: \S+", "start_wait_s: 60.0", path.read_text()))
    done = payload("run", STRIP, "--config", path, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    device = next(one for one in json.loads(done.stdout)["devices"] if one["device"] == "stand_in")
    assert device["faults"]["wrong"] == device["losses"] > 0
    assert (device["tiles"], device["promotions"]) == (0, 0)


def test_a_run_without_an_answer_says_where_each_device_stands(tmp_path: Path) -> None:
    path = board(tmp_path, "[stand_in]", "hang@6 hang@7 hang@8")
    path.write_text(re.sub(r"collect_timeout_s: \S+", "collect_timeout_s: 0.5", path.read_text()))
    done = payload("run", STRIP, "--config", path, "--out", tmp_path / "out")
    assert done.returncode == 8
    assert re.search(r"no answer within 0\.5 s: stand_in \w+.*; openvino \w+", done.stderr), done.stderr


def test_a_flight_board_refuses_the_stand_in(tmp_path: Path) -> None:
    path = board(tmp_path, "[stand_in, openvino]")
    path.write_text(path.read_text().replace("is_flight: false", "is_flight: true"))
    done = payload("run", STRIP, "--config", path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "stand_in is for benches" in done.stderr
