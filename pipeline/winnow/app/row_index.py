"""One wide table of a run's rows, built once beside the run, for pages and filters.

`RUN/ui/rows-DIGEST.duckdb` holds one row for each input row: where it is, what became
of it, its scores, clusters and the input's plain columns. The digest covers the steps'
fingerprints, so that a run that has changed gets another index.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from winnow.core.errors import QueryError, RunError
from winnow.core.hashing import digest
from winnow.core.operating_system import lock
from winnow.core.run_folder import RunFolder, remove
from winnow.core.sql_text import identifier, literal
from winnow.reports.database import RunDatabase
from winnow.reports.pool_sql import place_names

#: Folder of the app below the run's.
FOLDER = "ui"
_LOCK = "rows.lock"
_VERSION = "1"
#: Characters of a text that are kept in the index, and so can be searched.
SEARCHED = 4_000
#: Memory for reading the run's views, tried in turn, and for writing the index.
_BUILD_MB = (400, 2_000)
_MEMORY = "200MB"

_NUMBERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT",
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
}  # fmt: skip
_PLAIN = {"uid": "uid", "source": "shard", "row": "row in its shard"}
_FATE = {
    "fate": "fate",
    "step": "step that decided",
    "reason": "reason",
    "score": "score at that step",
    "threshold": "threshold at that step",
    "severity": "severity",
    "kept_twin": "twin",
}


@dataclass(frozen=True)
class IndexedColumn:
    """A column of the index that pages may show, filter and sort by."""

    name: str
    label: str
    #: text, whole, number, flag or time.
    kind: str
    #: row, fate, score, cluster or input.
    role: str

    @property
    def sql(self) -> str:
        """The column in SQL."""
        return identifier(self.name)


@dataclass(frozen=True)
class RowIndex:
    """The finished index: its file and its columns."""

    file: Path
    columns: tuple[IndexedColumn, ...]
    rows: int

    def column(self, name: str) -> IndexedColumn | None:
        """Return a column by its name."""
        return next((c for c in self.columns if c.name == name), None)


def row_index(database: RunDatabase, scratch: Path) -> RowIndex:
    """Return a run's index; builds it if there is none for the run as it is now.

    Written beside the run, or to `scratch` if nothing can be written there or another
    process is about to. What a killed process left beside the run is removed.
    Raises RunError if the run has no rows yet.
    """
    folder = database.folder
    if not (folder.artifacts("index") / "samples").is_dir():
        raise RunError(f"{folder.path}: no step has run yet; there is nothing to show")
    name = f"rows-{_state(database)}.duckdb"
    beside = folder.file(FOLDER) / name
    with _held(beside.parent) as held:
        if beside.is_file():
            try:
                return _opened(beside)
            except duckdb.Error:  # it was cut, or is none
                if held:
                    remove(beside)
        return _built(folder, beside if held else scratch / name)


def _built(folder: RunFolder, file: Path) -> RowIndex:
    for memory in _BUILD_MB:
        try:
            with RunDatabase(folder.path, memory_mb=memory) as source:
                _write(source, file)
            break
        except (duckdb.Error, OSError, QueryError) as error:
            # Joins that do not fit spill, but each needs some memory to do so.
            if "memory" in str(error).lower() and memory != _BUILD_MB[-1]:
                continue
            if os.strerror(errno.ENOSPC) in str(error):
                full = os.strerror(errno.ENOSPC)
                raise OSError(errno.ENOSPC, full, str(file)) from error
            raise RunError(f"{file}: the index cannot be written: {error}") from error
    return _opened(file)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold the app's folder, made if need be, for writing; yield whether it is held.

    The lock goes with the process: what lies there unfinished is nobody's, and goes.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(exist_ok=True)
            lock(stack.enter_context((folder / _LOCK).open("w")))
            _remove_unfinished(folder)
            held = True
        except OSError:
            held = False
        yield held


def _remove_unfinished(folder: Path) -> None:
    # An index, its log, and a folder where the engine puts what memory cannot hold.
    for left in folder.glob("rows-*.tmp*"):
        remove(left)


def _state(database: RunDatabase) -> str:
    """Return a digest of all that the index is made from."""
    folder = database.folder
    markers = [asdict(marker) for marker in folder.markers()]
    manifest = folder.file("manifest.json")
    parts = [_VERSION, duckdb.__version__, database.note]
    parts += [str(folder.path.resolve()), json.dumps(markers, sort_keys=True)]
    finished = manifest.read_bytes() if manifest.is_file() else b""
    return digest(*(part.encode() for part in parts), finished).hex()


def _opened(file: Path) -> RowIndex:
    with duckdb.connect(file, read_only=True) as connection:
        (text,) = connection.execute("SELECT text FROM about").fetchone() or ("[]",)
        (rows,) = connection.execute("SELECT count(*) FROM rows").fetchone() or (0,)
    return RowIndex(file, tuple(IndexedColumn(**c) for c in json.loads(text)), rows)


def _write(database: RunDatabase, file: Path) -> None:
    """Write the index beside its place, give it its name, remove older ones."""
    sql, columns = _select(database)
    beside = file.with_name(f"{file.name}.tmp")
    try:
        with duckdb.connect(beside, config={"memory_limit": _MEMORY}) as connection:
            rows = database.stream(sql)
            batches = _numbered(iter(rows), 0)
            schema = pa.schema([pa.field("n", pa.int64()), *rows.schema])
            reader = pa.RecordBatchReader.from_batches(schema, batches)
            connection.from_arrow(reader).create("rows")
            described = json.dumps([asdict(column) for column in columns])
            connection.execute(
                f"CREATE TABLE about AS SELECT {literal(described)} AS text"
            )
            # Closing would do so, too, and be silent where the disk is full.
            connection.execute("CHECKPOINT")
    except BaseException:
        _remove_unfinished(file.parent)
        raise
    os.replace(beside, file)
    for old in file.parent.glob("rows-*.duckdb"):
        if old != file:
            old.unlink(missing_ok=True)


def _numbered(
    batches: Iterator[pa.RecordBatch], start: int
) -> Iterator[pa.RecordBatch]:
    """Put each row's number before it: the order of pages."""
    for batch in batches:
        numbers = pa.array(range(start, start + len(batch)), pa.int64())
        names = ["n", *batch.schema.names]
        yield pa.RecordBatch.from_arrays([numbers, *batch.columns], names=names)
        start += len(batch)


