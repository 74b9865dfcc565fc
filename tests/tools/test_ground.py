"""`payload fly` in a process of its own against the ground station, over loopback, with loss and kills."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from payload.config import load_config
from payload.errors import ConfigError, StoreError
from tests.flight.test_passes import fill
from tools.ground.rehearsal import flying, queued, station_command, write_configs, write_contacts
from tools.ground.settings import load_key, load_settings
from tools.ground.station import OUTGOING, PRODUCTS, PassReport, Station

REPOSITORY = Path(__file__).resolve().parents[2]
BOARD = REPOSITORY / "firmware_configs" / "ci_cpu.yaml"


def station_at(config: Path, folder: Path) -> Station:
    settings = load_settings(config)
    return Station(settings, load_key(settings, config), folder, lambda _: None)


def rehearse(folder: Path, loss: float, sizes: list[int]) -> tuple[Path, Station, dict[str, bytes]]:
    """A queue, the payload's configuration, and a station that listens."""
    flight, ground = write_configs(BOARD, folder, loss)
    (folder / "state").mkdir()
    bodies = fill(folder / "state", sizes)
    write_contacts(folder / "contacts.yaml", [(-1.0, 3600.0, 8e6)])
    return flight, station_at(ground, folder / "ground"), bodies


def all_of(bodies: dict[str, bytes]) -> Callable[[PassReport], bool]:
    """Ends a second after the last product, so that its acknowledgement is acknowledged."""

    def is_done(report: PassReport) -> bool:
        quiet_s = report.lasted_s - (report.last_packet_s or report.lasted_s)
        return len(report.products) >= len(bodies) and quiet_s > 1.5

    return is_done


def check_all_down(folder: Path, bodies: dict[str, bytes]) -> None:
    found = {path.name: path.read_bytes() for path in (folder / "ground" / PRODUCTS).iterdir()}
    assert found == {f"{name}.skp": body for name, body in bodies.items()}
    assert queued(folder / "state") == 0


def test_a_pass_with_5_percent_loss_brings_everything_down(tmp_path: Path) -> None:
    (tmp_path / "ground").mkdir()
    flight, station, bodies = rehearse(tmp_path, 0.05, [170, 40_000, 200_000, 3_000])
    plan = tmp_path / "up.bin"
    plan.write_bytes(bytes(range(256)) * 100)
    station.send_up(plan)
    try:
        with flying(flight) as process:
            report = station.run(60.0, all_of(bodies))
        assert process.returncode == 0
    finally:
        station.close()
    check_all_down(tmp_path, bodies)
    assert (tmp_path / "uplink" / "up.bin").read_bytes() == plan.read_bytes()
    assert report.thrown_away > 0
    assert report.telemetry_packets > 0
    assert report.packets_bytes <= sum(map(len, bodies.values())) * (1 / 0.95 + 0.1)
    assert f"{len(bodies)} products" in report.text()


def test_a_payload_killed_in_mid_pass_goes_on_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    (tmp_path / "ground").mkdir()
    flight, station, bodies = rehearse(tmp_path, 0.05, [170, 700_000, 300_000, 3_000])
    command = [sys.executable, "-m", "payload", "fly", "--config", str(flight)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    kills, next_kill_s = 0, 0.0

    def is_done(report: PassReport) -> bool:
        nonlocal process, kills, next_kill_s
        if report.first_packet_s is not None and kills < 3:
            next_kill_s = next_kill_s or report.lasted_s + 0.2
            if report.lasted_s > next_kill_s:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills, next_kill_s, report.first_packet_s = kills + 1, 0.0, None
                process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        return kills >= 1 and all_of(bodies)(report)

    try:
        report = station.run(90.0, is_done)
    finally:
        process.terminate()
        process.wait()
        station.close()
    check_all_down(tmp_path, bodies)
    assert kills >= 1
    assert sorted(report.products) == sorted(bodies)


def test_a_station_that_is_started_again_goes_on_in_the_middle_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "ground").mkdir()
    flight, station, bodies = rehearse(tmp_path, 0.0, [800_000])
    with flying(flight):
        first = station.run(60.0, lambda report: report.packets > 300)
        station.close()
        time.sleep(0.2)
        again = station_at(tmp_path / "ground.yaml", tmp_path / "ground")
        second = again.run(60.0, all_of(bodies))
        again.close()
    check_all_down(tmp_path, bodies)
    assert first.products == []
    assert second.products == list(bodies)


@pytest.mark.parametrize("is_given_again", [False, True])
def test_a_station_that_is_killed_goes_on_with_a_file_that_goes_up(
    tmp_path: Path, is_given_again: bool
) -> None:
    flight, ground = write_configs(BOARD, tmp_path, 0.0)
    write_contacts(tmp_path / "contacts.yaml", [(-1.0, 3600.0, 8e6)])
    big = tmp_path / "big.bin"
    big.write_bytes(random.Random(1).randbytes(6_000_000))
    command = [*station_command(ground, tmp_path / "ground"), "--up", str(big)]
    part = tmp_path / "state" / "parts"
    with flying(flight):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not (part.exists() and list(part.iterdir())):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not (tmp_path / "uplink" / "big.bin").exists()
        station = station_at(ground, tmp_path / "ground")
        said: list[str] = []
        station._say = said.append
        big.write_bytes(big.read_bytes() if is_given_again else b"the copy counts")
        body = next((tmp_path / "ground" / OUTGOING).iterdir()).read_bytes()
        if is_given_again:
            station.send_up(big)
        report = station.run(60.0, lambda report: bool(report.files_sent_up or report.files_refused))
        station.run(0.3, lambda _: False)
        station.close()
    assert report.files_sent_up == ["big.bin"]
    assert said == ["big.bin: is on its way up already"] * is_given_again + ["big.bin: is on board"]
    assert (tmp_path / "uplink" / "big.bin").read_bytes() == body
    assert len(body) == 6_000_000
    assert list((tmp_path / "ground" / OUTGOING).iterdir()) == []


