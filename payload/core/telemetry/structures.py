"""Which channels travel together in one housekeeping packet."""

from __future__ import annotations

from payload.core.telemetry.kinds import Structure

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
            "lost_packets",
            "scheduled_commands",
            "time_is_set",
            "longest_turn_s",
            "temperature_degc",
            "disk_free_bytes",
            "budget_used_ratio",
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
            "strips_waiting",
            "strips_finished",
            "strips_left",
            "is_imaging",
        ),
    ),
    Structure(
        3,
        "downlink",
        1,
        (
            "queue_bytes",
            "queue_entries",
            "queue_used_ratio",
            "evicted_products",
            "evicted_bytes",
            "sent_products",
            "sent_bytes",
            "pdus_rejected",
            "link_bytes",
            "resent_bytes",
            "files_open",
        ),
    ),
    Structure(
        4,
        "engines",
        1,
        ("workers_bytes", "engine_losses", "engine_recycles", "tiles_redone", "tiles_on_first_device"),
    ),
    Structure(
        7,
        "models",
        1,
        (
            "trial_tiles",
            "trial_faults",
            "rollback_index",
            "scrubbed_blocks",
            "mended_blocks",
            "weights_asked",
        ),
    ),
)
"""Every channel travels in exactly one structure."""
