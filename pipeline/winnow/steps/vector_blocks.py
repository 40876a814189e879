"""Rows in visiting order, and their vectors in files that any worker reads.

A file of names has the rows of one cluster that one task met, one after the other:
their uids, and where their vectors lie (`vector_layout`). All files are read in
stretches: a map of one counts as memory as far as it was looked at.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import RunError
from winnow.core.task import current_task
from winnow.steps.array_file import ArrayFile, inverted
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


class Standing(NamedTuple):
    """Rows by their numbers, ascending, and the places of their vectors."""

    numbers: Numbers
    places: Numbers

    def where(self, chosen: npt.NDArray[np.bool_]) -> Standing:
        """Return those that (n,) flags choose."""
        return Standing(self.numbers[chosen], self.places[chosen])


#: A row of a group, as it is listed in a file.
LISTED_ROW = np.dtype([("number", np.int64), ("place", np.int64)])
# A file of names, and the number of a batch in it.
_Batch = tuple[str, int]
_File = TypeVar("_File")


@dataclass(frozen=True)
class VectorBlocks:
    """Rows numbered by cluster and visiting order: 0 is the first one's first.

    names: the batches of their names, in order; bounds: the first number of each and,
    last, of none. clusters: the first and the last number but one of each cluster.
    files: those of vectors, and places: the first place of each and, last, of none.
    """

    folder: str
    dim: int
    names: tuple[_Batch, ...]
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

    def standing(self, start: int, stop: int) -> Standing:
        """Return the rows at positions `start` … `stop` - 1."""
        places = self._whole("place", np.int64).read(start, stop)
        return Standing(np.arange(start, stop), places)

    def labels(self, numbers: Numbers) -> Labels:
        """Return the clusters that rows, by their numbers, were assigned to."""
        return self._labels_at(self._whole("place", np.int64).at(numbers))

    def chosen(self, numbers: Numbers) -> Halves:
        """Return the vectors of some rows, whose numbers are given: (n, dim)."""
        return self.vectors(self._whole("place", np.int64).at(numbers))

    def vectors(self, places: Numbers) -> Halves:
        """Return the vectors at some places, in any order: (n, dim)."""
        order = np.argsort(places, kind="stable")
        read = self._read(places[order])
        out = np.empty_like(read)
        out[order] = read
        return out

    def by_label(self, start: int, stop: int) -> tuple[Standing, Labels, Halves]:
        """Return the rows whose vectors lie at places `start` … `stop` - 1.

        In the order of the places, so that their numbers are in none; their clusters,
        most of a cluster's rows side by side; and the vectors.
        """
        numbers = self._whole("number", np.int64).read(start, stop)
        there = np.flatnonzero(numbers >= 0)
        places = start + there
        rows = Standing(numbers[there], places)
        return rows, self._labels_at(places), self._read(places)

    def _read(self, ascending: Numbers) -> Halves:
        out = np.empty((len(ascending), self.dim), np.float16)
        for part, file, first in _by_file(ascending, self.files, self.places):
            path = os.path.join(self.folder, f"{file}.f16")
            read_rows(path, ascending[part] - first, out[part])
        return out

    def _labels_at(self, places: Numbers) -> Labels:
        starts = self._whole("start", np.int64).mapped()
        run = np.searchsorted(starts, places, side="right") - 1
        return np.asarray(self._whole("label", np.int32).mapped()[run])

    def _whole(self, name: str, kind: npt.DTypeLike) -> ArrayFile:
        return ArrayFile(os.path.join(self.folder, f"rows.{name}"), np.dtype(kind))


class _Names:
    """A file of names, of which batches are read: some columns alone."""

    def __init__(self, folder: str, name: str, columns: Sequence[str]) -> None:
        fields = [_NAMES.get_field_index(column) for column in columns]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        path = os.path.join(folder, f"{name}.uid")
        self._file = pa.ipc.open_file(pa.OSFile(path), options=options)
        self.count = self._file.num_record_batches

    def batch(self, number: int) -> pa.RecordBatch:
        """Return a batch by its number."""
        return self._file.get_batch(number)


def _by_file(
    ascending: Numbers, files: Sequence[_File], bounds: Sequence[int]
) -> Iterator[tuple[slice, _File, int]]:
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
    """The uids of blocks' rows, looked up many times.

    It holds a batch of names and has one file open, so that rows that are asked for in
    ascending order are read once, of however many files.
    """

    def __init__(self, blocks: VectorBlocks) -> None:
        self._blocks = blocks
        self._open: tuple[str, _Names] | None = None
        self._held: tuple[_Batch, pa.Array] | None = None

    def of(self, numbers: Numbers) -> pa.Array:
        """Return the uids of some rows, in any order."""
        blocks = self._blocks
        order = np.argsort(numbers, kind="stable")
        ascending = numbers[order]
        taken = [pa.array([], pa.string())]
        for part, batch, first in _by_file(ascending, blocks.names, blocks.bounds):
            taken.append(self._batch(batch).take(pa.array(ascending[part] - first)))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_arrays(taken).take(pa.array(back))

    def _batch(self, batch: _Batch) -> pa.Array:
        if self._held is None or self._held[0] != batch:
            name, number = batch
            if self._open is None or self._open[0] != name:
                self._open = (name, _Names(self._blocks.folder, name, ["uid"]))
            self._held = None
            self._held = (batch, self._open[1].batch(number).column("uid"))
        return self._held[1]


@dataclass(frozen=True)
class GroupedBlocks(VectorBlocks):
    """Rows that are compared in groups, which share rows.

    listed: a file of the groups' rows (LISTED_ROW), one group after the other; groups:
    the first and the last but one of each one's positions there.
    """

    listed: ArrayFile
    groups: tuple[tuple[int, int], ...]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last but one of the positions whose rows are compared."""
        return self.groups

    def numbers(self, start: int, stop: int) -> Numbers:
        """Return which rows stand at positions `start` … `stop` - 1, ascending."""
        return self.standing(start, stop).numbers

    def standing(self, start: int, stop: int) -> Standing:
        """Return the rows at positions `start` … `stop` - 1."""
        rows = self.listed.read(start, stop)
        return Standing(rows["number"].copy(), rows["place"].copy())


