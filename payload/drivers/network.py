"""A network in the hands of a driver: verified files, what they are called, what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from payload.drivers.engine_worker import is_plausible
from payload.errors import EngineOutputError
from payload.types import F32, U8, EngineName, Grid, Precision, Target, Task

GRID_OF_INPUT = {"b10": Grid.R10M, "b20": Grid.R20M, "b60": Grid.R60M}
GEOMETRY = "geometry"
CELL_PX = 24
"""Pitch of the atmosphere that a surface network answers."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """One verified network: the files of its artifact by name, and what it is called."""

    task: Task
    model: str
    model_sha256: str
    precision: Precision
    files: Mapping[str, bytes]

    def file(self, suffix: str) -> bytes:
        """The content of the file whose name ends in ``suffix``; empty if there is none."""
        return next((content for name, content in self.files.items() if name.endswith(suffix)), b"")

    def made_by(self, target: Target, device: str, runtime: str) -> EngineName:
        """What a record says of the engine that runs this network."""
        return EngineName(target, device, runtime, self.precision, self.model, self.model_sha256)


def check_plausible(task: Task, index: int, output: U8 | F32) -> None:
    """Returns if the output for tile ``index`` can be the answer of a network.

    Raises:
        EngineOutputError: numbers that are none, or not one pixel of a row with a class ahead.
    """
    if not is_plausible(output):
        raise EngineOutputError(f"tile {index}: the {task.value} network gave impossible numbers", index)
