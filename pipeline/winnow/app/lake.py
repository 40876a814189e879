"""The pages of a scan of a lake: its tables, edges, stages and plan, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from winnow.app.filters import Fields
from winnow.core.errors import QueryError, did_you_mean
from winnow.core.sql_text import identifier
from winnow.lake.database import LakeDatabase
from winnow.lake.plan_view import size
from winnow.pages.answers import duration

_ROWS = 15
_CELL = 4_000
_SECONDS = 30.0
#: Longer texts and lists are folded; so many letters of a text are shown.
_FOLDED, _BRIEF = 60, 28
#: What holds comes first, and in it what is largest.
_ORDERS = {
    "edges": "ORDER BY relation NOT IN ('duplicate', 'contained'), relation, "
    "child_rows DESC NULLS LAST, child, parent",
    "plan": "ORDER BY action = 'keep', bytes_saved DESC NULLS LAST, \"table\"",
    "tables": 'ORDER BY readable, bytes DESC NULLS LAST, "table"',
}
#: The columns that a view shows of each row; the others are folded.
_LEADING = {
    "edges": ("child", "parent", "relation", "containment", "child_rows"),
    "plan": ("table", "action", "parent", "bytes_saved"),
    "tables": ("table", "format", "rows", "bytes", "readable", "reason"),
}
#: Tables that the first page names.
_NAMED = 25


@dataclass(frozen=True)
class FoldedCell:
    """A value of a table: its text, and what is shown while it is folded, if it is."""

    text: str
    brief: str = ""


class LakeSite:
    """A scan of a lake as pages."""

    def __init__(self, database: LakeDatabase) -> None:
        self._database = database
        self.views = list(database.views)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def frame(self) -> dict[str, Any]:
        """Return what every page shows of the scan."""
        path = self._database.folder.path
        return {"run": path.resolve().name, "path": str(path), "views": self.views}

    def overview(self) -> dict[str, Any]:
        """Return what can go, how much that is, and how sure it is."""
        whole = self._one(
            "SELECT count(*) AS tables, coalesce(sum(bytes), 0)::BIGINT AS bytes, "
            "count(*) FILTER (NOT readable) AS unreadable FROM tables"
        )
        relations = self._database.query(
            "SELECT relation, count(*) AS pairs, count(DISTINCT child) AS tables "
            "FROM edges GROUP BY relation "
            "ORDER BY relation NOT IN ('duplicate', 'contained'), pairs DESC"
        ).to_pylist()
        planned = "plan" in self.views
        return {
            "view": "",
            "planned": planned,
            "whole": {**whole, "size": size(whole["bytes"])},
            "relations": relations,
            **(self._planned() if planned else self._contained()),
        }

    def _planned(self) -> dict[str, Any]:
        """Return what the plan deletes, the largest first."""
        total = self._one(
            "SELECT count(*) AS tables, coalesce(sum(bytes_saved), 0)::BIGINT AS bytes,"
            " coalesce(sum(cost_saved), 0) AS cost FROM plan WHERE action = 'delete'"
        )
        rows = self._database.query(
            'SELECT p."table", p.bytes_saved AS bytes, t.rows, p.parent, p.reason, '
            "p.rebuild_seconds AS seconds, p.rebuild_sql AS sql "
            "FROM plan p LEFT JOIN tables t USING (\"table\") WHERE action = 'delete' "
            f'ORDER BY bytes_saved DESC, p."table" LIMIT {_NAMED}'
        )
        return _goes(total, rows.to_pylist())

    def _contained(self) -> dict[str, Any]:
        """Return the tables that lie in another, the largest first."""
        held = (
            "SELECT child, min(parent) AS parent, min(reason) AS reason, "
            "min(rebuild_sql) AS sql FROM edges "
            "WHERE relation IN ('duplicate', 'contained') GROUP BY child"
        )
        joined = f'FROM ({held}) e JOIN tables t ON t."table" = e.child'
        total = self._one(
            "SELECT count(*) AS tables, coalesce(sum(bytes), 0)::BIGINT AS bytes, "
            f"NULL AS cost {joined}"
        )
        rows = self._database.query(
            'SELECT child AS "table", bytes, rows, parent, e.reason, NULL AS seconds, '
            f"sql {joined} ORDER BY bytes DESC, child LIMIT {_NAMED}"
        )
        return _goes(total, rows.to_pylist())

    def _one(self, sql: str) -> dict[str, Any]:
        row: dict[str, Any] = self._database.query(sql).to_pylist()[0]
        return row

    def listing(self, view: str, fields: Fields) -> dict[str, Any]:
        """Return rows of a view; `q` is searched in all of its columns.

        Raises QueryError for a view that there is not.
        """
        single = {key: value for key, value in fields if value}
        if view not in self.views:
            raise QueryError(f"no view '{view}'; {did_you_mean(view, self.views)}")
        start = single.get("after", "0")
        if not start.isascii() or not start.isdigit() or len(start) > 15:
            raise QueryError(f"after: '{start}' is no row's number")
        names = [name for name, _ in self._database.views[view]]
        leading = [name for name in _LEADING.get(view, names) if name in names]
        words = single.get("q", "")[:1_000]
        joined = ", ".join(f"{identifier(name)}::VARCHAR" for name in names)
        table = self._database.query(
            "SELECT * FROM (SELECT row_number() OVER () AS __n, * FROM "
            f"(FROM {view} {_ORDERS.get(view, '')})) "
            f"WHERE __n > ? AND contains(lower(concat_ws(' ', {joined})), lower(?)) "
            "ORDER BY __n LIMIT ?",
            [int(start), words, _ROWS + 1],
        )
        rows = table.to_pylist()
        shown = rows[:_ROWS]
        return {
            "view": view,
            "q": words,
            "names": leading,
            "rows": [_row(row, leading, names) for row in shown],
            "after": shown[-1]["__n"] if len(rows) > _ROWS else None,
            "started": int(start) > 0,
            "numeric": [_is_number(table.schema.field(name).type) for name in leading],
        }


def open_lake(run: str | Path) -> LakeSite:
    """Return the pages of a scan."""
    return LakeSite(LakeDatabase(run, seconds=_SECONDS, memory_mb=256))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _goes(total: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the part of the first page that names tables."""
    told = [
        {**row, "size": size(row["bytes"] or 0), "sure": _sure(row)} for row in rows
    ]
    return {"total": {**total, "size": size(total["bytes"])}, "goes": told}


