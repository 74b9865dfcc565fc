"""One function a command: builds the drivers, starts a walk, prints what came of it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from payload.assembly import (
    Model,
    arithmetic_of,
    begin_strip,
    best_plan_of,
    load_areas,
    load_board,
    load_models,
    load_planned,
    open_source,
    resume_queue,
)
from payload.config import AgeingConfig, Config, load_config
from payload.contact import ContactReport, pass_order, run_contact
from payload.core.downlink import DownlinkQueue
from payload.core.engine_chain import EngineChain
from payload.core.making import ProductMaker
from payload.core.memory import check_budget
from payload.core.pictures import compose, picture_pitch_px
from payload.core.tiling import Tiling
from payload.devices import build_chain, look_at_devices
from payload.drivers.board import LinuxBoard, SystemClock
from payload.drivers.link import FolderLink
from payload.drivers.picture import write_png
from payload.drivers.product_store import SqliteProductStore
from payload.drivers.store_lock import Role
from payload.drivers.strip_child import TelemetryPipe, die_with_parent
from payload.errors import EngineFault, EngineLostError, LinkError, StoreError
from payload.imaging import Progress, StripWalk
from payload.logbook import Log, make_folder, opened_log
from payload.ports import Engine, StripSource
from payload.report import LOG_FILE, PICTURE_FILE, QUEUE_FILE, REPORT_FILE, strip_report, totals_of
from payload.scrubbing import Scrubbing
from payload.summaries import (
    contact_summary,
    entry_facts,
    plan_facts,
    plan_table,
    queue_table,
    run_summary,
)
from payload.terminal import ProgressLine, say
from payload.trial import TrialEngine
from payload.types import Contact, MemoryPlan, StripInfo, Task, TileGrid
from payload.updates import Updates

_LINES_SHOWN = 20


def plan(arguments: argparse.Namespace) -> None:
    """`payload plan`: the memory plan, term by term.

    Raises:
        BudgetError: it does not fit; it has been shown.
    """
    config = load_board(arguments.config, arguments.budget_bytes)
    models, tiles = load_models(config)
    load_areas(config)  # what `run` would refuse is refused here
    source = open_source(arguments.strip, config)
    try:
        found = best_plan_of(config, source, models, tiles)
    finally:
        source.close()
    if arguments.json:
        say(json.dumps(plan_facts(found), indent=2))
    else:
        say(plan_table(found, arguments.config))
    check_budget(found)


def run(arguments: argparse.Namespace) -> None:
    """`payload run`: the whole walk, from the strip to the queue."""
    with _log_of(arguments) as log:
        report = _run(arguments, log)
    if arguments.json:
        say(json.dumps(report, indent=2))
    else:
        say(run_summary(report, arguments.out, _queue_of(arguments)))


def _log_of(arguments: argparse.Namespace) -> AbstractContextManager[Log]:
    if arguments.telemetry_to is None:
        return opened_log(arguments.out / LOG_FILE, arguments.echo)
    die_with_parent()
    make_folder(arguments.out)
    return opened_log(TelemetryPipe(arguments.telemetry_to), arguments.echo)


def _queue_of(arguments: argparse.Namespace) -> Path:
    path: Path = arguments.queue or arguments.out / QUEUE_FILE
    return path


def _run(arguments: argparse.Namespace, log: Log) -> dict[str, object]:
    began_s = time.monotonic()
    board = LinuxBoard(look_again_s=0.2)
    config = load_board(arguments.config, arguments.budget_bytes, arguments.set)
    updates = Updates(config, log.telemetry)
    updates.start()
    source = open_source(arguments.strip, config)
    try:
        models, tiles, found = load_planned(config, updates, source)
        log.telemetry.set("planned_bytes", found.total_bytes)
        log.telemetry.set("budget_bytes", found.budget_bytes)
        store = SqliteProductStore(_queue_of(arguments), roles=(Role.MAKER,))
        try:
            devices = _walk(config, updates, models, tiles, found, source, store, log, board)
            strip = source.info
            _picture(arguments.out / PICTURE_FILE, store, strip, tiles)
            if arguments.telemetry_to is not None:  # the service's queue takes strips for years
                store.forget_thumbnails(strip.strip_id)
            totals = totals_of(store.tile_records(strip.strip_id))
            counters, (entries, size_bytes) = store.counters(), store.queued()
        finally:
            store.close()
    finally:
        source.close()
    measured = {
        "wall_s": time.monotonic() - began_s,
        "cpu_s": board.cpu_s(),
        "peak_bytes": board.peak_bytes(),
    }
    tiling = Tiling(tiles, strip.rows, strip.columns)
    report = strip_report(strip, found, totals, tiling.tiles, measured)
    report["queue"] = {
        "entries": entries,
        "bytes": size_bytes,
        "evicted_entries": counters.evicted_entries,
        "evicted_bytes": counters.evicted_bytes,
    }
    report["devices"] = devices
    report["events"] = dict(log.telemetry.counts)
    _write_json(arguments.out / REPORT_FILE, report)
    return report


def _picture(path: Path, store: SqliteProductStore, strip: StripInfo, tiles: TileGrid) -> None:
    """The strip's picture is in ``path``; where its thumbnails were forgotten, what is there stays."""
    strip_id = strip.strip_id
    if all(record.thumbnail.size for record in store.tile_records(strip_id)):
        pitch_px = picture_pitch_px(tiles, strip.rows, strip.columns)
        write_png(path, compose(store.tile_records(strip_id), strip.rows, strip.columns, pitch_px))


