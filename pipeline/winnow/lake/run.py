"""A scanned lake as its run's folder tells, and as it is now."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.lake import LakeConfig
from winnow.config.lock_file import read_lock
from winnow.config.recipes import load_lake
from winnow.core.errors import ConfigError, RunError
from winnow.core.other_kind import is_run, no_scan
from winnow.core.run_folder import RunFolder
from winnow.lake.compare.exactness import Exactness, metadata
from winnow.lake.compare.hashed_tables import HashedTables
from winnow.lake.compare.rebuild import files_of
from winnow.lake.compare.united import TOGETHER, renamed, united
from winnow.lake.files.catalogue import LakeSource, survey
from winnow.lake.files.compared_as_text import all_as_text, is_csv, is_json
from winnow.lake.files.files import Files
from winnow.lake.files.journal import Journal
from winnow.lake.files.reader import TableReader
from winnow.lake.files.trash import Trash
from winnow.lake.kernels.schema_graph import matching_names
from winnow.lake.kernels.tables import Table
from winnow.lake.memory import Catalogue, keys_of
from winnow.lake.result_files import require_whole_plan, require_whole_scan
from winnow.lake.source import lake_of

#: Where `plan.parquet` says by which prices and promises it was made.
PLAN_SETTINGS = b"winnow.plan"
_FINISHED = "finished scan"
_CONTAINED = ("duplicate", "contained")


@dataclass(frozen=True)
class RebuildSource:
    """What a table is had back from."""

    child: str
    #: One table, or several that are read as one.
    parents: tuple[str, ...]
    #: `{the parent's compared name: the child's column}` of a renamed table.
    columns: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """The parents in words."""
        return TOGETHER.join(self.parents)


def source_of(row: Mapping[str, Any]) -> RebuildSource:
    """Return what a row of a plan, or of a move's facts, says of a table's source."""
    parents = row.get("parents") or [row.get("parent") or ""]
    columns = row.get("columns")
    return RebuildSource(
        row.get("table", ""),
        tuple(parents),
        None if columns is None else json.loads(columns),
    )


@dataclass(frozen=True)
class LakeRun:
    """A finished scan; `tables` are those that stand in the lake now."""

    folder: RunFolder
    config: LakeConfig
    lake: LakeSource
    tables: HashedTables
    number: dict[str, int]
    #: Fingerprint of each table when it was scanned, by name.
    scanned: dict[str, str]
    exactness: Exactness

    @property
    def side_files(self) -> Path:
        """The folder of row positions that rebuild queries read."""
        return _side_files(self.folder)

    @property
    def trash(self) -> Trash:
        """The tables that `apply` moved away."""
        return trash_of(self.folder, self.config)

    def numbers(self, source: RebuildSource, strict: bool) -> tuple[int, int]:
        """Return the numbers under which a table is had back from others.

        As `strict` CSV files are compared by what is written: `3.10` is not 3.1.
        Raises RunError where the child's JSON would come back as text, or its notation
        or metadata as others, ValueError if the parents cannot be read as one.
        """
        if strict:
            self._require_exact(source)
        pairs = [self._pair(source.child, parent, strict) for parent in source.parents]
        children = {child for child, _ in pairs}
        if len(children) > 1:
            raise RunError(
                f"{source.child}: its parents hold its columns as other types"
            )
        (child,) = children
        parents = [parent for _, parent in pairs]
        if source.columns is not None:
            child = renamed(self.tables, child, source.columns)
        return child, parents[0] if len(parents) == 1 else united(self.tables, parents)

    def _require_exact(self, source: RebuildSource) -> None:
        """Raise RunError if notation or metadata would be lost with the child."""
        names, child = self.tables.names, self.table(source.child)
        columns = source.columns or names[self.number[source.child]]
        parents = []
        for name in source.parents:
            held = names[self.number[name]]
            matched = {column: held[key] for key, column in columns.items()}
            parents.append((self.table(name), matched))
        told = self.exactness.notation(child, parents)
        for parent, matched in parents:
            told = told or metadata(child, parent, matched)
        if told:
            raise RunError(f"{told}; plan.types=relaxed takes that")

    def _pair(self, child: str, parent: str, strict: bool) -> tuple[int, int]:
        pair = self.number[child], self.number[parent]
        if strict and all(is_csv(self.table(name)) for name in (child, parent)):
            forms = (all_as_text(self.table(name)) for name in (child, parent))
            child_number, held = (
                self.tables.in_form(number, form)
                for number, form in zip(pair, forms, strict=True)
            )
            return child_number, held
        if not set(self.tables.names[pair[0]]) <= set(self.tables.names[pair[1]]):
            return pair  # Under other names, and so in their own types.
        child_number, held = self.tables.paired(*pair) or pair
        told = dict(self.tables.reader.tables[child_number].forms)
        if told and is_json(self.table(child)):
            raise RunError(
                f"{child}: its column {min(told)} is equal by value, but would come "
                "back as text"
            )
        return child_number, held

    def table(self, name: str) -> Table:
        """Return a table that stands in the lake; KeyError if it is gone."""
        return self.tables.reader.tables[self.number[name]]

    def changed(self, name: str) -> str | None:
        """Return why what the scan found of a table does not hold any more, or None."""
        if name not in self.number:
            return f"{name} is gone since the scan"
        if self.table(name).fingerprint != self.scanned.get(name):
            return f"{name} changed since the scan; scan again"
        return None

    def contained(self) -> list[tuple[str, str]]:
        """Return the pairs (child, parent) that the scan verified, sorted."""
        # Refuted pairs, of which there may be millions, are not taken in.
        edges = _read(
            self.folder,
            "edges.parquet",
            columns=["child", "parent"],
            filters=[("relation", "in", _CONTAINED)],
        )
        return sorted((edge["child"], edge["parent"]) for edge in edges.to_pylist())

    def derived(self) -> list[RebuildSource]:
        """Return the tables that several others hold, or one under other names."""
        path = self.folder.file("derived.parquet")
        rows = pq.read_table(path).to_pylist() if path.is_file() else []
        return [source_of({**row, "table": row["child"]}) for row in rows]

    def side_file(self, child: str, parents: Sequence[str]) -> Path:
        """Return where the row positions of a rebuild stand; one place per version."""
        return side_file(self.folder, self.scanned, child, parents)


def open_run(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> LakeRun:
    """Return a finished scan and its lake as it stands now.

    `overrides` change settings of the section `plan`. Raises RunError if the folder
    holds no scan, ConfigError for other settings, InputError if the lake is gone.
    """
    folder = RunFolder(path)
    config = run_config(folder, overrides)
    lake = lake_of(config, folder)
    # A table whose files the scan saw as they are now is not opened again.
    known = Catalogue(folder, keys_of(config, folder)).known
    tables = [table for table, _ in survey(lake, known)]
    require_whole_scan(folder.path)
    scanned = _read(folder, "tables.parquet").select(["table", "fingerprint"])
    hashed = hashed_tables(config, tables)
    return LakeRun(
        folder,
        config,
        lake,
        hashed,
        {table.name: number for number, table in enumerate(tables)},
        {row["table"]: row["fingerprint"] for row in scanned.to_pylist()},
        Exactness(files_of(hashed)),
    )


def run_config(folder: RunFolder, overrides: Sequence[str] = ()) -> LakeConfig:
    """Return the recipe of a scan; raises RunError or ConfigError as `open_run`."""
    for override in overrides:
        if not override.startswith("plan."):
            raise ConfigError(
                f"--set {override}: only settings of `plan` can change after the scan"
            )
    lock = folder.file("config.lock.yaml")
    if not lock.is_file() or is_run(folder.path):
        raise no_scan(folder.path, _FINISHED)
    read_lock(folder.path)  # whether it is what was written
    return load_lake(lock, overrides)


def hashed_tables(config: LakeConfig, tables: Sequence[Table]) -> HashedTables:
    """Return what reads tables, by the names under which columns are compared."""
    folded = config.column_names == "folded"
    names = [
        matching_names(
            [column.name for column in table.columns], folded, config.ignore_columns
        )
        for table in tables
    ]
    return HashedTables(TableReader(list(tables), config.input.storage_options), names)


def side_file(
    folder: RunFolder, versions: Mapping[str, str], child: str, parents: Sequence[str]
) -> Path:
    """Return where the row positions of a rebuild stand; one place per version."""
    text = " ".join([versions[child], *(f"{p} {versions[p]}" for p in parents)])
    tag = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return _side_files(folder) / f"{child}.{tag}.parquet"


def _side_files(folder: RunFolder) -> Path:
    return Path(os.path.abspath(folder.file("rebuild")))


def trash_of(folder: RunFolder, config: LakeConfig) -> Trash:
    """Return the tables that were moved away, by the run's journal."""
    journal = Journal(folder.file("applied.jsonl"))
    return Trash(journal, Files(config.input.storage_options))


def read_plan(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the rows of a run's plan; raises RunError if there is none."""
    path = folder.file("plan.parquet")
    if not path.is_file():
        raise RunError(
            f"{folder.path} holds no plan; `winnow lake plan {folder.path}` makes one"
        )
    require_whole_plan(folder.path)
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def is_strict(folder: RunFolder) -> bool:
    """Whether a run's plan was made for a table's own types and bits."""
    stored = pq.read_schema(folder.file("plan.parquet")).metadata or {}
    settings = json.loads(stored.get(PLAN_SETTINGS, b"{}"))
    return bool(settings.get("types", "strict") == "strict")


def _read(folder: RunFolder, name: str, **choice: Any) -> pa.Table:
    path = folder.file(name)
    if not path.is_file():
        raise no_scan(folder.path, _FINISHED)
    return pq.read_table(path, **choice)
