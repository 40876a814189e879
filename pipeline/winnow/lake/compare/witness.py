"""A row as a witness: JSON of the values that a parent lacks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.lake.compare.hashed_tables import HashedTables
from winnow.lake.kernels.min_max import Refutation, in_words
from winnow.lake.kernels.tables import Family

_AS_THEY_ARE = (Family.NUMBER, Family.BOOLEAN)
_LONGEST = 4096
# Making one anew for each witness is what would take the time.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def row_witnesses(
    tables: HashedTables, child: int, positions: npt.NDArray[np.int64]
) -> list[str]:
    """Return the compared columns of a child's rows as JSON objects.

    Raises UnreadableTable if the child's rows cannot be read.
    """
    columns = [tables.names[child][name] for name in tables.names_of(child)]
    return _objects(tables.reader.rows(child, positions, columns))


def value_witnesses(
    tables: HashedTables, child: int, column: str, positions: npt.NDArray[np.int64]
) -> list[str]:
    """Return one column (a compared name) of a child's rows as JSON objects."""
    stored_name = tables.names[child][column]
    return _objects(tables.reader.rows(child, positions, [stored_name]))


def bound_witness(name: str, refutation: Refutation, family: Family) -> str | None:
    """Return the value that a footer says must occur as a JSON object, if it is known.

    A text that does not fit a witness is none: the bound is long, not cut.
    """
    if refutation.null:
        return _json({name: None})
    value = refutation.witness
    if value is None:
        return None
    if isinstance(value, bytes):
        text = value.decode(errors="replace") if family is Family.TEXT else value.hex()
        return _json({name: text})
    plain = value if family in _AS_THEY_ARE else in_words(value, family)
    return _json({name: _plain(plain)})


def _objects(rows: pa.Table) -> list[str]:
    columns = {name: _values(rows.column(name)) for name in rows.column_names}
    return [_json({n: column[i] for n, column in columns.items()}) for i in _each(rows)]


def _each(rows: pa.Table) -> range:
    return range(rows.num_rows)


def _values(column: pa.ChunkedArray) -> Sequence[Any]:
    try:
        values: list[Any] = column.to_pylist()
        return values
    except (ValueError, OverflowError, pa.ArrowException):
        # Dates beyond the year 9999, nanoseconds: Python has no value for them.
        return [_in_text(value) for value in column]


def _in_text(value: pa.Scalar) -> str | None:
    try:
        text: str | None = value.cast(pa.string()).as_py()
        return text
    except pa.ArrowException:
        return str(value)


def _json(values: Mapping[str, Any]) -> str:
    return _ENCODER.encode(_plain(values))


def _plain(value: Any) -> Any:
    """Return what JSON can hold; NaN and infinities as words, bytes as text or hex."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        value = _of_bytes(value)
    if isinstance(value, str):
        sound = value.encode(errors="replace").decode()
        return sound if len(sound) <= _LONGEST else f"{sound[:_LONGEST]}…"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def _of_bytes(value: bytes) -> str:
    text = value.decode(errors="backslashreplace")
    return text if text.isprintable() else value.hex()
