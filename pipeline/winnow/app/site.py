"""The pages of a run of samples: what they show, gathered from index, run and input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from winnow.app.row_index import FOLDER, SEARCHED, row_index
from winnow.app.row_story import RowStories
from winnow.app.rows import IndexedRows, Page, Row, place_of
from winnow.app.thumbnails import LARGE, SMALL, Picture, Place, Thumbnails
from winnow.config.overrides import Action, Override
from winnow.config.step_kinds import OVERRIDES, shown
from winnow.core.errors import QueryError
from winnow.reports.database import RunDatabase
from winnow.reports.map_file import read_map
from winnow.reports.run_view import RunView
from winnow.reports.vector_files import vector_files
from winnow.search.searched_vectors import SearchedVectors

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

    view: the run itself. index, rows, arrays: its rows. marks, tags, views: what was
    said of them. cuts, stories, beside: the pages that have files of their own.
    """

    def __init__(
        self,
        run: str | Path,
        marked: Callable[[Path], None] | None = None,
        beside: str | Path | None = None,
    ) -> None:
        self._database = RunDatabase(run, memory_mb=128)
        self.view = RunView(run)
        try:
            scratch = self._database.scratch
            self.index = row_index(self._database, scratch)
            files = self._vector_files()
            self.rows = IndexedRows(self.index, [str(file) for file in files])
        except BaseException:
            self._database.close()
            raise
        self._pool = self._database.pool
        self.marks = Marks(self.view.folder.file(FOLDER) / MARKS, self._given(), marked)
        self.pictures = Thumbnails(self._images)
        self.arrays = RowArrays(self.rows)
        kept = self.view.folder.file(FOLDER)
        self.tags, self.views = RowTags(kept / TAGS), KeptViews(kept / VIEWS)
        self.beside = RunsBeside(self.path, beside, self.rows)
        self.rows.tagged = self.tags.uids
        images = self._images if self.has_images else None
        self._exports = RowExports(self.rows, images)
        self.cuts = CutsPage(self.view, self._database, self.rows, self.arrays)
        self._map: MapPage | None = None
        self._mapping = Lock()
        self.rows.selected = lambda name: self.map().view_of(name)
        self.stories = RowStories(self)
        # What every first page asks for is ready before it is asked.
        self.form()
        self.rows.counts(asked([], self.index), self.marks.actions())

    def close(self) -> None:
        """Close what is open."""
        if self.nearest is not None:
            self.nearest.close()
        self.pictures.close()
        self.rows.close()
        self._database.close()

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.view.folder.path

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
        kinds = {marker.step: shown(marker.kind) for marker in self.view.markers}
        return {step for step, s in kinds.items() if not s.graded and s.one_cut}

    @cached_property
    def has_groups(self) -> bool:
        """Whether a row went for another one."""
        sql = "SELECT count(*) AS rows FROM rows WHERE kept_twin IS NOT NULL"
        return bool(self.rows.ask(sql)[0]["rows"])

    @cached_property
    def why_no_likeness(self) -> str:
        """Why nothing can be searched by likeness; empty if it can."""
        return "" if self.nearest else self._no_vectors

    @property
    def why_no_text_search(self) -> str:
        """Why no text can be searched for by the model; empty if it can."""
        return self.nearest.why_no_text if self.nearest else self._no_vectors

    def map(self) -> MapPage:
        """Return the run's map; QueryError, with what makes one, if there is none.

        A map that was made again while the app was open is read again.
        """
        with self._mapping:
            _, facts = read_map(self.view.folder)
            if self._map is None or self._map.facts != facts:
                self._map = MapPage(self.view.folder, self.rows, self.arrays)
            return self._map

    def compared(self) -> Shown:
        """Return this run and the other side by side."""
        told, marks = self.beside.told(), self.marks.actions()
        cards = {uid: self.card(row, marks) for uid, row in told["rows"].items()}
        if self.has_images:
            self.pictures.prepare([place_of(row) for row in told["rows"].values()])
        return {**told, "cards": cards, "other": self.beside.other}

    def cut_cards(self, tried: TriedCut) -> Shown:
        """Return the cards of the rows that change sides under another threshold."""
        marks = self.marks.actions()
        sides = {"gained": tried.gained, "lost": tried.lost}
        if self.has_images:
            self.pictures.prepare(
                [place_of(r) for rows in sides.values() for r in rows]
            )
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
            "finished": self.view.finished,
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
        similar = self.similar(wanted, marks)
        page = self.rows.page(wanted, marks, similar)
        counts = self.rows.counts(wanted, marks, similar)
        if self.has_images:
            self.pictures.prepare([place_of(row) for row in page.rows])
        return {
            "asked": wanted,
            "page": page,
            "cards": [self.card(row, marks) for row in page.rows],
            "counts": [(fate, counts[fate]) for fate in _FATES if counts.get(fate)],
            "total": sum(counts.values()),
            "most": self.nearest.most() if similar and self.nearest else None,
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

    def picture(self, n: int, large: bool) -> Picture | None:
        """Return a row's picture; None if there is no such row."""
        rows = self.rows.ask("SELECT source, row FROM rows WHERE n = ?", [n])
        if not rows or not self.has_images:
            return None
        return self.pictures.picture(place_of(rows[0]), LARGE if large else SMALL)

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
        for marker in self.view.markers:
            if marker.kind == OVERRIDES:
                rows = self.view.artifact(marker.step, "given").collect().to_dicts()
                return [Override(**row) for row in rows]
        return []

    def _images(self, places: list[Place]) -> list[bytes | None]:
        return self._pool.images(places) if self._pool else [None] * len(places)

    def _vector_files(self) -> list[Path]:
        self._no_vectors = ""
        try:
            return vector_files(self.view.folder, self.view.markers)[1]
        except QueryError as error:
            self._no_vectors = str(error)
            return []

    @cached_property
    def nearest(self) -> Nearest | None:
        """What finds rows by likeness; None without vectors."""
        if self._no_vectors:
            return None
        files = self._vector_files()
        return Nearest(self.rows, SearchedVectors(self.view, modality="image"), files)

    def similar(self, wanted: AskedPage, marks: Mapping[str, str]) -> str:
        """Return the view of (n, similarity) that an address asks for, or nothing.

        Raises QueryError for what cannot be searched.
        """
        if not wanted.by_similarity:
            return ""
        if wanted.like and wanted.near is not None:
            raise QueryError("search by words or by a row, not by both")
        if self.nearest is None:
            raise QueryError(self._no_vectors)
        return self.nearest.similar(wanted, marks)

    def _beside(self, wanted: AskedPage, page: Page, side: str) -> str:
        more = page.more_before if side == "before" else page.more_after
        if not more or not page.rows:
            return ""
        end = page.rows[0] if side == "before" else page.rows[-1]
        cursors: dict[str, Any] = {"before": None, "after": None, side: end["n"]}
        return wanted.address(**cursors)

    def uids(self, fields: Fields) -> Iterator[str]:
        """Return the uids of the rows that an address asks for, in its order, as lines.

        Raises QueryError for what cannot be asked.
        """
        wanted = asked(fields, self.index)
        marks = self.marks.actions()
        return self.rows.uids(wanted, marks, self.similar(wanted, marks))

    def export(self, kind: str, fields: Fields) -> Iterator[bytes]:
        """Yield a file of the rows that an address asks for; see `RowExports`."""
        wanted = asked(fields, self.index)
        marks = self.marks.actions()
        similar = self.similar(wanted, marks)
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
            self.pictures.prepare([place_of(row) for row in keepers.values()])
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
