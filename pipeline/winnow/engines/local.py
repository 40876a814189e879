"""One machine: polars for relations, Arrow streams for kernels, scratch files between.

What is held in memory: the columns that a sort, a join or a cut names (never images,
never vectors), and one bucket of groups at a time.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.engine import DRIVER_ROWS, BatchKernel, GroupKernel, How, Measure
from winnow.core.errors import RunError
from winnow.core.progress import counted, one_pass
from winnow.core.run_folder import remove, replace
from winnow.core.vectors import take
from winnow.engines.groups import split_groups
from winnow.engines.parts import part_writer, plain_schema

_BATCH_ROWS = 16_384
_PART_ROWS = 4_000_000
# Two neighbouring buckets exceed the bound together, so that at most twice as many
# files are open at a time: far below a usual limit of 1,024.
_MAX_BUCKETS = 200
# Of a scratch file: what is mapped at a time while it is read.
_SPILL_BYTES = 64 * 2**20
# Bytes a string is taken to need when the size of a shuffle is estimated.
_STRING_BYTES = 48


class LocalEngine:
    """The engine's verbs over polars' lazy frames."""

    name = "local"
    slots = 1

    def __init__(
        self,
        scratch: Path,
        group_bytes: int = 256 * 2**20,
        driver_rows: int = DRIVER_ROWS,
    ) -> None:
        self._scratch = scratch
        self._group_bytes = group_bytes
        self._driver_rows = driver_rows
        self._numbers = itertools.count()
        # Frames whose rows are pieces of work rather than samples.
        self._listed: WeakValueDictionary[int, pl.LazyFrame] = WeakValueDictionary()

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

    def scan(self, path: str, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Read a Parquet artifact (a file or a folder of parts)."""
        file = Path(path)
        files = sorted(file.rglob("*.parquet")) if file.is_dir() else [file]
        if not files:
            raise FileNotFoundError(f"{path}: there are no Parquet files")
        frame = pl.scan_parquet(files, hive_partitioning=False, glob=False)
        return frame.select(columns) if columns is not None else frame

    def from_table(self, table: pa.Table) -> pl.LazyFrame:
        """Hand a small driver-side table to the engine."""
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        lazy = frame.lazy()
        if len(table) <= _BATCH_ROWS:
            self._listed[id(lazy)] = lazy
        return lazy

    def map_batches(
        self,
        frame: pl.LazyFrame,
        kernel: BatchKernel,
        schema: pa.Schema,
        *,
        order_by: Sequence[str] = (),
        together: str | None = None,
    ) -> pl.LazyFrame:
        """Stream the frame through `kernel`, in one call, into a scratch file."""
        ordered = frame.sort(order_by) if order_by else frame
        batches = _batches(ordered)
        if self._listed.get(id(frame)) is not frame:
            return self._spill(counted(kernel, batches), schema)
        tasks = self.count(frame)
        return self._spill(counted(kernel, _few_at_a_time(batches), tasks), schema)

    def map_groups(
        self, frame: pl.LazyFrame, key: str, kernel: GroupKernel, schema: pa.Schema
    ) -> pl.LazyFrame:
        """Apply `kernel` once to all rows of each value of the integer column `key`."""
        sizes = frame.group_by(key).len().sort(key).collect(engine="streaming")
        row_bytes = _row_bytes(frame.collect_schema())
        rows = sizes["len"].to_numpy()
        bound = max(self._group_bytes // row_bytes, int(rows.sum()) // _MAX_BUCKETS, 1)
        buckets = _buckets(sizes[key].to_numpy(), rows, bound)
        tables = self._bucket_tables(frame, key, buckets)
        groups = (group for table in tables for group in split_groups(table, key))
        with one_pass(int(rows.sum())) as this:

            def results() -> Iterator[pa.Table]:
                for group in groups:
                    yield kernel(group)
                    this.passed(len(group))

            return self._spill(_as_batches(results()), schema)

    def join(
        self, left: pl.LazyFrame, right: pl.LazyFrame, on: str, how: How
    ) -> pl.LazyFrame:
        """Equi-join on one column, in the order of `left`."""
        # Without an order, what a crashed run wrote could differ from an unbroken one.
        return left.join(right, on=on, how=how, maintain_order="left")

    def union(self, frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
        """Concatenate frames of the same columns."""
        return pl.concat(list(frames))

    def where(
        self, frame: pl.LazyFrame, column: str, value: bool | None
    ) -> pl.LazyFrame:
        """Rows whose boolean `column` equals `value`."""
        return frame.filter(pl.col(column).eq_missing(pl.lit(value, pl.Boolean)))

    def select(self, frame: pl.LazyFrame, columns: Mapping[str, str]) -> pl.LazyFrame:
        """Choose and rename columns: `{new name: old name}`."""
        return frame.select(pl.col(old).alias(new) for new, old in columns.items())

    def aggregate(
        self,
        frame: pl.LazyFrame,
        by: str | None,
        measures: Mapping[str, tuple[str, Measure]],
    ) -> pl.LazyFrame:
        """Group by one column (or all rows as one group)."""
        expressions = [_measure(*how).alias(name) for name, how in measures.items()]
        if by is None:
            return frame.select(expressions)
        return frame.group_by(by).agg(expressions)

    def cut(
        self, frame: pl.LazyFrame, by: Sequence[tuple[str, bool]], count: int
    ) -> dict[str, Any] | None:
        """Return the `count`-th row in the order `by`."""
        if count < 1:
            return None
        columns = [name for name, _ in by]
        ordered = frame.select(columns).sort(
            columns, descending=[down for _, down in by], nulls_last=True
        )
        row = ordered.slice(count - 1, 1).collect().to_dicts()
        return row[0] if row else None

    def schema(self, frame: pl.LazyFrame) -> pa.Schema:
        """Return the frame's columns in plain Arrow types."""
        return _arrow_schema(frame)

    def count(self, frame: pl.LazyFrame) -> int:
        """Return the number of rows."""
        return int(frame.select(pl.len()).collect(engine="streaming").item())

    def write(self, frame: pl.LazyFrame, path: str, sort_by: Sequence[str]) -> int:
        """Write a folder of Parquet parts sorted by `sort_by`; return the rows."""
        ordered = frame.sort(sort_by) if sort_by else frame
        schema = _arrow_schema(frame)
        beside = Path(path).with_name(Path(path).name + ".tmp")
        remove(beside)
        beside.mkdir(parents=True)
        rows = _write_parts(_batches(ordered), schema, beside)
        replace(beside, Path(path))
        return rows

    def collect(self, frame: pl.LazyFrame, max_rows: int) -> pa.Table:
        """Bring a bounded frame to the driver."""
        rows = frame.head(max_rows + 1).collect(engine="streaming")
        if rows.height > max_rows:
            raise RunError(f"more than the {max_rows} rows that fit one machine here")
        return rows.to_arrow().cast(_arrow_schema(frame))

    def clear(self) -> None:
        """Remove the scratch files; frames made since the last call are void."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _file(self) -> Path:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch / f"{next(self._numbers):06d}.arrow"

    def _spill(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema
    ) -> pl.LazyFrame:
        """Write batches to scratch files and return a frame over them.

        Several, since polars maps a file as a whole and lets go of it as a whole.
        """
        rest, left = iter(batches), True
        paths: list[Path] = []
        while left:
            paths.append(self._file())
            left = _spill_one(paths[-1], rest, schema)
        return pl.scan_ipc(paths)

    def _bucket_tables(
        self, frame: pl.LazyFrame, key: str, buckets: npt.NDArray[np.int64]
    ) -> Iterator[pa.Table]:
        """Yield tables that hold all rows of the keys of one bucket each."""
        count = int(buckets.max(initial=-1)) + 1
        if count <= 1:
            batches = list(_batches(frame))
            if batches:
                yield pa.Table.from_batches(batches)
            return
        files = [self._file() for _ in range(count)]
        _scatter(_batches(frame), key, buckets, files)
        for file in files:
            with pa.memory_map(str(file)) as source:
                yield pa.ipc.open_file(source).read_all()
            file.unlink()


def _batches(frame: pl.LazyFrame) -> Iterator[pa.RecordBatch]:
    """Stream a frame as Arrow batches of plain (not large, not view) types."""
    schema = _arrow_schema(frame)
    for part in frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
        yield from part.to_arrow().cast(schema).to_batches(max_chunksize=_BATCH_ROWS)


def _few_at_a_time(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut batches of work into a hundred, so that it is seen how far it is."""
    for batch in batches:
        step = max(1, len(batch) // 100)
        for start in range(0, len(batch), step):
            yield batch.slice(start, step)


def _arrow_schema(frame: pl.LazyFrame) -> pa.Schema:
    """Return the frame's schema in plain Arrow types."""
    empty = pl.DataFrame(schema=frame.collect_schema()).to_arrow().schema
    return plain_schema(empty)


def _spill_one(
    path: Path, batches: Iterator[pa.RecordBatch], schema: pa.Schema
) -> bool:
    """Write batches to a file until it is full; return whether some may be left."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as out:
        for batch in batches:
            out.write_batch(batch.cast(schema))
            if sink.tell() >= _SPILL_BYTES:
                return True
    return False


def _as_batches(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    for table in tables:
        yield from table.to_batches()


def _write_parts(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, folder: Path
) -> int:
    rows, part = 0, 0
    writer: pq.ParquetWriter | None = None
    for batch in _row_groups(batches):
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


def _row_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Gather batches until they are worth a row group, which is a batch again later."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if (
            sum(map(len, held)) >= _BATCH_ROWS
            or sum(each.nbytes for each in held) >= _SPILL_BYTES
        ):
            yield pa.concat_batches(held)
            held = []
    if held:
        yield pa.concat_batches(held)


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


def _row_bytes(schema: pl.Schema) -> int:
    return sum(_column_bytes(kind) for kind in schema.values())


def _column_bytes(kind: pl.DataType) -> int:
    if isinstance(kind, pl.Array):
        return kind.size * _column_bytes(kind.inner)  # type: ignore[arg-type]
    if kind == pl.Float16:
        return 2
    return 8 if kind.is_numeric() or kind == pl.Boolean else _STRING_BYTES


def _buckets(
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


def _scatter(
    batches: Iterator[pa.RecordBatch],
    key: str,
    buckets: npt.NDArray[np.int64],
    files: Sequence[Path],
) -> None:
    """Append each row to the file of its key's bucket."""
    writers: list[pa.ipc.RecordBatchFileWriter | None] = [None] * len(files)
    for batch in batches:
        target = buckets[batch.column(key).to_numpy()]
        for bucket in np.unique(target).tolist():
            part = take(batch, np.flatnonzero(target == bucket))
            writer = writers[bucket]
            if writer is None:
                writer = pa.ipc.new_file(str(files[bucket]), batch.schema)
                writers[bucket] = writer
            writer.write_batch(part)
    for writer in writers:
        if writer is not None:
            writer.close()
