"""The tables of all that is told: events, channels, and the packets that channels travel in.

From these tables come the packets, `docs/interfaces.md` and the XTCE dictionary. Ids and names
are never reused; `tests/event_history.txt` remembers all that there ever were.
"""

from __future__ import annotations

from dataclasses import dataclass

from payload.core.wire import Wire
from payload.types import Severity


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


_INFO, _LOW, _MEDIUM, _HIGH = Severity.INFO, Severity.LOW, Severity.MEDIUM, Severity.HIGH

EVENTS = (
    Event(101, "strip_started", _INFO, 1, ("strip_id", "rows", "columns", "tiles"), "A strip begins."),
    Event(102, "strip_resumed", _INFO, 1, ("strip_id", "tiles_done"), "A strip goes on after an early end."),
    Event(103, "strip_finished", _INFO, 1, ("strip_id", "tiles_done"), "The last tile is committed."),
    Event(104, "strip_refused", _HIGH, 1, ("reason",), "The strip cannot be opened or read on; it is left."),
    Event(105, "rows_damaged", _LOW, 32, ("row", "fault"), "Rows are damaged or missing; they are no data."),
    Event(106, "rows_short", _MEDIUM, 1, ("row",), "The strip ended before its last row; no data from here."),
    Event(201, "tile_no_data", _INFO, 4, ("tile",), "A tile has no valid pixel; no network runs."),
    Event(202, "tile_without_surface", _INFO, 4, ("tile", "clear_ratio"), "Too cloudy for a correction."),
    Event(
        203, "tile_unclassified", _MEDIUM, 16, ("tile", "reason"), "No usable answer; the tile is left out."
    ),
    Event(301, "engine_lost", _HIGH, 8, ("reason",), "The device is gone; its tiles are not done."),
    Event(
        311,
        "engine_promoted",
        _INFO,
        16,
        ("device",),
        "It has answered the known tile and serves from now on.",
    ),
    Event(
        312,
        "engine_demoted",
        _MEDIUM,
        32,
        ("device", "reason", "tiles"),
        "It serves no longer; its tiles go to the next.",
    ),
    Event(
        313,
        "engine_hot",
        _LOW,
        8,
        ("device", "temperature_degc"),
        "Above its limit; it gets no tile until it has cooled.",
    ),
    Event(
        314,
        "engine_breaker_open",
        _HIGH,
        4,
        ("device", "duration_s"),
        "Lost too often; not tried again for that long.",
    ),
    Event(
        315,
        "stand_in_used",
        _HIGH,
        2,
        ("device",),
        "A bench stand-in computes in place of a device; no figure is of hardware.",
    ),
    Event(
        321,
        "engine_no_python",
        _MEDIUM,
        2,
        ("device", "reason"),
        "Its interpreter cannot be run; the next device serves.",
    ),
    Event(
        322,
        "engine_no_runtime",
        _MEDIUM,
        2,
        ("device", "reason"),
        "Its interpreter has no runtime for it; the next serves.",
    ),
    Event(
        323,
        "engine_no_libusb",
        _MEDIUM,
        2,
        ("device", "reason"),
        "libusb is missing; the next device serves.",
    ),
    Event(
        324,
        "engine_no_device",
        _MEDIUM,
        2,
        ("device", "reason"),
        "No such device on the bus; looked for again later.",
    ),
    Event(
        325,
        "engine_no_permission",
        _MEDIUM,
        2,
        ("device", "reason"),
        "The bus may not be used; the next device serves.",
    ),
    Event(
        326,
        "engine_mutex_taken",
        _MEDIUM,
        2,
        ("device", "reason"),
        "Another user holds the device; tried again later.",
    ),
    Event(
        327,
        "engine_bad_network",
        _HIGH,
        2,
        ("device", "reason"),
        "It does not take its network; the next device serves.",
    ),
    Event(
        401, "product_evicted", _LOW, 16, ("product_id", "size_bytes", "value"), "Worth less per byte; gone."
    ),
    Event(402, "product_refused", _LOW, 16, ("product_id", "size_bytes", "value"), "The queue has no room."),
    Event(403, "store_error", _HIGH, 4, ("reason",), "The store cannot be opened or written; the walk ends."),
    Event(501, "config_refused", _HIGH, 1, ("reason",), "The configuration cannot be used; nothing starts."),
    Event(502, "budget_refused", _HIGH, 1, ("worst_term", "reason"), "The memory plan does not fit."),
    Event(503, "model_refused", _HIGH, 4, ("reason",), "A model is not what it must be; nothing starts."),
    Event(601, "contact_started", _INFO, 1, ("rate_bit_s", "duration_s", "capacity_bytes"), "A pass begins."),
    Event(602, "contact_finished", _INFO, 1, ("sent_products", "sent_bytes"), "A pass has ended."),
    Event(603, "link_lost", _MEDIUM, 1, ("reason",), "The pass broke off; the unacknowledged stay queued."),
    Event(
        604, "product_unacknowledged", _LOW, 16, ("product_id",), "The ground refused it; it stays queued."
    ),
    Event(
        701, "install_refused", _HIGH, 16, ("code", "refusal", "reason"), "Not taken; the old model runs on."
    ),
    Event(
        801, "service_started", _INFO, 4, ("boots", "version"), "The service runs; boots counts how often."
    ),
    Event(
        802, "service_stopped", _INFO, 4, ("reason",), "The service ends in order; a start goes on from here."
    ),
    Event(
        803,
        "command_rejected",
        _LOW,
        16,
        ("service", "subtype", "failure_code", "reason"),
        "A command was not accepted; nothing of it was done.",
    ),
    Event(
        804,
        "command_failed",
        _MEDIUM,
        16,
        ("service", "subtype", "failure_code", "reason"),
        "An accepted command could not be done to its end.",
    ),
    Event(
        805, "uplink_damaged", _LOW, 8, ("discarded_bytes",), "Bytes came that are in no whole packet; left."
    ),
)

