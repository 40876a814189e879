"""What workers do for `semantic_pool`: rows at the borders of clusters, and pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.cosine import (
    Singles,
    VectorRows,
    prepare,
    products_into,
)
from winnow.algorithms.cosine_bounds import Angles, Targets, nominating_by_parts
from winnow.algorithms.dedup.borders import (
    MARGINS,
    count_levels,
    margins,
    pairs_of_tile,
)
from winnow.core.task import current_task
from winnow.steps.array_file import ArrayFile
from winnow.steps.semantic_tasks import Members, block_of, candidates_of, tasks_of
from winnow.steps.vector_blocks import LISTED_ROW, VectorBlocks
from winnow.steps.vector_layout import Labels, Numbers

#: Pairs of sampled rows, by the margin that brings them together.
COUNTED = pa.schema([("level", pa.int64()), ("pairs", pa.int64())])
#: Rows of a group, and the places of their vectors.
LISTED = pa.schema(
    [("group", pa.int32()), ("number", pa.int64()), ("place", pa.int64())]
)
#: A file of LISTED_ROW, and how many rows of a group one task wrote there.
GROUPS = pa.schema(
    [
        ("group", pa.int32()),
        ("task", pa.int64()),
        ("file", pa.string()),
        ("rows", pa.int64()),
    ]
)
PAIRS = pa.schema([("later", pa.int64()), ("earlier", pa.int64())])
# Rows of one product with the sample.
_ROWS = 1024
# Rows that are read at a time.
_READ_ROWS = 8192


class Sample(NamedTuple):
    """Rows that all others are compared with: their numbers, clusters and margins.

    bar: the least cosine of pairs that count.
    """

    targets: Targets
    numbers: npt.NDArray[np.int64]
    clusters: npt.NDArray[np.int32]
    margins: npt.NDArray[np.float64]
    bar: float

    def of(self, columns: Numbers) -> Sample:
        """Return some of them; all where that would save little."""
        if 2 * len(columns) > len(self.numbers):
            return self
        return Sample(
            self.targets.of(columns),
            self.numbers[columns],
            self.clusters[columns],
            self.margins[columns],
            self.bar,
        )


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
) -> Iterator[pa.RecordBatch]:
    """Yield COUNTED: pairs of sampled rows with those of each task."""
    scratch = np.empty(_ROWS * _ROWS, np.float32)
    reach = float(np.arccos(sample.bar))
    for _, start, stop, _, _ in tasks_of(batches):
        counts = np.zeros(len(MARGINS) + 1, np.int64)
        for begin in range(start, stop, _READ_ROWS):
            end = min(stop, begin + _READ_ROWS)
            standing, labels, vectors = blocks.by_label(begin, end)
            numbers, rows = standing.numbers, prepare(vectors)
            angles, some = Angles(rows, labels, known.rows), sample
            if angles.few:
                some = sample.of(angles.within(sample.targets.rows, reach))
            for first in range(0, len(rows), _ROWS):
                part = slice(first, first + _ROWS)
                named = numbers[part], labels[part]
                counts += _pairs_by_level(rows[part], named, known, some, scratch)
        told = [np.arange(len(counts)), counts]
        yield pa.RecordBatch.from_arrays([pa.array(c) for c in told], schema=COUNTED)


def _pairs_by_level(
    rows: VectorRows,
    named: tuple[Numbers, Labels],
    known: Targets,
    sample: Sample,
    scratch: Singles,
) -> Numbers:
    """Count the pairs of some rows with a sample, by the margin of MARGINS.

    named: the numbers and the clusters of the rows.
    """
    numbers, labels = named
    counts = np.zeros(len(MARGINS) + 1, np.int64)
    # All of the sample counts as earlier than any row: pairs are met from both sides.
    last = np.full(len(rows), len(sample.numbers), np.int64)
    least = float(np.nextafter(sample.bar, 0))
    parts = nominating_by_parts(rows, sample.targets, sample.bar, scratch)
    for part, nominated in parts:
        some = sample.targets.rows[part]
        near, partner = pairs_of_tile(
            (nominated, last, np.arange(len(some))),
            (rows.exact, rows.squares),
            (some.exact, some.squares),
            least,
        )
        partner += part.start
        other = numbers[near] != sample.numbers[partner]
        near, partner = near[other], partner[other]
        each, pair = np.unique(near, return_inverse=True)
        if not len(each):
            continue
        of_row = VectorRows(rows.exact[each], rows.unit[each], rows.squares[each])
        clusters, distances = margins(of_row, labels[each], known, MARGINS[-1])
        count_levels(
            (clusters[pair], distances[pair]),
            (sample.clusters[partner], sample.margins[partner]),
            MARGINS,
            counts,
        )
    return counts


def list_task(
    batches: Iterator[pa.RecordBatch],
    *,
    blocks: VectorBlocks,
    known: Targets,
    margin: float,
) -> Iterator[pa.RecordBatch]:
    """Yield LISTED: each row once for each cluster within `margin` of it."""
    for _, start, stop, _, _ in tasks_of(batches):
        for begin in range(start, stop, _READ_ROWS):
            end = min(stop, begin + _READ_ROWS)
            rows, labels, vectors = blocks.by_label(begin, end)
            clusters, distance = margins(prepare(vectors), labels, known, margin)
            within = distance <= margin
            each = np.nonzero(within)[0]
            columns = [clusters[within], rows.numbers[each], rows.places[each]]
            yield pa.RecordBatch.from_arrays(
                [pa.array(column) for column in columns], schema=LISTED
            )


def write_groups(
    batches: Iterator[pa.RecordBatch], *, folder: str
) -> Iterator[pa.RecordBatch]:
    """Write LISTED rows, which come by group and number, to a file; yield GROUPS."""
    task = current_task()
    name = f"{task.number}-{task.attempt}.groups"
    counts: dict[int, int] = {}
    with Path(folder, name).open("wb") as sink:
        for batch in batches:
            rows = np.empty(len(batch), LISTED_ROW)
            for column in LISTED_ROW.names or ():
                rows[column] = batch.column(column).to_numpy()
            rows.tofile(sink)
            groups, sizes = np.unique(
                batch.column("group").to_numpy(), return_counts=True
            )
            for group, size in zip(groups.tolist(), sizes.tolist(), strict=True):
                counts[group] = counts.get(group, 0) + size
    names = pa.repeat(pa.scalar(name, pa.string()), len(counts))
    tasks = pa.repeat(pa.scalar(task.number, pa.int64()), len(counts))
    columns = [pa.array(counts.keys(), pa.int32()), tasks, names]
    rows_of = pa.array(counts.values(), pa.int64())
    yield pa.RecordBatch.from_arrays([*columns, rows_of], schema=GROUPS)


def pairs_task(
    batches: Iterator[pa.RecordBatch],
    *,
    blocks: VectorBlocks,
    wanted: ArrayFile,
    least: float,
) -> Iterator[pa.RecordBatch]:
    """Yield PAIRS: wanted rows of a task and earlier ones that are above `least`."""
    flags: Members = wanted.mapped().__getitem__
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
