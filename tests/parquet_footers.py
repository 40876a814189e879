"""Footers of Parquet files taken apart, damaged and put together again.

Thrift's compact protocol, both ways: a structure is {field: [type, value]}, a list is
(type of its elements, elements).
"""

from __future__ import annotations

import copy
import io
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from winnow.core.parquet_footer import (
    DamagedFooter,
    column_chunks,
    footer_bytes,
    group_bytes,
    group_rows,
    sound_chunks,
)

Fields = dict[int, list[Any]]
_TRUE, _FALSE, _BINARY, _LIST, _STRUCT = 1, 2, 8, 9, 12


def split(data: bytes) -> tuple[bytes, Fields]:
    """Return a file's pages and what its footer says."""
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[:start], _read(data, start, _STRUCT)[0]


def joined(pages: bytes, footer: Fields) -> bytes:
    """Return the file of pages and a footer."""
    told = _written(_STRUCT, footer)
    return pages + told + len(told).to_bytes(4, "little") + b"PAR1"


def chunk_of(footer: Fields, group: int, column: int) -> Fields:
    """Return what a footer says of a column in a row group (ColumnChunk)."""
    fields: Fields = footer[4][1][1][group][1][1][1][column]
    return fields


def damage(file: Path, group: int, column: int, kind: str) -> None:
    """Damage what a file's footer says of one chunk, as DAMAGES knows how."""
    pages, footer = split(file.read_bytes())
    DAMAGES[kind](chunk_of(footer, group, column))
    file.write_bytes(joined(pages, footer))


def _metadata(chunk: Fields) -> Fields:
    metadata: Fields = chunk[3][1]
    return metadata


