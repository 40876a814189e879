"""The rows of a run that a condition lets pass, and the columns that it may name."""

from __future__ import annotations

import pyarrow as pa

from winnow.core.errors import QueryError, did_you_mean
from winnow.core.sql_text import identifier, literal
from winnow.pages.row_condition import RowCondition
from winnow.reports.database import RunDatabase

#: Columns of a condition that are what became of a row.
_FATES = ("fate", "step", "reason", "kept_twin")
#: Before a step's name: its score of a row, or the row's cluster in it.
_ADDED = "winnow_"
_UID, _FATE = identifier("winnow uid"), identifier("winnow fate")


def passing_uids(database: RunDatabase, where: str, *, kept: bool) -> pa.Array:
    """Return the names of the rows that pass; all if `where` is empty.

    kept: of those that the run keeps. Raises QueryError, which names the condition, for
    one that cannot be asked.
    """
    try:
        return _uids(database, where, kept)
    except QueryError as error:
        raise QueryError(f"where: {where}: {error}" if where else str(error)) from error


def _uids(database: RunDatabase, where: str, kept: bool) -> pa.Array:
    names = RowCondition.parse(where).columns if where else ()
    columns = _Columns(database)
    named = [f"f.uid AS {_UID}", f"f.fate AS {_FATE}"]
    chosen = ", ".join([*named, *(columns.of(name) for name in names)])
    inner = f"SELECT {chosen} FROM fates f {columns.joins}"
    conditions = [f"{_FATE} = 'kept'"] if kept else []
    conditions += [f"(\n{where}\n)"] if where else []
    sql = f"SELECT {_UID} AS uid FROM ({inner}) WHERE {' AND '.join(conditions)}"
    batches = database.stream(sql)
    table = pa.Table.from_batches(list(batches), batches.schema)
    return pa.concat_arrays(
        table["uid"].cast(pa.large_string()).chunks or [pa.array([], pa.large_string())]
    )


class _Columns:
    """The columns that a condition may name, and the joins that bring them."""

    def __init__(self, database: RunDatabase) -> None:
        views = database.views
        self._input = {name.lower(): name for name, _ in views["samples"]}
        steps = database.query("SELECT step FROM steps ORDER BY position")
        self._steps = [str(step) for step in steps["step"].to_pylist()]
        clustered = database.query("SELECT DISTINCT step FROM members")
        self._clustered = set(clustered["step"].to_pylist())
        self._joined: dict[str, str] = {}

    @property
    def joins(self) -> str:
        """The joins of the columns that were asked for."""
        return " ".join(self._joined.values())

    def of(self, name: str) -> str:
        """Return a column under its name; raises QueryError if there is none."""
        plain = name.lower()
        if plain in self._input and plain not in _FATES:
            self._joined["samples"] = "LEFT JOIN samples s ON s.uid = f.uid"
            return f"s.{identifier(self._input[plain])} AS {identifier(name)}"
        if plain in _FATES:
            return f"f.{plain} AS {identifier(name)}"
        for step in self._steps:
            if plain in (step.lower(), f"{_ADDED}{step}".lower()):
                return f"{self._step(step)} AS {identifier(name)}"
        known = [*self._input.values(), *_FATES, *self._steps]
        raise QueryError(f"no column '{name}'; {did_you_mean(name, known)}")

    def _step(self, step: str) -> str:
        alias = identifier(f"of {step}")
        clustered = step in self._clustered
        view, value = ("members", "cluster_id") if clustered else ("ledger", "score")
        rows = f"(SELECT uid, {value} FROM {view} WHERE step = {literal(step)})"
        self._joined[step] = f"LEFT JOIN {rows} {alias} ON {alias}.uid = f.uid"
        return f"{alias}.{value}"
