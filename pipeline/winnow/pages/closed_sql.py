"""DuckDB closed to the world: SELECTs over views, within limits, and nothing else.

Three layers, each of which a test attacks by itself:

1. The parsed statement: one SELECT (or EXPLAIN of one), whose every part reads. This
   is needed although files are closed: a COPY inside WITH counts as a SELECT and could
   write to the folder that DuckDB spills to.
2. The engine: external access off but for the listed files, no extensions, no secrets,
   configuration locked, every query in a read-only transaction.
3. Limits: memory with spilling, time (interrupted from a timer), rows.

See DuckDB's page "Securing DuckDB".
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from winnow.core.errors import QueryError
from winnow.core.sql_text import AS_STORED, identifier, literal
from winnow.core.task import available_cores

#: Rows of a batch that comes back: few, since a row may hold an image.
_BATCH_ROWS = 2048
_SPILL = "20GiB"
#: What a thread of a join needs, in MB: with less it fails instead of spilling. Joins
#: of 10⁷ uids failed with 96.
_THREAD_MB = 128

# Kinds of query nodes that read; INSERT, COPY and the like are nodes of other kinds.
_READING = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
#: Functions that make rows from their arguments alone. No other table function may be
#: called: those read files, change the engine, or parse SQL that was not checked.
_TABLE_FUNCTIONS = {
    "generate_series",
    "generate_subscripts",
    "json_each",
    "json_tree",
    "range",
    "regexp_split_to_table",
    "repeat",
    "unnest",
}
#: Functions of rows with an effect, or an answer, outside the query.
_FORBIDDEN = {
    "current_setting",
    "getenv",
    "nextval",
    "pg_sleep",
    "setval",
    "sleep_ms",
    "write_log",
}
_EXPLAIN = re.compile(r"\s*explain(\s+analyze)?\s", re.IGNORECASE)


def closed_connection(
    files: Sequence[str],
    scratch: str | Path,
    *,
    views: Sequence[str] = (),
    memory_mb: int | None = None,
    filesystems: Sequence[Any] = (),
) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB in memory that opens the given files and no other.

    scratch: the folder that it spills to. memory_mb: what it holds before it does so,
    with a bound on the folder as well (None: as DuckDB finds fit); queries have as many
    threads as that is enough for, so that more cores take no more memory. views: SQL
    that runs before it closes. filesystems: fsspec's, for URLs.
    """
    # What was read is kept only of URLs: the system keeps files of this machine, and
    # gives them back where memory is short.
    caching = {} if filesystems else {"enable_external_file_cache": "false"}
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_persistent_secrets": "false",
            "python_enable_replacements": "false",
            "temp_directory": str(scratch),
            **caching,
            **({} if memory_mb is None else _limits(memory_mb)),
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        for filesystem in filesystems:
            connection.register_filesystem(filesystem)
        allowed = ", ".join(map(literal, files))
        connection.execute(f"SET allowed_paths = [{allowed}]")
        for view in views:
            connection.execute(view)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection


