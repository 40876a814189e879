import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from winnow.algorithms.prune.complexity import (
    allocate_budget,
    continuous_allocation,
    inter_distances,
)

COMPLEXITIES = (0.4, 0.3, 0.2, 0.1)

# Facts page on density-based pruning; recomputed there with NumPy and SciPy.
GOLDEN = [
    ((100, 50, 30, 10), 60, 0, 0.1, (38.634856, 14.212969, 5.228659, 1.923516)),
    ((20, 50, 30, 10), 60, 0, 0.1, (20, 20.424588, 11.440278, 8.135135)),
    ((100, 50, 30, 10), 60, 0.5, 0.1, (35.210943, 10.789057, 7, 7)),
    ((100, 50, 30, 10), 60, 0.5, 0.5, (20.030540, 16.450340, 13.519120, 10)),
    ((20, 50, 30, 1), 60, 0, 0.1, (20, 23.992155, 15.007845, 1)),
    ((20, 10, 5, 3), 30, 0, 0.1, (19.304680, 7.093737, 2.601582, 1)),
]
WHOLE = [
    (39, 14, 5, 2),
    (20, 20, 12, 8),
    (35, 11, 7, 7),
    (20, 16, 14, 10),
    (20, 24, 15, 1),
    (19, 7, 3, 1),
]


@pytest.mark.parametrize(("sizes", "budget", "balance", "temperature", "x"), GOLDEN)
def test_golden_continuous_allocation(sizes, budget, balance, temperature, x):
    allocated = continuous_allocation(
        sizes, COMPLEXITIES, budget, temperature=temperature, balance=balance
    )
    np.testing.assert_allclose(allocated, x, atol=1e-6)


@pytest.mark.parametrize(("row", "counts"), list(zip(GOLDEN, WHOLE, strict=True)))
def test_golden_whole_counts(row, counts):
    sizes, budget, balance, temperature, _ = row
    allocated = allocate_budget(
        sizes, COMPLEXITIES, budget, temperature=temperature, balance=balance
    )
    assert allocated.dtype == np.int64
    assert tuple(allocated) == counts


@pytest.mark.parametrize("balance", [0, 0.5, 1])
def test_more_than_all_rows_is_infeasible(balance):
    with pytest.raises(ValueError, match="cannot keep 40 of the clusters' 38 rows"):
        allocate_budget((20, 10, 5, 3), COMPLEXITIES, 40, balance=balance)


@st.composite
def problems(draw):
    k = draw(st.integers(1, 8))
    sizes = draw(st.lists(st.integers(0, 40), min_size=k, max_size=k))
    complexities = draw(st.lists(st.floats(0, 2), min_size=k, max_size=k))
    budget = draw(st.integers(0, sum(sizes)))
    temperature = draw(st.sampled_from([0.01, 0.1, 0.5, 10.0]))
    balance = draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    return sizes, complexities, budget, temperature, balance


def bounds_and_target(sizes, complexities, budget, temperature, balance):
    """The problem as the paper states it, for clusters that have rows."""
    sizes, logits = np.array(sizes, float), np.array(complexities) / temperature
    shares = np.exp(logits - logits.max())
    least = int(budget / len(sizes) * balance) if balance else 1
    lower = np.minimum(least, np.maximum(sizes - 1, 0))
    return lower, sizes, budget * shares / shares.sum()


@given(problems())
def test_the_allocation_meets_the_optimality_conditions(problem):
    sizes, complexities, budget, temperature, balance = problem
    assume(all(size > 0 for size in sizes))
    lower, upper, target = bounds_and_target(*problem)
    assume(lower.sum() <= budget)
    x = continuous_allocation(
        sizes, complexities, budget, temperature=temperature, balance=balance
    )
    assert x.sum() == pytest.approx(budget, abs=1e-9 * max(budget, 1))
    assert (x >= lower).all()
    assert (x <= upper).all()
    # KKT: below its upper bound no cluster may want more than one above its lower
    # bound gives up; the gradient of the objective is x − target.
    gain = (target - x)[x < upper].max(initial=-np.inf)
    loss = (target - x)[x > lower].min(initial=np.inf)
    assert gain <= loss + 1e-7


@given(problems())
def test_whole_counts_sum_to_the_budget_within_the_clusters(problem):
    sizes, complexities, budget, temperature, balance = problem
    options = {"temperature": temperature, "balance": balance}
    counts = allocate_budget(sizes, complexities, budget, **options)
    x = continuous_allocation(sizes, complexities, budget, **options)
    assert counts.sum() == budget
    assert (counts >= 0).all()
    assert (counts <= sizes).all()
    assert (np.abs(counts - x) < 1 + 1e-6).all()


