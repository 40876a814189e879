"""Parquet shards: footers, row groups read by reference, kept rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.errors import InputError
from winnow.core.parquet_columns import writer_settings
from winnow.core.parquet_footer import (
    ColumnChunk,
    DamagedFooter,
    column_chunks,
    footer_bytes,
    group_rows,
)
from winnow.core.vectors import take_rows
from winnow.formats.chunk_cache import ColumnChunkCache
from winnow.formats.constants import (
    WithConstants,
    constant_columns,
    hive_partitions,
    table_kind,
    with_constants,
)
from winnow.formats.file_access import filesystem, is_local
from winnow.formats.one_schema import aligned, present, without_views
from winnow.formats.parquet_pages import largest_page
from winnow.formats.shard_protocol import (
    FoundPool,
    Listing,
    ShardFooter,
    ShardFormat,
    Unreadable,
)

_BATCH_ROWS = 256
#: Rows that take little are read in more at a time: so many, or so many bytes of them.
_SMALL_ROWS, _SMALL_BYTES = 8192, 8 * 2**20
#: Of the rows of one batch, as far as their average tells: images are read in few.
_BATCH_BYTES = 64 * 2**20
#: Of a column chunk, read at a time: pages are read as they come, not all at once.
_READ_BYTES = 2**20
#: How the end of a file behind a URL is fetched: once, for all that reads it.
_TAIL = {"block_size": 2**16, "cache_type": "readahead"}
#: Fetched at once of a column chunk behind a URL.
_READ_AHEAD = 8 * 2**20
#: Of a page that is written. Arrow looks at a page's size once in so many rows, which
#: for images has to be sooner than after its usual 1,024.
_PAGE_BYTES, _PAGE_ROWS = 2**20, 1024


class ParquetFormat(ShardFormat):
    """Shards that are Parquet files."""

    name = "parquet"
    title = "Parquet"
    endings: tuple[str, ...] = (".parquet", ".parq", ".pq")
    sql_reads_it = True
    #: Of the rows held at a time, as far as their average tells.
    batch_bytes = _BATCH_BYTES

    def bounded(self, batch_bytes: int) -> ShardFormat:
        """Return what reads at most so many bytes at a time."""
        if batch_bytes == self.batch_bytes:
            return self
        reader = copy(self)
        reader.batch_bytes = batch_bytes
        return reader

    def claims(self, listing: Listing) -> FoundPool | None:
        """Return the shards of a folder that Hive has partitioned: `year=2020/…`.

        What the folders stand for are columns of the pool.
        """
        files = [f for f in listing.visible if f.lower().endswith(self.endings)]
        values = {
            listing.path(file): hive_partitions(listing.below(file)[:-1])
            for file in files
        }
        if not any(values.values()) or any(
            table_kind(listing.below(file)) for file in listing.files
        ):
            return None
        return FoundPool(WithConstants(self, constant_columns(values), values), files)

    def restored(self, pinned: Mapping[str, Any]) -> ShardFormat:
        """Return the format as it was when it was `pinned`."""
        return with_constants(self, pinned)

    def recognises(self, head: bytes) -> bool:
        """Whether a file begins as Parquet files do, or is too short to be any."""
        return head.startswith(b"PAR1")

    def footer(self, path: str) -> ShardFooter:
        """Return a shard's footer; raises InputError if the file is not whole."""
        with open_shard(path) as file:
            schema, meta = without_views(file.schema_arrow), file.metadata
            if sum(group_rows(meta)) != meta.num_rows:
                raise InputError(
                    f"{path}: its row groups do not hold the {meta.num_rows:,} rows "
                    "that it names; it is damaged: copy it again, delete it, or set "
                    "input.on_bad_shard=skip"
                )
            return ShardFooter(meta.num_rows, schema, str(meta.serialized_size))

    def merged(
        self, schema: pa.Schema, first: str, other: pa.Schema, path: str
    ) -> pa.Schema:
        """Return the schema of both, a column nullable if it is in one of them.

        Raises InputError if the columns differ, naming file and column.
        """
        require_same_columns(schema, first, other, path)
        for column_index, field in enumerate(schema):
            if not field.nullable and other.field(field.name).nullable:
                schema = schema.set(column_index, field.with_nullable(True))
        return schema

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one shard.

        Reads only row groups that hold a wanted row; what the file lacks of the pool's
        columns is null, what it has in another type becomes the pool's. A row group
        that fails to decode yields an Unreadable for those of its rows that have not
        come out yet.
        """
        with open_shard(path) as file:
            first, position = 0, 0
            for group, size in enumerate(group_rows(file.metadata)):
                end = int(np.searchsorted(rows, first + size))
                inner = rows[position:end] - first
                for start, part in self._group(file, group, inner, columns, schema):
                    yield position + start, part
                first, position = first + size, end

    def held_at_once(self, path: str, columns: Sequence[str]) -> tuple[int, str]:
        """Return the bytes of the largest page, packed and unpacked, and its column."""
        if path.startswith("http"):
            return 0, ""
        with open_shard(path) as file:
            names, chunks = leaf_names(file), file.chunks
        fs, inner = filesystem(path)
        with fs.open(
            inner, "rb", **({} if is_local(fs) else {"cache_type": "none"})
        ) as source:
            return largest_page(source, chunks, names, columns)

    def _group(
        self,
        file: OpenShard,
        group: int,
        wanted: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield the wanted rows of a row group, by their numbers in it."""
        known = schema if schema is not None else file.schema_arrow
        inner_columns = present(columns, file.schema_arrow.names)
        most = _batch_rows(file, group, inner_columns, self.batch_bytes)
        done, reason = 0, ""
        # What fails is read again in fewer rows: those before the damage are good.
        for size in (most, min(most, _BATCH_ROWS)):
            try:
                parts = _read_group(file, group, wanted[done:], inner_columns, size)
                for table, count in parts:
                    yield done, aligned(table, columns, schema, count)
                    done += count
                if done == len(wanted):
                    return
                error: Exception = OSError(f"{len(wanted) - done} rows are missing")
            except (pa.ArrowException, OSError, ValueError) as failure:
                error = failure
            reason = f"unreadable_row_group: {group} ({str(error)[:120]})"
        types = {name: known.field(name).type for name in columns}
        yield done, Unreadable(len(wanted) - done, reason, types)

    def sink(self, file: Path, schema: pa.Schema) -> ParquetSink:
        """Open a shard for writing."""
        return ParquetSink(file, schema)