def as_blocks(folder: str, dim: int, written: pa.Table, held: int) -> VectorBlocks:
    """Return the rows of the files that WRITTEN names; note where their vectors lie.

    held: how many numbers may be held meanwhile. Raises RunError if what workers wrote
    is not seen.
    """
    keys = [(name, "ascending") for name in ("cluster", "task")]
    rows = written.sort_by(keys)
    ends = np.cumsum([0, *rows["rows"].to_pylist()])
    cluster = rows["cluster"].to_numpy()
    borders = [0, *(np.flatnonzero(np.diff(cluster)) + 1).tolist(), len(cluster)]
    layouts = _Layouts(folder, dim)
    names: list[_Batch] = []
    bounds = [0]
    with Path(folder, "rows.place").open("wb") as places:
        for name in rows["file"].to_pylist():
            file = _Names(folder, name, ["label", "file", "row"])
            for number in range(file.count):
                batch = file.batch(number)
                layouts.places_of(batch).tofile(places)
                names.append((name, number))
                bounds.append(bounds[-1] + len(batch))
    layouts.note(held)
    return VectorBlocks(
        folder,
        dim,
        tuple(names),
        tuple(bounds),
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

    def note(self, held: int) -> None:
        """Write what row's vector lies at each place, and where labels begin.

        A place of no row is one that was written by a try that did not count.
        """
        places = ArrayFile(os.path.join(self._folder, "rows.place"), np.dtype(np.int64))
        path = os.path.join(self._folder, "rows.number")
        inverted(places, path, self.bounds[-1], held)
        runs = np.concatenate([np.empty((0, 2), np.int64), *self._runs])
        runs[:, 1].tofile(Path(self._folder, "rows.start"))
        runs[:, 0].astype(np.int32).tofile(Path(self._folder, "rows.label"))
