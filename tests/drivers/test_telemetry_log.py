"""The telemetry log, on real files."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.drivers.telemetry_log import TelemetryLog
from payload.errors import StoreError

ROOT = Path(__file__).resolve().parents[2]


def lines_of(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def append_all(path: Path, *records: dict[str, object]) -> None:
    log = TelemetryLog(path)
    log.append(records)
    log.close()


def test_records_come_back_in_order_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    append_all(path, {"n": 1}, {"n": 2, "text": "two\nlines, \u00b5"})
    append_all(path)
    append_all(path, {"n": 3})
    assert lines_of(path) == [{"n": 1}, {"n": 2, "text": "two\nlines, \u00b5"}, {"n": 3}]


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(min_value=0, max_value=60), tail=st.binary(max_size=20))
def test_whatever_a_power_cut_left_only_whole_records_stay(
    tmp_path_factory: pytest.TempPathFactory, cut: int, tail: bytes
) -> None:
    path = tmp_path_factory.mktemp("log") / "telemetry.jsonl"
    append_all(path, *({"n": n} for n in range(7)))
    torn = path.read_bytes()[:cut] + tail.replace(b"\n", b"\0")
    path.write_bytes(torn)
    append_all(path, {"n": 99})
    whole = torn[: torn.rfind(b"\n") + 1]
    assert path.read_bytes() == whole + b'{"n":99}\n'


def test_a_torn_line_longer_than_one_look_back_is_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    path.write_bytes(b'{"n":1}\n' + b"x" * 200_000)
    append_all(path, {"n": 2})
    assert lines_of(path) == [{"n": 1}, {"n": 2}]


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    append_all(path, {"n": 1})
    before = path.read_bytes()
    log = TelemetryLog(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"telemetry\.jsonl: cannot write telemetry"):
            log.append([{"n": 2, "text": "longer than what is left"}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    log.append([{"n": 3}])
    log.close()
    assert lines_of(path) == [{"n": 1}, {"n": 3}]


def test_a_folder_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        TelemetryLog(tmp_path / "absent" / "telemetry.jsonl")


def test_a_killed_writer_loses_no_record_that_it_had_appended(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    program = (
        "import sys, pathlib\n"
        "from payload.drivers.telemetry_log import TelemetryLog\n"
        "log = TelemetryLog(pathlib.Path(sys.argv[1]))\n"
        "for n in range(1_000_000):\n"
        "    log.append([{'n': n}]); print(n, flush=True)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(50):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    told = 50 + len([line for line in writer.stdout.read().splitlines() if line])
    writer.communicate()
    append_all(path, {"n": "after"})
    numbers = [record["n"] for record in lines_of(path) if isinstance(record, dict)]
    assert numbers[-1] == "after"
    assert numbers[:-1] == list(range(len(numbers) - 1))
    assert len(numbers) - 1 >= told - 1


@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=60), max_bytes=st.sampled_from([100, 1000, 4000])
)
@settings(max_examples=40, deadline=None)
def test_a_log_that_is_full_is_put_aside_and_the_last_records_are_all_there(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], max_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "telemetry.jsonl"
    log = TelemetryLog(path, max_bytes)
    for number, size in enumerate(sizes):
        log.append([{"n": number, "text": "x" * size}])
    log.close()
    aside = path.with_name("telemetry.jsonl.1")
    files = [aside, path] if aside.exists() else [path]
    numbers = [record["n"] for file in files for record in lines_of(file)]  # type: ignore[index]
    assert numbers == list(range(len(sizes)))[-len(numbers) :]
    assert all(file.stat().st_size <= max(max_bytes, 400) for file in files)
    assert numbers[-1] == len(sizes) - 1
    assert aside.exists() or path.stat().st_size <= max_bytes or len(sizes) == 1


@pytest.mark.parametrize("obstacle", ["telemetry.jsonl.new", "telemetry.jsonl.1"])
def test_a_full_log_that_cannot_be_put_aside_stays_as_it_is_and_goes_on_later(
    tmp_path: Path, obstacle: str
) -> None:
    path = tmp_path / "telemetry.jsonl"
    log = TelemetryLog(path, 100)
    log.append([{"n": 1, "text": "x" * 70}])
    (tmp_path / obstacle / "in the way").mkdir(parents=True)
    for _ in range(3):
        with pytest.raises(StoreError, match="cannot write telemetry"):
            log.append([{"n": 2, "text": "x" * 70}])
    assert [record["n"] for record in lines_of(path)] == [1]  # type: ignore[index]
    shutil.rmtree(tmp_path / obstacle)
    for number in (3, 4):
        log.append([{"n": number}])
    log.close()
    aside = path.with_name("telemetry.jsonl.1")
    numbers = [record["n"] for file in (aside, path) for record in lines_of(file)]  # type: ignore[index]
    assert numbers == [1, 3, 4]
