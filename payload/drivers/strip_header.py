"""What a YAML file says of a strip: the header of a raw stream, and the sidecar of a picture.

Every key's type, range and unit stand once, at its field; a key typed ``X | None`` may be
left out. An unknown key or a wrong type names file, line and key.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Annotated, Any

from payload.config import read_text
from payload.config.yaml_walk import Range, Text, Walk
from payload.errors import ConfigError, StripError
from payload.types import Band, Georeference, StripInfo

GROUND_SPEED_M_S = 6633.0
"""Speed of the point below Sentinel-2: sqrt(GM / a) R / a of a circular orbit at 786 km (ESA's
mean altitude), with GM 3.986004e14 m3/s2, a = 6378.1 + 786 km and R 6371 km."""

UTC_MAX_NS = 2**62
"""In 2116; what is sensed that much later still has a number of 64 bits."""

_StripName = Annotated[str, Text("the name of the acquisition", 64)]
_UtcNs = Annotated[int, Range(0, UTC_MAX_NS, "ns since the Unix epoch")]
_Period = Annotated[float, Range(1e-6, 10.0, "s")]
_Pitch = Annotated[float, Range(0.1, 10000.0, "m")]
_Offset = Annotated[int, Range(-32768, 32767, "dn")]
_Zenith = Annotated[float, Range(0.0, 90.0, "deg")]
_Azimuth = Annotated[float, Range(0.0, 360.0, "deg")]


@unique
class FrameCheck(Enum):
    """How a frame of a raw stream is checked."""

    NONE = "none"
    CRC32 = "crc32"


@dataclass(frozen=True, slots=True)
class BandOffsets:
    """Per band: reflectance = (dn + offset_dn) / quantification_dn."""

    B01: _Offset
    B02: _Offset
    B03: _Offset
    B04: _Offset
    B05: _Offset
    B06: _Offset
    B07: _Offset
    B08: _Offset
    B8A: _Offset
    B09: _Offset
    B10: _Offset
    B11: _Offset
    B12: _Offset


@dataclass(frozen=True, slots=True)
class Radiometry:
    """How dn becomes reflectance."""

    offset_dn: BandOffsets
    quantification_dn: Annotated[int, Range(1, 65535, "dn")]

    @property
    def offsets(self) -> dict[Band, int]:
        return {band: getattr(self.offset_dn, band.value) for band in Band}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the upper left corner of pixel (0, 0) lies."""

    epsg: Annotated[int, Range(1024, 32767, "(EPSG code)")]
    easting_m: Annotated[float, Range(-1e8, 1e8, "m")]
    northing_m: Annotated[float, Range(-1e8, 1e8, "m")]

    @property
    def georeference(self) -> Georeference:
        return Georeference(self.epsg, self.easting_m, self.northing_m)


@dataclass(frozen=True, slots=True)
class Angles:
    """Scene means, clockwise from north."""

    sun_zenith_deg: _Zenith
    sun_azimuth_deg: _Azimuth
    view_zenith_deg: _Zenith
    view_azimuth_deg: _Azimuth


