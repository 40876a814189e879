import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.algorithms.prune import assignment
from winnow.algorithms.prune.assignment import nearest_by_product, nearest_centroid

from tests.examples import examples


def by_float64(vectors, centroids):
    a, b = np.asarray(vectors, np.float64), np.asarray(centroids, np.float64)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    return a @ b.T


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 40))
@settings(max_examples=examples(15, 40), deadline=None)
def test_the_nearest_by_float64_cosine_wins(seed, n, k):
    random = np.random.default_rng(seed)
    dim = int(random.integers(2, 40))
    vectors = random.standard_normal((n, dim)).astype(np.float16)
    centroids = random.standard_normal((k, dim)).astype(np.float32)
    clusters, distances = nearest_centroid(vectors, centroids)
    cosines = by_float64(vectors, centroids)
    chosen = cosines[np.arange(n), clusters]
    np.testing.assert_allclose(chosen, cosines.max(axis=1), atol=1e-14)
    np.testing.assert_allclose(distances, 1 - chosen, atol=1e-14)
    assert clusters.dtype == np.int32


def test_centroids_closer_than_float32_can_tell_are_told_apart():
    vectors = np.array([[1, 0]], np.float16)
    # Cosines 1 − 5e-9 and 1 − 5e-11; both are 1 in float32.
    centroids = np.array([[1, 1e-4], [1, -1e-5], [1, 1e-4]], np.float32)
    clusters, distances = nearest_centroid(vectors, centroids)
    assert clusters.tolist() == [1]
    assert distances[0] == pytest.approx(5e-11, rel=1e-3)


def test_equal_centroids_tie_to_the_lower_id():
    vectors = np.ones((3, 8), np.float16)
    centroids = np.stack([-np.ones(8), np.ones(8), 2 * np.ones(8)])
    clusters, distances = nearest_centroid(vectors, centroids.astype(np.float32))
    assert clusters.tolist() == [1, 1, 1]
    assert distances.tolist() == [0, 0, 0]


@pytest.fixture
def by_bounds(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether bounds were enough, for each block of rows."""
    enough: list[bool] = []
    original = assignment._by_bounds

    def watched(*given):
        near = original(*given)
        enough.append(near is not None)
        return near

    monkeypatch.setattr(assignment, "_by_bounds", watched)
    return enough


@pytest.mark.parametrize("dim", [128, 200])
@pytest.mark.parametrize("noise", [0.0, 0.1, 2.0])
def test_bounds_from_fewer_numbers_change_no_assignment(dim, noise, by_bounds):
    random = np.random.default_rng(dim)
    centroids = random.standard_normal((300, dim)) + 0.5
    # Every other of the first stands there twice, at another length.
    centroids[200:] = 2 * centroids[:200:2]
    strayed = noise * random.standard_normal((3_000, dim))
    vectors = centroids[random.integers(300, size=3_000)] + strayed
    vectors, centroids = vectors.astype(np.float16), centroids.astype(np.float32)
    clusters, distances = nearest_centroid(vectors, centroids)
    plain = assignment.as_targets(centroids)
    plain = dataclasses.replace(plain, basis=None)
    expected = nearest_centroid(vectors, plain)
    assert np.array_equal(clusters, expected[0])
    assert np.array_equal(distances, expected[1])
    # Rows that lie between all centroids are compared by products in the end.
    assert by_bounds == [True, True] if noise < 1 else by_bounds == [False]
    assert clusters.max() < 200


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_blocks_and_batches_do_not_matter(block):
    random = np.random.default_rng(3)
    vectors = random.standard_normal((200, 32)).astype(np.float16)
    centroids = random.standard_normal((50, 32)).astype(np.float32)
    clusters, distances = nearest_centroid(vectors, centroids)
    by_blocks = nearest_centroid(vectors, centroids, block=block)
    by_halves = [nearest_centroid(part, centroids) for part in np.split(vectors, 2)]
    assert by_blocks[0].tolist() == clusters.tolist()
    assert by_blocks[1].tolist() == distances.tolist()
    assert np.concatenate([d for _, d in by_halves]).tolist() == distances.tolist()


def test_no_rows_are_no_rows():
    clusters, distances = nearest_centroid(
        np.empty((0, 4), np.float16), np.eye(4, dtype=np.float32)
    )
    assert len(clusters) == len(distances) == 0


def test_rows_without_a_direction_are_refused():
    centroids = np.eye(2, dtype=np.float32)
    with pytest.raises(ValueError, match="zero or not finite"):
        nearest_centroid(np.array([[1, 0], [0, 0]], np.float16), centroids)
    with pytest.raises(ValueError, match="zero or not finite"):
        nearest_centroid(np.array([[1, np.nan]], np.float16), centroids)
    with pytest.raises(ValueError, match="no centroids"):
        nearest_centroid(np.ones((1, 2), np.float16), centroids[:0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=examples(15, 30), deadline=None)
def test_the_largest_inner_product_wins(seed, k):
    random = np.random.default_rng(seed)
    dim = int(random.integers(2, 40))
    vectors = random.standard_normal((30, dim)).astype(np.float16)
    lengths = random.uniform(0.01, 3, (k, 1))
    centroids = (lengths * random.standard_normal((k, dim))).astype(np.float32)
    products = vectors.astype(np.float64) @ centroids.T.astype(np.float64)
    chosen = products[np.arange(30), nearest_by_product(vectors, centroids)]
    scale = np.abs(products).max()
    np.testing.assert_allclose(chosen, products.max(axis=1), atol=1e-12 * scale)
