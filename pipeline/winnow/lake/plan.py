"""Which tables may go: prices and promises, the cheapest plan, queries that were run.

A table's rebuild query is looked for only if the plan would delete the table. Until
then its side file is taken to be empty, which makes deleting look no dearer than it is;
so a plan all of whose queries are known is the cheapest one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.utils import glob_translate

from winnow.core.run_folder import remove, replace
from winnow.core.sql_text import literal
from winnow.lake.compare.rebuild import Rebuild, describe, files_of
from winnow.lake.compare.replayed import difference
from winnow.lake.files.words import in_words
from winnow.lake.kernels.copies import Plan
from winnow.lake.kernels.facility_location import Retained, duplicate_groups, retain
from winnow.lake.kernels.tables import PLAN, Table
from winnow.lake.run import PLAN_SETTINGS, LakeRun, open_run
from winnow.lake.safety import Contents, Safety

_GB = 1e9
_MB = 1e6


def plan_lake(run: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Plan the deletions of a scanned lake; write `plan.parquet` and side files.

    Every planned query has been run, here or on files of the very same bytes, and its
    rows compared with the table's. Tables that
    changed since the scan stay. Returns totals, the gap to the least cost (0 unless the
    solver ran out of time) and the rows of `plan.parquet`. Raises what `open_run` does,
    and RunError if another process writes the run.
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
class _Edge:
    """A child that could be had from a parent."""

    child: str
    parent: str
    read: int
    write: int
    rebuild: Rebuild | None = None

    def seconds(self, megabytes: float) -> float:
        moved = (
            self.read + self.write + (self.rebuild.side_bytes if self.rebuild else 0)
        )
        return moved / (megabytes * _MB)


@dataclass
class _Planner:
    """The edges of a lake, and why some cannot be used."""

    run: LakeRun
    names: list[str] = field(init=False)
    edges: dict[tuple[str, str], _Edge] = field(init=False)
    #: Why a table stays although it is contained, by name.
    kept: dict[str, str] = field(default_factory=dict)
    #: Queries that were run, and the parent's path in them, by what both files hold.
    proven: dict[tuple[str | None, ...], tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pairs = self.run.contained()
        self.names = sorted({name for pair in pairs for name in pair})
        changed = {name: self.run.changed(name) for name in self.names}
        self.kept = {name: why for name, why in changed.items() if why}
        self.edges = {
            (child, parent): self._edge(child, parent)
            for child, parent in pairs
            if not (changed[child] or changed[parent])
        }
        position = {name: number for number, name in enumerate(self.names)}
        ends = np.array(
            [(position[v], position[u]) for v, u in self.edges], np.int64
        ).reshape(-1, 2)
        files = files_of(self.run.tables)
        self.safety = Safety(files, self.run.tables.reader.tables)
        self.contents = Contents(files, self.run.table)
        for child in sorted({child for child, _ in self.edges}):
            why = self._objection(child)
            if why is not None:
                self.kept[child] = why
                self.edges = {k: e for k, e in self.edges.items() if k[0] != child}
        self.groups = duplicate_groups(len(self.names), ends[:, 0], ends[:, 1])
        self.protected = self._protected()
        for child, parent in list(self.edges):
            self._drop_if_slow(self.edges[child, parent])

    def solve(self) -> Retained:
        """Return the cheapest plan all of whose queries give the tables back."""
        while True:
            solution = retain(self._problem())
            unknown = [edge for edge in self._chosen(solution) if edge.rebuild is None]
            if not unknown:
                return solution
            for edge in unknown:
                self._try(edge)

    def rows(self, solution: Retained) -> list[dict[str, Any]]:
        """Return the rows of `plan.parquet`, sorted by table."""
        chosen = {edge.child: edge for edge in self._chosen(solution)}
        parents = Counter(edge.parent for edge in chosen.values())
        least: dict[str, float] = {}
        for edge in self.edges.values():
            cost = self._rebuild_cost(edge)
            least[edge.child] = min(cost, least.get(edge.child, cost))
        return [
            self._deleted(chosen[name])
            if name in chosen
            else self._retained(name, parents[name], least.get(name))
            for name in self.names
            if name in self.run.number
        ]

    def side_files(self, solution: Retained) -> set[Path]:
        """Return the side files that the plan's queries read."""
        used = (edge.rebuild for edge in self._chosen(solution))
        return {Path(r.side_file) for r in used if r and r.side_file}

    def _edge(self, child: str, parent: str) -> _Edge:
        tables, numbers = self.run.tables, self.run.number
        child_names, held = tables.names[numbers[child]], tables.names[numbers[parent]]
        columns = [held[compared] for compared in child_names]
        read = sum(
            tables.reader.bytes_of(numbers[parent], part, None, columns)
            for part in range(len(self.run.table(parent).parts))
        )
        return _Edge(child, parent, read, self.run.table(child).bytes)

    def _objection(self, name: str) -> str | None:
        try:
            return self.safety.objection(self.run.table(name))
        except Exception as error:
            return f"its files cannot be looked at ({in_words(error)})"

    def _protected(self) -> dict[str, str]:
        """Return why tables must stay, by name."""
        stays = _globs(self.run.config.plan.protected)
        protected = {name: "protected" for name in self.names if stays.match(name)}
        for move in self.run.trash.moves().values():
            protected[move.facts.get("parent", "")] = (
                f"{move.table}, which was moved away, is rebuilt from it"
            )
        return protected

    def _drop_if_slow(self, edge: _Edge) -> None:
        prices = self.run.config.plan
        limit = _of(edge.child, prices.max_latency_of, prices.max_latency)
        seconds = edge.seconds(prices.rebuild_mb_per_s)
        if seconds > limit:
            self._drop(edge, f"it would take {seconds:,.3g} s, at most {limit:,.3g} s")

    def _drop(self, edge: _Edge, why: str) -> None:
        del self.edges[edge.child, edge.parent]
        self.kept[edge.child] = f"not rebuilt from {edge.parent}: {why}"

    def _try(self, edge: _Edge) -> None:
        """Find the rebuild query and run it; drop the edge if it is no good."""
        tables = self.run.tables
        side_file = self.run.side_file(edge.child, edge.parent)
        try:
            key = self.contents.of(edge.child), self.contents.of(edge.parent)
            edge.rebuild = self._known(key, self.run.table(edge.parent))
            why = None
            if edge.rebuild is None:
                child, parent = self.run.numbers(edge.child, edge.parent, self._strict)
                edge.rebuild = describe(tables, child, parent, side_file)
                why = difference(tables, child, parent, edge.rebuild, self._strict)
                if why is None and None not in key and not edge.rebuild.side_file:
                    path = self.run.table(edge.parent).location
                    self.proven[key] = edge.rebuild.sql, literal(path)
        except Exception as error:  # whatever it is: the other tables are planned
            why = in_words(error)
        if why is None and self._saved(edge) <= 0:
            why = "its side file would be larger than the table"
        if why is not None:
            self._drop(edge, why)
        else:
            self._drop_if_slow(edge)

    @property
    def _strict(self) -> bool:
        return self.run.config.plan.types == "strict"

    def _known(self, key: tuple[str | None, ...], parent: Table) -> Rebuild | None:
        """Return the query that gave the same bytes back from the same bytes."""
        if key not in self.proven:
            return None
        sql, path = self.proven[key]
        return Rebuild(sql.replace(path, literal(parent.location)))

    def _saved(self, edge: _Edge) -> int:
        """Return how many bytes less there are once the table is gone."""
        beside = edge.rebuild.side_bytes if edge.rebuild else 0
        return self.safety.saved_bytes(self.run.table(edge.child)) - beside

    def _problem(self) -> Plan:
        position = {name: number for number, name in enumerate(self.names)}
        edges = list(self.edges.values())
        return Plan(
            np.array([self._keep_cost(name) for name in self.names]),
            np.array([name in self.protected for name in self.names], bool),
            self.groups,
            np.array([position[edge.child] for edge in edges], np.int64),
            np.array([position[edge.parent] for edge in edges], np.int64),
            np.array([self._rebuild_cost(edge) for edge in edges], np.float64),
        )

    def _chosen(self, solution: Retained) -> list[_Edge]:
        return [
            self.edges[self.names[child], self.names[parent]]
            for child, parent in enumerate(solution.source.tolist())
            if parent >= 0
        ]

    def _keep_cost(self, name: str) -> float:
        prices = self.run.config.plan
        if name not in self.run.number:
            return 0.0
        stored = self.run.table(name).bytes / _GB
        return prices.storage_per_gb * stored + prices.maintenance_per_table

    def _rebuild_cost(self, edge: _Edge) -> float:
        prices = self.run.config.plan
        read = (prices.read_per_gb + prices.compute_per_gb) * edge.read
        once = (read + prices.write_per_gb * edge.write) / _GB
        beside = edge.rebuild.side_bytes if edge.rebuild else 0
        asked = _of(edge.child, prices.accesses_of, prices.accesses)
        return asked * once + prices.storage_per_gb * beside / _GB

    def _deleted(self, edge: _Edge) -> dict[str, Any]:
        assert edge.rebuild is not None
        keep, rebuild = self._keep_cost(edge.child), self._rebuild_cost(edge)
        seconds = edge.seconds(self.run.config.plan.rebuild_mb_per_s)
        return {
            "table": edge.child,
            "action": "delete",
            "parent": edge.parent,
            "bytes": edge.write,
            "bytes_saved": self._saved(edge),
            "keep_cost": keep,
            "rebuild_cost": rebuild,
            "cost_saved": keep - rebuild,
            "rebuild_seconds": seconds,
            "rebuild_sql": edge.rebuild.sql,
            "reason": f"{edge.parent} holds all of its rows; its rebuild was run and "
            "gives them back",
        }

    def _retained(
        self, name: str, children: int, least: float | None
    ) -> dict[str, Any]:
        keep = self._keep_cost(name)
        return {
            **dict.fromkeys(PLAN.names),
            "table": name,
            "action": "keep",
            "bytes": self.run.table(name).bytes,
            "bytes_saved": 0,
            "keep_cost": keep,
            "cost_saved": 0.0,
            "reason": self._why_kept(name, children, keep, least),
        }

    def _why_kept(
        self, name: str, children: int, keep: float, least: float | None
    ) -> str:
        reasons = [self.protected[name]] if name in self.protected else []
        if children:
            tables = "1 table is" if children == 1 else f"{children} tables are"
            reasons.append(f"{tables} rebuilt from it")
        if least is None:
            reasons.append(self.kept.get(name, "no other table holds its rows"))
        elif least >= keep:
            reasons.append(f"keeping it costs {keep:.3g}, rebuilding it {least:.3g}")
        elif not reasons:
            reasons.append("to keep it costs less in all")
        return "; ".join(reasons)


