"""Relations that are small are the driver's own work; larger ones are Spark's.

Spark plans, compiles and schedules a join of ten thousand rows as one of ten billion.
The driver does it as the local engine does, in memory that `group_bytes` bounds, and
hands kernels their rows by files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from winnow.core.engine import How, Measure
from winnow.engines.by_parts import SortOrder, hash_of, ordered
from winnow.engines.local import LocalEngine, buckets_of
from winnow.engines.parts import plain_schema
from winnow.engines.scratch import (
    LocalFrame,
    Scratch,
    arrow_schema,
    scattered_frame,
)
from winnow.engines.spark.file_tasks import FileBundle
from winnow.engines.spark.frame import SparkFrame, arrow_frame
from winnow.engines.spark.relational_verbs import (
    BUNDLE_BYTES,
    Relations,
    grouped_schema,
    joined_schema,
    require_alike,
)
from winnow.engines.spark.session import SparkOptions

# So many files are open at a time while rows are told apart, far below a usual limit.
_MOST_BUCKETS = 200


class HeldRelations(Relations):
    """Joins, unions and the like: by the driver where all of their rows are few."""

    def __init__(self, session: Any, options: SparkOptions, scratch: Path) -> None:
        super().__init__(session, options)
        self._local = LocalEngine(
            scratch / "driver", options.group_bytes, options.driver_rows
        )
        self._files = Scratch(scratch / "handed")

    def join(
        self, left: SparkFrame, right: SparkFrame, on: str, how: How
    ) -> SparkFrame:
        """Equi-join on one column."""
        sides = self._held(left), self._held(right)
        if sides[0] is None or sides[1] is None:
            return super().join(self._spread(left), self._spread(right), on, how)
        schema = joined_schema(left.schema, right.schema, on, how)
        joined = self._local.join(sides[0], sides[1], on, how)
        return _held_frame(schema, joined, listed=left.listed)

    def union(self, frames: Sequence[SparkFrame]) -> SparkFrame:
        """Concatenate frames of the same columns."""
        require_alike(frames)
        held = self._all_held(frames)
        if held is None or all(frame.parts is not None for frame in frames):
            return super().union([self._spread(frame) for frame in frames])
        listed = any(frame.listed for frame in frames)
        return _held_frame(frames[0].schema, self._local.union(held), listed=listed)

    def where(self, frame: SparkFrame, column: str, value: bool | None) -> SparkFrame:
        """Rows whose boolean `column` equals `value`."""
        held = self._held(frame)
        if held is None:
            return super().where(self._spread(frame), column, value)
        chosen = self._local.where(held, column, value)
        return _held_frame(frame.schema, chosen, listed=frame.listed)

    def select(self, frame: SparkFrame, columns: Mapping[str, str]) -> SparkFrame:
        """Choose and rename columns: `{new name: old name}`."""
        if frame.held is None:
            return super().select(frame, columns)
        chosen = self._local.select(frame.held, columns)
        return _held_frame(frame.schema_of(columns), chosen, listed=frame.listed)

    def aggregate(
        self,
        frame: SparkFrame,
        by: str | None,
        measures: Mapping[str, tuple[str, Measure]],
    ) -> SparkFrame:
        """Group by one column (or all rows as one group)."""
        held = self._held(frame)
        if held is None:
            return super().aggregate(self._spread(frame), by, measures)
        schema = grouped_schema(frame.schema, by, measures)
        return _held_frame(schema, self._local.aggregate(held, by, measures))

    def _held(self, frame: SparkFrame) -> LocalFrame | None:
        """Return the rows as the driver works on them; None if they are not few."""
        if frame.data is not None or not self._options.driver_bytes:
            return None
        if frame.parts is not None and not self._is_small(frame):
            return None
        held = frame.held or _scanned(frame)
        if held is None or held.rows > self._options.driver_rows:
            return None
        return held if held.size <= self._options.driver_bytes else None

    def _is_small(self, frame: SparkFrame) -> bool:
        """Whether files hold few rows, of few bytes."""
        assert frame.parts is not None
        few = frame.parts.rows <= self._options.driver_rows
        return few and frame.parts.held <= self._options.driver_bytes

    def _all_held(self, frames: Sequence[SparkFrame]) -> list[LocalFrame] | None:
        held = [self._held(frame) for frame in frames]
        known = [each for each in held if each is not None]
        return known if len(known) == len(frames) else None

    def _spread(self, frame: SparkFrame) -> SparkFrame:
        """Return the frame over files or a DataFrame, for workers to read."""
        if frame.held is None:
            return frame
        return self._handed(frame, frame.held, ())

    def _handed(
        self, frame: SparkFrame, held: LocalFrame, order_by: Sequence[str]
    ) -> SparkFrame:
        """Write rows of the driver's to files, in order; return a frame over these."""
        order = SortOrder(tuple((name, False) for name in order_by))
        batches = ordered(self._files, held, order, self._local.sorted_bytes)
        rows = max(1, -(-held.rows // self._tasks_of(held)))
        pieces = (
            batch.slice(start, rows).cast(frame.schema)
            for batch in batches
            for start in range(0, len(batch), rows)
        )
        files = self._files.files(pieces, frame.schema)
        return arrow_frame(files, frame.schema, listed=frame.listed)

    def _together(
        self, frame: SparkFrame, held: LocalFrame, key: str, order_by: Sequence[str]
    ) -> list[FileBundle]:
        """Write rows to files, those of a value of `key` to the same ones, in order."""
        count = min(self._tasks_of(held), _MOST_BUCKETS)
        hashed = partial(hash_of, key=key, count=count)
        schema = held.lazy.collect_schema()
        order = SortOrder(tuple((name, False) for name in order_by))
        bundles: list[FileBundle] = []
        for files in self._files.scattered(held, hashed, count):
            if files:
                part = scattered_frame(files, schema)
                batches = ordered(self._files, part, order, self._local.sorted_bytes)
                written = self._files.files(
                    (batch.cast(frame.schema) for batch in batches), frame.schema
                )
                bundles.append([(str(file.path), None) for file in written])
        return bundles

    def _grouped(self, held: LocalFrame, key: str) -> list[FileBundle]:
        """Write rows to files by buckets of whole groups, as many as tasks."""
        sizes = held.lazy.group_by(key).len().sort(key).collect(engine="streaming")
        rows = sizes["len"].to_numpy()
        whole = int(rows.sum())
        share = -(-whole // min(self._tasks_of(held), _MOST_BUCKETS))
        bound = min(
            share, max(self.group_bytes // held.row_bytes, whole // _MOST_BUCKETS)
        )
        buckets = buckets_of(sizes[key].to_numpy(), rows, max(bound, 1))
        scattered = self._files.scattered(
            held,
            lambda batch: buckets[batch.column(key).to_numpy()],
            int(buckets.max(initial=-1)) + 1,
        )
        return [[(str(file), None) for file in files] for files in scattered if files]

    def _tasks_of(self, held: LocalFrame) -> int:
        return self._most or max(2 * self.slots, held.size // BUNDLE_BYTES)


def held_table(table: pa.Table) -> SparkFrame | None:
    """Return a frame over a table of plain types; None if polars has no such types."""
    if not _survives(table.schema):
        return None
    lazy = pl.from_arrow(table)
    assert isinstance(lazy, pl.DataFrame)
    return _held_frame(
        table.schema, LocalFrame(lazy.lazy(), len(table), listed=True), listed=True
    )


def _held_frame(
    schema: pa.Schema, held: LocalFrame, *, listed: bool = False
) -> SparkFrame:
    if arrow_schema(held.lazy) != schema:
        # Sums of small integers are of larger ones, to polars.
        kinds = pl.DataFrame(schema.empty_table()).schema
        held = replace(held, lazy=held.lazy.select(schema.names).cast(kinds))
    return SparkFrame(schema, held=held, bytes=held.size, listed=listed)


def _scanned(frame: SparkFrame) -> LocalFrame | None:
    """Return a lazy frame over all of some files; None if polars has other types."""
    assert frame.parts is not None
    if not _survives(frame.schema):
        return None
    paths = dict.fromkeys(group[0] for group in frame.parts.groups)
    if not paths:
        empty = pl.DataFrame(frame.schema.empty_table())
        return LocalFrame(empty.lazy(), 0, frame.listed)
    chosen = [pl.col(old).alias(new) for new, old in frame.columns.items()]
    # Files of one folder have the same columns.
    scans = [
        _scan(list(some), is_arrow=is_arrow).select(chosen)
        for (is_arrow, _), some in groupby(
            paths, lambda path: (path.endswith(".arrow"), Path(path).parent)
        )
    ]
    lazy = pl.concat(scans) if len(scans) > 1 else scans[0]
    held = LocalFrame(lazy, frame.parts.rows, frame.listed)
    # A file may say more than a schema does: how long a dictionary is, a time's unit.
    return held if arrow_schema(lazy) == frame.schema else None


def _scan(paths: list[str], *, is_arrow: bool) -> pl.LazyFrame:
    if is_arrow:
        return pl.scan_ipc(paths, glob=False, hive_partitioning=False)
    return pl.scan_parquet(paths, glob=False, hive_partitioning=False)


@lru_cache(maxsize=256)
def _survives(schema: pa.Schema) -> bool:
    """Whether polars has these columns as they are."""
    try:
        back = pl.DataFrame(schema.empty_table()).to_arrow().schema
    except (pl.exceptions.PolarsError, NotImplementedError, TypeError):
        return False
    return bool(plain_schema(back) == schema)
