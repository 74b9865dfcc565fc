"""What each engine takes for one tile, in fresh processes; the child's protocol, loss and return.

    python -m tools.bench_engines            (make bench-engines)

Windows are 528 x 480 px, scaled to 512 x 512. Processor and wall ms are medians with one thread;
fps with 1 and 2 threads are tiles a second of one request after the other. Load is cold (first in
its process) and warm (again in the same). Float16 is SIMULATED and says nothing of a Myriad's
speed. LiteRT is measured where the extra 'litert' is installed, DTACSNet's networks (random weights,
their published architecture, 512 x 512) where 'bench' is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.bench.engine_loads import FOLDER_OF_TASK, PEER_FOLDER, ROOT, WINDOW_PX, load, write_litert

SCALE = 512 * 512 / (WINDOW_PX[0] * WINDOW_PX[1])
REPEATS = 30
OURS = ("openvino int8", "openvino float32", "float16 SIMULATED")
LITERT = "litert int8"
PEERS = ("DTACSNet float32 torch", "DTACSNet int8 openvino")
TASKS = ("scene", "surface")
NEEDED = {
    LITERT: ("ai_edge_litert", "flatbuffers"),
    **dict.fromkeys(PEERS, ("torch", "segmentation_models_pytorch", "nncf")),
}
"""Modules without which a row cannot be measured."""


def _timed(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median processor and wall seconds of ``work``."""
    for _ in range(3):
        work()
    cpu, wall = [], []
    for _ in range(repeats):
        began = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - began[0])
        wall.append(time.perf_counter() - began[1])
    return statistics.median(cpu), statistics.median(wall)


