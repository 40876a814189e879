"""Semantic duplicates that a device nominates: the bits of those that no device saw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.dedup import blockwise, cluster
from winnow.algorithms.dedup.blockwise import Block, nearest_earlier, tiles
from winnow.algorithms.dedup.cluster import Cluster
from winnow.algorithms.dedup.semantic import best_earlier, select
from winnow.models.torch_device import TorchDevice

DEVICE = TorchDevice("cpu")


@pytest.fixture(autouse=True, scope="module")
def small_tiles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "DEVICE_FROM", 1)
        patch.setattr(cluster, "DEVICE_TILE", (17, 11))
        patch.setattr(blockwise, "DEVICE_HEIGHT", 13)
        patch.setattr(blockwise, "DEVICE_WIDTH", 9)
        yield


def rows_of(seed, count, dim, dtype, apart):
    """Return rows of which many are copies, near or exact, of earlier ones."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((count, dim))
    for row in range(1, count):
        if random.random() < 0.7:
            near = apart * random.standard_normal(dim)
            rows[row] = rows[random.integers(row)] * random.choice([1, 2]) + near
    return rows.astype(dtype)


SHAPES = {
    "seed": st.integers(0, 2**32 - 1),
    "count": st.integers(1, 90),
    "dim": st.integers(1, 80),
    "dtype": st.sampled_from([np.float16, np.float32, np.float64]),
    "apart": st.sampled_from([0.0, 1e-7, 1e-4, 0.1]),
}


@given(
    **SHAPES,
    semantics=st.sampled_from(["greedy", "reference", "components"]),
    epsilon=st.sampled_from([0.0, 1e-6, 0.01, 0.3]),
)
def test_a_device_changes_no_bit_of_a_cluster(
    seed, count, dim, dtype, apart, semantics, epsilon
):
    rows = rows_of(seed, count, dim, dtype, apart)
    plain, ours = Cluster(rows, (16, 8)), Cluster(rows, (16, 8), DEVICE)
    expected, neighbours = best_earlier(plain), best_earlier(ours)
    assert neighbours.similarity.tobytes() == expected.similarity.tobytes()
    assert neighbours.twin.tobytes() == expected.twin.tobytes()
    chosen = select(plain, expected, epsilon, semantics)
    selection = select(ours, neighbours, epsilon, semantics)
    assert selection.keep.tolist() == chosen.keep.tolist()
    assert selection.twin.tolist() == chosen.twin.tolist()
    assert selection.similarity.tobytes() == chosen.similarity.tobytes()


@given(**SHAPES, floor=st.sampled_from([-np.inf, 0.9]))
def test_a_device_changes_no_bit_of_a_block(seed, count, dim, dtype, apart, floor):
    rows = rows_of(seed, count, dim, dtype, apart)
    numbers = np.cumsum(np.random.default_rng(seed).integers(1, 4, count))
    half = count // 2
    found_by = []
    for device in (None, DEVICE):
        block = Block(rows[half:], numbers[half:], device)
        cosine, nearest = nearest_earlier(block, tiles(rows, numbers, device), floor)
        # What is not above the floor may be passed over.
        counts = cosine > floor
        nearest = np.where(counts, nearest, -1)
        found_by.append((np.where(counts, cosine, floor).tobytes(), nearest.tolist()))
    assert found_by[0] == found_by[1]


def test_rows_that_are_all_alike_are_done_with_their_first_twin():
    rows = np.ones((200, 16), np.float16)
    neighbours = best_earlier(Cluster(rows, device=DEVICE))
    assert neighbours.twin.tolist() == [-1] + [0] * 199
    assert neighbours.similarity[1:].tolist() == [1.0] * 199