class ParquetSink:
    """A Parquet shard that is being written, a row group at a time."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._file, self._schema = file, schema
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append a row group."""
        self._opened(table).write_table(table.cast(self._schema))

    def close(self) -> None:
        """Write the footer."""
        self._opened(self._schema.empty_table()).close()

    def _opened(self, table: pa.Table) -> pq.ParquetWriter:
        """Return the writer, opened for rows like these: pages of few large values.

        A reader holds a page whole, so that large pages would take its memory.
        """
        if self._writer is None:
            average = table.nbytes // max(1, len(table))
            rows = max(1, min(_PAGE_ROWS, _PAGE_BYTES // max(1, average)))
            settings = writer_settings(self._schema)
            if rows < _PAGE_ROWS:
                # A dictionary is a page, too, and holds each value whole.
                settings["use_dictionary"] = False
            self._writer = pq.ParquetWriter(
                self._file, self._schema, write_batch_size=rows, **settings
            )
        return self._writer


class OpenShard(pq.ParquetFile):  # type: ignore[misc]
    """A Parquet file that is open, with the column chunks of each of its row groups."""

    chunks: Sequence[Sequence[ColumnChunk]]


def leaf_names(file: pq.ParquetFile) -> list[str]:
    """Return of which column of the schema each leaf of a file is a part.

    By the schema, since a chunk's own name may be damaged.
    """
    leaves = file.schema
    return [leaves.column(n).path.partition(".")[0] for n in range(len(leaves))]


def open_shard(path: str) -> OpenShard:
    """Open a Parquet file for reading, without reading ahead of what is asked for.

    Of a file behind a URL, columns are fetched in ranges of some megabytes. Raises
    InputError if the file is missing or is not a whole Parquet file.
    """
    fs, inner = filesystem(path)
    try:
        if is_local(fs):
            shard = _opened(inner)
            with open(inner, "rb") as local:
                return _with_chunks(shard, local)
        # Small files of HTTP are fetched whole, since not every server knows ranges.
        tail = {} if inner.startswith("http") else _TAIL
        source = fs.open(inner, **tail)
        shard = _with_chunks(_opened(source), source)
        return shard if not tail else _in_ranges(fs, inner, shard)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: the file is gone; restore it or run again"
        ) from error
    # ValueError: an Arrow error, or a column's name that is no UTF-8.
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a whole Parquet file ({_first_line(error)}); it is probably "
            "truncated: copy it again, delete it, or set input.on_bad_shard=skip"
        ) from error


