"""Text files as DuckDB can open them: decompressed and in UTF-8, by a copy if need be.

DuckDB reads plain, gzip and zstd files in UTF-8 itself. What it cannot is written anew
to a temporary file for as long as it is read.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from winnow.core.sql_text import AS_STORED, identifier
from winnow.lake.files.files import Files

if TYPE_CHECKING:
    import duckdb

#: Endings of compressed files that DuckDB opens, and of those that it does not.
NATIVE, FOREIGN = (".gz", ".zst"), (".bz2", ".xz", ".zip")
#: UTF-8, and with a mark before it; Python leaves the mark out.
UTF8, MARKED_UTF8 = "utf-8", "utf-8-sig"
#: Of two marks that begin alike the longer one comes first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK = 1 << 20


#: What a column without a name is called in queries.
UNNAMED = "winnow_unnamed"


def sql_name(column: str) -> str:
    """Return a column's name as an SQL identifier; SQL has none that is empty."""
    return identifier(column or UNNAMED)


@contextmanager
def opened(files: Files, path: str) -> Iterator[IO[bytes]]:
    """Open a file's decompressed bytes.

    Raises OSError or ValueError if it is not compressed as its ending says.
    """
    fs, inner = files.filesystem(path)
    ending = os.path.splitext(path.lower())[1]
    with fs.open(inner, "rb") as raw:
        try:
            with _decompressed(raw, ending) as source:
                yield source
        except (lzma.LZMAError, zipfile.BadZipFile, EOFError) as error:
            raise ValueError(f"it cannot be decompressed ({error})") from error


def _decompressed(raw: IO[bytes], ending: str) -> Any:
    if ending == ".zip":
        archive = zipfile.ZipFile(raw)
        names = [n for n in archive.namelist() if not n.endswith("/")]
        if len(names) != 1:
            raise ValueError(f"its archive holds {len(names)} files instead of one")
        return archive.open(names[0])
    if ending == ".zst":
        return pa.input_stream(raw, compression="zstd")
    openers: Mapping[str, Callable[[IO[bytes]], Any]] = {
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
    }
    return openers[ending](raw) if ending in openers else raw


def encoding_of(files: Files, path: str, told: str | None) -> str:
    """Return a text file's encoding: as told, or UTF-16 or 32 by its mark, else UTF-8.

    Raises ValueError for an encoding that does not exist.
    """
    if told is not None:
        try:
            return codecs.lookup(told).name
        except LookupError as error:
            raise ValueError(f"there is no encoding {told!r}") from error
    with opened(files, path) as source:
        start = source.read(4)
    return next((name for mark, name in _MARKS if start.startswith(mark)), UTF8)


def is_marked(files: Files, path: str) -> bool:
    """Whether a file begins with the mark of UTF-8."""
    with opened(files, path) as source:
        return source.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def is_native(path: str, encoding: str) -> bool:
    """Whether DuckDB opens such a file as it is."""
    return encoding == UTF8 and not path.lower().endswith(FOREIGN)


@contextmanager
def as_duckdb_reads(
    files: Files, path: str, encoding: str
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Open a connection, and a path under which it finds the file's text.

    Raises ValueError if the file is not in its encoding.
    """
    with connected(files, path) as connection:
        if is_native(path, encoding):
            yield connection, sql_path(files, path)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "text")
            _transcode(files, path, encoding, copy)
            yield connection, copy


def _transcode(files: Files, path: str, encoding: str, target: str) -> None:
    with opened(files, path) as source, open(target, "wb") as out:
        if encoding == UTF8:
            shutil.copyfileobj(source, out, _BLOCK)
            return
        text = io.TextIOWrapper(source, encoding=encoding, newline="")
        try:
            # A mark before it is no part of the text, whatever encoding is told.
            out.write(text.read(1).removeprefix("\ufeff").encode())
            while block := text.read(_BLOCK):
                out.write(block.encode())
        except UnicodeError as error:
            raise ValueError(f"it is not in the encoding {encoding}") from error


def sql_path(files: Files, path: str) -> str:
    """Return the name under which DuckDB opens a file."""
    fs, inner = files.filesystem(path)
    return inner if files.is_local(path) else str(fs.unstrip_protocol(inner))


def connected(files: Files, path: str) -> duckdb.DuckDBPyConnection:
    """Return a connection that opens a path, in UTC."""
    if files.is_local(path):
        connection = _database(os.getpid()).cursor()
    else:
        connection = _new_database()
        connection.register_filesystem(files.filesystem(path)[0])
    connection.execute("SET TimeZone = 'UTC'")
    return connection


#: A file that was read once and has changed since is read again.
_CONFIG: dict[str, Any] = {
    "autoinstall_known_extensions": "false",
    "enable_external_file_cache": "false",
}


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    """Return a process's DuckDB for local files; to open one for each takes 5 ms."""
    return _new_database()


def _new_database() -> duckdb.DuckDBPyConnection:
    # A lake without text files needs none of it.
    import duckdb

    return duckdb.connect(config=_CONFIG)


def without_folders(path: str) -> str:
    """Return the option by which a reader makes no columns of folders called k=v.

    They are columns only where the catalogue says so.
    """
    return f", {AS_STORED}" if "=" in path else ""
