"""Records of CSV and TSV files: where each begins and ends, and its fields.

A record is what Python's `csv` takes for one (RFC 4180; a field in quotes may hold line
ends). Bytes are decoded as Latin-1 and back, which changes none: UTF-8 and every other
encoding that keeps ASCII as it is come out as they went in.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import InputError
from winnow.formats.file_access import filesystem

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = b",;\t|"
#: What no column is called: a URL, or a path to an image.
_IMAGE = re.compile(
    r"(https?|s3|gs)://\S+$|\S.*\.(jpe?g|png|webp|gif|bmp|tiff?)$", re.IGNORECASE
)
#: No field is too long for `csv`; a shard's limit is its size.
_FIELD_LETTERS = 2**31 - 1

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CsvDialect:
    """How a file of records is written, as `input.csv` says it.

    delimiter, header: None: as the first line tells. columns: names, of a file whose
    first line names none.
    """

    delimiter: str | None = None
    header: bool | None = None
    columns: tuple[str, ...] | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class CsvIndex:
    """Where a file's records lie: bytes and lines; the header is none of them.

    header: the line that names the columns; empty where none does.
    """

    header: bytes
    names: tuple[str, ...]
    delimiter: str
    starts: Numbers
    ends: Numbers
    lines: Numbers


def fields_of(record: bytes, delimiter: str) -> list[str]:
    """Return a record's fields, a letter for each byte; raises ValueError if broken."""
    lines = record.decode("latin-1").split("\n")
    ended = [line + "\n" for line in lines[:-1]] + lines[-1:]
    try:
        rows = list(csv.reader(ended, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return rows[0] if rows else []


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a file for reading bytes, unpacked if its name ends in .gz."""
    fs, inner = filesystem(path)
    with fs.open(inner, "rb") as raw:
        if path.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=raw) as plain:
                yield plain
        else:
            yield raw


@lru_cache(maxsize=32)
def index_of(path: str, state: str, dialect: CsvDialect) -> CsvIndex:
    """Return where the records of a file lie; it is read once, whole, per process.

    state: size and time of the file, for which the index holds.

    Raises InputError for a file without a header, or in UTF-16, or cut short.
    """
    try:
        with opened(path) as file:
            return _index(path, file, dialect)
    except FileNotFoundError as error:
        raise InputError(f"{path}: the file is gone; restore it") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: cannot be read to its end ({error}); it is probably truncated: "
            "copy it again, delete it, or set input.on_bad_shard=skip"
        ) from error


def _index(path: str, file: Any, dialect: CsvDialect) -> CsvIndex:
    source = _Source(file)
    first = source.peek()
    if first.startswith(_WIDE_MARKS):
        raise InputError(
            f"{path}: it is UTF-16; write it as UTF-8: iconv -f UTF-16 -t UTF-8"
        )
    source.skip(len(_BYTE_ORDER_MARK) * first.startswith(_BYTE_ORDER_MARK))
    header = first.removeprefix(_BYTE_ORDER_MARK)
    delimiter = dialect.delimiter or _most_frequent(header)
    spans = _spans(source, delimiter)
    start, end, _, names = next(spans, (0, 0, 0, []))
    header = source.last[: end - start]
    if names == []:
        raise InputError(f"{path}: it is empty; its first line has to name the columns")
    if names is None:
        raise InputError(f"{path}: its first line, which names the columns, is broken")
    given = _given_names(path, names, dialect)
    columns = given or tuple(
        _named(path, number, name, dialect.encoding)
        for number, name in enumerate(names)
    )
    repeated = [name for name in columns if columns.count(name) > 1]
    if repeated:
        raise InputError(
            f"{path}: the column '{repeated[0]}' stands there twice; rename one of them"
        )
    starts, ends, lines = array("q"), array("q"), array("q")
    if given:
        header = b""
        for column, value in zip((starts, ends, lines), (start, end, 1), strict=True):
            column.append(value)
    for span in spans:
        starts.append(span[0])
        ends.append(span[1])
        lines.append(span[2])
    numbers = (np.frombuffer(part, np.int64) for part in (starts, ends, lines))
    return CsvIndex(header, columns, delimiter, *numbers)


def _given_names(
    path: str, first: list[str], dialect: CsvDialect
) -> tuple[str, ...] | None:
    """Return the columns of a file whose first line is a row; None if it names them.

    A list of a caption and the path or URL of its image, as of Conceptual Captions, is
    such a file, unless it is said to have a header.
    """
    if dialect.header:
        return None
    images = [n for n, value in enumerate(first) if _IMAGE.match(value.strip())]
    if dialect.header is None and not images:
        return None
    names = dialect.columns
    if names is None and len(first) == 2 and len(images) == 1:
        names = ("text", "image") if images == [1] else ("image", "text")
    if names is None or len(names) != len(first):
        raise InputError(
            f"{path}: its first line is a row of {len(first)} values; name them by "
            "input.csv.columns, or say input.csv.header=true if it is none"
        )
    return names


def _named(path: str, number: int, name: str, encoding: str) -> str:
    try:
        column = name.encode("latin-1").decode(encoding)
    except UnicodeDecodeError:
        column = ""
    if not column.strip():
        raise InputError(
            f"{path}: column {number + 1} of the first line has no name in {encoding}; "
            "the first line has to name all columns (input.csv.header=false, if it "
            "names none)"
        )
    return column


def _most_frequent(header: bytes) -> str:
    """Return the delimiter that splits a header into the most fields."""
    text = header.decode("latin-1")
    counts = {chr(d): text.count(chr(d)) for d in _DELIMITERS}
    return max(counts, key=lambda delimiter: counts[delimiter])


class _Source:
    """Lines of a file, which a reader may take again from behind a broken one."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._ahead: deque[bytes] = deque()
        self.taken: list[bytes] = []
        self.position = self.line = 0
        #: The bytes of the record that was settled last.
        self.last = b""

    def peek(self) -> bytes:
        """Return the next line without taking it."""
        if not self._ahead:
            self._ahead.append(self._file.readline())
        return self._ahead[0]

    def skip(self, size: int) -> None:
        """Take bytes off the beginning of the next line."""
        self._ahead[0] = self._ahead[0][size:]
        self.position += size

    def __iter__(self) -> _Source:
        return self

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else self._file.readline()
        if not line:
            raise StopIteration
        self.taken.append(line)
        return str(line, "latin-1")

    def settle(self, lines: int | None = None) -> tuple[int, int, int]:
        """End a record after so many lines taken; return its span and first line."""
        record = self.taken[:lines]
        self._ahead.extendleft(reversed(self.taken[len(record) :]))
        self.taken = []
        start, line = self.position, self.line + 1
        data = b"".join(record)
        self.last = data
        self.position += len(data)
        self.line += len(record)
        return start, start + len(data.rstrip(b"\r\n")), line


Span = tuple[int, int, int, list[str] | None]


def _spans(source: _Source, delimiter: str) -> Iterator[Span]:
    """Yield (start, end, first line, fields) of each record; broken: None for fields.

    A quote that opens and never closes as it should breaks its own line alone.
    """
    csv.field_size_limit(_FIELD_LETTERS)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield (*source.settle(1), None)
            reader = csv.reader(source, delimiter=delimiter, strict=True)
            continue
        start, end, line = source.settle()
        if fields:
            yield start, end, line, fields
