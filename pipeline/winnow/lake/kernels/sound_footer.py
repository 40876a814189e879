"""Whether a Parquet footer certainly is sound, in a compiled loop.

A lake has very many column chunks. `core.parquet_footer` says what is wrong with a
footer; this only spares it those of which nothing is, by the same rules (Thrift's
compact protocol, parquet-format's `parquet.thrift`). What is seldom seen, such as maps,
is left to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.numeric.compiled import compiled

Ints = npt.NDArray[np.int64]

_BINARY, _LIST, _SET, _STRUCT = 8, 9, 10, 12
_BYTE_ARRAY, _TYPES, _CODECS = 6, 8, 8
#: Structures and lists inside each other.
_DEEPEST = 32
_DAMAGED = -1


def certainly_sound(footer: bytes, expected: Ints, groups: int) -> bool:
    """Return whether each chunk of a footer is what the schema says.

    expected: (columns, 4) of each leaf column: the number of its physical type in
    `parquet.thrift`, the least bytes of a bound, and how many repetition and definition
    levels it has. groups: how many row groups there are. False says nothing.
    """
    return bool(_is_sound(np.frombuffer(footer, np.uint8), expected, groups))


@compiled
def _is_sound(data: Any, expected: Any, groups: Any) -> Any:
    """Go through a file's metadata: row groups are its field 4."""
    position, field, seen = 0, 0, False
    while True:
        field, kind, position = _head(data, position, field)
        if position < 0:
            return False
        if not kind:
            return seen or groups == 0
        if field != 4:
            position = _skipped(data, position, kind)
            continue
        count, element, position = _list_head(data, position, kind)
        if seen or count != groups or element != _STRUCT:
            return False
        seen = True
        for _ in range(count):
            position = _group(data, position, expected)


@compiled
def _group(data: Any, position: Any, expected: Any) -> Any:
    """Return where a sound row group ends: its chunks are field 1."""
    field, seen = 0, False
    while True:
        field, kind, position = _head(data, position, field)
        if position < 0 or not kind:
            return position if seen else _DAMAGED
        if field != 1:
            position = _skipped(data, position, kind)
            continue
        count, element, position = _list_head(data, position, kind)
        if seen or count != len(expected) or element != _STRUCT:
            return _DAMAGED
        seen = True
        for column in range(count):
            position = _chunk(data, position, expected[column])


@compiled
def _chunk(data: Any, position: Any, expected: Any) -> Any:
    """Return where a sound chunk ends: metadata are field 3, a key is field 8."""
    field, seen = 0, False
    while True:
        field, kind, position = _head(data, position, field)
        if position < 0 or not kind:
            return position if seen else _DAMAGED
        if field == 3:
            if seen or kind != _STRUCT:
                return _DAMAGED
            seen, position = True, _metadata(data, position, expected)
        elif field == 8:
            return _DAMAGED
        else:
            position = _skipped(data, position, kind)


@compiled
def _metadata(data: Any, position: Any, expected: Any) -> Any:
    """Return where a chunk's sound metadata end: type 1, codec 4, statistics 12, 16."""
    field, seen, sort, codec = 0, 0, -1, -1
    while True:
        field, kind, position = _head(data, position, field)
        if position < 0:
            return _DAMAGED
        if not kind:
            known = 0 <= codec < _CODECS and 0 <= sort < _TYPES
            return position if known and sort == expected[0] else _DAMAGED
        if not (0 < field < 17 and (1 << field) & 0b1_0001_1010_1111_0010):
            position = _skipped(data, position, kind)
            continue
        if seen & (1 << field):
            return _DAMAGED
        seen |= 1 << field
        if field in (12, 16):
            if kind != _STRUCT:
                return _DAMAGED
            position = _statistics(data, position, expected, field == 16)
            continue
        if not 4 <= kind <= 6:
            return _DAMAGED
        number, position = _varint(data, position)
        if field == 1:
            sort = (number >> 1) ^ -(number & 1)
        elif field == 4:
            codec = (number >> 1) ^ -(number & 1)