def test_a_file_whose_copy_is_lost_goes_no_further_and_that_is_said(tmp_path: Path) -> None:
    _, ground = write_configs(BOARD, tmp_path, 0.0)
    file = tmp_path / "plan.bin"
    file.write_bytes(b"plan")
    first = station_at(ground, tmp_path / "ground")
    first.send_up(file)
    first.close()
    (copy,) = (tmp_path / "ground" / OUTGOING).iterdir()
    copy.write_bytes(b"plot")
    command = [*station_command(ground, tmp_path / "ground"), "--duration-s", "0.1"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 3
    assert "plan.bin: its copy in outgoing is lost; send it again" in found.stderr
    assert "refused: plan.bin" in found.stdout
    again = station_at(ground, tmp_path / "ground")
    again.send_up(file)  # as asked for
    again.close()
    assert [path.read_bytes() for path in (tmp_path / "ground" / OUTGOING).iterdir()] == [b"plan"]


def test_two_files_of_one_name_are_refused_and_neither_goes_up(tmp_path: Path) -> None:
    _, ground = write_configs(BOARD, tmp_path, 0.0)
    paths = [tmp_path / folder / "f.bin" for folder in ("x", "y")]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        path.write_bytes(b"z" * (5000 + number))
    command = station_command(ground, tmp_path / "ground")
    found = subprocess.run(
        [*command, "--up", *map(str, paths)], capture_output=True, text=True, check=False, timeout=30
    )
    assert found.returncode == 2
    assert f"{paths[1]}: another file of this name is on its way up; rename one" in found.stderr
    station = station_at(ground, tmp_path / "ground")
    assert station._transfers.entity.sending() == {}
    station.send_up(paths[0], paths[0])
    with pytest.raises(StoreError, match="another file of this name"):
        station.send_up(paths[1])
    assert list(station._transfers.entity.sending()) == ["f.bin"]
    station.close()


def test_a_file_that_is_refused_on_board_ends_the_station_with_exit_code_3(tmp_path: Path) -> None:
    flight, ground = write_configs(BOARD, tmp_path, 0.0)
    write_contacts(tmp_path / "contacts.yaml", [(-1.0, 3600.0, 8e6)])
    large = tmp_path / "large.bin"
    large.touch()
    os.truncate(large, load_config(flight).downlink.uplink_max_bytes + 1)
    command = station_command(ground, tmp_path / "ground")
    with flying(flight):
        found = subprocess.run(
            [*command, "--until-quiet-s", "2", "--duration-s", "60", "--up", str(large)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert found.returncode == 3
    assert "large.bin: was refused on board (CFDP condition 6)" in found.stderr
    assert json.loads((tmp_path / "ground" / "pass.json").read_text())["files_refused"] == ["large.bin"]


def test_a_full_disk_of_the_station_is_said_and_costs_nothing_once_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "ground").mkdir()
    flight, station, bodies = rehearse(tmp_path, 0.05, [170, 300_000, 200_000, 3_000])
    said: list[str] = []
    station._say = said.append
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    left: list[int] = []

    def is_done(report: PassReport) -> bool:
        if report.disk_failures < 2 and report.products:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # the kernel refuses every byte
        elif not left and report.disk_failures:
            left.append(queued(tmp_path / "state"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return report.disk_failures >= 2 and all_of(bodies)(report)

    try:
        with flying(flight):
            report = station.run(90.0, is_done)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        station.close()
    check_all_down(tmp_path, bodies)
    assert left[0] > 0
    assert sorted(report.products) == sorted(bodies)
    assert report.disk_failures == 2
    assert sum("nothing is acknowledged until the disk takes it" in line for line in said) == 2
    assert "the disk took nothing 2 times" in report.text()


def test_the_command_says_what_is_wrong_with_its_configuration(tmp_path: Path) -> None:
    command = station_command(Path("nothing.yaml"), tmp_path)
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr == "tools.ground: nothing.yaml: cannot be read: No such file or directory\n"
    text = (REPOSITORY / "tools" / "ground" / "bench.yaml").read_text()
    (tmp_path / "bad.yaml").write_text(text.replace("listen: 127.0.0.1:10015", "listen: here"))
    with pytest.raises(ConfigError, match=r"bad\.yaml:\d+: listen: 'here' is not host:port"):
        load_settings(tmp_path / "bad.yaml")


def test_the_shipped_station_fits_the_shipped_boards() -> None:
    station = load_settings(REPOSITORY / "tools" / "ground" / "bench.yaml")
    for name in ("ci_cpu.yaml", "flatsat.yaml"):
        board = load_config(REPOSITORY / "firmware_configs" / name)
        assert station.listen == board.service.udp_send_to
        assert station.send_to == board.service.udp_listen
        assert (station.apid, station.telemetry_apid) == (board.downlink.apid, board.service.apid)
        ends = (board.downlink.ground_entity, board.downlink.entity)
        assert (station.entity, station.flight_entity) == ends


def test_the_command_ends_with_report_and_exit_code_0(tmp_path: Path) -> None:
    _, ground = write_configs(BOARD, tmp_path, 0.0)
    out = tmp_path / "out"
    command = station_command(ground, out)
    found = subprocess.run([*command, "--duration-s", "0.2", "--json"], capture_output=True, check=True)
    assert json.loads(found.stdout) == json.loads((out / "pass.json").read_text())
