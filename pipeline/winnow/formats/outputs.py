"""What a run hands on: kept shards, the DataComp subset, quarantined rows.

Kernels over references sorted by (source, row), like every reader of samples.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.run_folder import remove
from winnow.core.schemas import REJECTS
from winnow.core.task import OneBehind, current_task
from winnow.formats.column_names import shown_name
from winnow.formats.reader import SampleReader, by_source, single
from winnow.formats.shard_protocol import ShardFormat, Sink, Unreadable

_ROW_GROUP_BYTES = 32 * 2**20
_ROW_GROUP_ROWS = 10_000

#: A file, the number of the task that wrote it, and its rows.
WRITTEN = pa.schema([("task", pa.int64()), ("file", pa.string()), ("rows", pa.int64())])
#: What names in WRITTEN begin with that hold rows which cannot be read.
UNREAD = "unread/"
#: More files than a run writes.
MAX_FILES = 10_000_000

#: DataComp's subset file: a uid's 128 bits as two unsigned 64-bit halves.
SUBSET = np.dtype("u8,u8")

_HEX_128 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class ShardSize:
    """When a kept shard is full: at so many rows or so many bytes in memory."""

    rows: int
    bytes: int


def write_kept(
    references: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    schema: pa.Schema,
    folder: str,
    unread: str,
    size: ShardSize,
) -> Iterator[pa.RecordBatch]:
    """Copy the referenced rows, whole, to shards of the input's format in `folder`.

    Yields one batch of WRITTEN per shard; `settle` gives them their names. Rows that
    cannot be read whole, though the steps could read their part, go to a file of
    (uid, reason) in the folder `unread`, whose name in WRITTEN begins with UNREAD.
    """
    like = next(iter(reader.paths.values()))
    kind = reader.format
    whole = kind.whole(schema)
    columns = pa.schema([schema.field(name) for name in whole], schema.metadata)
    writer = ShardWriter(Path(folder), kind, kind.suffix(like), columns, size)
    rejected = _Rejected(Path(unread))
    with contextlib.closing(rejected):
        for source, wanted in by_source(references):
            rows = wanted["row"].to_numpy()
            for start, table in reader.rows(source, rows, whole):
                if isinstance(table, Unreadable):
                    uids = wanted["uid"].slice(start, table.rows)
                    rejected.add(uids, table.reason)
                else:
                    writer.add(table)
    writer.close()
    for file, count in (*writer.written, *rejected.written):
        yield _written(file, count)


class _Rejected:
    """Writes which rows cannot be read, if there are any; `written` as ShardWriter."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _own_name(0, ".parquet")
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0

    @property
    def written(self) -> list[tuple[str, int]]:
        return [(UNREAD + self._file.name, self._rows)] if self._rows else []

    def add(self, uids: pa.ChunkedArray, reason: str) -> None:
        if self._writer is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._file, REJECTS)
        reasons = pa.repeat(pa.scalar(reason), len(uids))
        table = pa.Table.from_arrays([uids.cast(pa.string()), reasons], schema=REJECTS)
        self._writer.write_table(table)
        self._rows += len(uids)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _written(file: str, rows: int) -> pa.RecordBatch:
    row = {"task": current_task().number, "file": file, "rows": rows}
    return pa.RecordBatch.from_pylist([row], WRITTEN)


def _own_name(number: int, suffix: str) -> str:
    """Return a file's name that no other task, and no other try of this one, uses."""
    task = current_task()
    return f"task-{task.number:06d}-{task.attempt}-{number:05d}{suffix}"


def settle(folder: Path, written: pa.Table) -> int:
    """Name the files of WRITTEN in order, and remove all others; return their number.

    What a task wrote that was tried again, or beside another, is not among them. Empty
    files stay only if there are no others.
    """
    rows = written.sort_by([("task", "ascending"), ("file", "ascending")]).to_pylist()
    counted = [row for row in rows if row["rows"]] or rows[:1]
    names = [row["file"] for row in counted]
    for stray in set(os.listdir(folder)) - set(names):
        remove(folder / stray)
    for number, name in enumerate(names):
        suffix = "".join(name.partition(".")[1:])
        os.replace(folder / name, folder / f"part-{number:05d}{suffix}")
    return len(names)


