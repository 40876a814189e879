"""Sorted vectors in files that any worker maps, of clusters that none can hold.

A file has the rows of one cluster that one task met, one after the other: vectors as
plain float16 numbers, and beside them their uids and labels.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import RunError
from winnow.core.task import current_task
from winnow.core.vectors import to_matrix

#: A file, which part of which cluster it holds, and its rows.
WRITTEN = pa.schema(
    [
        ("cluster", pa.int64()),
        ("task", pa.int64()),
        ("file", pa.string()),
        ("rows", pa.int64()),
    ]
)
#: Beside the vectors: the row's uid, and the cluster it was assigned to.
_NAMES = pa.schema([("uid", pa.string()), ("label", pa.int32())])
Halves = npt.NDArray[np.float16]
Numbers = npt.NDArray[np.int64]


def write_blocks(
    batches: Iterator[pa.RecordBatch], *, folder: str
) -> Iterator[pa.RecordBatch]:
    """Write (uid, label, vector) sorted by cluster; yield WRITTEN, a row a file."""
    open_file: _Writer | None = None
    for batch in batches:
        cluster = batch.column("cluster").to_numpy()
        borders = [0, *(np.flatnonzero(np.diff(cluster)) + 1).tolist(), len(batch)]
        for start, stop in pairwise(borders):
            number = int(cluster[start])
            if open_file is not None and open_file.cluster != number:
                yield open_file.close()
                open_file = None
            if open_file is None:
                open_file = _Writer(Path(folder), number)
            open_file.write(batch.slice(start, stop - start))
    if open_file is not None:
        yield open_file.close()


class _Writer:
    """The two files of one cluster's rows, named after this try of the task."""

    def __init__(self, folder: Path, cluster: int) -> None:
        task = current_task()
        self.cluster, self._task, self._rows = cluster, task.number, 0
        self._name = f"{cluster}-{task.number}-{task.attempt}"
        folder.mkdir(parents=True, exist_ok=True)
        self._vectors = open(folder / f"{self._name}.f16", "wb")  # noqa: SIM115
        self._uids = pa.ipc.new_file(os.fspath(folder / f"{self._name}.uid"), _NAMES)

    def write(self, batch: pa.RecordBatch) -> None:
        self._vectors.write(to_matrix(batch.column("vector")).tobytes())
        self._uids.write_batch(batch.select(_NAMES.names).cast(_NAMES))
        self._rows += len(batch)

    def close(self) -> pa.RecordBatch:
        self._vectors.close()
        self._uids.close()
        row = {
            "cluster": self.cluster,
            "task": self._task,
            "file": self._name,
            "rows": self._rows,
        }
        return pa.RecordBatch.from_pylist([row], WRITTEN)


