"""What a run and a lake have in common: a folder whose views are asked in SQL."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import pyarrow as pa

from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.sql_text import literal
from winnow.handles.rows import ArrowRows
from winnow.pages.database import ViewDatabase

Database = TypeVar("Database", bound=ViewDatabase)


class AskedFolder(Generic[Database]):
    """A folder, opened to be read; its database is opened by the first question."""

    def __init__(self, path: Path, connect: Callable[[Path], Database]) -> None:
        self._path, self._connect = path, connect
        self._database: Database | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    def views(self) -> ArrowRows:
        """Return the views that `query` can read, and their columns by comma.

        >>> "fates" in run.views()["view"].to_pylist()
        True
        """
        views = self._sql().views.items()
        columns = [", ".join(name for name, _ in columns) for _, columns in views]
        names = [name for name, _ in views]
        return ArrowRows.of(pa.table({"view": names, "columns": columns}))

    def query(
        self, sql: str, parameters: Sequence[Any] = (), *, seconds: float | None = None
    ) -> ArrowRows:
        """Return the rows of a SELECT over the views.

        sql: one statement in DuckDB's SQL; it reads the folder and its input alone.
        parameters: values for each `?` in it.
        seconds: a query that takes longer is stopped. None: no limit.

        Raises QueryError if it is no SELECT, is wrong, or takes too long.

        >>> asked = "SELECT count(*) AS n FROM fates WHERE fate = ?"
        >>> run.query(asked, ["kept"]).to_pylist() == [{"n": len(run.kept())}]
        True
        """
        return ArrowRows.of(self._sql().query(sql, parameters, seconds=seconds))

    def named_queries(self) -> ArrowRows:
        """Return the queries that come with Winnow: `name`, and what it answers.

        >>> "largest-duplicate-groups" in run.named_queries()["name"].to_pylist()
        True
        """
        queries = self._sql().named
        about = [query.about for query in queries.values()]
        return ArrowRows.of(pa.table({"name": list(queries), "answers": about}))

    def named_query(self, name: str, column: str | None = None) -> ArrowRows:
        """Return the rows of a query that comes with Winnow.

        name: one of `named_queries`.
        column: the input's column to use in place of the query's usual one.

        Raises ConfigError for an unknown name or a column that the query does not
        take, QueryError for one that the input lacks.

        >>> run.named_query("fates").column_names
        ['fate', 'step', 'reason', 'rows']
        """
        return self.query(self._sql().named_sql(name, column))

    def close(self) -> None:
        """Close what was opened for questions; the next one opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _sql(self) -> Database:
        if self._database is None:
            database = self._connect(self._path)
            # Without close() its scratch folder goes with whoever held it.
            weakref.finalize(self, database.close)
            self._database = database
        return self._database

    def _view(self, view: str, step: str | None = None) -> ArrowRows:
        """Return a view's rows, of one step alone if there is one; read when asked."""
        chosen = f" WHERE step = {literal(step)}" if step is not None else ""
        sql = f'SELECT * FROM "{view}"{chosen}'

        def opened() -> tuple[pa.Schema, Any]:
            rows = self._sql().stream(sql)
            return rows.schema, _closing(rows)

        return ArrowRows(opened)


def _closing(rows: Any) -> Any:
    """Yield a query's batches; whoever stops reading stops the query."""
    try:
        yield from rows
    finally:
        rows.close()


def known_step(step: str | None, steps: Sequence[str]) -> str | None:
    """Return a step's name; raises ConfigError if the run does not have it."""
    if step is not None and step not in steps:
        raise ConfigError(f"this run has no step '{step}'; {did_you_mean(step, steps)}")
    return step
