"""The least budget that would have kept a row, where clusters have their own parts.

For `explain`: how reports find a remedy is said in `config.step_kinds`. Each is by
bisection between the budget that dropped the row and all rows, over what the step
itself would keep: with one row less the row goes. Where rounding makes the step keep a
row at one budget and not at the next, another such budget may lie below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.algorithms.prune.complexity import allocate_budget
from winnow.algorithms.prune.hierarchy import tree_counts
from winnow.algorithms.prune.prototypes import (
    floor_counts,
    proportional_counts,
    uniform_counts,
)
from winnow.algorithms.prune.ranking import order

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where a row stands: its cluster, and per cluster how many rows stand before it.

    clusters: ids (k,), sizes (k,), before (k,), cluster: a position in these.
    """

    clusters: Counts
    sizes: Counts
    before: Counts
    cluster: int

    @property
    def rank(self) -> int:
        """Rows of its own cluster that stand before it."""
        return int(self.before[self.cluster])


def prototypes(run: Any, marker: Any, entry: dict[str, Any]) -> str:
    """Return the budget that reaches the row, with what clusters keep in any case."""
    settings = run.config[marker.step]
    balance = settings["balance"]
    standing = _place(run, marker, entry, descending=settings["keep"] == "hard")

    def keeps(budget: int) -> bool:
        floors = floor_counts(standing.sizes, budget, balance["share"], balance["of"])
        reserved = bool(standing.rank < floors[standing.cluster])
        # Rows before it, and the reserved ones behind it.
        taken = int(np.maximum(standing.before, floors).sum())
        return reserved or taken < budget

    return f"a budget of {_least(keeps, marker, standing)} rows"


def complexity(run: Any, marker: Any, entry: dict[str, Any]) -> str:
    """Return the budget of which the row's cluster gets enough."""
    settings = run.config[marker.step]
    balance = settings["balance"]
    standing = _place(run, marker, entry, descending=settings["keep"] == "hard")
    table = run.artifact(marker.step, "complexity").sort("cluster").collect()
    complexities = table["complexity"].to_numpy()

    def quotas(budget: int) -> Counts:
        return allocate_budget(
            standing.sizes,
            complexities,
            budget,
            temperature=settings["temperature"],
            balance=balance["share"],
            of=balance["of"],
        )

    return _by_quotas(quotas, marker, standing)


def uniform(run: Any, marker: Any, entry: dict[str, Any]) -> str:
    """Return the budget of which the row's cluster gets enough."""
    by_number = run.config[marker.step]["equal"] == "number"
    spread = uniform_counts if by_number else proportional_counts
    standing = _place(run, marker, entry, descending=False)
    return _by_quotas(lambda budget: spread(standing.sizes, budget), marker, standing)


def hierarchy(run: Any, marker: Any, entry: dict[str, Any]) -> str:
    """Return the budget of which enough comes down the tree to the row's cluster."""
    hard = run.config[marker.step]["keep"] == "hard"
    standing = _place(run, marker, entry, descending=hard)
    tree = run.artifact(marker.step, "tree").sort("cluster").collect()
    # A level has one row for each cluster of the level below it, null behind them.
    levels = [
        tree[name].drop_nulls().to_numpy() for name in tree.columns if name != "cluster"
    ]
    return _by_quotas(
        lambda budget: tree_counts(standing.sizes, levels, budget), marker, standing
    )


def _by_quotas(quotas: Callable[[int], Counts], marker: Any, standing: Place) -> str:
    least = _least(
        lambda budget: bool(standing.rank < quotas(budget)[standing.cluster]),
        marker,
        standing,
    )
    return (
        f"a budget of {least} rows (it is number {standing.rank + 1} of the "
        f"{standing.sizes[standing.cluster]} in its cluster)"
    )


def _least(keeps: Callable[[int], bool], marker: Any, standing: Place) -> int:
    """Return a budget that keeps the row and would not if it were one row less."""
    too_few, enough = int(marker.facts["budget"]), int(standing.sizes.sum())
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if keeps(middle):
            enough = middle
        else:
            too_few = middle
    return enough


def _place(run: Any, marker: Any, entry: dict[str, Any], *, descending: bool) -> Place:
    steps = [other.step for other in run.markers]
    earlier = run.markers[: steps.index(marker.step)]
    clustered = [other.step for other in earlier if "clusters" in other.provides][-1]
    clusters = run.artifact(clustered, "clusters").select("uid", "cluster")
    ledger = run.ledger(marker.step).select("uid", "score")
    table = ledger.join(clusters, on="uid").collect().to_arrow()
    uids = table["uid"]
    ids, members = np.unique(table["cluster"].to_numpy(), return_inverse=True)
    rows = order(table["score"].to_numpy(), uids, descending=descending)
    position = uids.take(rows).to_pylist().index(entry["uid"])
    sizes = np.bincount(members, minlength=len(ids))
    before = np.bincount(members[rows[:position]], minlength=len(ids))
    return Place(ids, sizes, before, int(members[rows[position]]))
