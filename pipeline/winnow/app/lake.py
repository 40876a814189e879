"""The pages of a scan of a lake: its tables, edges, stages and plan, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from winnow.app.filters import Fields
from winnow.core.errors import QueryError, did_you_mean
from winnow.core.sql_text import identifier
from winnow.lake.database import LakeDatabase

_ROWS = 100
_CELL = 400
_SECONDS = 30.0


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
        words = single.get("q", "")[:1_000]
        joined = ", ".join(f"{identifier(name)}::VARCHAR" for name in names)
        table = self._database.query(
            f"SELECT * FROM (SELECT row_number() OVER () AS __n, * FROM {view}) "
            f"WHERE __n > ? AND contains(lower(concat_ws(' ', {joined})), lower(?)) "
            "ORDER BY __n LIMIT ?",
            [int(start), words, _ROWS + 1],
        )
        rows = table.to_pylist()
        shown = rows[:_ROWS]
        return {
            "view": view,
            "q": words,
            "names": names,
            "rows": [[_cell(row[name]) for name in names] for row in shown],
            "after": shown[-1]["__n"] if len(rows) > _ROWS else None,
            "started": int(start) > 0,
            "numeric": [_is_number(table.schema.field(name).type) for name in names],
        }


def open_lake(run: str | Path) -> LakeSite:
    """Return the pages of a scan."""
    return LakeSite(LakeDatabase(run, seconds=_SECONDS, memory_mb=256))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        value = ", ".join(
            " ".join(map(str, item.values())) if isinstance(item, dict) else str(item)
            for item in value
        )
    text = str(value)
    return text if len(text) <= _CELL else text[:_CELL] + "…"
