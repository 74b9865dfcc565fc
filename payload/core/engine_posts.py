"""The devices of a chain at their posts, and the tiles that wait for their answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from payload.core.failover import Standing
from payload.core.probe import Disagreement
from payload.errors import EngineFault
from payload.ports import Device
from payload.types import Task, Tile

EVENT_OF_FAULT = {
    EngineFault.NO_PYTHON: "engine_no_python",
    EngineFault.NO_RUNTIME: "engine_no_runtime",
    EngineFault.NO_LIBUSB: "engine_no_libusb",
    EngineFault.NO_DEVICE: "engine_no_device",
    EngineFault.NO_PERMISSION: "engine_no_permission",
    EngineFault.MUTEX_TAKEN: "engine_mutex_taken",
    EngineFault.BAD_NETWORK: "engine_bad_network",
}
"""Faults of a device that has never served; told once until another takes its place."""

WRONG, HOT = "wrong", "hot"
"""Beside the values of EngineFault, what is counted of a device."""


@dataclass(frozen=True, slots=True)
class Link:
    """One device of the chain, and how far its answers may lie from the reference, by task."""

    device: Device
    permitted: Mapping[Task, Disagreement]
    is_stand_in: bool = False


@dataclass(slots=True, eq=False)
class Post:
    """A device at work.

    ``is_due``: its weights are to be checked; it takes no tile until it holds none. ``is_watched``:
    that has happened, so it is asked the known tile after every start from then on. ``alone``: of
    which tasks it has answered the known tile with no reference to agree with.
    """

    link: Link
    tasks: tuple[Task, ...]
    standing: Standing = field(default_factory=Standing)
    probes: list[Task] = field(default_factory=list)
    is_probe_out: bool = False
    is_due: bool = False
    is_watched: bool = False
    is_hot: bool = False
    alone: set[Task] = field(default_factory=set)
    told: EngineFault | None = None
    reason: str = "not started"
    peak_bytes: int = 0
    made: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def device(self) -> Device:
        return self.link.device


@dataclass(slots=True, eq=False)
class Call:
    """An outstanding tile; ``post`` is None while no device has it."""

    task: Task
    tile: Tile
    post: Post | None = None
    refused_by: set[str] = field(default_factory=set)
