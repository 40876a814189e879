"""Vectors laid out by label: those of one cluster side by side in a file.

A kernel appends each row's vector to the file of a bucket of labels, and sorts bucket
after bucket at its end. What is known of a row beside its vector says where that came
to lie, so that rows are sorted without their vectors, and each vector is written twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import RunError
from winnow.core.task import current_task
from winnow.core.vectors import to_matrix

Halves = npt.NDArray[np.float16]
Labels = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.int64]

# Labels go to so many files by remainder, all of them open at a time.
_BUCKETS = 128
# Rows so near in a file are read together: a call takes longer than a few rows do.
_GAP = 8
# Vectors that are brought in order at a time.
_SORTED_BYTES = 32 * 2**20


def laid_schema(cluster: pa.DataType, value: pa.DataType) -> pa.Schema:
    """Return what is known of a row whose vector is laid out.

    file: where the vector lies; row: its place among those of its label there.
    """
    return pa.schema(
        [
            ("cluster", cluster),
            ("uid", pa.string()),
            ("label", pa.int32()),
            ("value", value),
            ("file", pa.string()),
            ("row", pa.int64()),
        ]
    )


def lay_out(
    batches: Iterator[pa.RecordBatch], *, folder: str
) -> Iterator[pa.RecordBatch]:
    """Write the vectors of (cluster, uid, label, value, vector) by label.

    Yields rows of `laid_schema`; the files are whole once all of them were taken.
    """
    layout: _Layout | None = None
    for batch in batches:
        layout = layout or _Layout(Path(folder))
        rows = layout.add(batch)
        named = [batch.column(name) for name in ("cluster", "uid", "label", "value")]
        file = pa.repeat(pa.scalar(layout.name, pa.string()), len(batch))
        schema = laid_schema(named[0].type, named[3].type)
        columns = [*named, file, pa.array(rows)]
        yield pa.RecordBatch.from_arrays(
            [c.cast(f.type) for c, f in zip(columns, schema, strict=True)],
            schema=schema,
        )
    if layout is not None:
        layout.close()


class _Layout:
    """The file of one call of a kernel, and its buckets until they are sorted."""

    def __init__(self, folder: Path) -> None:
        task = current_task()
        self.name = f"{task.number}-{task.attempt}"
        self._folder = folder
        self._counts = np.zeros(0, np.int64)
        self._buckets: dict[int, _Bucket] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, batch: pa.RecordBatch) -> Numbers:
        """Append a batch; return each row's place among those of its label."""
        label = batch.column("label").to_numpy().astype(np.int32)
        bucket = label % _BUCKETS
        order = np.lexsort((label, bucket))
        vectors = to_matrix(batch.column("vector"))[order]
        borders = np.flatnonzero(np.diff(bucket[order], append=-1)) + 1
        for start, stop in pairwise([0, *borders.tolist()]):
            part = order[start:stop]
            number = int(bucket[part[0]])
            if number not in self._buckets:
                path = self._folder / f"{self.name}-{number}.part"
                self._buckets[number] = _Bucket(path)
            self._buckets[number].write(vectors[start:stop], label[part])
        return self._placed(label, order)

    def _placed(self, label: Labels, order: Numbers) -> Numbers:
        more = int(label.max(initial=-1)) + 1 - len(self._counts)
        self._counts = np.append(self._counts, np.zeros(max(more, 0), np.int64))
        values, starts, counts = np.unique(
            label[order], return_index=True, return_counts=True
        )
        first = np.empty(len(self._counts), np.int64)
        first[values] = self._counts[values] - starts
        self._counts[values] += counts
        rows = np.empty(len(order), np.int64)
        rows[order] = first[label[order]] + np.arange(len(order))
        return rows

    def close(self) -> None:
        """Sort the buckets into one file; say beside it where each label begins."""
        labels = np.flatnonzero(self._counts)
        labels = labels[np.lexsort((labels, labels % _BUCKETS))]
        ends = np.cumsum(self._counts[labels])
        path = self._folder / f"{self.name}.f16"
        with open(path, "wb") as out:
            for number in sorted(self._buckets):
                self._buckets[number].sort_into(out)
        starts = np.column_stack([labels, ends - self._counts[labels]])
        np.save(self._folder / f"{self.name}.starts.npy", starts)


class _Bucket:
    """Vectors of some labels in the order of their coming, and the labels."""

    def __init__(self, path: Path) -> None:
        self._path, self._beside = path, path.with_suffix(".labels")
        self._vectors = open(path, "wb")  # noqa: SIM115
        self._labels = open(self._beside, "wb")  # noqa: SIM115
        self._dim = 0

    def write(self, vectors: Halves, labels: Labels) -> None:
        self._dim = vectors.shape[1]
        self._vectors.write(vectors.data)
        self._labels.write(labels.data)

    def sort_into(self, out: IO[bytes]) -> None:
        """Append the vectors to a file, those of a label side by side; be no more."""
        self._vectors.close()
        self._labels.close()
        order = np.argsort(np.fromfile(self._beside, np.int32), kind="stable")
        size = max(1, _SORTED_BYTES // (2 * self._dim))
        for start in range(0, len(order), size):
            part = order[start : start + size]
            out.write(vectors_at(self._path, part, self._dim).data)
        self._path.unlink()
        self._beside.unlink()


def vectors_at(path: str | Path, rows: Numbers, dim: int) -> Halves:
    """Return (n, dim) rows of a file of vectors, given in any order."""
    order = np.argsort(rows, kind="stable")
    sorted_rows = np.empty((len(rows), dim), np.float16)
    read_rows(path, rows[order], sorted_rows)
    out = np.empty_like(sorted_rows)
    out[order] = sorted_rows
    return out


def read_rows(path: str | Path, ascending: Numbers, out: Halves) -> None:
    """Read rows of a file of vectors into `out`, (n, dim).

    Not through a map: around each row the kernel maps up to half a megabyte of what it
    has of the file, and all of that counts as this process's memory.
    """
    borders = np.flatnonzero(np.diff(ascending) > _GAP) + 1
    file = os.open(path, os.O_RDONLY)
    try:
        for start, stop in pairwise([0, *borders.tolist(), len(ascending)]):
            rows = ascending[start:stop]
            if len(rows):
                _read_span(file, path, rows, out[start:stop])
    finally:
        os.close(file)


def _read_span(file: int, path: str | Path, rows: Numbers, out: Halves) -> None:
    """Read rows that lie near one another in one call."""
    first, last = int(rows[0]), int(rows[-1])
    whole = last - first + 1 == len(rows)
    span = out if whole else np.empty((last - first + 1, out.shape[1]), np.float16)
    wanted, start = span.data.cast("B"), first * span[0].nbytes
    while wanted:
        # The kernel gives 2 GiB at most, and may give less.
        given = os.preadv(file, [wanted], start)
        if not given:
            raise RunError(f"{path}: ends before its row {last + 1:,}")
        wanted, start = wanted[given:], start + given
    if not whole:
        out[:] = span[rows - first]