def _walk(
    config: Config,
    updates: Updates,
    models: Mapping[Task, Model],
    tiles: TileGrid,
    found: MemoryPlan,
    source: StripSource,
    store: SqliteProductStore,
    log: Log,
    board: LinuxBoard,
) -> list[dict[str, object]]:
    """The strip through the networks, and what its devices did; all it held is free again."""
    strip = source.info
    areas = load_areas(config)
    model_sha256: dict[Task, str] = {}
    chains: list[EngineChain] = []

    def engine_of(models: Mapping[Task, Model]) -> Engine:
        """The engine of these models; the strip's products are theirs from now on."""
        model_sha256.update({task: model.manifest.sha256 for task, model in models.items()})
        begin_strip(store, strip, config, model_sha256, areas, updates, log.telemetry)
        if not chains and updates.count_starts():
            return engine_of(load_models(config, updates)[0])
        chains.append(build_chain(config, models, tiles, found, log.telemetry))
        chains[-1].begin(config.engine.start_wait_s)
        return chains[-1]

    engine = TrialEngine(engine_of(models), updates.slots, lambda: engine_of(load_models(config, updates)[0]))
    try:
        queue = resume_queue(config, store, log.telemetry)
        maker = ProductMaker(strip, config, model_sha256, areas)
        walk = StripWalk(
            config,
            tiles,
            found.slots,
            source,
            engine,
            arithmetic_of(config, tiles),
            store,
            queue,
            maker,
            log.telemetry,
            board,
        )
        line = ProgressLine(found.budget_bytes)

        def scrub() -> None:
            """A trial may have ended since, and another chain be at work."""
            updates.scrub()
            chains[-1].scrub()

        scrubbing = Scrubbing(config.updates.scrub_period_s, SystemClock(), scrub)

        def watch(progress: Progress) -> None:
            scrubbing.poll()
            log.flush()
            line.show(progress)

        try:
            walk.process(watch)
        except EngineLostError as error:
            if error.fault is not EngineFault.LATE:
                raise
            raise EngineLostError(f"{error}: {chains[-1].standings()}", error.fault) from error
        log.flush()
        return chains[-1].facts()
    finally:
        engine.close()


