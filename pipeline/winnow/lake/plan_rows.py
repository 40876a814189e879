"""The rows of `plan.parquet`: what goes, what stays, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from winnow.lake.kernels.tables import PLAN
from winnow.lake.prices import Edge, Prices
from winnow.lake.run import LakeRun


@dataclass(frozen=True)
class PlanRows:
    """What a plan says of each table.

    names: the tables that take part; saved: bytes that are gone once a table is;
    protected, kept: why a table must stay, and why it does although it is contained.
    """

    run: LakeRun
    prices: Prices
    names: Sequence[str]
    protected: Mapping[str, str]
    kept: Mapping[str, str]

    def of(
        self, chosen: Iterable[Edge], edges: Iterable[Edge], saved: Mapping[str, int]
    ) -> list[dict[str, Any]]:
        """Return the rows, sorted by table; `edges` are all that could be used."""
        gone = {edge.child: edge for edge in chosen}
        parents = Counter(p for edge in gone.values() for p in edge.source.parents)
        least: dict[str, float] = {}
        for edge in edges:
            cost = self.prices.rebuild_cost(edge)
            least[edge.child] = min(cost, least.get(edge.child, cost))
        return [
            self._deleted(gone[name], saved[name])
            if name in gone
            else self._retained(name, parents[name], least.get(name))
            for name in self.names
            if name in self.run.number
        ]

    def _deleted(self, edge: Edge, saved: int) -> dict[str, Any]:
        assert edge.rebuild is not None
        keep = self.prices.keep_cost(edge.child)
        rebuild = self.prices.rebuild_cost(edge)
        seconds = edge.seconds(self.run.config.plan.rebuild_mb_per_s)
        return {
            "table": edge.child,
            "action": "delete",
            "parent": edge.parent,
            "parents": list(edge.source.parents),
            "columns": edge.columns_text,
            "bytes": edge.write,
            "bytes_saved": saved,
            "keep_cost": keep,
            "rebuild_cost": rebuild,
            "cost_saved": keep - rebuild,
            "rebuild_seconds": seconds,
            "rebuild_sql": edge.rebuild.sql,
            "reason": f"{edge.parent} {edge.holds} all of its rows; its rebuild was run"
            " and gives them back",
        }

    def _retained(
        self, name: str, children: int, least: float | None
    ) -> dict[str, Any]:
        keep = self.prices.keep_cost(name)
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
