"""A disk that is really full: a file system of 80 MiB in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

FILL_AND_SEND = """
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

disk, ground, filler = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
PASS = Contact(0, 1000.0, 1e9)


def make(first):
    maker, made = SqliteProductStore(disk / "queue.sqlite", roles=(Role.MAKER,)), 0
    try:
        while made < 100:
            maker.commit_tile(record(first + made), [pair(maker, f"P{first + made}", 900_000)], [])
            made += 1
    except StoreError as error:
        print(error)
        assert "free some disk space" in str(error)
    finally:
        maker.close()
    return made


def send():
    store = SqliteProductStore(disk / "queue.sqlite", roles=(Role.SENDER,))
    entries = tuple(store.entries())
    queue = DownlinkQueue(sum(entry.size_bytes for entry in entries), len(entries), entries)
    try:
        return len(run_contact(store, queue, FolderLink(ground, PASS), PASS).sent)
    finally:
        store.close()


made = make(0)
assert 10 < made < 100, made
if filler == "another":
    other = os.open(disk / "other", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(other, bytes(4096))
    except OSError:
        os.close(other)
assert send() == made
(disk / "other").unlink(missing_ok=True)
assert make(100) > 10, "what was sent has left its room"
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


@pytest.mark.parametrize("filler", ["the queue", "another"])
def test_a_disk_that_is_full_to_the_last_byte_is_sent_empty_and_takes_products_again(
    tmp_path: Path, filler: str
) -> None:
    run_on_a_small_disk(FILL_AND_SEND, tmp_path, str(tmp_path / "ground"), filler)


@pytest.mark.parametrize("when", ["in flight", "at the start"])
def test_a_payload_whose_disk_is_full_flies_and_is_commanded(tmp_path: Path, when: str) -> None:
    run_on_a_small_disk(FLY, tmp_path, when)


def run_on_a_small_disk(program: str, tmp_path: Path, *words: str) -> None:
    """The program runs without an error; its first argument is a disk of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = f'mount -t tmpfs -o size=80m tmpfs {disk} || exit 77; exec "$@"'
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
