"""Writes any strip as a raw line stream, as an instrument would deliver it.

    python -m tools.write_raw STRIP OUT.yaml [--crc none] [--scratch FOLDER]

makes OUT.yaml, the header, and OUT.raw, the stream, beside it; neither may be there already. The
samples are those of the strip; the format is `payload.drivers.raw_frames`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

from payload.drivers.native_grids import rows_of
from payload.drivers.raw_frames import FRAME_ROWS, FrameLayout
from payload.drivers.strip_header import FrameCheck
from payload.drivers.strips import open_strip
from payload.errors import StripError
from payload.ports import StripSource
from payload.types import Band, RowBlock, StripInfo
from tools.whole import make_way, whole

BLOCK_ROWS = 48
STREAM_SUFFIX = ".raw"


def write_raw(
    header: Path, info: StripInfo, blocks: Iterable[RowBlock], check: FrameCheck = FrameCheck.CRC32
) -> Path:
    """Header ``header`` and the stream beside it hold the strip ``info`` with the rows of ``blocks``.

    What was there stays until all is written: the blocks may come from it.

    Returns:
        The path of the stream.
    """
    stream = header.with_suffix(STREAM_SUFFIX)
    with whole(stream) as part, part.open("wb") as file:
        for frame in frames(info.columns, blocks, check):
            file.write(frame)
    with whole(header) as part:
        part.write_text(header_text(info, stream.name, check), encoding="utf-8")
    return stream


def frames(columns: int, blocks: Iterable[RowBlock], check: FrameCheck) -> Iterator[bytearray]:
    """The frames of a strip, in order."""
    layout = FrameLayout(columns)
    for block in blocks:
        for start in range(0, block.rows, FRAME_ROWS):
            dn = rows_of(block.dn, start, min(start + FRAME_ROWS, block.rows))
            yield layout.pack((block.row + start) // FRAME_ROWS, dn, check)


def blocks_of(source: StripSource) -> Iterator[RowBlock]:
    """All rows of ``source``; what was damaged goes to stderr."""
    while (block := source.read(BLOCK_ROWS)) is not None:
        for fault in block.faults:
            print(fault, file=sys.stderr)
        yield block


def header_text(info: StripInfo, stream: str, check: FrameCheck) -> str:
    """The YAML header of the strip ``info`` in ``stream``."""
    header: dict[str, object] = {
        "strip_id": info.strip_id,
        "start_utc_ns": info.start_utc_ns,
        "line_period_s": info.line_period_s,
        "rows": info.rows,
        "columns": info.columns,
        "ground_sample_m": info.ground_sample_m,
        "stream": stream,
        "crc": check.value,
        "radiometry": {
            "offset_dn": {band.value: info.offset_dn[band] for band in Band},
            "quantification_dn": info.quantification_dn,
        },
    }
    if info.georeference is not None:
        header["georeference"] = {
            "epsg": info.georeference.epsg,
            "easting_m": info.georeference.easting_m,
            "northing_m": info.georeference.northing_m,
        }
    angles = {
        "sun_zenith_deg": info.sun_zenith_deg,
        "sun_azimuth_deg": info.sun_azimuth_deg,
        "view_zenith_deg": info.view_zenith_deg,
        "view_azimuth_deg": info.view_azimuth_deg,
    }
    if None not in angles.values():
        header["angles"] = angles
    return yaml.safe_dump(header, sort_keys=False, width=100)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.write_raw", description=__doc__.splitlines()[0])
    parser.add_argument("strip", type=Path, help="any strip that the payload reads")
    parser.add_argument("out", type=Path, help="the header to write, OUT.yaml")
    parser.add_argument("--crc", choices=[check.value for check in FrameCheck], default="crc32")
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()), help="a folder on a disk"
    )
    wanted = parser.parse_args(arguments)
    if wanted.out.suffix == STREAM_SUFFIX:
        parser.error(f"{wanted.out}: name the header, as OUT.yaml; the stream gets {STREAM_SUFFIX}")
    for path in (wanted.out, wanted.out.with_suffix(STREAM_SUFFIX)):
        if path.exists():
            parser.error(f"{path} exists already: name a new strip")
    try:
        make_way(wanted.out)
    except OSError as error:
        parser.error(f"{error}")
    try:
        source = open_strip(wanted.strip, wanted.scratch)
    except StripError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    try:
        stream = write_raw(wanted.out, source.info, blocks_of(source), FrameCheck(wanted.crc))
    except StripError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        source.close()
    print(f"{wanted.out} and {stream}: {source.info.rows} x {source.info.columns}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