def _of(name: str, special: Mapping[str, float], default: float) -> float:
    """Return a table's own setting: under its name, else under the first glob."""
    if name in special:
        return special[name]
    return next(
        (value for glob, value in special.items() if _globs([glob]).match(name)),
        default,
    )


def _globs(patterns: Iterable[str]) -> re.Pattern[str]:
    # No pattern matches nothing.
    return re.compile("|".join(map(glob_translate, patterns)) or r"(?!)")


def _write(run: LakeRun, rows: Sequence[Mapping[str, Any]]) -> None:
    prices = run.config.plan.model_dump_json().encode()
    schema = PLAN.with_metadata({PLAN_SETTINGS: prices})
    beside = run.folder.file("plan.parquet.tmp")
    pq.write_table(pa.Table.from_pylist(list(rows), schema), beside)
    replace(beside, run.folder.file("plan.parquet"))
    # It tells of an earlier plan, or of none.
    remove(run.folder.file("report.html"))


def _remove_stale_side_files(run: LakeRun, used: set[Path]) -> None:
    """Remove side files of earlier plans, but none that a moved table needs."""
    moves = run.trash.moves().values()
    used = used | {Path(m.facts["side_file"]) for m in moves if m.facts["side_file"]}
    for path in run.side_files.rglob("*.parquet*"):
        if path.is_file() and path not in used:
            path.unlink()
