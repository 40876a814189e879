"""What is known of one row: its story, its twins, its neighbours in a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from winnow.app.filters import AskedPage, ColumnFilter, Fields, asked
from winnow.app.row_index import IndexedColumn
from winnow.app.rows import Row, place_of
from winnow.app.thumbnails import LARGE
from winnow.core.errors import WinnowError
from winnow.reports.explain import explain, sentences
from winnow.reports.page.twins import words

if TYPE_CHECKING:
    from winnow.app.site import Shown, Site

_HOPS = 50
_SHOWN_TWINS = 24


class RowStories:
    """The stories of a site's rows; several threads may ask."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._explaining = Lock()

    def of(self, n: int, fields: Fields = ()) -> Shown | None:
        """Return all that is known of a row; None if there is no such row.

        fields: the address of the list that it was chosen from, whose rows before and
        after it are named. Raises QueryError for a list that cannot be asked.
        """
        row = self._site.rows.row(n)
        if row is None:
            return None
        marks = self._site.marks.rows()
        actions = {uid: mark.action for uid, mark in marks.items()}
        wanted = asked(fields, self._site.index)
        card = self._site.card(row, actions)
        going = self._gone_for(row["uid"])
        chain = self._chain(row)
        nearest = self._site.nearest
        places = [place_of(r) for r in (*going["rows"], *chain["rows"])]
        if self._site.has_images:
            self._site.pictures.prepare([place_of(row)], LARGE)
            self._site.pictures.prepare(places)
        return {
            "card": card,
            "list": wanted.address(after=None, before=None),
            "earlier": self._next_to(n, wanted, actions, "before"),
            "later": self._next_to(n, wanted, actions, "after"),
            "difference": self._difference(row, chain["rows"]),
            "mark": marks.get(row["uid"]),
            "tags": self._site.tags.of(row["uid"]),
            "steps": self._told(row),
            "facts": self._facts(row),
            "chain": [self._site.card(r, actions) for r in chain["rows"]],
            "outside": chain["outside"],
            "gone": [self._site.card(r, actions) for r in going["rows"]],
            "gone_total": going["total"],
            "gone_address": AskedPage(
                conditions=(ColumnFilter("kept_twin", "is", row["uid"]),)
            ).address(),
            "near_address": AskedPage(near=n).address(),
            "has_vector": nearest is not None and nearest.has(row["uid"]),
        }

    def _next_to(
        self, n: int, wanted: AskedPage, marks: Mapping[str, str], side: str
    ) -> int | None:
        """Return the number of the row before or after one in a list, if there is."""
        cursors: dict[str, Any] = {"before": None, "after": None, side: n}
        beside = replace(wanted, **cursors)
        similar = self._site.similar(wanted, marks)
        rows = self._site.rows.page(beside, marks, similar, size=1).rows
        return rows[0]["n"] if rows else None

    def _difference(self, row: Row, chain: Sequence[Row]) -> list[tuple[str, str]]:
        """Return the words that differ from the twin's caption, if any do."""
        if not chain or row.get("caption") is None:
            return []
        kept, dropped = chain[0].get("caption"), row["caption"]
        return [] if kept in (dropped, None) else words(kept, dropped)

    def _told(self, row: Row) -> list[tuple[str, str]]:
        if row["step"] == "index":
            return [("index", f"quarantined: {row['reason']}")]
        with self._explaining:
            try:
                return sentences(explain(self._site.view, row["uid"]))
            except WinnowError as error:
                return [("explain", str(error))]

    def _facts(self, row: Row) -> list[tuple[IndexedColumn, Any, str]]:
        """Return each column's value, and the address of the rows that share it."""
        hidden = {"caption", "uid", "fate"}
        facts = []
        for column in self._site.index.columns:
            value = row.get(column.name)
            if column.name in hidden or value is None:
                continue
            is_link = column.role in ("cluster", "input") or column.name in (
                "source",
                "reason",
                "step",
            )
            same = ColumnFilter(column.name, "is", str(value))
            asks = is_link and column.kind in ("text", "whole", "flag")
            fits = asks and len(str(value)) <= 200
            address = AskedPage(conditions=(same,)).address() if fits else ""
            facts.append((column, value, address))
        return facts

    def _chain(self, row: Row) -> Shown:
        """Return the twin that a row went for, that one's twin, and so on."""
        rows: list[Row] = []
        seen, uid, outside = {row["uid"]}, row["kept_twin"], ""
        while uid and uid not in seen and len(rows) < _HOPS:
            seen.add(uid)
            twin = self._site.rows.by_uid([uid]).get(uid)
            if twin is None:
                outside = uid
                break
            rows.append(twin)
            uid = twin["kept_twin"]
        return {"rows": rows, "outside": outside}

    def _gone_for(self, uid: str) -> Shown:
        counted = "SELECT count(*) AS total FROM rows WHERE kept_twin = ?"
        total = self._site.rows.ask(counted, [uid])[0]["total"]
        sql = "SELECT n FROM rows WHERE kept_twin = ? ORDER BY n LIMIT ?"
        entries = self._site.rows.ask(sql, [uid, _SHOWN_TWINS]) if total else []
        rows = self._site.rows.numbered([entry["n"] for entry in entries])
        return {"total": total, "rows": [rows[entry["n"]] for entry in entries]}