@compiled
def _statistics(data: Any, position: Any, expected: Any, of_sizes: Any) -> Any:
    """Return where sound statistics end, or sound statistics of sizes."""
    field, seen = 0, 0
    while True:
        field, kind, position = _head(data, position, field)
        if position < 0 or not kind:
            return position
        if (
            not 0 < field < 7
            or (of_sizes and field > 3)
            or (not of_sizes and field == 4)
        ):
            position = _skipped(data, position, kind)
            continue
        if seen & (1 << field):
            return _DAMAGED
        seen |= 1 << field
        if of_sizes and field > 1:
            count, element, _ = _list_head(data, position, kind)
            if not 4 <= element <= 6 or (count and count != expected[field]):
                return _DAMAGED
            position = _skipped(data, position, kind)
        elif field == 3 or of_sizes:
            if not 4 <= kind <= 6 or (of_sizes and expected[0] != _BYTE_ARRAY):
                return _DAMAGED
            position = _varint(data, position)[1]
        else:
            if kind != _BINARY:
                return _DAMAGED
            length, position = _varint(data, position)
            if position < 0 or not expected[1] <= length <= len(data) - position:
                return _DAMAGED
            position += length


@compiled
def _head(data: Any, position: Any, field: Any) -> Any:
    """Return number and type of the field that begins here, and where its value does.

    The type is 0 where a structure ends, and -1 where a field has none; the place is
    negative where the data end.
    """
    if position < 0 or position >= len(data):
        return 0, 0, _DAMAGED
    head = np.int64(data[position])
    position += 1
    if not head:
        return 0, 0, position
    kind = head & 15 if head & 15 else np.int64(-1)
    if head >> 4:
        return field + (head >> 4), kind, position
    number, position = _varint(data, position)
    return (number >> 1) ^ -(number & 1), kind, position


@compiled
def _list_head(data: Any, position: Any, kind: Any) -> Any:
    """Return how many elements a list has, their type, and where they begin."""
    if kind != _LIST or position >= len(data):
        return 0, 0, _DAMAGED
    head = np.int64(data[position])
    count, position = head >> 4, position + 1
    if count == 15:
        count, position = _varint(data, position)
    return count, head & 15, position


@compiled
def _varint(data: Any, position: Any) -> Any:
    """Return a number, and where it ends; a negative place if it is cut or long."""
    value, shift = np.int64(0), 0
    while 0 <= position < len(data) and shift < 63:
        byte = np.int64(data[position])
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    return np.int64(0), _DAMAGED


@compiled
def _skipped(data: Any, position: Any, kind: Any) -> Any:
    """Return where a value ends; a negative place where that is not certain."""
    if 0 < kind < 3:
        return position  # a bool, whose value is its type
    # Of each structure or list that is open: elements left, and their type.
    left, element = np.empty(_DEEPEST, np.int64), np.empty(_DEEPEST, np.int64)
    depth, left[0], element[0] = 1, 1, kind
    while depth and position >= 0:
        top = depth - 1
        if left[top] == 0:
            depth -= 1
            continue
        sort = element[top]
        if left[top] < 0:  # a structure
            _, sort, position = _head(data, position, 0)
            if not sort:
                depth -= 1
                continue
            if 0 < sort < 3:
                continue
        else:
            left[top] -= 1
        if sort not in (_STRUCT, _LIST, _SET):
            position = _after(data, position, sort)
            continue
        if depth == _DEEPEST:
            return _DAMAGED
        left[depth], element[depth] = -1, 0
        if sort != _STRUCT:
            left[depth], element[depth], position = _list_head(data, position, _LIST)
        depth += 1
    return position


@compiled
def _after(data: Any, position: Any, kind: Any) -> Any:
    """Return where a plain value ends; a bool in a list takes a byte."""
    length = np.int64(8 if kind == 7 else 1)
    if 3 < kind < 7:
        length, position = np.int64(0), _varint(data, position)[1]
    elif kind == _BINARY:
        length, position = _varint(data, position)
    elif not 0 < kind < 8:
        return _DAMAGED
    return (
        _DAMAGED if position < 0 or length > len(data) - position else position + length
    )
