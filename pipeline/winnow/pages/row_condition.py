"""A condition in SQL over the columns of one row, and nothing else.

What a row answers depends on that row alone: no other row, no subquery, no clock, no
chance, no file. So the answer is the same whatever the batches and the engine.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import duckdb
import pyarrow as pa

from winnow.core.errors import QueryError
from winnow.core.sql_text import identifier
from winnow.pages.closed_sql import closed_connection, query_error

#: Parts of an expression that look beyond their row.
_BEYOND = {
    "STAR": "all columns at once",
    "SUBQUERY": "a subquery",
    "WINDOW": "a window over other rows",
    "PARAMETER": "a parameter",
}
#: Functions that tell the time, whatever a version of DuckDB says of them.
_CLOCKS = {"current_localtime", "current_localtimestamp"}
_ROWS = "winnow_rows"
_TEMPLATE = f"SELECT (\n{{}}\n) AS holds FROM {_ROWS}"


@dataclass(frozen=True)
class RowCondition:
    """A checked condition; pickles to any worker.

    sql: the expression, in DuckDB's SQL. columns: those that it names, sorted.
    """

    sql: str
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, sql: str) -> RowCondition:
        """Check an expression; raises QueryError if it is none, or looks beyond a row.

        >>> RowCondition.parse("width >= 200 AND text LIKE '%dog%'").columns
        ('text', 'width')
        """
        if not sql.strip():
            raise QueryError("write a condition, as it stands after WHERE")
        with duckdb.connect() as connection:
            tree = _parsed(connection, _TEMPLATE.format(sql))
            template = _parsed(connection, _TEMPLATE.format("TRUE"))
            chosen = tree.pop("select_list")
            template.pop("select_list")
            if len(chosen) != 1 or _placeless(tree) != _placeless(template):
                raise QueryError("write one condition, as it stands after WHERE")
            names: set[str] = set()
            _walk(chosen[0], names, _per_row_functions(), frozenset())
        return cls(sql, tuple(sorted(names)))

    def require_boolean(self, schema: pa.Schema) -> None:
        """Raise QueryError unless it is true or false over columns of these types."""
        empty = schema.empty_table().select(self.columns)
        self._answer(empty.to_batches()[0] if empty.to_batches() else _no_rows(empty))

    def holds(self, rows: pa.RecordBatch) -> pa.Array:
        """Return whether it holds for each row, (n,) booleans; null where unknown.

        rows: at least the columns that it names. Raises QueryError if a value makes it
        fail, as a cast of what is no number does.
        """
        return self._answer(rows)

    def _answer(self, rows: pa.RecordBatch) -> pa.Array:
        # A condition may name no column at all; a table without columns has no rows.
        number = pa.array(range(len(rows)), pa.int64())
        given = pa.Table.from_arrays(
            [number, *(rows.column(name) for name in self.columns)],
            names=["winnow_row", *self.columns],
        )
        cursor = self._connection.cursor()
        try:
            cursor.register(_ROWS, given)
            asked = _TEMPLATE.format(self.sql) + f" ORDER BY {identifier('winnow_row')}"
            answer = cursor.sql(asked).to_arrow_table()
        except (duckdb.Error, RuntimeError) as error:
            raise query_error(error) from error
        finally:
            cursor.close()
        holds = answer["holds"].combine_chunks()
        if not pa.types.is_boolean(holds.type):
            raise QueryError(f"it gives {holds.type}, not true or false")
        return holds

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return closed_connection([], tempfile.gettempdir())

    def __getstate__(self) -> dict[str, Any]:
        return {"sql": self.sql, "columns": self.columns}


def _no_rows(empty: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.nulls(0, field.type) for field in empty.schema], schema=empty.schema
    )


def _parsed(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """Return the node of one SELECT."""
    try:
        statements = connection.extract_statements(sql)
        row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    except (duckdb.Error, ValueError, RuntimeError) as error:
        raise query_error(error) from error
    told = json.loads((row or ("{}",))[0])
    if told.get("error", True) or len(statements) != 1:
        why = told.get("error_message", "more than one statement")
        raise QueryError(f"this is no condition: {why}")
    node: dict[str, Any] = told["statements"][0]["node"]
    return node


def _placeless(value: Any) -> Any:
    """Return a parsed query without the places in the text that its parts are from."""
    if isinstance(value, dict):
        return {k: _placeless(v) for k, v in value.items() if "location" not in k}
    return [_placeless(v) for v in value] if isinstance(value, list) else value


@cache
def _per_row_functions() -> frozenset[str]:
    """Return the functions of one row whose answer depends on their arguments alone.

    Or on the zone in which times of a zone are told, which here always is UTC.
    """
    with duckdb.connect() as connection:
        listed = connection.execute(
            "SELECT function_name FROM duckdb_functions() GROUP BY 1 HAVING bool_and("
            "function_type = 'scalar' AND CASE stability "
            "WHEN 'CONSISTENT' THEN true WHEN 'CONSISTENT_WITHIN_QUERY' THEN "
            "function_name IN ('timezone', 'make_timestamptz') OR list_has_any("
            "parameter_types, ['TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ_NS']) "
            "ELSE false END)"
        )
        return frozenset(name for (name,) in listed.fetchall()) - _CLOCKS


def _is_of_row(call: dict[str, Any], allowed: frozenset[str]) -> bool:
    name = call["function_name"].lower()
    given = call.get("arguments", call.get("children", ()))  # before DuckDB 2
    # Of one time `age` tells how long ago it was.
    return name in allowed and not (name == "age" and len(given) < 2)


def _walk(
    node: Any, names: set[str], allowed: frozenset[str], bound: frozenset[str]
) -> None:
    """Gather column names; raises QueryError at what looks beyond the row.

    bound: names that stand for elements of a list, in a lambda.
    """
    if isinstance(node, list):
        for part in node:
            _walk(part, names, allowed, bound)
    if not isinstance(node, dict):
        return
    kind = node.get("class")
    if kind in _BEYOND:
        raise QueryError(f"{_BEYOND[kind]} looks beyond the row; name its columns")
    if kind == "COLUMN_REF":
        path = node["column_names"]
        if path[0] not in bound:
            names.add(path[0])
        return
    if kind == "FUNCTION" and not _is_of_row(node, allowed):
        raise QueryError(
            f"{node['function_name']}() does not answer from the row's values alone"
        )
    if kind == "LAMBDA":
        inner: set[str] = set()
        _walk(node["lhs"], inner, allowed, frozenset())
        bound = bound | inner
    for part in node.values():
        _walk(part, names, allowed, bound)
