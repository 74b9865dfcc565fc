"""The devices of a board: built from its configuration, put in their order, and looked at."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from payload.assembly import Model
from payload.config import Config
from payload.config.engines import EngineKind
from payload.core.engine_chain import EngineChain
from payload.core.engine_posts import Link
from payload.core.memory import child_term_name
from payload.core.probe import Disagreement, disagreement, probe_tile, sample_of
from payload.core.telemetry import Telemetry
from payload.drivers.board import SystemClock
from payload.drivers.engine_inside import InsideEngine
from payload.drivers.engine_litert import LiteRtEngine
from payload.drivers.engine_process import ProcessEngine
from payload.drivers.network import Network
from payload.errors import EngineFault, EngineLostError, EngineOutputError
from payload.ports import Device, Engine
from payload.types import MemoryPlan, Task, TileGrid
from payload.workers import network_files, worker_spec

_SAME = Disagreement(0.0, 0.0)


def build_chain(
    config: Config,
    models: Mapping[Task, Model],
    tiles: TileGrid,
    found: MemoryPlan,
    telemetry: Telemetry,
) -> EngineChain:
    """The devices that the plan has room for, in their order; none is started yet."""
    planned = {term.name for term in found.terms}
    links: dict[EngineKind, Link] = {}
    for kind in config.engine.in_use():
        if config.engine.child(kind) is not None and child_term_name(kind) not in planned:
            telemetry.event("engine_no_room", device=kind.value, size_bytes=found.budget_bytes)
            continue
        device = build_device(kind, config, models, tiles, found.slots)
        permitted = {task: _permitted(kind, config, models[task]) for task in config.engine.tasks_of(kind)}
        links[kind] = Link(device, permitted, kind is EngineKind.STAND_IN)
    order = {task: [links[kind] for kind in config.engine.order(task) if kind in links] for task in Task}
    return EngineChain(
        order, tiles, found.slots, config.engine.failover, SystemClock(), time.sleep, telemetry
    )


def build_device(
    kind: EngineKind, config: Config, models: Mapping[Task, Model], tiles: TileGrid, slots: int
) -> Device:
    """One engine, in this process or in one of its own; not started."""
    window_px = tiles.window_rows_px, tiles.window_columns_px
    threads = config.engine.threads

    def networks() -> list[Network]:
        return [network_of(kind, config, models[task], window_px) for task in config.engine.tasks_of(kind)]

    def inside() -> Engine:
        if kind is EngineKind.LITERT:
            return LiteRtEngine(networks(), tiles, slots, threads)
        # Its runtime is large, and not every board has it: as in `assembly.compiled_arithmetic`.
        from payload.drivers.engine_openvino import OpenVinoEngine

        return OpenVinoEngine(networks(), tiles, slots, threads)

    if config.engine.child(kind) is None:
        return InsideEngine(kind.value, slots, inside)
    try:
        return ProcessEngine(worker_spec(kind, config), networks(), tiles, slots)
    except EngineLostError:
        return InsideEngine(kind.value, slots, inside)  # tells what is missing when it is started


def network_of(kind: EngineKind, config: Config, model: Model, window_px: tuple[int, int]) -> Network:
    """The verified files of ``model`` that ``kind`` runs on windows of ``window_px``.

    Raises:
        EngineLostError: the model has nothing for it.
        TrustError: a file is not what the manifest says.
    """
    manifest, target = model.manifest, config.engine.target(kind)
    artifact = model.artifact_for(target)
    if artifact is not None:
        files = network_files(artifact, model.verified_files(artifact), window_px)
        if files:
            return Network(manifest.task, manifest.name, manifest.sha256, artifact.precision, files)
    size = "{}x{}".format(*window_px)
    raise EngineLostError(
        f"{manifest.name} has no artifact for {target.value} and windows of {size} px; "
        "`python -m tools.export` makes it",
        EngineFault.BAD_NETWORK,
    )


def _permitted(kind: EngineKind, config: Config, model: Model) -> Disagreement:
    """Each artifact may differ from float32 by so much; two of them from each other by the sum."""
    found = model.artifact_for(config.engine.target(kind))
    if found is None or found is model.artifact:
        return _SAME
    sides = [side.disagreement or _SAME for side in (found, model.artifact)]
    return Disagreement(sum(side.class_ratio for side in sides), sum(side.reflectance_dn for side in sides))


def look_at_devices(config: Config, models: Mapping[Task, Model], tiles: TileGrid) -> list[dict[str, str]]:
    """Every engine of the configuration, started and asked: what it is, or why a run would not use it.

    As in a run, the last engine of each task is the reference, so that those are asked first.
    """
    kinds = config.engine.in_use()
    expected: dict[Task, NDArray[Any]] = {}
    references = [config.engine.order(task)[-1] for task in Task]
    rows: dict[EngineKind, dict[str, str]] = {}
    for kind in sorted(kinds, key=lambda kind: kind not in references):
        device = build_device(kind, config, models, tiles, 1)
        tasks = config.engine.tasks_of(kind)
        row = {"engine": kind.value, "tasks": ", ".join(task.value for task in tasks)}
        row |= {"state": "ready", "what": "", "to do": ""}
        try:
            _start(device)
            answers = [_asked(device, task, tiles) for task in tasks]
            row["what"] = "; ".join(answer.line for answer in answers)
            for task, answer in zip(tasks, answers, strict=True):
                if kind is config.engine.order(task)[-1]:
                    expected[task] = answer.sample
                elif task in expected:
                    _compare(device, task, expected[task], answer, _permitted(kind, config, models[task]))
            hottest_degc = max((answer.degc for answer in answers if answer.degc is not None), default=None)
            if hottest_degc is not None and hottest_degc >= config.engine.failover.hot_degc:
                row |= {"state": "hot", "what": f"too hot: {hottest_degc:g} degC", "to do": "let it cool"}
        except EngineLostError as error:
            to_do = remedy(error.fault, kind, config)
            row |= {"state": error.fault.value, "what": str(error), "to do": to_do}
        except EngineOutputError as error:
            row |= {"state": "wrong", "what": str(error), "to do": REMEDIES[EngineFault.FAILED]}
        finally:
            device.close()
        rows[kind] = row
    return [rows[kind] for kind in kinds]


@dataclass(frozen=True, slots=True)
class _Answer:
    """To the known tile: the device's own name for itself, what is compared, and how warm it was."""

    index: int
    line: str
    sample: NDArray[Any]
    degc: float | None


