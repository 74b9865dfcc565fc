"""A strip walked in a test: arrays in, a real store out, a small engine or the one that flies."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from payload.assembly import compiled_arithmetic
from payload.config import Config, load_config
from payload.core import products
from payload.core.areas import AreaMap
from payload.core.downlink import DownlinkQueue
from payload.core.making import ProductMaker
from payload.core.surface import CELL_PX
from payload.core.telemetry import Telemetry
from payload.drivers.board import LinuxBoard
from payload.drivers.product_store import SqliteProductStore
from payload.errors import EngineLostError, EngineOutputError
from payload.imaging import StripWalk
from payload.ports import Arithmetic, Engine
from payload.types import (
    U8,
    U16,
    EngineName,
    Grid,
    Inference,
    Precision,
    ProductKind,
    SceneClass,
    Target,
    Task,
    Tile,
    TileGrid,
)
from tests.core.strip_in_memory import ArraySource

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL_SHA256 = {Task.SCENE: "5" * 64, Task.SURFACE: "7" * 64}
_NAME = EngineName(Target.CPU, "test", "rule", Precision.FP32, "rule", "0" * 64)


def board_config(tiles: TileGrid, **products_: object) -> Config:
    """ci_cpu.yaml with other tiles, and other products if asked for."""
    config = load_config(REPOSITORY / "firmware_configs" / "ci_cpu.yaml")
    return replace(
        config,
        tiles=replace(
            config.tiles, inner_rows_px=tiles.inner_rows_px, inner_columns_px=tiles.inner_columns_px
        ),
        products=replace(config.products, **products_),  # type: ignore[arg-type]
    )


class RuleEngine:
    """Implements Engine with a rule per pixel instead of a network.

    Dark blue is clear, bright is thick cloud. Can be told to be lost at the n-th answer, or to
    give impossible numbers for one tile.
    """

    def __init__(
        self,
        slots: int,
        lost_at: int | None = None,
        bad_tile: int | None = None,
        bad_task: Task = Task.SCENE,
    ) -> None:
        self.slots = slots
        self.submitted: list[tuple[Task, int]] = []
        self._waiting: deque[tuple[Task, Tile]] = deque()
        self._lost_at = lost_at
        self._bad_tile = bad_tile
        self._bad_task = bad_task
        self._answers = 0

    def submit(self, task: Task, tile: Tile) -> None:
        assert len(self._waiting) < self.slots, "more tiles in flight than slots"
        self.submitted.append((task, tile.index))
        self._waiting.append((task, tile))

    def collect(self, timeout_s: float) -> Inference | None:
        assert timeout_s > 0
        if not self._waiting:
            return None
        self._answers += 1
        if self._answers == self._lost_at:
            raise EngineLostError("unplugged")
        task, tile = self._waiting.popleft()
        if tile.index == self._bad_tile and task is self._bad_task:
            raise EngineOutputError("not a number", tile.index)
        return Inference(task, tile.index, (_scores if task is Task.SCENE else _air)(tile), _NAME)

    def close(self) -> None:
        self._waiting.clear()


def _scores(tile: Tile) -> U8:
    blue = tile.codes[Grid.R10M][0, 0]
    scores = np.zeros((4, *blue.shape), dtype=np.uint8)
    scores[0], scores[1] = 255 - blue, blue
    return scores


def _air(tile: Tile) -> np.ndarray:
    _, _, rows, columns = tile.codes[Grid.R10M].shape
    air = np.empty((4, 12, rows // CELL_PX, columns // CELL_PX), dtype=np.float32)
    air[...] = np.array([0.05, 0.8, 0.1, 0.02], dtype=np.float32)[:, None, None, None]
    return air


@dataclass(slots=True)
class Walked:
    """A walk that has ended, by itself or not."""

    telemetry: Telemetry
    store: SqliteProductStore
    queue: DownlinkQueue

    def bodies(self) -> dict[str, bytes]:
        return {entry.product_id: self.store.body(entry.entry_id) for entry in self.store.entries()}

    def order(self) -> list[str]:
        """Product ids in the order in which they would go."""
        return [entry.product_id for entry in self.queue.waiting()]


def walk(
    folder: Path,
    config: Config,
    tiles: TileGrid,
    source: ArraySource,
    engine: Engine,
    slots: int = 2,
    arithmetic: Arithmetic | None = None,
) -> Walked:
    """Take the strip of ``source`` through ``engine`` into a store in ``folder``."""
    folder.mkdir(exist_ok=True)
    store = SqliteProductStore(folder / "queue.sqlite")
    store.begin_strip(source.info.strip_id, "the same")
    queue = DownlinkQueue(
        config.queue.capacity_bytes, config.queue.capacity_entries, store.entries(), config.ageing
    )
    telemetry = Telemetry()
    maker = ProductMaker(source.info, config, MODEL_SHA256, AreaMap((), 1.0))
    walked = Walked(telemetry, store, queue)
    try:
        StripWalk(
            config,
            tiles,
            slots,
            source,
            engine,
            arithmetic or compiled_arithmetic(tiles),
            store,
            queue,
            maker,
            telemetry,
            LinuxBoard(),
        ).process(lambda _: None)
    except BaseException:
        store.close()
        raise
    return walked


def assembled(bodies: Mapping[str, bytes], kind: ProductKind, rows: int, columns: int) -> list[U8 | U16]:
    """The planes of all products of one kind, put together again: (row, col) each.

    Where there is no product there is no data: 0, or NO_DATA in a class map.
    """
    nothing = SceneClass.NO_DATA if kind is ProductKind.CLASSES else 0
    planes: dict[int, np.ndarray] = {}
    for product_id, body in sorted(bodies.items()):
        if not product_id.endswith(f".{kind.value}"):
            continue
        decoded = products.decode(body)
        window = decoded.container.label.window
        for number, (header, samples) in enumerate(
            zip(decoded.container.planes, decoded.planes, strict=True)
        ):
            pitch = header.pitch_px
            whole = planes.setdefault(
                number, np.full((-(-rows // pitch), -(-columns // pitch)), nothing, dtype=samples.dtype)
            )
            row, col = window.row // pitch, window.col // pitch
            whole[row : row + samples.shape[0], col : col + samples.shape[1]] = samples
    return [planes[number] for number in sorted(planes)]
