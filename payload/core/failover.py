"""When a device serves and when it does not: a table, and the numbers that guard it.

                 READY             RIGHT
    STARTING -----------> PROBING -----------> SERVING <----+
       ^  | LOST, ABSENT     | LOST, WRONG       |  |  |    | RIGHT
       |  v                  v                   |  |  +--> COOLING  (HOT; probed when rested)
       +-- RESTING <---------+-------------------+  |
       ^        LOST, WRONG                         | WORN
       +-------------------- DRAINING <-------------+
                   EMPTY

Rules:
1. A device serves only after it has answered the known tile within what its artifact permits.
2. A lost device rests before it is tried again, each time twice as long, up to a longest rest;
   enough good tiles in a row and the first rest is the next again.
3. Too many losses without enough good tiles between them open the circuit breaker: one long
   rest, then one try.
4. What a new try cannot mend (no interpreter, no runtime, no library, a network that it does
   not take) retires the device for the walk.
5. A hot device gets no tile until it has rested and answers the known tile below the limit.
6. A device that has made so many tiles, or has grown by so many bytes, finishes what it holds
   and starts anew; that is no loss.

7. A device whose weights are due to be checked answers the known tile again (DUE) or starts anew.

Pure: the caller says what happened and what time it is, and does what it is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, unique

from payload.config.engines import FailoverConfig
from payload.errors import EngineFault


@unique
class Stage(Enum):
    """Where a device stands."""

    RESTING = "resting"
    STARTING = "starting"
    PROBING = "probing"
    SERVING = "serving"
    COOLING = "cooling"
    DRAINING = "draining"
    RETIRED = "retired"


@unique
class Signal(Enum):
    """What can happen to a device."""

    RESTED = "rested"
    READY = "ready"
    RIGHT = "right"
    WRONG = "wrong"
    LOST = "lost"
    ABSENT = "absent"
    HOT = "hot"
    WORN = "worn"
    EMPTY = "empty"
    DUE = "due"


@unique
class Step(Enum):
    """What the caller has to do."""

    NOTHING = "nothing"
    START = "start"
    PROBE = "probe"
    STOP = "stop"


TABLE: Mapping[tuple[Stage, Signal], tuple[Stage, Step]] = {
    (Stage.RESTING, Signal.RESTED): (Stage.STARTING, Step.START),
    (Stage.STARTING, Signal.READY): (Stage.PROBING, Step.PROBE),
    (Stage.STARTING, Signal.LOST): (Stage.RESTING, Step.STOP),
    (Stage.STARTING, Signal.ABSENT): (Stage.RETIRED, Step.STOP),
    (Stage.PROBING, Signal.RIGHT): (Stage.SERVING, Step.NOTHING),
    (Stage.PROBING, Signal.WRONG): (Stage.RESTING, Step.STOP),
    (Stage.PROBING, Signal.LOST): (Stage.RESTING, Step.STOP),
    (Stage.PROBING, Signal.HOT): (Stage.COOLING, Step.NOTHING),
    (Stage.SERVING, Signal.LOST): (Stage.RESTING, Step.STOP),
    (Stage.SERVING, Signal.WRONG): (Stage.RESTING, Step.STOP),
    (Stage.SERVING, Signal.HOT): (Stage.COOLING, Step.NOTHING),
    (Stage.SERVING, Signal.WORN): (Stage.DRAINING, Step.NOTHING),
    (Stage.SERVING, Signal.DUE): (Stage.PROBING, Step.PROBE),
    (Stage.COOLING, Signal.RESTED): (Stage.PROBING, Step.PROBE),
    (Stage.COOLING, Signal.LOST): (Stage.RESTING, Step.STOP),
    (Stage.COOLING, Signal.WRONG): (Stage.RESTING, Step.STOP),
    (Stage.DRAINING, Signal.LOST): (Stage.RESTING, Step.STOP),
    (Stage.DRAINING, Signal.WRONG): (Stage.RESTING, Step.STOP),
    (Stage.DRAINING, Signal.EMPTY): (Stage.STARTING, Step.START),
}
"""Stage and signal to the next stage and step; what is not here changes nothing."""

LASTING = frozenset(
    {EngineFault.NO_PYTHON, EngineFault.NO_RUNTIME, EngineFault.NO_LIBUSB, EngineFault.BAD_NETWORK}
)
"""Faults that a new try cannot mend."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a device stands, and what it has to its name.

    ``losses`` in a row, ``good_tiles`` since the last of them, ``tiles`` and ``start_bytes`` since
    it was started.
    """

    stage: Stage = Stage.RESTING
    until_s: float = 0.0
    losses: int = 0
    good_tiles: int = 0
    tiles: int = 0
    start_bytes: int = 0


def signal_of_loss(stage: Stage, fault: EngineFault) -> Signal:
    """ABSENT if trying again cannot help (rule 4), else LOST."""
    return Signal.ABSENT if stage is Stage.STARTING and fault in LASTING else Signal.LOST


def advance(now: Standing, signal: Signal, now_s: float, rules: FailoverConfig) -> tuple[Standing, Step]:
    """Where the device stands after ``signal``, and what has to be done."""
    stage, step = TABLE.get((now.stage, signal), (now.stage, Step.NOTHING))
    if (now.stage, signal) not in TABLE:
        return now, step
    after = replace(now, stage=stage)
    if stage is Stage.RESTING:
        losses = now.losses + 1
        after = replace(after, losses=losses, good_tiles=0, until_s=now_s + rest_s(losses, rules))
    elif stage is Stage.COOLING:
        after = replace(after, until_s=now_s + rules.cool_s)
    elif stage is Stage.STARTING:
        after = replace(after, tiles=0, start_bytes=0)
    return after, step


def rest_s(losses: int, rules: FailoverConfig) -> float:
    """How long a device rests after its ``losses``-th loss in a row (rules 2 and 3)."""
    if losses >= rules.breaker_losses:
        return rules.breaker_rest_s
    doubled: float = rules.first_rest_s * 2.0 ** (losses - 1)
    return min(doubled, rules.longest_rest_s)


def is_broken(now: Standing, rules: FailoverConfig) -> bool:
    """Whether the circuit breaker is open."""
    return now.stage is Stage.RESTING and now.losses >= rules.breaker_losses


def after_tile(
    now: Standing, resident_bytes: int, degc: float | None, rules: FailoverConfig
) -> tuple[Standing, Signal | None]:
    """The standing after one good tile, and the signal that it gives, if any (rules 2, 5, 6)."""
    good = now.good_tiles + 1
    start_bytes = now.start_bytes or resident_bytes
    after = replace(now, good_tiles=good, tiles=now.tiles + 1, start_bytes=start_bytes)
    if good >= rules.forgive_tiles:
        after = replace(after, losses=0)
    if degc is not None and degc >= rules.hot_degc:
        return after, Signal.HOT
    has_grown = 0 < rules.recycle_growth_bytes < resident_bytes - start_bytes
    if has_grown or 0 < rules.recycle_tiles <= after.tiles:
        return after, Signal.WORN
    return after, None