def contact(arguments: argparse.Namespace) -> None:
    """`payload contact`: one ground pass from the queue into a folder."""
    path = _existing_queue(arguments.out)
    with opened_log(arguments.out / LOG_FILE, echo=False) as log:
        report = _contact(arguments, path, log)
    if arguments.json:
        say(json.dumps(asdict(report), indent=2))
    else:
        say(contact_summary(report, arguments.to))
    if report.broken:
        raise LinkError(report.broken)


def _contact(arguments: argparse.Namespace, path: Path, log: Log) -> ContactReport:
    window = Contact(SystemClock().utc_ns(), arguments.duration_s, arguments.rate_bit_s)
    ageing = _ageing_of(arguments)
    store = SqliteProductStore(path, roles=(Role.SENDER,))
    try:
        log.telemetry.event(
            "contact_started",
            rate_bit_s=window.rate_bit_s,
            duration_s=window.duration_s,
            capacity_bytes=window.capacity_bytes,
        )
        queue = _everything(store)
        found = run_contact(store, queue, FolderLink(arguments.to, window), window, ageing)
    finally:
        store.close()
    for product_id in found.damaged:
        log.telemetry.event("product_damaged", product_id=product_id)
    for product_id in found.refused:
        log.telemetry.event("product_unacknowledged", product_id=product_id)
    log.telemetry.set("sent_products", len(found.sent))
    log.telemetry.set("sent_bytes", found.sent_bytes)
    log.telemetry.event("contact_finished", sent_products=len(found.sent), sent_bytes=found.sent_bytes)
    log.flush()
    return found


def queue(arguments: argparse.Namespace) -> None:
    """`payload queue`: what waits, in the order in which one pass would carry it all, with the reason."""
    ageing = _ageing_of(arguments)
    store = SqliteProductStore(_existing_queue(arguments.out), read_only=True)
    try:
        entries = tuple(store.entries())
    finally:
        store.close()
    total = sum(entry.size_bytes for entry in entries)
    waiting = pass_order(entries, total, SystemClock().utc_ns(), ageing)
    limit = arguments.limit if arguments.limit is not None else 0 if arguments.json else _LINES_SHOWN
    shown = waiting[:limit] if limit else waiting
    if arguments.json:
        say(json.dumps([entry_facts(entry) for entry in shown], indent=2))
        return
    say(queue_table(shown))
    say(f"{len(waiting)} products wait with {total} bytes; {len(shown)} shown")


def _ageing_of(arguments: argparse.Namespace) -> AgeingConfig | None:
    return None if arguments.config is None else load_config(arguments.config).ageing


def _everything(store: SqliteProductStore) -> DownlinkQueue:
    """All that waits in ``store``, whatever capacity it was made with."""
    entries = tuple(store.entries())
    return DownlinkQueue(sum(entry.size_bytes for entry in entries), len(entries), entries)


def _existing_queue(out: Path) -> Path:
    path: Path = out / QUEUE_FILE
    if not path.is_file():
        raise StoreError(f"{path}: there is no queue; `payload run STRIP --out {out}` makes one")
    return path


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    partial = path.with_suffix(".part")
    try:
        partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot write the report: {error.strerror}") from error


def devices(arguments: argparse.Namespace) -> None:
    """`payload devices`: every engine of the board, started and asked.

    Raises:
        EngineLostError: a task has no engine that answered.
    """
    if arguments.telemetry_to is not None:
        die_with_parent()
    config = load_board(arguments.config, None)
    models, tiles = load_models(config)
    found = look_at_devices(config, models, tiles)
    if arguments.json:
        say(json.dumps(found, indent=2))
    else:
        for row in found:
            say(f"{row['engine']} ({row['tasks']}): {row['state']}\n  {row['what']}")
            if row["to do"]:
                say(f"  to do: {row['to do']}")
    served = {task for row in found if row["state"] == "ready" for task in row["tasks"].split(", ")}
    left = [task.value for task in Task if task.value not in served]
    if left:
        raise EngineLostError(f"no engine serves {' and '.join(left)}")


COMMANDS = {"devices": devices, "plan": plan, "run": run, "contact": contact, "queue": queue}
