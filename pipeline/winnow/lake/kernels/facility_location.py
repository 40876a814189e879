"""Which tables to keep so that the others can be rebuilt from them, at least cost.

The model of R2D2 (Shah et al. 2024, arXiv 2312.13427): tables are clients, retained
tables are open facilities.

    min  Σ_v keep_v r_v + Σ_uv rebuild_uv y_uv
    s.t. r_v + Σ_u y_uv = 1,   y_uv ≤ r_u,   r_v = 1 for protected tables,
         Σ_{v in group} r_v ≥ 1 for each group of two and more duplicates
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse.csgraph import connected_components

from winnow.lake.kernels.chains import common_ranking, retain_on_chain
from winnow.lake.kernels.copies import Plan, contracted, expanded, first_alike

Ints = npt.NDArray[np.int64]
Costs = npt.NDArray[np.float64]

# HiGHS stops at an absolute gap of 1e-6; the largest cost is scaled to this.
_SCALE = 1e6
# A dense matrix of costs for the dynamic programme: 4,000² float64 are 128 MB.
_LONGEST_CHAIN = 4000
#: Of so few tables every set is looked at.
_FEW = 8


@dataclass(frozen=True)
class Retained:
    """A deletion plan.

    source: (n,) the table that each table is rebuilt from, or -1 where it stays. gap:
    by what share the cost may exceed the least one; 0 unless HiGHS ran out of time.
    """

    source: Ints
    gap: float


def duplicate_groups(tables: int, child: Ints, parent: Ints) -> Ints:
    """Return each table's group (tables,): those contained in each other share one."""
    return _components(tables, child, parent, "strong")


def retain(plan: Plan, seconds: float = 60.0) -> Retained:
    """Return the plan of least cost.

    It is found by an exact dynamic programme where a component's costs have a common
    ranking (`algorithms.lake.chains`) and by HiGHS elsewhere, each weakly connected
    component by itself, with `seconds` for each. A table goes only if that saves
    something; among copies that cost the same the first one stays; a deleted table
    takes its cheapest retained parent, the first of equals. Raises ValueError for costs
    that are not finite.
    """
    if not (np.isfinite(plan.keep).all() and np.isfinite(plan.rebuild).all()):
        raise ValueError("costs of a deletion plan must be finite numbers")
    n = len(plan.keep)
    source, gap = np.full(n, -1), 0.0
    # Keeping is at least as good, for the table and for those rebuilt from it.
    useful = (plan.rebuild < plan.keep[plan.child]) & ~plan.protected[plan.child]
    useful &= plan.child != plan.parent
    child, parent = plan.child[useful], plan.parent[useful]
    linked = np.concatenate([child, _first_of_group(plan.group)])
    component = _components(n, linked, np.concatenate([parent, np.arange(n)]), "weak")
    order = np.argsort(component, kind="stable")
    edges = np.flatnonzero(useful)[np.argsort(component[child], kind="stable")]
    starts = np.searchsorted(component[order], np.arange(component.max(initial=-1) + 2))
    edge_starts = np.searchsorted(component[plan.child[edges]], np.arange(len(starts)))
    for number in range(len(starts) - 1):
        members = order[starts[number] : starts[number + 1]]
        component_edges = edges[edge_starts[number] : edge_starts[number + 1]]
        if len(component_edges):
            solution = _retain_component(_part(plan, members, component_edges), seconds)
            source[members] = np.where(
                solution.source < 0, -1, members[solution.source]
            )
            gap = max(gap, solution.gap)
    return Retained(source, gap)


def total_cost(plan: Plan, source: Ints) -> float:
    """Return what a solution of `retain`'s form costs per period.

    Raises ValueError if it deletes a protected table or a whole group of duplicates,
    or rebuilds a table without an edge or from a deleted one.
    """
    gone = source >= 0
    if (gone & plan.protected).any() or (gone[source[gone]]).any():
        raise ValueError("a protected table, or the parent of a deleted one, is gone")
    groups, group, size = np.unique(plan.group, return_inverse=True, return_counts=True)
    left = np.bincount(group[~gone], minlength=len(groups))
    if ((left == 0) & (size > 1)).any():
        raise ValueError("a group of duplicates is gone")
    chosen = source[plan.child] == plan.parent
    least = np.full(len(source), np.inf)
    np.minimum.at(least, plan.child[chosen], plan.rebuild[chosen])
    if not np.isfinite(least[gone]).all():
        raise ValueError("a table is rebuilt from one that has no edge to it")
    return float(np.where(gone, least, plan.keep).sum())


