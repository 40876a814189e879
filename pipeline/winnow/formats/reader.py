"""Read samples by reference: (source, row) in, uid, image bytes and caption out.

A frame of samples carries references only; whoever needs images or captions reads them
here, on whichever machine the kernel runs. That keeps images out of joins and shuffles.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import InputError
from winnow.core.progress import rows_done
from winnow.formats.captions import is_list_of_text, one_caption
from winnow.formats.image_files import read_image
from winnow.formats.pool_formats import format_of
from winnow.formats.shard_protocol import ShardFormat, Unreadable

#: `reason` is set where the row could not be read at all.
READ = {
    "uid": pa.string(),
    "image": pa.binary(),
    "text": pa.string(),
    "reason": pa.string(),
}
#: Unless a recipe says otherwise (`engine.batch_mb`).
BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class SampleReader:
    """Where the shards are and what their columns mean; pickles to any worker."""

    root: str
    paths: Mapping[str, str]
    image: str | None = None
    text: str | None = None
    #: The pool's columns, where its shards do not say their own.
    schema: pa.Schema | None = None
    #: Folders that images named by path may lie in, as `pool_folders` gives them; none:
    #: `root` alone.
    folders: tuple[str, ...] = ()
    #: What reads the shards; None: what the name of the first one says.
    kind: ShardFormat | None = None
    #: Which of a list of captions is read; see `one_caption`.
    captions: str = "first"
    #: Of the images in a batch, in bytes; a larger image is a batch by itself.
    batch_bytes: int = BATCH_BYTES
    #: Whether rows are done, for who watches, once more of them are asked for.
    counted: bool = True

    @property
    def format(self) -> ShardFormat:
        """What reads the shards."""
        return self.kind or format_of(next(iter(self.paths.values()), ""))

    def read(
        self,
        references: Iterator[pa.RecordBatch],
        modalities: Sequence[str],
        extra: Sequence[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Yield uid, the asked-for modalities, reason, and `extra` input columns.

        `references` are batches of (uid, source, row) sorted by source and row. Every
        reference comes out exactly once, in order. A row group that cannot be read
        gives its rows a reason instead of values.
        """
        for source, table in by_source(references):
            yield from self._read_source(source, table, modalities, extra)

    def rows(
        self, source: str, rows: npt.NDArray[np.int64], columns: Sequence[str]
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for sorted row numbers of one shard."""
        # One column may be asked for twice: uids that are captions, too.
        wanted = list(dict.fromkeys(columns))
        shards = self.format.bounded(self.batch_bytes)
        parts = shards.read_rows(self.paths[source], rows, wanted, self.schema)
        for start, table in parts:
            yield start, table
            if self.counted:
                rows_done(table.rows if isinstance(table, Unreadable) else len(table))

    def _read_source(
        self,
        source: str,
        references: pa.Table,
        modalities: Sequence[str],
        extra: Sequence[str],
    ) -> Iterator[pa.RecordBatch]:
        uids = single(references["uid"]).cast(pa.string())
        rows = references["row"].to_numpy()
        names = {"image": self.image, "text": self.text}
        columns = [c for m in modalities if (c := names[m]) is not None]
        wanted = list(dict.fromkeys([*columns, *extra]))
        if not wanted:
            # Arrow's tables without a column have no rows either.
            nothing = pa.nulls(len(uids), pa.string())
            yield pa.RecordBatch.from_pydict({"uid": uids, "reason": nothing})
            rows_done(len(uids))
            return
        for start, table in self.rows(source, rows, wanted):
            if isinstance(table, Unreadable):
                part = uids.slice(start, table.rows)
                yield self._unreadable(part, table, modalities, extra)
            else:
                part = uids.slice(start, len(table))
                yield from self._batches(source, part, table, modalities, extra)

    def _batches(
        self,
        source: str,
        uids: pa.Array,
        table: pa.Table,
        modalities: Sequence[str],
        extra: Sequence[str],
    ) -> Iterator[pa.RecordBatch]:
        """Yield a table's rows, in batches of as many images as their bytes allow."""
        if "image" not in modalities:
            none = pa.nulls(len(uids), pa.string())
            yield self._batch(uids, table, modalities, extra, (None, none))
            return
        start = 0
        for images, reasons in self._images(source, single(table[self.image])):
            part = uids.slice(start, len(images)), table.slice(start, len(images))
            yield self._batch(*part, modalities, extra, (images, reasons))
            start += len(images)

    def _batch(
        self,
        uids: pa.Array,
        table: pa.Table,
        modalities: Sequence[str],
        extra: Sequence[str],
        images: tuple[pa.Array | None, pa.Array],
    ) -> pa.RecordBatch:
        arrays: dict[str, pa.Array] = {"uid": uids}
        content, reason = images
        if content is not None:
            arrays["image"] = content
        if "text" in modalities:
            texts = single(table[self.text])
            if is_list_of_text(texts.type):
                texts = one_caption(texts, self.captions)
            arrays["text"], bad = utf8(texts)
            reason = pc.coalesce(reason, pc.if_else(bad, "text_not_utf8", None))
        arrays["reason"] = reason
        for name in extra:
            arrays[f"extra.{name}"] = single(table[name])
        return pa.RecordBatch.from_pydict(arrays)

    def _unreadable(
        self,
        uids: pa.Array,
        failure: Unreadable,
        modalities: Sequence[str],
        extra: Sequence[str],
    ) -> pa.RecordBatch:
        arrays = {"uid": uids}
        for name in modalities:
            arrays[name] = pa.nulls(len(uids), READ[name])
        arrays["reason"] = pa.array([failure.reason] * len(uids), pa.string())
        for name in extra:
            arrays[f"extra.{name}"] = pa.nulls(len(uids), failure.types[name])
        return pa.RecordBatch.from_pydict(arrays)

    def _images(
        self, source: str, column: pa.Array
    ) -> Iterator[tuple[pa.Array, pa.Array]]:
        """Yield image bytes and, for files that cannot be read, the reason."""
        if is_binary(column.type):
            yield from self._inline(column)
        elif pa.types.is_struct(column.type):
            inline = pc.struct_field(column, "bytes")
            if not inline.null_count or column.type.get_field_index("path") < 0:
                yield from self._inline(inline)
            else:
                yield from self._files(source, pc.struct_field(column, "path"), inline)
        else:
            yield from self._files(source, column, pa.nulls(len(column), pa.binary()))

    def _inline(self, column: pa.Array) -> Iterator[tuple[pa.Array, pa.Array]]:
        # Large, since the bytes of a table may be more than 2 GiB.
        column = column.cast(pa.large_binary())
        lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy()
        ends = np.cumsum(lengths)
        start = 0
        while start < len(column):
            before = ends[start] - lengths[start]
            end = int(np.searchsorted(ends, before + self.batch_bytes, "right"))
            images = column.slice(start, max(1, end - start)).cast(pa.binary())
            yield images, pa.nulls(len(images), pa.string())
            start += len(images)

    def _files(
        self, source: str, paths: pa.Array, inline: pa.Array
    ) -> Iterator[tuple[pa.Array, pa.Array]]:
        folder = posixpath.dirname(self.paths[source])
        images: list[bytes | None] = []
        reasons: list[str | None] = []
        roots = self.folders or (self.root,)
        named, bad = utf8(paths)
        held = 0
        for row, path in enumerate(named.to_pylist()):
            image, reason = inline[row].as_py(), None
            if image is None and bad[row].as_py():
                reason = "image_path_not_utf8"
            elif image is None and path is not None:
                image, reason = read_image(roots, folder, path)
            held += len(image or b"")
            if images and held > self.batch_bytes:
                yield pa.array(images, pa.binary()), pa.array(reasons, pa.string())
                images, reasons, held = [], [], len(image or b"")
            images.append(image)
            reasons.append(reason)
        yield pa.array(images, pa.binary()), pa.array(reasons, pa.string())


def by_source(
    references: Iterator[pa.RecordBatch],
) -> Iterator[tuple[str, pa.Table]]:
    """Gather each source's references, which may span several batches.

    Raises InputError if they do not come sorted by source and row.
    """
    rows_done(0)
    source: str | None = None
    held: list[pa.RecordBatch] = []
    for batch in references:
        for name, run in _runs(batch):
            if source is not None and name != source:
                yield source, _gather(held)
                held = []
            source = name
            held.append(run)
    if source is not None:
        yield source, _gather(held)


def _runs(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    if not len(batch):
        return
    encoded = batch.column("source").dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    borders = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    for start, end in pairwise(borders):
        name = encoded.dictionary[int(codes[start])].as_py()
        yield name, batch.slice(start, end - start)


def _gather(held: list[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(held)
    if (np.diff(table["row"].to_numpy()) < 1).any():
        raise InputError("references are not sorted by source and row")
    return table


def single(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return combined.chunk(0) if combined.num_chunks else pa.array([], column.type)
    return combined


def is_binary(kind: pa.DataType) -> bool:
    """Whether a column of this type holds bytes."""
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def utf8(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return a string column without its invalid values, and which are invalid.

    Parquet files hold whatever bytes their writer took for text, and Arrow reads them
    unchecked; decoding one later would end the run.
    """
    strings = column.cast(pa.string())
    try:
        strings.validate(full=True)
        return strings, pa.array(np.zeros(len(strings), bool))
    except pa.ArrowInvalid:
        raw = strings.cast(pa.binary()).to_pylist()
    bad = [value is not None and not _decodes(value) for value in raw]
    invalid = pa.array(bad)
    return pc.if_else(invalid, pa.scalar(None, pa.string()), strings), invalid


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def first_vector_length(reader: SampleReader, column: str) -> int | None:
    """Return the length of the first non-null list in a column of a pool."""
    for source, path in reader.paths.items():
        rows = np.arange(reader.format.footer(path).rows)
        for _, part in reader.rows(source, rows, [column]):
            if not isinstance(part, Unreadable):
                lengths = pc.list_value_length(part[column]).drop_null()
                if len(lengths) and lengths[0].as_py():
                    return int(lengths[0].as_py())
    return None
