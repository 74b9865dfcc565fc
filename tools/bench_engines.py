"""What each engine takes for one tile, in fresh processes; the child's protocol, loss and return.

    python -m tools.bench_engines            (make bench-engines)

Windows are 528 x 480 px, scaled to 512 x 512. Processor and wall ms are medians with one thread;
fps with 1 and 2 threads are tiles a second of one request after the other. Load is cold (first in
its process) and warm (again in the same). Float16 is SIMULATED and says nothing of a Myriad's
speed. DTACSNet's networks stand beside ours where the extra 'bench' is installed.
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

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WINDOW_PX = (528, 480)
SCALE = 512 * 512 / (WINDOW_PX[0] * WINDOW_PX[1])
REPEATS = 30
OURS = ("openvino int8", "openvino float32", "float16 SIMULATED")
PEERS = ("DTACSNet float32 torch", "DTACSNet int8 openvino")
TASKS = ("scene", "surface")
FOLDER_OF_TASK = {"scene": "scene_s2_v2", "surface": "surface_s2_v3"}


def _model_of(row: str, task: str) -> Any:
    from payload.drivers.openvino_lean import ov
    from tools.halves import simulate_halves
    from tools.stand_in import read_codes

    folder, core = ROOT / "models" / FOLDER_OF_TASK[task], ov.Core()
    if row == "openvino int8":
        return core.read_model(folder / "openvino_int8.xml")
    if row == "openvino float32":
        return read_codes(core.read_model(folder / "fp32.onnx"))
    return read_codes(simulate_halves(core.read_model(folder / "myriad_fp16.xml")))


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


def measure_ours(row: str, task: str) -> dict[str, float]:
    """One network of ours in this process, which must be fresh."""
    from payload.drivers.engine_openvino import compile_for_window
    from payload.drivers.network import GEOMETRY
    from payload.drivers.openvino_lean import ov
    from tools.bench.timing import own_peak_bytes

    def load(threads: int) -> Any:
        core = ov.Core()
        compiled = compile_for_window(core, _model_of(row, task), *WINDOW_PX, 1, threads)
        request = compiled.create_infer_request()
        for port in compiled.inputs:
            kind = np.float32 if GEOMETRY in port.get_names() else np.uint8
            codes = np.random.default_rng(0).integers(0, 256, list(port.shape))
            request.set_tensor(port, ov.Tensor(codes.astype(kind)))
        return request

    began_s = time.perf_counter()
    request = load(1)
    cold_s = time.perf_counter() - began_s
    cpu_s, wall_s = _timed(request.infer, REPEATS)
    peak = own_peak_bytes()
    began_s = time.perf_counter()
    two = load(2)
    warm_s = time.perf_counter() - began_s
    _, wall_2_s = _timed(two.infer, REPEATS)
    return {
        "cpu_ms": cpu_s * SCALE * 1e3,
        "wall_ms": wall_s * SCALE * 1e3,
        "fps_1": 1 / (wall_s * SCALE),
        "fps_2": 1 / (wall_2_s * SCALE),
        "peak_mib": peak / 2**20,
        "cold_s": cold_s,
        "warm_s": warm_s,
    }


def measure_peer(row: str) -> dict[str, dict[str, float]]:
    """DTACSNet's two networks, one thread."""
    from tools.bench.peer_rows import openvino_cost, torch_cost, write_int8_networks

    if "torch" in row:
        costs = torch_cost(1, 5)
    else:
        folder = ROOT / "build" / "bench"
        if not (folder / "dtacsnet_scene_int8.xml").exists():
            write_int8_networks(folder)
        costs = openvino_cost(folder, 1, 10)
    return {
        task: {
            "cpu_ms": costs[task].cpu_s * 1e3,
            "wall_ms": costs[task].wall_s * 1e3,
            "fps_1": 1 / costs[task].wall_s,
        }
        for task in TASKS
    }


def measure_child() -> dict[str, float]:
    """The protocol's cost per tile, how soon a killed child is noticed, and when it is back."""
    from payload.core.probe import probe_tile
    from payload.drivers.engine_openvino import OpenVinoEngine
    from payload.drivers.engine_process import ProcessEngine, WorkerSpec
    from payload.drivers.network import Network
    from payload.types import Precision, Target, Task, TileGrid

    tiles = TileGrid(WINDOW_PX[0] - 144, WINDOW_PX[1] - 144, 72)
    tile = probe_tile(tiles)
    networks = []
    for task in Task:
        files = (ROOT / "models" / FOLDER_OF_TASK[task.value]).glob("openvino_int8.*")
        content = {path.name: path.read_bytes() for path in files}
        networks.append(Network(task, task.value, "0" * 64, Precision.INT8, content))
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
    weight = child.resident_bytes()
    noticed, back = _kills(child, lambda: once(child), tile)
    child.close()
    return {
        "overhead_ms": statistics.median(overhead[3:]) * SCALE * 1e3,
        "noticed_ms": max(noticed) * 1e3,
        "back_s": statistics.median(back),
        "back_worst_s": max(back),
        "child_mib": weight / 2**20,
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
    more = (
        f"{found['fps_2']:6.1f}   {found['peak_mib']:5.0f}   {found['cold_s']:5.2f}  {found['warm_s']:5.2f}"
        if "fps_2" in found
        else ""
    )
    print(
        f"{row:24} {task:8} {found['cpu_ms']:8.1f} {found['wall_ms']:8.1f}  {found['fps_1']:6.1f}  {more}",
        flush=True,
    )


def report() -> dict[str, Any]:
    """Measure and print every row."""
    heads = f"{'cpu ms':>8} {'wall ms':>8}   fps 1   fps 2  peak MiB  cold s warm s"
    print(f"{'per 512 x 512 tile':24} {'network':8} {heads}")
    found: dict[str, Any] = {}
    for row in OURS:
        for task in TASKS:
            found[f"{row} {task}"] = _in_fresh_process(row, task)
            _show(row, task, found[f"{row} {task}"])
    if all(importlib.util.find_spec(name) for name in ("torch", "segmentation_models_pytorch", "nncf")):
        for row in PEERS:
            for task, cost in _in_fresh_process(row).items():
                found[f"{row} {task}"] = cost
                _show(row, task, cost)
    else:
        print("DTACSNet's networks: not measured, the extra 'bench' is not installed")
    for task in TASKS:
        ratio = found[f"openvino float32 {task}"]["cpu_ms"] / found[f"openvino int8 {task}"]["cpu_ms"]
        found[f"int8 gain {task}"] = ratio
        print(f"INT8 over float32, {task}: {ratio:.2f} times")
    child = found["child"] = _in_fresh_process("child")
    print(f"child process: {child['overhead_ms']:.2f} ms more a tile; {child['child_mib']:.0f} MiB with both")
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
        found = measure_child() if row == "child" else measure_ours(row, *task) if task else measure_peer(row)
        print(json.dumps(found))
        return 0
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(report(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