def measure(row: str, task: str) -> dict[str, float]:
    """One network in this process, which must be fresh."""
    from tools.bench.timing import own_peak_bytes

    scale, repeats = (1.0, REPEATS // 3) if row in PEERS else (SCALE, REPEATS)
    began_s = time.perf_counter()
    once = load(row, task, 1)
    cold_s = time.perf_counter() - began_s
    cpu_s, wall_s = _timed(once, repeats)
    peak = own_peak_bytes()
    began_s = time.perf_counter()
    two = load(row, task, 2)
    warm_s = time.perf_counter() - began_s
    _, wall_2_s = _timed(two, repeats)
    return {
        "cpu_ms": cpu_s * scale * 1e3,
        "wall_ms": wall_s * scale * 1e3,
        "fps_1": 1 / (wall_s * scale),
        "fps_2": 1 / (wall_2_s * scale),
        "peak_mib": peak / 2**20,
        "cold_s": cold_s,
        "warm_s": warm_s,
    }


def measure_weights() -> dict[str, float]:
    """Resident MiB of a child after three tiles, with one INT8 network and with both."""
    from payload.core.probe import probe_tile
    from payload.drivers.engine_process import ProcessEngine, WorkerSpec
    from payload.types import Target, Task, TileGrid

    tiles = TileGrid(WINDOW_PX[0] - 144, WINDOW_PX[1] - 144, 72)
    found = {}
    for runtime, target in (("openvino", Target.CPU), ("litert", Target.TFLITE)):
        if runtime == "litert" and not _is_measurable(LITERT):
            continue
        for name, tasks in (("scene", [Task.SCENE]), ("both", list(Task))):
            spec = WorkerSpec(runtime, target, runtime, None, 1, 512 << 20, 60.0, 60.0)
            child = ProcessEngine(spec, [_network(task, runtime) for task in tasks], tiles, 1)
            child.start()
            child.wait_ready()
            for task in tasks * 3:
                child.submit(task, probe_tile(tiles))
                assert child.collect(60.0) is not None
            found[f"{runtime} {name}"] = child.resident_bytes() / 2**20
            child.close()
    return found


def _network(task: Any, runtime: str) -> Any:
    from payload.drivers.network import Network
    from payload.types import Precision

    folder = ROOT / "models" / FOLDER_OF_TASK[task.value]
    paths = [PEER_FOLDER / f"{task.value}.tflite"] if runtime == "litert" else folder.glob("openvino_int8.*")
    content = {path.name: path.read_bytes() for path in paths}
    return Network(task, task.value, "0" * 64, Precision.INT8, content)


def measure_child() -> dict[str, float]:
    """The protocol's cost per tile, how soon a killed child is noticed, and when it is back."""
    from payload.core.probe import probe_tile
    from payload.drivers.engine_openvino import OpenVinoEngine
    from payload.drivers.engine_process import ProcessEngine, WorkerSpec
    from payload.types import Target, Task, TileGrid

    tiles = TileGrid(WINDOW_PX[0] - 144, WINDOW_PX[1] - 144, 72)
    tile = probe_tile(tiles)
    networks = [_network(task, "openvino") for task in Task]
    inside = OpenVinoEngine(networks, tiles, 2, 1)
    child = ProcessEngine(
        WorkerSpec("child", Target.CPU, "openvino", None, 1, 512 << 20, 60.0, 60.0), networks, tiles, 2
    )
    child.start()
    child.wait_ready()

    def once(engine: Any) -> None:
        engine.submit(Task.SCENE, tile)
        assert engine.collect(60.0) is not None

    overhead = []
    for _ in range(REPEATS):  # in turns, so that what else the machine does meets both
        began_s = time.perf_counter()
        once(inside)
        middle_s = time.perf_counter()
        once(child)
        overhead.append(time.perf_counter() - middle_s - (middle_s - began_s))
    noticed, back = _kills(child, lambda: once(child), tile)
    child.close()
    return {
        "overhead_ms": statistics.median(overhead[3:]) * SCALE * 1e3,
        "noticed_ms": max(noticed) * 1e3,
        "back_s": statistics.median(back),
        "back_worst_s": max(back),
    }


def _kills(child: Any, once: Callable[[], None], tile: Any) -> tuple[list[float], list[float]]:
    """Seconds until each of seven kills was noticed, and until the child had answered again."""
    from payload.errors import EngineLostError
    from payload.types import Task

    noticed, back = [], []
    for _ in range(7):
        child.submit(Task.SCENE, tile)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        began_s = time.perf_counter()
        try:
            child.collect(60.0)
        except EngineLostError:
            noticed.append(time.perf_counter() - began_s)
        child.start()
        child.wait_ready()
        once()
        back.append(time.perf_counter() - began_s)
    return noticed, back


def _in_fresh_process(*words: str) -> Any:
    command = [sys.executable, "-m", "tools.bench_engines", "--measure", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _show(row: str, task: str, found: dict[str, float]) -> None:
    print(
        f"{row:24} {task:8} {found['cpu_ms']:8.1f} {found['wall_ms']:8.1f}  {found['fps_1']:6.1f}  "
        f"{found['fps_2']:6.1f}   {found['peak_mib']:5.0f}   {found['cold_s']:5.2f}  {found['warm_s']:5.2f}",
        flush=True,
    )


def _is_measurable(row: str) -> bool:
    return all(importlib.util.find_spec(name) for name in NEEDED.get(row, ()))


def _prepare(row: str) -> None:
    """The files that ``row`` reads are there; quantizing DTACSNet's networks takes minutes, once."""
    if row == LITERT:
        write_litert(PEER_FOLDER)
    if row == PEERS[1] and not (PEER_FOLDER / "dtacsnet_surface_int8.xml").exists():
        from tools.bench.peer_rows import write_int8_networks

        write_int8_networks(PEER_FOLDER)


def report() -> dict[str, Any]:
    """Measure and print every row."""
    heads = f"{'cpu ms':>8} {'wall ms':>8}   fps 1   fps 2  peak MiB  cold s warm s"
    print(f"{'per 512 x 512 tile':24} {'network':8} {heads}")
    found: dict[str, Any] = {}
    for row in (*OURS, LITERT, *PEERS):
        if not _is_measurable(row):
            print(f"{row:24} not measured: needs {', '.join(NEEDED[row])}")
            continue
        _prepare(row)
        for task in TASKS:
            found[f"{row} {task}"] = _in_fresh_process(row, task)
            _show(row, task, found[f"{row} {task}"])
    for task in TASKS:
        ratio = found[f"openvino float32 {task}"]["cpu_ms"] / found[f"openvino int8 {task}"]["cpu_ms"]
        found[f"int8 gain {task}"] = ratio
        print(f"INT8 over float32, {task}: {ratio:.2f} times")
    for name, mib in _in_fresh_process("weights").items():
        found[f"child MiB {name}"] = mib
        print(f"child process, INT8, {name}: {mib:.0f} MiB")
    child = found["child"] = _in_fresh_process("child")
    print(f"child process: {child['overhead_ms']:.2f} ms more a tile")
    print(
        f"killed: noticed within {child['noticed_ms']:.1f} ms, back in {child['back_s']:.2f} s "
        f"(worst {child['back_worst_s']:.2f} s)"
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench_engines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench_engines.json"), help="(%(default)s)")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        row, *task = asked.measure
        alone = {"child": measure_child, "weights": measure_weights}
        print(json.dumps(alone[row]() if row in alone else measure(row, *task)))
        return 0
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(report(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
