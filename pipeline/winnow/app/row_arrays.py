"""Columns of a run's index as arrays over all rows, for pages that show all at once.

Row n of an array is row number n. What has been asked for is kept, the last first, up
to a bound: a column of a million rows is four or eight megabytes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.app.filters import AskedPage
from winnow.app.row_index import IndexedColumn
from winnow.app.rows import IndexedRows
from winnow.core.errors import QueryError

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Coded:
    """A column's values as numbers: `codes` (n,), -1 for none; `values`, by rows."""

    codes: Codes
    values: list[object]
    counts: list[int]


class RowArrays:
    """Whole columns of one index; several threads may ask."""

    def __init__(self, rows: IndexedRows) -> None:
        self._rows = rows
        self.size = rows.index.rows
        self._kept: OrderedDict[tuple[str, str], Floats | Coded] = OrderedDict()
        self._lock = Lock()

    def numbers(self, column: IndexedColumn) -> Floats:
        """Return a column of numbers, (n,) float64; NaN where a row has none."""
        with self._lock:
            kept = self._remembered(column.name, "numbers")
            if not isinstance(kept, np.ndarray):
                table = self._read(f"{column.sql}::DOUBLE")
                kept = np.full(self.size, np.nan)
                kept[_numbers_of(table["n"])] = table["value"].to_numpy()
                self._remember(column.name, "numbers", kept)
            return kept

    def coded(self, column: IndexedColumn) -> Coded:
        """Return a column's values, most frequent first, and which one each row has."""
        with self._lock:
            kept = self._remembered(column.name, "coded")
            if not isinstance(kept, Coded):
                kept = _coded(self._read(column.sql), self.size)
                self._remember(column.name, "coded", kept)
            return kept

    def mask(self, wanted: AskedPage, marks: dict[str, str]) -> Mask | None:
        """Return which rows an address asks for, (n,); None: all of them."""
        where = self._rows.where(wanted, marks)
        if not where.parts:
            return None
        table = self._rows.table(f"SELECT n FROM rows {where.sql}", where.values)
        mask = np.zeros(self.size, np.bool_)
        mask[_numbers_of(table["n"])] = True
        return mask

    def _read(self, sql: str) -> pa.Table:
        return self._rows.table(
            f"SELECT n, {sql} AS value FROM rows WHERE {sql} IS NOT NULL"
        )

    def _remembered(self, *key: str) -> Floats | Coded | None:
        name, kind = key
        if (name, kind) in self._kept:
            self._kept.move_to_end((name, kind))
        return self._kept.get((name, kind))

    def _remember(self, name: str, kind: str, value: Floats | Coded) -> None:
        self._kept[name, kind] = value
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > (
            _KEPT_BYTES
        ):
            self._kept.popitem(last=False)


def column_of(rows: IndexedRows, name: str) -> IndexedColumn:
    """Return a column by its name; raises QueryError if there is none."""
    column = rows.index.column(name)
    if column is None:
        raise QueryError(f"this run has no column '{name}'")
    return column


def _bytes(value: Floats | Coded) -> int:
    return value.nbytes if isinstance(value, np.ndarray) else value.codes.nbytes


def _numbers_of(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = column.to_numpy()
    return numbers


def _coded(table: pa.Table, size: int) -> Coded:
    """Number the values: the most frequent is 0; ties in the order of the values."""
    codes = np.full(size, -1, np.int32)
    if not len(table):
        return Coded(codes, [], [])
    named = table["value"].dictionary_encode().combine_chunks()
    if isinstance(named, pa.ChunkedArray):
        named = named.chunk(0)
    values = named.dictionary.to_pylist()
    raw = named.indices.to_numpy()
    counts = np.bincount(raw, minlength=len(values))
    order = sorted(range(len(values)), key=lambda i: (-counts[i], str(values[i])))
    rank = np.empty(len(values), np.int32)
    rank[order] = np.arange(len(values), dtype=np.int32)
    codes[_numbers_of(table["n"])] = rank[raw]
    return Coded(codes, [values[i] for i in order], [int(counts[i]) for i in order])