def _select(database: RunDatabase) -> tuple[str, list[IndexedColumn]]:
    """Return the SELECT of the index, and what its columns mean."""
    parts = _AddedColumns()
    _scores(database, parts)
    _clusters(database, parts)
    _input(database, parts)
    chosen = ", ".join(
        f"{sql} AS {column.sql}"
        for column, sql in zip(parts.columns, parts.values, strict=True)
    )
    joins = "\n".join(parts.joins)
    index = "quarantine WHERE step = 'index'"
    left_out = f"""
UNION ALL BY NAME
SELECT uid, source, row, 'quarantined' AS fate, step, reason FROM {index}"""
    severity = f"""CASE WHEN f.fate = 'dropped' THEN {_finite("f.score - f.threshold")}
    ELSE -least({", ".join([*parts.margins, "NULL", "NULL"])}) END"""
    sql = f"""
SELECT * FROM (
SELECT p.uid, p.source, p.row, f.fate, f.step, f.reason, {_number("f.score")} AS score,
    {_number("f.threshold")} AS threshold, {severity} AS severity, f.kept_twin
    {", " + chosen if chosen else ""}
FROM index_places p
LEFT JOIN (FROM fates WHERE step IS DISTINCT FROM 'index') f USING (uid)
{joins}{left_out}
) ORDER BY source, row"""
    return sql, [*_own_columns(), *parts.columns]


class _AddedColumns:
    """Columns that the index takes from the run's other views."""

    def __init__(self) -> None:
        self.columns: list[IndexedColumn] = []
        self.values: list[str] = []
        self.joins: list[str] = []
        #: How far each step's score is from its threshold.
        self.margins: list[str] = []

    def add(self, column: IndexedColumn, sql: str) -> None:
        self.columns.append(column)
        self.values.append(sql)

    def join(self, view: str, name: str, pivot: list[str]) -> None:
        """Join the rows of a view as one row for each uid."""
        if pivot:
            columns = ", ".join(pivot)
            self.joins.append(
                f"LEFT JOIN (SELECT uid, {columns} FROM {view} GROUP BY uid) {name} "
                f"ON {name}.uid = p.uid"
            )


