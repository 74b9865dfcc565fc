"""A disk that is really full: a file system of its own in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

COMMON = """
import os
import sys
from pathlib import Path
from payload.contact import run_contact
from payload.core.downlink import DownlinkQueue
from payload.drivers.link import FolderLink
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.store_lock import Role
from payload.errors import StoreError
from payload.types import Contact
from tests.drivers.test_product_store import pair, record

disk, ground, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
SIZE = 900_000
made_ever = 0


def opened(role):
    return SqliteProductStore(disk / "queue.sqlite", roles=(role,))


def make(maker, most=1000):
    global made_ever
    made = 0
    try:
        while made < most:
            name = f"P{made_ever}"
            maker.commit_tile(record(0, name), [pair(maker, name, SIZE)], [])
            made += 1
            made_ever += 1
    except StoreError as error:
        print(error)
        assert "free some disk space" in str(error)
        assert error.is_disk_full
    return made


def fill():
    maker = opened(Role.MAKER)
    try:
        return make(maker)
    finally:
        maker.close()


def send(most):
    store = opened(Role.SENDER)
    entries = tuple(store.entries())
    queue = DownlinkQueue(sum(entry.size_bytes for entry in entries), len(entries), entries)
    window = Contact(0, 1000.0, most * SIZE * 8 / 1000.0)
    try:
        return len(run_contact(store, queue, FolderLink(ground, window), window).sent)
    finally:
        store.close()


made = fill()
assert made > 10, made
"""

SENT_EMPTY = """
if how == "another":
    other = os.open(disk / "other", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(other, bytes(4096))
    except OSError:
        os.close(other)
assert send(1000) == made
(disk / "other").unlink(missing_ok=True)
assert fill() > 10, "what was sent has left its room"
"""

SENT_HALF = """
again = []
for _ in range(4):  # as in every pass, and the queue is never nearly empty
    assert send(made // 2) == made // 2
    again.append(fill())
    assert again[-1] > made // 3, (made, again)
assert sum(again) >= 4 * (made // 2) - 12, (made, again)
"""

CLEARED = """
service = opened(Role.SENDER)
if how == "half sent":
    for entry in list(service.entries())[: made // 2]:
        assert service.hold(entry.entry_id)
        service.acknowledge(entry.entry_id)
    made -= made // 2
entries, size_bytes = service.drop_waiting()
assert (entries, size_bytes) == (made, made * SIZE)
assert fill() >= made
service.close()
service = opened(Role.SENDER)
assert service.drop_waiting()[0] >= made
assert fill() >= made
"""

BESIDE = """
service, maker = opened(Role.SENDER), opened(Role.MAKER)
made_beside = 0
for entry in list(service.entries()):
    assert service.hold(entry.entry_id)
    made_beside += make(maker, 3)
    service.acknowledge(entry.entry_id)
    made_beside += make(maker, 3)
assert made_beside >= made - 12, (made, made_beside)
"""


FLY = """
import os
import sys
from pathlib import Path
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.store_lock import Role
from tests.drivers.test_product_store import pair, record
from tests.flying import Flight

disk, when = Path(sys.argv[1]), sys.argv[2]
flight = Flight(disk / "flight")
maker = SqliteProductStore(flight.state / "queue.sqlite", roles=(Role.MAKER,))
maker.commit_tile(record(0), [pair(maker, "P", 900_000)], [])
maker.close()
ballast = flight.state / "queue.sqlite.ballast"
assert ballast.exists()
if when == "at the start":
    flight.kill()
for size in (65536, 512):
    with open(disk / f"filler{size}", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(size)) == size:
                pass
        except OSError:
            pass
assert os.statvfs(disk).f_bavail == 0
if when == "at the start":
    flight.start()
for name in ("are_you_alive", "stop_imaging", "clear_queue"):
    answers = [reading.name for reading in flight.do(name)]
    assert answers[-1] == "command_completed", answers
assert not ballast.exists()
assert flight.stop() == 0
"""


@pytest.mark.parametrize(
    ("script", "how", "size"),
    [
        (SENT_EMPTY, "the queue", "80m"),
        (SENT_EMPTY, "another", "80m"),
        (SENT_HALF, "", "140m"),
        (CLEARED, "none sent", "140m"),
        (CLEARED, "half sent", "140m"),
        (BESIDE, "", "100m"),
    ],
    ids=["sent", "another_filled_it", "half_sent", "cleared", "half_sent_and_cleared", "both_at_a_time"],
)
def test_a_disk_that_is_full_to_the_last_byte_is_emptied_and_takes_products_again(
    tmp_path: Path, script: str, how: str, size: str
) -> None:
    run_on_a_small_disk(COMMON + script, tmp_path, size, str(tmp_path / "ground"), how)


@pytest.mark.parametrize("when", ["in flight", "at the start"])
def test_a_payload_whose_disk_is_full_flies_and_is_commanded(tmp_path: Path, when: str) -> None:
    run_on_a_small_disk(FLY, tmp_path, "80m", when)


def run_on_a_small_disk(program: str, tmp_path: Path, size: str, *words: str) -> None:
    """The program runs without an error; its first argument is a disk of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = f'mount -t tmpfs -o size={size} tmpfs {disk} || exit 77; exec "$@"'
    apart = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]
    try:
        done = subprocess.run(
            [*apart, sys.executable, "-c", program, str(disk), *words],
            cwd=REPOSITORY,
            env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare(1) to make a file system with")
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip("this machine lets nobody mount a file system of his own")
    assert done.returncode == 0, done.stdout + done.stderr
