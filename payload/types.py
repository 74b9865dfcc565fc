"""The nouns: enums and frozen records, with the unit at the end of every field that has one.

Order is (band, row, col) everywhere; rows grow along track. Windows are half-open and in
pixels of the 10 m grid unless a name says otherwise.

Three kinds of number describe a pixel, and they never share a name:

* ``dn``      uint16 as the instrument or product delivers it,
* ``counts``  uint16, reflectance = (counts - 1000) / 10000, 0 = no data (the Sentinel-2
  convention since processing baseline 04.00), made from ``dn`` once, at the door,
* ``codes``   uint8, the companded reflectance that networks read (`core.radiometry`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import Any

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
F32 = NDArray[np.float32]

COUNTS_OFFSET = 1000
COUNTS_PER_REFLECTANCE = 10000
NO_DATA_COUNTS = 0


@unique
class Grid(IntEnum):
    """A native sampling grid; the value is its pitch in pixels of the 10 m grid."""

    R10M = 1
    R20M = 2
    R60M = 6


@unique
class Band(Enum):
    """A Sentinel-2 MSI band, by its name in the product specification."""

    B01 = "B01"
    B02 = "B02"
    B03 = "B03"
    B04 = "B04"
    B05 = "B05"
    B06 = "B06"
    B07 = "B07"
    B08 = "B08"
    B8A = "B8A"
    B09 = "B09"
    B10 = "B10"
    B11 = "B11"
    B12 = "B12"


BANDS_OF_GRID: Mapping[Grid, tuple[Band, ...]] = {
    Grid.R10M: (Band.B02, Band.B03, Band.B04, Band.B08),
    Grid.R20M: (Band.B05, Band.B06, Band.B07, Band.B8A, Band.B11, Band.B12),
    Grid.R60M: (Band.B01, Band.B09, Band.B10),
}
"""Band order inside every per-grid array of this program."""

SURFACE_BANDS_OF_GRID: Mapping[Grid, tuple[Band, ...]] = {
    Grid.R10M: BANDS_OF_GRID[Grid.R10M],
    Grid.R20M: BANDS_OF_GRID[Grid.R20M],
    Grid.R60M: (Band.B01, Band.B09),
}
"""Bands with a surface reflectance: all but the cirrus band B10, which sees no surface."""


@unique
class SceneClass(IntEnum):
    CLEAR = 0
    THICK_CLOUD = 1
    THIN_CLOUD = 2
    CLOUD_SHADOW = 3
    NO_DATA = 255


@unique
class Task(Enum):
    """What a network is for."""

    SCENE = "scene"
    SURFACE = "surface"


@unique
class Target(Enum):
    """The kind of device an artifact is built for."""

    MYRIAD = "myriad"
    CPU = "cpu"
    TFLITE = "tflite"


@unique
class Precision(Enum):
    INT8 = "int8"
    FP16 = "fp16"
    FP32 = "fp32"


@unique
class ProductKind(Enum):
    """What a product holds. The number of a kind on the wire is in `core.products`."""

    STATISTICS = "statistics"
    QUICKLOOK = "quicklook"
    CLASSES = "classes"
    SURFACE_10M = "surface_10m"
    SURFACE_20M = "surface_20m"
    SURFACE_60M = "surface_60m"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open rectangle of 10 m pixels; row grows along track."""

    row: int
    col: int
    rows: int
    cols: int

    @property
    def row_end(self) -> int:
        return self.row + self.rows

    @property
    def col_end(self) -> int:
        return self.col + self.cols


@dataclass(frozen=True, slots=True)
class Georeference:
    """Where the strip lies: upper left corner of pixel (0, 0) in a projected CRS."""

    epsg: int
    easting_m: float
    northing_m: float


