"""The first walk: one strip in, ranked products queued.

    source -> scheduler -> engine (scene) -> judge -+-> engine (surface) -> products -> queue
      ^           |                                 |                          ^
      +-- rows ---+                                 +--- cloud all over -------+

Tiles are committed in their order, each with its products in one transaction: after a power
cut the next run starts at the first tile that was not, and no product is there twice. Nothing
that a tile leaves behind depends on the budget or on how many tiles were in flight.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from payload.config import Config
from payload.core import pictures, scene, surface, value
from payload.core.downlink import DownlinkQueue, entry_of
from payload.core.making import ProductMaker
from payload.core.scheduler import Scheduler
from payload.core.telemetry import Telemetry
from payload.errors import EngineFault, EngineLostError, EngineOutputError
from payload.ports import Arithmetic, Board, Engine, ProductStore, StripSource
from payload.types import (
    U8,
    U16,
    Grid,
    Inference,
    Product,
    QueueEntry,
    SceneStats,
    Task,
    Tile,
    TileGrid,
    TileRecord,
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the strip has come; for a person who watches."""

    tiles_done: int
    tiles: int
    resident_bytes: int
    queue_bytes: int
    queue_entries: int


@dataclass(slots=True, eq=False)
class _Work:
    """One tile between its cut and its commit."""

    tile: Tile
    stats: SceneStats
    classes: U8 | None = None  # None: not one pixel has a class
    products: list[Product] = field(default_factory=list)
    engines: dict[str, str] = field(default_factory=dict)
    quicklook: U8 | None = None
    surface: U16 | None = None
    is_complete: bool = False


