"""SQL over a run of samples, read-only and closed: its views.

They are `samples, ledger, duplicates, clusters, steps, quarantine`, and `fates` (what
became of each row), `members` (each row's cluster), `neighbours` (each row's most
similar earlier row), `index_places` (each row's shard and number), `measured` (of a
sample, for the page), `vectors` (of `embed`) and `repeats` (of `soft_cap`). A view that
a run has nothing for is empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import duckdb

from winnow.config.lock_file import read_lock
from winnow.core.errors import InputError, QueryError
from winnow.core.run_folder import RunFolder
from winnow.pages.closed_sql import ClosedSql, create_views, query_error
from winnow.pages.database import ViewDatabase
from winnow.reports.named_queries import SAMPLES
from winnow.reports.pool_sql import RunPool, copied_samples, samples_body
from winnow.reports.run_sql import RunSql, require_whole

_COLUMN = re.compile("column", re.IGNORECASE)
#: What the engine says of a shard that the run's reader may still read in part.
_UNREADABLE = re.compile("parquet|encoding|UTF-?8|corrupt|decompress", re.IGNORECASE)


class RunDatabase(ViewDatabase):
    """A run's views, to be asked in SQL; may be used by several threads.

    max_rows: a query that gives more is refused (`query`) or cut (`stream`).
    seconds: a query that takes longer is stopped. None: no such limit.
    memory_mb: what one engine holds before it spills to a scratch folder.

    Raises RunError if the folder holds no run, or a file of it is damaged.
    """

    kind = "a run of samples"
    named = SAMPLES
    stored: ClassVar = {"duplicates": "kept_twin, uid", "clusters": "step, cluster_id"}

    def __init__(
        self,
        run: str | Path,
        *,
        max_rows: int | None = None,
        seconds: float | None = None,
        memory_mb: int = 512,
    ) -> None:
        folder = RunFolder(run)
        self.pool: RunPool | None = None
        #: Why `samples` lacks the input's columns, if it does.
        self.note = ""
        #: The steps that stand, in order.
        self.markers = folder.markers()
        self._whole = False
        files = RunSql(folder, self.markers)
        views = {**files.views(), "samples": self._samples(folder, files)}
        self._index = f"{files.places()} ORDER BY source, row"
        try:
            sql = ClosedSql(
                create_views(views),
                files.files,
                memory_mb=memory_mb,
                filesystems=self.pool.filesystems if self.pool else (),
            )
        except duckdb.Error as error:
            # What the engine cannot open is named, if it is not as it was written.
            for vectors in (False, True):
                require_whole(folder, self.markers, vectors=vectors)
            raise query_error(error) from error
        super().__init__(folder, views, sql, max_rows=max_rows, seconds=seconds)

    def images(self, uids: Sequence[str]) -> dict[str, bytes | None]:
        """Return the images of samples, encoded as in the input; None: there is none.

        Also of inputs that name images by path, which SQL cannot open. Raises
        InputError if a shard is gone.
        """
        if self.pool is None:
            raise InputError(self.note)
        asked = "SELECT uid, source, row FROM index_places WHERE list_contains(?, uid)"
        placed = self.query(asked, [list(uids)]).to_pylist()
        places = [(row["source"], row["row"]) for row in placed]
        images = self.pool.images(places)
        return dict(zip([row["uid"] for row in placed], images, strict=True))

    def _prepare(self, tables: set[str]) -> None:
        self._require_whole(tables)
        super()._prepare(tables)
        if "samples" in tables and self.pool and not self.pool.is_parquet:
            self._copy()

    def _require_whole(self, tables: set[str]) -> None:
        """Raise RunError if a file that a query may read is not as it was written.

        Looked at once; vectors, the most of a run, only where they are asked for.
        """
        with self._lock:
            if not self._whole:
                require_whole(self.folder, self.markers)
                self._whole = True
            if "vectors" in tables and "vectors" not in self._done:
                require_whole(self.folder, self.markers, vectors=True)
                self._done.add("vectors")

    def _mended(self, tables: set[str], error: QueryError) -> bool:
        """Read the samples with the run's own reader if the engine could not."""
        return "samples" in tables and bool(
            _UNREADABLE.search(str(error)) and self._copy()
        )

    def _copy(self) -> bool:
        """Read the samples with the run's own reader; False if that is done already."""
        with self._lock:
            if "samples" in self._done or self.pool is None:
                return False
            index = self._sql.stream(self._index, (), None)
            body = copied_samples(self.pool, index, self._sql.scratch)
            self._sql.define(f"CREATE OR REPLACE VIEW samples AS {body}")
            self._done.add("samples")
            return True

    def _samples(self, folder: RunFolder, files: RunSql) -> str:
        """Return the view over the input, or over the index alone without it."""
        config = read_lock(folder.path)
        try:
            pool = RunPool(folder, config)
            pool.require()
            self.pool = pool
            if pool.is_parquet and not pool.names_clash:
                return samples_body(pool, files)
        except (InputError, OSError) as error:
            self.note = f"samples has no more than uid, source and row: {error}"
        return f"SELECT uid, source, row FROM {files.artifact('index', 'samples')}"

    def _explained(self, error: QueryError) -> QueryError:
        explained = super()._explained(error)
        if self.note and _COLUMN.search(str(explained)):
            return QueryError(f"{explained} ({self.note})")
        return explained
