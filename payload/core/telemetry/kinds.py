"""What an event, a channel and a structure of channels are; `tables` says which there are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from payload.core.wire import Wire


@unique
class Severity(Enum):
    """PUS-C service 5 report levels (ECSS-E-ST-70-41C, 6.5)."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Event:
    """A thing that can happen.

    ``throttle``: so many records at most in one walk, or in the service until the throttles
    are renewed; ``parameters``: names, units at their ends, kinds in PARAMETERS; ``meaning``:
    for the operator, what happened and what the payload does about it.
    """

    event_id: int
    name: str
    severity: Severity
    throttle: int
    parameters: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a channel is watched: outside yellow somebody should look, outside red it is wrong.

    None means no limit on that side.
    """

    red_low: float | None = None
    yellow_low: float | None = None
    yellow_high: float | None = None
    red_high: float | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A thing that has a value, of type ``kind``; watched where it has ``limits``."""

    channel_id: int
    name: str
    unit: str
    kind: type[int] | type[float]
    has_high_water: bool
    meaning: str
    limits: Limits | None = None

    @property
    def wire(self) -> Wire:
        """Its kind in a packet: bytes and counters need 64 bits, other whole numbers 32."""
        if self.kind is float:
            return Wire.F64
        return Wire.U64 if self.unit in ("bytes", "counter") else Wire.U32


@dataclass(frozen=True, slots=True)
class Structure:
    """Channels that travel in one housekeeping packet (service 3), high-water marks behind them.

    ``period``: sent every so many housekeeping intervals, and always on request.
    """

    structure_id: int
    name: str
    period: int
    channels: tuple[str, ...]
