"""Suggestions of LSH are those of datasketch's own indexes, without the indexes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from datasketch import MinHash, MinHashLSH, MinHashLSHEnsemble
from datasketch.lsh import _optimal_param as for_similarity
from datasketch.lshensemble import _optimal_param as for_containment
from winnow.algorithms.dedup.minhash import to_datasketch
from winnow.lake.kernels import lsh_ensemble

RECALL = (0.1, 0.9)


@pytest.mark.parametrize("num_perm", [16, 64])
@pytest.mark.parametrize("threshold", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("weights", [RECALL, (0.5, 0.5)])
def test_bands_are_those_of_datasketch(
    num_perm: int, threshold: float, weights: tuple[float, float]
) -> None:
    chosen = lsh_ensemble.similarity_bands(threshold, num_perm, weights)
    assert chosen == for_similarity(threshold, num_perm, *weights)
    by_ratio = lsh_ensemble.containment_bands(threshold, num_perm, weights)
    ratios = np.exp(np.linspace(-5, 5, 10))
    assert by_ratio == tuple(
        for_containment(threshold, num_perm, 8, ratio, *weights) for ratio in ratios
    )


@pytest.fixture(scope="module")
def sets() -> tuple[list[set[int]], npt.NDArray[np.uint32]]:
    """Return nested and overlapping sets of many sizes, and their MinHash values."""
    rng = np.random.default_rng(3)
    members = [
        set(range(start, start + size))
        for start, size in zip(
            rng.integers(0, 40, 60).tolist(),
            rng.choice([1, 3, 12, 40, 90, 200, 300], 60).tolist(),
            strict=True,
        )
    ]
    values = []
    for one in members:
        sketch = MinHash(num_perm=64, scheme="affine32")
        sketch.update_batch([str(value).encode() for value in one])
        values.append(sketch.hashvalues)
    return members, np.array(values, np.uint32)


def all_pairs(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    one, other = np.divmod(np.arange(count * count), count)
    return one, other


def test_similar_sets_are_those_that_an_index_returns(
    sets: tuple[list[set[int]], npt.NDArray[np.uint32]],
) -> None:
    members, signatures = sets
    index = MinHashLSH(threshold=0.8, num_perm=64, weights=RECALL)
    sketches = to_datasketch(signatures)
    for i, sketch in enumerate(sketches):
        index.insert(i, sketch)
    one, other = all_pairs(len(members))
    chosen = lsh_ensemble.similar(signatures, one, other, 0.8, RECALL)
    expected = {(i, j) for i, s in enumerate(sketches) for j in index.query(s)}
    assert set(zip(one[chosen].tolist(), other[chosen].tolist(), strict=True)) == (
        expected
    )
    assert len(members) < len(expected) < len(one)


def test_containing_sets_are_those_that_ensembles_of_one_size_return(
    sets: tuple[list[set[int]], npt.NDArray[np.uint32]],
) -> None:
    elements, signatures = sets
    sizes = np.array([len(one) for one in elements])
    sketches = to_datasketch(signatures)
    expected = set()
    for size in set(sizes.tolist()):
        # One partition of one size, whose bands are chosen for that very ratio.
        index = MinHashLSHEnsemble(
            threshold=0.9, num_perm=64, num_part=1, weights=RECALL
        )
        members = np.flatnonzero(sizes == size).tolist()
        index.index([(j, sketches[j], size) for j in members])
        for i, sketch in enumerate(sketches):
            expected |= {(i, j) for j in index.query(sketch, len(elements[i]))}
    one, other = all_pairs(len(elements))
    chosen = lsh_ensemble.containing(signatures, sizes, (one, other), 0.9, RECALL)
    assert set(zip(one[chosen].tolist(), other[chosen].tolist(), strict=True)) == (
        expected
    )
    assert len(elements) < len(expected) < len(one)


def test_nearly_all_contained_sets_are_suggested_although_the_other_is_larger(
    sets: tuple[list[set[int]], npt.NDArray[np.uint32]],
) -> None:
    members, signatures = sets
    sizes = np.array([len(one) for one in members])
    one, other = all_pairs(len(members))
    inside = np.array(
        [members[i] <= members[j] for i, j in zip(one, other, strict=True)]
    )
    inside &= (sizes[other] > sizes[one]) & (sizes[other] <= 8 * sizes[one])
    chosen = lsh_ensemble.containing(signatures, sizes, (one, other), 0.9, RECALL)
    assert chosen[inside].mean() > 0.9
    assert inside.sum() > 50


def test_no_pairs_are_no_suggestions() -> None:
    none = np.array([], np.int64)
    signatures = np.zeros((0, 64), np.uint32)
    assert not len(lsh_ensemble.similar(signatures, none, none, 0.8, RECALL))
    assert not len(lsh_ensemble.containing(signatures, none, (none, none), 0.9, RECALL))
