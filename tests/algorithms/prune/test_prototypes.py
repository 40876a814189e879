import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.prune.prototypes import (
    floor_counts,
    proportional_counts,
    select,
    uniform_counts,
)

SIZES = st.lists(st.integers(0, 15), min_size=1, max_size=8)


def test_floors_are_half_an_equal_part_of_the_occupied_clusters():
    assert floor_counts([5, 0, 2, 9], 12, of="equal").tolist() == [2, 0, 2, 2]
    assert floor_counts([100, 100], 100, 0.29, "equal").tolist() == [14, 14]
    assert floor_counts([100, 100], 100, 0, "equal").tolist() == [0, 0]
    assert floor_counts([100, 1], 100, 1, "equal").tolist() == [50, 1]


def test_floors_by_size_are_half_of_what_pruning_alike_would_keep():
    # Sorscher et al. 2022: balance × keep fraction × the class's size, by hand.
    assert floor_counts([1000, 100, 10], 222).tolist() == [100, 10, 1]
    assert floor_counts([100, 100], 100, balance=0.29).tolist() == [14, 14]
    assert floor_counts([90, 10], 50, balance=1).tolist() == [45, 5]
    assert floor_counts([90, 10], 50, balance=0).tolist() == [0, 0]
    assert floor_counts([0, 0], 0).tolist() == [0, 0]
    huge = floor_counts([2**61, 2**60], 2**60)
    assert huge.tolist() == [2**61 // 6, 2**60 // 6]


@given(SIZES, st.data())
def test_proportional_shares_are_largest_remainders(sizes, data):
    count = data.draw(st.integers(0, sum(sizes)))
    counts = proportional_counts(sizes, count)
    assert counts.sum() == count
    part = np.array(sizes) * count / max(sum(sizes), 1)
    assert (counts >= np.floor(part - 1e-9)).all()
    assert (counts <= np.ceil(part + 1e-9)).all()
    assert (counts <= sizes).all()


@given(SIZES, st.data())
def test_uniform_shares_fill_the_budget_one_row_at_a_time(sizes, data):
    count = data.draw(st.integers(0, sum(sizes)))
    counts = [0] * len(sizes)
    while sum(counts) < count:
        room = [c for c in range(len(sizes)) if counts[c] < sizes[c]]
        counts[min(room, key=lambda c: (counts[c], c))] += 1
    assert uniform_counts(sizes, count).tolist() == counts


@st.composite
def pools(draw):
    n = draw(st.integers(1, 30))
    distance = st.sampled_from([0.0, 0.1, 0.2, 0.5, float("nan")])
    distances = draw(st.lists(distance, min_size=n, max_size=n))
    clusters = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    uids = [f"u{row:02}" for row in draw(st.permutations(range(n)))]
    return np.array(distances), np.array(clusters, np.int32), uids


def reserve_then_fill(distances, clusters, uids, count, keep, balance, of):
    sign = -1 if keep == "hard" else 1
    best = sorted(
        (row for row in range(len(uids)) if not np.isnan(distances[row])),
        key=lambda row: (sign * distances[row], uids[row]),
    )
    count = min(count, len(best))
    members = {c: [row for row in best if clusters[row] == c] for c in set(clusters)}
    occupied = sum(bool(rows) for rows in members.values())

    def floor(rows):
        part = len(rows) / len(best) if of == "size" else 1 / occupied
        return int(balance * count * part + 1e-9)

    kept = [row for rows in members.values() if rows for row in rows[: floor(rows)]]
    rest = [row for row in best if row not in kept]
    return sorted(kept + rest[: count - len(kept)])


@given(
    pools(),
    st.integers(0, 30),
    st.sampled_from(["hard", "easy"]),
    st.sampled_from([0, 0.5, 1]),
    st.sampled_from(["size", "equal"]),
)
def test_select_reserves_floors_and_fills_the_rest(pool, count, keep, balance, of):
    distances, clusters, uids = pool
    count = min(count, len(uids))
    mask = select(distances, clusters, uids, count, keep=keep, balance=balance, of=of)
    expected = reserve_then_fill(distances, clusters, uids, count, keep, balance, of)
    assert np.flatnonzero(mask).tolist() == expected


def test_balance_rescues_a_cluster_that_distance_alone_would_empty():
    distances = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    clusters = np.array([0, 0, 0, 0, 1, 1], np.int32)
    uids = list("abcdef")
    unbalanced = select(distances, clusters, uids, 4, balance=0)
    assert np.flatnonzero(unbalanced).tolist() == [0, 1, 2, 3]
    # One row of two: half of an equal part of 4, three quarters of 4/6 of its 2 rows.
    for balance, of in ((0.5, "equal"), (0.75, "size")):
        balanced = select(distances, clusters, uids, 4, balance=balance, of=of)
        assert np.flatnonzero(balanced).tolist() == [0, 1, 2, 4]


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="cannot keep 4 of the clusters' 3 rows"):
        uniform_counts([1, 2], 4)
    with pytest.raises(ValueError, match="0 or more"):
        floor_counts([1, -2], 0)
    with pytest.raises(ValueError, match="'hard' or 'easy'"):
        select(np.zeros(1), np.zeros(1, np.int32), ["a"], 1, keep="soft")
    with pytest.raises(ValueError, match="cannot keep 2 of 1 rows"):
        select(np.zeros(1), np.zeros(1, np.int32), ["a"], 2)