class StripWalk:
    """Takes one strip from its first wanted row to its last committed tile."""

    def __init__(
        self,
        config: Config,
        tiles: TileGrid,
        slots: int,
        source: StripSource,
        engine: Engine,
        arithmetic: Arithmetic,
        store: ProductStore,
        queue: DownlinkQueue,
        maker: ProductMaker,
        telemetry: Telemetry,
        board: Board,
    ) -> None:
        self._config = config
        self._tiles = tiles
        self._source = source
        self._engine = engine
        self._arithmetic = arithmetic
        self._store = store
        self._queue = queue
        self._maker = maker
        self._telemetry = telemetry
        self._board = board
        strip = source.info
        done = {record.index for record in store.tile_records(strip.strip_id)}
        self._strip_id = strip.strip_id
        missing = config.strip.missing_bands or ()
        self._scheduler = Scheduler(
            strip, tiles, slots, config.strip.block_rows_px, arithmetic, done, missing
        )
        self._pitch_px = pictures.picture_pitch_px(tiles, strip.rows, strip.columns)
        self._works: deque[_Work] = deque()
        self._next_entry_id = store.next_entry_id()
        self._tiles_done = len(done)
        self._rows_read = self._scheduler.first_row
        self._damaged_rows: Counter[int] = Counter()  # by row of tiles

    def process(self, watch: Callable[[Progress], None]) -> None:
        """Every tile of the strip is committed; ``watch`` is told after each.

        Raises:
            StripError: not one more row can be read; what is committed stays.
            EngineLostError: the engine is gone; what is committed stays.
            StoreError: a tile cannot be committed; what was before stays.
        """
        self._begin()
        if self._rows_read and not self._scheduler.is_done:
            self._source.skip(self._rows_read)
        while not self._scheduler.is_done:
            self._read()
            self._cut()
            self._infer()
            self._commit(watch)
        self._telemetry.event("strip_finished", strip_id=self._strip_id, tiles_done=self._tiles_done)

    def _begin(self) -> None:
        strip, tiles = self._source.info, self._scheduler.tiling.tiles
        self._telemetry.set("rows_total", strip.rows)
        self._telemetry.set("tiles_total", tiles)
        if self._tiles_done:
            self._telemetry.event("strip_resumed", strip_id=self._strip_id, tiles_done=self._tiles_done)
        else:
            self._telemetry.event(
                "strip_started", strip_id=self._strip_id, rows=strip.rows, columns=strip.columns, tiles=tiles
            )

    def _read(self) -> None:
        while rows := self._scheduler.rows_wanted:
            block = self._source.read(rows)
            if block is None:
                self._telemetry.event("rows_short", row=self._rows_read)
                self._note_damage(range(self._rows_read, self._source.info.rows))
            else:
                self._rows_read = block.row + block.rows
                for fault in block.faults:
                    self._telemetry.event("rows_damaged", row=block.row, fault=fault)
                self._note_damage(block.damaged_rows)
            self._telemetry.set("rows_read", self._rows_read)
            self._scheduler.feed(block)

    def _note_damage(self, rows: Iterable[int]) -> None:
        """Each row is counted with the tiles whose it is, so a resumed run counts none twice."""
        self._damaged_rows.update(row // self._tiles.inner_rows_px for row in rows)

    def _cut(self) -> None:
        while (tile := self._scheduler.next_tile()) is not None:
            work = _Work(tile, scene.no_data_stats(tile.inner))
            self._works.append(work)
            if tile.valid_px:
                self._engine.submit(Task.SCENE, tile)
            else:
                self._telemetry.event("tile_no_data", tile=tile.index)
                self._telemetry.add("tiles_no_data")
                work.is_complete = True

    def _infer(self) -> None:
        if not self._works or self._works[0].is_complete:
            return
        try:
            inference = self._engine.collect(self._config.engine.collect_timeout_s)
        except EngineOutputError as error:
            self._leave(error)
            return
        if inference is None:
            timeout_s = self._config.engine.collect_timeout_s
            raise EngineLostError(f"no answer within {timeout_s:g} s", EngineFault.LATE)
        work = self._work_of(inference.index)
        work.engines[inference.task.value] = inference.engine.line
        if inference.task is Task.SCENE:
            self._judge(work, inference)
        else:
            self._make_surface(work, inference)

    def _work_of(self, index: int) -> _Work:
        return next(work for work in self._works if work.tile.index == index)

    def _judge(self, work: _Work, inference: Inference) -> None:
        scores = scene.inner_scores(inference.output, self._tiles, work.tile.inner)
        work.classes, work.stats = scene.classify(scores, work.tile.valid)
        if value.wants_surface(work.stats, self._config.judge):
            self._engine.submit(Task.SURFACE, work.tile)
            self._make_scene(work)
            return
        self._telemetry.event(
            "tile_without_surface", tile=work.tile.index, clear_ratio=work.stats.clear_ratio
        )
        self._telemetry.add("tiles_without_surface")
        self._make_scene(work)
        work.is_complete = True

    def _make_scene(self, work: _Work) -> None:
        assert work.classes is not None, "made before it was judged"
        counts = {grid: self._scheduler.counts(work.tile, grid) for grid in Grid}
        pitch_px = self._config.products.quicklook_pitch_px
        work.quicklook = pictures.true_colour(counts[Grid.R10M], pitch_px)
        work.products += self._maker.scene_products(
            work.tile, work.stats, work.classes, work.quicklook, counts
        )

    def _make_surface(self, work: _Work, inference: Inference) -> None:
        assert work.classes is not None, "surface before scene"
        for grid in self._config.products.surface_grids:
            counts = self._scheduler.counts(work.tile, grid)
            reflectance = surface.surface_counts(
                counts, inference.output, grid, self._tiles, self._arithmetic
            )
            surface.without_cloud(reflectance, work.classes, grid)
            sigma = surface.sigma_counts(inference.output, grid, self._tiles, work.tile.inner)
            work.products.append(self._maker.surface_product(work.tile, work.stats, grid, reflectance, sigma))
            if grid is Grid.R10M:
                work.surface = reflectance
        work.is_complete = True

    def _leave(self, error: EngineOutputError) -> None:
        work = self._work_of(error.index)
        work.is_complete = True
        if work.products:  # the scene was understood; its products stay
            self._telemetry.event("tile_uncorrected", tile=error.index, reason=str(error))
            self._telemetry.add("tiles_without_surface")
            return
        self._telemetry.event("tile_unclassified", tile=error.index, reason=str(error))
        self._telemetry.add("tiles_unclassified")

    def _commit(self, watch: Callable[[Progress], None]) -> None:
        """Finish what is complete, in the order of the tiles."""
        while self._works and self._works[0].is_complete:
            work = self._works.popleft()
            self._queue_products(work)
            self._scheduler.finish(work.tile.index)
            self._tiles_done += 1
            progress = Progress(
                self._tiles_done,
                self._scheduler.tiling.tiles,
                self._board.resident_bytes(),
                self._queue.size_bytes,
                len(self._queue),
            )
            self._tell_channels(progress)
            watch(progress)

    def _queue_products(self, work: _Work) -> None:
        entries = [self._entry(product) for product in work.products]
        if self._store.has_changed():  # a contact goes on beside this run
            self._queue.follow(self._store.entries(), self._store.held())
        offer = self._queue.offer(entries)
        accepted_ids = {entry.entry_id for entry in offer.accepted}
        accepted = [
            (entry, product)
            for entry, product in zip(entries, work.products, strict=True)
            if entry.entry_id in accepted_ids
        ]
        evicted_ids = [entry.entry_id for entry in offer.evicted]
        self._store.commit_tile(self._record(work), accepted, evicted_ids, offer.refused)
        for name, gone in (("product_refused", offer.refused), ("product_evicted", offer.evicted)):
            for entry in gone:
                self._telemetry.event(
                    name, product_id=entry.product_id, size_bytes=entry.size_bytes, value=entry.value
                )
                self._telemetry.add("evicted_products")
                self._telemetry.add("evicted_bytes", entry.size_bytes)

    def _entry(self, product: Product) -> QueueEntry:
        entry_id = self._next_entry_id
        self._next_entry_id += 1
        return entry_of(entry_id, product)

    def _record(self, work: _Work) -> TileRecord:
        top = work.quicklook
        if top is None or self._pitch_px != self._config.products.quicklook_pitch_px:
            top = pictures.true_colour(self._scheduler.counts(work.tile, Grid.R10M), self._pitch_px)
        small = pictures.thumbnail(top, work.classes, work.surface, self._pitch_px)
        return TileRecord(
            self._strip_id,
            work.tile.index,
            work.tile.inner,
            work.stats,
            work.engines,
            {product.kind.value: len(product.body) for product in work.products},
            {product.kind.value: product.value for product in work.products},
            small,
            self._damaged_rows[work.tile.inner.row // self._tiles.inner_rows_px],
        )

    def _tell_channels(self, progress: Progress) -> None:
        self._telemetry.set("tiles_done", progress.tiles_done)
        self._telemetry.set("resident_bytes", progress.resident_bytes)
        self._telemetry.set("peak_bytes", self._board.peak_bytes())
        self._telemetry.set("cpu_s", self._board.cpu_s())
        self._telemetry.set("queue_bytes", progress.queue_bytes)
        self._telemetry.set("queue_entries", progress.queue_entries)
