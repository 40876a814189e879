"""The pages of a run of samples: what they show, gathered from index, run and input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from winnow.app.beside import RunsBeside
from winnow.app.cuts_page import CutsPage, TriedCut
from winnow.app.filters import OPERATIONS, AskedPage, ColumnFilter, Fields, asked
from winnow.app.kept_views import TAGS, VIEWS, KeptViews, RowTags
from winnow.app.map_page import MapPage
from winnow.app.marks import MARKS, Marks
from winnow.app.nearest import Nearest
from winnow.app.row_arrays import RowArrays
from winnow.app.row_exports import MOST_PICTURES, RowExports
from winnow.app.row_index import FOLDER, SEARCHED, IndexedColumn, row_index
from winnow.app.rows import IndexedRows, Page, Row
from winnow.app.thumbnails import LARGE, SMALL, Picture, Place, Thumbnails
from winnow.config.overrides import Action, Override
from winnow.config.step_kinds import OVERRIDES, shown
from winnow.core.errors import QueryError, WinnowError
from winnow.reports.database import RunDatabase
from winnow.reports.explain import explain, sentences
from winnow.reports.map_file import read_map
from winnow.reports.page.twins import words
from winnow.reports.run_view import RunView
from winnow.reports.vector_files import vector_files
from winnow.search.searched_vectors import SearchedVectors

_HOPS = 50
_SHOWN_TWINS = 24
_SHOWN_GROUPS = 60
_FATES = ("kept", "dropped", "quarantined", "undecided")
#: What `clear` does beside a run's own actions.
CLEAR = "clear"

Shown = dict[str, Any]


class Site:
    """A run of samples as pages; the first one of a run builds its index.

    marked: told of the file of marks whenever it has changed. beside: another run that
    it is compared with.

    Raises RunError if the folder holds no run, or one without rows.
    """

    def __init__(
        self,
        run: str | Path,
        marked: Callable[[Path], None] | None = None,
        beside: str | Path | None = None,
    ) -> None:
        self._database = RunDatabase(run, memory_mb=128)
        self._view = RunView(run)
        try:
            scratch = self._database.scratch
            self.index = row_index(self._database, scratch)
            files = self._vector_files()
            self.rows = IndexedRows(self.index, [str(file) for file in files])
        except BaseException:
            self._database.close()
            raise
        self._pool = self._database.pool
        self.marks = Marks(
            self._view.folder.file(FOLDER) / MARKS, self._given(), marked
        )
        self.pictures = Thumbnails(self._images)
        self.arrays = RowArrays(self.rows)
        kept = self._view.folder.file(FOLDER)
        self.tags, self.views = RowTags(kept / TAGS), KeptViews(kept / VIEWS)
        self.beside = RunsBeside(self.path, beside, self.rows)
        self.rows.tagged = self.tags.uids
        images = self._images if self.has_images else None
        self._exports = RowExports(self.rows, images)
        self.cuts = CutsPage(self._view, self._database, self.rows, self.arrays)
        self._map: MapPage | None = None
        self._mapping = Lock()
        self.rows.selected = lambda name: self.map().view_of(name)
        self._explaining = Lock()
        # What every first page asks for is ready before it is asked.
        self.form()
        self.rows.counts(asked([], self.index), self.marks.actions())

    def close(self) -> None:
        """Close what is open."""
        if self._nearest is not None:
            self._nearest.close()
        self.pictures.close()
        self.rows.close()
        self._database.close()

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._view.folder.path

    @property
    def has_images(self) -> bool:
        """Whether the input has images."""
        return self._pool is not None and self._pool.reader.image is not None

    @property
    def has_captions(self) -> bool:
        """Whether the input has captions."""
        return self.index.column("caption") is not None

    @cached_property
    def _unscored(self) -> set[str]:
        """Steps whose score says of every row what their reason says."""
        kinds = {marker.step: shown(marker.kind) for marker in self._view.markers}
        return {step for step, s in kinds.items() if not s.graded and s.one_cut}

    @cached_property
    def has_groups(self) -> bool:
        """Whether a row went for another one."""
        sql = "SELECT count(*) AS rows FROM rows WHERE kept_twin IS NOT NULL"
        return bool(self.rows.ask(sql)[0]["rows"])

    @cached_property
    def why_no_likeness(self) -> str:
        """Why nothing can be searched by likeness; empty if it can."""
        return "" if self._nearest else self._no_vectors

    @property
    def why_no_text_search(self) -> str:
        """Why no text can be searched for by the model; empty if it can."""
        return self._nearest.why_no_text if self._nearest else self._no_vectors

    def map(self) -> MapPage:
        """Return the run's map; QueryError, with what makes one, if there is none.

        A map that was made again while the app was open is read again.
        """
        with self._mapping:
            _, facts = read_map(self._view.folder)
            if self._map is None or self._map.facts != facts:
                self._map = MapPage(self._view.folder, self.rows, self.arrays)
            return self._map

    def compared(self) -> Shown:
        """Return this run and the other side by side."""
        told, marks = self.beside.told(), self.marks.actions()
        cards = {uid: self.card(row, marks) for uid, row in told["rows"].items()}
        if self.has_images:
            self.pictures.prepare([_place(row) for row in told["rows"].values()])
        return {**told, "cards": cards, "other": self.beside.other}

    def cut_cards(self, tried: TriedCut) -> Shown:
        """Return the cards of the rows that change sides under another threshold."""
        marks = self.marks.actions()
        sides = {"gained": tried.gained, "lost": tried.lost}
        if self.has_images:
            self.pictures.prepare([_place(r) for rows in sides.values() for r in rows])
        return {
            side: [self.card(row, marks) for row in rows]
            for side, rows in sides.items()
        }

    def brief(self, numbers: Sequence[int]) -> list[Shown]:
        """Return what is told of a row that is pointed at."""
        rows = self.rows.numbered(numbers)
        return [
            {
                "n": n,
                "caption": (rows[n].get("caption") or "")[:300],
                "fate": " at ".join(
                    str(part) for part in (rows[n]["fate"], rows[n]["step"]) if part
                ),
                "picture": self.has_images,
            }
            for n in numbers
            if n in rows
        ]

    def frame(self) -> Shown:
        """Return what every page shows of the run."""
        marks = self.marks.actions()
        actions = list(marks.values())
        return {
            "run": self.path.resolve().name,
            "path": str(self.path),
            "rows": self.index.rows,
            "finished": self._view.finished,
            "note": self._database.note,
            "marks": len(marks),
            "to_rescue": actions.count("rescue"),
            "to_drop": actions.count("drop"),
            "undoable": self.marks.undoable,
            "tags": self.tags.counts(),
            "views": self.views.views(),
        }

    def listing(self, fields: Fields) -> Shown:
        """Return one page of the rows that an address asks for; raises QueryError."""
        wanted = asked(fields, self.index)
        marks = self.marks.actions()
        similar = self._similar(wanted, marks)
        page = self.rows.page(wanted, marks, similar)
        counts = self.rows.counts(wanted, marks, similar)
        if self.has_images:
            self.pictures.prepare([_place(row) for row in page.rows])
        return {
            "asked": wanted,
            "page": page,
            "cards": [self.card(row, marks) for row in page.rows],
            "counts": [(fate, counts[fate]) for fate in _FATES if counts.get(fate)],
            "total": sum(counts.values()),
            "most": self._nearest.most() if similar and self._nearest else None,
            "earlier": self._beside(wanted, page, "before"),
            "later": self._beside(wanted, page, "after"),
        }

    def form(self) -> Shown:
        """Return what the form of filters offers."""
        return {
            "columns": self.index.columns,
            "scores": [c for c in self.index.columns if c.role == "score"],
            "clusters": [c for c in self.index.columns if c.role == "cluster"],
            "operations": OPERATIONS,
            "steps": self._ended("step"),
            "reasons": self._ended("reason"),
            "fates": self._ended("fate"),
            "searched": SEARCHED,
            "most_pictures": MOST_PICTURES,
        }

    def card(self, row: Row, marks: Mapping[str, str]) -> Shown:
        """Return a row as lists show it."""
        return {
            **row,
            "fate": row["fate"] or "undecided",
            "caption": row.get("caption"),
            "score": None if row["step"] in self._unscored else row["score"],
            "mark": marks.get(row["uid"], ""),
            "markable": row["fate"] != "quarantined",
        }

    def story(self, n: int, fields: Fields = ()) -> Shown | None:
        """Return all that is known of a row; None if there is no such row.

        fields: the address of the list that it was chosen from, whose rows before and
        after it are named. Raises QueryError for a list that cannot be asked.
        """
        row = self.rows.row(n)
        if row is None:
            return None
        marks = self.marks.rows()
        actions = {uid: mark.action for uid, mark in marks.items()}
        wanted = asked(fields, self.index)
        card = self.card(row, actions)
        going = self._gone_for(row["uid"])
        chain = self._chain(row)
        places = [_place(r) for r in (*going["rows"], *chain["rows"])]
        if self.has_images:
            self.pictures.prepare([_place(row)], LARGE)
            self.pictures.prepare(places)
        return {
            "card": card,
            "list": wanted.address(after=None, before=None),
            "earlier": self._next_to(n, wanted, actions, "before"),
            "later": self._next_to(n, wanted, actions, "after"),
            "difference": self._difference(row, chain["rows"]),
            "mark": marks.get(row["uid"]),
            "tags": self.tags.of(row["uid"]),
            "steps": self._told(row),
            "facts": self._facts(row),
            "chain": [self.card(r, actions) for r in chain["rows"]],
            "outside": chain["outside"],
            "gone": [self.card(r, actions) for r in going["rows"]],
            "gone_total": going["total"],
            "gone_address": AskedPage(
                conditions=(ColumnFilter("kept_twin", "is", row["uid"]),)
            ).address(),
            "near_address": AskedPage(near=n).address(),
            "has_vector": self._nearest is not None and self._nearest.has(row["uid"]),
        }

    def picture(self, n: int, large: bool) -> Picture | None:
        """Return a row's picture; None if there is no such row."""
        rows = self.rows.ask("SELECT source, row FROM rows WHERE n = ?", [n])
        if not rows or not self.has_images:
            return None
        return self.pictures.picture(_place(rows[0]), LARGE if large else SMALL)

    def mark(self, numbers: Sequence[int], action: str, note: str) -> int:
        """Mark rows, or take their marks away; return how many rows that were.

        Raises QueryError for another action, and for a row that cannot be marked.
        """
        if action not in ("rescue", "drop", CLEAR):
            raise QueryError(f"no action '{action}'; rescue, drop or clear")
        rows = self.rows.numbered(numbers)
        for n in numbers:
            if n not in rows:
                raise QueryError(f"this run has no row number {n}")
            if rows[n]["fate"] == "quarantined" and action != CLEAR:
                raise QueryError(
                    f"{rows[n]['uid']} is quarantined: what cannot be read can be "
                    "neither rescued nor dropped"
                )
        uids = [rows[n]["uid"] for n in numbers]
        if action == CLEAR:
            self.marks.clear(uids)
        elif uids:
            chosen: Action = "rescue" if action == "rescue" else "drop"
            self.marks.mark(uids, chosen, note)
        return len(uids)

    def _given(self) -> list[Override]:
        """Return the overrides that the run itself honoured."""
        for marker in self._view.markers:
            if marker.kind == OVERRIDES:
                rows = self._view.artifact(marker.step, "given").collect().to_dicts()
                return [Override(**row) for row in rows]
        return []

    def _images(self, places: list[Place]) -> list[bytes | None]:
        return self._pool.images(places) if self._pool else [None] * len(places)

    def _vector_files(self) -> list[Path]:
        self._no_vectors = ""
        try:
            return vector_files(self._view.folder, self._view.markers)[1]
        except QueryError as error:
            self._no_vectors = str(error)
            return []

    @cached_property
    def _nearest(self) -> Nearest | None:
        if self._no_vectors:
            return None
        files = self._vector_files()
        return Nearest(self.rows, SearchedVectors(self._view, modality="image"), files)

    def _similar(self, wanted: AskedPage, marks: Mapping[str, str]) -> str:
        if not wanted.by_similarity:
            return ""
        if wanted.like and wanted.near is not None:
            raise QueryError("search by words or by a row, not by both")
        if self._nearest is None:
            raise QueryError(self._no_vectors)
        return self._nearest.similar(wanted, marks)

    def _beside(self, wanted: AskedPage, page: Page, side: str) -> str:
        more = page.more_before if side == "before" else page.more_after
        if not more or not page.rows:
            return ""
        end = page.rows[0] if side == "before" else page.rows[-1]
        cursors: dict[str, Any] = {"before": None, "after": None, side: end["n"]}
        return wanted.address(**cursors)

    def _next_to(
        self, n: int, wanted: AskedPage, marks: Mapping[str, str], side: str
    ) -> int | None:
        """Return the number of the row before or after one in a list, if there is."""
        cursors: dict[str, Any] = {"before": None, "after": None, side: n}
        beside = replace(wanted, **cursors)
        similar = self._similar(wanted, marks)
        rows = self.rows.page(beside, marks, similar, size=1).rows
        return rows[0]["n"] if rows else None

    def _difference(self, row: Row, chain: Sequence[Row]) -> list[tuple[str, str]]:
        """Return the words that differ from the twin's caption, if any do."""
        if not chain or row.get("caption") is None:
            return []
        kept, dropped = chain[0].get("caption"), row["caption"]
        return [] if kept in (dropped, None) else words(kept, dropped)

    def uids(self, fields: Fields) -> Iterator[str]:
        """Return the uids of the rows that an address asks for, in its order, as lines.

        Raises QueryError for what cannot be asked.
        """
        wanted = asked(fields, self.index)
        marks = self.marks.actions()
        return self.rows.uids(wanted, marks, self._similar(wanted, marks))

    def export(self, kind: str, fields: Fields) -> Iterator[bytes]:
        """Yield a file of the rows that an address asks for; see `RowExports`."""
        wanted = asked(fields, self.index)
        marks = self.marks.actions()
        similar = self._similar(wanted, marks)
        return self._exports.parts(kind, wanted, marks, similar)

    def tag(self, fields: Fields, tag: str, numbers: Sequence[int] | None) -> int:
        """Give a tag to rows by number, or to all of a list; return how many."""
        if numbers is None:
            lines = self.uids(fields)
            uids = [uid for part in lines for uid in part.split()]
        else:
            uids = [row["uid"] for row in self.rows.numbered(numbers).values()]
        self.tags.give(tag, uids)
        return len(uids)

    def groups(self) -> Shown:
        """Return the rows that most others went for, the largest group first."""
        counted = self.rows.ask(
            "SELECT kept_twin AS uid, count(*) AS copies FROM rows "
            "WHERE kept_twin IS NOT NULL GROUP BY kept_twin "
            f"ORDER BY copies DESC, uid LIMIT {_SHOWN_GROUPS}"
        )
        marks = self.marks.actions()
        keepers = self.rows.by_uid([group["uid"] for group in counted])
        groups = []
        for group in counted:
            copies = ColumnFilter("kept_twin", "is", group["uid"])
            keeper = keepers.get(group["uid"])
            groups.append(
                {
                    "card": self.card(keeper, marks) if keeper else None,
                    "uid": group["uid"],
                    "copies": group["copies"],
                    "address": AskedPage(conditions=(copies,)).address(),
                }
            )
        if self.has_images:
            self.pictures.prepare([_place(row) for row in keepers.values()])
        return {"groups": groups}

    @cached_property
    def _fates(self) -> list[Row]:
        return self.rows.fates()

    def _ended(self, column: str) -> list[tuple[str, int]]:
        """Return the values of fate, step or reason with their rows."""
        counts: dict[str, int] = {}
        for row in self._fates:
            if row[column] is not None:
                counts[row[column]] = counts.get(row[column], 0) + row["rows"]
        return list(counts.items())

    def _told(self, row: Row) -> list[tuple[str, str]]:
        if row["step"] == "index":
            return [("index", f"quarantined: {row['reason']}")]
        with self._explaining:
            try:
                return sentences(explain(self._view, row["uid"]))
            except WinnowError as error:
                return [("explain", str(error))]

    def _facts(self, row: Row) -> list[tuple[IndexedColumn, Any, str]]:
        """Return each column's value, and the address of the rows that share it."""
        hidden = {"caption", "uid", "fate"}
        facts = []
        for column in self.index.columns:
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
            twin = self.rows.by_uid([uid]).get(uid)
            if twin is None:
                outside = uid
                break
            rows.append(twin)
            uid = twin["kept_twin"]
        return {"rows": rows, "outside": outside}

    def _gone_for(self, uid: str) -> Shown:
        counted = "SELECT count(*) AS total FROM rows WHERE kept_twin = ?"
        total = self.rows.ask(counted, [uid])[0]["total"]
        sql = "SELECT n FROM rows WHERE kept_twin = ? ORDER BY n LIMIT ?"
        entries = self.rows.ask(sql, [uid, _SHOWN_TWINS]) if total else []
        rows = self.rows.numbered([entry["n"] for entry in entries])
        return {"total": total, "rows": [rows[entry["n"]] for entry in entries]}


def _place(row: Row) -> Place:
    return row["source"], row["row"]
