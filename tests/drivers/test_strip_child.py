"""A worker's process, where it cannot begin."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from payload.drivers.strip_child import RUNS_KEPT, StripProcess, drop_old_runs, model_job, run_command
from payload.errors import NO_PROCESS, StripError


def echoing() -> StripProcess:
    return StripProcess(lambda path, _settings, _pipe: [sys.executable, "-c", "pass", path])


def ended(worker: StripProcess) -> int:
    while (code := worker.exit_code()) is None:
        pass
    assert worker.exit_code() is None  # told once
    return code


def test_a_path_that_no_process_can_be_given_ends_as_no_strip_and_the_next_runs() -> None:
    worker = echoing()
    for path in ("/tmp/a\0b", "/str\udcffip\0"):
        worker.start(path, {})
        assert worker.wakes_on() == ()
        assert worker.records() == []
        assert ended(worker) == StripError.exit_code
    worker.start("/tmp/a", {})
    assert ended(worker) == 0
    worker.stop()


def test_a_board_that_has_no_descriptor_left_ends_it_as_no_process() -> None:
    worker, limits = echoing(), resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        worker.start("/tmp/a", {})
        assert ended(worker) == NO_PROCESS
        worker.start("/tmp/a", {})
        worker.stop()
        assert worker.exit_code() is None  # stopped: nothing has ended
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    worker.start("/tmp/a", {})
    assert ended(worker) == 0
    worker.stop()


def test_of_many_runs_the_latest_folders_stay(tmp_path: Path) -> None:
    drop_old_runs(tmp_path)  # there is none yet
    for number in range(RUNS_KEPT + 5):
        folder = tmp_path / "runs" / f"strip-{number % 7}-{number}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        os.utime(folder, (1000 + number, 1000 + number))
    drop_old_runs(tmp_path)
    kept = {int(folder.name.rpartition("-")[2]) for folder in (tmp_path / "runs").iterdir()}
    assert kept == set(range(5, RUNS_KEPT + 5))


def test_no_path_is_taken_for_an_option_and_every_folder_has_a_name_that_a_disk_takes() -> None:
    for path in ("--help", "-", "/" + 300 * "ü" + ".yaml", "/", ".."):
        words = run_command(path, {"a.b": 1.0}, 3, Path("c"), Path("/state"), Path("q"), 1)
        assert words[-2:] == ["--", path]
        folder = Path(words[words.index("--out") + 1])
        assert folder.parent == Path("/state/runs")
        assert len(folder.name.encode()) <= 255
    assert model_job("install:--help", 3, Path("c"))[-2:] == ["--", "--help"]
    assert model_job("settle:--help", 3, Path("c"))[-2:] == ["--", "--help"]
    assert "--revert=scene" in model_job("revert:scene", 3, Path("c"))
