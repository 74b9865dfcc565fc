"""Rounds of all rows, one after the other, each in a fresh process.

Rules:
    every round measures every row once, so that a slow minute of the machine meets all rows
    a row that failed or was left out is missing from the table, never guessed
    skysift_networks_only runs as many scene and surface tiles as skysift_raw did
    our strip lies in the page cache, as the peer's tiles lie in memory: no row pays for a cold disk
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from payload.types import Task
from tools.bench.processes import ChildError, ChildResult, run_python
from tools.bench.table import Sample
from tools.bench.timing import Cost

FULL_TILE_PX = 10980 * 10980
PEER_TILE_PX = 512 * 512
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a campaign measures, and how often.

    Attributes:
        folder: where it may write; the INT8 networks of the peer and the runs' outputs.
        config: the board's configuration that our rows run with.
        raw, safe: the strip as a raw line stream, and as a SAFE (None leaves the row out).
        strip_px: rows x columns of that strip on the 10 m grid.
        rounds: how many times everything is measured.
        repeats: timed repetitions of one forward pass within a process; a tenth of it for torch.
    """

    folder: Path
    config: Path
    raw: Path
    safe: Path | None
    strip_px: int
    rounds: int
    repeats: int


@dataclass(frozen=True, slots=True)
class TileCounts:
    """How many tiles each network saw in one run of the strip."""

    scene: int
    surface: int


@dataclass(slots=True)
class Measured:
    """What a campaign found: samples, the tiles of our runs, and what went wrong."""

    samples: list[Sample] = field(default_factory=list)
    counts: TileCounts = TileCounts(0, 0)
    failures: list[str] = field(default_factory=list)


def measure(campaign: Campaign, tell: Callable[[str], None]) -> Measured:
    """All samples of all rounds; a process that ends with an error leaves none."""
    found = Measured()
    for number in range(1, campaign.rounds + 1):
        for step, work in _steps(campaign).items():
            start = time.perf_counter()
            try:
                made, counts = work(found.counts)
            except ChildError as error:
                found.failures.append(f"{step}: {error}")
                tell(f"round {number}/{campaign.rounds} {step}: FAILED")
                continue
            found.counts = counts or found.counts
            found.samples += made
            told = ", ".join(f"{sample.cpu_s:.1f} CPU s" for sample in made)
            tell(f"round {number}/{campaign.rounds} {step}: {told} ({time.perf_counter() - start:.0f} s)")
    return found


_Made = tuple[list[Sample], TileCounts | None]


def _steps(campaign: Campaign) -> Mapping[str, Callable[[TileCounts], _Made]]:
    """The processes of one round by name, in order; each gets the tile counts so far."""
    steps: dict[str, Callable[[TileCounts], _Made]] = {
        "dtacsnet_torch_fp32": lambda _: (list(_torch(campaign, threads=1)), None),
        "dtacsnet_openvino_int8": lambda _: (list(_openvino(campaign, threads=1)), None),
        "skysift_raw": lambda _: _run("skysift_raw", campaign, campaign.raw),
    }
    if campaign.safe is not None:
        safe = campaign.safe
        steps["skysift_jp2"] = lambda _: (_run("skysift_jp2", campaign, safe)[0], None)
    steps |= {
        "skysift_networks_only": lambda counts: (list(_networks(campaign, counts, with_halo=True)), None),
        "skysift_networks_only_no_halo": lambda counts: (
            list(_networks(campaign, counts, with_halo=False)),
            None,
        ),
        "dtacsnet_torch_fp32_2_threads": lambda _: (list(_torch(campaign, threads=2)), None),
        "dtacsnet_openvino_int8_2_threads": lambda _: (list(_openvino(campaign, threads=2)), None),
    }
    return steps


def _child(row: str, settings: Mapping[str, Any]) -> tuple[dict[str, Cost], int]:
    """Costs by part, and the child's own peak."""
    answer = run_python(["-m", "tools.bench.child", row, json.dumps(settings)]).answer
    return {name: Cost(**cost) for name, cost in answer["costs"].items()}, answer["peak_bytes"]


