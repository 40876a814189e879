"""What workers do for `semantic_pool`: rows at the borders of clusters, and pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.cosine import (
    VectorRows,
    prepare,
    products_into,
)
from winnow.algorithms.cosine_bounds import Targets, nominating
from winnow.algorithms.dedup.borders import (
    MARGINS,
    count_levels,
    margins,
    pairs_of_tile,
)
from winnow.steps.semantic_tasks import Members, block_of, candidates_of, tasks_of
from winnow.steps.vector_blocks import VectorBlocks

#: Pairs of sampled rows, by the margin that brings them together.
COUNTED = pa.schema([("level", pa.int64()), ("pairs", pa.int64())])
#: Rows of a group.
LISTED = pa.schema([("group", pa.int32()), ("number", pa.int64())])
PAIRS = pa.schema([("later", pa.int64()), ("earlier", pa.int64())])
# Rows of one product with the sample.
_ROWS = 1024
# Rows whose borders are measured at a time.
_LISTED_ROWS = 8192


class Sample(NamedTuple):
    """Rows that all others are compared with: their numbers, clusters and margins."""

    targets: Targets
    numbers: npt.NDArray[np.int64]
    clusters: npt.NDArray[np.int32]
    margins: npt.NDArray[np.float64]


def one_cluster(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of clusters as of one, in which all are compared."""
    for batch in batches:
        index = batch.schema.get_field_index("cluster")
        field = batch.schema.field(index)
        zeros = pa.repeat(pa.scalar(0, field.type), len(batch))
        yield batch.set_column(index, field, zeros)


def count_task(
    batches: Iterator[pa.RecordBatch],
    *,
    blocks: VectorBlocks,
    known: Targets,
    sample: Sample,
    bar: float,
) -> Iterator[pa.RecordBatch]:
    """Yield COUNTED: pairs of sampled rows with those of each task."""
    scratch = np.empty(_ROWS * len(sample.numbers), np.float32)
    columns = np.arange(len(sample.numbers))
    # All of the sample counts as earlier than any row: pairs are met from both sides.
    last = np.full(_ROWS, len(columns), np.int64)
    least = float(np.nextafter(bar, 0))
    for _, start, stop, _, _ in tasks_of(batches):
        counts = np.zeros(len(MARGINS) + 1, np.int64)
        assigned = blocks.labels(np.arange(start, stop))
        for begin in range(start, stop, _ROWS):
            numbers = np.arange(begin, min(stop, begin + _ROWS))
            rows = prepare(blocks.chosen(numbers))
            near, partner = pairs_of_tile(
                (nominating(rows, sample.targets, bar, scratch), last, columns),
                (rows.exact, rows.squares),
                (sample.targets.rows.exact, sample.targets.rows.squares),
                least,
            )
            other = numbers[near] != sample.numbers[partner]
            near, partner = near[other], partner[other]
            each, pair = np.unique(near, return_inverse=True)
            of_row = VectorRows(rows.exact[each], rows.unit[each], rows.squares[each])
            labels = assigned[numbers[each] - start]
            clusters, distances = margins(of_row, labels, known, MARGINS[-1])
            count_levels(
                (clusters[pair], distances[pair]),
                (sample.clusters[partner], sample.margins[partner]),
                MARGINS,
                counts,
            )
        told = [np.arange(len(counts)), counts]
        yield pa.RecordBatch.from_arrays([pa.array(c) for c in told], schema=COUNTED)


def list_task(
    batches: Iterator[pa.RecordBatch],
    *,
    blocks: VectorBlocks,
    known: Targets,
    margin: float,
) -> Iterator[pa.RecordBatch]:
    """Yield LISTED: each row once for each cluster within `margin` of it."""
    for _, start, stop, _, _ in tasks_of(batches):
        labels = blocks.labels(np.arange(start, stop))
        for begin in range(start, stop, _LISTED_ROWS):
            numbers = np.arange(begin, min(stop, begin + _LISTED_ROWS))
            rows = prepare(blocks.chosen(numbers))
            part = labels[begin - start : begin - start + len(numbers)]
            clusters, distance = margins(rows, part, known, margin)
            within = distance <= margin
            columns = [clusters[within], numbers[np.nonzero(within)[0]]]
            yield pa.RecordBatch.from_arrays(
                [pa.array(column) for column in columns], schema=LISTED
            )


def pairs_task(
    batches: Iterator[pa.RecordBatch],
    *,
    blocks: VectorBlocks,
    wanted: str,
    least: float,
) -> Iterator[pa.RecordBatch]:
    """Yield PAIRS: wanted rows of a task and earlier ones that are above `least`."""
    flags: Members = np.load(wanted, mmap_mode="r").__getitem__
    for _, start, stop, left, left_stop in tasks_of(batches):
        block = block_of(blocks, start, stop, flags)
        for rows, numbers in candidates_of(blocks, left, left_stop, flags):
            for part in block.parts():
                mine = block.rows[part]
                products = products_into(block.scratch, mine.unit, rows.unit)
                later, earlier = pairs_of_tile(
                    (products, block.numbers[part], numbers),
                    (mine.exact, mine.squares),
                    (rows.exact, rows.squares),
                    least,
                )
                ends = (block.numbers[part][later], numbers[earlier])
                yield pa.RecordBatch.from_arrays(
                    [pa.array(end) for end in ends], schema=PAIRS
                )