def test_equal_clusters_tie_to_the_lower_id():
    counts = allocate_budget([10] * 7, [0.3] * 7, 24)
    assert counts.tolist() == [4, 4, 4, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("weights", "counts"),
    [((1.5, 2.5, 3.5, 4.5), (2, 3, 3, 4)), ((4.5, 1.5, 3.5, 2.5), (5, 2, 3, 2))],
)
def test_remainders_equal_but_for_rounding_tie_to_the_lower_id(weights, counts):
    complexities = 0.1 * np.log(weights)
    assert tuple(allocate_budget([100] * 4, complexities, 12)) == counts


def test_fewer_rows_than_clusters_go_to_the_most_complex():
    sizes, complexities = [5, 5, 5, 5], [0.1, 0.9, 0.2, 0.8]
    assert allocate_budget(sizes, complexities, 2).tolist() == [0, 1, 0, 1]
    cold = allocate_budget(sizes, complexities, 3, temperature=0.01)
    assert cold.tolist() == [0, 3, 0, 0]


def test_empty_clusters_take_part_in_nothing():
    filled = allocate_budget([30, 20], [0.4, 0.1], 25, balance=0.5)
    spread = allocate_budget([0, 30, 0, 20], [9, 0.4, np.nan, 0.1], 25, balance=0.5)
    assert spread.tolist() == [0, filled[0], 0, filled[1]]
    assert allocate_budget([0, 0], [np.nan, np.nan], 0).tolist() == [0, 0]
    assert allocate_budget([], [], 0).tolist() == []


def test_large_logits_do_not_overflow():
    counts = allocate_budget([50, 50], [2000.0, 1.0], 60, temperature=0.1)
    assert counts.tolist() == [50, 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([3, -1], [0.1, 0.2], 1), "0 or more"),
        (([3, 1.5], [0.1, 0.2], 1), "whole"),
        (([3, np.nan], [0.1, 0.2], 1), "0 or more"),
        (([3, 1], [0.1, np.nan], 1), "complexity of cluster 1 is nan"),
        (([3, 1], [0.1], 1), "one number per cluster"),
        (([3, 1], [0.1, 0.2], -1), "cannot keep"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        allocate_budget(*arguments)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": np.nan}])
def test_bad_temperatures_are_refused(options):
    with pytest.raises(ValueError, match="temperature"):
        allocate_budget([3, 1], [0.1, 0.2], 1, **options)


def test_balance_is_a_fraction():
    with pytest.raises(ValueError, match="fraction"):
        allocate_budget([3, 1], [0.1, 0.2], 1, balance=1.5)


HALF = 0.5**0.5
FOUR = [(1, 0), (0, 1), (HALF, HALF), (-1, 0)]


@pytest.mark.parametrize(
    ("neighbours", "means"),
    [
        (1, (0.292893, 0.292893, 0.292893, 1)),
        (2, (0.646447, 0.646447, 0.292893, 1.353553)),
        (3, (1.097631, 0.764298, 0.764298, 1.569036)),
    ],
)
def test_golden_inter_distances(neighbours, means):
    np.testing.assert_allclose(inter_distances(FOUR, neighbours), means, atol=1e-6)


def test_a_duplicate_centroid_is_a_neighbour_but_oneself_is_not():
    centroids = [(1, 0), (1, 0), (0, 1)]
    np.testing.assert_allclose(inter_distances(centroids, 1), [0, 0, 1], atol=1e-15)


def test_norms_do_not_matter():
    scaled = np.array(FOUR) * [[3], [0.1], [7], [1e-3]]
    np.testing.assert_allclose(inter_distances(scaled, 2), inter_distances(FOUR, 2))


def test_blocks_do_not_matter(monkeypatch):
    centroids = np.random.default_rng(5).standard_normal((50, 6))
    whole = inter_distances(centroids, 7)
    monkeypatch.setattr("winnow.algorithms.prune.complexity._BLOCK_BYTES", 8 * 50 * 3)
    np.testing.assert_allclose(inter_distances(centroids, 7), whole, atol=1e-14)


@pytest.mark.parametrize("neighbours", [4, 20, 0])
def test_too_many_neighbours_get_a_hint(neighbours):
    with pytest.raises(ValueError, match="use a number from 1 to 3"):
        inter_distances(FOUR, neighbours)


def test_a_zero_centroid_is_refused():
    with pytest.raises(ValueError, match="zero or not finite"):
        inter_distances([(1, 0), (0, 0), (0, 1)], 1)


def test_parts_by_size_bound_clusters_from_below():
    # By hand: half of 60/190 of each size, at most one row less than the cluster has.
    sizes, least = (100, 50, 30, 10), (15, 7, 4, 1)
    options = {"balance": 0.5, "of": "size", "temperature": 0.01}
    x = continuous_allocation(sizes, COMPLEXITIES, 60, **options)
    assert x.tolist() == pytest.approx([48, 7, 4, 1])
    assert (x >= least).all()
