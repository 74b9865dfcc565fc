"""Asks the devices of a board for known answers, each in a process of its own, within its limits.

Rules:
1. Every device of the task's order is asked, the reference first. One that the board does not
   have now is not asked, and that is told; in flight it serves only once it has agreed with
   the reference on the tile of `core.probe`.
2. Known tiles are asked in their small window where the artifact serves it, as an IR does; a
   TFLite file is asked them in its own, which the package has for it. A blob is judged by rule 3
   alone. The reference is always asked: what the package says of a network is compared there.
3. Every device then does one window of flight size. The reference's answer to it is what the
   others are compared with, and they may be off by what the two artifacts' manifests permit.
4. Whoever is late, takes more memory than allowed, dies, or answers impossible numbers is lost
   or wrong, and with it the installation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.config import Config
from payload.config.engines import EngineKind
from payload.core.known_answer import KnownAnswers
from payload.core.manifest import Artifact
from payload.core.probe import Disagreement, disagreement
from payload.core.refusals import Refusal, refuse
from payload.drivers.board import peak_bytes_of
from payload.drivers.engine_process import ProcessEngine, WorkerSpec
from payload.drivers.network import Network
from payload.errors import EngineFault, EngineLostError, EngineOutputError
from payload.install import Answers, Asked, AskedDevice
from payload.types import Grid, Task, Tile, TileGrid, Window
from payload.workers import RUNTIMES, network_files, worker_spec

_NOTHING = Disagreement(0.0, 0.0)


def asked_devices(config: Config, task: Task) -> list[AskedDevice]:
    """Every device of the task's order, the reference first."""
    *others, reference = config.engine.order(task)
    return [
        AskedDevice(kind.value, config.engine.target(kind), kind is reference)
        for kind in (reference, *others)
    ]


class DeviceProver:
    """Implements `payload.install.Prover`; ``tiles`` are those of flight."""

    def __init__(self, config: Config, tiles: TileGrid) -> None:
        self._config = config
        self._flight = TileGrid(tiles.window_rows_px, tiles.window_columns_px, 0)
        self._reference: tuple[Artifact, NDArray[Any]] | None = None

    def __call__(self, asked: Asked) -> Answers | None:
        """The known tiles' answers, once a window of flight size has been answered rightly too."""
        known = _served(asked)
        if known is None and asked.device.is_reference:
            raise EngineLostError(
                f"{asked.device.name}: the package has no known tile of a window that "
                f"{asked.artifact.files[0].path} serves; make it again",
                EngineFault.BAD_NETWORK,
            )
        outputs = self._answers(asked, known.grid, known.tiles) if known else []
        (flown,) = self._answers(asked, self._flight, [stretched(asked.known[0].tiles[0], self._flight)])
        if asked.device.is_reference:
            self._reference = asked.artifact, flown
        elif self._reference is not None:
            self._compare(asked, flown, *self._reference)
        return Answers(known, outputs) if known else None

    def _compare(self, asked: Asked, flown: NDArray[Any], artifact: Artifact, expected: NDArray[Any]) -> None:
        found = disagreement(asked.model.task, expected, flown)
        permitted = _sum(asked.artifact, artifact)
        if not found.is_within(permitted):
            raise refuse(
                Refusal.WRONG_ANSWER,
                f"{asked.device.name}: beside the reference {found.class_ratio:.2%} of the classes and "
                f"{found.reflectance_dn:.0f} dn of reflectance are off, permitted are "
                f"{permitted.class_ratio:.2%} and {permitted.reflectance_dn:.0f} dn",
            )

    def _answers(self, asked: Asked, grid: TileGrid, tiles: Sequence[Tile]) -> list[NDArray[Any]]:
        name = asked.device.name
        files = network_files(asked.artifact, asked.files, (grid.window_rows_px, grid.window_columns_px))
        if not files:
            raise EngineLostError(
                f"{name}: {asked.model.name} has nothing for windows of {grid.window_rows_px}x"
                f"{grid.window_columns_px} px",
                EngineFault.BAD_NETWORK,
            )
        model = asked.model
        network = Network(model.task, model.name, model.sha256, asked.artifact.precision, files)
        spec = self._spec(asked, grid)
        engine = ProcessEngine(spec, [network], grid, slots=1)
        try:
            engine.start()
            engine.wait_ready()
            answers = list(_collected(engine, model.task, tiles, self._config.updates.known_answer_timeout_s))
            peak_bytes = peak_bytes_of(engine.pid)
            if peak_bytes > spec.memory_bytes:
                raise EngineLostError(
                    f"{name}: took {peak_bytes} bytes, {spec.memory_bytes} are allowed", EngineFault.MEMORY
                )
            return answers
        except EngineOutputError as error:
            raise refuse(Refusal.WRONG_ANSWER, f"{name}: {error}") from error
        finally:
            engine.close()

    def _spec(self, asked: Asked, grid: TileGrid) -> WorkerSpec:
        """A device with a process of its own is run as in flight; another one in one made for this."""
        kind, timeout_s = EngineKind(asked.device.name), self._config.updates.known_answer_timeout_s
        if self._config.engine.child(kind) is not None:
            spec = worker_spec(kind, self._config)
            return replace(spec, start_s=timeout_s, deadline_s=min(spec.deadline_s, timeout_s))
        artifact = asked.artifact
        claimed = artifact.host_fixed_bytes + int(artifact.host_bytes_per_window_px * grid.window_px)
        return WorkerSpec(
            device=kind.value,
            target=artifact.target,
            runtime=RUNTIMES[kind],
            python=None,
            threads=self._config.engine.threads,
            memory_bytes=self._config.memory.interpreter_bytes + claimed + tensor_bytes(grid),
            start_s=timeout_s,
            deadline_s=timeout_s,
        )


