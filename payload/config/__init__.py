"""The configuration of one board: every number named, bounded and read from one YAML file.

A key's type, range and unit stand once, at its field below; `yaml_walk` derives the reading
from them. No key has a default: what flies is what the file says.

Rules:
    every key of the dataclasses stands in the file once, and no other key does
    a fault names file, line, key and what is allowed
    all faults are reported together, one a line
    plain YAML only: no anchor, alias, tag or second document
    keys that bound each other are checked together
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import gcd
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

from payload.config.engines import EngineConfig, EngineKind
from payload.config.yaml_walk import NOT_A_KEY, Range, Text, Walk
from payload.errors import ConfigError
from payload.types import Band, Grid, Task

MAX_FILE_BYTES = 65536

NONE = "none"
"""What stands at a key for something that the board does not have."""

_GIB = 1 << 30
_Bytes = Annotated[int, Range(1, 64 * _GIB, "bytes")]
_Inner = Annotated[int, Range(48, 10992, "px", multiple=48)]
_Folder = Annotated[str, Text("a folder, absolute or relative to this file", 4096)]
_Address = Annotated[str, Text("an address and port as in 127.0.0.1:10025, or none", 80)]
_Ratio = Annotated[float, Range(0.0, 1.0, "(ratio)")]
_Worth = Annotated[float, Range(0.0, 1e9, "(no unit)")]


@dataclass(frozen=True, slots=True)
class BoardConfig:
    """What the board has; ``is_flight``: it flies, or is built as what flies."""

    name: Annotated[str, Text("the name of the board", 64)]
    is_flight: bool
    cores: Annotated[int, Range(1, 64, "cores")]
    memory_bytes: _Bytes


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """What the whole process tree may have, and what it has before the first row.

    ``interpreter_bytes``: resident memory of Python with every flight library imported.
    """

    budget_bytes: _Bytes
    interpreter_bytes: _Bytes


@dataclass(frozen=True, slots=True)
class TilesConfig:
    """How a strip is cut; ``slots`` tiles may be in flight at once."""

    inner_rows_px: _Inner
    inner_columns_px: _Inner
    slots: Annotated[int, Range(1, 8, "tiles")]


@dataclass(frozen=True, slots=True)
class StripConfig:
    """How a strip is read; ``scratch`` holds what a source must put aside (decoded JP2 tiles).

    ``missing_bands``: what the instrument has lost, see `core.missing_bands`; none if left out.
    """

    block_rows_px: Annotated[int, Range(6, 1056, "px", multiple=6)]
    scratch: _Folder
    missing_bands: tuple[Band, ...] | None


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """One model folder per task."""

    scene: _Folder
    surface: _Folder


@dataclass(frozen=True, slots=True)
class ProductsConfig:
    """What is made of a tile.

    ``surface_error_dn``: bound of the coding error of surface reflectance, 1 dn = 0.0001.
    """

    surface_error_dn: Annotated[int, Range(0, 1000, "dn")]
    surface_grids: tuple[Grid, ...]
    quicklook_pitch_px: Annotated[int, Range(2, 240, "px of the 10 m grid", multiple=2)]
    raw: bool


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """Which tiles are worth atmospheric correction: at least this share of clear pixels."""

    min_clear_ratio: Annotated[float, Range(0.0, 1.0, "(ratio)")]


@dataclass(frozen=True, slots=True)
class ValueConfig:
    """What a full tile of each kind of product is worth against the others."""

    statistics: _Worth
    quicklook: _Worth
    classes: _Worth
    surface_10m: _Worth
    surface_20m: _Worth
    surface_60m: _Worth
    raw: _Worth


@dataclass(frozen=True, slots=True)
class InterestConfig:
    """Which places and classes are worth more.

    ``areas``: a GeoJSON file whose areas have weights; ``elsewhere``: the weight outside them.
    The four classes: what a class map or quick-look is worth for showing them.
    """

    areas: Annotated[str, Text("a GeoJSON file, absolute or relative to this file, or none", 4096)]
    elsewhere: Annotated[float, Range(0.0, 1000.0, "(weight)")]
    clear: _Ratio
    thick_cloud: _Ratio
    thin_cloud: _Ratio
    cloud_shadow: _Ratio


@dataclass(frozen=True, slots=True)
class AgeingConfig:
    """What waiting costs: after ``decay_s`` a product is worth 1/e, after ``deadline_s`` nothing."""

    decay_s: Annotated[float, Range(60.0, 1e9, "s")]
    deadline_s: Annotated[float, Range(60.0, 1e9, "s")]


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How much may wait for the ground."""

    capacity_bytes: Annotated[int, Range(65536, 1024 * _GIB, "bytes")]
    capacity_entries: Annotated[int, Range(1, 1_000_000, "products")]


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """The long-running service, `payload fly`.

    ``resident_bytes``: what the service itself may take of the memory budget; the rest is for
    the strip under way. Commands come as datagrams to ``udp_listen``, telemetry goes to
    ``udp_send_to``; over connections to ``tcp_listen`` both.
    """

    apid: Annotated[int, Range(1, 2046, "(CCSDS APID)")]
    state: _Folder
    inbox: Annotated[str, Text("a folder or FIFO, absolute or relative to this file", 4096)]
    command_key: Annotated[str, Text("a file, absolute or relative to this file", 4096)]
    resident_bytes: _Bytes
    housekeeping_s: Annotated[float, Range(0.2, 3600.0, "s")]
    schedule_late_s: Annotated[float, Range(1.0, 86400.0, "s")]
    silence_s: Annotated[float, Range(10.0, 86400.0, "s")]
    watchdog: Annotated[str, Text("a watchdog device or file, or none", 4096)]
    udp_listen: _Address
    udp_send_to: _Address
    tcp_listen: _Address


