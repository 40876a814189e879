"""Which state the files are in that a pool's rows name instead of holding images.

A pool is known by its shards, and by these files as far as a look at each may tell: its
size and when it was last changed, or, where a recipe asks for it, its contents. Files
behind URLs are not looked at.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.hashing import keys
from winnow.core.inside import is_url, resolve_inside
from winnow.core.integrity import content_digest
from winnow.formats.parquet_shards import open_shard
from winnow.formats.reader import SampleReader, is_binary, single, utf8
from winnow.formats.shard_protocol import Unreadable

#: A number for each row: a digest of its file's path and state; 0 without one.
States = npt.NDArray[np.uint64]
_BLOCK = 65_536
# Looks wait for the disk, not for a core.
_THREADS = 16


def image_states(
    reader: SampleReader, source: str, rows: int, *, contents: bool = False
) -> States | None:
    """Return the state of each row's image file; None where no row names a file.

    contents: whether files are read, and known by what they hold whenever it was
    written; by their size and time otherwise.
    """
    path = reader.paths[source]
    if reader.image is None or is_url(path) or not _names_files(reader, path):
        return None
    states = np.zeros(rows, np.uint64)
    roots = reader.folders or (reader.root,)
    look = partial(_look, roots, posixpath.dirname(path), contents=contents)
    with ThreadPoolExecutor(_THREADS) as threads:
        for start, names in _names(reader, source, rows):
            states[start : start + len(names)] = _digests([*threads.map(look, names)])
    return states if states.any() else None


def first_changed(
    reader: SampleReader, source: str, states: States, *, contents: bool = False
) -> str | None:
    """Return the first file that is no longer as it was, if there is one."""
    now = image_states(reader, source, len(states), contents=contents)
    differs = np.flatnonzero(states != (0 if now is None else now))
    if not len(differs):
        return None
    row = int(differs[0])
    for start, names in _names(reader, source, len(states)):
        if start <= row < start + len(names):
            return names[row - start]
    return None


def _names_files(reader: SampleReader, path: str) -> bool:
    """Whether rows may name files: by the column's type, and by what a footer knows."""
    assert reader.image is not None
    if reader.schema is None or reader.image not in reader.schema.names:
        return False
    kind = reader.schema.field(reader.image).type
    if is_binary(kind):
        return False
    if not pa.types.is_struct(kind):
        return True
    if kind.get_field_index("path") < 0:
        return False
    return not reader.format.sql_reads_it or _some_bytes_missing(path, reader.image)


def _some_bytes_missing(path: str, column: str) -> bool:
    """Whether a footer leaves open that an image is not in the shard itself."""
    with open_shard(path) as file:
        leaves = [file.schema.column(number).path for number in range(len(file.schema))]
        return any(
            chunk.nulls != 0
            for group in file.chunks
            for leaf, chunk in zip(leaves, group, strict=False)
            if leaf == f"{column}.bytes"
        )


def _names(
    reader: SampleReader, source: str, rows: int
) -> Iterator[tuple[int, list[str | None]]]:
    """Yield (first row, the names of files); None where a row names none."""
    for first in range(0, rows, _BLOCK):
        wanted = np.arange(first, min(rows, first + _BLOCK))
        for start, table in reader.rows(source, wanted, [reader.image or ""]):
            if isinstance(table, Unreadable):
                yield first + start, [None] * table.rows
                continue
            column = single(table[reader.image or ""])
            if pa.types.is_struct(column.type):
                inline = pc.struct_field(column, "bytes").is_valid()
                paths = utf8(pc.struct_field(column, "path"))[0]
                column = pc.if_else(inline, pa.scalar(None, paths.type), paths)
            else:
                column = utf8(column)[0]
            yield first + start, column.to_pylist()


def _look(
    roots: tuple[str, ...], folder: str, name: str | None, *, contents: bool
) -> str:
    """Return a file's path, size and time or contents; '' without a file."""
    if name is None:
        return ""
    try:
        target = resolve_inside(roots, folder, name)
        state = os.stat(target)
        # What is no plain file may never end, and no step reads it.
        if contents and stat.S_ISREG(state.st_mode):
            return f"{name}: {state.st_size} {content_digest(Path(target))}"
    except (OSError, ValueError, RecursionError):
        return f"{name}: none"
    return f"{name}: {state.st_size} {state.st_mtime_ns}"


def _digests(looks: list[str]) -> States:
    names = (look.encode("utf-8", "surrogatepass").hex() for look in looks)
    there = np.array([bool(look) for look in looks])
    return np.where(there, keys(names), np.uint64(0))
