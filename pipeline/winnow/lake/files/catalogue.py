"""Which tables a lake holds, and which of them changed since an earlier look."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from winnow.lake.files.column_files import CONTAINERS
from winnow.lake.files.csv_tables import CsvOptions
from winnow.lake.files.files import Files, Folder, tree
from winnow.lake.files.folders import (
    Candidate,
    Seen,
    candidates,
    data_files,
    ignored,
    named_texts,
    only_single,
    single,
)
from winnow.lake.files.known_folders import FolderTables, KnownFolder, KnownFolders
from winnow.lake.files.saved_tables import SavedTables
from winnow.lake.files.table_files import (
    Surveyed,
    TableFiles,
    fingerprint_by,
    fingerprint_of,
    globs,
)
from winnow.lake.kernels.tables import Table


@dataclass(frozen=True)
class LakeSource:
    """Where a lake is and which of its tables count."""

    path: str
    #: Globs over table names; `**` also matches `/`.
    include: Sequence[str] = ("**",)
    exclude: Sequence[str] = ()
    storage_options: Mapping[str, Any] | None = None
    #: A folder on this machine that is no part of the lake: the run's.
    without: str | None = None
    #: How CSV files are read, by glob over their names; the first that fits counts.
    csv: Mapping[str, CsvOptions] = field(default_factory=dict)

    @property
    def files(self) -> Files:
        """What opens its files."""
        return Files(self.storage_options or {})


class Changes(NamedTuple):
    """A lake beside an earlier look at it."""

    #: Tables that are new or have changed, and those that could not be read before.
    opened: list[Surveyed]
    #: Names of the others.
    same: list[str]
    #: Files that are no table's, by their ending.
    ignored: dict[str, int]
    #: What need not be gone through again once these tables are known.
    folders: KnownFolders


def discover(lake: LakeSource) -> list[Table]:
    """Return the tables of a lake, sorted by name; see `survey`."""
    return [table for table, _ in survey(lake)]


def survey(lake: LakeSource, known: SavedTables | None = None) -> list[Surveyed]:
    """Return every table of a lake with its columns' statistics, sorted by name.

    Each footer is read once. A table that cannot be read stands there with the reason,
    and without columns. `known` holds what an earlier survey found: a table whose files
    did not change since is taken from there, unopened. Raises InputError if the lake
    does not exist.
    """
    known = known or SavedTables()
    return whole(changes(lake, known), known)


def whole(seen: Changes, known: SavedTables) -> list[Surveyed]:
    """Return all tables of a lake, sorted by name."""
    if len(seen.same) * 8 > len(known):
        known.make_all()
    tables = [*seen.opened, *(known[name] for name in seen.same)]
    return sorted(tables, key=lambda surveyed: surveyed[0].name)


def changes(
    lake: LakeSource, known: SavedTables, folders: KnownFolders | None = None
) -> Changes:
    """Return which tables of a lake are not known as they are, opened; see `survey`.

    `folders` are such as an earlier look found, with all of their tables in `known`.
    """
    listing = _Listing(lake, known)
    before = folders or KnownFolders()
    seen = candidates(listing.root_folder, before.holds)
    taken = seen.tables + listing.named_texts(seen)
    told = FolderTables()
    same = [name for folder in seen.same for name in before[folder.name].tables]
    changed: list[Candidate] = []
    for candidate in listing.named(taken):
        names = listing.unchanged(candidate)
        if names is None:
            changed.append(candidate)
        else:
            same += names
            if candidate.folder is None:
                told.add(candidate.files[0].name, names, sound=True)
    opener = TableFiles(lake.files, listing.root, lake.csv)
    opened = list(opener.opened(changed))
    by_path = {c.files[0].path: c.files[0].name for c in changed if c.folder is None}
    for table, _ in opened:
        if table.location in by_path:
            sound = table.reason is None
            told.add(by_path[table.location], [table.name], sound=sound)
    kept = {folder.name: before[folder.name] for folder in seen.same}
    return Changes(opened, same, *_of_folders(seen, taken, told, kept))


def _of_folders(
    seen: Seen,
    taken: Sequence[Candidate],
    told: FolderTables,
    kept: Mapping[str, KnownFolder],
) -> tuple[dict[str, int], KnownFolders]:
    """Return how many files are no table's, and the folders that are known now."""
    names = {entry.name for candidate in taken for entry in candidate.files}
    counted: Counter[str] = Counter()
    now = KnownFolders(kept)
    for one in kept.values():
        counted.update(one.ignored)
    for folder in seen.single:
        left = ignored(folder, names)
        counted.update(left)
        known = told.of(folder, left) if only_single(folder) else None
        if known is not None:
            now[folder.name] = known
    return dict(sorted(counted.items())), now


