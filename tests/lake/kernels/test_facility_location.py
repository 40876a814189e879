"""The deletion plan against every subset of tables."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.lake.kernels.chains import common_ranking, retain_on_chain
from winnow.lake.kernels.copies import Plan
from winnow.lake.kernels.facility_location import (
    duplicate_groups,
    retain,
    total_cost,
)

from tests.examples import examples


def brute_force(plan: Plan) -> float:
    """The least cost over every set of retained tables."""
    n = len(plan.keep)
    stays = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    least = np.full((2**n, n), np.inf)
    for v, u, cost in zip(plan.child, plan.parent, plan.rebuild, strict=True):
        least[:, v] = np.minimum(least[:, v], np.where(stays[:, u], cost, np.inf))
    allowed = (stays | ~plan.protected).all(axis=1)
    for group in np.unique(plan.group):
        copies = plan.group == group
        allowed &= stays[:, copies].any(axis=1) | (copies.sum() == 1)
    return float(np.where(stays, plan.keep, least).sum(axis=1)[allowed].min())


@st.composite
def plans(draw, most: int = 12) -> Plan:
    """Containments of random sets: duplicates, chains, stars and several components."""
    n = draw(st.integers(1, most))
    rows = [draw(st.integers(0, draw(st.sampled_from([3, 15, 255])))) for _ in range(n)]
    pairs = [
        (v, u)
        for v in range(n)
        for u in range(n)
        if u != v and rows[v] & rows[u] == rows[v]
    ]
    # Few distinct costs, so that ties occur, or prices nine orders of magnitude apart.
    money = draw(
        st.sampled_from(
            [
                st.integers(0, 4).map(float),
                st.floats(0, 10),
                st.integers(-6, 3).map(lambda e: 10.0**e),
            ]
        )
    )
    keep = draw(st.lists(money, min_size=n, max_size=n))
    edges = [pair for pair in pairs if draw(st.integers(0, 9)) < 9]
    child = np.array([v for v, _ in edges], np.int64)
    parent = np.array([u for _, u in edges], np.int64)
    every = np.array(pairs, np.int64).reshape(-1, 2)
    return Plan(
        np.array(keep, float),
        np.array([draw(st.integers(0, 9)) == 0 for _ in range(n)], bool),
        duplicate_groups(n, every[:, 0], every[:, 1]),
        child,
        parent,
        np.array([draw(money) for _ in edges], float),
    )


@settings(max_examples=examples(40, 120), deadline=None)
@given(plans())
def test_the_plan_costs_what_the_best_of_all_subsets_costs(plan: Plan):
    source = retain(plan).source
    # total_cost refuses a plan that breaks a promise: a protected table, a whole group
    # of duplicates or a parent that is gone.
    assert total_cost(plan, source) == pytest.approx(brute_force(plan), rel=1e-9)


@settings(max_examples=examples(20, 60), deadline=None)
@given(plans(8), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_edges(plan: Plan, random):
    places = list(range(len(plan.child)))
    random.shuffle(places)
    shuffled = Plan(
        plan.keep,
        plan.protected,
        plan.group,
        plan.child[places],
        plan.parent[places],
        plan.rebuild[places],
    )
    assert retain(shuffled).source.tolist() == retain(plan).source.tolist()


def chain(draw, n: int) -> tuple[Plan, np.ndarray]:
    """v₀ ⊂ v₁ ⊂ …: reading costs by the parent's bytes, which may fall upwards."""
    size = np.array(draw(st.lists(st.floats(0, 9), min_size=n, max_size=n)))
    asked = np.array(draw(st.lists(st.floats(0.1, 2), min_size=n, max_size=n)))
    patience = np.array(draw(st.lists(st.floats(0, 15), min_size=n, max_size=n)))
    child, parent = np.triu_indices(n, 1)
    soon_enough = size[parent] <= patience[child]
    child, parent = child[soon_enough], parent[soon_enough]
    rebuild = asked[child] * (size[parent] + 0.3 * size[child])
    keep = np.array(draw(st.lists(st.floats(0, 9), min_size=n, max_size=n)))
    protected = np.array([draw(st.integers(0, 9)) == 0 for _ in range(n)], bool)
    order = np.array(draw(st.permutations(range(n))), np.int64)
    plan = Plan(
        keep[np.argsort(order)],
        protected[np.argsort(order)],
        np.arange(n),
        order[child],
        order[parent],
        rebuild,
    )
    costs = np.full((n, n), np.inf)
    costs[plan.parent, plan.child] = plan.rebuild
    return plan, costs


@settings(max_examples=examples(25, 40), deadline=None)
@given(st.data())
def test_the_programme_on_chains_equals_all_subsets(data):
    n = data.draw(st.integers(1, 15))
    plan, costs = chain(data.draw, n)
    ranking = common_ranking(costs)
    if ranking is None:
        # Only a table that nothing can be had from in time may upset the order.
        assert not np.isfinite(costs[np.triu_indices(n, 1)]).all()
        return
    stays = retain_on_chain(plan.keep, plan.protected, costs, ranking)
    least = np.where(stays[:, None], costs, np.inf).min(axis=0)
    assert (stays >= plan.protected).all()
    total = np.where(stays, plan.keep, least).sum()
    assert total == pytest.approx(brute_force(plan), rel=1e-9)


def test_parents_that_children_rank_differently_are_no_chain():
    costs = np.full((4, 4), np.inf)
    costs[3, 0], costs[2, 0] = 1.0, 2.0
    costs[3, 1], costs[2, 1] = 2.0, 1.0
    assert common_ranking(costs) is None
    costs[3, 1], costs[2, 1] = 1.0, 2.0
    assert common_ranking(costs) is not None