def _sure(row: dict[str, Any]) -> str:
    """Return in a few words how it is known that a table lies in another."""
    if not row["seconds"]:
        return row["reason"] or "proven"
    return f"rebuilt and compared in {duration(row['seconds'])}"


def _row(
    row: dict[str, Any], leading: list[str], names: list[str]
) -> dict[str, list[Any]]:
    """Return a row's cells, and the names and texts of what is folded beside them."""
    others = [(name, _cell(row[name]).text) for name in names if name not in leading]
    return {
        "cells": [_cell(row[name]) for name in leading],
        "others": [(name, text) for name, text in others if text],
    }


def _cell(value: Any) -> FoldedCell:
    """Return a value as text; what is long has words that stand for it."""
    if value is None:
        return FoldedCell("")
    if isinstance(value, float):
        return FoldedCell(f"{value:.6g}")
    if isinstance(value, int) and not isinstance(value, bool):
        return FoldedCell(f"{value:,}")
    if isinstance(value, list):
        items = [
            " ".join(str(part) for part in list(item.values())[:2])
            if isinstance(item, dict)
            else str(item)
            for item in value
        ]
        text = ", ".join(items)
        return _folded(text, f"all {len(items):,}")
    return _folded(str(value), str(value))


def _folded(text: str, brief: str) -> FoldedCell:
    if len(text) <= _FOLDED:
        return FoldedCell(text)
    short = brief if len(brief) <= _BRIEF else f"{brief[:_BRIEF].rstrip()}…"
    return FoldedCell(text if len(text) <= _CELL else text[:_CELL] + "…", short)
