"""Events of the service, `payload fly`: a part of the table in `events`."""

from __future__ import annotations

from payload.core.telemetry.kinds import Event, Severity

_INFO, _LOW, _MEDIUM, _HIGH = Severity.INFO, Severity.LOW, Severity.MEDIUM, Severity.HIGH

SERVICE_EVENTS = (
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
    Event(
        820,
        "inbox_name_refused",
        _LOW,
        16,
        ("path", "reason"),
        "Something in the inbox has no name that can be taken, or is too large for a strip; left.",
    ),
    Event(
        821,
        "process_silent",
        _HIGH,
        16,
        ("silence_s",),
        "The process of a strip or of a job said nothing for so long; killed.",
    ),
    Event(
        822, "connection_replaced", _LOW, 4, (), "A new connection took the place of the one silent longest."
    ),
)
