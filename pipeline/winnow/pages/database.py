"""SQL over the views of a folder, read-only and closed: what every query goes through.

A product says which views there are (`reports.database`, `lake.database`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Self

import pyarrow as pa

from winnow.core.errors import QueryError, did_you_mean
from winnow.core.run_folder import RunFolder
from winnow.pages import named_queries
from winnow.pages.closed_sql import ClosedSql
from winnow.pages.named_queries import NamedQuery

_NO_TABLE = re.compile(r"Table with name (\S+) does not exist")


class ViewDatabase:
    """A folder's views, to be asked in SQL; may be used by several threads.

    names: the views that `sql` has.
    max_rows: a query that gives more is refused (`query`) or cut (`stream`).
    seconds: a query that takes longer is stopped. None: no such limit.
    """

    #: What the folder is called in an error.
    kind = "a folder"
    #: Views that join much: stored when they are first asked for, in an order that
    #: lets a query skip what it does not want.
    stored: ClassVar[Mapping[str, str]] = {}
    #: What makes a view that is not there yet, by its name.
    makers: ClassVar[Mapping[str, str]] = {}
    #: The queries that come with Winnow, by name.
    named: ClassVar[Mapping[str, NamedQuery]] = {}

    def __init__(
        self,
        folder: RunFolder,
        names: Iterable[str],
        sql: ClosedSql,
        *,
        max_rows: int | None,
        seconds: float | None,
    ) -> None:
        self.folder = folder
        self.max_rows, self.seconds = max_rows, seconds
        self._done, self._lock = set[str](), Lock()
        self._names, self._sql = sorted(names), sql

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and remove its scratch folder."""
        self._sql.close()

    @property
    def scratch(self) -> Path:
        """A folder that is removed when the database is closed."""
        return self._sql.scratch

    @property
    def names(self) -> list[str]:
        """The views' names."""
        return self._names

    @property
    def views(self) -> dict[str, list[tuple[str, str]]]:
        """Each view's columns and their SQL types."""
        self._prepare(set(self._names) - set(self.stored))
        return {name: self._sql.columns(name) for name in self._names}

    def named_sql(self, name: str, column: str | None = None) -> str:
        """Return the SQL of a query that comes with Winnow.

        column: the input's column to use in place of the query's usual one.

        Raises ConfigError for an unknown name or a column that the query does not
        take, QueryError for a column that the input lacks.
        """
        columns = dict(self.views["samples"]) if "samples" in self._names else {}
        return named_queries.named_sql(self.named, name, column, list(columns))

    def query(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        *,
        seconds: float | None = None,
    ) -> pa.Table:
        """Return a SELECT's rows; `?` in it stand for `parameters`.

        seconds: this query's limit. None: the database's.

        Raises QueryError if it is no SELECT, is wrong, reads what is not the run's,
        takes longer than `seconds`, or gives more than `max_rows` rows.
        """
        rows = self.stream(sql, parameters, seconds=seconds)
        batches = list(rows)
        if rows.cut:
            raise QueryError(
                f"the query gives more than {self.max_rows:,} rows; add LIMIT, or "
                "allow more"
            )
        return pa.Table.from_batches(batches, rows.schema)

    def stream(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        *,
        max_rows: int | None = None,
        seconds: float | None = None,
    ) -> QueryRows:
        """Return a SELECT's rows batch by batch, cut at `max_rows`.

        seconds: this query's limit. None: the database's.

        Raises QueryError as `query` does, partly while the rows are read.
        """
        tables = self._sql.tables_of(sql)
        limits = [n for n in (max_rows, self.max_rows) if n is not None]
        limit = self.seconds if seconds is None else seconds
        batches = self._batches(sql, parameters, tables, limit)
        return QueryRows(batches, min(limits, default=None))

    def _batches(
        self,
        sql: str,
        parameters: Sequence[Any],
        tables: set[str],
        seconds: float | None,
    ) -> Iterator[pa.RecordBatch]:
        self._prepare(tables)
        for first in (True, False):
            begun = False
            try:
                for batch in self._sql.stream(sql, parameters, seconds):
                    yield batch
                    begun = begun or len(batch) > 0
                return
            except QueryError as error:
                if not (first and not begun and self._mended(tables, error)):
                    raise self._explained(error) from error

    def _prepare(self, tables: set[str]) -> None:
        """Make what a query reads quick, once: joins are stored."""
        for name, order in self.stored.items():
            if name in tables and name in self._names:
                self._store(name, order)

    def _mended(self, tables: set[str], error: QueryError) -> bool:
        """Whether something was done for a failed query that is worth another try."""
        return False

    def _store(self, name: str, order: str) -> None:
        """Write a view's rows to the scratch folder and read them there from now on."""
        with self._lock:
            if name not in self._done:
                self._sql.store(name, order)
                self._done.add(name)

    def _explained(self, error: QueryError) -> QueryError:
        """Return the error with what helps: the views there are, what makes one."""
        missing = _NO_TABLE.search(str(error))
        if not missing:
            return error
        name = missing[1]
        maker = f"; `{self.makers[name]}` makes it" if name in self.makers else ""
        views = ", ".join(self._names)
        return QueryError(
            f"no view '{name}'; {did_you_mean(name, self._names)} "
            f"({self.kind} has {views}{maker})"
        )


class QueryRows:
    """A query's rows, batch by batch; `cut` says whether the limit left some out."""

    def __init__(self, batches: Iterator[pa.RecordBatch], max_rows: int | None) -> None:
        self._batches, self._left = batches, max_rows
        self.cut = False
        #: The columns; known before any row is.
        self.schema: pa.Schema = next(batches).schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            if self._left is not None and len(batch) > self._left:
                self.cut = True
                batch = batch.slice(0, self._left)  # noqa: PLW2901
            if self._left is not None:
                self._left -= len(batch)
            if len(batch):
                yield batch
            if self.cut:
                self.close()
                return

    def close(self) -> None:
        """Stop the query."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()
