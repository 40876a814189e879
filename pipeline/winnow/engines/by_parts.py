"""Sorts, joins and groupings of more rows than are held in memory, part by part.

Rows are scattered to files, by ranges of what they are sorted by or by a hash of what
they are joined by, until a part is small enough to be worked on as a whole.

May import: core.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from winnow.core.engine import How
from winnow.engines.parts import plain_type
from winnow.engines.scratch import (
    BATCH_ROWS,
    LocalFrame,
    Scratch,
    arrow_schema,
    batches_of,
    scattered_frame,
)

# So many files are open at a time, far below a usual limit of 1,024; larger parts are
# divided again.
_MOST_PARTS = 200
# Values that are looked at for every border between two ranges.
_SAMPLED = 64
# Parts are somewhat unequal.
_ROOM = 1.25


@dataclass(frozen=True)
class SortOrder:
    """What rows are sorted by: (column, descending) each, nulls first or last."""

    by: tuple[tuple[str, bool], ...]
    nulls_last: bool = False

    def of(self, lazy: pl.LazyFrame) -> pl.LazyFrame:
        """Return the frame sorted."""
        if not self.by:
            return lazy
        return lazy.sort(
            [name for name, _ in self.by],
            descending=[down for _, down in self.by],
            nulls_last=self.nulls_last,
        )


def ordered(
    scratch: Scratch, frame: LocalFrame, order: SortOrder, bound: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows sorted, holding about three times `bound` bytes of them at a time.

    In batches of the same sizes, however they were sorted.
    """
    if not order.by:
        return batches_of(frame.lazy)
    parts = _parts_in_order(scratch, frame, order, bound)
    return _evened(_rows_of(rest.of(part.lazy) for part, rest in parts))


def row_of(
    scratch: Scratch, frame: LocalFrame, order: SortOrder, bound: int, number: int
) -> dict[str, Any] | None:
    """Return a row by its number in the order, from 0 on; None if there are fewer.

    Of several parts only the one that holds it is sorted.
    """
    for part, rest in _parts_in_order(scratch, frame, order, bound):
        if number < part.rows:
            rows = rest.of(part.lazy).slice(number, 1).collect().to_dicts()
            return rows[0] if rows else None
        number -= part.rows
    return None


