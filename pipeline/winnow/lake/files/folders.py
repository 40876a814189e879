"""Which files of a lake are one table.

A folder is one table if, looked at in this order,

1. it has a `_delta_log` (a Delta table) or `metadata/*.metadata.json` (Iceberg);
2. all its data is Parquet in folders `key=value` of one key: Hive partitions;
3. it holds `_SUCCESS`, `_metadata` or `_common_metadata`: a job wrote it as a whole;
4. all its data are Parquet files that are called parts: `part-…`, or one known word (or
   nothing) and numbers from 0 or 1 without a gap (`data_0`, `000001`), or shards that
   count themselves (`train-00000-of-00004`), with one set of column names.

In any other folder each file of a known ending is a table, or holds some. Names that
begin with `.` or `_` are no data. Hudi tables are named and not read, since their
folders also hold files that are no longer theirs.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace

from fsspec.utils import glob_translate

from winnow.lake.files.files import Entry, Folder

_ENDINGS = {
    "parquet": "parquet parq pq",
    "csv": "csv tsv psv",
    "jsonl": "jsonl ndjson",
    "json": "json",
    "orc": "orc",
    "avro": "avro",
    "database": "sqlite sqlite3 db db3 duckdb ddb",
    "excel": "xlsx xlsm xlsb xls ods",
    "arrow": "arrow arrows feather ipc",
}
_FORMATS = {e: kind for kind, ends in _ENDINGS.items() for e in ends.split()}
#: Formats that may be packed, and the endings which that adds.
_TEXTS, _PACKED = {"csv", "jsonl", "json"}, {"gz", "zst", "bz2", "xz", "zip"}
_HUDI = "a Hudi table; Winnow does not read its log"
#: Beside the parts of a table they are notes of it, and no data.
_NOTES = {"json", "excel"}
_LOGS = ("_delta_log", "metadata", ".hoodie")
_WHOLE = {"_SUCCESS", "_metadata", "_common_metadata"}
_NAMED_PART = re.compile(r"part[-_.]([rm][-_.])?\d", re.IGNORECASE)
_NUMBERED = re.compile(r"(part|data|chunk|shard|file|block|split)?[-_.]?(\d+)", re.I)
_COUNTED = re.compile(r"(.+?)[-_.](\d+)-of-(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Files that are taken for one table."""

    name: str
    #: parquet_folder, delta, iceberg, a key of `_ENDINGS`; or folder: unread.
    format: str
    files: tuple[Entry, ...]
    #: The folder's path below the root, empty for the root itself; None for a file.
    folder: str | None = None
    #: Only if the columns agree; otherwise each file is a table.
    supposed: bool = False
    reason: str | None = None

    def below(self, entry: Entry) -> str:
        """Return the path of one of its files below its folder."""
        if self.folder is None:
            return ""
        return entry.name.removeprefix(f"{self.folder}/")


@dataclass
class Seen:
    """What the files of a lake are taken for."""

    tables: list[Candidate] = field(default_factory=list)
    #: Folders each file of which is a table, or none.
    single: list[Folder] = field(default_factory=list)
    #: Those of them that were not gone through.
    same: list[Folder] = field(default_factory=list)


def candidates(root: Folder, known: Callable[[Folder], bool] | None = None) -> Seen:
    """Return the tables that files are taken for; the name of the root itself is empty.

    known: whether the files in a folder, each a table or none, are as they were before;
    they are left out.
    """
    seen = Seen()
    _look(root, known or (lambda _: False), seen)
    return seen


def single(entry: Entry) -> Candidate:
    """Return a file that is a table of its own."""
    kind = format_of(entry.name) or "folder"
    return Candidate(entry.name, kind, (entry,), reason=entry.reason)


def named_texts(
    entries: Iterable[Entry], tables: Sequence[Candidate], globs: Iterable[str]
) -> list[Candidate]:
    """Return files of other endings, `.txt` say, that a glob for CSV names.

    It has to name the ending, too: `**` is not meant for every file.
    """
    patterns = [
        (re.compile(glob_translate(g)), posixpath.splitext(g)[1]) for g in globs
    ]
    if not patterns:
        return []
    names = {entry.name for table in tables for entry in table.files}
    return [
        Candidate(entry.name, "csv", (entry,), reason=entry.reason)
        for entry in entries
        if entry.name not in names
        and not any(map(_hidden, entry.name.split("/")))
        and any(
            ending and entry.name.endswith(ending) and pattern.match(entry.name)
            for pattern, ending in patterns
        )
    ]


def data_files(folder: Folder) -> list[Entry]:
    """Return the files of a folder that hold rows, at any depth, sorted by name."""
    data = [entry for entry in folder.files if _is_data(entry.name)]
    for name, inner in folder.folders.items():
        if not _hidden(name):
            data += data_files(inner)
    return sorted(data)