def _with_chunks(shard: OpenShard, source: Any) -> OpenShard:
    shard.chunks = column_chunks(footer_bytes(source))
    if len(shard.chunks) != shard.num_row_groups:
        raise DamagedFooter("its footer is damaged")
    return shard


def _in_ranges(fs: Any, inner: str, shard: OpenShard) -> OpenShard:
    """Return a shard behind a URL opened for reading its column chunks."""
    source = fs.open(
        inner,
        block_size=_READ_AHEAD,
        cache_type=ColumnChunkCache.name,
        cache_options={"chunks": _spans(shard.chunks)},
    )
    opened = _opened(source, shard.metadata)
    opened.chunks = shard.chunks
    return opened


def _opened(source: Any, meta: pq.FileMetaData | None = None) -> OpenShard:
    return OpenShard(
        source,
        metadata=meta,
        memory_map=False,
        pre_buffer=False,
        buffer_size=_READ_BYTES,
        page_checksum_verification=True,
    )


def _spans(groups: Sequence[Sequence[ColumnChunk]]) -> list[tuple[int, int]]:
    """Return where each column chunk begins and ends, sorted."""
    chunks = (chunk for group in groups for chunk in group if chunk.pages)
    starts = ((min(chunk.pages), chunk.packed) for chunk in chunks)
    return sorted((start, start + packed) for start, packed in starts)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)


def _read_group(
    file: pq.ParquetFile,
    group: int,
    wanted: npt.NDArray[np.int64],
    columns: Sequence[str],
    most: int,
) -> Iterator[tuple[pa.Table, int]]:
    """Yield the wanted rows of a group, at `most` so many, and how many they are."""
    if not len(wanted):
        return
    if not columns:
        yield pa.table({}), len(wanted)
        return
    seen, taken = 0, 0
    batches = file.iter_batches(
        batch_size=most,
        row_groups=[group],
        columns=list(columns),
    )
    for batch in batches:
        end = int(np.searchsorted(wanted, seen + len(batch)))
        picked = wanted[taken:end] - seen
        seen, taken = seen + len(batch), end
        if len(picked):
            table = pa.Table.from_batches([batch])
            table = table.cast(without_views(table.schema))
            table = table if len(picked) == len(batch) else take_rows(table, picked)
            yield table, len(picked)
        if taken == len(wanted):
            return


def _batch_rows(
    file: OpenShard, group: int, columns: Sequence[str], batch_bytes: int
) -> int:
    """Return how many rows of a group to hold at once, by what one takes on average."""
    wanted, chunks = set(columns), file.chunks[group]
    named = zip(leaf_names(file), chunks, strict=False)
    size = sum(chunk.unpacked for name, chunk in named if name in wanted)
    average: int = max(1, size // max(1, group_rows(file.metadata)[group]))
    rows: int = max(_BATCH_ROWS, min(_SMALL_ROWS, _SMALL_BYTES // average))
    return max(1, min(rows, batch_bytes // average))


def require_same_columns(
    schema: pa.Schema, first: str, other: pa.Schema, path: str
) -> None:
    """Raise InputError if the columns of two shards differ, naming file and column."""
    missing = [n for n in schema.names if n not in other.names]
    extra = [n for n in other.names if n not in schema.names]
    retyped = [
        f"{n} ({other.field(n).type}, not {schema.field(n).type})"
        for n in schema.names
        if n in other.names and other.field(n).type != schema.field(n).type
    ]
    problems = []
    if missing:
        problems.append(f"lacks {', '.join(missing)}")
    if extra:
        problems.append(f"has the extra {', '.join(extra)}")
    if retyped:
        problems.append(f"has another type for {', '.join(retyped)}")
    if problems:
        raise InputError(
            f"{path}: {'; '.join(problems)}; all shards need the columns of {first}. "
            "Rewrite that shard, leave it out of input.path, or take shards that "
            "differ by input.schema=promote"
        )
