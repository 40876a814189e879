"""Carrying out a deletion plan: tables move to the trash, and back; none is deleted."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from winnow.core.errors import ConfigError, RunError, did_you_mean
from winnow.core.inside import lies_in
from winnow.core.run_folder import RunFolder
from winnow.lake.compare.rebuild import Rebuild, files_of
from winnow.lake.compare.replayed import difference
from winnow.lake.files.catalogue import fingerprint
from winnow.lake.files.trash import Trash
from winnow.lake.files.words import in_words
from winnow.lake.kernels.tables import Table
from winnow.lake.run import (
    LakeRun,
    RebuildSource,
    is_strict,
    open_run,
    read_plan,
    run_config,
    source_of,
    trash_of,
)
from winnow.lake.safety import Safety

_TRASH = "trash"


def dry_run(run: str, trash: str | None = None) -> list[dict[str, Any]]:
    """Return what `apply_plan` would do: a command and a query for each table.

    Raises RunError if the run has no plan, ConfigError if the trash lies in the lake.
    """
    folder = RunFolder(run)
    config = run_config(folder)
    opened = open_run(run)
    root = _trash_root(folder, config.input.path, trash)
    gone = trash_of(folder, config).moves()
    return [
        {
            "table": row["table"],
            "parent": row["parent"],
            "command": shlex.join(
                ["mv", opened.table(row["table"]).location, f"{root}/{row['table']}"]
            ),
            "rebuild_sql": row["rebuild_sql"],
        }
        for row in _deletions(folder)
        if row["table"] not in gone and row["table"] in opened.number
    ]


def apply_plan(run: str, trash: str | None = None) -> dict[str, Any]:
    """Move the tables that the plan deletes to the trash, each checked just before.

    A table moves only if neither it nor its parent changed since the scan, if nothing
    else lies in its place, and if its rebuild query, run once more, gives its rows
    back. Returns what this call `moved` (what an earlier one was cut off in is
    completed first), what was moved `before`, and, with reasons, `kept`. Raises what
    `dry_run` does, and RunError if another process writes the run.
    """
    folder = RunFolder(run)
    config = run_config(folder)
    root = _trash_root(folder, config.input.path, trash)
    deletions = _deletions(folder)
    with folder.locked():
        away = trash_of(folder, config)
        before = [m.table for m in away.moves().values() if m.state == "moved"]
        moved = [
            m.table
            for m in away.moves().values()
            if m.table not in before and away.finish(m)
        ]
        planned = {row["table"] for row in deletions}
        applier = _Applier(open_run(run), away, root, planned, is_strict(folder))
        kept = []
        for row in deletions:
            if row["table"] in moved or row["table"] in before:
                continue
            why = applier.apply(row)
            if why is None:
                moved.append(row["table"])
            else:
                kept.append({"table": row["table"], "reason": why})
    return {
        "run": run,
        "trash": root,
        "moved": sorted(moved),
        "before": sorted(before),
        "kept": kept,
    }


def restore(run: str, tables: Sequence[str] = ()) -> dict[str, Any]:
    """Move tables back from the trash, all of them by default.

    Returns `restored` and, with reasons, `kept`: nothing is overwritten. Raises
    ConfigError for a table that is not in the trash.
    """
    folder = RunFolder(run)
    away = trash_of(folder, run_config(folder))
    with folder.locked():
        moves = away.moves()
        for name in tables:
            if name not in moves:
                raise ConfigError(
                    f"{name} is not in the trash of {run}; {did_you_mean(name, moves)}"
                )
        restored, kept = [], []
        for name in sorted(tables or moves):
            try:
                away.restore(moves[name])
                restored.append(name)
            except RunError as error:
                kept.append({"table": name, "reason": str(error)})
    return {"run": run, "restored": restored, "kept": kept}


@dataclass
class _Applier:
    """Moves one table after the other."""

    run: LakeRun
    trash: Trash
    root: str
    planned: set[str]
    #: Whether the plan promised a table's own types and bits.
    strict: bool
    safety: Safety = field(init=False)

    def __post_init__(self) -> None:
        tables = self.run.tables
        self.safety = Safety(files_of(tables), tables.reader.tables)

    def apply(self, row: Mapping[str, Any]) -> str | None:
        """Move a table, or return why it stays."""
        source = source_of(row)
        child = source.child
        why = self._objection(source)
        if why is not None:
            return why
        rebuild = self._rebuild(row)
        try:
            pair = self.run.numbers(source, self.strict)
            why = self.safety.objection(self.run.table(child)) or difference(
                self.run.tables,
                *pair,
                rebuild,
                self.strict,
            )
        except Exception as error:  # whatever it is: the other tables can move
            why = in_words(error)
        # What was compared must be what moves, and what stays.
        why = why or self._changed_meanwhile((child, *source.parents))
        if why is not None:
            return why
        facts = {
            "parents": list(source.parents),
            "rebuild_sql": rebuild.sql,
            "side_file": rebuild.side_file,
        }
        try:
            self.trash.move(self.run.table(child), self.root, facts)
        except (RunError, OSError) as error:
            return str(error)
        return None

    def _objection(self, source: RebuildSource) -> str | None:
        """Return what speaks against moving the table before any row is read."""
        child = source.child
        for name in (child, *source.parents):
            why = self.run.changed(name)
            if why is not None:
                return why
        for parent in source.parents:
            if parent in self.planned:
                return f"{parent} is to be deleted, too; plan again"
        for move in self.trash.moves().values():
            if child in source_of(move.facts).parents and move.state == "moved":
                return f"{move.table}, which was moved away, is rebuilt from it"
        inside = self._tables_inside(self.run.table(child))
        return f"its folder holds {inside}, too" if inside else None

    def _tables_inside(self, table: Table) -> str | None:
        """Return another table with files in the folder that would move."""
        folder = table.location.rstrip("/") + "/"
        return next(
            (
                other.name
                for other in self.run.tables.reader.tables
                if other.name != table.name
                and any(part.path.startswith(folder) for part in other.parts)
            ),
            None,
        )

    def _changed_meanwhile(self, names: Sequence[str]) -> str | None:
        for name in names:
            now = fingerprint(self.run.lake, self.run.table(name))
            if now != self.run.scanned[name]:
                return f"{name} changed while it was compared"
        return None

    def _rebuild(self, row: Mapping[str, Any]) -> Rebuild:
        source = source_of(row)
        positions_file = self.run.side_file(source.child, source.parents)
        sql = row["rebuild_sql"]
        return Rebuild(sql, str(positions_file) if str(positions_file) in sql else None)


def _deletions(folder: RunFolder) -> list[dict[str, Any]]:
    return [row for row in read_plan(folder) if row["action"] == "delete"]


def _trash_root(folder: RunFolder, lake: str, trash: str | None) -> str:
    """Return the trash's place; raises ConfigError if a scan would find it again.

    Links are followed: a trash inside the lake by another name is inside it.
    """
    root = trash or os.path.abspath(folder.file(_TRASH))
    if "://" not in root:
        root = os.path.abspath(os.path.expanduser(root))
    if lies_in(root, lake):
        raise ConfigError(
            f"the trash {root} lies in the lake; choose another place with --trash"
        )
    return root
