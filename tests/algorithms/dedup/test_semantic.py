import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup import cluster as cluster_module
from winnow.algorithms.dedup.cluster import Cluster
from winnow.algorithms.dedup.semantic import best_earlier, select, visiting_order

from tests.examples import examples

SEMANTICS = ["greedy", "reference", "components"]


def circle(*degrees, dtype=np.float64):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(dtype)


# Facts page: unit vectors at 0°, 10°, 20°, ε = 1 − cos 12°.
TWELVE_DEGREES = 1 - np.cos(np.radians(12))
TEN, TWENTY = 0.984808, 0.939693


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("degrees", "similarity", "twins"),
    [
        ((0, 10, 20), (TEN, TEN), {(-1, 0, 1)}),
        # 10° is as near to 0° as to 20°, bar the rounding of the input.
        ((0, 20, 10), (TWENTY, TEN), {(-1, 0, 0), (-1, 0, 1)}),
    ],
)
def test_golden_best_earlier(degrees, similarity, twins, dtype):
    neighbours = best_earlier(circle(*degrees, dtype=dtype))
    np.testing.assert_allclose(neighbours.similarity[1:], similarity, atol=1e-6)
    assert np.isnan(neighbours.similarity[0])
    assert tuple(neighbours.twin) in twins


@pytest.mark.parametrize(
    ("degrees", "semantics", "keep"),
    [
        ((0, 10, 20), "reference", [True, False, False]),
        ((0, 10, 20), "greedy", [True, False, True]),
        ((0, 10, 20), "components", [True, False, False]),
        ((0, 20, 10), "reference", [True, True, False]),
        ((0, 20, 10), "greedy", [True, True, False]),
        ((0, 20, 10), "components", [True, False, False]),
    ],
)
def test_golden_selection(degrees, semantics, keep):
    vectors = circle(*degrees)
    selection = select(vectors, best_earlier(vectors), TWELVE_DEGREES, semantics)
    assert selection.keep.tolist() == keep
    assert (selection.twin[selection.keep] == -1).all()
    # At 20° the nearest earlier row, at 10°, had gone: 0° decided.
    spared = semantics == "greedy" and degrees == (0, 10, 20)
    decided = [np.nan, np.cos(np.deg2rad(20))] if spared else np.nan
    np.testing.assert_allclose(selection.similarity[selection.keep], decided, atol=1e-7)
    assert (selection.twin[~selection.keep] >= 0).all()


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_similarity_of_exactly_the_threshold_is_kept(semantics, dtype):
    # Cosine 3/5 exactly, in every float type.
    vectors = np.array([[1, 0], [3, 4]], dtype)
    neighbours = best_earlier(vectors)
    assert neighbours.similarity[1] == 0.6
    selection = select(vectors, neighbours, 1 - 0.6, semantics)
    above = select(vectors, neighbours, np.nextafter(1 - 0.6, 1), semantics)
    assert 1.0 - (1 - 0.6) == 0.6
    assert selection.keep.tolist() == [True, True]
    assert above.keep.tolist() == [True, False]


def exact_cosines(vectors):
    """Float64 cosines by plain summation, rounded where sums differ in order."""
    doubles = np.asarray(vectors, np.float64)
    unit = doubles / np.linalg.norm(doubles, axis=1, keepdims=True)
    return np.round(unit @ unit.T, 12)


def brute_force(cosines, least, semantics):
    n = len(cosines)
    near = cosines > least
    if semantics == "reference":
        return [not near[j, :j].any() for j in range(n)]
    keep = []
    if semantics == "greedy":
        for j in range(n):
            keep.append(not any(near[j, i] and keep[i] for i in range(j)))
        return keep
    parent = list(range(n))
    for _ in range(n):
        for j in range(n):
            for i in range(j):
                if near[j, i]:
                    parent[i] = parent[j] = min(parent[i], parent[j])
    return [parent[j] == j for j in range(n)]


