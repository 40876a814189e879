"""Hugging Face's `save_to_disk` folders: shards of Arrow's IPC, read through a map.

A folder is known by its `state.json`, which lists its shards; one of several splits by
its `dataset_dict.json`, and its rows get a column that names the split. Kept rows are
such a folder again.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import InputError
from winnow.formats.constants import WithConstants, with_constants
from winnow.formats.file_access import filesystem, is_local
from winnow.formats.hf_features import hf_features
from winnow.formats.one_schema import aligned, present, without_views
from winnow.formats.parquet_shards import require_same_columns
from winnow.formats.shard_protocol import (
    FoundPool,
    Listing,
    ShardFooter,
    ShardFormat,
    Unreadable,
)

_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
#: The column that names a row's split.
SPLIT = "split"
_BATCH_ROWS = 1000
_BATCH_BYTES = 64 * 2**20
#: How a stream of Arrow's IPC ends; without it, shards after a cut would be lost.
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_FILE_MARK, _STREAM_MARK = b"ARROW1", b"\xff\xff\xff\xff"


class HfDiskFormat(ShardFormat):
    """Shards of Arrow's IPC, streams as `datasets` writes them, or files."""

    name = "hf"
    title = "Arrow of Hugging Face's datasets"
    endings = (".arrow",)

    def claims(self, listing: Listing) -> FoundPool | None:
        """Return the shards of a `save_to_disk` folder, of all splits if it has some.

        Raises InputError for one whose files are not all there, or whose rows are
        chosen by a further file.
        """
        names = {"/".join(listing.below(file)): file for file in listing.files}
        if _SPLITS in names:
            splits = _read(listing, names[_SPLITS])["splits"]
            shards = {s: _shards(listing, names, f"{s}/") for s in splits}
            values = {
                listing.path(file): {SPLIT: split}
                for split, files in shards.items()
                for file in files
            }
            paths = [file for files in shards.values() for file in files]
            added = pa.schema([(SPLIT, pa.string())])
            return FoundPool(WithConstants(self, added, values), paths)
        if _STATE in names and _INFO in names:
            return FoundPool(self, _shards(listing, names, ""))
        return None

    def recognises(self, head: bytes) -> bool:
        """Whether a file begins as files or streams of Arrow's IPC do."""
        return head.startswith((_FILE_MARK, _STREAM_MARK))

    def footer(self, path: str) -> ShardFooter:
        """Return a shard's rows and columns; raises InputError if it is cut short."""
        try:
            with _opened(path) as (schema, batches):
                rows = sum(batch.num_rows for batch in batches)
        except FileNotFoundError as error:
            raise InputError(f"{path}: the file is gone; restore it") from error
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{path}: not a whole file of Arrow's IPC ({str(error)[:120]}); it is "
                "probably truncated: copy it again, delete it, or set "
                "input.on_bad_shard=skip"
            ) from error
        return ShardFooter(rows, without_views(schema), "")

    def merged(
        self, schema: pa.Schema, first: str, other: pa.Schema, path: str
    ) -> pa.Schema:
        """Return the schema of both; raises InputError if the columns differ."""
        require_same_columns(schema, first, other, path)
        return schema

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one shard."""
        position = first = 0
        try:
            with _opened(path) as (given, batches):
                inner = present(columns, given.names)
                for batch in batches:
                    end = int(np.searchsorted(rows, first + batch.num_rows))
                    for part in _taken(batch, rows[position:end] - first, inner):
                        yield position, aligned(part, columns, schema, len(part))
                        position += len(part)
                    first += batch.num_rows
                    if position == len(rows):
                        return
            raise OSError(f"{len(rows) - position} of its rows are missing")
        except (pa.ArrowException, OSError) as error:
            known = schema if schema is not None else self.footer(path).schema
            types = {name: known.field(name).type for name in columns}
            reason = f"unreadable_file: {str(error)[:120]}"
            yield position, Unreadable(len(rows) - position, reason, types)

    def sink(self, file: Path, schema: pa.Schema) -> ArrowSink:
        """Open a shard for writing."""
        return ArrowSink(file, schema)

    def seal(self, folder: Path, schema: pa.Schema) -> None:
        """Write what `datasets.load_from_disk` looks for beside the shards."""
        files = sorted(file.name for file in folder.glob("*.arrow"))
        state = hashlib.blake2b(digest_size=8)
        for name in files:
            with (folder / name).open("rb") as data:
                state.update(hashlib.file_digest(data, "blake2b").digest())
        info: dict[str, Any] = {"citation": "", "description": ""}
        features = hf_features(schema)
        if features.keys() == set(schema.names):
            info["features"] = features
        (folder / _INFO).write_text(json.dumps(info, indent=1))
        said: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in files],
            # `datasets` finds what it has cached of a data set by this.
            "_fingerprint": state.hexdigest(),
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        (folder / _STATE).write_text(json.dumps(said, indent=1))

    def restored(self, pinned: Mapping[str, Any]) -> ShardFormat:
        """Return the format as it was when it was `pinned`."""
        return with_constants(self, pinned)


class ArrowSink:
    """A stream of Arrow's IPC that is being written."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._file = pa.OSFile(str(file), "wb")
        self._schema = schema
        self._writer = pa.ipc.new_stream(self._file, schema)

    def write(self, table: pa.Table) -> None:
        """Append batches."""
        self._writer.write_table(table.cast(self._schema), max_chunksize=_BATCH_ROWS)

    def close(self) -> None:
        """Write the end of the stream."""
        self._writer.close()
        self._file.close()


