"""Which values of the configuration may change in flight (service 20), and under which id.

Rules:
1. A parameter is a number of the configuration; its range is the configuration's own.
2. Ids are never reused.
3. A strip keeps to its end the values with which it began: only so can it be resumed.
"""

from __future__ import annotations

from dataclasses import dataclass

_WORTH = "what a full tile of this kind is worth"


@dataclass(frozen=True, slots=True)
class Setting:
    """One parameter of service 20; ``key`` is that of the configuration."""

    parameter_id: int
    key: str
    meaning: str


SETTINGS = (
    Setting(1, "judge.min_clear_ratio", "clear pixels that make a tile worth correcting"),
    Setting(2, "products.surface_error_dn", "bound of the coding error of surface reflectance"),
    Setting(3, "value.statistics", _WORTH),
    Setting(4, "value.quicklook", _WORTH),
    Setting(5, "value.classes", _WORTH),
    Setting(6, "value.surface_10m", _WORTH),
    Setting(7, "value.surface_20m", _WORTH),
    Setting(8, "value.surface_60m", _WORTH),
    Setting(9, "value.raw", _WORTH),
    Setting(10, "engine.threads", "threads of the engine"),
    Setting(11, "engine.collect_timeout_s", "an answer later than this means that the device is lost"),
    Setting(12, "memory.budget_bytes", "what the whole process tree may take"),
    Setting(13, "service.housekeeping_s", "the channels are sent this often"),
    Setting(14, "service.schedule_late_s", "a scheduled command later than this is held"),
    Setting(15, "service.silence_s", "a process beside the service that is silent for longer is killed"),
)
