"""What the footer of a Parquet file says of its column chunks, read before pyarrow is.

Asked for a column chunk or its statistics, pyarrow throws where they are damaged, in a
way that no caller can catch: the whole process ends. So footers are read here (Thrift's
compact protocol, parquet-format's `parquet.thrift`), strictly, and pyarrow is asked for
chunks of footers alone that are sound. This module is the only one that does so.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow.parquet as pq

_END = b"PAR1"
#: Thrift's types: two kinds of bool, a byte, three of integers, …
_BOOL, _BYTE, _INTEGERS, _DOUBLE, _BINARY = (1, 2), 3, (4, 5, 6), 7, 8
_LISTS, _MAP, _STRUCT = (9, 10), 11, 12
_INTEGER, _LIST_OF_INTEGERS = 6, 9
#: Fields that are read, by number: what they are, and of structures which fields.
_Fields = Mapping[int, tuple[int, Any]]
_STATISTICS: _Fields = dict.fromkeys((1, 2, 5, 6), (_BINARY, None)) | {3: (_INTEGER, 0)}
_SIZES: _Fields = {
    1: (_INTEGER, 0),
    2: (_LIST_OF_INTEGERS, 0),
    3: (_LIST_OF_INTEGERS, 0),
}
_METADATA: _Fields = dict.fromkeys((1, 4, 5, 6, 7, 9, 11), (_INTEGER, 0)) | {
    12: (_STRUCT, _STATISTICS),
    16: (_STRUCT, _SIZES),
}
_CHUNK: _Fields = {3: (_STRUCT, _METADATA), 8: (_STRUCT, {})}
_GROUP: _Fields = {1: (_LISTS[0], _CHUNK)}
_FILE: _Fields = {4: (_LISTS[0], _GROUP)}
#: Parquet's types by number, with the bytes of a bound; None where the schema says it.
TYPES: tuple[tuple[str, int | None], ...] = (
    ("BOOLEAN", 1),
    ("INT32", 4),
    ("INT64", 8),
    ("INT96", 12),
    ("FLOAT", 4),
    ("DOUBLE", 8),
    ("BYTE_ARRAY", 0),
    ("FIXED_LEN_BYTE_ARRAY", None),
)
_CODECS = 8


class DamagedFooter(ValueError):
    """A footer is not what the format says."""


class ColumnChunk(NamedTuple):
    """What a footer says of one column in one row group; sizes and places in bytes."""

    fields: Mapping[int, Any]
    is_encrypted: bool

    @property
    def unpacked(self) -> int:
        """Its size before compression."""
        return int(self.fields.get(6, 0))

    @property
    def packed(self) -> int:
        """Its size in the file."""
        return int(self.fields.get(7, 0))

    @property
    def pages(self) -> list[int]:
        """Where its first page of data begins, and its dictionary if it has one."""
        return [int(self.fields[n]) for n in (9, 11) if self.fields.get(n)]

    @property
    def dictionary(self) -> int:
        """The stored bytes of its dictionary; 0 if it begins with none."""
        data, start = int(self.fields.get(9, 0)), int(self.fields.get(11, 0))
        return data - start if 0 < start < data else 0

    @property
    def nulls(self) -> int | None:
        """How many values are null, if that is known."""
        count = self.fields.get(12, {}).get(3)
        return None if count is None else int(count)


def footer_bytes(source: Any) -> bytes:
    """Return the footer of an open Parquet file, in Thrift.

    source: a seekable binary file. Raises DamagedFooter if it ends otherwise.
    """
    source.seek(0, os.SEEK_END)
    size = source.tell()
    source.seek(max(0, size - 8))
    end = source.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _END or length > size - 8:
        raise DamagedFooter("it does not end as Parquet files do")
    source.seek(size - 8 - length)
    return bytes(source.read(length))


@lru_cache(maxsize=32)
def column_chunks(footer: bytes) -> tuple[tuple[ColumnChunk, ...], ...]:
    """Return the chunks of every row group, in the file's order of columns.

    footer: as `footer_bytes` returns it. Raises DamagedFooter.
    """
    try:
        groups = _structure(footer, 0, _FILE)[0].get(4, [])
        return tuple(
            tuple(ColumnChunk(chunk.get(3, {}), 8 in chunk) for chunk in group[1])
            for group in groups
        )
    except (IndexError, KeyError, RecursionError, struct.error) as error:
        raise DamagedFooter("its footer is damaged") from error


def group_rows(metadata: pq.FileMetaData) -> list[int]:
    """Return the rows of each row group of a file."""
    groups = range(metadata.num_row_groups)
    return [metadata.row_group(number).num_rows for number in groups]


def group_bytes(metadata: pq.FileMetaData) -> list[int]:
    """Return the bytes of each row group, unpacked."""
    groups = range(metadata.num_row_groups)
    return [metadata.row_group(number).total_byte_size for number in groups]


def sound_chunks(
    footer: bytes, metadata: pq.FileMetaData
) -> list[list[pq.ColumnChunkMetaData]]:
    """Return what pyarrow says of each chunk of each row group, statistics and all.

    footer: that of the same file. Raises DamagedFooter where pyarrow would end the
    process, and where columns are encrypted.
    """
    groups = column_chunks(footer)
    if len(groups) != metadata.num_row_groups:
        raise DamagedFooter("its footer is damaged")
    width = metadata.num_columns
    columns = [metadata.schema.column(number) for number in range(width)]
    known = [_expected(column) for column in columns]
    for group in groups:
        if len(group) != width:
            raise DamagedFooter("a row group of it lacks columns")
        for chunk, expected in zip(group, known, strict=True):
            _require_sound(chunk, expected)
    return chunks_of_sound(metadata)


def chunks_of_sound(metadata: pq.FileMetaData) -> list[list[pq.ColumnChunkMetaData]]:
    """Return what pyarrow says of each chunk of a footer that is known to be sound."""
    columns = range(metadata.num_columns)
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return [[group.column(number) for number in columns] for group in groups]


class _Expected(NamedTuple):
    """What the schema leaves to a chunk of a column."""

    kind: str
    bound_bytes: int
    repetition_counts: int
    definition_counts: int


def _expected(column: Any) -> _Expected:
    sizes = dict(TYPES)
    size = sizes.get(column.physical_type)
    return _Expected(
        column.physical_type,
        column.length if size is None else size,
        column.max_repetition_level + 1,
        column.max_definition_level + 1,
    )


def _require_sound(chunk: ColumnChunk, expected: _Expected) -> None:
    if chunk.is_encrypted:
        raise DamagedFooter("its columns are encrypted; Winnow has no keys")
    fields = chunk.fields
    kind = fields.get(1, -1)
    if not 0 <= kind < len(TYPES) or TYPES[kind][0] != expected.kind:
        raise DamagedFooter("its footer is damaged: a column has two types")
    if not 0 <= fields.get(4, -1) < _CODECS:
        raise DamagedFooter("its footer is damaged: an unknown compression")
    bounds = fields.get(12, {})
    if any(n != 3 and len(b) < expected.bound_bytes for n, b in bounds.items()):
        raise DamagedFooter("its footer is damaged: a bound is cut")
    sizes = fields.get(16)
    if sizes and (
        sizes.get(2, 0) not in (0, expected.repetition_counts)
        or sizes.get(3, 0) not in (0, expected.definition_counts)
        or (1 in sizes and expected.kind != "BYTE_ARRAY")
    ):
        raise DamagedFooter("its footer is damaged: its size statistics do not fit")


def _structure(data: bytes, start: int, known: _Fields) -> tuple[dict[int, Any], int]:
    """Return the known fields of a structure, and where it ends.

    Of lists of integers their length. Raises DamagedFooter where a field has another
    type than it should, or is there twice.
    """
    values: dict[int, Any] = {}
    position, field = start, 0
    while True:
        head = data[position]
        position += 1
        if not head:
            return values, position
        kind = head & 15
        if head >> 4:
            field += head >> 4
        else:
            number, position = _varint(data, position)
            field = (number >> 1) ^ -(number & 1)
        if field not in known:
            position = _skipped(data, position, kind)
            continue
        if field in values:
            raise DamagedFooter("its footer is damaged: a field is there twice")
        values[field], position = _value(data, position, kind, known[field])


def _value(
    data: bytes, position: int, kind: int, wanted: tuple[int, Any]
) -> tuple[Any, int]:
    sort, inner = wanted
    if sort == _INTEGER and kind in _INTEGERS:
        number, position = _varint(data, position)
        return (number >> 1) ^ -(number & 1), position
    if sort == kind == _STRUCT:
        return _structure(data, position, inner)
    if sort == kind == _BINARY:
        length, position = _varint(data, position)
        if position + length > len(data):
            raise IndexError
        return data[position : position + length], position + length
    if sort == kind == _LISTS[0]:
        count, element, position = _list_head(data, position)
        if inner:
            if element != _STRUCT:
                raise DamagedFooter("its footer is damaged")
            items = []
            for _ in range(count):
                item, position = _structure(data, position, inner)
                items.append(item)
            return items, position
        if element in _INTEGERS:
            return count, _skipped_items(data, position, element, count)
    raise DamagedFooter("its footer is damaged: a field has another type")


def _list_head(data: bytes, position: int) -> tuple[int, int, int]:
    """Return how many elements a list has, of which type, and where they begin."""
    head = data[position]
    count, position = head >> 4, position + 1
    if count == 15:
        count, position = _varint(data, position)
    return count, head & 15, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    byte = data[position]
    position += 1
    if byte < 128:
        return byte, position
    value, shift = byte & 127, 7
    while byte > 127:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise DamagedFooter("its footer is damaged: a number is too long")
    return value, position


def _skipped(data: bytes, position: int, kind: int) -> int:
    """Return where a value ends that stands in a field."""
    if kind in _INTEGERS:
        while data[position] > 127:
            position += 1
        position += 1
    elif kind == _BINARY:
        length, position = _varint(data, position)
        position += length
    elif kind == _STRUCT:
        position = _structure(data, position, {})[1]
    elif kind in _LISTS:
        count, element, position = _list_head(data, position)
        position = _skipped_items(data, position, element, count)
    elif kind == _MAP:
        position = _skipped_map(data, position)
    elif kind in (_BYTE, _DOUBLE):
        position += 1 if kind == _BYTE else 8
    elif kind not in _BOOL:
        raise DamagedFooter("its footer is damaged: an unknown type")
    return position


def _skipped_map(data: bytes, position: int) -> int:
    count, position = _varint(data, position)
    if not count:
        return position
    kinds, position = data[position], position + 1
    for _ in range(count):
        position = _skipped_items(data, position, kinds >> 4, 1)
        position = _skipped_items(data, position, kinds & 15, 1)
    return position


def _skipped_items(data: bytes, position: int, kind: int, count: int) -> int:
    """Return where the elements of a list end; a bool takes a byte there."""
    if kind in (*_BOOL, _BYTE, _DOUBLE):
        return position + count * (8 if kind == _DOUBLE else 1)
    for _ in range(count):
        position = _skipped(data, position, kind)
    return position
