"""A worker's process, where it cannot begin."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from payload.drivers.strip_child import RUNS_KEPT, StripProcess, drop_old_runs, model_job, run_command
from payload.errors import NO_PROCESS, StripError


def echoing() -> StripProcess:
    return running("pass")


def running(program: str, silence_s: float = 60.0) -> StripProcess:
    """A process of Python with the path and the pipe's descriptor as its arguments."""
    return StripProcess(
        lambda path, _settings, pipe: [sys.executable, "-c", program, path, str(pipe)], lambda: silence_s
    )


def ended(worker: StripProcess) -> int:
    while (code := worker.exit_code()) is None:
        time.sleep(0.01)
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


@pytest.mark.parametrize(
    "program",
    ["import time; time.sleep(60)", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"],
    ids=["sleeps", "stopped"],
)
def test_what_says_nothing_is_killed_and_that_is_told_once(program: str) -> None:
    worker = running(program, silence_s=0.2)
    for _ in range(2):
        worker.start("a", {})
        assert ended(worker) == -signal.SIGKILL
        told = [(record["event"], record["parameters"]) for record in worker.records()]
        assert told == [("process_silent", {"silence_s": 0.2})]
        assert worker.records() == []
    worker.stop()


def test_what_goes_on_talking_is_left_alone() -> None:
    talk = "import os, sys, time\nfor _ in range(20): os.write(int(sys.argv[2]), b'{}\\n'); time.sleep(0.1)"
    worker = running(talk, silence_s=1.0)
    worker.start("a", {})
    records = []
    while (code := worker.exit_code()) is None:
        records += worker.records()
        time.sleep(0.01)
    records += worker.records()
    assert (code, records) == (0, [{}] * 20)


def test_what_it_writes_for_a_person_goes_nowhere_and_holds_nothing_up(
    capfd: pytest.CaptureFixture[str],
) -> None:
    worker = running("import sys; [print('x' * 1000, file=to) for to in (sys.stdout, sys.stderr)]")
    worker.start("a", {})
    assert ended(worker) == 0
    assert capfd.readouterr() == ("", "")


def test_one_that_is_stopped_ends_by_the_signal_that_asks_it_to(tmp_path: Path) -> None:
    worker = running("import os, signal, sys; open(sys.argv[1], 'w'); os.kill(os.getpid(), signal.SIGSTOP)")
    worker.start(str(tmp_path / "begun"), {})
    process = worker._process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status")
    while "T (stopped)" not in status.read_text():
        time.sleep(0.01)
    worker.stop()
    assert process.returncode == -signal.SIGTERM


def test_a_service_that_stood_still_does_not_blame_its_strip() -> None:
    worker = running("import time; time.sleep(60)", silence_s=1.2)
    worker.start("a", {})
    time.sleep(1.5)
    assert worker.exit_code() is None
    assert worker.records() == []
    worker.stop()