def ignored(folder: Folder, names: Container[str]) -> dict[str, int]:
    """Return how many files in a folder are no table, by their ending.

    names: of the files that are one.
    """
    counted: Counter[str] = Counter()
    for entry in folder.files:
        base = entry.name.rpartition("/")[2]
        if entry.name not in names and not _hidden(base):
            counted[posixpath.splitext(base.lower())[1] or base] += 1
    return dict(sorted(counted.items()))


def format_of(name: str) -> str | None:
    """Return a single file's format by its name; None if it is no data."""
    base = name.rpartition("/")[2]
    if _hidden(base):
        return None
    stem, dot, ending = base.lower().rpartition(".")
    kind = _FORMATS.get(ending) if dot else None
    if kind is None and ending in _PACKED:
        _, dot, ending = stem.rpartition(".")
        kind = _FORMATS.get(ending) if dot else None
        return kind if kind in _TEXTS else None
    return kind


def _is_data(name: str) -> bool:
    """Whether a file in a table's folder holds rows of it."""
    kind = format_of(name)
    return kind is not None and kind not in _NOTES


def _hidden(name: str) -> bool:
    return name.startswith((".", "_")) and "=" not in name


def _look(folder: Folder, known: Callable[[Folder], bool], seen: Seen) -> None:
    if known(folder):
        # Its names were looked at before, and told that it is not one table.
        seen.same.append(folder)
    else:
        whole = None if only_single(folder) else _whole(folder)
        if whole is not None:
            seen.tables.append(whole)
            return
        seen.single.append(folder)
        seen.tables += [
            single(entry)
            for entry in folder.files
            if entry.is_folder or format_of(entry.name)
        ]
    for name, inner in folder.folders.items():
        if not _hidden(name):
            _look(inner, known, seen)


def only_single(folder: Folder) -> bool:
    """Whether the names in a folder alone tell that it is not one table."""
    inside = folder.folders
    if any(name in inside for name in _LOGS) or any("=" in name for name in inside):
        return False
    names = [entry.name.rpartition("/")[2] for entry in folder.files]
    return _WHOLE.isdisjoint(names) and not _are_parts(list(filter(_is_data, names)))


def _whole(folder: Folder) -> Candidate | None:
    """Return the folder as one table, or None."""
    logged = _logged(folder)
    if logged is not None:
        return _as_one(folder, logged, folder.everything())
    if ".hoodie" in folder.folders:
        return replace(_as_one(folder, "folder", folder.everything()), reason=_HUDI)
    data = tuple(data_files(folder))
    if not data or any(format_of(entry.name) != "parquet" for entry in data):
        return None
    names = {entry.name.rpartition("/")[2] for entry in folder.files}
    if _is_hive(folder) or names & _WHOLE:
        return _as_one(folder, "parquet_folder", data)
    parts = [entry.name.rpartition("/")[2] for entry in data]
    if names.issuperset(parts) and _are_parts(parts):
        return replace(_as_one(folder, "parquet_folder", data), supposed=True)
    return None


def _logged(folder: Folder) -> str | None:
    """Return whose log a folder holds, or None."""
    if "_delta_log" in folder.folders:
        return "delta"
    metadata = folder.folders.get("metadata")
    if metadata and any(e.name.endswith(".metadata.json") for e in metadata.files):
        return "iceberg"
    return None


def _as_one(folder: Folder, kind: str, files: tuple[Entry, ...]) -> Candidate:
    unread = [e for e in files if e.reason is not None]
    reason = f"{unread[0].name}: {unread[0].reason}" if unread else None
    return Candidate(folder.name, kind, files, folder.name, reason=reason)


def _is_hive(folder: Folder) -> bool:
    if any(_is_data(entry.name) for entry in folder.files):
        return False
    inner = [n for n, f in folder.folders.items() if not _hidden(n) and data_files(f)]
    keys = {name.partition("=")[0] for name in inner if "=" in name}
    return bool(inner) and len(keys) == 1 and all("=" in name for name in inner)


def _are_parts(names: Sequence[str]) -> bool:
    stems = [name.partition(".parq")[0].partition(".pq")[0] for name in names]
    if all(_NAMED_PART.match(stem) for stem in stems):
        return bool(stems)
    if all(_COUNTED.fullmatch(stem) for stem in stems):
        return len({_COUNTED.sub(r"\1", stem) for stem in stems}) == 1
    if len(names) < 2 or not all(_NUMBERED.fullmatch(stem) for stem in stems):
        return False
    numbered = [m.groups("") for m in map(_NUMBERED.fullmatch, stems) if m]
    words = {word.lower() for word, _ in numbered}
    numbers = sorted(int(number) for _, number in numbered)
    gapless = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return len(words) == 1 and gapless and numbers[0] in (0, 1)
