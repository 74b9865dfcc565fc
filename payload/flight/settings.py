"""Service 20: the values of the configuration that may change in flight.

Rules:
1. Only what `core.settings` lists, and only within the range of the configuration.
2. All parameters of a command are set, or none.
3. What was set is remembered over a restart, and applied over the configuration's file.
4. What the file has made impossible meanwhile is left out then, and told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from payload.config import Config, number_at, with_number
from payload.core.packets import Failure
from payload.core.settings import SETTINGS, Setting
from payload.core.telemetry import Telemetry
from payload.errors import CommandError, ConfigError
from payload.flight.calls import Call, Execute, Quiet
from payload.ports import FlightMemory

_REMEMBERED = "settings"


class Settings(Quiet):
    """Has the configuration as it is now."""

    def __init__(self, config: Config, memory: FlightMemory, telemetry: Telemetry) -> None:
        self._memory = memory
        self._telemetry = telemetry
        self._by_id = {setting.parameter_id: setting for setting in SETTINGS}
        self.config = config
        self.changed: dict[str, float] = {}
        for key, number in json.loads(str(memory.get(_REMEMBERED) or "{}")).items():
            try:
                if key not in {setting.key for setting in SETTINGS}:
                    raise ConfigError(f"{key}: is no parameter any more")
                self.config = with_number(self.config, key, number)
                self.changed[key] = number
            except ConfigError as error:
                telemetry.event("parameter_refused", parameter=key, reason=str(error))

    @property
    def commands(self) -> Mapping[str, Execute]:
        return {"report_parameters": self._report, "set_parameters": self._set}

    def _report(self, call: Call) -> bool:
        for setting in [self._setting(int(group["parameter_id"])) for group in call.groups]:
            number = number_at(self.config, setting.key)
            call.report("parameter_value", {"parameter_id": setting.parameter_id, "parameter_value": number})
        return True

    def _set(self, call: Call) -> bool:
        changed, config = dict(self.changed), self.config
        for group in call.groups:
            setting = self._setting(int(group["parameter_id"]))
            try:
                config = with_number(config, setting.key, float(group["parameter_value"]))
            except (ConfigError, ValueError, OverflowError) as error:
                raise CommandError(str(error), Failure.OUT_OF_RANGE) from error
            changed[setting.key] = float(group["parameter_value"])
        self._memory.put(_REMEMBERED, json.dumps(changed))
        for key, number in changed.items():
            if self.changed.get(key) != number:
                self._telemetry.event("parameter_changed", parameter=key, value=number)
        self.config, self.changed = config, changed
        return True

    def _setting(self, parameter_id: int) -> Setting:
        setting = self._by_id.get(parameter_id)
        if setting is None:
            raise CommandError(f"parameter {parameter_id} is not known", Failure.UNKNOWN_PARAMETER)
        return setting