CHANNELS = (
    Channel(1, "rows_read", "rows", int, False, "10 m rows of the strip read or passed over"),
    Channel(2, "rows_total", "rows", int, False, "10 m rows of the strip"),
    Channel(3, "tiles_done", "tiles", int, False, "tiles committed, those of earlier runs too"),
    Channel(4, "tiles_total", "tiles", int, False, "tiles of the strip"),
    Channel(5, "tiles_no_data", "tiles", int, False, "tiles without a valid pixel"),
    Channel(6, "tiles_without_surface", "tiles", int, False, "tiles too cloudy for a correction"),
    Channel(7, "tiles_unclassified", "tiles", int, False, "tiles without a usable answer"),
    Channel(8, "resident_bytes", "bytes", int, True, "resident memory of the process tree, measured"),
    Channel(9, "peak_bytes", "bytes", int, True, "highest resident memory so far, measured"),
    Channel(10, "planned_bytes", "bytes", int, False, "the memory plan's total"),
    Channel(11, "budget_bytes", "bytes", int, False, "what the process tree may take"),
    Channel(12, "cpu_s", "s", float, False, "processor time of the process tree"),
    Channel(13, "queue_bytes", "bytes", int, True, "products waiting for the ground"),
    Channel(14, "queue_entries", "products", int, True, "products waiting for the ground"),
    Channel(15, "evicted_products", "products", int, False, "products that lost their place in the queue"),
    Channel(16, "evicted_bytes", "bytes", int, False, "what the evicted products held"),
    Channel(17, "sent_products", "products", int, False, "products acknowledged in this pass"),
    Channel(18, "sent_bytes", "bytes", int, False, "what the acknowledged products held"),
    Channel(19, "uptime_s", "s", float, False, "since the service started, by the monotonic clock"),
    Channel(20, "commands_accepted", "commands", int, False, "commands accepted since the service started"),
    Channel(21, "commands_rejected", "commands", int, False, "commands not accepted, whatever the cause"),
    Channel(22, "commands_unauthentic", "commands", int, False, "of them: tag wrong or missing, or replayed"),
    Channel(23, "commands_failed", "commands", int, False, "accepted, and then not done to the end"),
    Channel(
        24, "replay_counter", "counter", int, False, "of the last authentic command; the next is above it"
    ),
    Channel(25, "discarded_bytes", "bytes", int, False, "uplinked bytes that are in no whole packet"),
    Channel(
        26, "telemetry_packets", "packets", int, False, "telemetry packets made since the service started"
    ),
    Channel(41, "workers_bytes", "bytes", int, True, "resident memory of the engines' own processes"),
    Channel(42, "engine_losses", "times", int, False, "devices lost or demoted"),
    Channel(43, "engine_recycles", "times", int, False, "devices started anew because they were worn"),
    Channel(
        44, "tiles_redone", "tiles", int, False, "tiles whose work was lost with a device and done again"
    ),
    Channel(45, "tiles_on_first_device", "tiles", int, False, "answers of the first device of their task"),
)

PARAMETERS = {
    "boots": Wire.U32,
    "capacity_bytes": Wire.U64,
    "clear_ratio": Wire.F64,
    "code": Wire.U16,
    "columns": Wire.U32,
    "device": Wire.TEXT,
    "discarded_bytes": Wire.U64,
    "duration_s": Wire.F64,
    "failure_code": Wire.U16,
    "fault": Wire.TEXT,
    "product_id": Wire.TEXT,
    "rate_bit_s": Wire.F64,
    "reason": Wire.TEXT,
    "refusal": Wire.TEXT,
    "row": Wire.U32,
    "rows": Wire.U32,
    "sent_bytes": Wire.U64,
    "sent_products": Wire.U32,
    "service": Wire.U8,
    "size_bytes": Wire.U64,
    "strip_id": Wire.TEXT,
    "subtype": Wire.U8,
    "temperature_degc": Wire.F64,
    "tile": Wire.U32,
    "tiles": Wire.U32,
    "tiles_done": Wire.U32,
    "value": Wire.F64,
    "version": Wire.TEXT,
    "worst_term": Wire.TEXT,
}
"""What each parameter of an event is in a packet; a name means the same in every event."""

STRUCTURES = (
    Structure(
        1,
        "health",
        1,
        (
            "uptime_s",
            "resident_bytes",
            "peak_bytes",
            "budget_bytes",
            "cpu_s",
            "commands_accepted",
            "commands_rejected",
            "commands_unauthentic",
            "commands_failed",
            "replay_counter",
            "discarded_bytes",
            "telemetry_packets",
        ),
    ),
    Structure(
        2,
        "imaging",
        1,
        (
            "rows_read",
            "rows_total",
            "tiles_done",
            "tiles_total",
            "tiles_no_data",
            "tiles_without_surface",
            "tiles_unclassified",
            "planned_bytes",
        ),
    ),
    Structure(
        3,
        "downlink",
        1,
        (
            "queue_bytes",
            "queue_entries",
            "evicted_products",
            "evicted_bytes",
            "sent_products",
            "sent_bytes",
        ),
    ),
    Structure(
        4,
        "engines",
        1,
        ("workers_bytes", "engine_losses", "engine_recycles", "tiles_redone", "tiles_on_first_device"),
    ),
)
"""Every channel travels in exactly one structure."""