def _own_columns() -> list[IndexedColumn]:
    kinds = {"row": "whole", "score": "number", "threshold": "number"}
    kinds["severity"] = "number"
    roles = dict.fromkeys(("score", "threshold", "severity"), "score")
    plain = [
        IndexedColumn(n, label, kinds.get(n, "text"), "row")
        for n, label in _PLAIN.items()
    ]
    fate = [
        IndexedColumn(n, label, kinds.get(n, "text"), roles.get(n, "fate"))
        for n, label in _FATE.items()
    ]
    return [*plain, *fate]


def _scores(database: RunDatabase, parts: _AddedColumns) -> None:
    """Take each step's own score of a row, kept or not."""
    scored = database.query(
        "SELECT step FROM ledger GROUP BY step, position HAVING count(score) > 0 "
        "ORDER BY position"
    )
    pivot: list[str] = []
    for number, step in enumerate(scored["step"].to_pylist()):
        step_filter = f"FILTER (step = {literal(step)})"
        pivot += [
            f"max(score) {step_filter} AS s{number}",
            f"max(threshold) {step_filter} AS t{number}",
        ]
        parts.margins.append(_finite(f"s.s{number} - s.t{number}"))
        column = IndexedColumn(f"score.{step}", f"score of {step}", "number", "score")
        parts.add(column, _number(f"s.s{number}"))
    parts.join("ledger", "s", pivot)


def _clusters(database: RunDatabase, parts: _AddedColumns) -> None:
    clustered = database.query("SELECT step FROM members GROUP BY step ORDER BY step")
    pivot: list[str] = []
    for number, step in enumerate(clustered["step"].to_pylist()):
        step_filter = f"FILTER (step = {literal(step)})"
        pivot += [
            f"max(cluster_id) {step_filter} AS c{number}",
            f"max(distance) {step_filter} AS d{number}",
        ]
        ids = IndexedColumn(f"cluster.{step}", f"cluster in {step}", "whole", "cluster")
        parts.add(ids, f"c.c{number}")
        label = f"distance from its centroid in {step}"
        away = IndexedColumn(f"distance.{step}", label, "number", "score")
        parts.add(away, _number(f"c.d{number}"))
    parts.join("members", "c", pivot)


def _input(database: RunDatabase, parts: _AddedColumns) -> None:
    """Take the caption and the input's plain columns; images and lists stay there."""
    pool = database.pool
    if pool is None:
        return
    parts.joins.append("LEFT JOIN samples x ON x.uid = p.uid")
    for name, sql_type in database.views["samples"]:
        if name in ("uid", *place_names(pool)):
            continue
        kind = _kind(sql_type)
        column = f"x.{identifier(name)}"
        if name == pool.columns.text and kind == "text":
            text = IndexedColumn("caption", "caption", "text", "input")
            parts.add(text, f"left({column}, {SEARCHED})")
        elif name != pool.columns.image and kind:
            # Case does not tell columns of an index apart.
            known = {c.name.lower() for c in parts.columns}
            input_name = f"input.{name}"
            if input_name.lower() in known:
                continue
            if kind == "text":
                column = f"left({column}::VARCHAR, {SEARCHED})"
            elif sql_type.startswith("DECIMAL"):
                column = f"{column}::DOUBLE"
            parts.add(IndexedColumn(input_name, name, kind, "input"), column)


def _kind(sql_type: str) -> str:
    if sql_type == "VARCHAR" or sql_type.startswith("ENUM"):
        return "text"
    if sql_type in _NUMBERS:
        return "whole"
    if sql_type in ("FLOAT", "DOUBLE") or sql_type.startswith("DECIMAL"):
        return "number"
    if sql_type == "BOOLEAN":
        return "flag"
    return "time" if sql_type == "DATE" or sql_type.startswith("TIMESTAMP") else ""


def _number(sql: str) -> str:
    """Return a number that sorts: no NaN, which is no score."""
    return f"CASE WHEN NOT isnan({sql}) THEN {sql} END"


def _finite(difference: str) -> str:
    return f"CASE WHEN isfinite({difference}) THEN abs({difference}) END"


def as_plain(value: Any) -> Any:
    """Return a value as a page shows it."""
    return f"{value:.6g}" if isinstance(value, float) else value
