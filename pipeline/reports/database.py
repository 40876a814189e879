"""SQL over a run, read-only and closed: the views, and what a query may take.

Runs of samples have the views `samples, ledger, duplicates, clusters, steps,
quarantine`, and `fates` (what became of each row), `members` (each row's cluster),
`index_places` (each row's shard and number), `vectors` (of `embed`) and `repeats` (of
`soft_cap`). Scans of a lake have `tables, edges,
stages` and, once there is a plan, `plan`. A view that a run has nothing for is empty; a
view of the other kind of run does not exist, and the error says which do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import yaml

from pipeline.core.errors import InputError, QueryError, did_you_mean
from pipeline.reports.closed_sql import ClosedSql
from pipeline.reports.pool_sql import RunPool, copied_samples, samples_body
from pipeline.reports.run_sql import RunSql
from pipeline.store.run_folder import RunFolder

_NO_TABLE = re.compile(r"Table with name (\S+) does not exist")
#: Views that join most of a run: stored when they are first asked for, in an order
#: that lets a query skip what it does not want.
_STORED = {
    "duplicates": "kept_twin, uid",
    "clusters": "step, cluster_id",
    "islands": 'island, "table"',
}

_COLUMN = re.compile("column", re.IGNORECASE)
#: What the engine says of a shard that the run's reader may still read in part.
_UNREADABLE = re.compile("parquet|encoding|UTF-?8|corrupt|decompress", re.IGNORECASE)


class RunDatabase:
    """A run's views, to be asked in SQL; may be used by several threads.

    max_rows: a query that gives more is refused (`query`) or cut (`stream`).
    seconds: a query that takes longer is stopped. None: no such limit.
    memory_mb: what one engine holds before it spills to a scratch folder.

    Raises RunError if the folder holds no run.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        max_rows: int | None = None,
        seconds: float | None = None,
        memory_mb: int = 512,
    ) -> None:
        self.folder = RunFolder(run)
        self.max_rows, self.seconds = max_rows, seconds
        self.is_lake = self.folder.file("edges.parquet").is_file()
        self.pool: RunPool | None = None
        #: Why `samples` lacks the input's columns, if it does.
        self.note = ""
        self._stored, self._lock = set[str](), Lock()
        markers = [] if self.is_lake else self.folder.markers()
        files = RunSql(self.folder, markers)
        if self.is_lake:
            views = files.lake_views()
        else:
            views = {**files.views(), "samples": self._samples(files)}
        self._names = sorted(views)
        self._index = "" if self.is_lake else f"{files.places()} ORDER BY source, row"
        self._sql = ClosedSql(
            [f"CREATE VIEW {name} AS {body}" for name, body in views.items()],
            files.files,
            memory_mb=memory_mb,
            filesystems=self.pool.filesystems if self.pool else (),
        )

    def __enter__(self) -> RunDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and remove its scratch folder."""
        self._sql.close()

    @property
    def scratch(self) -> Path:
        """A folder that is removed when the database is closed."""
        return self._sql.scratch

    @property
    def names(self) -> list[str]:
        """The views' names."""
        return self._names

    @property
    def views(self) -> dict[str, list[tuple[str, str]]]:
        """Each view's columns and their SQL types."""
        self._prepare({"samples"})
        return {name: self._sql.columns(name) for name in self._names}

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Return a SELECT's rows; `?` in it stand for `parameters`.

        Raises QueryError if it is no SELECT, is wrong, reads what is not the run's,
        takes longer than `seconds`, or gives more than `max_rows` rows.
        """
        rows = self.stream(sql, parameters)
        batches = list(rows)
        if rows.cut:
            raise QueryError(
                f"the query gives more than {self.max_rows:,} rows; add LIMIT, or "
                "allow more"
            )
        return pa.Table.from_batches(batches, rows.schema)

    def stream(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        *,
        max_rows: int | None = None,
    ) -> Rows:
        """Return a SELECT's rows batch by batch, cut at `max_rows`.

        Raises QueryError as `query` does, partly while the rows are read.
        """
        tables = self._sql.tables_of(sql)
        limits = [n for n in (max_rows, self.max_rows) if n is not None]
        return Rows(self._batches(sql, parameters, tables), min(limits, default=None))

    def images(self, uids: Sequence[str]) -> dict[str, bytes | None]:
        """Return the images of samples, encoded as in the input; None: there is none.

        Also of inputs that name images by path, which SQL cannot open. Raises
        InputError if a shard is gone.
        """
        if self.pool is None:
            raise InputError(self.note or "a lake has no images")
        asked = "SELECT uid, source, row FROM index_places WHERE list_contains(?, uid)"
        found = self.query(asked, [list(uids)]).to_pylist()
        places = [(place["source"], place["row"]) for place in found]
        images = self.pool.images(places)
        return dict(zip([place["uid"] for place in found], images, strict=True))

    def _batches(
        self, sql: str, parameters: Sequence[Any], tables: set[str]
    ) -> Iterator[pa.RecordBatch]:
        self._prepare(tables)
        for first in (True, False):
            begun = False
            try:
                for batch in self._sql.stream(sql, parameters, self.seconds):
                    yield batch
                    begun = begun or len(batch) > 0
                return
            except QueryError as error:
                again = first and not begun and "samples" in tables
                if not (again and _UNREADABLE.search(str(error)) and self._copy()):
                    raise self._explained(error) from error

    def _prepare(self, tables: set[str]) -> None:
        """Make what a query reads quick, once: joins that are stored, JSON Lines."""
        for name, order in _STORED.items():
            if name in tables and name in self._names:
                self._store(name, order)
        if "samples" in tables and self.pool and not self.pool.is_parquet:
            self._copy()

    def _store(self, name: str, order: str) -> None:
        """Write a view's rows to the scratch folder and read them there from now on."""
        with self._lock:
            if name not in self._stored:
                self._sql.store(name, order)
                self._stored.add(name)

    def _copy(self) -> bool:
        """Read the samples with the run's own reader; False if that is done already."""
        with self._lock:
            if "samples" in self._stored or self.pool is None:
                return False
            index = self._sql.stream(self._index, (), None)
            body = copied_samples(self.pool, index, self._sql.scratch)
            self._sql.define(f"CREATE OR REPLACE VIEW samples AS {body}")
            self._stored.add("samples")
            return True

    def _samples(self, files: RunSql) -> str:
        """Return the view over the input, or over the index alone without it."""
        config = yaml.safe_load(self.folder.file("config.lock.yaml").read_text())
        try:
            pool = RunPool(self.folder, config)
            pool.require()
            self.pool = pool
            if pool.is_parquet and not pool.names_clash:
                return samples_body(pool, files)
        except (InputError, OSError) as error:
            self.note = f"samples has no more than uid, source and row: {error}"
        return f"SELECT uid, source, row FROM {files.artifact('index', 'samples')}"

    def _explained(self, error: QueryError) -> QueryError:
        """Return the error with what helps: the views there are, a missing input."""
        text = str(error)
        missing = _NO_TABLE.search(text)
        if missing:
            name = missing[1]
            hint = did_you_mean(name, self._names)
            kind = "a scan of a lake" if self.is_lake else "a run of samples"
            extra = (
                "; `winnow lake plan RUN` makes it"
                if self.is_lake and name == "plan"
                else ""
            )
            views = ", ".join(self._names)
            text = f"no view '{name}'; {hint} ({kind} has {views}{extra})"
        if self.note and _COLUMN.search(text):
            text += f" ({self.note})"
        return QueryError(text)


class Rows:
    """A query's rows, batch by batch; `cut` says whether the limit left some out."""

    def __init__(self, batches: Iterator[pa.RecordBatch], max_rows: int | None) -> None:
        self._batches, self._left = batches, max_rows
        self.cut = False
        #: The columns; known before any row is.
        self.schema: pa.Schema = next(batches).schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            if self._left is not None and len(batch) > self._left:
                self.cut = True
                batch = batch.slice(0, self._left)  # noqa: PLW2901
            if self._left is not None:
                self._left -= len(batch)
            if len(batch):
                yield batch
            if self.cut:
                self.close()
                return

    def close(self) -> None:
        """Stop the query."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()
