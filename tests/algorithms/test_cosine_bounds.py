"""Bounds of cosines from fewer numbers: never below, and near where they can be."""

from __future__ import annotations

import numpy as np
import pytest
from winnow.algorithms.cosine import SLACK
from winnow.algorithms.cosine_bounds import bounded, directions


@pytest.mark.parametrize("rank", [10, 256])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_no_cosine_is_above_its_bound(rank: int, offset: float):
    rng = np.random.default_rng(rank)
    spread = rng.normal(size=(rank, 256))
    vectors = offset + rng.normal(size=(300, rank)) @ spread
    vectors[:100] = vectors[100:200] + 0.1 * rng.normal(size=(100, 256))
    exact = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    units = exact.astype(np.float32)
    basis = directions(units[::3])
    assert basis is not None
    assert np.abs(basis.T.astype(float) @ basis - np.eye(64)).max() < 1e-5
    cosines = exact @ exact[:200].T
    bounds = bounded(units, basis) @ bounded(units[:200], basis).T
    assert (bounds >= cosines - SLACK).all()
    if rank < 64:
        # All differences lie in the directions, but for the noise: nothing is lost.
        assert np.abs(bounds - cosines)[200:, 100:].max() < 0.01


def test_short_vectors_are_compared_as_they_are():
    assert directions(np.eye(127, dtype=np.float32)) is None
