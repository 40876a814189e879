"""Rows in visiting order, and their vectors in files that any worker reads.

A file of names has the rows of one cluster that one task met, one after the other:
their uids, and where their vectors lie (`vector_layout`).
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import RunError
from winnow.core.task import current_task
from winnow.steps.vector_layout import Halves, Labels, Numbers, read_rows

#: A file, which part of which cluster it holds, and its rows.
WRITTEN = pa.schema(
    [
        ("cluster", pa.int64()),
        ("task", pa.int64()),
        ("file", pa.string()),
        ("rows", pa.int64()),
    ]
)
#: The row's uid, the cluster it was assigned to, and where its vector lies.
_NAMES = pa.schema(
    [
        ("uid", pa.string()),
        ("label", pa.int32()),
        ("file", pa.string()),
        ("row", pa.int64()),
    ]
)


def write_names(
    batches: Iterator[pa.RecordBatch], *, folder: str
) -> Iterator[pa.RecordBatch]:
    """Write rows of `laid_schema` in visiting order; yield WRITTEN, a row a file."""
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
    """The file of one cluster's rows, named after this try of the task."""

    def __init__(self, folder: Path, cluster: int) -> None:
        task = current_task()
        self.cluster, self._task, self._rows = cluster, task.number, 0
        self._name = f"{cluster}-{task.number}-{task.attempt}"
        folder.mkdir(parents=True, exist_ok=True)
        self._names = pa.ipc.new_file(os.fspath(folder / f"{self._name}.uid"), _NAMES)

    def write(self, batch: pa.RecordBatch) -> None:
        self._names.write_batch(batch.select(_NAMES.names).cast(_NAMES))
        self._rows += len(batch)

    def close(self) -> pa.RecordBatch:
        self._names.close()
        row = {
            "cluster": self.cluster,
            "task": self._task,
            "file": self._name,
            "rows": self._rows,
        }
        return pa.RecordBatch.from_pylist([row], WRITTEN)


@dataclass(frozen=True)
class ArrayFile:
    """The numbers of an array in a file, without a header.

    NumPy parses its own header as Python, which in CPython 3.11 fails now and then
    where several threads do so at once.
    """

    path: str
    kind: np.dtype[Any]

    @classmethod
    def of(cls, array: npt.NDArray[Any], path: str) -> ArrayFile:
        """Write an array."""
        array.tofile(path)
        return cls(path, array.dtype)

    def mapped(self) -> npt.NDArray[Any]:
        """Return the array (n,), read as it is looked at."""
        if not os.path.getsize(self.path):
            return np.empty(0, self.kind)
        return np.memmap(self.path, self.kind, "r")


