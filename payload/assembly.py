"""What every command that touches a strip needs first: configuration, models, plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from payload.config import Config, load_config, read_text, with_number
from payload.config.engines import EngineKind
from payload.core.areas import FILE_BYTES_MAX, AreaMap, parse_areas
from payload.core.arithmetic import NumpyArithmetic
from payload.core.downlink import DownlinkQueue, Tally
from payload.core.fingerprint import fingerprint
from payload.core.manifest import (
    Artifact,
    ModelManifest,
    check_model_fits,
)
from payload.core.memory import best_plan, check_budget, engine_loads
from payload.core.radiometry import FULL_SCALE_REFLECTANCE, code_table
from payload.core.settings import SETTINGS
from payload.core.surface import CELL_PX
from payload.core.telemetry import Telemetry
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.strips import open_strip
from payload.errors import BudgetError, ConfigError, TrustError
from payload.logbook import make_folder
from payload.ports import Arithmetic, StripSource
from payload.types import Grid, MemoryPlan, StripInfo, Target, Task, TileGrid
from payload.updates import Updates
from payload.workers import serves

_RESUMED_AT_ONCE = 500  # entries: what the plan's margin of the store has room for


@dataclass(frozen=True, slots=True)
class Model:
    """A model that fits the configuration; its artifact files are not read yet.

    ``artifact`` is that of the reference engine, the last in the order of the model's task.
    ``verified_files(artifact)`` gives the files of one, each of the size and hash that the
    manifest says, or raises TrustError.
    """

    manifest: ModelManifest
    artifact: Artifact
    verified_files: Callable[[Artifact], dict[str, bytes]]

    def artifact_for(self, target: Target) -> Artifact | None:
        """The artifact for ``target``, if the model has one."""
        found = (artifact for artifact in self.manifest.artifacts if artifact.target is target)
        return next(found, None)


def load_board(path: Path, budget_bytes: int | None, changed: Iterable[tuple[str, float]] = ()) -> Config:
    """The configuration, with another budget if one is given, and other settings.

    Raises:
        ConfigError: it cannot be used, or a key may not be set to that in flight.
    """
    config = load_config(path)
    for key, number in changed:
        if key not in {setting.key for setting in SETTINGS}:
            raise ConfigError(f"{key}: may not be set; those that may are in docs/interfaces.md")
        config = with_number(config, key, number)
    if budget_bytes is None:
        return config
    return replace(config, memory=replace(config.memory, budget_bytes=budget_bytes))


def load_models(config: Config, updates: Updates | None = None) -> tuple[dict[Task, Model], TileGrid]:
    """The active models, and the tiles they make: the halo is the widest of the factory's fields.

    Args:
        updates: the slots, where they are open and started already; without them, what a start
            would run.

    Raises:
        TrustError: a manifest cannot be read or is not one.
        ConfigError: a model does not fit the configuration.
    """
    if updates is None:
        updates = Updates(config, Telemetry())
        updates.foresee()
    tiles = updates.tiles()
    models = {}
    for task in Task:
        manifest = updates.manifest(task)
        artifact = check_model_fits(manifest, task, tiles, config.engine.reference_target(task))
        models[task] = Model(manifest, artifact, partial(updates.verified_files, task))
    return models, tiles


def load_areas(config: Config) -> AreaMap:
    """The areas of interest of the configuration.

    Raises:
        ConfigError: they cannot be read, or used.
    """
    interest = config.interest
    if interest.areas == "none":
        return AreaMap((), interest.elsewhere)
    path = config.folder(interest.areas)
    text = read_text(path, "GeoJSON file of areas of interest", FILE_BYTES_MAX)
    return parse_areas(text, str(path), interest.elsewhere)


def resume_queue(config: Config, store: SqliteProductStore, telemetry: Telemetry) -> DownlinkQueue:
    """What ``store`` holds, in no more entries than memory is planned for; one event tells what goes.

    The channels of what was evicted go on from what the store has counted since it was made.

    Raises:
        StoreError: the store cannot be read or written.
    """
    queue = DownlinkQueue(config.queue.capacity_bytes, config.queue.capacity_entries, ageing=config.ageing)
    entries, held, trimmed = store.entries(), store.held(), Tally()
    while some := list(islice(entries, _RESUMED_AT_ONCE)):
        if evicted := queue.resume(some, held):
            store.evict([entry.entry_id for entry in evicted])
        for entry in evicted:
            trimmed.count(entry)
    if trimmed.entries:
        telemetry.event("queue_trimmed", entries=trimmed.entries, size_bytes=trimmed.size_bytes)
    counters = store.counters()
    telemetry.set("evicted_products", counters.evicted_entries)
    telemetry.set("evicted_bytes", counters.evicted_bytes)
    return queue


def plan_strip(
    config: Config, source: StripSource, models: Mapping[Task, Model], tiles: TileGrid
) -> MemoryPlan:
    """The memory plan of the strip that ``source`` reads.

    Raises:
        ConfigError: a task's last engine has no network for such tiles.
        BudgetError: it does not fit.
    """
    found = best_plan_of(config, source, models, tiles)
    check_budget(found)
    return found


def best_plan_of(
    config: Config, source: StripSource, models: Mapping[Task, Model], tiles: TileGrid
) -> MemoryPlan:
    """As `plan_strip`, whether it fits or not.

    Raises:
        ConfigError: a task's last engine has no network for such tiles.
    """
    for task, model in models.items():
        target = config.engine.target(config.engine.order(task)[-1])
        artifact, window_px = model.artifact_for(target), (tiles.window_rows_px, tiles.window_columns_px)
        if artifact is None or not serves(artifact, window_px):
            raise ConfigError(
                f"{model.manifest.name} has nothing for {target.value} and windows of {window_px[0]}x"
                f"{window_px[1]} px; change tiles.inner_rows_px and inner_columns_px, or make it: "
                "`python -m tools.export`"
            )
    loads = engine_loads(config, {task: model.manifest for task, model in models.items()})
    return best_plan(config, source.info, tiles, source.planned_bytes, loads)


def load_planned(
    config: Config, updates: Updates, source: StripSource
) -> tuple[dict[Task, Model], TileGrid, MemoryPlan]:
    """The active models, the tiles they make, and the plan of the strip that ``source`` reads.

    A model on trial that alone stands in the way is given up.

    Raises:
        TrustError, ConfigError, BudgetError: as `load_models` and `plan_strip`.
    """

    def planned() -> tuple[dict[Task, Model], TileGrid, MemoryPlan]:
        models, tiles = load_models(config, updates)
        return models, tiles, plan_strip(config, source, models, tiles)

    try:
        return planned()
    except (TrustError, ConfigError, BudgetError) as error:
        with updates.without_trials(str(error)):
            return planned()


def arithmetic_of(config: Config, tiles: TileGrid) -> Arithmetic:
    """The compiled formulas where OpenVINO is in this process anyway; it takes more than numpy's save."""
    return compiled_arithmetic(tiles) if config.engine.is_inside(EngineKind.OPENVINO) else NumpyArithmetic()


