"""Folders as an earlier scan saw them, so that the same ones are not gone through.

To list a lake takes a call of the system for each file. What else there is to find out
of a file is not found out again where all files of its folder are as they were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from winnow.lake.files.files import Folder

_SAVED = pa.schema(
    [
        ("folder", pa.string()),
        ("digest", pa.string()),
        ("tables", pa.list_(pa.string())),
        ("endings", pa.list_(pa.string())),
        ("counts", pa.list_(pa.int64())),
    ]
)


class KnownFolder(NamedTuple):
    """A folder each file of which is a table that could be read, or none."""

    digest: str
    #: Names of the tables that count.
    tables: list[str]
    #: Its other files, by ending.
    ignored: Mapping[str, int]


class KnownFolders(dict[str, KnownFolder]):
    """Such folders, by their path below the root."""

    def holds(self, folder: Folder) -> bool:
        """Whether a folder is known, and its files are as they were."""
        known = self.get(folder.name)
        return known is not None and known.digest == folder.digest

    @classmethod
    def of_tables(cls, saved: Iterable[pa.Table]) -> KnownFolders:
        """Return what `as_table` made tables of."""
        known = cls()
        for part in saved:
            columns = (part[name].to_pylist() for name in _SAVED.names)
            for folder, digest, tables, endings, counts in zip(*columns, strict=True):
                ignored = dict(zip(endings, counts, strict=True))
                known[folder] = KnownFolder(digest, tables, ignored)
        return known

    def as_table(self) -> pa.Table:
        """Return one row a folder."""
        held = self.values()
        return pa.table(
            [
                list(self),
                [one.digest for one in held],
                [one.tables for one in held],
                [list(one.ignored) for one in held],
                [list(one.ignored.values()) for one in held],
            ],
            schema=_SAVED,
        )


class FolderTables:
    """Which tables the files of folders turned out to be, and which could be read."""

    def __init__(self) -> None:
        self._tables: dict[str, list[str]] = defaultdict(list)
        self._unsound: set[str] = set()

    def add(self, file: str, tables: Sequence[str], *, sound: bool) -> None:
        """Take in a file by its path below the root, and the names of its tables."""
        folder = file.rpartition("/")[0]
        self._tables[folder] += tables
        if not sound:
            self._unsound.add(folder)

    def of(self, folder: Folder, ignored: Mapping[str, int]) -> KnownFolder | None:
        """Return what is known of a folder; None if a table is to be tried again."""
        if folder.name in self._unsound:
            return None
        tables = sorted(self._tables.get(folder.name, []))
        return KnownFolder(folder.digest, tables, ignored)