@dataclass(frozen=True, slots=True)
class RawHeader:
    """The header of a raw line stream."""

    strip_id: _StripName
    start_utc_ns: _UtcNs
    line_period_s: _Period
    rows: Annotated[int, Range(1, 1_000_000, "rows of the 10 m grid")]
    columns: Annotated[int, Range(1, 100_000, "columns of the 10 m grid")]
    ground_sample_m: _Pitch
    stream: Annotated[str, Text("a file or FIFO, absolute or relative to this file, or '-'", 4096)]
    crc: FrameCheck
    radiometry: Radiometry
    georeference: Place | None
    angles: Angles | None

    @property
    def info(self) -> StripInfo:
        """The strip that the stream delivers."""
        angles = self.angles
        return StripInfo(
            strip_id=self.strip_id,
            start_utc_ns=self.start_utc_ns,
            line_period_s=self.line_period_s,
            rows=self.rows,
            columns=self.columns,
            ground_sample_m=self.ground_sample_m,
            bands=tuple(Band),
            offset_dn=self.radiometry.offsets,
            quantification_dn=self.radiometry.quantification_dn,
            georeference=self.georeference.georeference if self.georeference else None,
            sun_zenith_deg=angles.sun_zenith_deg if angles else None,
            sun_azimuth_deg=angles.sun_azimuth_deg if angles else None,
            view_zenith_deg=angles.view_zenith_deg if angles else None,
            view_azimuth_deg=angles.view_azimuth_deg if angles else None,
        )


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What pictures do not say of themselves; goes before what they do say."""

    strip_id: _StripName | None
    start_utc_ns: _UtcNs | None
    line_period_s: _Period | None
    ground_sample_m: _Pitch | None
    radiometry: Radiometry | None
    georeference: Place | None
    angles: Angles | None


NO_SIDECAR = Sidecar(None, None, None, None, None, None, None)


def read_raw_header(path: Path) -> RawHeader:
    """The header in ``path``, checked in full.

    Raises:
        StripError: it cannot be used; one line per fault, each ``file:line: key: what``.
    """
    header: RawHeader = _read(path, RawHeader)
    _check_strip_id(path, header.strip_id)
    return header


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar in ``path``, or `NO_SIDECAR` if there is no such file.

    Raises:
        StripError: as `read_raw_header`.
    """
    if not path.exists():
        return NO_SIDECAR
    sidecar: Sidecar = _read(path, Sidecar)
    if sidecar.strip_id is not None:
        _check_strip_id(path, sidecar.strip_id)
    return sidecar


def strip_of_pictures(
    sidecar: Sidecar,
    *,
    strip_id: str,
    rows: int,
    columns: int,
    georeference: Georeference | None,
    ground_sample_m: float | None,
) -> StripInfo:
    """A strip read from pictures: what the sidecar says, else what the pictures say, else this:

    dn = 10000 x reflectance without offset, 10 m pixels, start 0 (unknown), angles unknown,
    and the line period of a Sentinel-2 over such pixels.
    """
    pitch_m = sidecar.ground_sample_m or ground_sample_m or 10.0
    radiometry, angles = sidecar.radiometry, sidecar.angles
    return StripInfo(
        strip_id=sidecar.strip_id or ascii_id(strip_id),
        start_utc_ns=sidecar.start_utc_ns or 0,
        line_period_s=sidecar.line_period_s or pitch_m / GROUND_SPEED_M_S,
        rows=rows,
        columns=columns,
        ground_sample_m=pitch_m,
        bands=tuple(Band),
        offset_dn=radiometry.offsets if radiometry else dict.fromkeys(Band, 0),
        quantification_dn=radiometry.quantification_dn if radiometry else 10000,
        georeference=sidecar.georeference.georeference if sidecar.georeference else georeference,
        sun_zenith_deg=angles.sun_zenith_deg if angles else None,
        sun_azimuth_deg=angles.sun_azimuth_deg if angles else None,
        view_zenith_deg=angles.view_zenith_deg if angles else None,
        view_azimuth_deg=angles.view_azimuth_deg if angles else None,
    )


def ascii_id(name: str) -> str:
    """``name`` as a strip_id: printable ASCII, 1 to 64 characters."""
    plain = "".join(letter if 33 <= ord(letter) < 127 else "_" for letter in name)
    return plain[:64] or "strip"


def _read(path: Path, kind: type[Any]) -> Any:
    walk = Walk(str(path))
    try:
        values = walk.read(read_text(path, "strip header"), kind)
        walk.raise_faults()
    except ConfigError as error:
        raise StripError(str(error)) from error
    return kind(**values)


def _check_strip_id(path: Path, strip_id: str) -> None:
    if ascii_id(strip_id) != strip_id:
        raise StripError(f"{path}: strip_id: '{strip_id}' must be printable ASCII without spaces")
