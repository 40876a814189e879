"""One table of a lake, opened: its columns, parts and statistics, or why it cannot be.

The rows of text files are read once for their types, since a type that holds for the
first thousand rows may not hold for the next.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

import pyarrow as pa
from fsspec.utils import glob_translate

from winnow.core.extras import MissingExtraError
from winnow.lake import workers
from winnow.lake.files import column_files, delta_log, iceberg_log
from winnow.lake.files import (
    text_readers as text_tables,
)
from winnow.lake.files.csv_tables import CsvOptions
from winnow.lake.files.files import Entry, Files
from winnow.lake.files.folders import Candidate, single
from winnow.lake.files.footers import Footer, read_footer
from winnow.lake.files.hive import partition_values
from winnow.lake.files.parts import Constants, StoredPart, columns_of, statistics_of
from winnow.lake.files.snapshots import NeedsLog
from winnow.lake.files.words import in_words
from winnow.lake.kernels.tables import ColumnStatistics, Part, Table

#: A table and the statistics of its leaf columns by name.
Surveyed = tuple[Table, Mapping[str, ColumnStatistics]]

_Item = TypeVar("_Item")

#: Part of every fingerprint: what an older catalogue found is not believed.
_VERSION = 5
#: Files that are opened at once. Local footers take turns: threads would only wait for
#: each other's Python, while the disk reads some files ahead without any.
_LOCAL_THREADS, _REMOTE_THREADS, _AHEAD = 2, 16, 16
#: Local files that one process opens before it is asked again.
_TOGETHER = 32
_TEXTS = {"csv", "jsonl", "json"}


@dataclass(frozen=True)
class TableFiles:
    """Opens the tables of a lake.

    root: its path or URL; csv: how CSV files are read, by glob over their names.
    """

    files: Files
    root: str
    csv: Mapping[str, CsvOptions]

    @property
    def _local(self) -> bool:
        return self.files.is_local(self.root)

    @property
    def _threads(self) -> int:
        return _LOCAL_THREADS if self._local else _REMOTE_THREADS

    def opened(self, candidates: Sequence[Candidate]) -> Iterator[Surveyed]:
        """Yield the tables that some files are taken for."""
        workers.prepare(len(candidates))
        local = self._local
        at_once = [f for f in candidates if not local or f.format in _TEXTS]
        in_turn = [f for f in candidates if local and f.format not in _TEXTS]
        with ThreadPoolExecutor(self._threads) as pool:
            opened = pool.map(self._opened, at_once)
            yield from self._in_turn(in_turn)
            for tables in opened:
                yield from tables

    def _in_turn(self, candidates: Sequence[Candidate]) -> Iterator[Surveyed]:
        """Yield the tables of local files, most of whose time is Python's."""
        pieces = workers.pieces(candidates, _TOGETHER)
        each = workers.mapped(self.some_opened, pieces, self._lost)
        for tables in chain.from_iterable(each):
            yield from tables

    def some_opened(self, candidates: Sequence[Candidate]) -> list[list[Surveyed]]:
        """Return the tables of each of some local files, opened one after another."""
        ahead = self._ahead(candidates, lambda candidate: candidate.files[:1])
        return [self._opened(candidate) for candidate in ahead]

    def _lost(self, candidate: Candidate) -> list[list[Surveyed]]:
        return [[self._unread(candidate, workers.ENDED)]]

    def _ahead(
        self, items: Iterable[_Item], files: Callable[[_Item], Sequence[Entry]]
    ) -> Iterator[_Item]:
        """Yield local items, the files of those that follow being read meanwhile."""
        waiting: deque[_Item] = deque()
        for item in items:
            for entry in files(item):
                self.files.expect(entry)
            waiting.append(item)
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _opened(self, candidate: Candidate) -> list[Surveyed]:
        """Return the table that these files are, or each file as one."""
        if candidate.reason is not None:
            return [self._unread(candidate, candidate.reason)]
        try:
            return self._read(candidate)
        except MissingExtraError:
            raise  # the install's fault, not the table's
        except Exception as error:  # whatever it is: one table never costs the others
            if candidate.supposed and len(candidate.files) > 1:
                return [t for e in candidate.files for t in self._opened(single(e))]
            borrowed = getattr(error, "paths", ())
            return [self._unread(candidate, in_words(error), borrowed)]

    def _read(self, candidate: Candidate) -> list[Surveyed]:
        single_file = self._of_one_file(candidate)
        if single_file is not None:
            return single_file
        try:
            stored, schema = self._stored(candidate)
        except NeedsLog:
            if not self._local:
                raise
            return [self._by_log(candidate)]
        if candidate.supposed and not _agree(stored):
            return [t for e in candidate.files for t in self._opened(single(e))]
        columns = columns_of(stored, schema)
        table = replace(
            self._listed(candidate),
            parts=tuple(part.part() for part in stored),
            columns=columns,
            writer=next((p.footer.writer for p in stored), None),
        )
        return [(table, statistics_of(stored, columns))]

    def _text(self, candidate: Candidate) -> Surveyed:
        (entry,) = candidate.files
        text = text_tables.inferred(
            self.files, entry.path, candidate.format, self._options(candidate.name)
        )
        part = Part(
            entry.path,
            entry.bytes,
            entry.modified,
            (text.rows,),
            dialect=text.dialect,
            surveyed_bytes=entry.bytes,
        )
        table = replace(self._listed(candidate), parts=(part,), columns=text.columns)
        return table, {
            column.name: ColumnStatistics(text.rows, text.nulls.get(column.name))
            for column in text.columns
        }

    def _of_one_file(self, candidate: Candidate) -> list[Surveyed] | None:
        """Return the tables of a file that is read as a whole, else None."""
        if candidate.format in _TEXTS:
            return [self._text(candidate)]
        if candidate.format in column_files.CONTAINERS:
            return self._container(candidate)
        whole = column_files.FORMATS.keys() - column_files.LOGGED
        if candidate.format in whole:
            return [self._column_file(candidate)]
        return None

    def _container(self, candidate: Candidate) -> list[Surveyed]:
        """Return the tables of a file that holds several, named below it."""
        (entry,) = candidate.files
        surveyed = []
        for table in column_files.tables_in(self.files, entry.path, candidate.format):
            inner = replace(candidate, name=f"{candidate.name}/{table}")
            try:
                surveyed.append(self._column_file(inner, table))
            except Exception as error:  # whatever it is: the others can be read
                surveyed.append(self._unread(inner, in_words(error)))
        return surveyed

    def _column_file(self, candidate: Candidate, table: str = "") -> Surveyed:
        (entry,) = candidate.files
        kind = candidate.format
        columns, rows = column_files.columns_of(self.files, entry.path, kind, table)
        dialect: tuple[tuple[str, str], ...] = ((column_files.READER, kind),)
        if table:
            dialect += ((column_files.INNER, table),)
        part = Part(entry.path, entry.bytes, entry.modified, (rows,), dialect=dialect)
        surveyed = replace(self._listed(candidate), parts=(part,), columns=columns)
        return surveyed, {column.name: ColumnStatistics(rows) for column in columns}

    def _by_log(self, candidate: Candidate) -> Surveyed:
        """Return a table whose files alone do not tell its rows."""
        location = self._location(candidate)
        columns, rows = column_files.columns_of(self.files, location, candidate.format)
        part = Part(
            location,
            sum(entry.bytes for entry in candidate.files),
            max(entry.modified for entry in candidate.files),
            (rows,),
            dialect=((column_files.READER, candidate.format),),
        )
        surveyed = replace(self._listed(candidate), parts=(part,), columns=columns)
        return surveyed, {column.name: ColumnStatistics(rows) for column in columns}

    def _options(self, name: str) -> CsvOptions:
        """Return how a CSV file is to be read: as the first glob that fits says."""
        for glob, options in self.csv.items():
            if globs([glob]).match(name):
                return options
        return CsvOptions()

    def _stored(
        self, candidate: Candidate
    ) -> tuple[list[StoredPart], pa.Schema | None]:
        """Return a table's Parquet files, and the schema that a log demands."""
        entries, schema = list(candidate.files), None
        if candidate.format in column_files.LOGGED:
            entries, constants, schema = self._active(candidate)
        elif candidate.format == "parquet_folder":
            constants = partition_values([candidate.below(e) for e in entries])
        else:
            constants = [()]
        if len(entries) == 1:
            footers = [read_footer(self.files, entries[0].path)]
        elif self._local:
            each = self._ahead(entries, lambda entry: (entry,))
            footers = [self._footer(entry) for entry in each]
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                footers = list(pool.map(self._footer, entries))
        parts = zip(entries, footers, constants, strict=True)
        return [StoredPart(*part) for part in parts], schema

    def _active(
        self, candidate: Candidate
    ) -> tuple[list[Entry], list[Constants], pa.Schema]:
        entries = {candidate.below(entry): entry for entry in candidate.files}
        log = delta_log if candidate.format == "delta" else iceberg_log
        newest = log.snapshot(self.files, self._location(candidate), candidate.files)
        gone = [path for path, _ in newest.files if path not in entries]
        if gone:
            raise ValueError(f"a file that its log names is gone: {gone[0]}")
        active = [entries[path] for path, _ in newest.files]
        return active, [constants for _, constants in newest.files], newest.schema

    def _footer(self, entry: Entry) -> Footer:
        try:
            return read_footer(self.files, entry.path)
        except Exception as error:
            raise ValueError(f"{entry.name}: {in_words(error)}") from error

    def _location(self, candidate: Candidate) -> str:
        if candidate.folder is None:
            return candidate.files[0].path
        return f"{self.root.rstrip('/')}/{candidate.folder}".rstrip("/")

    def _listed(self, candidate: Candidate) -> Table:
        return Table(
            name=candidate.name,
            format=candidate.format,
            location=self._location(candidate),
            fingerprint=fingerprint_of(candidate),
        )

    def _unread(
        self, candidate: Candidate, reason: str, borrowed: Sequence[str] = ()
    ) -> Surveyed:
        """Return a table without rows; the files that it borrows must stay."""
        parts = [Part(e.path, e.bytes, e.modified, ()) for e in candidate.files]
        parts += [Part(path, 0, 0.0, ()) for path in borrowed]
        return replace(self._listed(candidate), parts=tuple(parts), reason=reason), {}


def _agree(parts: Sequence[StoredPart]) -> bool:
    """Whether the parts have one set of column names."""
    return len({frozenset(c.name for c in p.footer.columns) for p in parts}) <= 1


def fingerprint_of(candidate: Candidate) -> str:
    """Return what changes when a table's files do."""
    return fingerprint_by(
        candidate.format, [(candidate.below(e), e) for e in candidate.files]
    )


def fingerprint_by(kind: str, files: Iterable[tuple[str, Entry]]) -> str:
    """Return the fingerprint of a table by its format, and its files by their names."""
    digest = hashlib.blake2b(f"{_VERSION}\0{kind}".encode(), digest_size=16)
    for name, entry in sorted(files, key=lambda file: file[0]):
        digest.update(f"\0{name}\0{entry.version}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def globs(patterns: Sequence[str]) -> re.Pattern[str]:
    """Return what matches names that one of some globs does."""
    # No pattern matches nothing, the empty name not either.
    return re.compile("|".join(map(glob_translate, patterns)) or r"(?!)")
