"""JSON Lines shards, plain or compressed: a row is a line, handed on byte for byte.

A line is an object; its fields are columns beside the line itself. A line that is none
costs its row, not the shard: it comes out as unreadable, with the reason. A blank line
is no row.
"""

from __future__ import annotations

import gzip
import posixpath
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import InputError
from winnow.formats.file_access import filesystem
from winnow.formats.jsonl_fields import (
    FAULTS,
    LINE,
    FieldsFormat,
    column_of,
    parse_object,
    schema_of,
)
from winnow.formats.shard_protocol import ShardFooter, Unreadable

COMPRESSIONS = {".jsonl": None, ".jsonl.gz": "gzip", ".jsonl.zst": "zstd"}

_READ_BYTES = 4 * 2**20
_BATCH_ROWS = 1024
#: Lines at a shard's beginning that its fields and their types are taken from.
_SAMPLE_LINES = 1000


class JsonLinesFormat(FieldsFormat):
    """Shards of one JSON object per line."""

    name = "jsonl"
    title = "JSON Lines"
    endings = tuple(COMPRESSIONS)
    carriers = (LINE,)

    def footer(self, path: str) -> ShardFooter:
        """Return a shard's rows and fields; raises InputError if it is cut short.

        The whole file is read once, since only that tells how many lines it has. Of a
        field, the type is that of its first values; what no column of Arrow can hold
        as it is (objects, mixtures) is JSON text.
        """
        rows, sample = 0, list[bytes]()
        try:
            for block in _blocks(path):
                rows += len(block)
                sample += block.lines[: _SAMPLE_LINES - len(sample)]
        except FileNotFoundError as error:
            raise InputError(f"{path}: the file is gone; restore it") from error
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read to its end ({error}); it is probably "
                "truncated: copy it again, delete it, or set input.on_bad_shard=skip"
            ) from error
        return ShardFooter(rows, schema_of(sample), "")

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one shard.

        A field that a line lacks is null. Lines that are no object, or hold something
        of another type, come out as Unreadable; so does all from where a file that was
        whole no longer is.
        """
        if schema is None:
            schema = self.footer(path).schema
        fields = [schema.field(name) for name in columns]
        position = 0
        try:
            for block in _wanted(path, rows):
                for part in _parsed(block, fields):
                    yield position, part
                    position += part.rows if isinstance(part, Unreadable) else len(part)
        except OSError as error:
            types = {field.name: field.type for field in fields}
            reason = f"unreadable_file: {str(error)[:120]}"
            yield position, Unreadable(len(rows) - position, reason, types)

    def sink(self, file: Path, schema: pa.Schema) -> LineSink:
        """Open a shard for writing, compressed as its name says."""
        return LineSink(file)

    def suffix(self, path: str) -> str:
        """Return the ending of a shard's name, which says its compression."""
        return suffix_of(path) or ".jsonl"


class LineSink:
    """A shard of lines that is being written."""

    def __init__(self, file: Path) -> None:
        codec = COMPRESSIONS[suffix_of(file.name) or ".jsonl"]
        self._file = pa.OSFile(str(file), "wb")
        self._out = (
            pa.CompressedOutputStream(self._file, codec) if codec else self._file
        )

    def write(self, table: pa.Table) -> None:
        """Append lines."""
        for line in table[LINE].to_pylist():
            self._out.write(line + b"\n")

    def close(self) -> None:
        """Finish the file."""
        self._out.close()
        self._file.close()


def suffix_of(path: str) -> str | None:
    """Return which of COMPRESSIONS a name ends in, or None."""
    name = posixpath.basename(path).lower()
    return next((s for s in COMPRESSIONS if name.endswith(s)), None)


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    fs, inner = filesystem(path)
    codec = COMPRESSIONS[suffix_of(path) or ".jsonl"]
    with fs.open(inner, "rb") as raw:
        if codec == "gzip":
            # Unlike Arrow's, this reader takes zeros after the end, as tapes and block
            # stores leave them.
            with gzip.GzipFile(fileobj=raw) as plain:
                yield plain
        else:
            yield pa.CompressedInputStream(raw, codec) if codec else raw


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines without their line feeds, and their numbers in the file."""

    lines: list[bytes]
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.lines)

    def without_blank(self) -> _Block:
        """Return the lines that are rows."""
        if all(map(bytes.strip, self.lines)):
            return self
        pairs = zip(self.lines, self.numbers, strict=True)
        rows = [(line, number) for line, number in pairs if line.strip()]
        return _Block([line for line, _ in rows], [number for _, number in rows])

    def part(self, first: int, end: int) -> _Block:
        """Return some lines in a row."""
        return _Block(self.lines[first:end], self.numbers[first:end])


def _blocks(path: str) -> Iterator[_Block]:
    """Yield all lines that are not blank.

    Raises OSError where the file cannot be read to its end.
    """
    first = 1
    try:
        for lines in _split(path):
            numbers = range(first, first + len(lines))
            first += len(lines)
            yield _Block(lines, numbers).without_blank()
    except (EOFError, zlib.error) as error:
        raise OSError(str(error)) from error


def _split(path: str) -> Iterator[list[bytes]]:
    with _opened(path) as source:
        rest: list[bytes] = []
        while block := source.read(_READ_BYTES):
            first, *lines = bytes(block).split(b"\n")
            rest.append(first)
            if lines:
                # A line may be longer than many blocks.
                yield [b"".join(rest), *lines[:-1]]
                rest = [lines[-1]]
        last = b"".join(rest)
        if last:
            yield [last]


def _wanted(path: str, rows: npt.NDArray[np.int64]) -> Iterator[_Block]:
    """Yield the lines of those rows, in bounded blocks."""
    first = taken = 0
    for block in _blocks(path):
        end = int(np.searchsorted(rows, first + len(block)))
        picked = iter((rows[taken:end] - first).tolist())
        while part := list(islice(picked, _BATCH_ROWS)):
            lines = [block.lines[i] for i in part]
            yield _Block(lines, [block.numbers[i] for i in part])
        first, taken = first + len(block), end
        if taken == len(rows):
            return


def _parsed(block: _Block, fields: list[pa.Field]) -> Iterator[pa.Table | Unreadable]:
    """Yield tables of lines that are fine, and each other line by itself."""
    try:
        yield _table(block.lines, fields)
        return
    except (*FAULTS, RecursionError) as error:
        if len(block) == 1:
            types = {field.name: field.type for field in fields}
            reason = f"broken_line: line {block.numbers[0]:,}: {str(error)[:120]}"
            yield Unreadable(1, reason, types)
            return
    # Halving finds a few broken lines among many without parsing each by itself.
    middle = len(block) // 2
    yield from _parsed(block.part(0, middle), fields)
    yield from _parsed(block.part(middle, len(block)), fields)


def _table(lines: list[bytes], fields: list[pa.Field]) -> pa.Table:
    objects = (
        [parse_object(line) for line in lines]
        if any(field.name != LINE for field in fields)
        else []
    )
    columns = {}
    for field in fields:
        if field.name == LINE:
            columns[LINE] = pa.array(lines, pa.binary())
        else:
            values = [entry.get(field.name) for entry in objects]
            columns[field.name] = column_of(values, field)
    return pa.table(columns)