def compiled_arithmetic(tiles: TileGrid) -> Arithmetic:
    """The compiled formulas for tiles of ``tiles``, or numpy's where the codes would not be the same."""
    from payload.drivers.arithmetic_openvino import OpenVinoArithmetic  # 66 MiB that not every board has

    columns = {CELL_PX // grid: tiles.inner_columns_px // grid for grid in Grid}
    compiled = OpenVinoArithmetic(columns, FULL_SCALE_REFLECTANCE)
    return compiled if compiled.is_exact(code_table()) else NumpyArithmetic()


def open_source(path: str, config: Config) -> StripSource:
    """The strip at ``path``; the scratch folder is made if it is not there.

    Raises:
        StripError: not a strip, or one that cannot be read.
        StoreError: the scratch folder cannot be made.
    """
    scratch = config.folder(config.strip.scratch)
    make_folder(scratch)
    return open_strip(Path(path), scratch)


def begin_strip(
    store: SqliteProductStore,
    strip: StripInfo,
    config: Config,
    model_sha256: Mapping[Task, str],
    areas: AreaMap,
    updates: Updates,
    telemetry: Telemetry,
) -> None:
    """The strip's tiles may follow; those that an earlier model has made stay.

    Raises:
        StripError: the strip was begun with another configuration, or a model that nobody knows.
        StoreError: the store cannot be read or written.
    """

    def mark(models: Mapping[Task, str]) -> str:
        names = {task.value: sha256 for task, sha256 in models.items()}
        return fingerprint(strip, config, names, areas.sha256)

    if store.begin_strip(strip.strip_id, mark(model_sha256), set(map(mark, updates.known_models()))):
        telemetry.event("strip_model_changed", strip_id=strip.strip_id)