#: Each ends the process that asks pyarrow for the chunk or for its statistics.
DAMAGES: dict[str, Callable[[Fields], Any]] = {
    "definition levels": lambda chunk: _metadata(chunk)[16][1].update(
        {3: [_LIST, (6, [1, 2, 3])]}
    ),
    "repetition levels": lambda chunk: _metadata(chunk)[16][1].update(
        {2: [_LIST, (6, [1, 2])]}
    ),
    "bytes of numbers": lambda chunk: _metadata(chunk)[16][1].update({1: [6, 77]}),
    "a cut bound": lambda chunk: _metadata(chunk)[12][1].update({6: [_BINARY, b"x"]}),
    "another type": lambda chunk: _metadata(chunk).update({1: [5, 6]}),
    "compression": lambda chunk: _metadata(chunk).update({4: [5, 99]}),
    "a column's key": lambda chunk: chunk.update(
        {8: [_STRUCT, {2: [_STRUCT, {1: [_LIST, (_BINARY, [b"a"])]}]}]}
    ),
}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return a file with bytes, or fields, of its footer changed."""
    pages, footer = split(data)
    if rng.random() < 0.5:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 4))):
            changed[rng.randrange(len(pages), len(data) - 8)] = rng.randrange(256)
        return bytes(changed)
    footer = copy.deepcopy(footer)
    fields: list[tuple[Fields, int]] = []
    _list_fields(_STRUCT, footer, fields)
    for structure, number in rng.choices(fields, k=rng.choice((1, 1, 2))):
        if number in structure:
            _change(structure, number, rng)
    return joined(pages, footer)


def _list_fields(kind: int, value: Any, fields: list[tuple[Fields, int]]) -> None:
    if kind == _STRUCT:
        for number, (inner, held) in value.items():
            fields.append((value, number))
            _list_fields(inner, held, fields)
    elif kind == _LIST:
        for element in value[1]:
            _list_fields(value[0], element, fields)


def _change(structure: Fields, number: int, rng: random.Random) -> None:
    kind, value = structure[number]
    if rng.random() < 0.2:
        structure.pop(number)
    elif kind in (_TRUE, _FALSE):
        structure[number] = [kind, not value]
    elif kind == _BINARY:
        structure[number] = [kind, rng.choice((b"", value[:-1], value + b"x"))]
    elif kind == _LIST:
        elements = list(value[1])
        if elements and rng.random() < 0.5:
            elements.pop()
        elif elements:
            elements.append(rng.choice(elements))
        structure[number] = [kind, (value[0], elements)]
    elif kind == _STRUCT:
        structure[number] = [kind, {}]
    else:
        numbers = (value + 1, value ^ 1, -1, 0, 2**31 - 1, rng.randrange(20))
        structure[number] = [kind, rng.choice(numbers)]


def _read(data: bytes, start: int, kind: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, start
    if kind in (3, 7):
        end = start + (1 if kind == 3 else 8)
        return data[start:end], end
    if kind == _STRUCT:
        return _read_structure(data, start)
    if kind == _LIST:
        head, start = data[start], start + 1
        count = head >> 4
        if count == 15:
            count, start = _number(data, start)
        elements = []
        for _ in range(count):
            element, start = _read(data, start, head & 15)
            elements.append(element)
        return (head & 15, elements), start
    number, start = _number(data, start)
    if kind == _BINARY:
        return data[start : start + number], start + number
    return (number >> 1) ^ -(number & 1), start


def _read_structure(data: bytes, start: int) -> tuple[Fields, int]:
    fields: Fields = {}
    number = 0
    while data[start]:
        kind, step = data[start] & 15, data[start] >> 4
        start += 1
        if not step:
            raise ValueError("a field far from the last is not written here")
        number += step
        value, start = _read(data, start, kind)
        fields[number] = [kind, value]
    return fields, start + 1


def _number(data: bytes, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, start


def _packed(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _written(kind: int, value: Any) -> bytes:
    if kind in (_TRUE, _FALSE):
        return b""
    if kind in (3, 7):
        return bytes(value)
    if kind == _BINARY:
        return _packed(len(value)) + value
    if kind == _LIST:
        inner, elements = value
        short = len(elements) < 15
        head = bytes([(len(elements) if short else 15) << 4 | inner])
        head += b"" if short else _packed(len(elements))
        return head + b"".join(_written(inner, element) for element in elements)
    if kind != _STRUCT:
        return _packed(value << 1 if value >= 0 else (-value << 1) - 1)
    out, last = b"", 0
    for number in sorted(value):
        inner, held = value[number]
        if inner in (_TRUE, _FALSE):
            inner = _TRUE if held else _FALSE
        out += bytes([(number - last) << 4 | inner]) + _written(inner, held)
        last = number
    return out + b"\0"


def ask(data: bytes) -> str:
    """Ask for all that the package may ask of a file; return what came of it."""
    source = io.BytesIO(data)
    try:
        metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    except (pa.ArrowException, OSError, ValueError):
        return "not opened"
    try:
        group_rows(metadata), group_bytes(metadata)
        footer = footer_bytes(source)
        groups = sound_chunks(footer, metadata)
    except DamagedFooter:
        return "refused"
    for told, read in zip(groups, column_chunks(footer), strict=True):
        for chunk, ours in zip(told, read, strict=True):
            sizes = chunk.total_compressed_size, chunk.total_uncompressed_size
            assert sizes == (ours.packed, ours.unpacked)
            assert chunk.data_page_offset in (*ours.pages, 0)
            bounds = chunk.statistics
            if bounds is not None and bounds.has_null_count:
                assert bounds.null_count == ours.nulls
            if bounds is not None and bounds.has_min_max:
                assert bounds.min_raw is not None
                assert bounds.max_raw is not None
    return "sound"


if __name__ == "__main__":
    # A process of its own: whatever is damaged may not end it.
    seed, cases, file = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    whole = file.read_bytes()
    answers = [ask(mutated(whole, random.Random(seed + n))) for n in range(cases)]
    counts = (answers.count(kind) for kind in ("not opened", "refused", "sound"))
    sys.stdout.write(" ".join(map(str, counts)))