class ShardWriter:
    """Fills one shard of a format after the other, in batches of a bounded size.

    A thread writes a batch while the next is filled, where there are cores for both.

    suffix: what their names end in; '' for shards that are folders. `written` lists the
    (file, rows) of finished shards.
    """

    def __init__(
        self,
        folder: Path,
        kind: ShardFormat,
        suffix: str,
        schema: pa.Schema,
        size: ShardSize,
    ) -> None:
        self.written: list[tuple[str, int]] = []
        self._format, self._suffix = kind, suffix
        self._folder, self._schema, self._size = folder, schema, size
        self._held: list[pa.Table] = []
        self._held_rows = self._held_bytes = 0
        self._rows = self._bytes = 0
        self._file = folder
        self._sink: Sink | None = None
        self._behind = OneBehind()
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, table: pa.Table) -> None:
        """Append rows, starting shards as they fill."""
        # Shards may differ in what may be null, and tables that do are not joined.
        table = table.cast(self._schema)
        while len(table):
            room = self._size.rows - self._rows - self._held_rows
            part, table = table.slice(0, room), table.slice(room)
            self._held.append(part)
            self._held_rows += len(part)
            self._held_bytes += part.nbytes
            full_rows = self._rows + self._held_rows >= self._size.rows
            full_bytes = self._bytes + self._held_bytes >= self._size.bytes
            if full_rows or full_bytes:
                self._finish_shard()
            elif (
                self._held_bytes >= _ROW_GROUP_BYTES
                or self._held_rows >= _ROW_GROUP_ROWS
            ):
                self._flush()

    def close(self) -> None:
        """Finish the last shard; without any row, an empty one."""
        is_open = self._sink is not None
        if self._held_rows or is_open or not self.written:
            self._finish_shard()

    def _flush(self) -> None:
        if self._sink is None:
            self._file = self._folder / _own_name(len(self.written), self._suffix)
            self._sink = self._format.sink(self._file, self._schema)
        if self._held:
            batch = pa.concat_tables(self._held)
            self._behind.start(partial(self._sink.write, batch))
        self._rows += self._held_rows
        self._bytes += self._held_bytes
        self._held, self._held_rows, self._held_bytes = [], 0, 0

    def _finish_shard(self) -> None:
        self._flush()
        self._behind.wait()
        if self._sink is not None:
            self._sink.close()
        self.written.append((self._file.name, self._rows))
        self._sink, self._rows, self._bytes = None, 0, 0


def quarantine_schema(schema: pa.Schema) -> pa.Schema:
    """Schema of the quarantine: where, why, and the raw row as it was read."""
    return pa.schema(
        [
            ("uid", pa.string()),
            ("source", pa.string()),
            ("row", pa.int64()),
            ("reason", pa.string()),
            ("step", pa.string()),
            ("raw", pa.struct([_raw_field(field) for field in schema])),
        ]
    )


def _raw_field(field: pa.Field) -> pa.Field:
    """Return a field as it is called before a user, without a dictionary.

    Arrow cannot read one in a struct.
    """
    field = field.with_name(shown_name(field.name))
    if pa.types.is_dictionary(field.type):
        return field.with_type(field.type.value_type)
    return field


