"""The engine section of a board: which devices, in which order, and when one gives way to another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Annotated

from payload.config.yaml_walk import Range, Text
from payload.types import Target, Task


@unique
class EngineKind(Enum):
    """What can run a network."""

    MYRIAD = "myriad"
    OPENVINO = "openvino"
    LITERT = "litert"
    STAND_IN = "stand_in"


_Python = Annotated[str, Text("this, or the path of an interpreter", 4096)]
_Script = Annotated[str, Text("the path of the stand-in's worker", 4096)]
_Faults = Annotated[str, Text("none, or faults as kind@tile (tools/stand_in.py lists them)", 4096)]
_ChildBytes = Annotated[int, Range(16 << 20, 4 << 30, "bytes")]
_Seconds = Annotated[float, Range(0.0, 86400.0, "s")]


@dataclass(frozen=True, slots=True)
class ChildConfig:
    """An engine in a process of its own.

    ``python``: the interpreter that has its runtime, "this" for the payload's own, relative
    paths from the configuration file. ``memory_bytes``: planned, and what it is killed above.
    ``start_s``, ``deadline_s``: until it must have loaded, until it must have answered a tile.
    """

    python: _Python
    memory_bytes: _ChildBytes
    start_s: Annotated[float, Range(0.1, 600.0, "s")]
    deadline_s: Annotated[float, Range(0.05, 600.0, "s")]


@dataclass(frozen=True, slots=True)
class StandInConfig:
    """A bench's stand-in for the Myriad; no flight board may have one.

    ``worker``: its program; ``target``: whose artifacts it runs (myriad in float16, cpu as they
    are); ``faults``: what goes wrong at which tile.
    """

    worker: _Script
    target: Target
    faults: _Faults
    memory_bytes: _ChildBytes
    start_s: Annotated[float, Range(0.1, 600.0, "s")]
    deadline_s: Annotated[float, Range(0.05, 600.0, "s")]


@dataclass(frozen=True, slots=True)
class FailoverConfig:
    """The numbers of `core.failover`'s rules.

    ``breaker_losses`` without ``forgive_tiles`` good tiles between them open the breaker;
    ``recycle_tiles`` and ``recycle_growth_bytes`` of 0 mean never; ``hot_degc`` is the first
    temperature that is too much.
    """

    first_rest_s: _Seconds
    longest_rest_s: _Seconds
    forgive_tiles: Annotated[int, Range(1, 1_000_000, "tiles")]
    breaker_losses: Annotated[int, Range(1, 1000, "losses")]
    breaker_rest_s: _Seconds
    cool_s: _Seconds
    hot_degc: Annotated[float, Range(0.0, 200.0, "degC")]
    recycle_tiles: Annotated[int, Range(0, 1_000_000_000, "tiles")]
    recycle_growth_bytes: Annotated[int, Range(0, 4 << 30, "bytes")]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Which devices run the networks.

    ``scene``, ``surface``: in the order of preference; the last is the reference, which every
    other must agree with. An engine with a section of its own runs in a process of its own;
    myriad and stand_in must have one. ``start_wait_s``: how long a walk waits for the best
    devices before it begins with the others.
    """

    scene: tuple[EngineKind, ...]
    surface: tuple[EngineKind, ...]
    threads: Annotated[int, Range(1, 64, "threads")]
    collect_timeout_s: Annotated[float, Range(0.1, 3600.0, "s")]
    start_wait_s: Annotated[float, Range(0.0, 60.0, "s")]
    failover: FailoverConfig
    myriad: ChildConfig | None
    openvino: ChildConfig | None
    litert: ChildConfig | None
    stand_in: StandInConfig | None

    def order(self, task: Task) -> tuple[EngineKind, ...]:
        """The engines of ``task``, the best first."""
        return self.scene if task is Task.SCENE else self.surface

    def in_use(self) -> list[EngineKind]:
        """Every engine that some task may be given to, each once, the best first."""
        return list(dict.fromkeys(kind for task in Task for kind in self.order(task)))

    def tasks_of(self, kind: EngineKind) -> tuple[Task, ...]:
        """The tasks that ``kind`` may be given."""
        return tuple(task for task in Task if kind in self.order(task))

    def child(self, kind: EngineKind) -> ChildConfig | StandInConfig | None:
        """The section of ``kind``, or None if it runs in the payload's own process."""
        sections: dict[EngineKind, ChildConfig | StandInConfig | None] = {
            EngineKind.MYRIAD: self.myriad,
            EngineKind.OPENVINO: self.openvino,
            EngineKind.LITERT: self.litert,
            EngineKind.STAND_IN: self.stand_in,
        }
        return sections[kind]

    def is_inside(self, kind: EngineKind) -> bool:
        """Whether ``kind`` is in use in the payload's own process."""
        return kind in self.in_use() and self.child(kind) is None

    def target(self, kind: EngineKind) -> Target:
        """Whose artifacts ``kind`` runs."""
        if kind is EngineKind.STAND_IN and self.stand_in is not None:
            return self.stand_in.target
        return _TARGETS[kind]

    def reference_target(self, task: Task) -> Target:
        """Whose artifacts the last engine of ``task`` runs; every model must have one for it."""
        return self.target(self.order(task)[-1])


_TARGETS = {
    EngineKind.MYRIAD: Target.MYRIAD,
    EngineKind.OPENVINO: Target.CPU,
    EngineKind.LITERT: Target.TFLITE,
    EngineKind.STAND_IN: Target.MYRIAD,
}
