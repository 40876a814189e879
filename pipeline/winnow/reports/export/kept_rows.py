"""The rows that a run keeps, with their columns and, if wanted, their scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from winnow.core.errors import ConfigError, InputError, RunError, did_you_mean
from winnow.core.sql_text import identifier, literal
from winnow.formats.reader import SampleReader
from winnow.pages.database import QueryRows
from winnow.reports.database import RunDatabase
from winnow.reports.pool_sql import RunPool, sample_names
from winnow.reports.run_sql import provided_vectors

#: Before the name of a step, for a column that a run adds.
ADDED = "winnow_"
REPEATS, VECTORS = "repeats", ("image_vector", "text_vector")

_ORDER = "ORDER BY p.source, p.row"
_TEXT = "text_not_utf8"
#: Rows of a shard that one of several readers takes together.
_SHARE_ROWS = 256

#: What ended a row that is not kept.
ENDED = {
    "step": pa.string(),
    "reason": pa.string(),
    "score": pa.float64(),
    "threshold": pa.float64(),
    "kept_twin": pa.string(),
}


@dataclass(frozen=True)
class RowsWanted:
    """Which rows and columns of a run are read.

    columns: names as in the view `samples`; None: all of the input's.
    scores: add `winnow_STEP` for each step that scored or clustered.
    fate: `kept`, or `dropped`, which adds ENDED.
    share: (k, n): the k-th of n shares of the rows, of which no two overlap.
    """

    columns: tuple[str, ...] | None = None
    scores: bool = False
    fate: str = "kept"
    share: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class RowColumns:
    """What the columns of exported rows are: the uid, the picture, the caption, others.

    `image` and `text` are None where the run has none; `scores` are added by the run.
    """

    image: str | None
    text: str | None
    others: tuple[str, ...]
    scores: Mapping[str, pa.DataType]


class KeptRows:
    """The rows that a finished run keeps (or drops), in the order of its input.

    Columns are called as in the view `samples`: the run's uid is `uid`. Raises RunError
    if the run is a scan of a lake or not finished, InputError if its input is gone, and
    ConfigError if a score would have the name of an input column, or for a column that
    the input lacks.
    """

    def __init__(
        self, database: RunDatabase, wanted: RowsWanted = RowsWanted()
    ) -> None:
        self._database, self._wanted = database, wanted
        folder = database.folder
        if not folder.file("manifest.json").is_file():
            raise RunError(
                f"{folder.path} is not finished; the same `winnow run` goes on"
            )
        if database.pool is None:
            raise InputError(database.note)
        self.pool: RunPool = database.pool
        self._require(wanted.columns or ())
        self._scores = self._score_columns() if wanted.scores else {}
        clash = sorted(set(self._scores) & set(self.pool.schema.names))
        if clash:
            raise ConfigError(
                f"--with-scores: the input has a column {clash[0]} already; export "
                "without scores, or rename it"
            )

    @cached_property
    def columns(self) -> RowColumns:
        """What the rows' columns are."""
        reader, names = self.pool.reader, sample_names(self.pool)
        only = self._wanted.columns
        image, text = (
            name if name and (only is None or names[name] in only) else None
            for name in (reader.image, reader.text)
        )
        others = [
            name
            for name in self.pool.schema.names
            if names[name]
            and name not in (reader.image, reader.text)
            and (only is None or names[name] in only)
        ]
        scores = {
            name: pa.float64() if value == "score" else pa.int32()
            for name, (_, value) in self._scores.items()
        }
        return RowColumns(image, text, tuple(others), scores)

    def name(self, column: str) -> str:
        """Return what a column of the input is called here."""
        return sample_names(self.pool)[column] or column

    def uids(self) -> Iterator[pa.RecordBatch]:
        """Yield (uid, repeats), sorted by uid."""
        sql = (
            f"SELECT p.uid, coalesce(r.count, 1) AS {REPEATS} {self._chosen} "
            "LEFT JOIN repeats r USING (uid) ORDER BY p.uid"
        )
        yield from self._database.stream(sql)

    def batches(self, *, vectors: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield uid, `image` and `text` of Columns, `extra.NAME` of its others, and
        its scores, REPEATS, `ended.NAME` of `ended`, and (if wanted) VECTORS.

        Raises InputError if a row that is kept can no longer be read.
        """
        columns = self.columns
        wanted = [n for n in ("image", "text") if getattr(columns, n) is not None]
        references = self._database.stream(
            f"SELECT p.uid, p.source, p.row {self._chosen} {_ORDER}"
        )
        beside = _Taken(self._database.stream(self._beside(vectors)))
        reader: SampleReader = self.pool.reader
        for batch in reader.read(iter(references), wanted, columns.others):
            if self._wanted.fate == "kept":
                _require_readable(batch)
            more = beside.take(len(batch))
            if more["uid"].to_pylist() != batch["uid"].to_pylist():
                raise RunError("the run changed while it was exported; export again")
            arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
            added = [name for name in more.column_names if name != "uid"]
            arrays |= {name: more[name].combine_chunks() for name in added}
            yield pa.RecordBatch.from_pydict(arrays)

    @property
    def ended(self) -> Mapping[str, pa.DataType]:
        """What `batches` adds of rows that are not kept: ENDED, or nothing."""
        return ENDED if self._wanted.fate != "kept" else {}

    def count(self) -> int:
        """Return how many rows there are, each counted once."""
        (row,) = self._database.query(
            f"SELECT count(*) AS n {self._chosen}"
        ).to_pylist()
        return int(row["n"])

    def draws(self) -> int:
        """Return how many rows there are, each counted as often as it was drawn."""
        (row,) = self._database.query(
            f"SELECT count(*) + coalesce(sum(r.count - 1), 0) AS n {self._chosen} "
            "LEFT JOIN repeats r USING (uid)"
        ).to_pylist()
        return int(row["n"])

    @property
    def _chosen(self) -> str:
        ended = "".join(f", {name}" for name in ENDED)
        fate = literal(self._wanted.fate)
        rows = f"SELECT uid{ended} FROM fates WHERE fate = {fate}"
        part, parts = self._wanted.share
        group = f"(row // {_SHARE_ROWS} + hash(source) % {parts}) % {parts}"
        places = f"SELECT uid, source, row FROM index_places WHERE {group} = {part}"
        return f"FROM ({places}) p JOIN ({rows}) k USING (uid)"

    def _require(self, columns: Iterable[str]) -> None:
        known = [name for name in sample_names(self.pool).values() if name]
        for name in columns:
            if name not in known and name != "uid":
                raise ConfigError(
                    f"the input has no column '{name}'; {did_you_mean(name, known)}"
                )

    def has_vectors(self) -> bool:
        """Whether the run has embedded anything."""
        return len(self._database.query("SELECT 1 FROM vectors LIMIT 1")) > 0

    def _beside(self, vectors: bool) -> str:
        shown = [f"coalesce(r.count, 1) AS {REPEATS}"]
        joins = ["LEFT JOIN repeats r USING (uid)"]
        for number, (name, (rows, value)) in enumerate(self._scores.items()):
            shown.append(f"s{number}.{value} AS {identifier(name)}")
            joins.append(f"LEFT JOIN ({rows}) s{number} USING (uid)")
        if vectors:
            shown += [f"v.{name}" for name in VECTORS]
            markers = self._database.markers
            embedded = [m.step for m in markers if provided_vectors(m)]
            last = literal(embedded[-1]) if embedded else "NULL"
            joins.append(
                f"LEFT JOIN (FROM vectors WHERE step = {last}) v ON v.uid = p.uid"
            )
        shown += [f"k.{name} AS {identifier(f'ended.{name}')}" for name in self.ended]
        joined = f"{self._chosen} {' '.join(joins)}"
        return f"SELECT p.uid, {', '.join(shown)} {joined} {_ORDER}"

    def _score_columns(self) -> dict[str, tuple[str, str]]:
        """Return the rows, and the column of them, of each score or cluster."""
        scores: dict[str, tuple[str, str]] = {}
        clustered = "SELECT DISTINCT step, 'cluster_id' AS value FROM members"
        scored = (
            "SELECT DISTINCT step, 'score' AS value FROM ledger "
            "WHERE keep AND score IS NOT NULL"
        )
        steps = self._database.query(
            f"SELECT step, value FROM ({clustered} UNION ALL {scored}) "
            "JOIN steps USING (step) ORDER BY position"
        )
        for row in steps.to_pylist():
            view = "members" if row["value"] == "cluster_id" else "ledger"
            rows = f"FROM {view} WHERE step = {literal(row['step'])}"
            scores[ADDED + row["step"]] = (rows, row["value"])
        return scores


class _Taken:
    """Rows of a stream, so many at a time."""

    def __init__(self, rows: QueryRows) -> None:
        self._rows, self._schema = iter(rows), rows.schema
        self._held: list[pa.RecordBatch] = []

    def take(self, count: int) -> pa.Table:
        held = sum(map(len, self._held))
        while held < count:
            batch = next(self._rows, None)
            if batch is None:
                break
            self._held.append(batch)
            held += len(batch)
        table = pa.Table.from_batches(self._held, self._schema)
        self._held = table.slice(count).to_batches()
        return table.slice(0, count).combine_chunks()


def _require_readable(batch: pa.RecordBatch) -> None:
    # A caption that is no text is null here, as it is in the view `samples`.
    pairs = zip(batch["uid"].to_pylist(), batch["reason"].to_pylist(), strict=True)
    bad = next((p for p in pairs if p[1] is not None and p[1] != _TEXT), None)
    if bad is not None:
        raise InputError(f"row {bad[0]} can no longer be read: {bad[1]}")
