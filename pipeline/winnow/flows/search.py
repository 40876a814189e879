"""Search in a run: rows nearest to a text, a picture or a row, under a condition."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import (
    ConfigError,
    InputError,
    QueryError,
    RunError,
    did_you_mean,
)
from winnow.core.sql_text import identifier, literal
from winnow.flows.run_vectors import open_vectors
from winnow.models.inverted_lists import Bits, Passing
from winnow.models.query_vectors import QueryModel
from winnow.pages.row_condition import RowCondition
from winnow.reports.database import RunDatabase
from winnow.reports.run_view import RunView
from winnow.reports.vector_files import vector_files
from winnow.steps.nearest_vectors import NearestVectors, passing_rows

Rows = Literal["kept", "all"]
#: Columns of a condition that are what became of a row.
_FATES = ("fate", "step", "reason", "kept_twin")
#: Before a step's name: its score of a row, or the row's cluster in it.
_ADDED = "winnow_"
#: A text's vector is unlike those of pictures, which the lists were measured with.
_WIDER = 2
_MOST = 10_000


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


def picture(file: str | os.PathLike[str]) -> bytes:
    """Return a picture's bytes; raises InputError if the file cannot be read."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InputError(
            f"the picture {file} cannot be read: {error.strerror}"
        ) from error


@dataclass(frozen=True)
class Asked:
    """What is searched for: a text, an encoded picture, or a row; one of them."""

    text: str | None = None
    image: bytes | None = None
    like: str | None = None

    def require_one(self) -> None:
        """Raise ConfigError unless one of the three is given."""
        if sum(part is not None for part in (self.text, self.image, self.like)) != 1:
            raise ConfigError("search: give a text, an image or a row, one of them")


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
        marker, files, self.modality = _vectors(self._view, modality)
        self._model = QueryModel(self._view.config["model"], marker.facts.get("model"))
        self._stack = ExitStack()
        try:
            self._database = self._stack.enter_context(RunDatabase(run))
            index = open_vectors(
                self._view.folder, marker, files, self.modality, self._stack
            )
            self._nearest = NearestVectors(index, bits)
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
        if not 1 <= k <= _MOST:
            raise ConfigError(f"search: k is a number from 1 to {_MOST:,}")
        passing = self._passing(where, rows)
        query = self._query(asked)
        more = 1 if asked.like is not None else 0
        wider = _WIDER if asked.text is not None and self.modality == "image" else 1
        near = self._nearest.near(query, k + more, passing, wider=wider)
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

    def _query(self, asked: Asked) -> npt.NDArray[np.float32]:
        if asked.like is not None:
            return self._vector_of(asked.like)
        if asked.text is not None:
            vector = self._model.of_text(asked.text)
        else:
            assert asked.image is not None
            if self.modality != "image":
                raise QueryError("the run has vectors of texts alone; ask with a text")
            vector = self._model.of_image(asked.image)
        dim = self._nearest.segments[0].vectors.shape[1]
        if len(vector) != dim:
            raise QueryError(
                f"the model gives {len(vector)} numbers, the run's vectors have {dim}"
            )
        return vector

    def _vector_of(self, uid: str) -> npt.NDArray[np.float32]:
        for segment in self._nearest.segments:
            rows = segment.rows_of(pa.array([uid], pa.large_string()))
            if len(rows):
                stored = segment.vectors[int(rows[0])]
                return np.asarray(stored, np.float32)
        known = "SELECT 1 FROM index_places WHERE uid = ?"
        if len(self._database.query(known, [uid])):
            raise InputError(f"{uid} has no vector; it left the run before `embed`")
        raise InputError(f"{self._view.folder.path}: the run has no row '{uid}'")

    def _passing(self, where: str, rows: Rows) -> list[Passing | None]:
        if (where, rows) not in self._known:
            if rows == "kept" and not self._view.finished:
                raise RunError(
                    f"{self._view.folder.path} is not finished, so that it keeps "
                    "nothing yet; --all searches every row that has a vector"
                )
            wanted = self._uids(where, rows)
            masks = []
            for segment in self._nearest.segments:
                mask = np.ones(segment.size, np.bool_)
                if wanted is not None:
                    named = pc.is_in(segment.table.column("uid"), value_set=wanted)
                    mask = named.to_numpy(zero_copy_only=False)
                masks.append(mask)
            self._known[where, rows] = passing_rows(self._nearest.index, masks)
        return self._known[where, rows]

    def _uids(self, where: str, rows: Rows) -> pa.Array | None:
        """Return the names of the rows that may be found; None: all."""
        if not where and rows == "all":
            return None
        try:
            return self._asked_uids(where, rows)
        except QueryError as error:
            raise QueryError(
                f"where: {where}: {error}" if where else str(error)
            ) from error

    def _asked_uids(self, where: str, rows: Rows) -> pa.Array:
        names = RowCondition.parse(where).columns if where else ()
        columns = _Columns(self._database)
        named = [f"f.uid AS {_UID}", f"f.fate AS {_FATE}"]
        chosen = ", ".join([*named, *(columns.of(name) for name in names)])
        inner = f"SELECT {chosen} FROM fates f {columns.joins}"
        conditions = [f"{_FATE} = 'kept'"] if rows == "kept" else []
        conditions += [f"(\n{where}\n)"] if where else []
        sql = f"SELECT {_UID} AS uid FROM ({inner}) WHERE {' AND '.join(conditions)}"
        batches = self._database.stream(sql)
        table = pa.Table.from_batches(list(batches), batches.schema)
        return pa.concat_arrays(
            table["uid"].cast(pa.large_string()).chunks
            or [pa.array([], pa.large_string())]
        )

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


_UID, _FATE = identifier("winnow uid"), identifier("winnow fate")


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


def _vectors(view: RunView, modality: str | None) -> tuple[Any, list[Path], str]:
    folder, markers = view.folder, view.markers
    if modality is not None:
        return *vector_files(folder, markers, modality), modality
    try:
        return *vector_files(folder, markers, "image"), "image"
    except QueryError as error:
        try:
            return *vector_files(folder, markers, "text"), "text"
        except QueryError:
            raise error from None


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
