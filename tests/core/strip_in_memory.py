"""A strip that is only arrays: the source of the core's tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from payload.core.tiling import grid_size
from payload.types import BANDS_OF_GRID, U16, Band, Grid, RowBlock, StripInfo


def strip_info(rows: int, columns: int, *, offset_dn: int = -1000, **more: object) -> StripInfo:
    """A strip of Sentinel-2's own bands and convention."""
    fields: dict[str, object] = {
        "strip_id": "TEST",
        "start_utc_ns": 1_700_000_000_000_000_000,
        "line_period_s": 0.0015,
        "rows": rows,
        "columns": columns,
        "ground_sample_m": 10.0,
        "bands": tuple(Band),
        "offset_dn": dict.fromkeys(Band, offset_dn),
        "quantification_dn": 10000,
    }
    return StripInfo(**{**fields, **more})  # type: ignore[arg-type]


def random_dn(rows: int, columns: int, seed: int, holes: int = 0) -> dict[Grid, U16]:
    """Noise on the native grids, with ``holes`` rectangles of no data."""
    rng = np.random.default_rng(seed)
    dn = {
        grid: rng.integers(1, 12000, (len(bands), grid_size(rows, grid), grid_size(columns, grid))).astype(
            np.uint16
        )
        for grid, bands in BANDS_OF_GRID.items()
    }
    for _ in range(holes):
        row, col = int(rng.integers(rows)), int(rng.integers(columns))
        for grid, samples in dn.items():
            samples[:, row // grid : row // grid + 20, col // grid : col // grid + 30] = 0
    return dn


class ArraySource:
    """Implements StripSource over arrays; ``rows_delivered`` rows come, those of ``damaged`` so."""

    planned_bytes = 0

    def __init__(
        self,
        info: StripInfo,
        dn: Mapping[Grid, U16],
        rows_delivered: int | None = None,
        damaged: Collection[int] = (),
    ) -> None:
        self.info = info
        self._dn = dn
        self._row = 0
        self._damaged = damaged
        self._end = info.rows if rows_delivered is None else rows_delivered
        self.rows_read = 0

    def read(self, rows: int) -> RowBlock | None:
        assert rows > 0
        assert rows % Grid.R60M == 0
        rows = min(rows, self._end - self._row)
        if rows <= 0:
            return None
        start, self._row = self._row, self._row + rows
        self.rows_read += rows
        part = {g: a[:, start // g : -(-self._row // g)] for g, a in self._dn.items()}
        lost = frozenset(range(start, self._row)) & frozenset(self._damaged)
        return RowBlock(start, rows, part, ("lost",) if lost else (), lost)

    def skip(self, rows: int) -> None:
        self._row += rows

    def close(self) -> None:
        return
