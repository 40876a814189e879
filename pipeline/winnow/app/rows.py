"""Pages of a run's rows: filtered, sorted, each after the last row of the one before.

Keyset pagination: a page knows the number of its last row, and the next one asks for
the rows beyond it. No page reads what it does not show but the columns of its
conditions and of its order; ties are broken by the row's number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import Any

import pyarrow as pa

from winnow.app.filters import AskedPage, FilterSql, where_of
from winnow.app.row_index import RowIndex
from winnow.core.errors import QueryError
from winnow.core.sql_text import identifier, literal
from winnow.pages.closed_sql import ClosedSql

#: Rows of a page.
PAGE = 48
_SECONDS = 30.0

Row = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """Rows in order, and whether there are more on either side."""

    rows: list[Row]
    more_before: bool
    more_after: bool


class IndexedRows:
    """Questions to a run's index; may be used by several threads."""

    def __init__(
        self, index: RowIndex, files: Sequence[str] = (), memory_mb: int = 384
    ) -> None:
        self.index = index
        attach = f"ATTACH {literal(str(index.file))} AS i (READ_ONLY)"
        views = [attach, "CREATE VIEW rows AS FROM i.rows"]
        self.sql = ClosedSql(views, files, memory_mb=memory_mb)
        #: The view of the numbers of the rows in a selection; the uids with a tag.
        self.selected: Callable[[str], str] | None = None
        self.tagged: Callable[[str], list[str]] | None = None
        self._known: dict[Any, dict[str, int]] = {}
        self._lock = Lock()

    def close(self) -> None:
        """Close the database and remove its scratch folder."""
        self.sql.close()

    def ask(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a SELECT over `rows`; raises QueryError."""
        rows: list[Row] = self.table(sql, values).to_pylist()
        return rows

    def table(self, sql: str, values: Sequence[Any] = ()) -> pa.Table:
        """Return the rows of a SELECT as a table; raises QueryError."""
        batches = list(self.sql.stream(sql, values, _SECONDS))
        return pa.Table.from_batches(batches, batches[0].schema)

    def row(self, n: int) -> Row | None:
        """Return the row of that number."""
        rows = self.ask("SELECT * FROM rows WHERE n = ?", [n])
        return rows[0] if rows else None

    def by_uid(self, uids: Sequence[str]) -> dict[str, Row]:
        """Return rows by uid; of a uid that is there twice the one that entered."""
        rows = self.ask(
            "SELECT * FROM rows WHERE uid IN (SELECT unnest(?::VARCHAR[])) "
            "ORDER BY step IS NOT DISTINCT FROM 'index' DESC, n DESC",
            [list(uids)],
        )
        return {row["uid"]: row for row in rows}

    def numbered(self, numbers: Sequence[int], columns: str = "*") -> dict[int, Row]:
        """Return rows by number; columns: in SQL, n among them."""
        if not numbers:
            return {}
        # A join, whose keys the engine takes to the scan, is faster than a list.
        rows = self.ask(
            f"SELECT {columns} FROM rows WHERE n IN (SELECT unnest(?::BIGINT[]))",
            [list(numbers)],
        )
        return {row["n"]: row for row in rows}

    def fates(self) -> list[Row]:
        """Return how many rows each step ended, by reason."""
        return self.ask(
            "SELECT fate, step, reason, count(*) AS rows, min(n) AS n FROM rows "
            "GROUP BY ALL ORDER BY rows DESC, n"
        )

    def counts(
        self, wanted: AskedPage, marks: Mapping[str, str], similar: str = ""
    ) -> dict[str, int]:
        """Return how many rows an address asks for, by fate."""
        where = self.where(wanted, marks)
        sql = f"SELECT fate, count(*) AS rows FROM {_from(similar)} {where.sql} "
        key = (sql, repr(where.values))
        with self._lock:
            known = self._known.get(key)
        if known is None:
            counts = self.ask(sql + "GROUP BY fate", where.values)
            known = {row["fate"] or "undecided": row["rows"] for row in counts}
            with self._lock:
                if len(self._known) > 200:
                    self._known.clear()
                self._known[key] = known
        return known

    def page(
        self,
        wanted: AskedPage,
        marks: Mapping[str, str],
        similar: str = "",
        size: int = PAGE,
    ) -> Page:
        """Return the page that an address asks for.

        marks: each marked uid's action. similar: a view of (n, similarity) that rows
        are joined with. Raises QueryError for what cannot be asked.
        """
        if wanted.sort == "similarity" and not similar:
            raise QueryError("there is nothing to be similar to")
        back = wanted.before is not None
        cursor = wanted.before if back else wanted.after
        where = self.where(wanted, marks)
        if cursor is not None:
            self._beyond(where, wanted, cursor, back, similar)
        order = _order(wanted, back)
        sql = f"SELECT n FROM {_from(similar)} {where.sql} ORDER BY {order} "
        listed = self.ask(f"{sql} LIMIT {size + 1}", where.values)
        numbers = [row["n"] for row in listed][:size]
        if back:
            numbers.reverse()
        more = len(listed) > size
        rows = self.numbered(numbers)
        likes = self._similarities(similar, numbers)
        shown = [{**rows[n], "similarity": likes.get(n)} for n in numbers]
        before, after = (more, True) if back else (cursor is not None, more)
        return Page(shown, before, after)

    def uids(
        self, wanted: AskedPage, marks: Mapping[str, str], similar: str = ""
    ) -> Iterator[str]:
        """Yield the uids that an address asks for, in its order, in lines of text.

        Takes what `page` takes; the first rows are asked for before it returns.
        """
        batches = self.ordered("uid", wanted, marks, similar)
        return ("".join(f"{uid}\n" for uid in b["uid"].to_pylist()) for b in batches)

    def ordered(
        self, columns: str, wanted: AskedPage, marks: Mapping[str, str], similar: str
    ) -> Iterator[pa.RecordBatch]:
        """Yield columns of the rows that an address asks for, in its order.

        columns: in SQL. The first rows are asked for before it returns.
        """
        where = self.where(wanted, marks)
        sql = f"SELECT {columns} FROM {_from(similar)} {where.sql} "
        order = _order(wanted, back=False)
        batches = self.sql.stream(f"{sql} ORDER BY {order}", where.values, _SECONDS)
        first = next(batches, None)
        return batches if first is None else chain([first], batches)

    def where(self, wanted: AskedPage, marks: Mapping[str, str]) -> FilterSql:
        """Return the condition on the rows that an address asks for."""
        where = where_of(wanted, self.index)
        if wanted.marked:
            uids = [
                uid
                for uid, action in marks.items()
                if wanted.marked in ("any", "none", action)
            ]
            known = "IN (SELECT unnest(?::VARCHAR[]))"
            none = "NOT " if wanted.marked == "none" else ""
            where.add(f"uid {none}{known}", uids)
        if wanted.selection:
            if self.selected is None:
                raise QueryError("nothing can be chosen on a map here")
            where.add(f"n IN (SELECT n FROM {self.selected(wanted.selection)})")
        if wanted.tag:
            uids = self.tagged(wanted.tag) if self.tagged else []
            where.add("uid IN (SELECT unnest(?::VARCHAR[]))", uids)
        return where

    def _beyond(
        self, where: FilterSql, wanted: AskedPage, cursor: int, back: bool, similar: str
    ) -> None:
        """Ask for the rows behind (or before) the row of the cursor."""
        n_after = "n < ?" if back else "n > ?"
        if wanted.sort == "n" and not wanted.descending:
            where.add(n_after, cursor)
            return
        if wanted.sort == "n":
            where.add("n > ?" if back else "n < ?", cursor)
            return
        key = identifier(wanted.sort)
        bound = f"(SELECT {key} FROM {_from(similar)} WHERE n = ?)"
        answer = self.ask(f"SELECT {bound} IS NULL AS missing", [cursor])
        # Rows without a value come last, whatever the direction.
        if answer[0]["missing"]:
            if back:
                where.add(f"{key} IS NOT NULL OR {n_after}", cursor)
            else:
                where.add(f"{key} IS NULL AND {n_after}", cursor)
            return
        beyond = "<" if wanted.descending != back else ">"
        nulls = "" if back else f" OR {key} IS NULL"
        where.add(
            f"{key} {beyond} {bound} OR ({key} = {bound} AND {n_after}){nulls}",
            cursor,
            cursor,
            cursor,
        )

    def _similarities(self, similar: str, numbers: Sequence[int]) -> dict[int, float]:
        if not similar or not numbers:
            return {}
        rows = self.ask(
            f"SELECT n, similarity FROM {similar} WHERE list_contains(?, n)",
            [list(numbers)],
        )
        return {row["n"]: row["similarity"] for row in rows}


def _from(similar: str) -> str:
    return f"rows JOIN {similar} USING (n)" if similar else "rows"


def _order(wanted: AskedPage, back: bool) -> str:
    if wanted.sort == "n":
        return "n DESC" if wanted.descending != back else "n"
    direction = "DESC" if wanted.descending != back else "ASC"
    nulls = "NULLS FIRST" if back else "NULLS LAST"
    return f"{identifier(wanted.sort)} {direction} {nulls}, n{' DESC' if back else ''}"


def place_of(row: Row) -> tuple[str, int]:
    """Return where a row's picture lies: its shard, and its row there."""
    return row["source"], row["row"]
