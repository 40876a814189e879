"""Search in a run: rows nearest to a text, a picture or a row, under a condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa

from winnow.core.errors import ConfigError, InputError, RunError
from winnow.core.sql_text import identifier
from winnow.models.inverted_lists import Bits, Passing
from winnow.reports.database import RunDatabase
from winnow.reports.run_view import RunView
from winnow.search.search_conditions import passing_uids
from winnow.search.searched_vectors import MOST, Asked, SearchedVectors
from winnow.steps.nearest_vectors import Near

Rows = Literal["kept", "all"]

#: An answer, as rows.
ANSWERS = pa.schema(
    [
        ("rank", pa.int64()),
        ("uid", pa.string()),
        ("cosine", pa.float64()),
        ("fate", pa.string()),
        ("step", pa.string()),
        ("reason", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
        ("caption", pa.string()),
    ]
)


class RunSearch:
    """A run, opened to be searched; conditions and lists are kept for later questions.

    run: its folder. modality: the vectors that are searched, image or text; None: of
    images, or of texts where there are no others.

    Raises RunError if the folder holds no run, QueryError if it has no vectors.
    """

    def __init__(
        self, run: str | Path, *, modality: str | None = None, bits: Bits = 8
    ) -> None:
        self._view = RunView(run)
        self._vectors = SearchedVectors(self._view, modality=modality, bits=bits)
        self._stack = ExitStack()
        self._stack.callback(self._vectors.close)
        try:
            self._database = self._stack.enter_context(RunDatabase(run))
            self._nearest = self._vectors.nearest
        except BaseException:
            self._stack.close()
            raise
        self._known: dict[tuple[str, Rows], list[Passing | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._stack.close()

    def find(
        self, asked: Asked, *, k: int = 20, where: str = "", rows: Rows = "kept"
    ) -> dict[str, Any]:
        """Return the k nearest rows, nearest first, ties by uid, and how they came.

        where: a condition in SQL over a row's columns: those of the input, `fate`,
        `step`, `reason`, `kept_twin`, and `winnow_STEP`, a step's score or cluster,
        also as STEP where no column of the input is called so.
        rows: those that the run keeps, or all that have a vector.

        `exact` says whether every row that may be found was compared; `searched`, how
        many these are. Raises QueryError for a condition that cannot be asked, and for
        a text or picture without the run's model; InputError for an unknown row.
        """
        asked.require_one()
        if not 1 <= k <= MOST:
            raise ConfigError(f"search: k is a number from 1 to {MOST:,}")
        passing = self._passing(where, rows)
        more = 1 if asked.like is not None else 0
        near = self._near(asked, k + more, passing)
        near = [answer for answer in near if answer.uid != asked.like][:k]
        told = self._told([answer.uid for answer in near])
        return {
            "searched": sum(len(p.rows) for p in passing if p is not None),
            "exact": self._nearest.is_exact(passing),
            "rows": [
                {"rank": n, "uid": a.uid, "cosine": a.cosine, **told.get(a.uid, {})}
                for n, a in enumerate(near, 1)
            ],
        }

    def _near(self, asked: Asked, k: int, passing: list[Passing | None]) -> list[Near]:
        try:
            return self._vectors.near(asked, k, passing)
        except InputError:
            known = "SELECT 1 FROM index_places WHERE uid = ?"
            if asked.like is None or len(self._database.query(known, [asked.like])):
                raise
            path = self._view.folder.path
            raise InputError(f"{path}: the run has no row '{asked.like}'") from None

    def _passing(self, where: str, rows: Rows) -> list[Passing | None]:
        if (where, rows) not in self._known:
            if rows == "kept" and not self._view.finished:
                raise RunError(
                    f"{self._view.folder.path} is not finished, so that it keeps "
                    "nothing yet; --all searches every row that has a vector"
                )
            uids = None
            if where or rows == "kept":
                uids = passing_uids(self._database, where, kept=rows == "kept")
            self._known[where, rows] = self._vectors.passing(uids)
        return self._known[where, rows]

    def _told(self, uids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what is told of each row: fate, step, reason, caption, place."""
        asked = (
            "SELECT p.uid, f.fate, f.step, f.reason, p.source, p.row FROM "
            "(FROM index_places WHERE list_contains(?, uid)) p "
            "LEFT JOIN (FROM fates WHERE list_contains(?, uid)) f USING (uid)"
        )
        names = list(uids)
        told = {
            r["uid"]: r for r in self._database.query(asked, [names] * 2).to_pylist()
        }
        pool = self._database.pool
        if pool is not None and pool.columns.text:
            text = identifier(pool.columns.text)
            asked = (
                f"SELECT uid, {text} AS text FROM samples WHERE list_contains(?, uid)"
            )
            for row in self._database.query(asked, [names]).to_pylist():
                told.setdefault(row["uid"], {})["caption"] = row["text"]
        for row in told.values():
            row.pop("uid", None)
        return told


def search(
    run: str | Path, asked: Asked, *, modality: str | None = None, **how: Any
) -> dict[str, Any]:
    """Open a run, ask it once and close it; see `RunSearch.find`."""
    asked.require_one()
    with RunSearch(run, modality=modality) as opened:
        return opened.find(asked, **how)


def tell(told: Mapping[str, Any]) -> str:
    """Return the answer of a search as text."""
    lines = []
    for row in told["rows"]:
        fate = row.get("fate") or ""
        why = f" at {row['step']}" if row.get("step") else ""
        caption = " ".join(str(row.get("caption") or "").split())[:80]
        lines.append(
            f"{row['cosine']:.4f}  {row['uid']}  {fate}{why}  {caption}".rstrip()
        )
    if not lines:
        lines.append("no row passes the condition")
    how = "all compared" if told["exact"] else "by inverted lists"
    lines.append(f"({told['searched']:,} rows searched, {how})")
    return "\n".join(lines)
