"""Sorting more rows than memory should hold: sorted runs in files, merged by ranges.

1. Rows are gathered until they fill a run, sorted, and written; if they fill none, they
   are sorted as they are.
2. Of every batch of a run the last key is remembered. Some of these keys, evenly taken
   from all of them in order, cut the keys into ranges that hold about a run each.
3. Range by range, what the runs hold of it is gathered and sorted.

The order is that of a stable sort of all rows at once. In memory are a run and one
batch of every run, whatever the number of rows.

May import: core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from winnow.engines.parts import plain_schema

_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class SortOrder:
    """What rows are sorted by: columns, which of them descend, where nulls stand."""

    by: Sequence[str]
    descending: Sequence[bool] = ()
    nulls_last: bool = False

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows in this order; equal ones stay as they come."""
        return rows.sort(
            self.by,
            descending=list(self.descending) or False,
            nulls_last=self.nulls_last,
            maintain_order=True,
        )


@dataclass
class _Run:
    """A sorted run: its file and the last keys of its batches."""

    file: Path
    batches: Iterator[pl.DataFrame]
    lasts: list[pl.DataFrame]
    held: pl.DataFrame | None = field(default=None)

    def up_to(
        self, bound: pl.DataFrame | None, order: SortOrder
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows, not yet yielded, that do not come after `bound`."""
        while True:
            rows = self.held if self.held is not None else next(self.batches, None)
            if rows is None:
                return
            count = len(rows) if bound is None else _not_after(rows, bound, order)
            yield rows.slice(0, count)
            self.held = None
            if count < len(rows):
                self.held = rows.slice(count)
                return


def sorted_rows(
    batches: Iterator[pa.RecordBatch],
    order: SortOrder,
    new_file: Callable[[], Path],
    run_bytes: int,
) -> Iterator[pl.DataFrame]:
    """Yield the rows of `batches` in order, as frames of about `run_bytes` at most.

    new_file: names a scratch file that is not there; it is removed when it is read.
    run_bytes: memory that the rows of a run take, before they are sorted.
    """
    runs: list[_Run] = []
    for rows, whole in _filled(batches, run_bytes):
        if whole:
            yield order.of(rows)
            return
        runs.append(_written(order.of(rows), order, new_file()))
    for bound in _bounds(runs, order):
        parts = [part for run in runs for part in run.up_to(bound, order)]
        if parts:
            yield order.of(pl.concat(parts))
    for run in runs:
        run.file.unlink()


def _filled(
    batches: Iterator[pa.RecordBatch], run_bytes: int
) -> Iterator[tuple[pl.DataFrame, bool]]:
    """Yield the rows of each run, and whether these are all that there are."""
    held: list[pa.RecordBatch] = []
    size, alone = 0, True
    for batch in batches:
        if held and size >= run_bytes:
            yield _frame(held), False
            held, size, alone = [], 0, False
        held.append(batch)
        size += batch.nbytes
    if held:
        yield _frame(held), alone


def _frame(batches: list[pa.RecordBatch]) -> pl.DataFrame:
    frame = pl.from_arrow(pa.Table.from_batches(batches))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _written(ordered: pl.DataFrame, order: SortOrder, file: Path) -> _Run:
    lasts = []
    table = ordered.to_arrow()
    # Views would be written with all that they look at, by every batch.
    schema = plain_schema(table.schema)
    table = table.cast(schema)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
        for start in range(0, len(ordered), _BATCH_ROWS):
            rows = min(_BATCH_ROWS, len(ordered) - start)
            out.write_table(table.slice(start, rows).combine_chunks())
            lasts.append(ordered.slice(start + rows - 1, 1).select(order.by).rechunk())
    return _Run(file, _read(file), lasts)


def _read(file: Path) -> Iterator[pl.DataFrame]:
    # Read, not mapped: pages of a mapped file count as this process's memory.
    with pa.OSFile(str(file), "rb") as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            yield _frame([batch])


def _bounds(runs: list[_Run], order: SortOrder) -> Iterator[pl.DataFrame | None]:
    """Yield the last key of each range; None, of the last range."""
    if not runs:
        return
    lasts = order.of(pl.concat([last for run in runs for last in run.lasts]))
    batches = max(len(run.lasts) for run in runs)
    for position in range(batches, len(lasts), batches):
        yield lasts.slice(position - 1, 1)
    yield None


def _not_after(rows: pl.DataFrame, bound: pl.DataFrame, order: SortOrder) -> int:
    """Return how many sorted rows come before a key, or are equal to it."""
    # By the sort itself, which alone knows where it puts nulls and NaN.
    keys: Any = rows.select(order.by)
    marked = pl.concat(
        [
            keys.with_columns(pl.lit(False).alias("__bound")),
            bound.with_columns(pl.lit(True).alias("__bound")),
        ]
    )
    return int(order.of(marked)["__bound"].arg_max() or 0)
