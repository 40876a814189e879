"""Rows of a query written as a table, CSV, JSON or Parquet, batch by batch.

Nothing here holds more than a batch. Bytes are their size in a table and base64 in CSV
and JSON. Text of a table loses what a terminal would obey.
"""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.terminal import as_cell
from winnow.pages.database import QueryRows

#: Widest cell of a table, and rows whose widths set the columns'.
_CELL = 60
_MEASURED = 200


class Batches(Protocol):
    """Rows whose columns are known before any row is."""

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        ...

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...


def write_table(rows: Batches, out: TextIO) -> int:
    """Write aligned columns; widths follow from the first rows. Returns the rows."""
    names = rows.schema.names
    numeric = [_is_number(field.type) for field in rows.schema]
    lines = (
        [cell(value) for value in row]
        for batch in rows
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    first = list(islice(lines, _MEASURED))
    heads = [cell(name) for name in names]
    widths = [max(map(len, column)) for column in zip(heads, *first, strict=True)]
    written = -1
    for line in chain([heads], first, lines):
        cells = zip(line, widths, numeric, strict=True)
        text = "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in cells)
        out.write(text.rstrip() + "\n")
        written += 1
    return written


def write_csv(rows: QueryRows, out: TextIO) -> int:
    """Write RFC 4180 with a header; nested values are JSON, null is empty.

    A text that a spreadsheet would compute (`=cmd()`) begins with an apostrophe, which
    it shows as text.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_csv(name) for name in rows.schema.names])
    written = 0
    for batch in rows:
        columns = [[_csv(v) for v in column.to_pylist()] for column in batch.columns]
        writer.writerows(zip(*columns, strict=True))
        written += len(batch)
    return written


def write_json(rows: QueryRows, out: TextIO) -> int:
    """Write an array of objects, one to a line; what is no number is null."""
    written = 0
    for row in _objects(rows):
        out.write("[\n" if written == 0 else ",\n")
        json.dump(row, out, ensure_ascii=False, allow_nan=False)
        written += 1
    out.write("\n]\n" if written else "[]\n")
    return written


def write_parquet(rows: QueryRows, file: Path) -> int:
    """Write a Parquet file, which gets its name when it is whole."""
    beside = file.with_name(file.name + ".tmp")
    written = 0
    try:
        with pq.ParquetWriter(beside, rows.schema, compression="zstd") as writer:
            for batch in rows:
                writer.write_batch(batch)
                written += len(batch)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    return written


#: Writers of text by format; `parquet` needs a file.
TEXT: dict[str, Callable[[QueryRows, TextIO], int]] = {
    "table": write_table,
    "csv": write_csv,
    "json": write_json,
}
FORMATS = (*TEXT, "parquet")


def write_file(rows: QueryRows, file: Path, kind: str) -> int:
    """Write rows to a file of one of FORMATS, which gets its name when it is whole."""
    if kind == "parquet":
        return write_parquet(rows, file)
    beside = file.with_name(file.name + ".tmp")
    try:
        with open(beside, "w", encoding="utf-8", newline="") as out:
            written = TEXT[kind](rows, out)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    return written


def _objects(rows: QueryRows) -> Iterator[dict[str, Any]]:
    for batch in rows:
        columns = [[as_json(v) for v in column.to_pylist()] for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield dict(zip(rows.schema.names, row, strict=True))


def as_json(value: Any) -> Any:
    """Return a value as JSON knows it: bytes as base64, times as ISO 8601."""
    simple: Any = value
    if isinstance(value, bytes):
        simple = base64.b64encode(value).decode()
    elif isinstance(value, float):
        simple = value if math.isfinite(value) else None
    elif isinstance(value, Decimal):
        # Sums of whole numbers come as decimals without places.
        simple = int(value) if value == value.to_integral_value() else float(value)
    elif isinstance(value, datetime | date | time):
        simple = value.isoformat()
    elif isinstance(value, dict):
        simple = {str(key): as_json(inner) for key, inner in value.items()}
    elif isinstance(value, list | tuple):
        simple = [as_json(inner) for inner in value]
    elif not isinstance(value, str | int | None):
        simple = str(value)
    return simple


def _csv(value: Any) -> Any:
    if isinstance(value, str):
        return as_cell(value)
    plain = as_json(value)
    if isinstance(plain, dict | list):
        return json.dumps(plain, ensure_ascii=False)
    return plain


def cell(value: Any) -> str:
    """Return a value as a table shows it: one line, cut; bytes are their size."""
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, timedelta):
        return str(value)
    simple = _sized(value) if isinstance(value, dict | list) else as_json(value)
    text = simple if isinstance(simple, str) else json.dumps(simple, ensure_ascii=False)
    plain = "".join(c if c.isprintable() else " " for c in text[: 4 * _CELL])
    return plain if len(plain) <= _CELL else plain[: _CELL - 1] + "…"


def _sized(value: Any) -> Any:
    """Return a nested value with its bytes as their size."""
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if isinstance(value, dict):
        return {str(key): _sized(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_sized(inner) for inner in value[:_CELL]]
    return as_json(value)


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    )