def simple(keep, edges, group=None, protected=()) -> Plan:
    n = len(keep)
    return Plan(
        np.array(keep, float),
        np.isin(np.arange(n), protected),
        np.arange(n) if group is None else np.array(group),
        np.array([v for v, _, _ in edges], np.int64),
        np.array([u for _, u, _ in edges], np.int64),
        np.array([cost for _, _, cost in edges], float),
    )


def test_two_copies_are_not_rebuilt_from_each_other_and_the_first_stays():
    both_ways = [(0, 1, 0.1), (1, 0, 0.1)]
    assert retain(simple([1, 1], both_ways, [0, 0])).source.tolist() == [-1, 0]


def test_a_protected_copy_is_the_one_that_stays():
    both_ways = [(0, 1, 0.1), (1, 0, 0.1)]
    assert retain(simple([1, 1], both_ways, [0, 0], [1])).source.tolist() == [1, -1]


def test_one_copy_of_a_group_stays_even_where_a_superset_holds_all():
    edges = [(0, 1, 0.1), (1, 0, 0.1), (0, 2, 0.1), (1, 2, 0.1)]
    source = retain(simple([1, 1, 5], edges, [0, 0, 2])).source
    assert sorted(source.tolist()) == [-1, -1, 0]


def test_a_parent_is_never_a_deleted_table():
    # The middle one is the cheaper parent, but keeping it costs more than it saves.
    edges = [(0, 1, 0.1), (0, 2, 0.3), (1, 2, 0.3)]
    assert retain(simple([1, 1, 5], edges)).source.tolist() == [2, 2, -1]


def test_a_table_that_costs_more_to_rebuild_than_to_keep_stays():
    assert retain(simple([1, 5], [(0, 1, 1.0)])).source.tolist() == [-1, -1]


def test_a_component_of_hundreds_of_tables_is_solved_to_the_end():
    rng = np.random.default_rng(7)
    n = 400
    size, above = np.full(n, 10.0), [np.arange(0)]
    for v in range(1, n):
        slice_of = int(rng.integers(v))
        size[v] = size[slice_of] * rng.random()
        above.append(np.append(above[slice_of], slice_of))
    parent = np.concatenate(above)
    child = np.repeat(np.arange(n), [len(a) for a in above])
    rebuild = rng.choice([0.1, 1, 10], n)[child] * 0.2 * (size[parent] + size[child])
    rebuild *= rng.uniform(0.8, 1.0, len(child))
    plan = Plan(size, np.zeros(n, bool), np.arange(n), child, parent, rebuild)
    retained = retain(plan)
    assert retained.gap == 0
    # No single change of what stays is cheaper.
    cost, kept = total_cost(plan, retained.source), retained.source < 0
    assert 0 < kept.sum() < n
    costs = np.full((n, n), np.inf)
    costs[parent, child] = rebuild
    for table in range(n):
        other = kept.copy()
        other[table] = not other[table]
        least = np.where(other[:, None], costs, np.inf).min(axis=0)
        assert np.where(other, size, least).sum() >= cost * (1 - 1e-9)


def test_costs_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        retain(simple([1, float("nan")], []))


@st.composite
def lakes_of_copies(draw) -> Plan:
    """Kinds of copies: all at the costs of their kind, kinds in each other or not."""
    kinds = draw(st.integers(1, 3))
    size = [draw(st.integers(1, 4)) for _ in range(kinds)]
    kind = np.repeat(np.arange(kinds), size)
    n = len(kind)
    group = draw(st.lists(st.integers(0, 1), min_size=kinds, max_size=kinds))
    money = st.integers(0, 5).map(float)
    keep = [draw(money) for _ in range(kinds)]
    cost = [[draw(money) for _ in range(kinds)] for _ in range(kinds)]
    # Kinds of one group are in each other; the first group is in the second.
    pairs = [
        (v, u)
        for v in range(n)
        for u in range(n)
        if u != v and group[kind[v]] <= group[kind[u]]
    ]
    return Plan(
        np.array(keep)[kind],
        np.array([draw(st.integers(0, 5)) == 0 for _ in range(kinds)])[kind],
        np.array(group, np.int64)[kind],
        np.array([v for v, _ in pairs], np.int64),
        np.array([u for _, u in pairs], np.int64),
        np.array([cost[kind[v]][kind[u]] for v, u in pairs], float),
    )


@settings(max_examples=examples(60, 200), deadline=None)
@given(lakes_of_copies())
def test_one_table_for_all_that_are_alike_costs_no_more(plan: Plan):
    retained = retain(plan)
    assert retained.gap == 0
    assert total_cost(plan, retained.source) == pytest.approx(brute_force(plan))


@st.composite
def groups_of_copies(draw) -> Plan:
    """One group, more tables than are tried one by one, no two at the same costs.

    Reading costs little beside keeping, more or less beside it, or has no rule.
    """
    n = draw(st.integers(9, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    child, parent = np.nonzero(~np.eye(n, dtype=bool))
    some = rng.random(len(child)) < draw(st.sampled_from([0.5, 0.95, 1.0]))
    child, parent = child[some], parent[some]
    keep = rng.uniform(1, 2, n)
    dear = draw(st.sampled_from([0.001, 0.3, 1.0]))
    rebuild = dear * np.where(dear < 1, keep[parent], rng.uniform(0, 2, len(child)))
    protected = rng.random(n) < draw(st.sampled_from([0.0, 0.2]))
    return Plan(keep, protected, np.zeros(n, np.int64), child, parent, rebuild)


@settings(max_examples=examples(30, 100), deadline=None)
@given(groups_of_copies())
def test_a_group_of_copies_at_costs_of_their_own(plan: Plan):
    source = retain(plan).source
    assert total_cost(plan, source) == pytest.approx(brute_force(plan), rel=1e-9)