def _components(n: int, left: Ints, right: Ints, connection: str) -> Ints:
    graph = sp.coo_array((np.ones(len(left), np.int8), (left, right)), shape=(n, n))
    _, labels = connected_components(graph, directed=True, connection=connection)
    return np.asarray(labels, np.int64)


def _first_of_group(group: Ints) -> Ints:
    _, first, group_number = np.unique(group, return_index=True, return_inverse=True)
    return np.asarray(first[group_number], np.int64)


def _part(plan: Plan, members: Ints, edges: Ints) -> Plan:
    """Return the plan of one component, its tables renumbered in their order."""
    members = np.sort(members)
    return Plan(
        plan.keep[members],
        plan.protected[members],
        plan.group[members],
        np.searchsorted(members, plan.child[edges]),
        np.searchsorted(members, plan.parent[edges]),
        plan.rebuild[edges],
    )


def _retain_component(plan: Plan, seconds: float) -> Retained:
    n = len(plan.keep)
    if len(np.unique(plan.group)) == n <= _LONGEST_CHAIN:
        costs = np.full((n, n), np.inf)
        np.minimum.at(costs, (plan.parent, plan.child), plan.rebuild)
        ranking = common_ranking(costs)
        if ranking is not None:
            keep = retain_on_chain(plan.keep, plan.protected, costs, ranking)
            return Retained(_cheapest(plan, keep), 0.0)
    if n <= _FEW:
        return Retained(_prefer_first_copies(plan, _of_all_sets(plan)), 0.0)
    of_copies = _of_one_group(plan)
    if of_copies is not None:
        return Retained(_prefer_first_copies(plan, of_copies), 0.0)
    alike = first_alike(plan)
    if len(np.unique(alike)) < n:
        small, members = contracted(plan, alike)
        solution = _retain_component(small, seconds)
        keep = expanded(solution.source < 0, members, n)
        return Retained(_prefer_first_copies(plan, keep), solution.gap)
    keep, gap = _highs(plan, seconds)
    return Retained(_prefer_first_copies(plan, keep), gap)


def _of_one_group(plan: Plan) -> npt.NDArray[np.bool_] | None:
    """Return (n,) which of some copies of one table stay, None where that is not plain.

    With the tables that must stay, or with one where none must, each deleted table
    costs at least what its cheapest parent asks for. Another table that stays costs at
    least the least of what keeping one costs more than that: where a plan is no dearer
    than the bound with it, the plan is of least cost.
    """
    n = len(plan.keep)
    if n > _LONGEST_CHAIN or (plan.group != plan.group[0]).any():
        return None
    rebuild = np.full((n, n), np.inf)
    np.minimum.at(rebuild, (plan.parent, plan.child), plan.rebuild)
    least = rebuild.min(axis=0)
    stays = plan.protected | np.isinf(least)
    more = np.sort((plan.keep - least)[~stays])
    bound = np.where(stays, plan.keep, least).sum()
    if stays.any():
        keep, added = stays, more[:1]
    else:
        np.fill_diagonal(rebuild, plan.keep)
        keep, added = np.zeros(n, bool), more[:2]
        costs = rebuild.sum(axis=1)
        # The first of those that differ in rounding only.
        keep[np.argmax(costs <= costs.min() * (1 + 1e-12))] = True
    had = rebuild[keep].min(axis=0)
    cost = np.where(keep, plan.keep, had).sum()
    return keep if cost <= bound + added.sum() else None


