"""What a scan of a lake found: tables, edges, and why a pair is or is not an edge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from winnow.config.lock_file import read_lock
from winnow.core.errors import ConfigError, RunError, did_you_mean
from winnow.core.other_kind import is_scan, no_scan
from winnow.core.words import number_of
from winnow.lake.kernels.tables import DERIVED
from winnow.lake.plan_view import size
from winnow.lake.result_files import require_whole_plan, require_whole_scan

#: The stages of a scan, in order, and what passing one means.
STAGES = {
    "schema": "all {columns} columns occur in the parent, with comparable types",
    "min_max": "no value that must occur in the child lies outside the parent's bounds",
    "sketch": "no sketched value of the child is missing in the parent",
    "sample": "no sampled row of the child is missing in the parent",
}
_NEARLY = "it was suggested by sketches and counted whole"


class LakeView:
    """The tables that `winnow lake scan` has written."""

    def __init__(self, path: str | Path) -> None:
        """Open a scan; raises RunError if the folder holds none, or a damaged one."""
        self.path = Path(path)
        if not is_scan(self.path):
            raise no_scan(self.path)
        require_whole_scan(self.path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved recipe."""
        return read_lock(self.path)

    @cached_property
    def tables(self) -> pl.DataFrame:
        """One row per table."""
        return pl.read_parquet(self.path / "tables.parquet")

    @cached_property
    def edges(self) -> pl.DataFrame:
        """One row per pair whose column names are contained."""
        return pl.read_parquet(self.path / "edges.parquet")

    @cached_property
    def derived(self) -> pl.DataFrame:
        """One row per table that several others hold, or one under other names."""
        file = self.path / "derived.parquet"
        if file.is_file():
            return pl.read_parquet(file)
        return pl.DataFrame(DERIVED.empty_table())

    @cached_property
    def stages(self) -> pl.DataFrame:
        """How the edges became fewer."""
        return pl.read_parquet(self.path / "stages.parquet")

    def table(self, name: str) -> dict[str, Any]:
        """Return a table's row; raises RunError that names the nearest."""
        rows = self.tables.filter(pl.col("table") == name)
        if rows.is_empty():
            hint = did_you_mean(name, self.tables["table"].to_list()[:5000])
            raise RunError(f"{self.path}: no table '{name}'; {hint}")
        return rows.row(0, named=True)