def write_quarantine(
    references: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    schema: pa.Schema,
    folder: str,
    bad_files: tuple[tuple[str, str], ...] = (),
) -> Iterator[pa.RecordBatch]:
    """Write (uid, source, row, reason, step) with the raw row to `folder`.

    The raw row is null where it cannot be read; a file that cannot be read at all
    takes one row without a number. Yields one batch of WRITTEN.
    """
    whole = reader.format.whole(schema) if reader.paths else schema.names
    schema = pa.schema([schema.field(name) for name in whole])
    target = quarantine_schema(schema)
    file = Path(folder) / _own_name(len(bad_files), ".parquet")
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = len(bad_files)
    with pq.ParquetWriter(file, target, compression="zstd") as writer:
        for path, reason in bad_files:
            row = {"source": path, "reason": reason, "step": "index"}
            writer.write_batch(pa.RecordBatch.from_pylist([row], target))
        for source, wanted in by_source(references):
            for batch in _with_raw_rows(reader, source, wanted, target, whole):
                # A row group each: Arrow reads no more than 2 GiB of nested images.
                writer.write_table(pa.Table.from_batches([batch]))
                rows += len(batch)
    yield _written(file.name, rows)


def _with_raw_rows(
    reader: SampleReader,
    source: str,
    wanted: pa.Table,
    target: pa.Schema,
    names: list[str],
) -> Iterator[pa.RecordBatch]:
    rows = wanted["row"].to_numpy()
    for start, table in reader.rows(source, rows, names):
        if isinstance(table, Unreadable):
            part = wanted.slice(start, table.rows)
            raw = pa.nulls(table.rows, target.field("raw").type)
        else:
            part = wanted.slice(start, len(table))
            fields = list(target.field("raw").type)
            columns = [
                single(table[name]).cast(field.type)
                for name, field in zip(names, fields, strict=True)
            ]
            raw = pa.StructArray.from_arrays(columns, fields=fields)
        arrays = [
            single(part[name]).cast(target.field(name).type)
            for name in target.names[:-1]
        ]
        yield pa.RecordBatch.from_arrays([*arrays, raw], schema=target)


def datacomp_subset(uids: pa.Array) -> npt.NDArray[np.void] | None:
    """Return sorted (high, low) halves of 32-digit hexadecimal uids, DataComp's format.

    None if a uid is not 128-bit hexadecimal.
    """
    names = uids.to_pylist()
    if not all(_HEX_128.fullmatch(name) for name in names):
        return None
    halves = np.frombuffer(bytes.fromhex("".join(names)), dtype=">u8").reshape(-1, 2)
    subset = np.empty(len(halves), SUBSET)
    subset["f0"], subset["f1"] = halves[:, 0], halves[:, 1]
    return np.sort(subset)


def write_subset(
    batches: Iterator[pa.RecordBatch], *, folder: str
) -> Iterator[pa.RecordBatch]:
    """Write uids that arrive in order as a stretch of DataComp's subset file.

    A column `count` says how often a uid is to stand there. Yields one batch of
    WRITTEN; its rows are -1 if a uid is not 128-bit hexadecimal.
    """
    file = Path(folder) / _own_name(0, ".bin")
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with file.open("wb") as sink:
        for batch in batches:
            uids = batch.column("uid")
            if "count" in batch.schema.names:
                counts = batch.column("count").to_numpy()
                uids = uids.take(pa.array(np.repeat(np.arange(len(uids)), counts)))
            part = datacomp_subset(uids)
            if part is None:
                rows = -1
                break
            sink.write(part.tobytes())
            rows += len(part)
    yield _written(file.name, rows)


def join_subset(folder: Path, written: pa.Table, target: Path) -> bool:
    """Put the stretches of WRITTEN together to a .npy file, in the order of tasks.

    Returns False, and writes nothing, if a uid was not 128-bit hexadecimal.
    """
    parts = written.sort_by("task").to_pylist()
    if any(part["rows"] < 0 for part in parts):
        return False
    shape = (sum(part["rows"] for part in parts),)
    with target.open("wb") as sink:
        about = {"descr": SUBSET.descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(sink, about)
        for part in parts:
            with (folder / part["file"]).open("rb") as source:
                shutil.copyfileobj(source, sink)
    return True