def _read(listing: Listing, file: str) -> dict[str, Any]:
    try:
        with listing.fs.open(file, "rb") as data:
            said: dict[str, Any] = json.loads(data.read())
            return said
    except ValueError as error:
        raise InputError(
            f"{file}: is no JSON ({error}); save the data set again"
        ) from error


def _shards(listing: Listing, names: Mapping[str, str], below: str) -> list[str]:
    state_file = names.get(f"{below}{_STATE}")
    if state_file is None:
        raise InputError(
            f"{listing.folder}: it has no {below}{_STATE}, which {_SPLITS} names; copy "
            "the folder again, or name a split's folder"
        )
    state = _read(listing, state_file)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise InputError(
            f"{state_file}: its rows are chosen by a file of indices, as old versions "
            "of datasets wrote them; load and save it again"
        )
    files = [f"{below}{entry['filename']}" for entry in state["_data_files"]]
    gone = [name for name in files if name not in names]
    if gone:
        raise InputError(
            f"{posixpath.join(listing.folder, gone[0])}: {state_file} names it, and it "
            "is not there; copy the folder again"
        )
    return [names[name] for name in files]


@contextmanager
def _opened(path: str) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Open a shard; of a local one, batches are read where they are mapped."""
    fs, inner = filesystem(path)
    source: Any = pa.memory_map(inner) if is_local(fs) else fs.open(inner, "rb")
    with source:
        head = bytes(source.read(len(_FILE_MARK)))
        source.seek(0)
        if head == _FILE_MARK:
            file = pa.ipc.open_file(source)
            count = file.num_record_batches
            yield file.schema, (file.get_batch(number) for number in range(count))
            return
        size = source.seek(0, 2) or source.tell()
        source.seek(max(0, size - len(_END)))
        if bytes(source.read(len(_END))) != _END:
            raise OSError("its end is missing")
        source.seek(0)
        stream = pa.ipc.open_stream(source)
        yield stream.schema, iter(stream)


def _taken(
    batch: pa.RecordBatch, wanted: npt.NDArray[np.int64], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Yield the wanted rows of a batch in tables of a bounded size."""
    if not len(wanted):
        return
    table = pa.Table.from_batches([batch]).select(list(columns))
    table = table.cast(without_views(table.schema))
    average = max(1, table.nbytes // max(1, len(table)))
    size = max(1, min(_BATCH_ROWS, _BATCH_BYTES // average))
    for start in range(0, len(wanted), size):
        part = table.take(wanted[start : start + size])
        part.validate()
        yield part
