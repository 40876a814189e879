"""One machine: polars for relations, Arrow streams for kernels, scratch files between.

What is held in memory: of a bucket of groups as many rows as `group_bytes` allows,
about twice over, of a join or a grouping a third, of a sort a quarter, with what polars
needs beside them; more of them are worked on part by part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.engine import (
    DRIVER_ROWS,
    BatchKernel,
    DeviceChoice,
    GroupKernel,
    How,
    Measure,
)
from winnow.core.errors import RunError
from winnow.core.progress import counted, one_pass
from winnow.core.run_folder import remove, replace
from winnow.engines.by_parts import SortOrder, grouped, joined, ordered, row_of
from winnow.engines.groups import split_groups
from winnow.engines.parts import holds_vectors, part_writer, write_vector_parts
from winnow.engines.scratch import (
    BATCH_ROWS,
    SPILL_BYTES,
    LocalFrame,
    Scratch,
    arrow_schema,
    batches_of,
    gathered,
)

_PART_ROWS = 4_000_000
# What a hash table of rows takes, of polars' joins and groupings: times their bytes.
_TABLE = 3
# A sort's rows lie there unsorted and sorted, as its result and in what is written.
_SORTED = 4
# One row of a sort is wanted: only the part that holds it is sorted, so that smaller
# parts cost nothing.
_CUT = 16
# Two neighbouring buckets exceed the bound together, so that at most twice as many
# files are open at a time: far below a usual limit of 1,024.
_MAX_BUCKETS = 200


class LocalEngine:
    """The engine's verbs over polars' lazy frames."""

    name = "local"
    slots = 1

    def __init__(
        self,
        scratch: Path,
        group_bytes: int = 256 * 2**20,
        driver_rows: int = DRIVER_ROWS,
        device: DeviceChoice = "cpu",
    ) -> None:
        #: As `engine.device` of a recipe.
        self.device = device
        self._scratch = Scratch(scratch)
        self._group_bytes = group_bytes
        self._hashed_bytes = max(1, group_bytes // _TABLE)
        self.sorted_bytes = max(1, group_bytes // _SORTED)
        self._cut_bytes = max(1, group_bytes // _CUT)
        self._driver_rows = driver_rows

    @property
    def group_bytes(self) -> int:
        """Bytes of rows that a kernel may take whole."""
        return self._group_bytes

    @property
    def driver_rows(self) -> int:
        """Edges, or digests of one band, that are joined in memory."""
        return self._driver_rows

    def label(self, step: str) -> None:
        """Nobody watches but this process."""

    def peak_rss_mb(self) -> float:
        """There are no workers."""
        return 0.0

    def tasks(self) -> tuple[int, int]:
        """There are none."""
        return 0, 0

    def scan(self, path: str, columns: Sequence[str] | None = None) -> LocalFrame:
        """Read a Parquet artifact (a file or a folder of parts)."""
        file = Path(path)
        files = sorted(file.rglob("*.parquet")) if file.is_dir() else [file]
        if not files:
            raise FileNotFoundError(f"{path}: there are no Parquet files")
        frame = pl.scan_parquet(files, hive_partitioning=False, glob=False)
        rows = int(frame.select(pl.len()).collect().item())
        chosen = frame.select(columns) if columns is not None else frame
        return LocalFrame(chosen, rows)

    def from_table(self, table: pa.Table) -> LocalFrame:
        """Hand a small driver-side table to the engine."""
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return LocalFrame(frame.lazy(), len(table), listed=len(table) <= BATCH_ROWS)

    def map_batches(
        self,
        frame: LocalFrame,
        kernel: BatchKernel,
        schema: pa.Schema,
        *,
        order_by: Sequence[str] = (),
        together: str | None = None,
    ) -> LocalFrame:
        """Stream the frame through `kernel`, in one call, into a scratch file."""
        batches = self._sorted(frame, order_by)
        if not frame.listed:
            return self._scratch.spill(counted(kernel, batches), schema)
        few = _few_at_a_time(batches)
        return self._scratch.spill(counted(kernel, few, frame.rows), schema)

    def map_groups(
        self, frame: LocalFrame, key: str, kernel: GroupKernel, schema: pa.Schema
    ) -> LocalFrame:
        """Apply `kernel` once to all rows of each value of the integer column `key`."""
        sizes = frame.lazy.group_by(key).len().sort(key).collect(engine="streaming")
        rows = sizes["len"].to_numpy()
        whole = int(rows.sum())
        bound = max(self._group_bytes // frame.row_bytes, whole // _MAX_BUCKETS, 1)
        buckets = buckets_of(sizes[key].to_numpy(), rows, bound)
        tables = self._bucket_tables(frame, key, buckets)
        groups = (group for table in tables for group in split_groups(table, key))
        with one_pass(whole) as this:

            def results() -> Iterator[pa.Table]:
                for group in groups:
                    yield kernel(group)
                    this.passed(len(group))

            return self._scratch.spill(_as_batches(results()), schema)

    def join(
        self, left: LocalFrame, right: LocalFrame, on: str, how: How
    ) -> LocalFrame:
        """Equi-join on one column, in the order of `left` unless `right` is large."""
        if right.size > self._hashed_bytes:
            right = self._scratch.spill(
                batches_of(right.lazy), arrow_schema(right.lazy)
            )
        if right.size > self._hashed_bytes:
            return joined(self._scratch, (left, right), on, how, self._hashed_bytes)
        # Without an order, what a crashed run wrote could differ from an unbroken one.
        lazy = left.lazy.join(right.lazy, on=on, how=how, maintain_order="left")
        return LocalFrame(lazy, left.rows)

    def union(self, frames: Sequence[LocalFrame]) -> LocalFrame:
        """Concatenate frames of the same columns."""
        lazy = pl.concat([frame.lazy for frame in frames])
        return LocalFrame(lazy, sum(frame.rows for frame in frames))

    def where(self, frame: LocalFrame, column: str, value: bool | None) -> LocalFrame:
        """Rows whose boolean `column` equals `value`."""
        wanted = pl.col(column).eq_missing(pl.lit(value, pl.Boolean))
        return LocalFrame(frame.lazy.filter(wanted), frame.rows)

    def select(self, frame: LocalFrame, columns: Mapping[str, str]) -> LocalFrame:
        """Choose and rename columns: `{new name: old name}`."""
        chosen = frame.lazy.select(
            pl.col(old).alias(new) for new, old in columns.items()
        )
        return LocalFrame(chosen, frame.rows, frame.listed)

    def aggregate(
        self,
        frame: LocalFrame,
        by: str | None,
        measures: Mapping[str, tuple[str, Measure]],
    ) -> LocalFrame:
        """Group by one column (or all rows as one group)."""
        expressions = [_measure(*how).alias(name) for name, how in measures.items()]
        if by is None:
            return LocalFrame(frame.lazy.select(expressions), 1)
        names = dict.fromkeys([by, *(column for column, _ in measures.values())])
        named = LocalFrame(frame.lazy.select(list(names)), frame.rows)
        if named.size > self._hashed_bytes:
            return grouped(self._scratch, named, by, expressions, self._hashed_bytes)
        return LocalFrame(named.lazy.group_by(by).agg(expressions), frame.rows)

    def cut(
        self, frame: LocalFrame, by: Sequence[tuple[str, bool]], count: int
    ) -> dict[str, Any] | None:
        """Return the `count`-th row in the order `by`."""
        if count < 1:
            return None
        chosen = LocalFrame(frame.lazy.select([name for name, _ in by]), frame.rows)
        order = SortOrder(tuple(by), nulls_last=True)
        return row_of(self._scratch, chosen, order, self._cut_bytes, count - 1)

    def schema(self, frame: LocalFrame) -> pa.Schema:
        """Return the frame's columns in plain Arrow types."""
        return arrow_schema(frame.lazy)

    def count(self, frame: LocalFrame) -> int:
        """Return the number of rows."""
        return int(frame.lazy.select(pl.len()).collect(engine="streaming").item())

    def write(self, frame: LocalFrame, path: str, sort_by: Sequence[str]) -> int:
        """Write a folder of Parquet parts sorted by `sort_by`; return the rows."""
        beside = Path(path).with_name(Path(path).name + ".tmp")
        remove(beside)
        beside.mkdir(parents=True)
        lazy, schema = frame.lazy, arrow_schema(frame.lazy)
        if not sort_by and holds_vectors(lazy):
            rows = write_vector_parts(lazy, schema, beside, frame.rows, _PART_ROWS)
        else:
            rows = _write_parts(self._sorted(frame, sort_by), schema, beside)
        replace(beside, Path(path))
        return rows

    def collect(self, frame: LocalFrame, max_rows: int) -> pa.Table:
        """Bring a bounded frame to the driver."""
        schema = arrow_schema(frame.lazy)
        some = frame.lazy.head(max_rows + 1)
        if frame.size <= SPILL_BYTES:
            table = some.collect(engine="streaming").to_arrow().cast(schema)
        else:
            # All at once they would be held three times: by polars, by Arrow, cast.
            table = pa.Table.from_batches(batches_of(some), schema)
        if len(table) > max_rows:
            raise RunError(f"more than the {max_rows} rows that fit one machine here")
        return table

    def clear(self) -> None:
        """Remove the scratch files; frames made since the last call are void."""
        self._scratch.clear()

    def _sorted(
        self, frame: LocalFrame, names: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        order = SortOrder(tuple((name, False) for name in names))
        return ordered(self._scratch, frame, order, self.sorted_bytes)

    def _bucket_tables(
        self, frame: LocalFrame, key: str, buckets: npt.NDArray[np.int64]
    ) -> Iterator[pa.Table]:
        """Yield tables that hold all rows of the keys of one bucket each."""
        count = int(buckets.max(initial=-1)) + 1
        if count <= 1:
            batches = list(batches_of(frame.lazy))
            if batches:
                yield pa.Table.from_batches(batches)
            return

        def bucket_of(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
            assigned: npt.NDArray[np.int64] = buckets[batch.column(key).to_numpy()]
            return assigned

        for files in self._scratch.scattered(frame, bucket_of, count):
            yield pa.concat_tables(map(_mapped, files))
            for file in files:
                file.unlink()


def _mapped(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()


def _few_at_a_time(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut batches of work into a hundred, so that it is seen how far it is."""
    for batch in batches:
        step = max(1, len(batch) // 100)
        for start in range(0, len(batch), step):
            yield batch.slice(start, step)


def _as_batches(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    for table in tables:
        yield from table.to_batches()


def _write_parts(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, folder: Path
) -> int:
    rows, part = 0, 0
    writer: pq.ParquetWriter | None = None
    for batch in gathered(batches):
        if writer is None or rows >= (part * _PART_ROWS):
            if writer is not None:
                writer.close()
            file = folder / f"part-{part:05d}.parquet"
            writer, part = part_writer(file, schema), part + 1
        writer.write_batch(batch)
        rows += len(batch)
    if writer is None:
        writer = part_writer(folder / "part-00000.parquet", schema)
    writer.close()
    return rows


def _measure(column: str, measure: Measure) -> pl.Expr:
    match measure:
        case "count":
            return pl.len().cast(pl.Int64)
        case "min":
            return pl.col(column).min()
        case "max":
            return pl.col(column).max()
        case "sum":
            return pl.col(column).sum()


def buckets_of(
    keys: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], bound: int
) -> npt.NDArray[np.int64]:
    """Return the bucket of each key value, neighbours together up to `bound` rows.

    Indexed by key; −1 where there is no such key. A group above the bound gets a
    bucket of its own.
    """
    if not len(keys):
        return np.empty(0, np.int64)
    assigned = np.full(int(keys.max()) + 1, -1, np.int64)
    bucket, filled = 0, 0
    for key, size in zip(keys.tolist(), sizes.tolist(), strict=True):
        if filled and filled + size > bound:
            bucket, filled = bucket + 1, 0
        assigned[key] = bucket
        filled += size
    return assigned
