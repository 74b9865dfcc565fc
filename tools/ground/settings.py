"""The station's configuration: one YAML file, every key named and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from payload.config import NONE, parse_address, read_text
from payload.config.yaml_walk import Range, Text, Walk
from payload.core.cfdp import CfdpParameters
from payload.core.guard import parse_key
from payload.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the payload is, and how bad the link is to be made.

    ``command_key``: what goes up has a tag by it, or none where the payload asks for none.
    ``loss_ratio``: so much of what comes down and goes up is thrown away, by ``seed``.
    """

    listen: Annotated[str, Text("host:port where telemetry and files come down", 255)]
    send_to: Annotated[str, Text("host:port where the payload takes packets", 255)]
    apid: Annotated[int, Range(1, 2046, "(CCSDS APID of files)")]
    telemetry_apid: Annotated[int, Range(1, 2046, "(CCSDS APID of telemetry)")]
    entity: Annotated[int, Range(0, 65535, "(CFDP entity id)")]
    flight_entity: Annotated[int, Range(0, 65535, "(CFDP entity id)")]
    command_key: Annotated[str, Text("a file, absolute or relative to this file, or none", 4096)]
    segment_bytes: Annotated[int, Range(64, 2000, "bytes")]
    window_bytes: Annotated[int, Range(1024, 1 << 24, "bytes")]
    answer_timeout_s: Annotated[float, Range(0.05, 600.0, "s")]
    loss_ratio: Annotated[float, Range(0.0, 0.9, "(ratio)")]
    seed: Annotated[int, Range(0, 2**32 - 1, "(seed)")]

    @property
    def parameters(self) -> CfdpParameters:
        """The ground entity. It waits for ever: a payload comes back."""
        return CfdpParameters(
            self.entity,
            self.flight_entity,
            self.segment_bytes,
            self.window_bytes,
            0.0,
            self.answer_timeout_s,
            answer_limit=1_000_000,
            open_limit=4096,
            file_max_bytes=(1 << 32) - 1,
        )


def load_key(settings: Settings, path: Path) -> bytes | None:
    """The key that ``settings``, read from ``path``, name; None if there is to be none.

    Raises:
        ConfigError: it cannot be read.
    """
    if settings.command_key == NONE:
        return None
    found = path.parent / settings.command_key
    return parse_key(read_text(found, "command key"), str(found))


def load_settings(path: Path) -> Settings:
    """The station's configuration in ``path``.

    Raises:
        ConfigError: it cannot be used; one line per fault.
    """
    walk = Walk(str(path))
    found = walk.read(read_text(path, "ground station configuration"), Settings)
    walk.raise_faults()
    settings = Settings(**found)
    for key, text in (("listen", settings.listen), ("send_to", settings.send_to)):
        if parse_address(text) is None:
            raise ConfigError(f"{path}:{walk.line_of[key]}: {key}: '{text}' is not host:port")
    return settings
