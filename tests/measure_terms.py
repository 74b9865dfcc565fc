"""The measuring child of test_memory_measured: builds one term of the plan after the other.

Prints the growth of resident memory of each (the peak after, less what was there before), as JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import payload.__main__  # noqa: F401  # the interpreter term is what this brings in
from payload.assembly import Model, arithmetic_of, load_board, load_models, open_source
from payload.config import Config
from payload.config.engines import EngineKind
from payload.core.areas import AreaMap
from payload.core.downlink import DownlinkQueue
from payload.core.making import ProductMaker
from payload.core.pictures import true_colour
from payload.core.products.samples import Codec, encode_samples
from payload.core.scene import classify
from payload.core.scheduler import Scheduler
from payload.core.surface import sigma_counts, surface_counts
from payload.devices import build_device, network_of
from payload.drivers.heap import give_back_freed_memory
from payload.drivers.product_store import SqliteProductStore
from payload.types import Grid, ProductKind, QueueEntry, Task, TileGrid

MEASURED: dict[str, int] = {}
_M_MMAP_THRESHOLD = -3  # of mallopt(3)


def status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


@contextmanager
def term(name: str, field: str = "VmHWM") -> Iterator[None]:
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again at VmRSS
    before = status_bytes("VmRSS")
    yield
    MEASURED[name] = MEASURED.get(name, 0) + max(0, status_bytes(field) - before)


def warm_up(config: Config, models: Mapping[Task, Model], tiles: TileGrid) -> None:
    """The runtime has been at work: on its smallest window, where it takes any."""
    (kind,) = config.engine.in_use()
    if kind is EngineKind.OPENVINO:
        from payload.drivers.engine_openvino import OpenVinoEngine

        smallest = TileGrid(48, 48, tiles.halo_px)
        window_px = smallest.window_rows_px, smallest.window_columns_px
        network = network_of(kind, config, models[Task.SCENE], window_px)
        OpenVinoEngine([network], smallest, 1, config.engine.threads).close()
        return
    device = build_device(kind, config, models, tiles, 1)
    device.start()
    device.close()


def main() -> None:
    strip, config_path, out = sys.argv[1:]
    # An array of zeros costs nothing before it is written to: so each counts where it is used.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 128 << 10)
    config = load_board(Path(config_path), None)
    models, tiles = load_models(config)
    (kind,) = config.engine.in_use()
    arithmetic_of(config, TileGrid(48, 48, tiles.halo_px))
    warm_up(config, models, tiles)
    for codec in Codec:  # code that is loaded when it is first used
        encode_samples(np.zeros((8, 8), np.uint16), codec)
    give_back_freed_memory()
    source = open_source(strip, config)
    MEASURED["interpreter"] = status_bytes("VmRSS")

    with term("arithmetic", "VmRSS"):  # compiling is over before there are rows
        arithmetic = arithmetic_of(config, tiles)
        give_back_freed_memory()
    with term("tile slots"):
        scheduler = Scheduler(source.info, tiles, 1, config.strip.block_rows_px, arithmetic)
    with term("rows"):
        for samples in (*scheduler._rows._counts.values(), *scheduler._rows._above.values()):
            samples[...] = 1
    with term("block in transit"):
        while rows := scheduler.rows_wanted:
            scheduler.feed(source.read(rows))
    with term("tile slots"):
        tile = scheduler.next_tile()
    assert tile is not None
    with term("engines"):
        engine = build_device(kind, config, models, tiles, 1)
        engine.start()
        engine.submit(Task.SCENE, tile)
        scores = engine.collect(60)
        assert scores is not None
        classes, stats = classify(scores.output[:, 72:-72, 72:-72][:, : tile.inner.rows], tile.valid)
        engine.submit(Task.SURFACE, tile)
        air = engine.collect(60)
        assert air is not None
    with term("products"):
        maker = ProductMaker(source.info, config, dict.fromkeys(Task, "0" * 64), AreaMap((), 1.0))
        counts = {grid: scheduler.counts(tile, grid) for grid in Grid}
        small = true_colour(counts[Grid.R10M], config.products.quicklook_pitch_px)
        made = maker.scene_products(tile, stats, classes, small, counts)
        for grid in Grid:
            reflectance = surface_counts(counts[grid], air.output, grid, tiles, arithmetic)
            sigma = sigma_counts(air.output, grid, tiles, tile.inner)
            made.append(maker.surface_product(tile, stats, grid, reflectance, sigma))
    with term("queue"):
        store = SqliteProductStore(Path(out))
        entries = [
            QueueEntry(
                n,
                f"{'S' * 64}.{n:05d}.surface_10m",
                ProductKind.CLASSES,
                1000,
                n / 7,
                1_700_000_000_000_000_000 + n,
                f"surface_10m: valid 0.281 x clear 0.266 x sure 0.875 x area 1 x weight 100 = {n / 7:.2f}",
            )
            for n in range(1, config.queue.capacity_entries + 1)
        ]
        queue = DownlinkQueue(1 << 40, config.queue.capacity_entries, entries)
        assert len(queue) == config.queue.capacity_entries
        store.close()
    engine.close()
    print(json.dumps(MEASURED))


if __name__ == "__main__":
    main()
