"""Nearest centroids that a device nominates: the bits of those that no device saw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.cosine_bounds import as_targets
from winnow.algorithms.prune.assignment import nearest_centroid
from winnow.models.torch_device import TorchDevice

DEVICE = TorchDevice("cpu")


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 80),
    k=st.integers(1, 50),
    dim=st.integers(1, 200),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    apart=st.sampled_from([0.0, 1e-8, 1e-6, 1e-4, 0.1]),
    block=st.sampled_from([None, 1, 13]),
)
def test_a_device_changes_no_bit(seed, rows, k, dim, dtype, apart, block):
    random = np.random.default_rng(seed)
    centroids = random.standard_normal((k, dim))
    # Near ties of many, some of another length, and some of the rows themselves.
    copied = random.integers(0, k, k)
    centroids = centroids[copied] + apart * random.standard_normal((k, dim))
    centroids *= random.choice([0.5, 1.0, 2.0], (k, 1))
    vectors = random.standard_normal((rows, dim))
    some = random.random(rows) < 0.5
    vectors[some] = centroids[random.integers(0, k, some.sum())]
    vectors, centroids = vectors.astype(dtype), centroids.astype(np.float32)
    expected = nearest_centroid(vectors, centroids)
    targets = as_targets(centroids)
    clusters, distances = nearest_centroid(vectors, targets, block=block, device=DEVICE)
    assert clusters.tobytes() == expected[0].tobytes()
    assert distances.tobytes() == expected[1].tobytes()


def test_rows_without_a_direction_are_refused():
    centroids = np.eye(2, dtype=np.float32)
    for row in ([0, 0], [1, np.nan]):
        with pytest.raises(ValueError, match="vector 1 is zero or not finite"):
            nearest_centroid(np.array([[1, 0], row]), centroids, device=DEVICE)
    with pytest.raises(ValueError, match="no centroids"):
        nearest_centroid(np.ones((1, 2)), centroids[:0], device=DEVICE)


def test_no_rows_are_no_rows():
    clusters, distances = nearest_centroid(
        np.empty((0, 4), np.float16), np.eye(4, dtype=np.float32), device=DEVICE
    )
    assert len(clusters) == len(distances) == 0