@dataclass(frozen=True, slots=True)
class UpdatesConfig:
    """New weights from the ground: where they go, who is believed, when they are confirmed.

    ``trial_tiles`` good tiles confirm a model; more than ``trial_faults`` bad ones, or more than
    ``trial_boots`` starts without a good one, end its trial.
    """

    slots: _Folder
    root: Annotated[str, Text("a file, absolute or relative to this file", 4096)]
    package_max_bytes: Annotated[int, Range(65536, 256 << 20, "bytes")]
    known_answer_timeout_s: Annotated[float, Range(0.1, 3600.0, "s")]
    trial_tiles: Annotated[int, Range(1, 10_000, "tiles")]
    trial_faults: Annotated[int, Range(0, 10_000, "tiles")]
    trial_boots: Annotated[int, Range(1, 100, "starts")]
    scrub_period_s: Annotated[float, Range(1.0, 86400.0, "s")]


@dataclass(frozen=True, slots=True)
class DownlinkConfig:
    """Files down and up in a pass, by CFDP.

    ``contact_plan``: when the ground is there, and how fast the link is. Files that come up go
    to ``uplink``. ``window_bytes``: what a restart may cost. ``round_trip_min_s`` is below every
    real round trip, ``answer_timeout_s`` above; see `core.cfdp.records.CfdpParameters`.
    ``is_uplink_tagged``: packets of files that come up have a tag by ``service.command_key``.
    """

    contact_plan: Annotated[str, Text("a YAML file, absolute or relative to this file, or none", 4096)]
    uplink: _Folder
    apid: Annotated[int, Range(1, 2046, "(CCSDS APID)")]
    entity: Annotated[int, Range(0, 65535, "(CFDP entity id)")]
    ground_entity: Annotated[int, Range(0, 65535, "(CFDP entity id)")]
    segment_bytes: Annotated[int, Range(64, 2000, "bytes")]
    window_bytes: Annotated[int, Range(1024, 1 << 24, "bytes")]
    round_trip_min_s: Annotated[float, Range(0.0, 60.0, "s")]
    answer_timeout_s: Annotated[float, Range(0.05, 600.0, "s")]
    answer_limit: Annotated[int, Range(1, 10_000, "repeats")]
    open_files: Annotated[int, Range(1, 1024, "files")]
    is_uplink_tagged: bool
    uplink_max_bytes: Annotated[int, Range(1, 1 << 31, "bytes")]


@dataclass(frozen=True, slots=True)
class Config:
    """One board's configuration; ``source`` is the path of the file it came from."""

    board: BoardConfig
    memory: MemoryConfig
    tiles: TilesConfig
    strip: StripConfig
    engine: EngineConfig
    models: ModelsConfig
    products: ProductsConfig
    judge: JudgeConfig
    value: ValueConfig
    interest: InterestConfig
    ageing: AgeingConfig
    queue: QueueConfig
    downlink: DownlinkConfig
    service: ServiceConfig
    updates: UpdatesConfig
    source: str = field(metadata=NOT_A_KEY)

    def folder(self, configured: str) -> Path:
        """The path that a folder key means: relative ones start at the configuration file."""
        return Path(self.source).parent / configured


def range_of(key: str) -> Range:
    """The range of the number at ``section.key``."""
    section, _, name = key.partition(".")
    hints = get_type_hints(get_type_hints(Config)[section], include_extras=True)
    _, bound = get_args(hints[name])
    assert isinstance(bound, Range), key
    return bound


