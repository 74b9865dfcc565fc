"""`payload install` and `payload models`: new weights, and what has become of them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager

from payload.config import Config, load_config, parse_address
from payload.core.scrub import seal_bytes
from payload.core.signed import Root
from payload.core.slots import WRITABLE, SlotName
from payload.core.telemetry import Telemetry
from payload.drivers.strip_child import TelemetryPipe, die_with_parent
from payload.errors import ConfigError, TrustError
from payload.install import RECORDS_BYTES
from payload.logbook import Log, opened_log
from payload.reception import TRANSFERS_MAX, Reception, receive_folder, receive_link
from payload.terminal import say, table
from payload.twin_files import COPIES
from payload.types import Task
from payload.updates import Updates

LOG_FILE = "telemetry.jsonl"
RECEIVED = "received"


def install(arguments: argparse.Namespace) -> None:
    """`payload install`: a package, delta or root file from the ground is in force."""
    config = load_config(arguments.config)
    if not (arguments.settle or arguments.package.is_file()):
        raise ConfigError(f"{arguments.package}: there is no such file")
    with _log_of(arguments, config, arguments.echo) as log:
        updates = Updates(config, log.telemetry)
        found = (updates.settle if arguments.settle else updates.install)(arguments.package)
        log.flush()
    if isinstance(found, Root):
        facts: dict[str, object] = {"root_version": found.version, "threshold": found.threshold}
        line = f"root version {found.version}: {found.threshold} of {len(found.keys)} keys sign from now on"
    else:
        facts = {
            "task": found.task.value,
            "model": found.model,
            "version": found.version,
            "slot": found.slot,
            "package_sha256": found.package_sha256,
        }
        line = (
            f"{found.model} version {found.version} is in slot {found.slot}: it runs from the next strip on, "
            f"on trial for {config.updates.trial_tiles} tiles"
        )
    say(json.dumps(facts, indent=2) if arguments.json else line)


def models(arguments: argparse.Namespace) -> None:
    """`payload models`: slots, versions, states, hashes and the progress of a trial."""
    config = load_config(arguments.config)
    lost: list[str] = []
    if arguments.revert or arguments.scrub:
        with _log_of(arguments, config, echo=False) as log:
            changing = Updates(config, log.telemetry)
            if arguments.revert:
                changing.revert(Task(arguments.revert))
            lost = changing.scrub() if arguments.scrub else []
            log.flush()
    updates = Updates(config, Telemetry())
    if arguments.json:
        say(json.dumps(_facts(updates, config), indent=2))
    else:
        _print_models(updates, config)
    if lost:
        raise TrustError(f"damaged in both copies, and no model any more: {', '.join(lost)}")


def _print_models(updates: Updates, config: Config) -> None:
    rows: list[tuple[str, ...]] = [
        ("task", "slot", "runs", "state", "model", "version", "index", "bytes", "sha256", "trial")
    ]
    rows += list(_rows(updates, config))
    say(table(rows, numeric=(5, 6, 7)))
    for task, slots in updates.slots.items():
        say(f"{task.value}: rollback index {slots.record.rollback_index} reached")
    root = updates.root()
    say(f"root: version {root.version}, {root.threshold} of {len(root.keys)} keys" if root else "root: none")
    say(
        f"disk: {planned_disk_bytes(config)} bytes at most for slots, copies, records and transfers, in "
        f"{config.folder(config.updates.slots)}"
    )
    say(
        f"disk: {planned_uplink_bytes(config)} bytes at most for files that come up by CFDP at one time, in "
        f"{config.folder(config.downlink.uplink)} and beside the service's state"
    )


def planned_disk_bytes(config: Config) -> int:
    """The most that all slots of all tasks may take on the disk, one package being mended and
    the files on their way from the ground included."""
    package_bytes = config.updates.package_max_bytes
    copies = len(Task) * len(WRITABLE) * len(COPIES) + 1
    slots_bytes = copies * (package_bytes + seal_bytes(package_bytes)) + len(Task) * RECORDS_BYTES
    return slots_bytes + TRANSFERS_MAX * 2 * package_bytes


def planned_uplink_bytes(config: Config) -> int:
    """The most that files on their way by CFDP may take; what has arrived stays until it is removed."""
    return config.downlink.open_files * config.downlink.uplink_max_bytes


def _rows(updates: Updates, config: Config) -> Iterator[tuple[str, ...]]:
    for task, slots in updates.slots.items():
        record = slots.record
        for name in WRITABLE:
            slot = record.slots[name]
            runs = "runs" if record.active is name else "last good" if record.last_good is name else ""
            trial = ""
            if record.is_trial and record.active is name:
                trial = (
                    f"{record.trial_tiles} of {config.updates.trial_tiles} tiles, {record.trial_faults} bad, "
                    f"{record.trial_boots} starts without one"
                )
            yield (
                task.value,
                name.value,
                runs,
                slot.state.value,
                slot.model,
                str(slot.version or ""),
                str(slot.rollback_index or ""),
                str(slot.size_bytes or ""),
                slot.package_sha256[:12],
                trial,
            )
        runs = "runs" if record.active is SlotName.FACTORY else ""
        manifest = updates.readable_factory(task)
        if manifest is None:
            yield (task.value, "factory", runs, "damaged", "", "", "", "", "", "")
            continue
        row = (task.value, "factory", runs, "good", manifest.name, str(manifest.version))
        yield (*row, "", "", manifest.sha256[:12], "")


def _facts(updates: Updates, config: Config) -> dict[str, object]:
    tasks = {}
    for task, slots in updates.slots.items():
        record = slots.record
        tasks[task.value] = {
            "active": record.active.value,
            "last_good": record.last_good.value,
            "rollback_index": record.rollback_index,
            "is_trial": record.is_trial,
            "trial_tiles": record.trial_tiles,
            "trial_faults": record.trial_faults,
            "trial_boots": record.trial_boots,
            "slots": {
                name.value: {
                    "state": slot.state.value,
                    "model": slot.model,
                    "version": slot.version,
                    "rollback_index": slot.rollback_index,
                    "size_bytes": slot.size_bytes,
                    "package_sha256": slot.package_sha256,
                }
                for name, slot in record.slots.items()
            },
        }
    root = updates.root()
    return {
        "tasks": tasks,
        "root_version": root.version if root else None,
        "planned_disk_bytes": planned_disk_bytes(config),
        "planned_uplink_bytes": planned_uplink_bytes(config),
    }


def _log_of(arguments: argparse.Namespace, config: Config, echo: bool) -> AbstractContextManager[Log]:
    if arguments.telemetry_to is None:
        return opened_log(config.folder(config.updates.slots) / LOG_FILE, echo)
    die_with_parent()
    return opened_log(TelemetryPipe(arguments.telemetry_to), echo)


def receive(arguments: argparse.Namespace) -> None:
    """`payload receive`: chunks of updates become files; what has come stays over resets and passes."""
    config = load_config(arguments.config)
    folder = config.folder(config.updates.slots) / RECEIVED
    with opened_log(config.folder(config.updates.slots) / LOG_FILE, echo=False) as log:
        reception = Reception(folder, config.updates.package_max_bytes, log.telemetry)
        try:
            if arguments.drop:
                found = receive_folder(reception, arguments.drop, log.telemetry)
            else:
                address = parse_address(arguments.udp)
                if address is None:
                    raise ConfigError("--udp none: nothing to listen to")
                found = receive_link(reception, address, arguments.for_s, log.telemetry)
        finally:
            reception.close()
            log.flush()
        refused = log.telemetry.counts.get("chunk_refused", 0)
    if arguments.json:
        say(json.dumps({"received": [str(path) for path in found], "refused_chunks": refused}, indent=2))
        return
    for path in found:
        say(f"{path}: whole; payload install {path} --config {arguments.config}")
    waiting = len(list(folder.glob("*.part")))
    say(f"{len(found)} files whole, {waiting} still on their way, {refused} chunks refused")


COMMANDS = {"install": install, "models": models, "receive": receive}