def _served(asked: Asked) -> KnownAnswers | None:
    """The known tiles in the first window that the artifact serves."""
    for known in asked.known:
        size_px = known.grid.window_rows_px, known.grid.window_columns_px
        if network_files(asked.artifact, asked.files, size_px):
            return known
    return None


def _sum(one: Artifact, other: Artifact) -> Disagreement:
    """Each artifact may differ from float32 by so much; two of them from each other by the sum."""
    if one is other:
        return _NOTHING
    sides = [side.disagreement or _NOTHING for side in (one, other)]
    return Disagreement(sum(side.class_ratio for side in sides), sum(side.reflectance_dn for side in sides))


def _collected(
    engine: ProcessEngine, task: Task, tiles: Sequence[Tile], timeout_s: float
) -> Iterator[NDArray[Any]]:
    for tile in tiles:
        engine.submit(task, tile)
        until_s = time.monotonic() + timeout_s
        while (inference := engine.collect(timeout_s)) is None:
            if time.monotonic() > until_s:
                raise EngineLostError(f"{engine.name}: no answer", EngineFault.LATE)
        yield inference.output.copy()


def stretched(tile: Tile, grid: TileGrid) -> Tile:
    """A tile of a flight window's size, filled by repeating ``tile``."""
    codes = {}
    for pitch, code in tile.codes.items():
        rows, columns = grid.window_rows_px // pitch, grid.window_columns_px // pitch
        copies = (1, 1, -(-rows // code.shape[2]), -(-columns // code.shape[3]))
        codes[pitch] = np.ascontiguousarray(np.tile(code, copies)[:, :, :rows, :columns])
    window = Window(0, 0, grid.window_rows_px, grid.window_columns_px)
    valid = np.ones((grid.window_rows_px, grid.window_columns_px), np.bool_)
    return Tile(0, window, window, codes, tile.geometry, valid, valid.size)


def tensor_bytes(grid: TileGrid) -> int:
    """What a child's shared memory holds for one window: codes, scores and atmosphere."""
    pixels = grid.window_px
    return 4 * pixels + 6 * pixels // Grid.R20M**2 + 3 * pixels // Grid.R60M**2 + 8 * pixels


def runtime_versions() -> dict[str, str]:
    """The version of each runtime that this interpreter has, by its name in manifests."""
    found = {}
    for name, package in (("openvino", "openvino"), ("litert", "ai-edge-litert")):
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            continue
    return found
