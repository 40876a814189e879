"""Which tables may go: prices and promises, the cheapest plan, queries that were run.

A table's rebuild query is looked for only if the plan would delete the table. Until
then its side file is taken to be empty, which makes deleting look no dearer than it is;
so a plan all of whose queries are known is the cheapest one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.core.run_folder import remove
from winnow.lake.compare.rebuild import describe, files_of
from winnow.lake.compare.replayed import Replayed, difference
from winnow.lake.compare.row_hashes import RowHashes
from winnow.lake.files.words import in_words
from winnow.lake.kernels.copies import Plan
from winnow.lake.kernels.facility_location import Retained, duplicate_groups, retain
from winnow.lake.kernels.tables import PLAN
from winnow.lake.plan_rows import PlanRows
from winnow.lake.prices import Edge, Prices, as_pattern
from winnow.lake.proven import ProvenRebuilds
from winnow.lake.result_files import write_plan
from winnow.lake.run import PLAN_SETTINGS, LakeRun, RebuildSource, open_run, source_of
from winnow.lake.safety import Safety

_NO_GAIN = "its side file would be larger than the table"


def plan_lake(run: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Plan the deletions of a scanned lake; write `plan.parquet` and side files.

    Every planned query has been run and its rows compared, with the table's or with
    those of a table that holds the same rows in the same order, bit for bit. Tables
    that changed since the scan stay. Returns totals, the gap to the least cost (0
    unless the solver ran out of time) and the rows of `plan.parquet`. Raises what
    `open_run` does, and RunError if another process writes the run.
    """
    opened = open_run(run, overrides)
    with opened.folder.locked():
        planner = _Planner(opened)
        solution = planner.solve()
        rows = planner.rows(solution)
        _write(opened, rows)
        _remove_stale_side_files(opened, planner.side_files(solution))
    gone = [row for row in rows if row["action"] == "delete"]
    return {
        "run": str(opened.folder.path),
        "tables": len(opened.number),
        "deleted": len(gone),
        "bytes_saved": sum(row["bytes_saved"] for row in rows),
        "cost_saved": sum(row["cost_saved"] for row in rows),
        "gap": solution.gap,
        "plan": rows,
    }


