"""What speaks against moving a table, whatever it costs to keep.

A table that goes takes its whole file or folder along: all that lies there must be
what was compared, no other table may stand on the same bytes, and bytes that have
another name are not saved.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from winnow.lake.files.column_files import CONTAINERS
from winnow.lake.files.files import Files
from winnow.lake.kernels.tables import Part, Table

#: Files in a table's folder that hold none of its rows: a job's and Spark's own.
_MARKERS = {"_SUCCESS", "_metadata", "_common_metadata"}
_LOG = "_delta_log/"


class Safety:
    """Looks at the files of tables; `tables` are all of the lake's."""

    def __init__(self, files: Files, tables: Iterable[Table]) -> None:
        self._files = files
        self._borrowers: Mapping[str, set[str]] = _borrowers(tables)

    def objection(self, table: Table) -> str | None:
        """Return why a table must stay, or None."""
        whole = _moves_whole(table)
        if whole is not None:
            return whole
        if not table.rows:
            return "it has no rows; its columns are all that it tells"
        others = self._borrowers_of(table)
        if others:
            return f"{min(others)} stands on its files, too"
        if not self.saved_bytes(table):
            return "its bytes have other names (links or clones): nothing is saved"
        if table.format in ("delta", "parquet_folder"):
            return self._in_folder(table)
        return None

    def saved_bytes(self, table: Table) -> int:
        """Return how many bytes are gone from the lake if the table goes."""
        return sum(part.bytes for part in table.parts if self._is_own(table, part))

    def _is_own(self, table: Table, part: Part) -> bool:
        if not _is_below(part.path, table.location):
            return False
        if not self._files.is_local(part.path):
            return True
        try:
            return os.stat(self._files.filesystem(part.path)[1]).st_nlink == 1
        except OSError:
            return False

    def _borrowers_of(self, table: Table) -> set[str]:
        names = {
            name
            for part in table.parts
            for name in self._borrowers.get(_real(part.path), ())
        }
        return names - {table.name}

    def _in_folder(self, table: Table) -> str | None:
        """Return what else the table's folder holds, or None."""
        compared = {part.path for part in table.parts}
        others = [
            entry
            for entry in self._files.listed(table.location)
            if entry.path not in compared and not _is_marker(entry.name)
        ]
        if table.format == "delta":
            commits = [e for e in others if e.name.startswith(_LOG)]
            others = [e for e in others if not e.name.startswith(_LOG)]
            # One commit makes the table; every more is a version to go back to.
            if len(commits) > 1 or any(e.name.endswith(".parquet") for e in others):
                return "its log holds earlier versions, which no other table holds"
        if others:
            more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
            name = min(entry.name for entry in others)
            return f"its folder also holds {name}{more}, which was not compared"
        return None


class Contents:
    """What single local files hold, as a digest of their bytes."""

    #: Larger files are compared by their rows.
    _MOST = 64 * 2**20

    def __init__(self, files: Files, table: Callable[[str], Table]) -> None:
        self._files = files
        self._table = table
        self._digests: dict[str, str | None] = {}

    def of(self, name: str) -> str | None:
        """Return a table's digest, or None if it is not one small local file."""
        if name not in self._digests:
            self._digests[name] = self._read(self._table(name))
        return self._digests[name]

    def _read(self, table: Table) -> str | None:
        alone = len(table.parts) == 1 and table.parts[0].path == table.location
        if not alone or table.bytes > self._MOST:
            return None
        # A path like k=v, or a quote in it, is written in another way in queries.
        odd = "=" in table.location or "'" in table.location
        if odd or not self._files.is_local(table.location):
            return None
        inner = self._files.filesystem(table.location)[1]
        with open(inner, "rb") as file:
            content = hashlib.file_digest(file, "blake2b").hexdigest()
        # Equal bytes may be read in several ways, as options for CSV say.
        columns = [(column.name, str(column.type)) for column in table.columns]
        return f"{content} {columns} {table.parts[0].dialect}"


def _moves_whole(table: Table) -> str | None:
    """Return why a table's rows cannot move by themselves, or None."""
    if table.format in CONTAINERS:
        return f"it lies in {table.location}, which moves as a whole or not at all"
    if table.format == "iceberg":
        return "it is an Iceberg table, which catalogues find by where it lies"
    parts = [part.path for part in table.parts]
    if table.format == "delta" and parts == [table.location]:
        return "its log alone tells its rows (deletion vectors) or names (mapped ones)"
    return None


def _is_marker(name: str) -> bool:
    base = name.rpartition("/")[2]
    # Checksums of single files, as Hadoop writes them beside each.
    return base in _MARKERS or (base.startswith(".") and base.endswith(".crc"))


def _borrowers(tables: Iterable[Table]) -> dict[str, set[str]]:
    """Return which tables use a file that lies outside their own place."""
    borrowers: dict[str, set[str]] = defaultdict(set)
    for table in tables:
        for part in table.parts:
            if not _is_below(part.path, table.location):
                borrowers[_real(part.path)].add(table.name)
    return dict(borrowers)


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)


def _is_below(path: str, location: str) -> bool:
    return path == location or path.startswith(f"{location.rstrip('/')}/")