def number_at(config: Config, key: str) -> float:
    """The number at ``section.key``."""
    section, _, name = key.partition(".")
    return float(getattr(getattr(config, section), name))


def with_number(config: Config, key: str, number: float) -> Config:
    """The configuration with another number at ``section.key``.

    Raises:
        ConfigError: it is out of its range, no whole number where one must be, or another key
            forbids it.
    """
    section, _, name = key.partition(".")
    part = getattr(config, section)
    bound, kind = range_of(key), type(getattr(part, name))
    if not bound.has(number) or kind(number) != number:
        raise ConfigError(f"{key}: {number:g} is not allowed; must be {kind.__name__}, {bound}")
    changed = replace(config, **{section: replace(part, **{name: kind(number)})})
    for forbidden, complaint in _bounds_between(changed):
        raise ConfigError(f"{forbidden}: {complaint}")
    return changed


def parse_address(text: str) -> tuple[str, int] | None:
    """Host and port of ``host:port``, or None if it is no such thing."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        return None
    return host, int(port)


def load_config(path: str | Path) -> Config:
    """The configuration in ``path``, checked in full.

    Raises:
        ConfigError: it cannot be used; one line per fault, each ``file:line: key: what``.
    """
    return parse_config(read_text(Path(path), "configuration"), str(path))


def parse_config(text: str, source: str) -> Config:
    """The configuration in the YAML ``text``; ``source`` names it in errors.

    Raises:
        ConfigError: as `load_config`.
    """
    walk = Walk(source)
    sections = walk.read(text, Config)
    walk.raise_faults()
    config = Config(**sections, source=source)
    for key, bound in _bounds_between(config):
        walk.fault(walk.line_of[key], key, bound)
    walk.raise_faults()
    return config


def read_text(path: Path, what: str, max_bytes: int = MAX_FILE_BYTES) -> str:
    """The text of a file of at most ``max_bytes``; ``what`` says in errors what it should be.

    Raises:
        ConfigError: it cannot be read, is too large, or is no UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise ConfigError(f"{path}: larger than {max_bytes} bytes; this is no {what}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text (byte {error.start})") from error


def _bounds_between(config: Config) -> Iterator[tuple[str, str]]:
    """Key and complaint for each key that another key forbids."""
    board, memory = config.board, config.memory
    if memory.budget_bytes > board.memory_bytes:
        yield "memory.budget_bytes", f"must be at most board.memory_bytes, {board.memory_bytes}"
    if memory.interpreter_bytes >= memory.budget_bytes:
        yield "memory.interpreter_bytes", f"must be below memory.budget_bytes, {memory.budget_bytes}"
    if config.engine.threads > board.cores:
        yield "engine.threads", f"must be at most board.cores, {board.cores}"
    for task in Task:
        for kind in config.engine.order(task):
            key = f"engine.{task.value}"
            if kind in (EngineKind.MYRIAD, EngineKind.STAND_IN) and config.engine.child(kind) is None:
                yield key, f"{kind.value} needs its section, engine.{kind.value}"
            if kind is EngineKind.STAND_IN and board.is_flight:
                yield key, "stand_in is for benches: board.is_flight is true"
    if config.engine.stand_in is not None and board.is_flight:
        yield "engine.stand_in", "is for benches: board.is_flight is true"
    rows_px, columns_px = config.tiles.inner_rows_px, config.tiles.inner_columns_px
    if gcd(rows_px, columns_px) % config.products.quicklook_pitch_px:
        sides = f"tiles.inner_rows_px and tiles.inner_columns_px, {rows_px} and {columns_px}"
        yield "products.quicklook_pitch_px", f"must be a divisor of {sides}"
    yield from _bounds_of_service(config.service, memory)


def _bounds_of_service(service: ServiceConfig, memory: MemoryConfig) -> Iterator[tuple[str, str]]:
    left_bytes = memory.budget_bytes - memory.interpreter_bytes
    if service.resident_bytes >= left_bytes > 0:
        yield "service.resident_bytes", f"must leave room for a strip, and so be below {left_bytes}"
    for name in ("udp_listen", "udp_send_to", "tcp_listen"):
        text = getattr(service, name)
        if text != NONE and parse_address(text) is None:
            yield f"service.{name}", f"{text!r} is no address and port; write it as in 127.0.0.1:10025"
    if service.udp_listen == NONE and service.tcp_listen == NONE:
        yield "service.udp_listen", "is none, as is tcp_listen: nobody could command the payload"
    if (service.udp_listen == NONE) != (service.udp_send_to == NONE):
        yield "service.udp_send_to", "must be none if udp_listen is, and only then"
