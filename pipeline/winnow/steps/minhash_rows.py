"""Rows by preference as keeper: what the driver knows of each, and uids in a file.

Rows come from files in stretches. What is asked of all of them at once stays in memory,
8 to 21 bytes a row, by how many names and rows of a source there are; uids are read
back from a scratch file, as many as are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.core.engine import Engine, Frame
from winnow.core.free_memory import give_back_memory
from winnow.core.parquet_columns import writer_settings
from winnow.formats.reader import single
from winnow.steps.list_file import TextFile, bytes_of

_SOURCE = pa.dictionary(pa.int32(), pa.string())
#: `state` is empty for rows that take part, `origin` what the guard counts by, `unit`
#: what the text's shingles were made of. Held in the least type that has room for the
#: numbers and names that are met.
ROWS = pa.schema(
    [
        ("source", _SOURCE),
        ("row", pa.int64()),
        ("origin", _SOURCE),
        ("state", _SOURCE),
        ("rejected", pa.bool_()),
        ("unit", _SOURCE),
    ]
)
#: Rows as they are stored.
STORED = pa.schema(
    [
        ("uid", pa.string()),
        *(
            f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f
            for f in ROWS
        ),
    ]
)
#: Rows that are handled at a time where all of them pass.
PIECE_ROWS = 1 << 17


class UidsByPreference:
    """Uids of rows by their positions."""

    def __init__(self, texts: TextFile) -> None:
        self._texts = texts

    def of(self, rows: npt.NDArray[Any]) -> pa.Array:
        """Return the uids of some rows, in the order in which they are asked."""
        return self._texts.texts(rows)


class _GatheredRows:
    """Gathers the columns of ROWS from batches, strings as numbers of names."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, int]] = {f.name: {} for f in ROWS}
        self._parts: dict[str, list[npt.NDArray[Any]]] = {f.name: [] for f in ROWS}

    def add(self, batch: pa.RecordBatch) -> None:
        for field in ROWS:
            column = batch.column(field.name)
            if pa.types.is_dictionary(field.type):
                values = self._codes(field, column)
            else:
                values = narrowed(column.to_numpy(zero_copy_only=False))
            self._parts[field.name].append(values)

    def _codes(self, field: pa.Field, column: pa.Array) -> npt.NDArray[Any]:
        names = self._names[field.name]
        filled = pc.coalesce(column, pa.scalar("", pa.string()))
        encoded = filled.dictionary_encode()
        listed = encoded.dictionary.to_pylist()
        codes = np.array([names.setdefault(n, len(names)) for n in listed], np.int64)
        taken: npt.NDArray[Any] = narrowed(codes)[encoded.indices.to_numpy()]
        return taken

    def table(self, order: npt.NDArray[np.int64] | None) -> pa.Table:
        """Return the rows in an order; the parts go one column after the other."""
        arrays = []
        for field in ROWS:
            parts = self._parts.pop(field.name)
            least = np.bool_ if pa.types.is_boolean(field.type) else np.int8
            values = np.concatenate([np.zeros(0, least), *parts])
            del parts
            array = pa.array(values if order is None else values[order])
            if pa.types.is_dictionary(field.type):
                names = pa.array(list(self._names[field.name]), pa.string())
                array = pa.DictionaryArray.from_arrays(array, names)
            arrays.append(array)
        return pa.table(arrays, names=ROWS.names)


