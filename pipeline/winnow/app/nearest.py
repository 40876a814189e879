"""Rows that are near a text or near another row, as `winnow search` finds them.

Of a run that search compares whole, all rows that have a vector; of a larger one the
nearest of those that a list's conditions let pass. What stays of a question is one
number for each row, as a table that pages join and sort by.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.app.filters import AskedPage
from winnow.app.rows import IndexedRows
from winnow.core.errors import QueryError
from winnow.core.sql_text import AS_STORED, literal
from winnow.search.searched_vectors import MOST, Asked, SearchedVectors

#: Answers that are kept for the pages that follow.
_KEPT = 8
_NO_VECTOR = "that row has no vector; it left the run before `embed`"


class Nearest:
    """Similarities of rows to a text or a row.

    vectors: what is searched. files: where the run's vectors lie. `why_no_text` says
    why no text can be searched for, if it cannot.
    """

    def __init__(
        self, rows: IndexedRows, vectors: SearchedVectors, files: Sequence[Path]
    ) -> None:
        self._rows, self._vectors = rows, vectors
        self._listed = ", ".join(literal(str(file)) for file in files)
        self.why_no_text = vectors.model.why_not()
        self._views: OrderedDict[Any, str] = OrderedDict()
        self._made = 0
        self._lock = Lock()

    def close(self) -> None:
        """Close what is open."""
        self._vectors.close()

    def similar(self, wanted: AskedPage, marks: Mapping[str, str]) -> str:
        """Return the view of (n, similarity) to what a list asks for.

        Raises QueryError without the run's model, and for a row without a vector.
        """
        if wanted.near is None:
            if self.why_no_text:
                raise QueryError(self.why_no_text)
            return self._view(Asked(text=wanted.like), wanted, marks)
        row = self._rows.row(wanted.near)
        if row is None or not self.has(row["uid"]):
            raise QueryError(_NO_VECTOR)
        return self._view(Asked(like=row["uid"]), wanted, marks)

    def most(self) -> int | None:
        """Return how many of the rows that pass a list shows; None: all."""
        with self._lock:
            return None if self._vectors.nearest.is_exact() else MOST

    def has(self, uid: str) -> bool:
        """Whether a row has a vector; opens nothing that is searched."""
        listed = self._rows.ask(
            f"SELECT 1 AS one FROM read_parquet([{self._listed}], {AS_STORED}) "
            f"WHERE uid = ? AND {self._vectors.modality}_vector IS NOT NULL LIMIT 1",
            [uid],
        )
        return bool(listed)

    def _view(self, asked: Asked, wanted: AskedPage, marks: Mapping[str, str]) -> str:
        # One at a time: a search takes all cores, and the model is not shared.
        with self._lock:
            whole = self._vectors.nearest.is_exact()
            where = None if whole else self._rows.where(wanted, marks)
            key = (asked, where and (where.sql, repr(where.values)))
            if key in self._views:
                self._views.move_to_end(key)
                return self._views[key]
            passing, k = None, self._vectors.nearest.index.rows
            if where is not None:
                table = self._rows.table(
                    f"SELECT uid FROM rows {where.sql}", where.values
                )
                uids = table["uid"].cast(pa.large_string()).combine_chunks()
                passing, k = self._vectors.passing(uids), MOST
            near = self._vectors.near(asked, k, passing)
            name = self._kept([n.uid for n in near], [n.cosine for n in near])
            self._views[key] = name
            while len(self._views) > _KEPT:
                _, old = self._views.popitem(last=False)
                (self._rows.sql.scratch / f"{old}.parquet").unlink(missing_ok=True)
            return name

    def _kept(self, uids: Sequence[str], cosines: Sequence[float]) -> str:
        """Return a view of (n, similarity) of these rows, in the order of n."""
        name, self._made = f"similar_{self._made}", self._made + 1
        by_uid = self._defined(
            f"{name}_by_uid", pa.table({"uid": uids, "similarity": cosines})
        )
        numbered = self._rows.table(
            f"SELECT n, similarity FROM {name}_by_uid JOIN rows USING (uid) "
            "WHERE step IS DISTINCT FROM 'index' ORDER BY n"
        )
        by_uid.unlink()
        self._defined(name, numbered)
        return name

    def _defined(self, name: str, table: pa.Table) -> Path:
        file = self._rows.sql.scratch / f"{name}.parquet"
        pq.write_table(table, file)
        self._rows.sql.define(
            f"CREATE VIEW {name} AS FROM read_parquet("
            f"[{literal(str(file))}], {AS_STORED})"
        )
        return file
