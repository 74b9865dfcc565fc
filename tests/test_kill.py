"""kill -9 at any moment: no acknowledged product lost, none doubled, none torn, and it goes on.

The campaign runs in a process of its own, this very file. For each kill it forks a child that
works as a run and its contacts do: commits the tiles of a strip one after the other, each with
its products, into a queue too small for all of them, and now and then sends what waits to a
folder. The child reports each step through a pipe only after the call has returned. At a random
instant it is killed; then everything on the disk is held against what it had reported.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from payload.contact import run_contact
from payload.core import products
from payload.core.downlink import DownlinkQueue, entry_of
from payload.drivers.link import FolderLink
from payload.drivers.product_store import SqliteProductStore
from payload.types import Contact, Grid, Product, ProductKind, QueueEntry, SceneStats, TileRecord, Window

Report = Callable[[str, object], None]

ROOT = Path(__file__).parents[1]
TILES = 300
SEED = 20170729
LONGEST_LIFE_S = 0.15
CAPACITY_BYTES = 150_000
CAPACITY_ENTRIES = 30
TILES_PER_CONTACT = 3


@pytest.mark.parametrize(
    "kills", [40, pytest.param(1000, marks=pytest.mark.slow)], ids=lambda kills: f"{kills}_kills"
)
def test_a_kill_at_any_moment_loses_doubles_and_tears_nothing(tmp_path: Path, kills: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_kill", str(tmp_path), str(kills)],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    print(outcome)
    assert outcome["violations"] == {}
    # The campaign has met what it is about: kills in the middle of work, several whole strips.
    assert outcome["kills"] == kills
    assert outcome["children_killed_at_work"] > kills // 3
    assert outcome["tiles_committed"] > kills // 2
    for step in ("acknowledged", "evicted", "queued"):
        assert outcome[step] > 0, step


def _campaign(folder: Path, kills: int) -> dict[str, object]:
    chance = random.Random(SEED)
    violations: Counter[str] = Counter()
    total: Counter[str] = Counter()
    strip, known = 0, _Known()
    for _ in range(kills):
        directory = folder / f"strip{strip}"
        directory.mkdir(exist_ok=True)
        is_done, steps = _live_and_die(directory, chance.uniform(0, LONGEST_LIFE_S))
        total["children_killed_at_work"] += not is_done
        violations.update(known.learn(steps))
        violations.update(_inspect(directory, known))
        if is_done or len(known.tiles) == TILES:
            total.update(_figures(directory))
            shutil.rmtree(directory)
            strip, known = strip + 1, _Known()
    if known.tiles:
        total.update(_figures(folder / f"strip{strip}"))
    return {"kills": kills, "strips": strip, "violations": dict(violations), **total}


class _Known:
    """What the children said they had done, and hence must find again for ever."""

    def __init__(self) -> None:
        self.tiles: set[int] = set()
        self.acknowledged: set[str] = set()
        self.in_flight: set[str] = set()
        """Sent, and killed before the acknowledgement was reported: at most one in each life."""

    def learn(self, steps: list[list[str]]) -> Iterator[str]:
        sent = ""
        for step, name in steps:
            if step == "tile":
                if int(name) in self.tiles:
                    yield "a tile was made twice"
                self.tiles.add(int(name))
            elif step == "acknowledged":
                self.acknowledged.add(name)
                sent = ""
            elif step == "sending":
                if name in self.acknowledged:
                    yield "an acknowledged product was sent again"
                sent = name
            elif step == "failed":
                yield f"the next run did not go on: {name}"
        self.in_flight |= {sent} - {""}


def _live_and_die(directory: Path, life_s: float) -> tuple[bool, list[list[str]]]:
    """Whether the child came to its end by itself, and the steps that it reported."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(directory, writer)
    os.close(writer)
    time.sleep(life_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        steps = [line.rstrip("\n").split(" ", 1) for line in pipe if line.endswith("\n")]
    return os.WIFEXITED(status), steps


def _child(directory: Path, writer: int) -> None:
    """Never returns; reports what failed instead of raising into the campaign."""

    def report(step: str, name: object) -> None:
        os.write(writer, f"{step} {name}\n".encode())

    try:
        _work(directory, report)
    except BaseException as error:
        report("failed", repr(error))
    os._exit(0)


def _work(directory: Path, report: Report) -> None:
    class ReportingLink(FolderLink):
        def send(self, name: str, body: bytes) -> bool:
            report("sending", name)
            return super().send(name, body)

    class ReportingStore(SqliteProductStore):
        def acknowledge(self, entry_id: int) -> None:
            name = next(e.product_id for e in self.entries() if e.entry_id == entry_id)
            super().acknowledge(entry_id)
            report("acknowledged", name)

    store = ReportingStore(directory / "queue.sqlite")
    store.begin_strip("S", "f")
    done = {record.index for record in store.tile_records("S")}
    queue = DownlinkQueue(CAPACITY_BYTES, CAPACITY_ENTRIES, store.entries())
    for index in range(TILES):
        if index in done:
            continue
        made = {store.next_entry_id(): product for product in _products(index)}
        offer = queue.offer(entry_of(entry_id, product) for entry_id, product in made.items())
        accepted = [(entry, made[entry.entry_id]) for entry in offer.accepted]
        store.commit_tile(
            _record(index, offer.accepted), accepted, [entry.entry_id for entry in offer.evicted]
        )
        report("tile", index)
        if index % TILES_PER_CONTACT == TILES_PER_CONTACT - 1:
            contact = Contact(0, 1.0, 8 * 60_000.0)
            run_contact(store, queue, ReportingLink(directory / "ground", contact), contact)
    store.close()


def _products(index: int) -> list[Product]:
    """What tile ``index`` makes in every life: real containers, from 0.2 to 40 kB."""
    chance = np.random.default_rng(index)
    window = Window(0, 96 * index, 96, 96)
    origin = products.ProductOrigin("S", 96, 96 * TILES, 0, 0.001, 10.0, None)
    label = products.ProductLabel(origin, index, window)
    counts = chance.integers(1000, 4000, (4, 96, 96)).astype(np.uint16)
    sigma = np.full((4, 4, 4), 100, np.float32)
    made = {
        ProductKind.STATISTICS: products.encode_statistics(label, SceneStats(96 * 96, 0, 1.0, 0, 0, 0, 1.0)),
        ProductKind.CLASSES: products.encode_classes(label, chance.integers(0, 4, (96, 96), dtype=np.uint8)),
        ProductKind.SURFACE_10M: products.encode_surface(label, Grid.R10M, counts, sigma, 10),
    }
    return [
        Product(
            products.product_id("S", index, kind),
            "S",
            kind,
            index,
            window,
            chance.uniform(0, 9),
            "why",
            7,
            body,
        )
        for kind, body in made.items()
    ]


def _record(index: int, accepted: Sequence[QueueEntry]) -> TileRecord:
    stats = SceneStats(1, 0, 1.0, 0.0, 0.0, 0.0, 1.0)
    thumbnail = np.zeros((7, 8, 8), np.uint8)
    sizes = {entry.product_id: entry.size_bytes for entry in accepted}
    return TileRecord("S", index, Window(0, 96 * index, 96, 96), stats, {}, sizes, {}, thumbnail)


def _inspect(directory: Path, known: _Known) -> Iterator[str]:
    """Everything on the disk against what was reported and what every tile makes."""
    path = directory / "queue.sqlite"
    ground = {p.name[: -len(".skp")]: p.read_bytes() for p in directory.glob("ground/*.skp")}
    for name, body in ground.items():
        if body != _body_of(name):
            yield "a product on the ground is torn"
    for name in known.acknowledged:
        if name not in ground:
            yield "an acknowledged product is lost"
    if not path.exists() or path.stat().st_size == 0:
        if known.tiles:
            yield "a committed tile is lost"
        return
    # A copy: opening repairs what a kill left, and that is the next child's to do.
    copy = directory / "copy"
    copy.mkdir()
    for left in directory.glob("queue.sqlite*"):
        shutil.copy(left, copy)
    (copy / "queue.sqlite-shm").unlink(missing_ok=True)
    db = sqlite3.connect(copy / "queue.sqlite")
    try:
        yield from _inspect_database(db, known, set(ground))
    finally:
        db.close()
        shutil.rmtree(copy)


def _inspect_database(db: sqlite3.Connection, known: _Known, ground: set[str]) -> Iterator[str]:
    if db.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
        yield "the database is damaged"
    if not db.execute("SELECT name FROM sqlite_master").fetchall():
        if known.tiles:
            yield "a committed tile is lost"
        return
    tiles = [index for (index,) in db.execute("SELECT tile_index FROM tile ORDER BY tile_index")]
    if tiles != list(range(len(tiles))) or not known.tiles <= set(tiles):
        yield "a committed tile is lost"
    if len(tiles) > max(known.tiles, default=-1) + 2:
        yield "a tile appeared that nobody made"
    known.tiles |= set(tiles)  # committed, and killed before it could say so
    queued = db.execute("SELECT product_id, body FROM product JOIN body USING (entry_id)").fetchall()
    (entries,) = db.execute("SELECT count(*) FROM product").fetchone()
    (bodies,) = db.execute("SELECT count(*) FROM body").fetchone()
    if not len(queued) == entries == bodies:
        yield "an entry without a body, or a body without an entry"
    for name, body in queued:
        if body != _body_of(name):
            yield "a queued product is torn"
        if name in known.acknowledged:
            yield "an acknowledged product is queued again"
    count = dict(db.execute("SELECT name, value FROM counter").fetchall())
    if count["accepted_entries"] != entries + count["acknowledged_entries"] + count["evicted_entries"]:
        yield "products were lost or doubled in the count"
    records = [json.loads(text)["product_bytes"] for (text,) in db.execute("SELECT record FROM tile")]
    if count["accepted_entries"] != sum(map(len, records)):
        yield "a tile is committed without its products, or products without their tile"
    there = {name for name, _ in queued}
    if not ground - known.acknowledged <= known.in_flight or not ground & there <= known.in_flight:
        yield "a product on the ground was never sent, or was doubled"
    if not len(known.acknowledged) <= count["acknowledged_entries"] <= len(ground - there):
        yield "what was acknowledged is not what is on the ground"


_BODIES: dict[str, bytes] = {}


def _body_of(name: str) -> bytes:
    if not _BODIES:
        _BODIES.update({p.product_id: p.body for index in range(TILES) for p in _products(index)})
    return _BODIES[name]


def _figures(directory: Path) -> dict[str, int]:
    db = sqlite3.connect(directory / "queue.sqlite")
    count = dict(db.execute("SELECT name, value FROM counter").fetchall())
    (tiles,) = db.execute("SELECT count(*) FROM tile").fetchone()
    (queued,) = db.execute("SELECT count(*) FROM product").fetchone()
    db.close()
    return {
        "tiles_committed": tiles,
        "acknowledged": count["acknowledged_entries"],
        "evicted": count["evicted_entries"],
        "queued": queued,
    }


if __name__ == "__main__":
    _body_of("S.00000.classes")  # made once; the children inherit the libraries
    print(json.dumps(_campaign(Path(sys.argv[1]), int(sys.argv[2]))))