def _start(device: Device) -> None:
    device.start()
    while not device.is_ready():
        time.sleep(0.02)


def _asked(device: Device, task: Task, tiles: TileGrid) -> _Answer:
    """What a device that is ready makes of the known tile.

    Raises:
        EngineLostError, EngineOutputError: nothing, or nothing that can be right.
    """
    began_s = time.monotonic()
    device.submit(task, probe_tile(tiles))
    answer = device.collect(_PATIENCE_S)
    if answer is None:
        raise EngineLostError(f"{device.name}: no answer within {_PATIENCE_S:g} s", EngineFault.LATE)
    line = f"{answer.engine.line} in {(time.monotonic() - began_s) * 1e3:.0f} ms"
    return _Answer(answer.index, line, sample_of(task, answer.output), device.temperature_degc())


def _compare(
    device: Device, task: Task, expected: NDArray[Any], answer: _Answer, permitted: Disagreement
) -> None:
    """Returns if the answer is the reference's, within what is permitted.

    Raises:
        EngineOutputError: it is not.
    """
    found = disagreement(task, expected, answer.sample)
    if not found.is_within(permitted):
        raise EngineOutputError(f"{device.name}: the known tile came back wrong: {found}", answer.index)


def remedy(fault: EngineFault, kind: EngineKind, config: Config) -> str:
    """What a person can do about ``fault`` of that engine."""
    if fault is not EngineFault.NO_RUNTIME or kind is not EngineKind.LITERT:
        return REMEDIES[fault]
    child = config.engine.litert
    if child is None or child.python == "this":
        return "install the extra 'litert': .venv/bin/python -m pip install -e '.[litert]'"
    return f"{REMEDIES[fault]} --runtime tflite-runtime"


_PATIENCE_S = 60.0

REMEDIES = {
    EngineFault.DIED: "look at its last words; a device reset or power cycle may help",
    EngineFault.LATE: "reset or power-cycle the device; raise start_s or deadline_s if it is only slow",
    EngineFault.MEMORY: "raise its memory_bytes, if the plan allows",
    EngineFault.FAILED: "reset or power-cycle the device; USB 3 and a short cable help",
    EngineFault.BAD_NETWORK: "make its artifact again: python -m tools.export",
    EngineFault.NO_PYTHON: "python -m tools.make_myriad_env DIR, and set its path in the configuration",
    EngineFault.NO_RUNTIME: "install the runtime into that interpreter: python -m tools.make_myriad_env DIR",
    EngineFault.NO_LIBUSB: "install libusb-1.0-0 (a container needs it too)",
    EngineFault.NO_DEVICE: "plug it in or power it; a container needs /dev/bus/usb and cgroup c 189:* rmw",
    EngineFault.NO_PERMISSION: "a udev rule for vendor 03e7, or membership of its group",
    EngineFault.MUTEX_TAKEN: "end the other user's process and remove /tmp/mvnc.mutex, or run as that user",
}
"""What a person can do about each fault, whatever the engine."""
