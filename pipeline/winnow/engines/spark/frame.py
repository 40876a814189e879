"""A table of Spark's with its exact Arrow types; parts that are not yet read.

Parts are Parquet files, artifacts say, or Arrow files that workers or the driver left
in the scratch folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.parquet_footer import group_bytes, group_rows
from winnow.engines.parts import plain_schema
from winnow.engines.scratch import ArrowFile, LocalFrame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: A row of Spark's takes as much, however well a file encodes it.
_ROW_BYTES = 32


@dataclass(frozen=True)
class Parts:
    """Row groups of Parquet files, or batches of Arrow files, in order.

    Each `(path, number, rows, bytes)`.
    """

    groups: tuple[tuple[str, int, int, int], ...]

    @property
    def rows(self) -> int:
        """Rows of all groups."""
        return sum(group[2] for group in self.groups)

    @property
    def bytes(self) -> int:
        """Bytes of all groups, uncompressed but encoded."""
        return sum(group[3] for group in self.groups)

    @property
    def held(self) -> int:
        """Bytes that the rows take in memory, where strings repeat not too often."""
        return max(self.bytes, _ROW_BYTES * self.rows)


@dataclass(frozen=True)
class SparkFrame:
    """Rows of `schema`: a DataFrame of what crosses Spark, parts to be read, or held.

    What is `held` is the driver's own, whatever its files hold. `columns` names those
    of the parts that are wanted, `{new name: old name}`. `bytes` is about what the rows
    take at most, None where that is not known. Rows that are `listed` may stand for any
    number of rows: shards, say.
    """

    schema: pa.Schema
    data: DataFrame | None = None
    parts: Parts | None = None
    held: LocalFrame | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    bytes: int | None = None
    listed: bool = False

    def schema_of(self, columns: Mapping[str, str]) -> pa.Schema:
        """Return the schema of a choice of columns: `{new name: old name}`."""
        return pa.schema([(n, self.schema.field(o).type) for n, o in columns.items()])

    def selected(self, columns: Mapping[str, str]) -> SparkFrame | None:
        """Return the frame over parts with other columns; None if it is a DataFrame."""
        if self.parts is None:
            return None
        chosen = {new: self.columns[old] for new, old in columns.items()}
        return replace(self, schema=self.schema_of(columns), columns=chosen)

    def read(self) -> pa.Table:
        """Return the rows of parts, in their order, read by this process."""
        assert self.parts is not None
        tables = [self.schema.empty_table()]
        for path, groups in groupby(self.parts.groups, itemgetter(0)):
            numbers = [number for _, number, *_ in groups]
            batches = part_batches(path, numbers, self.columns, self.schema)
            tables.append(pa.Table.from_batches(batches, self.schema))
        return pa.concat_tables(tables)


def part_batches(
    path: str,
    numbers: Sequence[int] | None,
    columns: Mapping[str, str],
    schema: pa.Schema,
    batch_rows: int = 2**16,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of some row groups or batches of a file, None: of all.

    columns: `{name in the file's stead: name in the file}`, in the order of `schema`,
    whose types the columns get. batch_rows: of a batch at most.
    """
    opened = _arrow_batches if path.endswith(".arrow") else _parquet_batches
    names = list(dict.fromkeys(columns.values()))
    for batch in opened(path, numbers, names, batch_rows):
        pairs = (
            (batch.column(old), schema.field(new).type) for new, old in columns.items()
        )
        arrays = [a if a.type == kind else a.cast(kind) for a, kind in pairs]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _parquet_batches(
    path: str, numbers: Sequence[int] | None, names: list[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        chosen = None if numbers is None else list(numbers)
        yield from file.iter_batches(batch_rows, row_groups=chosen, columns=names)


def _arrow_batches(
    path: str, numbers: Sequence[int] | None, names: list[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(path) as source, pa.ipc.open_file(source) as file:
        chosen = range(file.num_record_batches) if numbers is None else numbers
        for number in chosen:
            batch = file.get_batch(number).select(names)
            for start in range(0, len(batch), batch_rows):
                yield batch.slice(start, batch_rows)


def read_footers(path: str) -> SparkFrame:
    """Return a frame over a Parquet file or a folder of parts, read later."""
    folder = Path(path)
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else [folder]
    if not files:
        raise FileNotFoundError(f"{path}: there are no Parquet files")
    groups: list[tuple[str, int, int, int]] = []
    schema: pa.Schema | None = None
    for file in files:
        with pq.ParquetFile(file) as opened:
            schema = schema or plain_schema(opened.schema_arrow)
            rows, sizes = group_rows(opened.metadata), group_bytes(opened.metadata)
            for number, (length, size) in enumerate(zip(rows, sizes, strict=True)):
                groups.append((str(file), number, length, size))
    assert schema is not None
    names = {name: name for name in schema.names}
    parts = Parts(tuple(groups))
    return SparkFrame(schema, parts=parts, columns=names, bytes=parts.held)


def arrow_frame(
    files: Iterable[ArrowFile], schema: pa.Schema, *, listed: bool = False
) -> SparkFrame:
    """Return a frame over Arrow files of `schema`, which this process sees."""
    groups: list[tuple[str, int, int, int]] = []
    for file in files:
        size, rows = file.path.stat().st_size, max(1, sum(file.rows))
        for number, length in enumerate(file.rows):
            groups.append((str(file.path), number, length, size * length // rows))
    names = {name: name for name in schema.names}
    parts = Parts(tuple(groups))
    return SparkFrame(
        schema, parts=parts, columns=names, bytes=parts.held, listed=listed
    )


def united(frames: Sequence[SparkFrame]) -> SparkFrame | None:
    """Return one frame over the parts of all, or None if they are not alike."""
    first = frames[0]
    alike = all(f.parts is not None and f.columns == first.columns for f in frames)
    if not alike or any(f.schema.types != first.schema.types for f in frames):
        return None
    groups: list[Any] = []
    for frame in frames:
        assert frame.parts is not None
        groups += frame.parts.groups
    parts = Parts(tuple(groups))
    return replace(first, parts=parts, bytes=parts.held, listed=False)
