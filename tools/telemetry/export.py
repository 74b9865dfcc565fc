"""Readings as tables: one CSV or Parquet file for each kind of packet."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from payload.core.wire import Wire
from tools.telemetry import Reading

_HEADS = ("utc_ns", "is_time_set", "sequence")
_ROWS_AT_ONCE = 10_000


class CsvTables:
    """Writes ``folder``/KIND.csv; an empty cell is a channel without a value."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._open: dict[str, tuple[TextIO, Any]] = {}

    def add(self, reading: Reading) -> None:
        """One more row."""
        if reading.name not in self._open:
            file = (self._folder / f"{reading.name}.csv").open("w", newline="", encoding="utf-8")
            self._open[reading.name] = (file, csv.writer(file))
            self._open[reading.name][1].writerow([*_HEADS, *reading.values])
        _, writer = self._open[reading.name]
        writer.writerow([*_head(reading), *reading.values.values()])

    def close(self) -> None:
        """Every file is whole."""
        for file, _ in self._open.values():
            file.close()


class ParquetTables:
    """Writes ``folder``/KIND.parquet, typed as the fields are; needs the extra `parquet`."""

    def __init__(self, folder: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        folder.mkdir(parents=True, exist_ok=True)
        self._arrow = pyarrow
        self._writer_of: Callable[..., Any] = pyarrow.parquet.ParquetWriter
        self._folder = folder
        self._rows: dict[str, list[list[Any]]] = {}
        self._open: dict[str, Any] = {}

    def add(self, reading: Reading) -> None:
        """One more row; written when enough have come together."""
        if reading.name not in self._open:
            path = self._folder / f"{reading.name}.parquet"
            self._open[reading.name] = self._writer_of(path, self._schema(reading))
            self._rows[reading.name] = []
        rows = self._rows[reading.name]
        rows.append([*_head(reading), *reading.values.values()])
        if len(rows) >= _ROWS_AT_ONCE:
            self._flush(reading.name)

    def close(self) -> None:
        """Every file is whole."""
        for name, writer in self._open.items():
            self._flush(name)
            writer.close()

    def _schema(self, reading: Reading) -> Any:
        arrow = self._arrow
        kinds = {
            Wire.U8: arrow.uint8(),
            Wire.U16: arrow.uint16(),
            Wire.U32: arrow.uint32(),
            Wire.U64: arrow.uint64(),
            Wire.F64: arrow.float64(),
            Wire.TEXT: arrow.string(),
            Wire.TIME: arrow.int64(),
        }
        heads = [("utc_ns", arrow.int64()), ("is_time_set", arrow.bool_()), ("sequence", arrow.uint16())]
        return arrow.schema([*heads, *((each.name, kinds[each.wire]) for each in reading.fields)])

    def _flush(self, name: str) -> None:
        rows, self._rows[name] = self._rows[name], []
        if rows:
            schema = self._open[name].schema
            columns = [
                self._arrow.array([row[place] for row in rows], kind.type)
                for place, kind in enumerate(schema)
            ]
            self._open[name].write_table(self._arrow.Table.from_arrays(columns, schema=schema))


def _head(reading: Reading) -> tuple[int, bool, int]:
    return reading.utc_ns, reading.is_time_set, reading.sequence