@st.composite
def crowds(draw):
    """Rows in few directions, so that chains, ties and duplicates are common."""
    n = draw(st.integers(1, 40))
    dim = draw(st.sampled_from([1, 2, 3, 17]))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = random.integers(-3, 4, (n, dim)).astype(np.float64)
    rows[~rows.any(axis=1), 0] = 1
    if draw(st.booleans()):
        rows += random.normal(0, 0.05, rows.shape)
        rows[:, 0] += 0.5 * (np.abs(rows).max(axis=1) < 0.1)
    return rows.astype(dtype)


@given(crowds(), st.sampled_from([0.003, 0.05, 0.31, 0.7, 1.2]))
@settings(max_examples=examples(45, 150), deadline=None)
def test_every_semantics_is_what_brute_force_finds(vectors, epsilon):
    cosines = exact_cosines(vectors)
    least = 1 - epsilon
    assume(not np.isclose(cosines, least, atol=1e-9).any())
    tiles = Cluster(vectors, tile=(5, 7))
    neighbours = best_earlier(tiles)
    for j in range(1, len(vectors)):
        assert neighbours.similarity[j] == pytest.approx(cosines[j, :j].max())
        assert cosines[j, neighbours.twin[j]] == pytest.approx(cosines[j, :j].max())
    for semantics in SEMANTICS:
        selection = select(tiles, neighbours, epsilon, semantics)
        assert selection.keep.tolist() == brute_force(cosines, least, semantics)
        dropped = np.flatnonzero(~selection.keep)
        pairs = cosines[dropped, selection.twin[dropped]]
        np.testing.assert_allclose(selection.similarity[dropped], pairs, atol=1e-11)
        assert (selection.twin[dropped] < dropped).all()
        if semantics != "reference":
            assert selection.keep[selection.twin[dropped]].all()
        if semantics == "greedy":
            kept = np.where(selection.keep, cosines, -2)
            best = [kept[j, :j].max() for j in dropped]
            np.testing.assert_allclose(selection.similarity[dropped], best, atol=1e-11)


