"""The rows that k-means is trained on: those of the smallest keys, in a file.

Their number grows with the number of centroids, so that they are not held: they are
read, some at a time, in every iteration.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.core.engine import Frame
from winnow.core.errors import RunError
from winnow.core.run_folder import remove
from winnow.core.vectors import to_matrix
from winnow.steps.contract import Context

_BATCH_ROWS = 16_384
_ORDER = ("key", "uid")


class VectorFile:
    """Vectors in a file, one after the other, of which stretches are read.

    path: of float16 numbers. shape: how many vectors, and of how many numbers.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self._path, self.shape = path, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> npt.NDArray[np.float16]:
        """Return a stretch of vectors; raises RunError if the file ends before it."""
        first, last, _ = rows.indices(len(self))
        dim = self.shape[1]
        numbers = np.fromfile(
            self._path, np.float16, (last - first) * dim, offset=2 * first * dim
        )
        if len(numbers) != (last - first) * dim:
            raise RunError(f"{self._path}: ends before its row {last:,}")
        return numbers.reshape(-1, dim)


def training_sample(context: Context, vectors: Frame, wanted: int) -> VectorFile:
    """Write the vectors of the `wanted` rows of the smallest keys, in that order.

    vectors: (uid, key, vector). Rows of one key go by uid. Of every row of the sample
    a key and a place are held while it is written, 24 bytes.
    """
    engine = context.engine
    if wanted < context.rows:
        last = engine.cut(vectors, [(name, False) for name in _ORDER], wanted)
        if last is not None:
            # Told from the others without their vectors, which are far more to move.
            names = engine.select(vectors, {name: name for name in _ORDER})
            kernel = partial(up_to, last=last)
            smallest = engine.map_batches(names, kernel, engine.schema(names))
            uids = engine.select(smallest, {"uid": "uid"})
            vectors = engine.join(vectors, uids, "uid", "semi")
    beside = context.parts / "sample"
    engine.write(vectors, os.fspath(beside), [])
    sample = in_order(beside, context.parts / "sample.f16")
    remove(beside)
    return sample


def up_to(
    batches: Iterator[pa.RecordBatch], *, last: dict[str, object]
) -> Iterator[pa.RecordBatch]:
    """Keep the rows up to and including `last` in the order (key, uid)."""
    key = pa.scalar(last["key"], pa.uint64())
    for batch in batches:
        tie = pc.and_(
            pc.equal(batch.column("key"), key),
            pc.less_equal(batch.column("uid"), last["uid"]),
        )
        yield batch.filter(pc.or_(pc.less(batch.column("key"), key), tie))


def in_order(folder: Path, file: Path) -> VectorFile:
    """Write the vectors of a folder of Parquet parts to a file, by (key, uid)."""
    places = _places(folder)
    dim = 0
    with file.open("wb") as sink:
        first = 0
        for batch in _batches(folder, ["vector"]):
            rows = to_matrix(batch.column("vector"))
            dim = rows.shape[1]
            here = places[first : first + len(rows)].tolist()
            for number, row in zip(here, rows, strict=True):
                os.pwrite(sink.fileno(), row.data, number * rows.itemsize * dim)
            first += len(rows)
    return VectorFile(file, (len(places), dim))


def _places(folder: Path) -> npt.NDArray[np.int64]:
    """Return where each row belongs."""
    parts = [b.column("key").to_numpy() for b in _batches(folder, ["key"])]
    keys = np.concatenate([np.zeros(0, np.uint64), *parts])
    order = np.argsort(keys)
    if (np.diff(keys[order]) == 0).any():
        # Two uids of one hash of 64 bits.
        table = pa.Table.from_batches(_batches(folder, _ORDER))
        order = pc.sort_indices(table, [(n, "ascending") for n in _ORDER]).to_numpy()
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def _batches(folder: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for file in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(file) as opened:
            yield from opened.iter_batches(_BATCH_ROWS, columns=list(columns))