def _of_all_sets(plan: Plan) -> npt.NDArray[np.bool_]:
    """Return (n,) which tables stay, by the cost of every set of them."""
    n = len(plan.keep)
    sets = (np.arange(2**n)[:, None] >> np.arange(n)[::-1] & 1).astype(bool)[::-1]
    allowed = (sets | ~plan.protected).all(axis=1)
    for group in np.unique(plan.group):
        members = plan.group == group
        if members.sum() > 1:
            allowed &= sets[:, members].any(axis=1)
    sets = sets[allowed]
    rebuild = np.full((n, n), np.inf)
    np.minimum.at(rebuild, (plan.parent, plan.child), plan.rebuild)
    had = np.where(sets[:, :, None], rebuild, np.inf).min(axis=1)
    costs = np.where(sets, plan.keep, had).sum(axis=1)
    best: npt.NDArray[np.bool_] = sets[int(np.argmin(costs))]
    return best


def _highs(plan: Plan, seconds: float) -> tuple[npt.NDArray[np.bool_], float]:
    """Return (n,) which tables stay, and the gap.

    y may be fractional without changing the optimum, so only r is integral.
    """
    n, m = len(plan.keep), len(plan.child)
    edge = np.arange(m)
    scale = _SCALE / max(plan.keep.max(), plan.rebuild.max(initial=0.0), 1e-300)
    once = sp.csr_array(
        (np.ones(n + m), (np.append(np.arange(n), plan.child), np.arange(n + m)))
    )
    open_first = sp.csr_array(
        (
            np.append(np.ones(m), -np.ones(m)),
            (np.append(edge, edge), np.append(n + edge, plan.parent)),
        ),
        shape=(m, n + m),
    )
    groups, group = np.unique(plan.group, return_inverse=True)
    one_stays = sp.csr_array(
        (np.ones(n), (group, np.arange(n))), shape=(len(groups), n + m)
    )[np.bincount(group) > 1]
    constraints = [
        LinearConstraint(once, 1, 1),
        LinearConstraint(open_first, -np.inf, 0),
    ]
    if one_stays.shape[0]:
        constraints.append(LinearConstraint(one_stays, 1, np.inf))
    lower = np.append(plan.protected.astype(float), np.zeros(m))
    result = milp(
        np.append(plan.keep, plan.rebuild) * scale,
        integrality=np.append(np.ones(n), np.zeros(m)),
        bounds=Bounds(lower, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0, "time_limit": seconds},
    )
    if result.x is None:
        # Nothing was found in time; to keep every table is always allowed.
        return np.ones(n, bool), 1.0
    gap = 0.0 if result.status == 0 else float(result.mip_gap)
    return np.asarray(result.x[:n] > 0.5, bool), gap


def _prefer_first_copies(plan: Plan, keep: npt.NDArray[np.bool_]) -> Ints:
    """Return the solution, with the first copy of a group where that costs no more."""
    source = _cheapest(plan, keep)
    best = _cost(plan, source)
    for group in np.unique(plan.group[~keep]):
        members = np.flatnonzero(plan.group == group)
        first = members[0]
        later = members[1:][keep[members[1:]] & ~plan.protected[members[1:]]]
        if keep[first] or not len(later):
            continue
        swapped = keep.copy()
        swapped[first], swapped[later[0]] = True, False
        other = _cheapest(plan, swapped)
        cost = _cost(plan, other)
        if cost <= best * (1 + 1e-12):
            keep, source, best = swapped, other, cost
    return source


def _cost(plan: Plan, source: Ints) -> float:
    try:
        return total_cost(plan, source)
    except ValueError:
        return np.inf


def _cheapest(plan: Plan, keep: npt.NDArray[np.bool_]) -> Ints:
    """Return each deleted table's cheapest retained parent, -1 for retained ones.

    A table that none of its parents is left for stays with -1, too.
    """
    usable = keep[plan.parent] & ~keep[plan.child]
    child, parent = plan.child[usable], plan.parent[usable]
    order = np.lexsort((parent, plan.rebuild[usable], child))
    gone, first = np.unique(child[order], return_index=True)
    source = np.full(len(keep), -1)
    source[gone] = parent[order][first]
    return source
