"""Queries that come with Winnow, for `winnow query RUN --named NAME`.

Each kind of database brings its own (`ViewDatabase.named`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from winnow.core.errors import ConfigError, QueryError, did_you_mean
from winnow.core.sql_text import identifier

#: Stands in a query for the input's column that the user names.
COLUMN = "{column}"


@dataclass(frozen=True)
class NamedQuery:
    """A query and what it answers; `column` is the one it uses unless told another."""

    about: str
    sql: str
    column: str | None = None


def named_sql(
    queries: Mapping[str, NamedQuery],
    name: str,
    column: str | None = None,
    columns: Sequence[str] = (),
) -> str:
    """Return a named query's SQL.

    queries: the named queries there are.
    column: the input's column to use in place of the query's usual one.
    columns: those that the input has.

    Raises ConfigError for an unknown name or a column that the query does not take,
    QueryError for a column that the input lacks.
    """
    if name not in queries:
        raise ConfigError(f"no query named '{name}'; {did_you_mean(name, queries)}")
    query = queries[name]
    if query.column is None:
        if column is not None:
            raise ConfigError(f"the query '{name}' takes no column")
        return query.sql
    wanted = column or query.column
    if wanted not in columns:
        raise QueryError(
            f"samples has no column '{wanted}'; choose one with --column: "
            + ", ".join(columns)
        )
    return query.sql.replace(COLUMN, identifier(wanted))