def fingerprint(lake: LakeSource, table: Table) -> str:
    """Return what a table's fingerprint is now; it was `table.fingerprint` then.

    Raises InputError if the table is gone.
    """
    entries = lake.files.listed(table.location)
    if table.format == "parquet_folder":
        entries = data_files(tree(entries))
    if table.location == entries[0].path:
        return fingerprint_by(table.format, [("", entries[0])])
    return fingerprint_by(table.format, [(entry.name, entry) for entry in entries])


class _Listing:
    """The files of a lake, beside the tables that are known of it."""

    def __init__(self, lake: LakeSource, known: SavedTables) -> None:
        self._files = lake.files
        self._lake = lake
        self._known = known
        fs, inner = self._files.filesystem(lake.path)
        self._local = self._files.is_local(lake.path)
        self.root = (
            os.path.abspath(inner) if self._local else fs.unstrip_protocol(inner)
        )

    def named(self, taken: Sequence[Candidate]) -> Iterator[Candidate]:
        """Yield the tables that count, the root's own under its name."""
        base = self.root.rstrip("/").rpartition("/")[2]
        include, exclude = globs(self._lake.include), globs(self._lake.exclude)
        for candidate in taken:
            named = candidate if candidate.name else replace(candidate, name=base)
            if include.match(named.name) and not exclude.match(named.name):
                yield named

    def named_texts(self, seen: Seen) -> list[Candidate]:
        """Return the files that are tables since a glob for CSV names them."""
        if not self._lake.csv:
            return []
        left_out = {folder.name for folder in seen.same}
        entries = (
            entry
            for entry in self.root_folder.below()
            if entry.name.rpartition("/")[0] not in left_out
        )
        return named_texts(entries, seen.tables, self._lake.csv)

    @cached_property
    def root_folder(self) -> Folder:
        """The lake, but for what is of the run."""
        listed = tree(self._files.listed(self._lake.path))
        if self._lake.without is None or not self._local:
            return listed
        left_out = os.path.realpath(self._lake.without)
        # Links are not followed: below the root, names are real ones.
        root = os.path.realpath(self.root)
        if left_out.startswith(f"{root}/"):
            *above, name = left_out.removeprefix(f"{root}/").split("/")
            folder: Folder | None = listed
            for outer in above:
                folder = folder.folders.get(outer) if folder else None
            if folder is not None:
                folder.folders.pop(name, None)
        return listed

    def unchanged(self, candidate: Candidate) -> list[str] | None:
        """Return the names of tables that are known as they are, None if one is not."""
        if candidate.format in CONTAINERS:
            version = fingerprint_of(candidate)
            names = self._known.in_file(candidate.files[0].path)
            same = all(self._known.holds(name, version) for name in names)
            return names if names and same else None
        tables = [candidate]
        if candidate.supposed and candidate.name not in self._known:
            tables = [single(entry) for entry in candidate.files]
        known = self._known
        if all(known.holds(table.name, fingerprint_of(table)) for table in tables):
            return [table.name for table in tables]
        return None
