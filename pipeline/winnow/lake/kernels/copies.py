"""A deletion plan with one table for all copies that cost the same.

A lake of a thousand copies has a million edges; its plan has as few tables as there are
kinds of copies. Of tables that are alike one may stay for all (the first), and what the
others cost is their number times what one of them does: so nothing is lost by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Costs = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """What deleting tables costs; n tables in the order that ties follow, m edges.

    keep, protected and group have shape (n,): the cost of keeping a table per period,
    whether it must stay, and its group of duplicates (any integers). child, parent
    and rebuild have shape (m,): while `child` is deleted and `parent` is retained,
    the child may be had from the parent at the cost `rebuild` per period. A pair that
    takes too long, or that cannot be rebuilt, has no edge. Containment is transitive,
    so every retained superset of a table is to have an edge to it.
    """

    keep: Costs
    protected: npt.NDArray[np.bool_]
    group: Ints
    child: Ints
    parent: Ints
    rebuild: Costs


def first_alike(plan: Plan) -> Ints:
    """Return (n,) the first table of which each is a copy at the same costs.

    Copies are alike if keeping them costs the same and if their edges do: to the same
    tables outside their group, and to as many copies within it.
    """
    n = len(plan.keep)
    edges: list[list[tuple[bool, int, float]]] = [[] for _ in range(n)]
    columns = (plan.child, plan.parent, plan.rebuild)
    for child, parent, cost in zip(*(c.tolist() for c in columns), strict=True):
        within = plan.group[child] == plan.group[parent]
        edges[child].append((True, -1 if within else parent, cost))
        edges[parent].append((False, -1 if within else child, cost))
    first: dict[tuple[object, ...], int] = {}
    facts = zip(
        *(a.tolist() for a in (plan.group, plan.keep, plan.protected)), strict=True
    )
    alike = [
        first.setdefault((*fact, tuple(sorted(edges[i]))), i)
        for i, fact in enumerate(facts)
    ]
    return _complete(plan, np.array(alike, np.int64))


def _complete(plan: Plan, alike: Ints) -> Ints:
    """Take apart the kinds whose tables cannot all be had from each other alike."""
    same = alike[plan.child] == alike[plan.parent]
    first = alike[plan.child[same]]
    n = len(alike)
    size, edges = np.bincount(alike, minlength=n), np.bincount(first, minlength=n)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, first, plan.rebuild[same])
    np.maximum.at(high, first, plan.rebuild[same])
    whole = (edges == 0) | ((edges == size * (size - 1)) & (low == high))
    return np.where(whole[alike], alike, np.arange(n))


def contracted(plan: Plan, alike: Ints) -> tuple[Plan, list[Ints]]:
    """Return a plan of the first tables and of what is left of each kind, as one.

    Also, for each table of that plan, which tables (k,) of `plan` it stands for.
    """
    kept, kind_of = np.unique(alike, return_inverse=True)
    size = np.bincount(kind_of)
    several = np.flatnonzero(size > 1)
    rest = np.full(len(kept), -1)
    rest[several] = len(kept) + np.arange(len(several))
    groups, kinds = np.unique(plan.group[kept], return_counts=True)
    only_kind = np.isin(plan.group[kept], groups[kinds == 1]) & (size > 1)
    first = np.isin(plan.child, kept) & np.isin(plan.parent, kept)
    edges = kind_of[plan.child[first]], kind_of[plan.parent[first]], plan.rebuild[first]
    # What is left of a kind can be had from whatever its first can, and from it.
    more = rest[edges[0]] >= 0
    inner = np.full(len(kept), np.inf)
    same = kind_of[plan.child] == kind_of[plan.parent]
    np.minimum.at(inner, kind_of[plan.child[same]], plan.rebuild[same])
    near = several[np.isfinite(inner[several])]
    times = size - 1
    small = Plan(
        np.append(plan.keep[kept], plan.keep[kept[several]] * times[several]),
        np.append(plan.protected[kept] | only_kind, plan.protected[kept[several]]),
        np.append(plan.group[kept], plan.group.max() + 1 + np.arange(len(several))),
        np.concatenate([edges[0], rest[edges[0][more]], rest[near]]),
        np.concatenate([edges[1], edges[1][more], near]),
        np.concatenate(
            [
                edges[2],
                edges[2][more] * times[edges[0][more]],
                inner[near] * times[near],
            ]
        ),
    )
    members = [np.array([table]) for table in kept.tolist()]
    for kind in several.tolist():
        members.append(np.flatnonzero(kind_of == kind)[1:])
    return small, members


def expanded(keep: _Mask, members: list[Ints], tables: int) -> _Mask:
    """Return (tables,) which tables stay, from which of a contracted plan do."""
    stay = np.zeros(tables, np.bool_)
    for stays, some in zip(keep.tolist(), members, strict=True):
        stay[some] = stays
    return stay