@dataclass
class _Planner:
    """The edges of a lake, and why some cannot be used."""

    run: LakeRun
    prices: Prices = field(init=False)
    names: list[str] = field(init=False)
    edges: dict[tuple[str, str], Edge] = field(init=False)
    #: Edges to several parents together, or to one under other names.
    derived: list[Edge] = field(init=False)
    #: Those of them that the plan takes.
    taken: list[Edge] = field(default_factory=list)
    #: What is read of parents, and their queries' rows, for all of their children.
    hashes: RowHashes = field(init=False)
    replayed: Replayed = field(default_factory=Replayed)
    #: Why a table stays although it is contained, by name.
    kept: dict[str, str] = field(default_factory=dict)
    #: Bytes that are read of a parent, by it and the compared columns.
    read: dict[tuple[int, tuple[str, ...]], int] = field(default_factory=dict)
    #: Queries that were run, for tables that hold the same.
    proven: ProvenRebuilds = field(init=False)

    def __post_init__(self) -> None:
        self.prices = Prices(self.run)
        self.hashes = RowHashes(self.run.tables)
        pairs = self.run.contained()
        derived = self.run.derived()
        self.names = sorted(
            {
                *(name for pair in pairs for name in pair),
                *(
                    name
                    for source in derived
                    for name in (source.child, *source.parents)
                ),
            }
        )
        changed = {name: self.run.changed(name) for name in self.names}
        self.kept = {name: why for name, why in changed.items() if why}
        self.edges = {
            (child, parent): self._edge(RebuildSource(child, (parent,)))
            for child, parent in pairs
            if not (changed[child] or changed[parent])
        }
        self.derived = [
            self._edge(source)
            for source in derived
            if not any(changed[name] for name in (source.child, *source.parents))
        ]
        position = {name: number for number, name in enumerate(self.names)}
        ends = np.array(
            [(position[v], position[u]) for v, u in self.edges], np.int64
        ).reshape(-1, 2)
        files = files_of(self.run.tables)
        self.safety = Safety(files, self.run.tables.reader.tables)
        self.proven = ProvenRebuilds(self.run, self._strict)
        self._leave_out(self._objections())
        self.groups = duplicate_groups(len(self.names), ends[:, 0], ends[:, 1])
        self.protected = self._protected()
        for child, parent in list(self.edges):
            self._drop_if_slow(self.edges[child, parent])

    def _objections(self) -> dict[str, str]:
        """Return what speaks against moving tables that could be had back."""
        children = {edge.child for edge in (*self.edges.values(), *self.derived)}
        objections = {name: self._objection(name) for name in sorted(children)}
        return {name: why for name, why in objections.items() if why is not None}

    def _leave_out(self, staying: Mapping[str, str]) -> None:
        self.kept |= staying
        self.edges = {k: e for k, e in self.edges.items() if k[0] not in staying}
        self.derived = [edge for edge in self.derived if edge.child not in staying]

    def solve(self) -> Retained:
        """Return the cheapest plan all of whose queries give the tables back."""
        while True:
            solution = retain(self._problem())
            unknown = [edge for edge in self._chosen(solution) if edge.rebuild is None]
            if not unknown:
                self._take_derived(solution)
                return solution
            with self.replayed.opening(self._local_files(unknown)):
                for edge in unknown:
                    self._try(edge)

    def _local_files(self, edges: Iterable[Edge]) -> set[str]:
        """Return the files of some edges' parents that lie here."""
        files = files_of(self.run.tables)
        parents = {edge.parent for edge in edges}
        return {
            part.path
            for parent in sorted(parents)
            for part in self.run.table(parent).parts
            if files.is_local(part.path)
        }

    def _take_derived(self, solution: Retained) -> None:
        """Delete more tables, had back from several or under other names.

        The cheapest plan of single parents stands; what saves most comes first.
        """
        chosen = self._chosen(solution)
        gone = {edge.child for edge in chosen}
        needed = {edge.parent for edge in chosen} | self.protected.keys()
        self.taken = []
        gain = self.prices.gain
        for edge in sorted(self.derived, key=lambda e: (-gain(e), e.child)):
            lost = [parent for parent in edge.source.parents if parent in gone]
            if edge.child in gone or edge.child in needed or gain(edge) <= 0:
                continue
            if lost:
                self.kept.setdefault(edge.child, f"{lost[0]}, which holds it, goes")
                continue
            if edge.rebuild is None:
                self._try_derived(edge)
            if edge.rebuild is not None and gain(edge) > 0:
                self.taken.append(edge)
                gone.add(edge.child)
                needed |= set(edge.source.parents)

    def _try_derived(self, edge: Edge) -> None:
        """Find the rebuild query and run it; the edge has none if it is no good."""
        why = self.prices.too_slow(edge)
        try:
            why = why or self._described(edge)
        except Exception as error:  # whatever it is: the other tables are planned
            why = in_words(error)
        why = why or self.prices.too_slow(edge)
        if why is None and self._saved(edge) <= 0:
            why = _NO_GAIN
        if why is not None:
            edge.rebuild = None
            self.kept[edge.child] = f"not rebuilt from {edge.parent}: {why}"

    def _described(self, edge: Edge) -> str | None:
        """Find the rebuild query; return how its rows differ, None if they do not."""
        child, parent = self.run.numbers(edge.source, self._strict)
        positions_file = self.run.side_file(edge.child, edge.source.parents)
        tables = self.run.tables
        edge.rebuild = describe(tables, child, parent, positions_file, self.hashes)
        return difference(
            tables, child, parent, edge.rebuild, self._strict, self.replayed
        )

    def rows(self, solution: Retained) -> list[dict[str, Any]]:
        """Return the rows of `plan.parquet`, sorted by table."""
        chosen = [*self._chosen(solution), *self.taken]
        saved = {edge.child: self._saved(edge) for edge in chosen}
        rows = PlanRows(self.run, self.prices, self.names, self.protected, self.kept)
        return rows.of(chosen, self.edges.values(), saved)

    def side_files(self, solution: Retained) -> set[Path]:
        """Return the side files that the plan's queries read."""
        used = (edge.rebuild for edge in (*self._chosen(solution), *self.taken))
        return {Path(r.side_file) for r in used if r and r.side_file}

    def _edge(self, source: RebuildSource) -> Edge:
        names, number = self.run.tables.names, self.run.number
        keys = tuple(source.columns or names[number[source.child]])
        read = sum(self._bytes_read(number[parent], keys) for parent in source.parents)
        return Edge(source, read, self.run.table(source.child).bytes)

    def _bytes_read(self, parent: int, keys: tuple[str, ...]) -> int:
        """Return how many bytes of a parent hold some compared columns."""
        if (parent, keys) not in self.read:
            tables = self.run.tables
            columns = [tables.names[parent][key] for key in keys]
            self.read[parent, keys] = sum(
                tables.reader.bytes_of(parent, part, None, columns)
                for part in range(len(tables.reader.tables[parent].parts))
            )
        return self.read[parent, keys]

    def _objection(self, name: str) -> str | None:
        try:
            return self.safety.objection(self.run.table(name))
        except Exception as error:
            return f"its files cannot be looked at ({in_words(error)})"

    def _protected(self) -> dict[str, str]:
        """Return why tables must stay, by name."""
        stays = as_pattern(self.run.config.plan.protected)
        protected = {name: "protected" for name in self.names if stays.match(name)}
        for move in self.run.trash.moves().values():
            for parent in source_of(move.facts).parents:
                protected[parent] = (
                    f"{move.table}, which was moved away, is rebuilt from it"
                )
        return protected

    def _drop_if_slow(self, edge: Edge) -> None:
        why = self.prices.too_slow(edge)
        if why is not None:
            self._drop(edge, why)

    def _drop(self, edge: Edge, why: str) -> None:
        del self.edges[edge.child, edge.parent]
        self.kept[edge.child] = f"not rebuilt from {edge.parent}: {why}"

    def _try(self, edge: Edge) -> None:
        """Find the rebuild query and run it; drop the edge if it is no good."""
        try:
            why, edge.rebuild = None, self.proven.of(edge)
            if edge.rebuild is None:
                why = self._described(edge)
                if why is None:
                    self.proven.add(edge)
        except Exception as error:  # whatever it is: the other tables are planned
            why = in_words(error)
        if why is None and self._saved(edge) <= 0:
            why = _NO_GAIN
        if why is not None:
            self._drop(edge, why)
        else:
            self._drop_if_slow(edge)

    @property
    def _strict(self) -> bool:
        return self.run.config.plan.types == "strict"

    def _saved(self, edge: Edge) -> int:
        """Return how many bytes less there are once the table is gone."""
        beside = edge.rebuild.side_bytes if edge.rebuild else 0
        return self.safety.saved_bytes(self.run.table(edge.child)) - beside

    def _problem(self) -> Plan:
        position = {name: number for number, name in enumerate(self.names)}
        edges = list(self.edges.values())
        return Plan(
            np.array([self.prices.keep_cost(name) for name in self.names]),
            np.array([name in self.protected for name in self.names], bool),
            self.groups,
            np.array([position[edge.child] for edge in edges], np.int64),
            np.array([position[edge.parent] for edge in edges], np.int64),
            np.array([self.prices.rebuild_cost(edge) for edge in edges], np.float64),
        )

    def _chosen(self, solution: Retained) -> list[Edge]:
        return [
            self.edges[self.names[child], self.names[parent]]
            for child, parent in enumerate(solution.source.tolist())
            if parent >= 0
        ]


def _write(run: LakeRun, rows: Sequence[Mapping[str, Any]]) -> None:
    prices = run.config.plan.model_dump_json().encode()
    schema = PLAN.with_metadata({PLAN_SETTINGS: prices})
    write_plan(run.folder.path, pa.Table.from_pylist(list(rows), schema))
    # It tells of an earlier plan, or of none.
    remove(run.folder.file("report.html"))


def _remove_stale_side_files(run: LakeRun, used: set[Path]) -> None:
    """Remove side files of earlier plans, but none that a moved table needs."""
    moves = run.trash.moves().values()
    used = used | {Path(m.facts["side_file"]) for m in moves if m.facts["side_file"]}
    for path in run.side_files.rglob("*.parquet*"):
        if path.is_file() and path not in used:
            path.unlink()
