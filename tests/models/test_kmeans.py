"""k-means: every row counts, degenerate samples work, threads decide nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import faiss
import numpy as np
import pytest
from winnow.models.kmeans import default_k, train_kmeans
from winnow.models.lloyd import blocks, lloyd


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sample(n: int, d: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return unit(rows).astype(np.float32)


@pytest.fixture
def restore_threads() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    yield
    faiss.omp_set_num_threads(before)


def test_planted_clusters_are_found() -> None:
    rng = np.random.default_rng(1)
    truth = np.eye(8, dtype=np.float32)
    rows = unit(truth.repeat(100, 0) + rng.normal(0, 0.05, (800, 8)))
    centroids = train_kmeans(rows, 40, seed=3)
    nearest = (truth @ centroids.T).max(axis=1)
    assert (nearest > 0.99).all()


def test_spherical_centroids_are_unit_rows_of_float32() -> None:
    centroids = train_kmeans(sample(500, 16), 10, seed=0)
    assert centroids.shape == (10, 16)
    assert centroids.dtype == np.float32
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)


def test_the_whole_sample_is_used() -> None:
    # One centroid over more than FAISS's default of 256 rows per centroid: the mean
    # of all rows, which a subsample would miss.
    rows = np.random.default_rng(2).normal(3, 1, (5000, 4)).astype(np.float32)
    [centroid] = train_kmeans(rows, 1, seed=0, spherical=False)
    assert np.allclose(centroid, rows.mean(axis=0), atol=1e-4)


def looseness(rows: np.ndarray, centroids: np.ndarray) -> float:
    return float(1 - (rows @ centroids.T).max(axis=1).mean())


def test_a_coarse_start_ends_as_tight_and_ends_on_all_rows() -> None:
    rng = np.random.default_rng(4)
    centres = unit(rng.normal(size=(300, 32)))
    rows = unit(centres[rng.integers(300, size=5120)] + rng.normal(0, 0.15, (5120, 32)))
    rows = rows.astype(np.float32)
    whole, coarse = (
        np.mean(
            [
                looseness(rows, train_kmeans(rows, 20, seed=s, coarse_rows=start))
                for s in range(5)
            ]
        )
        for start in (0, 1280)
    )
    some = train_kmeans(rows[:1280], 20, seed=0)
    assert coarse < 1.01 * whole
    assert looseness(rows, train_kmeans(rows, 20, seed=0, coarse_rows=1280)) < (
        looseness(rows, some)
    )


def test_too_few_rows_for_a_coarse_start_are_all_used() -> None:
    rows = sample(400, 16)
    expected = train_kmeans(rows, 50, seed=0)
    assert np.array_equal(train_kmeans(rows, 50, seed=0, coarse_rows=49), expected)


def test_decisions_do_not_depend_on_the_number_of_threads(
    restore_threads: None,
) -> None:
    rows = sample(4000, 32)
    nearest = []
    for threads in (1, 2):
        faiss.omp_set_num_threads(threads)
        centroids = train_kmeans(rows, 40, seed=7)
        nearest.append((rows @ centroids.T).argmax(axis=1))
    assert np.array_equal(*nearest)


def test_the_seed_decides() -> None:
    rows = sample(1000, 8)
    first, again, other = (train_kmeans(rows, 20, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_float16_and_strided_rows_are_accepted() -> None:
    rows = sample(600, 8)
    wide = np.zeros((600, 16), np.float16)
    wide[:, ::2] = rows
    expected = train_kmeans(rows.astype(np.float16).astype(np.float32), 5, seed=0)
    assert np.array_equal(train_kmeans(wide[:, ::2], 5, seed=0), expected)


def test_identical_rows_give_one_centroid() -> None:
    rows = sample(1, 16).repeat(20_000, axis=0)
    centroids = train_kmeans(rows, 100, seed=0)
    assert np.allclose(centroids, rows[:1], atol=1e-6)
    assert len(centroids) == 1


def test_k_shrinks_to_the_number_of_distinct_rows() -> None:
    distinct = sample(7, 5)
    rows = distinct[np.random.default_rng(0).integers(0, 7, 500)]
    centroids = train_kmeans(rows, 50, seed=0)
    assert len(centroids) == 7
    assert ((rows @ centroids.T).max(axis=1) > 1 - 1e-6).all()


def test_many_copies_of_one_row_beside_a_few_others() -> None:
    rows = np.vstack([sample(1, 16).repeat(5000, axis=0), sample(60, 16, seed=5)])
    centroids = train_kmeans(rows, 50, seed=0)
    assert np.isfinite(centroids).all()
    assert ((rows @ centroids.T).max(axis=1)[:5000] > 1 - 1e-5).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    rows = sample(100, 4)
    rows[3, 1] = bad
    with pytest.raises(ValueError, match="1 of 100 rows hold NaN or infinity"):
        train_kmeans(rows, 5, seed=0)


@pytest.mark.parametrize(("rows", "k"), [(0, 5), (10, 0)])
def test_nothing_to_train_on_is_refused(rows: int, k: int) -> None:
    with pytest.raises(ValueError, match="k-means needs"):
        train_kmeans(np.ones((rows, 4), np.float32), k, seed=0)


def test_faiss_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    train_kmeans(sample(100, 8), 50, seed=0)
    output = capfd.readouterr()
    assert output.out + output.err == ""


@pytest.mark.parametrize(
    ("rows", "k"),
    [(0, 1), (1, 1), (100, 10), (7954, 89), (1_280_000, 1131), (10**10, 50_000)],
)
def test_default_k(rows: int, k: int) -> None:
    assert default_k(rows) == k


def clustering_by_faiss(
    rows: np.ndarray, k: int, spherical: bool, start: np.ndarray | None
) -> np.ndarray:
    clustering = faiss.Clustering(rows.shape[1], k)
    clustering.niter, clustering.seed, clustering.spherical = 5, 3, spherical
    clustering.min_points_per_centroid = 1
    clustering.max_points_per_centroid = len(rows)
    if start is not None:
        faiss.copy_array_to_vector(start.ravel(), clustering.centroids)
    index = faiss.IndexFlatIP if spherical else faiss.IndexFlatL2
    clustering.train(rows, index(rows.shape[1]))
    centroids: np.ndarray = faiss.vector_to_array(clustering.centroids)
    return centroids.reshape(k, -1)


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("rows", [900, 8192, 16_400, 20_005])
@pytest.mark.parametrize("given", [True, False])
def test_block_by_block_centroids_are_those_of_faiss(
    spherical: bool, rows: int, given: bool
) -> None:
    points = sample(rows, 32)
    start = points[:40].copy() if given else None
    centroids = lloyd(
        points, rows, 40, seed=3, iterations=5, spherical=spherical, start=start
    )
    expected = clustering_by_faiss(points, 40, spherical, start)
    assert np.allclose(centroids, expected, atol=1e-5)


def test_empty_clusters_get_the_halves_that_faiss_gives_them() -> None:
    # Three in four rows are one: centroids that begin there all but one lose theirs.
    points = sample(3000, 32)
    points[::4] = points[1::4] = points[2::4] = points[0]
    centroids = lloyd(points, 3000, 40, seed=3, iterations=1, spherical=False)
    expected = faiss.Clustering(32, 40)
    expected.niter, expected.seed = 1, 3
    expected.min_points_per_centroid = 1
    expected.train(points, faiss.IndexFlatL2(32))
    flat = faiss.vector_to_array(expected.centroids)
    assert np.allclose(centroids, flat.reshape(40, 32), atol=1e-6)


def test_blocks_cover_every_row_once_and_end_in_no_small_one() -> None:
    for rows in (1, 8191, 8192, 8193, 16_383, 16_384, 50_001):
        parts = [np.arange(rows)[some] for some in blocks(np.zeros((rows, 1)))]
        assert np.array_equal(np.concatenate(parts), np.arange(rows))
        assert len(parts) == 1 or min(map(len, parts)) >= 8192


def test_a_stretch_at_a_time_is_asked_for() -> None:
    class Stretches:
        shape = (30_000, 8)
        asked = 0

        def __getitem__(self, rows: slice) -> np.ndarray:
            self.asked = max(self.asked, rows.stop - rows.start)
            return whole[rows]

    whole, stretches = sample(30_000, 8), Stretches()
    centroids = train_kmeans(stretches, 20, seed=0, coarse_rows=10_000)
    assert np.array_equal(
        centroids, train_kmeans(whole, 20, seed=0, coarse_rows=10_000)
    )
    assert stretches.asked < 16_384