def edges(view: LakeView, relations: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the edges of some relations (all of them: ()), sorted by name.

    Raises ConfigError for a relation that does not exist.
    """
    known = ("duplicate", "contained", "partial", "refuted", "incomparable")
    for relation in relations:
        if relation not in known:
            raise ConfigError(
                f"no relation '{relation}'; {did_you_mean(relation, known)}"
            )
    chosen = view.edges.sort("child", "parent")
    if relations:
        chosen = chosen.filter(pl.col("relation").is_in(list(relations)))
    return chosen.to_dicts()


def tell_edges(edges: list[dict[str, Any]]) -> str:
    """Return edges one to a line."""
    if not edges:
        return "no such edges"
    return "\n".join(
        f"{edge['relation']:<12} {_share(edge['containment']):>8}  "
        f"{edge['child']}  in  {edge['parent']}"
        for edge in edges
    )


def tell_stages(stages: Sequence[Mapping[str, Any]]) -> str:
    """Return the stages of a scan, one to a line."""
    head = f"{'stage':<10} {'pairs in':>12} {'left':>12} {'read':>10} {'seconds':>9}"
    return "\n".join(
        [head]
        + [
            f"{row['stage']:<10} {row['edges_in']:>12,} {row['edges_out']:>12,} "
            f"{size(row['bytes_read']):>10} {row['seconds']:>9,.1f}"
            for row in stages
        ]
    )


def explain(view: LakeView, child: str, parent: str | None = None) -> dict[str, Any]:
    """Return each stage's verdict on a pair; without `parent`, on all of a table's."""
    table = view.table(child)
    if parent is None:
        return {
            "table": {key: table[key] for key in _TABLE},
            "contained_in": _neighbours(view, "child", child),
            "contains": _neighbours(view, "parent", child),
            "derived_from": _derived(view, child),
            "plan": _planned(view, child),
        }
    other = view.table(parent)
    rows = view.edges.filter((pl.col("child") == child) & (pl.col("parent") == parent))
    if rows.is_empty():
        return {
            "child": child,
            "parent": parent,
            "relation": "none",
            "reason": _why_no_edge(view, table, other),
        }
    edge = rows.row(0, named=True)
    return {
        **edge,
        "witness": edge["witness"] and json.loads(edge["witness"]),
        "stages": _verdicts(view, edge),
    }


_TABLE = ("table", "rows", "bytes", "readable", "reason")


def _verdicts(view: LakeView, edge: dict[str, Any]) -> list[dict[str, str]]:
    verdicts = []
    decided = edge["refuted_by"] or edge["stage"]
    for stage, passing in STAGES.items():
        if stage == decided:
            break
        skipped = stage == "sample" and (
            edge["child_rows"] <= view.config["content"]["sample_rows"]
        )
        text = passing.format(columns=len(edge["shared_columns"]))
        verdicts.append(
            {
                "stage": stage,
                "verdict": "skipped: the child is compared as a whole"
                if skipped
                else f"passed: {text}",
            }
        )
    verdicts.append({"stage": decided, "verdict": edge["reason"]})
    if edge["stage"] == "partial":
        share = _share(edge["containment"])
        text = f"{_NEARLY}: {share} of its rows are in the parent"
        verdicts.append({"stage": "partial", "verdict": text})
    return verdicts


def _neighbours(view: LakeView, side: str, name: str) -> list[dict[str, Any]]:
    other = "parent" if side == "child" else "child"
    return (
        view.edges.filter(
            (pl.col(side) == name)
            & pl.col("relation").is_in(["duplicate", "contained", "partial"])
        )
        .select(pl.col(other).alias("table"), "relation", "containment")
        .sort("table")
        .to_dicts()
    )


def _derived(view: LakeView, name: str) -> list[dict[str, Any]]:
    chosen = view.derived.filter(pl.col("child") == name)
    return chosen.select("kind", "parents", "columns", "reason").to_dicts()


def _planned(view: LakeView, name: str) -> dict[str, Any] | None:
    file = view.path / "plan.parquet"
    if not file.is_file():
        return None
    require_whole_plan(view.path)
    rows = pl.read_parquet(file).filter(pl.col("table") == name)
    return rows.row(0, named=True) if len(rows) else None


def _why_no_edge(view: LakeView, child: dict[str, Any], parent: dict[str, Any]) -> str:
    for table in (child, parent):
        if table["readable"] is False:
            return f"{table['table']} cannot be read: {table['reason']}"
    if child["table"] == parent["table"]:
        return "a table is not compared with itself"
    ours, theirs = _names(view, child), _names(view, parent)
    if not ours:
        return "no column is left to compare once ignored ones are gone"
    missing = sorted(ours - theirs)
    shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    return f"schema: the parent lacks {len(missing)} of {len(ours)} columns: {shown}"


def _names(view: LakeView, table: dict[str, Any]) -> set[str]:
    folded = view.config["column_names"] == "folded"
    ignored = set(view.config["ignore_columns"])
    names = {column["name"] for column in table["columns"]}
    if folded:
        ignored = {name.casefold() for name in ignored}
        names = {name.casefold() for name in names}
    return names - ignored


def tell(story: dict[str, Any]) -> str:
    """Return what `explain` found, in words."""
    if "table" in story:
        return _tell_table(story)
    head = f"{story['child']} in {story['parent']}: "
    if story["relation"] == "none":
        return head + f"no edge\n  {story['reason']}"
    lines = [head + story["relation"] + _measure(story)]
    lines += [f"  {stage['stage']:<8} {stage['verdict']}" for stage in story["stages"]]
    if story["witness"]:
        row = json.dumps(story["witness"], ensure_ascii=False)
        lines.append(f"  witness  {row} is in the child and not in the parent")
    if story["rebuild_sql"]:
        lines.append(f"  rebuild  {story['rebuild_sql']}")
    return "\n".join(lines)


def _tell_table(story: dict[str, Any]) -> str:
    table, plan = story["table"], story["plan"]
    if table["readable"] is False:
        return f"{table['table']}: cannot be read: {table['reason']}"
    lines = [
        f"{table['table']}: {number_of(table['rows'], 'row')}, {table['bytes']:,} bytes"
    ]
    if table["reason"]:
        lines.append(f"  note   {table['reason']}")
    bare = len(lines)
    for title, key in (("in", "contained_in"), ("holds", "contains")):
        lines += [
            f"  {title:<6} {edge['relation']:<10} {_share(edge['containment']):>8}  "
            f"{edge['table']}"
            for edge in story[key]
        ]
    lines += [
        f"  {row['kind']}  of {', '.join(row['parents'])}: {row['reason']}"
        for row in story["derived_from"]
    ]
    if len(lines) == bare:
        lines.append("  is contained in no table and contains none")
    if plan:
        source = f", rebuilt from {plan['parent']}" if plan["parent"] else ""
        lines.append(f"  plan   {plan['action']}{source}: {plan['reason']}")
    return "\n".join(lines)


def _measure(edge: dict[str, Any]) -> str:
    if edge["containment"] is None:
        return ""
    return f" ({_share(edge['containment'])} of its rows)"


def _share(containment: float | None) -> str:
    """Return a share in per cent; never 100 % for less than all, nor 0 % for some."""
    if containment is None:
        return "-"
    if 0 < containment < 1:
        return f"{min(max(containment, 0.0001), 0.9999):.2%}"
    return f"{containment:.0%}"
