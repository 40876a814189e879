import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.prune.prototypes import floor_counts, select, uniform_counts

SIZES = st.lists(st.integers(0, 15), min_size=1, max_size=8)


def test_floors_are_half_an_equal_share_of_the_occupied_clusters():
    assert floor_counts([5, 0, 2, 9], 12).tolist() == [2, 0, 2, 2]
    assert floor_counts([100, 100], 100, balance=0.29).tolist() == [14, 14]
    assert floor_counts([100, 100], 100, balance=0).tolist() == [0, 0]
    assert floor_counts([100, 1], 100, balance=1).tolist() == [50, 1]


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


def reserve_then_fill(distances, clusters, uids, count, keep, balance):
    sign = -1 if keep == "hard" else 1
    best = sorted(
        (row for row in range(len(uids)) if not np.isnan(distances[row])),
        key=lambda row: (sign * distances[row], uids[row]),
    )
    count = min(count, len(best))
    members = {c: [row for row in best if clusters[row] == c] for c in set(clusters)}
    occupied = sum(bool(rows) for rows in members.values())
    floor = int(balance * count / occupied) if occupied else 0
    kept = [row for rows in members.values() for row in rows[:floor]]
    rest = [row for row in best if row not in kept]
    return sorted(kept + rest[: count - len(kept)])


@given(
    pools(),
    st.integers(0, 30),
    st.sampled_from(["hard", "easy"]),
    st.sampled_from([0, 0.5, 1]),
)
def test_select_reserves_floors_and_fills_the_rest(pool, count, keep, balance):
    distances, clusters, uids = pool
    count = min(count, len(uids))
    mask = select(distances, clusters, uids, count, keep=keep, balance=balance)
    expected = reserve_then_fill(distances, clusters, uids, count, keep, balance)
    assert np.flatnonzero(mask).tolist() == expected


def test_balance_rescues_a_cluster_that_distance_alone_would_empty():
    distances = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    clusters = np.array([0, 0, 0, 0, 1, 1], np.int32)
    uids = list("abcdef")
    unbalanced = select(distances, clusters, uids, 4, balance=0)
    balanced = select(distances, clusters, uids, 4, balance=0.5)
    assert np.flatnonzero(unbalanced).tolist() == [0, 1, 2, 3]
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
