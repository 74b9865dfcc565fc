"""The table of events: everything that can happen and is told.

Ids and names are never reused; `tests/event_history.txt` remembers all that there ever were.
"""

from __future__ import annotations

from payload.core.telemetry.kinds import Event
from payload.types import Severity

_INFO, _LOW, _MEDIUM, _HIGH = Severity.INFO, Severity.LOW, Severity.MEDIUM, Severity.HIGH

EVENTS = (
    Event(101, "strip_started", _INFO, 1, ("strip_id", "rows", "columns", "tiles"), "A strip begins."),
    Event(102, "strip_resumed", _INFO, 1, ("strip_id", "tiles_done"), "A strip goes on after an early end."),
    Event(103, "strip_finished", _INFO, 1, ("strip_id", "tiles_done"), "The last tile is committed."),
    Event(104, "strip_refused", _HIGH, 1, ("reason",), "The strip cannot be opened or read on; it is left."),
    Event(105, "rows_damaged", _LOW, 32, ("row", "fault"), "Rows are damaged or missing; they are no data."),
    Event(106, "rows_short", _MEDIUM, 1, ("row",), "The strip ended before its last row; no data from here."),
    Event(
        107,
        "strip_model_changed",
        _MEDIUM,
        4,
        ("strip_id",),
        "The rest of the strip is another model's work.",
    ),
    Event(201, "tile_no_data", _INFO, 4, ("tile",), "A tile has no valid pixel; no network runs."),
    Event(202, "tile_without_surface", _INFO, 4, ("tile", "clear_ratio"), "Too cloudy for a correction."),
    Event(
        203, "tile_unclassified", _MEDIUM, 16, ("tile", "reason"), "No usable answer; the tile is left out."
    ),
    Event(
        204,
        "tile_uncorrected",
        _MEDIUM,
        16,
        ("tile", "reason"),
        "No usable correction; its classes are kept.",
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
        316,
        "engine_no_room",
        _MEDIUM,
        2,
        ("device", "size_bytes"),
        "The budget has no room for it; left out.",
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
    Event(605, "file_received", _INFO, 16, ("path",), "A file came up, whole and on the disk."),
    Event(
        701, "install_refused", _HIGH, 16, ("code", "refusal", "reason"), "Not taken; the old model runs on."
    ),
    Event(
        702,
        "slot_changed",
        _INFO,
        32,
        ("task", "slot", "state", "model", "model_version"),
        "A model slot is in another state, and that is on the disk.",
    ),
    Event(
        703,
        "known_answers_passed",
        _INFO,
        8,
        ("task", "target", "largest_difference", "disagreement_ratio"),
        "A device answered the known tiles as expected.",
    ),
    Event(
        704,
        "model_activated",
        _INFO,
        4,
        ("task", "slot", "model", "model_version", "rollback_index"),
        "A new model runs from the next strip on; it is on trial.",
    ),
    Event(
        705,
        "model_confirmed",
        _INFO,
        4,
        ("task", "model", "model_version", "rollback_index"),
        "The trial is over; no model with a lower rollback index is taken any more.",
    ),
    Event(
        706,
        "model_reverted",
        _HIGH,
        8,
        ("task", "model", "to", "reason"),
        "The model is given up; the last good one runs, or the factory's.",
    ),
    Event(
        707,
        "slot_mended",
        _MEDIUM,
        16,
        ("task", "slot", "blocks"),
        "Damaged blocks of a package were taken from its second copy.",
    ),
    Event(
        708,
        "slot_damaged",
        _HIGH,
        8,
        ("task", "slot"),
        "A package is damaged in both copies; it is used no more.",
    ),
    Event(
        710,
        "update_received",
        _INFO,
        8,
        ("path", "size_bytes"),
        "A file from the ground is whole; not installed.",
    ),
    Event(711, "chunk_refused", _LOW, 8, ("code", "reason"), "Damaged on the way, or of no file; left."),
    Event(709, "root_rotated", _HIGH, 4, ("root_version",), "Other keys sign from now on."),
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
    Event(806, "parameter_changed", _INFO, 16, ("parameter", "value"), "The ground has set it."),
    Event(
        807, "parameter_refused", _LOW, 16, ("parameter", "reason"), "Set earlier, impossible now; left out."
    ),
    Event(
        808,
        "command_held",
        _MEDIUM,
        16,
        ("service", "subtype", "late_s"),
        "Its time is long past; enable the schedule to do it.",
    ),
    Event(809, "strip_queued", _INFO, 16, ("path",), "A strip is taken from the inbox, or was commanded."),
    Event(
        810,
        "strip_left",
        _HIGH,
        16,
        ("path", "exit_code", "attempts"),
        "The strip cannot be taken; the next is.",
    ),
    Event(
        811,
        "strip_again",
        _MEDIUM,
        16,
        ("path", "exit_code", "attempts"),
        "The run ended early; it goes on after a pause.",
    ),
    Event(812, "limit_kept", _INFO, 16, ("channel", "value"), "A channel is back within its limits."),
    Event(813, "limit_yellow", _MEDIUM, 16, ("channel", "value"), "A channel has left its yellow limits."),
    Event(814, "limit_red", _HIGH, 16, ("channel", "value"), "A channel has left its red limits."),
    Event(815, "clock_jumped", _LOW, 8, ("step_s",), "UTC jumped; all that is counted here goes on."),
    Event(816, "clock_unset", _LOW, 4, ("utc_s",), "UTC cannot be right; the schedule waits."),
    Event(817, "self_test_passed", _INFO, 4, ("tests",), "Every test of the self-test passed."),
    Event(
        818,
        "self_test_failed",
        _HIGH,
        4,
        ("test", "reason"),
        "This test failed; those behind it were not run.",
    ),
    Event(819, "queue_cleared", _MEDIUM, 4, ("entries", "size_bytes"), "The ground had what waited dropped."),
)