def _torch(campaign: Campaign, threads: int) -> Iterator[Sample]:
    costs, peak_bytes = _child("torch", {"threads": threads, "repeats": max(1, campaign.repeats // 10)})
    name = "dtacsnet_torch_fp32" + _threads_suffix(threads)
    yield _peer_sample(name, costs["scene"].plus(costs["surface"]), peak_bytes)
    if threads == 1:
        yield _peer_sample(name + "_with_outputs", costs["with_outputs"], peak_bytes)


def _openvino(campaign: Campaign, threads: int) -> Iterator[Sample]:
    settings = {"folder": str(campaign.folder), "threads": threads, "repeats": campaign.repeats}
    costs, peak_bytes = _child("openvino", settings)
    name = "dtacsnet_openvino_int8" + _threads_suffix(threads)
    yield _peer_sample(name, costs["scene"].plus(costs["surface"]), peak_bytes)


def _threads_suffix(threads: int) -> str:
    return "" if threads == 1 else f"_{threads}_threads"


def _peer_sample(name: str, tile: Cost, peak_bytes: int) -> Sample:
    scale = FULL_TILE_PX / PEER_TILE_PX
    return Sample(name, tile.cpu_s * scale, tile.wall_s * scale, peak_bytes, scale)


def _networks(campaign: Campaign, counts: TileCounts, *, with_halo: bool) -> Iterator[Sample]:
    settings = {"config": str(campaign.config), "repeats": campaign.repeats, "with_halo": with_halo}
    costs, peak_bytes = _child("networks", settings)
    strip = costs["scene"].times(counts.scene)
    strip = strip.plus(costs["surface"].plus(costs["inversion"]).times(counts.surface))
    scale = FULL_TILE_PX / campaign.strip_px
    name = "skysift_networks_only" if with_halo else "skysift_networks_only_no_halo"
    yield Sample(name, strip.cpu_s * scale, strip.wall_s * scale, peak_bytes, scale)


def _run(name: str, campaign: Campaign, strip: Path) -> _Made:
    """One `payload run`, start-up included; measured from outside, queue on the disk and all."""
    _read_once(strip)
    out = campaign.folder / "out" / name
    result, run = payload_run(strip, campaign.config, out)
    scale = FULL_TILE_PX / campaign.strip_px
    sample = Sample(
        name=name,
        cpu_s=result.cpu_s * scale,
        wall_s=result.wall_s * scale,
        peak_bytes=max(result.peak_bytes, int(run["peak_bytes"])),
        scale=scale,
    )
    return [sample], tiles_of(run)


def _read_once(strip: Path) -> None:
    """All of a strip's files; of a raw line stream, ``strip`` is the header, the stream lies beside it."""
    for path in strip.rglob("*") if strip.is_dir() else strip.parent.glob(f"{strip.stem}.*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(_READ_BYTES):
                    pass


def tiles_of(run: Mapping[str, Any]) -> TileCounts:
    """How often each task ran, from run.json: by task, the tiles of each engine."""
    engines = run["engines"]
    return TileCounts(*(sum(engines.get(task.value, {}).values()) for task in (Task.SCENE, Task.SURFACE)))


def payload_run(
    strip: Path, config: Path, out: Path, budget_bytes: int | None = None
) -> tuple[ChildResult, dict[str, Any]]:
    """A `payload run` into an empty folder: what it took, and its run.json.

    Raises:
        ChildError: it did not end well.
    """
    shutil.rmtree(out, ignore_errors=True)
    arguments = ["-m", "payload", "run", str(strip), "--config", str(config), "--out", str(out), "--json"]
    if budget_bytes is not None:
        arguments += ["--budget-bytes", str(budget_bytes)]
    result = run_python(arguments)
    run: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return result, run