@dataclass(frozen=True)
class VectorBlocks:
    """Rows numbered by cluster and visiting order: 0 is the first one's first.

    names: the files of their names, in order; bounds: the first number of each and,
    last, of none. clusters: the first and the last number but one of each cluster.
    files: those of vectors, and places: the first place of each and, last, of none.
    """

    folder: str
    dim: int
    names: tuple[str, ...]
    bounds: tuple[int, ...]
    clusters: tuple[tuple[int, int], ...]
    files: tuple[str, ...]
    places: tuple[int, ...]

    def __len__(self) -> int:
        return self.bounds[-1]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last but one of the positions whose rows are compared."""
        return self.clusters

    def numbers(self, start: int, stop: int) -> Numbers:
        """Return which rows stand at positions `start` … `stop` - 1, ascending."""
        return np.arange(start, stop)

    def labels(self, numbers: Numbers) -> Labels:
        """Return the clusters that rows, by their numbers, were assigned to."""
        return self._labels_at(self._whole("place", np.int64)[numbers])

    def chosen(self, numbers: Numbers) -> Halves:
        """Return the vectors of some rows, whose numbers are given: (n, dim)."""
        places = np.asarray(self._whole("place", np.int64)[numbers])
        order = np.argsort(places, kind="stable")
        read = self._read(places[order])
        out = np.empty_like(read)
        out[order] = read
        return out

    def by_label(self, start: int, stop: int) -> tuple[Numbers, Labels, Halves]:
        """Return the rows whose vectors lie at places `start` … `stop` - 1.

        Their numbers, in no order; their clusters, most of a cluster's rows side by
        side; and the vectors.
        """
        numbers = np.array(self._whole("number", np.int64)[start:stop])
        there = np.flatnonzero(numbers >= 0)
        places = start + there
        return numbers[there], self._labels_at(places), self._read(places)

    def uids(self, ascending: Numbers, files: dict[str, pa.ChunkedArray]) -> pa.Array:
        """Return the uids of some rows, whose ascending numbers are given.

        files: what was opened before, for many calls; more is added.
        """
        taken = [pa.array([], pa.string())]
        for part, name, first in _by_file(ascending, self.names, self.bounds):
            if name not in files:
                files[name] = _names_of(self.folder, name)["uid"]
            taken += _taken(files[name], ascending[part] - first)
        return pa.concat_arrays(taken)

    def _read(self, ascending: Numbers) -> Halves:
        out = np.empty((len(ascending), self.dim), np.float16)
        for part, file, first in _by_file(ascending, self.files, self.places):
            path = os.path.join(self.folder, f"{file}.f16")
            read_rows(path, ascending[part] - first, out[part])
        return out

    def _labels_at(self, places: Numbers) -> Labels:
        starts = self._whole("start", np.int64)
        run = np.searchsorted(starts, places, side="right") - 1
        return np.asarray(self._whole("label", np.int32)[run])

    def _whole(self, name: str, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        path = os.path.join(self.folder, f"rows.{name}")
        return ArrayFile(path, np.dtype(kind)).mapped()


def _names_of(folder: str, name: str) -> pa.Table:
    with pa.memory_map(os.path.join(folder, f"{name}.uid")) as source:
        return pa.ipc.open_file(source).read_all()


def _by_file(
    ascending: Numbers, files: Sequence[str], bounds: Sequence[int]
) -> Iterator[tuple[slice, str, int]]:
    """Yield which of some rows lie in which file, and the first one's number there."""
    if not len(ascending):
        return
    number = bisect_right(bounds, int(ascending[0])) - 1
    while number < len(files) and bounds[number] <= ascending[-1]:
        first, last = bounds[number], bounds[number + 1]
        lower, upper = np.searchsorted(ascending, [first, last])
        if lower < upper:
            yield slice(int(lower), int(upper)), files[number], first
        number += 1


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

    listed: ArrayFile
    groups: tuple[tuple[int, int], ...]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last but one of the positions whose rows are compared."""
        return self.groups

    def numbers(self, start: int, stop: int) -> Numbers:
        """Return which rows stand at positions `start` … `stop` - 1, ascending."""
        return np.array(self.listed.mapped()[start:stop])


def as_blocks(folder: str, dim: int, written: pa.Table) -> VectorBlocks:
    """Return the rows of the files that WRITTEN names; note where their vectors lie.

    Raises RunError if what workers wrote is not seen.
    """
    keys = [(name, "ascending") for name in ("cluster", "task")]
    rows = written.sort_by(keys)
    names = rows["file"].to_pylist()
    ends = np.cumsum([0, *rows["rows"].to_pylist()])
    cluster = rows["cluster"].to_numpy()
    borders = [0, *(np.flatnonzero(np.diff(cluster)) + 1).tolist(), len(cluster)]
    layouts = _Layouts(folder, dim)
    places = np.empty(ends[-1], np.int64)
    done = 0
    for name in names:
        for batch in _names_of(folder, name).to_batches():
            places[done : done + len(batch)] = layouts.places_of(batch)
            done += len(batch)
    layouts.note(places)
    return VectorBlocks(
        folder,
        dim,
        tuple(names),
        tuple(ends.tolist()),
        tuple((int(ends[a]), int(ends[b])) for a, b in pairwise(borders) if a < b),
        tuple(layouts.files),
        tuple(layouts.bounds),
    )


class _Layouts:
    """Files of vectors, one after the other as they are met."""

    def __init__(self, folder: str, dim: int) -> None:
        self._folder, self._dim = folder, dim
        self.files: list[str] = []
        self.bounds = [0]
        self._starts: dict[str, Numbers] = {}
        self._runs: list[Numbers] = []

    def places_of(self, batch: pa.RecordBatch) -> Numbers:
        """Return the places of rows' vectors."""
        label, row = (batch.column(name).to_numpy() for name in ("label", "row"))
        encoded = batch.column("file").dictionary_encode()
        codes = encoded.indices.to_numpy()
        places = np.empty(len(batch), np.int64)
        for code, file in enumerate(encoded.dictionary.to_pylist()):
            mine = codes == code
            places[mine] = self._of(file)[label[mine]] + row[mine]
        return places

    def _of(self, file: str) -> Numbers:
        """Return the first place of each label in a file."""
        if file not in self._starts:
            path = Path(self._folder, f"{file}.f16")
            if not path.is_file():
                raise RunError(
                    f"{path} was written by a worker but is not seen here; driver and "
                    "workers need one file system under the same path"
                )
            runs = np.load(path.with_suffix(".starts.npy"))
            runs[:, 1] += self.bounds[-1]
            starts = np.empty(runs[:, 0].max(initial=-1) + 1, np.int64)
            starts[runs[:, 0]] = runs[:, 1]
            self._runs.append(runs)
            self._starts[file] = starts
            self.files.append(file)
            rows = path.stat().st_size // (2 * self._dim)
            self.bounds.append(self.bounds[-1] + rows)
        return self._starts[file]

    def note(self, places: Numbers) -> None:
        """Write where each row's vector lies, and the converse, for all workers.

        A place of no row is one that was written by a try that did not count.
        """
        numbers = np.full(self.bounds[-1], -1, np.int64)
        numbers[places] = np.arange(len(places))
        runs = np.concatenate([np.empty((0, 2), np.int64), *self._runs])
        arrays = {"place": places, "number": numbers, "start": runs[:, 1]}
        for name, array in arrays.items():
            array.tofile(Path(self._folder, f"rows.{name}"))
        runs[:, 0].astype(np.int32).tofile(Path(self._folder, "rows.label"))