def _evened(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        start = 0
        while rows + len(batch) - start >= BATCH_ROWS:
            first = batch.slice(start, BATCH_ROWS - rows)
            yield pa.concat_batches([*held, first])
            start += len(first)
            held, rows = [], 0
        held.append(batch.slice(start))
        rows += len(held[-1])
    if rows:
        yield pa.concat_batches(held)


def _parts_in_order(
    scratch: Scratch, frame: LocalFrame, order: SortOrder, bound: int
) -> Iterator[tuple[LocalFrame, SortOrder]]:
    """Yield parts that follow one another, and what each is left to be sorted by."""
    if not order.by or frame.size <= bound:
        yield frame, order
        return
    key, down = order.by[0]
    frame, sample, is_single = _sampled(frame, key, bound)
    if frame.size <= bound:
        yield frame, order
        return
    if is_single:
        rest = replace(order, by=order.by[1:])
        yield from _parts_in_order(scratch, frame, rest, bound)
        return
    borders = _borders(frame, key, sample, _parts(frame.size, bound))
    ranges = partial(_range_of, key=key, down=down, borders=borders, order=order)
    schema = frame.lazy.collect_schema()
    for files in scratch.scattered(frame, ranges, len(borders) + 2):
        if files:
            part = scattered_frame(files, schema)
            yield from _parts_in_order(scratch, part, order, bound)
            _forget(files)


def joined(
    scratch: Scratch,
    sides: tuple[LocalFrame, LocalFrame],
    on: str,
    how: How,
    bound: int,
) -> LocalFrame:
    """Join the left side to the right one, of which `bound` bytes are held at a time.

    In an order that rests on the values and the order of `left`, nothing else.
    """
    left, right = sides
    # Equal numbers of two types have two hashes.
    alike = pl.col(on).cast(left.lazy.collect_schema()[on])
    right = LocalFrame(right.lazy.with_columns(alike), right.rows)
    schemas = [side.lazy.collect_schema() for side in (left, right)]
    count = _parts(right.size, bound)
    hashed = partial(hash_of, key=on, count=count)
    files = [scratch.scattered(side, hashed, count) for side in (left, right)]

    def parts() -> Iterator[pl.LazyFrame]:
        for pair in zip(*files, strict=True):
            if pair[0]:
                one, other = (
                    scattered_frame(side, schema).lazy
                    for side, schema in zip(pair, schemas, strict=True)
                )
                yield one.join(other, on=on, how=how, maintain_order="left")
            _forget([*pair[0], *pair[1]])

    plan = left.lazy.join(right.lazy, on=on, how=how)
    return scratch.spill(_rows_of(parts()), arrow_schema(plan))


def grouped(
    scratch: Scratch,
    frame: LocalFrame,
    by: str,
    expressions: Sequence[pl.Expr],
    bound: int,
) -> LocalFrame:
    """Group rows by one column, `bound` bytes of them at a time."""
    count = _parts(frame.size, bound)
    files = scratch.scattered(frame, partial(hash_of, key=by, count=count), count)

    def parts() -> Iterator[pl.LazyFrame]:
        for some in files:
            if some:
                yield pl.scan_ipc(some).group_by(by).agg(expressions)
            _forget(some)

    plan = frame.lazy.group_by(by).agg(expressions)
    return scratch.spill(_rows_of(parts()), arrow_schema(plan))


def _parts(size: int, bound: int) -> int:
    return int(min(max(2, -(-size * _ROOM // bound)), _MOST_PARTS))


def _rows_of(parts: Iterable[pl.LazyFrame]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        yield from batches_of(part)


def _forget(files: Sequence[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def hash_of(batch: pa.RecordBatch, *, key: str, count: int) -> npt.NDArray[np.int64]:
    """Return the one of `count` parts that each row's value of `key` belongs to."""
    values = pl.Series(values=batch.column(key))
    return (values.hash(seed=0) % count).to_numpy().astype(np.int64)


def _range_of(
    batch: pa.RecordBatch, *, key: str, down: bool, borders: pl.Series, order: SortOrder
) -> npt.NDArray[np.int64]:
    """Return the range of each row, from 0 on; nulls have the first or last alone."""
    values = pl.Series(values=batch.column(key))
    last = len(borders)
    ranges = np.asarray(borders.search_sorted(values, side="right"), dtype=np.int64)
    if values.dtype.is_float():
        # The largest of all, to polars.
        ranges[values.is_nan().fill_null(value=False).to_numpy()] = last
    ranges = last - ranges if down else ranges
    if not order.nulls_last:
        ranges += 1
    ranges[values.is_null().to_numpy()] = last + 1 if order.nulls_last else 0
    return ranges


def _sampled(
    frame: LocalFrame, key: str, bound: int
) -> tuple[LocalFrame, pl.Series, bool]:
    """Return the frame with its number of rows, and values of `key` in their order.

    And whether all rows have the same value.
    """
    step = max(1, frame.rows // (_parts(frame.size, bound) * _SAMPLED))
    rows, skip, is_single = 0, 0, True
    pieces = [pl.Series(key, [], dtype=frame.lazy.collect_schema()[key])]
    chosen = frame.lazy.select(key)
    for part in chosen.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        pieces.append(_copied(part[key].gather_every(step, skip)))
        # The first row is always taken.
        is_single = is_single and part[key].eq_missing(pieces[1].head(1)).all()
        skip = (skip - part.height) % step
        rows += part.height
    sample = pl.concat(pieces).drop_nulls()
    if sample.dtype.is_float():
        sample = sample.drop_nans()
    return replace(frame, rows=rows), sample.sort(), is_single


def _copied(values: pl.Series) -> pl.Series:
    """Return values that lie in memory of their own.

    Strings that polars gathers point into all those that they were gathered from, so
    that a few of each batch would hold the whole column.
    """
    array = values.to_arrow()
    return pl.Series(values.name, array.cast(plain_type(array.type)), values.dtype)


def _borders(frame: LocalFrame, key: str, sample: pl.Series, parts: int) -> pl.Series:
    """Return the least value of every range but the first, ascending.

    At least one of them divides rows from others.
    """
    cuts = [len(sample) * part // parts for part in range(1, parts)]
    borders = sample.gather(cuts).unique().sort() if len(sample) else sample
    if len(sample):
        borders = borders.filter(borders > sample[0])
    if len(borders) or not len(sample):
        return borders
    # Nearly all have one value: it gets a range of its own.
    above = frame.lazy.select(pl.col(key).filter(pl.col(key) > sample[0]).min())
    more = above.collect(engine="streaming").to_series().drop_nulls()
    return pl.concat([sample.head(1), more])