def _limits(memory_mb: int) -> dict[str, str]:
    threads = max(1, memory_mb // _THREAD_MB)
    return {
        "memory_limit": f"{memory_mb}MB",
        "max_temp_directory_size": _SPILL,
        "threads": str(min(available_cores(), threads)),
    }


class ClosedSql:
    """A DuckDB in memory that opens the given files and no other.

    `views` is SQL run before it closes. Threads may query at once; each query has a
    connection of its own. Memory and disk are bounded, so is what a query may take.
    """

    def __init__(
        self,
        views: Sequence[str],
        files: Sequence[str],
        *,
        memory_mb: int = 512,
        filesystems: Sequence[Any] = (),
    ) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="winnow-query-"))
        try:
            self._connection = closed_connection(
                files,
                self.scratch,
                views=views,
                memory_mb=memory_mb,
                filesystems=filesystems,
            )
        except BaseException:
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise
        # Of a view in another schema a query names the schema, and is refused for it.
        names = (
            "SELECT view_name FROM duckdb_views() "
            "WHERE schema_name <> 'information_schema' AND {} internal"
        )
        self._internal = self._named(names.format(""))
        self._internal -= self._named(names.format("NOT"))

    def _named(self, sql: str) -> set[str]:
        """Return the names that a query of our own gives, in lower case."""
        return {name.lower() for (name,) in self._connection.execute(sql).fetchall()}

    def define(self, view: str) -> None:
        """Run a CREATE VIEW of our own making, after the engine has closed."""
        with self._connection.cursor() as cursor:
            cursor.execute(view)

    def store(self, view: str, order: str) -> None:
        """Replace a view by its rows in the scratch folder; raises QueryError."""
        file = literal(str(self.scratch / f"{view}.parquet"))
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(f"COPY (FROM {view} ORDER BY {order}) TO {file}")
                cursor.execute(
                    f"CREATE OR REPLACE VIEW {view} AS "
                    f"FROM read_parquet([{file}], {AS_STORED})"
                )
            except duckdb.Error as error:
                raise query_error(error) from error

    def columns(self, view: str) -> list[tuple[str, str]]:
        """Return a view's columns and their SQL types."""
        # Of a view called `tables`, DESCRIBE alone would list every view instead.
        described = f"DESCRIBE SELECT * FROM {identifier(view)}"
        with self._connection.cursor() as cursor:
            described_columns = cursor.execute(described).fetchall()
        return [(name, kind) for name, kind, *_ in described_columns]

    def tables_of(self, sql: str) -> set[str]:
        """Return the names of views that a query reads, in lower case.

        Raises QueryError if it is anything but one reading statement.
        """
        with self._connection.cursor() as cursor:
            statement = _only_statement(cursor, sql)
            rest = sql
            if statement.type == duckdb.StatementType.EXPLAIN:
                rest = _EXPLAIN.sub("", sql, count=1)
            asked = "SELECT json_serialize_sql(?)"
            (text,) = cursor.execute(asked, [rest]).fetchone() or ("{}",)
        try:
            tree = json.loads(text)
        except RecursionError as error:
            raise QueryError("the query is too deeply nested") from error
        if tree.get("error", True) or len(tree["statements"]) != 1:
            raise QueryError(
                "only a SELECT can be asked here: "
                + str(tree.get("error_message", "this is none"))
            )
        tables: set[str] = set()
        _require_reading(tree, tables)
        for name in sorted(tables & self._internal):
            # They tell of the engine: its settings, paths and what else it holds.
            raise QueryError(f"{name} is the engine's own; SHOW TABLES lists the views")
        return tables

    def stream(
        self, sql: str, parameters: Sequence[Any], seconds: float | None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a checked query; the first batch may be empty.

        Raises QueryError if it fails, or takes longer than `seconds` between start
        and end, the time that its reader takes included.
        """
        cursor = self._connection.cursor()
        clock = _Clock(cursor, seconds)
        try:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            asked = cursor.sql(sql, params=list(parameters) or None)
            reader = asked.to_arrow_reader(_BATCH_ROWS)
            # Not from lists, for which Arrow imports pandas.
            empty = [pa.nulls(0, field.type) for field in reader.schema]
            yield pa.RecordBatch.from_arrays(empty, schema=reader.schema)
            for batch in reader:
                clock.check()
                yield batch
            clock.check()
        except (duckdb.Error, pa.ArrowException, OSError, RuntimeError) as error:
            clock.check(error)
            raise query_error(error) from error
        finally:
            clock.stop()
            cursor.close()

    def close(self) -> None:
        """Close the database and remove what it spilled."""
        self._connection.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


class _Clock:
    """Interrupts a connection's query when its time is up, until it has stopped."""

    def __init__(self, cursor: Any, seconds: float | None) -> None:
        self._cursor, self._seconds = cursor, seconds
        self._done, self._late = threading.Event(), False
        self._thread: threading.Thread | None = None
        if seconds is not None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        if self._done.wait(self._seconds):
            return
        self._late = True
        while not self._done.wait(0.05):
            # Once is not enough: an interrupt before a query starts is forgotten.
            self._cursor.interrupt()

    def check(self, cause: BaseException | None = None) -> None:
        """Raise QueryError if the time is up."""
        if self._late:
            raise QueryError(
                f"the query took longer than {self._seconds:g} s and was stopped; "
                "allow more seconds, or ask for less"
            ) from cause

    def stop(self) -> None:
        """End the watch."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()


def _only_statement(cursor: Any, sql: str) -> Any:
    try:
        statements = cursor.extract_statements(sql)
    # ValueError: text that is no UTF-8; RuntimeError: what a parser of C++ throws.
    except (duckdb.Error, ValueError, RuntimeError) as error:
        raise query_error(error) from error
    if len(statements) != 1:
        raise QueryError(f"one statement at a time, not {len(statements)}")
    if statements[0].type.name == "MULTI":
        # The engine first asks which values there are, and makes a type of them.
        raise QueryError(
            "PIVOT has to name its values here: PIVOT … ON column IN ('a', 'b') USING …"
        )
    kinds = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if statements[0].type not in kinds:
        raise QueryError(
            f"{statements[0].type.name} is not allowed: a run is read with SELECT "
            "(also WITH, DESCRIBE, SUMMARIZE, SHOW TABLES and EXPLAIN), never changed"
        )
    return statements[0]


def _require_reading(tree: Any, tables: set[str]) -> None:
    """Walk a parsed statement; raises QueryError at what does not only read."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            _require_reading_node(node, tables)


def _require_reading_node(node: dict[str, Any], tables: set[str]) -> None:
    kind = node.get("type")
    if "info_type" in node or (
        isinstance(kind, str) and kind.endswith("_NODE") and kind not in _READING
    ):
        raise QueryError(f"{str(kind).removesuffix('_NODE')} is not allowed in a query")
    if kind == "BASE_TABLE":
        schema = str(node.get("schema_name") or "main").lower()
        if schema != "main":
            raise QueryError(
                f"{schema}.{node['table_name']} is the engine's own; SHOW TABLES lists "
                "the views"
            )
        tables.add(str(node["table_name"]).lower())
    if kind == "SHOW_REF":
        tables.add(str(node.get("table_name", "")).lower().strip('"'))
    if kind == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "?")).lower()
        if name not in _TABLE_FUNCTIONS:
            allowed = ", ".join(sorted(_TABLE_FUNCTIONS))
            raise QueryError(
                f"FROM {name}(…) is not allowed: a query reads the run's views and "
                f"nothing else (functions that make rows: {allowed})"
            )
    elif str(node.get("function_name", "")).lower() in _FORBIDDEN:
        raise QueryError(f"{node['function_name']}() is not allowed in a query")


def query_error(error: BaseException) -> QueryError:
    """Return what is wrong with a query, in the engine's words but for the query."""
    # What follows shows the query again, or names settings that are locked.
    text = re.split("\n\n(?:LINE |Possible solutions)", str(error))[0].strip()
    return QueryError(text or repr(error))


def create_views(bodies: Mapping[str, str]) -> list[str]:
    """Return the statements that make views of SELECTs, by the views' names."""
    return [f"CREATE VIEW {name} AS {body}" for name, body in bodies.items()]
