"""The board's measurements, taken of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from payload.drivers.board import LinuxBoard, SystemClock

MEBIBYTE = 1 << 20
BLOCK_BYTES = 64 * MEBIBYTE

CHILD = """
import sys
block = bytearray(int(sys.argv[1]))
block[::4096] = b"x" * len(block[::4096])
if sys.argv[2] == "free":
    del block
total = sum(range(int(sys.argv[3])))
print("ready", flush=True)
sys.stdin.read()
"""

GRANDCHILD = """
import subprocess, sys
pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child = subprocess.Popen([sys.executable, *sys.argv[1:]], **pipes)
print(child.stdout.readline(), flush=True)
sys.stdin.read()
child.communicate()
"""


@contextmanager
def child(*arguments: str) -> Iterator[None]:
    """A child process that has said that it is ready, and is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "ready"
        yield
    finally:
        process.communicate()


def measuring_program(body: str) -> list[int]:
    """Numbers printed by a fresh process that runs ``body`` with a board in ``board``."""
    program = f"from payload.drivers.board import LinuxBoard\nboard = LinuxBoard()\n{body}"
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    return [int(word) for word in run.stdout.split()]


def test_peak_keeps_what_was_freed_and_resident_does_not() -> None:
    before, resident, peak = measuring_program(
        "before = board.resident_bytes()\n"
        f"block = bytearray({BLOCK_BYTES}); block[::4096] = b'x' * len(block[::4096])\n"
        "del block\n"
        "print(before, board.resident_bytes(), board.peak_bytes())"
    )
    assert resident < before + BLOCK_BYTES // 2
    assert peak > before + BLOCK_BYTES * 3 // 4


def test_resident_memory_counts_a_child() -> None:
    board = LinuxBoard()
    alone = board.resident_bytes()
    with child("-c", CHILD, str(BLOCK_BYTES), "keep", "0"):
        assert board.resident_bytes() > alone + BLOCK_BYTES * 3 // 4


def test_resident_memory_counts_a_grandchild() -> None:
    board = LinuxBoard()
    alone = board.resident_bytes()
    with child("-c", GRANDCHILD, "-c", CHILD, str(BLOCK_BYTES), "keep", "0"):
        assert board.resident_bytes() > alone + BLOCK_BYTES * 3 // 4


def test_peak_counts_what_a_child_has_freed_already() -> None:
    board = LinuxBoard()
    alone = board.peak_bytes()
    with child("-c", CHILD, str(BLOCK_BYTES), "free", "0"):
        assert board.peak_bytes() > alone + BLOCK_BYTES * 3 // 4


def test_peak_does_not_fall_when_a_child_ends() -> None:
    board = LinuxBoard()
    with child("-c", CHILD, str(BLOCK_BYTES), "keep", "0"):
        peak = board.peak_bytes()
    assert board.peak_bytes() >= peak
    assert board.resident_bytes() < peak


def test_processor_time_counts_a_running_child_and_keeps_it_when_it_ends() -> None:
    board = LinuxBoard()
    before_s = board.cpu_s()
    with child("-c", CHILD, "1", "keep", "4_000_000"):
        running_s = board.cpu_s()
    ended_s = board.cpu_s()
    assert running_s > before_s
    assert ended_s >= running_s


def test_processor_time_counts_this_process() -> None:
    board = LinuxBoard()
    before_s = board.cpu_s()
    total = sum(range(300_000))
    assert total > 0
    assert board.cpu_s() > before_s


def test_a_process_that_has_ended_counts_nothing(tmp_path: Path) -> None:
    board = LinuxBoard(proc=tmp_path)
    assert board.resident_bytes() == 0
    assert board.peak_bytes() == 0


def write_process(proc: Path, pid: int, parent: int, name: str, cpu_ticks: int, resident_kb: int) -> None:
    """One process of a made-up /proc, without the ``children`` files some kernels lack."""
    (proc / str(pid)).mkdir()
    stat = f"{pid} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 {cpu_ticks} 0 0 0 20 0 1 0\n"
    (proc / str(pid) / "stat").write_text(stat)
    (proc / str(pid) / "status").write_text(
        f"Name:\t{name}\nVmHWM:\t{resident_kb + 5} kB\nVmRSS:\t{resident_kb} kB\n"
    )


def test_a_kernel_without_lists_of_children_gives_the_same_tree(tmp_path: Path) -> None:
    own = os.getpid()
    write_process(tmp_path, own, 1, "payload", 0, 1000)
    write_process(tmp_path, 9_000_001, own, "engine) R 1 (x", 0, 200)
    write_process(tmp_path, 9_000_002, 9_000_001, "grandchild", 0, 30)
    write_process(tmp_path, 9_000_003, 1, "someone else", 0, 7)
    board = LinuxBoard(proc=tmp_path)
    assert board.resident_bytes() == (1000 + 200 + 30) * 1024
    assert board.peak_bytes() == (1005 + 205 + 35) * 1024


def test_a_process_that_ends_while_it_is_looked_at_counts_nothing(tmp_path: Path) -> None:
    """A folder that comes and goes all the time stands for a child's."""
    own, child = str(os.getpid()), "9000001"
    for pid, children in ((own, child), (child, "")):
        (tmp_path / pid / "task" / pid).mkdir(parents=True)
        (tmp_path / pid / "task" / pid / "children").write_text(children)
    board, is_over = LinuxBoard(proc=tmp_path), threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            (tmp_path / child / "task").rename(tmp_path / "gone")
            (tmp_path / "gone").rename(tmp_path / child / "task")

    coming = threading.Thread(target=come_and_go)
    coming.start()
    try:
        assert {board.resident_bytes() for _ in range(3_000)} == {0}
    finally:
        is_over.set()
        coming.join()


def test_a_process_name_with_brackets_and_spaces_does_not_shift_its_times(tmp_path: Path) -> None:
    write_process(tmp_path, os.getpid(), 1, "payload", 0, 1)
    without_s = LinuxBoard(proc=tmp_path).cpu_s()
    write_process(tmp_path, 9_000_001, os.getpid(), "engine) R 1 (x", 5_000_000, 1)
    with_s = LinuxBoard(proc=tmp_path).cpu_s()
    assert with_s - without_s > 0.9 * 5_000_000 / os.sysconf("SC_CLK_TCK")


def test_the_monotonic_clock_never_steps_back() -> None:
    clock = SystemClock()
    instants = [clock.mono_ns() for _ in range(1000)]
    assert instants == sorted(instants)


def test_utc_is_after_this_program_was_written() -> None:
    assert SystemClock().utc_ns() > 1_700_000_000 * 10**9
