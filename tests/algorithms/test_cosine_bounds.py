"""Bounds of cosines from fewer numbers: never below, and near where they can be."""

from __future__ import annotations

import numpy as np
import pytest
from winnow.algorithms.cosine import SLACK, prepare
from winnow.algorithms.cosine_bounds import Angles, bounded, directions


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


@pytest.mark.parametrize("noise", [0.3, 0.7, 2.0])
def test_angles_to_centroids_leave_out_nothing_that_is_near(noise: float):
    rng = np.random.default_rng(int(10 * noise))
    centres = rng.normal(size=(20, 40))
    labels = np.sort(rng.integers(0, 20, 400)).astype(np.int32)
    vectors = centres[labels] + noise * rng.normal(size=(400, 40))
    if noise > 0.3:
        # Copies across clusters, too.
        vectors[::7] = vectors[rng.integers(0, 400, 58)] + 0.1 * rng.normal(
            size=(58, 40)
        )
    rows, known = prepare(vectors), prepare(centres)
    cosines = rows.unit.astype(float) @ rows.unit.T.astype(float)
    to_centres = rows.unit.astype(float) @ known.unit.T.astype(float)
    kept = []
    for start in range(0, 400, 50):
        part = slice(start, start + 50)
        angles = Angles(rows[part], labels[part], known)
        near = angles.within(rows, float(np.arccos(0.9)))
        assert set(np.nonzero(cosines[part] >= 0.9)[1]) <= set(near)
        kept.append(len(near) / 400)
        of_own = to_centres[np.arange(start, start + 50), labels[part]]
        nearer = angles.nearer(known, 0.1)
        wanted = to_centres[part] >= of_own[:, None] - 0.1
        assert set(np.nonzero(wanted)[1]) <= set(nearer)
    if noise == 0.3:
        assert np.mean(kept) < 0.7