def narrowed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return signed integers in the least type that has room for all; others as is.

    >>> narrowed(np.array([3, 300])).dtype
    dtype('int16')
    """
    if values.dtype.kind != "i":
        return values
    lowest, highest = int(values.min(initial=0)), int(values.max(initial=0))
    for kind in (np.int8, np.int16, np.int32):
        limits = np.iinfo(kind)
        if limits.min <= lowest and highest <= limits.max:
            return values.astype(kind, copy=False)
    return values


def ordered_rows(
    engine: Engine, frame: Frame, folder: Path, preferred: str | None
) -> tuple[pa.Table, UidsByPreference, npt.NDArray[Any]]:
    """Return ROWS by preference, their uids, and their numbers.

    frame: the columns of STORED, `number`, and `preference` if that goes before the
    uid. folder: for scratch files. preferred: how it is sorted, `ascending` or
    `descending`; None without it.
    """
    beside = folder / "unordered"
    engine.write(frame, os.fspath(beside), [])
    # What joining them took, a hundred MiB of a large pool.
    give_back_memory()
    uids, columns = TextFile(folder / "uids-unordered.bin"), _GatheredRows()
    numbers, prefixes, preferences = [np.zeros(0, np.int8)], [], []
    for batch in stored_batches(beside):
        uids.extend(batch.column("uid"))
        columns.add(batch)
        numbers.append(narrowed(batch.column("number").to_numpy()))
        prefixes.append(_prefixes(batch.column("uid")))
        if preferred:
            preferences.append(batch.column("preference"))
    ranks = _ranks(preferences, preferred) if preferred and preferences else None
    order = _order(prefixes, ranks, uids)
    ordered = TextFile(folder / "uids.bin")
    for first in range(0, len(order), PIECE_ROWS):
        ordered.extend(uids.texts(order[first : first + PIECE_ROWS]))
    return (
        columns.table(order),
        UidsByPreference(ordered),
        np.concatenate(numbers)[order],
    )


def _ranks(parts: Sequence[pa.Array], direction: str) -> npt.NDArray[np.uint64]:
    """Return the rank of each value, equal ones the same; rows without one are last."""
    values = pa.chunked_array(parts)
    ranks: npt.NDArray[np.uint64]
    # Those without a value come last by default.
    ranks = pc.rank(values, sort_keys=direction, tiebreaker="dense").to_numpy()
    return ranks


def _prefixes(uids: pa.Array) -> npt.NDArray[np.uint64]:
    """Return the first eight bytes of each uid, as numbers of the same order."""
    bounds, data = bytes_of(uids)
    prefixes = np.zeros(len(uids), np.uint64)
    for i in range(8):
        there = bounds[:-1] + i < bounds[1:]
        prefixes <<= np.uint64(8)
        prefixes[there] |= data[bounds[:-1][there] + i]
    return prefixes


def _order(
    prefixes: list[npt.NDArray[np.uint64]],
    ranks: npt.NDArray[np.uint64] | None,
    uids: TextFile,
) -> npt.NDArray[Any]:
    """Return the rows by rank and uid; whole uids are read where prefixes are equal.

    The prefixes are taken out of their list, which is all that holds them.
    """
    prefix = np.concatenate([np.zeros(0, np.uint64), *prefixes])
    prefixes.clear()
    order = np.lexsort((prefix,) if ranks is None else (prefix, ranks))
    order = narrowed(order)
    equal = _as_before(prefix, order)
    if ranks is not None:
        equal &= _as_before(ranks, order)
    # Rows of one rank and prefix have one number; most have one of their own.
    tied = equal.copy()
    tied[:-1] |= equal[1:]
    where = np.flatnonzero(tied)
    group = np.cumsum(~equal[where])
    names = uids.texts(order[where])
    keys = [("group", "ascending"), ("uid", "ascending")]
    inner = pc.sort_indices(pa.table({"group": group, "uid": names}), sort_keys=keys)
    order[where] = order[where[inner.to_numpy()]]
    return order


def _as_before(
    values: npt.NDArray[np.uint64], order: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Return which values, in an order, are equal to the one before."""
    equal = np.zeros(len(order), np.bool_)
    for first in range(1, len(order), PIECE_ROWS):
        some = values[order[first - 1 : first + PIECE_ROWS]]
        equal[first : first + PIECE_ROWS] = some[1:] == some[:-1]
    return equal


def stored_batches(folder: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a folder of Parquet parts, as they are stored."""
    for file in sorted(folder.rglob("*.parquet")):
        with pq.ParquetFile(file) as opened:
            yield from opened.iter_batches(batch_size=PIECE_ROWS)


def rows_again(folder: Path, scratch: Path) -> tuple[pa.Table, UidsByPreference]:
    """Return rows and uids that `store_rows` wrote."""
    uids, columns = TextFile(scratch / "uids.bin"), _GatheredRows()
    for batch in stored_batches(folder):
        uids.extend(batch.column("uid"))
        columns.add(batch)
    return columns.table(None), UidsByPreference(uids)


def store_rows(rows: pa.Table, uids: UidsByPreference, folder: Path) -> None:
    """Write STORED rows for `rows_again`."""

    def pieces() -> Iterator[pa.Table]:
        for first in range(0, len(rows), PIECE_ROWS):
            piece = rows.slice(first, PIECE_ROWS)
            names = uids.of(np.arange(first, first + len(piece)))
            columns = [names, *(single(c) for c in piece.columns)]
            plain = [c.cast(f.type) for c, f in zip(columns, STORED, strict=True)]
            yield pa.table(plain, schema=STORED)

    write_pieces(pieces(), folder, STORED)


def write_pieces(pieces: Iterator[pa.Table], folder: Path, schema: pa.Schema) -> None:
    """Write tables to a folder with one Parquet part, one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "part-00000.parquet"
    with pq.ParquetWriter(file, schema, **writer_settings(schema)) as writer:
        for piece in pieces:
            writer.write_table(piece)