@dataclass(frozen=True)
class VectorBlocks:
    """All rows of the files, numbered by cluster and place: 0 is the first one's first.

    files: names, in order; bounds: the first number of each and, last, of none.
    clusters: the first and the last number but one of each cluster.
    """

    folder: str
    dim: int
    files: tuple[str, ...]
    bounds: tuple[int, ...]
    clusters: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return self.bounds[-1]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last but one of the positions whose rows are compared."""
        return self.clusters

    def numbers(self, start: int, stop: int) -> Numbers:
        """Return which rows stand at positions `start` … `stop` - 1, ascending."""
        return np.arange(start, stop)

    def labels(self, numbers: Numbers) -> npt.NDArray[np.int32]:
        """Return the clusters that rows, by ascending numbers, were assigned to."""
        out = np.empty(len(numbers), np.int32)
        for part, file, first, _ in self._by_file(numbers):
            rows = numbers[part] - first
            # Of the rows between the first and the last one alone.
            column = self._beside(file, "label")
            column = column.slice(rows[0], rows[-1] + 1 - rows[0])
            out[part] = column.to_numpy()[rows - rows[0]]
        return out

    def vectors(self, start: int, stop: int) -> Halves:
        """Return the vectors of rows `start` … `stop` - 1, (n, dim) in memory."""
        out = np.empty((stop - start, self.dim), np.float16)
        for file, first, last in self._files(start, stop):
            lower, upper = max(start, first), min(stop, last)
            whole = self._mapped(file, last - first)
            out[lower - start : upper - start] = whole[lower - first : upper - first]
        return out

    def chosen(self, numbers: Numbers) -> Halves:
        """Return the vectors of some rows, whose ascending numbers are given."""
        out = np.empty((len(numbers), self.dim), np.float16)
        for part, file, first, _ in self._by_file(numbers):
            _read_rows(self._path(file), numbers[part] - first, out[part])
        return out

    def uids(self, ascending: Numbers, files: dict[str, pa.ChunkedArray]) -> pa.Array:
        """Return the uids of some rows, whose ascending numbers are given.

        files: what was opened before, for many calls; more is added.
        """
        taken = [pa.array([], pa.string())]
        for part, file, first, _ in self._by_file(ascending):
            if file not in files:
                files[file] = self._beside(file, "uid")
            taken += _taken(files[file], ascending[part] - first)
        return pa.concat_arrays(taken)

    def _beside(self, file: str, column: str) -> pa.ChunkedArray:
        with pa.memory_map(os.path.join(self.folder, f"{file}.uid")) as source:
            return pa.ipc.open_file(source).read_all()[column]

    def _mapped(self, file: str, rows: int) -> Halves:
        return np.memmap(self._path(file), np.float16, "r", shape=(rows, self.dim))

    def _path(self, file: str) -> str:
        return os.path.join(self.folder, f"{file}.f16")

    def _files(self, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
        number = bisect_right(self.bounds, start) - 1
        while number < len(self.files) and self.bounds[number] < stop:
            yield self.files[number], self.bounds[number], self.bounds[number + 1]
            number += 1

    def _by_file(self, ascending: Numbers) -> Iterator[tuple[slice, str, int, int]]:
        if not len(ascending):
            return
        for file, first, last in self._files(int(ascending[0]), int(ascending[-1]) + 1):
            lower, upper = np.searchsorted(ascending, [first, last])
            if lower < upper:
                yield slice(int(lower), int(upper)), file, first, last


def _read_rows(path: str, ascending: Numbers, out: Halves) -> None:
    """Read rows of a file of vectors into `out`, (n, dim).

    Not through a map: around each row the kernel maps up to half a megabyte of what it
    has of the file, and all of that counts as this process's memory.
    """
    row_bytes = out.shape[1] * out.itemsize
    into = out.data.cast("B")
    ends = np.append(np.flatnonzero(np.diff(ascending) != 1) + 1, len(ascending))
    file = os.open(path, os.O_RDONLY)
    try:
        start = 0
        for end, row in zip(
            ends.tolist(), ascending[np.append(0, ends[:-1])].tolist(), strict=True
        ):
            part = into[start * row_bytes : end * row_bytes]
            if os.preadv(file, [part], row * row_bytes) != len(part):
                raise RunError(f"{path}: ends before its row {row + end - start:,}")
            start = end
    finally:
        os.close(file)


class Uids:
    """The uids of blocks' rows, looked up many times."""

    def __init__(self, blocks: VectorBlocks) -> None:
        self._blocks = blocks
        self._files: dict[str, pa.ChunkedArray] = {}

    def of(self, numbers: Numbers) -> pa.Array:
        """Return the uids of some rows, in any order."""
        order = np.argsort(numbers, kind="stable")
        uids = self._blocks.uids(numbers[order], self._files)
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return uids.take(pa.array(back))


def _taken(column: pa.ChunkedArray, ascending: Numbers) -> list[pa.Array]:
    """Return values by ascending positions; Arrow would join all chunks first."""
    ends = np.cumsum([len(chunk) for chunk in column.chunks])
    last = np.searchsorted(ascending, ends)
    taken, start, begin = [], 0, 0
    for chunk, end, stop in zip(
        column.chunks, ends.tolist(), last.tolist(), strict=True
    ):
        if start < stop:
            taken.append(chunk.take(pa.array(ascending[start:stop] - begin)))
        start, begin = stop, end
    return taken


@dataclass(frozen=True)
class GroupedBlocks(VectorBlocks):
    """Rows that are compared in groups, which share rows.

    listed: a file of the groups' rows, one group after the other; groups: the first
    and the last but one of each one's positions there.
    """

    listed: str
    groups: tuple[tuple[int, int], ...]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last but one of the positions whose rows are compared."""
        return self.groups

    def numbers(self, start: int, stop: int) -> Numbers:
        """Return which rows stand at positions `start` … `stop` - 1, ascending."""
        listed: Numbers = np.load(self.listed, mmap_mode="r")
        return np.array(listed[start:stop])


def as_blocks(folder: str, dim: int, written: pa.Table) -> VectorBlocks:
    """Return the rows of the files that WRITTEN names."""
    keys = [(name, "ascending") for name in ("cluster", "task")]
    rows = written.sort_by(keys)
    ends = np.cumsum([0, *rows["rows"].to_pylist()])
    cluster = rows["cluster"].to_numpy()
    borders = [0, *(np.flatnonzero(np.diff(cluster)) + 1).tolist(), len(cluster)]
    return VectorBlocks(
        folder,
        dim,
        tuple(rows["file"].to_pylist()),
        tuple(ends.tolist()),
        tuple((int(ends[a]), int(ends[b])) for a, b in pairwise(borders) if a < b),
    )
