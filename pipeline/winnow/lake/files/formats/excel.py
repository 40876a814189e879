"""Excel workbooks, by calamine: each sheet a table, its first row the column names.

A sheet's cells have types, its columns do not: a column of cells of several types is
text that tells them apart.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from winnow.lake.files.formats.opened import OpenedRows, RowFormat

_KINDS: tuple[tuple[type | tuple[type, ...], pa.DataType], ...] = (
    (bool, pa.bool_()),
    (str, pa.string()),
    (datetime, pa.timestamp("us")),
    (date, pa.date32()),
    (time, pa.time64("us")),
    (timedelta, pa.duration("us")),
)


def _workbook(path: str) -> Any:
    if importlib.util.find_spec("python_calamine") is None:
        raise ValueError(
            "Excel files need an extra: pip install 'datawinnow[excel]', or leave them "
            "out with input.exclude"
        )
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        return CalamineWorkbook.from_path(path)
    except CalamineError as error:
        raise ValueError(str(error)) from error


def _tables(path: str) -> list[str]:
    return list(_workbook(path).sheet_names)


@contextmanager
def _opened(path: str, sheet: str) -> Iterator[OpenedRows]:
    rows = _workbook(path).get_sheet_by_name(sheet).to_python(skip_empty_area=True)
    table = _table(rows)
    yield OpenedRows(table.schema, iter(table.to_batches()), len(table))


def _table(rows: Sequence[Sequence[Any]]) -> pa.Table:
    if not rows:
        return pa.table({})
    names = _names(rows[0])
    columns = zip(*rows[1:], strict=True) if len(rows) > 1 else [()] * len(names)
    return pa.table([_column(values) for values in columns], names)


def _names(header: Sequence[Any]) -> list[str]:
    """Return the first row as names; of those that repeat the later are numbered."""
    seen: Counter[str] = Counter()
    names = []
    for cell in header:
        name = str(cell)
        names.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def _column(values: Sequence[Any]) -> pa.Array:
    """Return a column of cells; empty ones are null."""
    cells = [None if cell == "" else cell for cell in values]
    kinds = {_kind(cell) for cell in cells if cell is not None}
    if kinds <= {pa.int64()}:
        return pa.array(cells, pa.int64() if kinds else pa.null())
    if kinds <= {pa.int64(), pa.float64()}:
        return pa.array([None if c is None else float(c) for c in cells], pa.float64())
    if len(kinds) == 1:
        return pa.array(cells, kinds.pop())
    told = [None if c is None else json.dumps(c, default=repr) for c in cells]
    return pa.array(told, pa.string())


def _kind(cell: Any) -> pa.DataType:
    for kinds, kind in _KINDS:
        if isinstance(cell, kinds):
            return kind
    # Excel has doubles only; whole ones are what a person takes for integers.
    whole = float(cell).is_integer() and abs(cell) < 2**53
    return pa.int64() if whole else pa.float64()


EXCEL = RowFormat(_opened, _tables)
