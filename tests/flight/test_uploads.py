"""Files that go up are on board whole or still on their way, never refused: few places, cut power."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from payload.core.cfdp.packets import pdu_of
from tests.core.cfdp_link import FLIGHT, GROUND, NS_PER_S, End, Pass, Weather, parameters
from tests.flight.passing import Flight, Ground, Link, contact


class PowerCutError(Exception):
    """The board is dark from here on."""


class Mains:
    """Lets ``steps`` writes to the disk happen, and cuts the power before the next or behind it."""

    def __init__(self, steps: int, is_next_done: bool) -> None:
        self.steps = steps
        self._is_next_done = is_next_done

    def feed(self, flight: Flight) -> None:
        """What the payload has open now depends on this power; what it opens anew does not."""
        for one in (flight.journal, flight.files):
            for name in {"commit", "write", "sync", "deliver", "drop"} & set(dir(one)):
                setattr(one, name, self._limited(getattr(one, name)))

    def _limited(self, step: Callable[..., None]) -> Callable[..., None]:
        def limited(*arguments: Any) -> None:
            self.steps -= 1
            if self.steps >= 0 or self._is_next_done:
                step(*arguments)
            if self.steps < 0:
                raise PowerCutError

        return limited


def came_whole_after_a_cut(folder: Path, steps: int, is_next_done: bool) -> bool:
    """Whether the power was cut at all; whenever it was, the ground's files are on board in the end."""
    folder.mkdir()
    dice = random.Random(1)
    bodies = {"empty": b"", "one": dice.randbytes(700), "many": dice.randbytes(40_000)}
    flight, ground = Flight(folder, (contact(0, 600),)), Ground(folder / "ground")
    mains = Mains(steps, is_next_done)
    mains.feed(flight)
    for name, body in bodies.items():
        ground.put(name, body)
    link = Link(flight, ground, loss=0.2, seed=5)
    try:
        link.run(60.0, lambda: len(ground.left) == len(bodies))
    except PowerCutError:
        flight.restart()
        link.run(60.0, lambda: len(ground.left) == len(bodies))
    assert {ended.name: ended.condition for ended in ground.left} == dict.fromkeys(bodies, 0), steps
    assert {name: flight.files.path_of(name).read_bytes() for name in bodies} == bodies, steps
    return mains.steps < 0


@pytest.mark.parametrize("is_next_done", [False, True])
def test_whenever_the_power_goes_what_goes_up_comes_whole_and_is_not_refused(
    tmp_path: Path, is_next_done: bool
) -> None:
    steps = 0
    while came_whole_after_a_cut(tmp_path / str(steps), steps, is_next_done):
        steps += 1
    assert steps > 30


@pytest.mark.parametrize("places", [1, 4, 16])
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.3])
def test_however_few_places_a_receiver_has_no_file_of_a_living_peer_is_refused(
    places: int, loss: float
) -> None:
    for seed in range(3):
        dice = random.Random(seed)
        flight = End(parameters(FLIGHT, GROUND, open_limit=100))
        ground = End(parameters(GROUND, FLIGHT, open_limit=places))
        run = Pass(flight, ground, Weather(loss=loss), seed)
        for number in range(30):
            flight.put(f"P{number}", dice.randbytes(dice.choice([0, 700, 8000])))
        assert run.run(600.0), seed
        assert {ended.condition for ended in flight.ended} == {0}, seed
        assert ground.files == flight.sources, seed
        assert len(ground.deliveries) == len(ground.files), seed


def test_more_files_than_there_are_places_on_board_go_up_in_one_pass(tmp_path: Path) -> None:
    flight, ground = Flight(tmp_path, (contact(0, 600),)), Ground(tmp_path / "ground")
    flight.config = replace(flight.config, downlink=replace(flight.config.downlink, open_files=4))
    flight.restart()
    bodies = {f"file{number}": random.Random(number).randbytes(2000) for number in range(40)}
    for name, body in bodies.items():
        ground.put(name, body)
    Link(flight, ground, loss=0.2, seed=2).run(500.0, lambda: len(ground.left) == len(bodies))
    assert sorted(ended.name for ended in ground.left if ended.is_delivered) == sorted(bodies)
    assert {name: flight.files.path_of(name).read_bytes() for name in bodies} == bodies


def test_a_file_that_was_forgotten_begins_anew_once_its_part_is_gone(tmp_path: Path) -> None:
    """In one turn it makes room and is heard again: its new pieces do not go with the old part."""
    here, there = Ground(tmp_path, open_limit=1).transfers, End(parameters(FLIGHT, GROUND))
    there.entity.thaw(0)
    bodies = {name: name.encode() * 100 for name in ("first", "second")}
    for name, body in bodies.items():
        there.put(name, body)
    _, first, _, _, second, _ = [there.pull(0) or b"" for _ in range(6)]  # Metadata, content, EOF
    here.receive(first, 0)
    here.settle()
    here.receive(second, 100 * NS_PER_S)
    here.receive(first, 200 * NS_PER_S)
    for now_ns in range(200 * NS_PER_S, 230 * NS_PER_S, NS_PER_S // 5):
        here.settle()
        for entity in (here.entity, there.entity):
            entity.tick(now_ns)
        while (packet := here.next_packet(now_ns)) is not None:
            there.entity.receive(pdu_of(packet, is_tagged=False), now_ns)
        while (raw := there.pull(now_ns)) is not None:
            here.receive(raw, now_ns)
    assert {ended.name: ended.condition for ended in there.ended} == dict.fromkeys(bodies, 0)
    assert {name: (tmp_path / "products" / name).read_bytes() for name in bodies} == bodies
