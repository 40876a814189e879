"""Frames of the local engine, and the scratch files that rows go to when they are many.

May import: core.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from winnow.core.vectors import take
from winnow.engines.parts import plain_schema

BATCH_ROWS = 16_384
#: Of rows that are told apart by bucket at a time: of few of them a bucket gets hardly
#: any, and to write and read a piece again costs more than its rows do.
SPLIT_BYTES = 8 * 2**20
#: Of a scratch file: what is mapped at a time while it is read.
SPILL_BYTES = 64 * 2**20
# Bytes a string is taken to need when the size of rows is estimated.
_STRING_BYTES = 48


@dataclass(frozen=True)
class LocalFrame:
    """A lazy frame, and how many rows it may have at most.

    listed: whether its rows are pieces of work rather than samples.
    """

    lazy: pl.LazyFrame
    rows: int
    listed: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, roughly."""
        return sum(map(_column_bytes, self.lazy.collect_schema().values()))

    @property
    def size(self) -> int:
        """Bytes of all rows at most, roughly."""
        return self.rows * self.row_bytes


class ArrowFile(NamedTuple):
    """A file of Arrow batches, and the rows of each."""

    path: Path
    rows: tuple[int, ...]


class Scratch:
    """A folder of files that hold what is too much for memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def spill(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> LocalFrame:
        """Write batches to scratch files and return a frame over them."""
        files = self.files(batches, schema)
        rows = sum(sum(file.rows) for file in files)
        return LocalFrame(pl.scan_ipc([file.path for file in files]), rows)

    def files(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema
    ) -> list[ArrowFile]:
        """Write batches to scratch files, at least to one."""
        return spill_files(batches, schema, self._file)

    def scattered(
        self,
        frame: LocalFrame,
        bucket_of: Callable[[pa.RecordBatch], npt.NDArray[np.int64]],
        count: int,
    ) -> list[list[Path]]:
        """Append each row to the files of its bucket; an empty bucket has none."""
        buckets = [_BucketFiles(self._file) for _ in range(count)]
        rows = max(BATCH_ROWS, SPLIT_BYTES // max(1, frame.row_bytes))
        try:
            for batch in batches_of(frame.lazy, rows):
                for bucket, part in _split(batch, bucket_of(batch)):
                    buckets[bucket].write(part)
        finally:
            for written in buckets:
                written.close()
        return [written.paths for written in buckets]

    def clear(self) -> None:
        """Remove all files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{next(self._numbers):06d}.arrow"


class _BucketFiles:
    """The files of one bucket's rows, of which the last one grows.

    Several, as in `spill`: a map of all rows would be held until the last one is read.
    """

    def __init__(self, new_file: Callable[[], Path]) -> None:
        self.paths: list[Path] = []
        self._new_file = new_file
        self._sink: pa.NativeFile | None = None
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def write(self, part: pa.RecordBatch) -> None:
        if self._sink is None or self._writer is None:
            self.paths.append(self._new_file())
            self._sink = pa.OSFile(str(self.paths[-1]), "wb")
            self._writer = pa.ipc.new_file(self._sink, part.schema)
        self._writer.write_batch(part)
        if self._sink.tell() >= SPILL_BYTES:
            self.close()

    def close(self) -> None:
        if self._sink is not None and self._writer is not None:
            self._writer.close()
            self._sink.close()
        self._sink = self._writer = None


def scattered_frame(files: Sequence[Path], schema: pl.Schema) -> LocalFrame:
    """Return a frame over the files of a bucket, empty if no row came to it."""
    if not files:
        return LocalFrame(pl.LazyFrame(schema=schema), 0)
    lazy = pl.scan_ipc(list(files))
    return LocalFrame(lazy, int(lazy.select(pl.len()).collect().item()))


def batches_of(frame: pl.LazyFrame, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """Stream a frame as Arrow batches of plain (not large, not view) types.

    rows: how many a batch has at most, and most of them have.
    """
    schema = arrow_schema(frame)
    for part in frame.collect_batches(chunk_size=rows, maintain_order=True):
        table = part.rechunk().to_arrow().cast(schema)
        yield from table.to_batches(max_chunksize=rows)


def arrow_schema(frame: pl.LazyFrame) -> pa.Schema:
    """Return the frame's schema in plain Arrow types."""
    empty = pl.DataFrame(schema=frame.collect_schema()).to_arrow().schema
    return plain_schema(empty)


def spill_files(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, new_file: Callable[[], Path]
) -> list[ArrowFile]:
    """Write batches to Arrow files, at least to one.

    Several, since polars maps a file as a whole and lets go of it as a whole.
    """
    rest, left = iter(batches), True
    files: list[ArrowFile] = []
    while left:
        path = new_file()
        left, rows = _spill_one(path, rest, schema)
        files.append(ArrowFile(path, tuple(rows)))
    return files


def gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Gather batches until they are worth a row group, which is a batch again later."""
    held: list[pa.RecordBatch] = []
    rows, size = 0, 0
    for batch in batches:
        held.append(batch)
        rows, size = rows + len(batch), size + batch.nbytes
        if rows >= BATCH_ROWS or size >= SPILL_BYTES:
            yield pa.concat_batches(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.concat_batches(held)


def _spill_one(
    path: Path, batches: Iterator[pa.RecordBatch], schema: pa.Schema
) -> tuple[bool, list[int]]:
    """Write batches to a file until it is full; return whether some may be left.

    And the rows of each.
    """
    rows: list[int] = []
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as out:
        for batch in batches:
            # A cast goes through every column, even to find that it is of that type.
            same = batch.schema.equals(schema)
            out.write_batch(batch if same else batch.cast(schema))
            rows.append(len(batch))
            if sink.tell() >= SPILL_BYTES:
                return True, rows
    return False, rows


def _split(
    batch: pa.RecordBatch, buckets: npt.NDArray[np.int64]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield each bucket that has rows, and its rows in their order."""
    order = np.argsort(buckets.astype(np.uint16), kind="stable")
    borders = np.flatnonzero(np.diff(buckets[order])) + 1
    pieces: Sequence[npt.NDArray[np.int64]] = np.split(order, borders)
    for rows in pieces:
        if len(rows):
            yield int(buckets[rows[0]]), take(batch, rows)


def _column_bytes(kind: pl.DataType) -> int:
    if isinstance(kind, pl.Array):
        return kind.size * _column_bytes(kind.inner)  # type: ignore[arg-type]
    if kind == pl.Float16:
        return 2
    return 8 if kind.is_numeric() or kind == pl.Boolean else _STRING_BYTES