def clustered(n, dim=24, seed=0, dtype=np.float16):
    """Random rows, a third of them chains of ever further copies."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, dim))
    for j in range(1, n, 3):
        source = random.integers(0, j)
        rows[j] = rows[source] + random.normal(0, 0.12, dim)
    return rows.astype(dtype)


@pytest.mark.parametrize("tile", [(1, 1), (3, 50), (64, 16), (1000, 1000)])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_tile_sizes_do_not_matter(tile, semantics):
    vectors = clustered(300)
    whole, tiled = Cluster(vectors), Cluster(vectors, tile=tile)
    expected, selection = best_earlier(whole), best_earlier(tiled)
    assert selection.twin.tolist() == expected.twin.tolist()
    assert selection.similarity[1:].tolist() == expected.similarity[1:].tolist()
    for epsilon in (0.01, 0.03, 0.4):
        one = select(whole, expected, epsilon, semantics)
        other = select(tiled, selection, epsilon, semantics)
        assert 0 < (~one.keep).sum() < len(vectors)
        assert one.keep.tolist() == other.keep.tolist()
        assert one.twin.tolist() == other.twin.tolist()
        np.testing.assert_array_equal(one.similarity, other.similarity)


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_a_large_cluster_from_a_memory_map_is_the_same(
    semantics, tmp_path, monkeypatch
):
    vectors = clustered(500)
    np.save(tmp_path / "vectors.npy", vectors)
    expected = select(vectors, best_earlier(vectors), 0.02, semantics)
    monkeypatch.setattr(cluster_module, "PREPARED_BYTES", 0)
    monkeypatch.setattr(cluster_module, "_LARGE_TILE", (64, 100))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    selection = select(mapped, best_earlier(mapped), 0.02, semantics)
    assert selection.twin.tolist() == expected.twin.tolist()
    np.testing.assert_array_equal(selection.similarity, expected.similarity)


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_identical_rows_leave_one(semantics):
    vectors = np.tile(clustered(1, 64), (1400, 1))
    neighbours = best_earlier(vectors)
    assert (neighbours.similarity[1:] == 1).all()
    assert (neighbours.twin[1:] == 0).all()
    selection = select(vectors, neighbours, 1e-6, semantics)
    assert np.flatnonzero(selection.keep).tolist() == [0]
    strict = select(vectors, neighbours, 0, semantics)
    assert strict.keep.all()


def test_length_does_not_matter():
    vectors = clustered(60, dtype=np.float64)
    scales = np.logspace(-150, 150, 60)[:, None]
    expected, selection = best_earlier(vectors), best_earlier(vectors * scales)
    assert selection.twin.tolist() == expected.twin.tolist()
    np.testing.assert_allclose(selection.similarity, expected.similarity, atol=1e-14)


def test_pairs_closer_than_float32_can_tell_are_told_apart():
    base = np.array([1.0, 0.0])
    near, nearer = np.array([1.0, 2e-4]), np.array([1.0, 1e-4])
    neighbours = best_earlier(np.stack([near, nearer, base]))
    assert neighbours.twin.tolist() == [-1, 0, 1]
    assert 1 - neighbours.similarity[2] == pytest.approx(5e-9, rel=1e-4)
    selection = select(
        np.stack([near, base]), best_earlier(np.stack([near, base])), 1e-8
    )
    assert selection.keep.all()


def test_equally_similar_rows_tie_to_the_earliest():
    mirrored = circle(7, -7, 0)
    assert best_earlier(mirrored).twin.tolist() == [-1, 0, 0]
    # That 10° is kept shows only once 20° is dropped, -10° is kept from the start; 0°
    # is equally near to both.
    vectors = circle(30, 20, 10, -10, 0)
    selection = select(vectors, best_earlier(vectors), TWELVE_DEGREES, "greedy")
    assert selection.keep.tolist() == [True, False, True, True, False]
    assert selection.twin.tolist() == [-1, 0, -1, -1, 2]


def test_a_pair_at_the_threshold_links_no_components():
    vectors = np.array([[1, 0], [3, 4], [3, 4]], np.float16)
    selection = select(vectors, best_earlier(vectors), 1 - 0.6, "components")
    assert selection.twin.tolist() == [-1, -1, 1]


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("n", [0, 1])
def test_small_clusters(n, semantics):
    vectors = np.ones((n, 4), np.float16)
    selection = select(vectors, best_earlier(vectors), 0.1, semantics)
    assert selection.keep.tolist() == [True] * n
    assert selection.twin.tolist() == [-1] * n


def test_visiting_orders():
    distances, uids = np.array([0.3, 0.1, 0.3, 0.2]), ["d", "c", "a", "b"]
    keys = np.array([7, 2**63, 7, 1], np.uint64)
    assert visiting_order(distances, uids, "hard", keys).tolist() == [2, 0, 3, 1]
    assert visiting_order(distances, uids, "easy", keys).tolist() == [1, 3, 2, 0]
    assert visiting_order(distances, uids, "random", keys).tolist() == [3, 2, 0, 1]
    with pytest.raises(ValueError, match="'hard', 'easy' or 'random'"):
        visiting_order(distances, uids, "soft", keys)


def test_bad_input_is_refused():
    vectors = circle(0, 10)
    neighbours = best_earlier(vectors)
    with pytest.raises(ValueError, match="epsilon is -0"):
        select(vectors, neighbours, -0.1)
    with pytest.raises(ValueError, match="'greedy', 'reference' or 'components'"):
        select(vectors, neighbours, 0.1, "other")
    with pytest.raises(ValueError, match="another cluster"):
        select(circle(0, 10, 20), neighbours, 0.1)
    with pytest.raises(ValueError, match="zero or not finite"):
        best_earlier(np.array([[1, 0], [0, 0]], np.float16))
    with pytest.raises(ValueError, match="zero or not finite"):
        best_earlier(np.array([[1, 0], [np.inf, 0]], np.float32))
    with pytest.raises(ValueError, match="a matrix is needed"):
        best_earlier(np.ones(3))
