"""Rows that a run, a lake or a query gives, for whichever library reads them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.extras import require_package
from winnow.core.words import number_of
from winnow.handles import markup
from winnow.reports.rows_out import write_table

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from winnow.reports.notebook import Chart

#: Rows that a notebook or a prompt shows.
_SHOWN = 10


class ArrowRows:
    """Rows as Arrow; read when they are asked for, and again each time.

    open_batches: returns the rows' schema and their batches, from the start.
    rows: returns how many there are, if that is known without reading them.

    What reads Arrow's C stream (`polars.DataFrame(rows)`, `pyarrow.table(rows)`,
    DuckDB) reads these too. `batches` and iteration hold one batch at a time; all else
    holds all rows.

    >>> rows = run.query("SELECT fate, count(*) AS rows FROM fates GROUP BY fate")
    >>> rows.column_names
    ['fate', 'rows']
    >>> rows.polars()["rows"].sum() == len(run.fates())
    True
    """

    def __init__(
        self,
        open_batches: Callable[[], tuple[pa.Schema, Iterator[pa.RecordBatch]]],
        rows: Callable[[], int] | None = None,
    ) -> None:
        self._open, self._count = open_batches, rows
        self._schema: pa.Schema | None = None
        self._rows: int | None = None

    @classmethod
    def of(cls, table: Any) -> Self:
        """Return rows that are all there.

        table: a `pyarrow.Table`, or what has Arrow's C stream: a frame of polars, say.

        >>> winnow.ArrowRows.of(run.steps().polars()).column_names[:2]
        ['step', 'rows_in']
        """
        table = table if isinstance(table, pa.Table) else pa.table(table)
        rows = cls(lambda: (table.schema, iter(table.to_batches())))
        rows._schema, rows._rows = table.schema, len(table)
        return rows

    @property
    def schema(self) -> pa.Schema:
        """The columns' names and Arrow types."""
        if self._schema is None:
            self._schema, batches = self._open()
            _close(batches)
        return self._schema

    @property
    def column_names(self) -> list[str]:
        """The columns' names, in order."""
        return list(self.schema.names)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow record batches, holding one at a time."""
        self._schema, batches = self._open()
        try:
            yield from batches
        finally:
            _close(batches)

    def arrow(self) -> pa.Table:
        """Return all rows as a `pyarrow.Table`."""
        table = pa.Table.from_batches(list(self.batches()), self.schema)
        self._rows = len(table)
        return table

    def polars(self) -> pl.DataFrame:
        """Return all rows as a polars DataFrame."""
        import polars as pl

        frame = pl.from_arrow(self.arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def pandas(self) -> pd.DataFrame:
        """Return all rows as a pandas DataFrame.

        Raises MissingExtraError if pandas is not installed.
        """
        require_package("pandas", "ArrowRows.pandas")
        import pandas as pd

        frame: pd.DataFrame = self.arrow().to_pandas()
        assert isinstance(frame, pd.DataFrame)
        return frame

    def numpy(self, column: str) -> npt.NDArray[Any]:
        """Return a column as an array: (n,), or (n, d) of vectors of one length d.

        column: its name.

        Raises ConfigError for an unknown column, or one whose vectors differ in length
        or are missing.

        >>> run.vectors().numpy("image_vector").shape == (len(run.vectors()), 16)
        True
        """
        values = self[column].combine_chunks()
        if not _is_list(values.type):
            return np.asarray(values.to_numpy(zero_copy_only=False))
        if values.null_count or len(pc.list_value_length(values).unique()) > 1:
            raise ConfigError(f"{column}: its vectors are missing or differ in length")
        flat = values.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat.reshape(len(values), -1))

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return all rows as dictionaries."""
        return list(self)

    def lines(
        self, x: str, y: str, colour: str | None = None, *, log: bool = False
    ) -> Chart:
        """Return a chart of lines through the rows, which a notebook shows.

        x: column across.
        y: column upwards; a column `simulated` beside it is drawn as points.
        colour: column of which each value has a line. None: one line.
        log: use logarithmic axes.
        """
        from winnow.reports.notebook import lines

        for name in filter(None, (x, y, colour)):
            self._require(name)
        return lines(self.to_pylist(), x, y, colour, log=log)

    def __getitem__(self, column: str) -> pa.ChunkedArray:
        self._require(column)
        return self.arrow()[column]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.batches():
            yield from batch.to_pylist()

    def __len__(self) -> int:
        if self._rows is None:
            count = self._count or (lambda: sum(map(len, self.batches())))
            self._rows = count()
        return self._rows

    def __bool__(self) -> bool:
        return any(len(batch) for batch in self.batches())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        schema = self.schema
        reader = pa.RecordBatchReader.from_batches(schema, self.batches())
        return reader.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        text = io.StringIO()
        first = list(_cut(self.batches(), _SHOWN + 1))
        write_table(_Few(self.schema, list(_cut(iter(first), _SHOWN))), text)
        if sum(map(len, first)) > _SHOWN:
            text.write(f"… {self._more()}\n")
        return text.getvalue().rstrip("\n")

    def _more(self) -> str:
        """Say how many rows are not shown, where that is known or soon counted."""
        if self._rows is None and self._count is None:
            return "more rows"
        return number_of(len(self) - _SHOWN, "more row", "more rows")

    def _repr_html_(self) -> str:
        rows = [row for batch in self._first() for row in _tuples(batch)]
        count = "" if self._rows is None else f" of {self._rows:,}"
        shown = f"{len(rows):,}{count} rows" if len(rows) == _SHOWN else ""
        return markup.table(self.column_names, rows) + markup.line(shown)

    def _ipython_key_completions_(self) -> list[str]:
        return self.column_names

    def _first(self) -> list[pa.RecordBatch]:
        return list(_cut(self.batches(), _SHOWN))

    def _require(self, column: str) -> None:
        if column not in self.column_names:
            hint = did_you_mean(column, self.column_names)
            raise ConfigError(f"no column '{column}'; {hint}")


class _Few:
    """The first rows, as what writes a table takes them."""

    def __init__(self, schema: pa.Schema, batches: list[pa.RecordBatch]) -> None:
        self.schema, self._batches = schema, batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self._batches)


def _cut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    left = rows
    for batch in batches:
        if left <= 0:
            break
        yield batch.slice(0, left)
        left -= len(batch)
    _close(batches)


def _tuples(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    columns = [column.to_pylist() for column in batch.columns]
    return list(islice(zip(*columns, strict=True), _SHOWN))


def _close(batches: Iterator[pa.RecordBatch]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    )