@dataclass(frozen=True, slots=True)
class StripInfo:
    """What is known of a strip before its first row.

    Attributes:
        strip_id: identifies the acquisition; ASCII, at most 64 characters.
        start_utc_ns: sensing start, nanoseconds since the Unix epoch.
        line_period_s: time between two rows of the 10 m grid, seconds.
        rows, columns: size on the 10 m grid; a coarser grid has ceil(size / pitch).
        ground_sample_m: pitch of the finest grid (10 for Sentinel-2 as acquired).
        offset_dn: per band, reflectance = (dn + offset_dn) / quantification_dn
            (RADIO_ADD_OFFSET of the product metadata; 0 before baseline 04.00).
        quantification_dn: QUANTIFICATION_VALUE of the product metadata.
        sun_zenith_deg, sun_azimuth_deg, view_zenith_deg, view_azimuth_deg: scene means,
            clockwise from north; None where the source does not say.
    """

    strip_id: str
    start_utc_ns: int
    line_period_s: float
    rows: int
    columns: int
    ground_sample_m: float
    bands: tuple[Band, ...]
    offset_dn: Mapping[Band, int]
    quantification_dn: int
    georeference: Georeference | None = None
    sun_zenith_deg: float | None = None
    sun_azimuth_deg: float | None = None
    view_zenith_deg: float | None = None
    view_azimuth_deg: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RowBlock:
    """Consecutive rows of a strip as delivered, on the native grids.

    Attributes:
        row: first row on the 10 m grid; a multiple of 6.
        rows: rows on the 10 m grid; a multiple of 6 unless the strip ends here.
        dn: per grid, uint16 (band, ceil(rows / pitch), ceil(columns / pitch)), bands in
            the order of BANDS_OF_GRID; 0 where nothing was received.
        faults: one sentence for each thing that was damaged or missing in these rows.
        damaged_rows: those of them, of the strip's, that lack something because of that.
    """

    row: int
    rows: int
    dn: Mapping[Grid, U16]
    faults: tuple[str, ...] = ()
    damaged_rows: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How a strip is cut: what is kept of a tile, and what is read around it.

    Every window has the same size, (inner + 2 halo); every inner starts at a multiple of
    the inner size, so a network sees each pixel at the same phase whatever the tile.
    """

    inner_rows_px: int
    inner_columns_px: int
    halo_px: int

    @property
    def window_rows_px(self) -> int:
        return self.inner_rows_px + 2 * self.halo_px

    @property
    def window_columns_px(self) -> int:
        return self.inner_columns_px + 2 * self.halo_px

    @property
    def window_px(self) -> int:
        return self.window_rows_px * self.window_columns_px


@dataclass(frozen=True, slots=True)
class MemoryTerm:
    """One part of the memory plan; ``why`` is the arithmetic, for a person."""

    name: str
    planned_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The bound on the resident memory of the whole process tree, worked out beforehand.

    ``slots`` is how many tiles may be in flight inside the budget.
    """

    terms: tuple[MemoryTerm, ...]
    budget_bytes: int
    slots: int

    @property
    def total_bytes(self) -> int:
        return sum(term.planned_bytes for term in self.terms)

    @property
    def fits(self) -> bool:
        return self.total_bytes <= self.budget_bytes

    @property
    def worst(self) -> MemoryTerm:
        return max(self.terms, key=lambda term: term.planned_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One network input.

    Attributes:
        index: running number, along the row of tiles first.
        window: all that the network reads; may reach past the strip, where codes are 0.
        inner: the part whose result is kept; clipped to the strip.
        codes: per grid, uint8 (1, band, rows / pitch, cols / pitch) of the window; empty
            where ``valid_px`` is 0, for such a tile never reaches a network.
        geometry: float32 (1, 4, 1, 1): 1 if angles are known, then the cosines of sun zenith,
            view zenith and relative azimuth; all 0 if not.
        valid: bool (rows, cols) of the inner: every grid has data there.
        valid_px: how many of them are true.
    """

    index: int
    window: Window
    inner: Window
    codes: Mapping[Grid, U8]
    geometry: F32
    valid: NDArray[np.bool_]
    valid_px: int


@dataclass(frozen=True, slots=True)
class EngineName:
    """Which device, runtime, precision and model made a result; goes into every record."""

    target: Target
    device: str
    runtime: str
    precision: Precision
    model: str
    model_sha256: str

    @property
    def line(self) -> str:
        """All of it in one line, for records and reports."""
        model = f"{self.model}@{self.model_sha256[:12]}"
        return f"{self.target.value} {self.device} {self.runtime} {self.precision.value} {model}"


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """What an engine made of one tile.

    ``output`` for Task.SCENE: uint8 (4, rows, cols) of the window, scores in the order of
    SceneClass, in steps of a logit (`core.scene`). For Task.SURFACE: float32 (4, 13 - 1, rows / cell,
    cols / cell): path reflectance, two-way transmittance, spherical albedo and the standard
    deviation of the reflectance, bands in the order of SURFACE_BANDS_OF_GRID, grid by grid.
    """

    task: Task
    index: int
    output: NDArray[Any]
    engine: EngineName


@dataclass(frozen=True, slots=True)
class SceneStats:
    """Class fractions of the valid pixels of one tile's inner, and of the tile itself."""

    valid_px: int
    no_data_px: int
    clear_ratio: float
    thick_cloud_ratio: float
    thin_cloud_ratio: float
    cloud_shadow_ratio: float
    mean_confidence_ratio: float


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """Bytes worth sending.

    ``product_id`` is unique and the same in every run: strip, tile and kind. ``reason``
    tells a person how ``value`` came about. ``body`` is the whole container: header, coded
    samples, CRC (`core.products`).
    """

    product_id: str
    strip_id: str
    kind: ProductKind
    tile_index: int
    window: Window
    value: float
    reason: str
    created_utc_ns: int
    body: bytes


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A product in the queue, without its body."""

    entry_id: int
    product_id: str
    kind: ProductKind
    size_bytes: int
    value: float
    created_utc_ns: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class TileRecord:
    """What is remembered of a finished tile, also after its products have gone.

    ``engines`` maps the task's value to a one-line engine name. ``thumbnail`` is uint8
    (7, rows, cols): true colour, class, surface true colour; reduced by a whole factor; no rows
    once it has been forgotten. ``damaged_rows``: of the inner's rows, whatever the column.
    """

    strip_id: str
    index: int
    inner: Window
    stats: SceneStats
    engines: Mapping[str, str]
    product_bytes: Mapping[str, int]
    product_values: Mapping[str, float]
    thumbnail: U8
    damaged_rows: int = 0


@dataclass(frozen=True, slots=True)
class Contact:
    """One ground pass; ``overhead_ratio`` of the rate is for frames, coding and telemetry."""

    start_utc_ns: int
    duration_s: float
    rate_bit_s: float
    overhead_ratio: float = 0.0

    @property
    def capacity_bytes(self) -> int:
        return int(self.duration_s * self.rate_bit_s / 8 * (1 - self.overhead_ratio))
