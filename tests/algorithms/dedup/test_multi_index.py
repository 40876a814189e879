"""Near copies by multi-index hashing, against comparing every row with every other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from winnow.algorithms.dedup.multi_index import (
    MOST_BITS,
    fewest_bits,
    near_copies,
    parts_for,
)

Hashes = npt.NDArray[np.uint64]


def drawn(seed: int, rows: int, crops: int) -> tuple[Hashes, Hashes]:
    """Return hashes of families: each member some random bits off its family's."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**63, max(1, rows // 6), dtype=np.uint64)
    family = rng.integers(0, len(base), (rows, 1 + crops))
    flips = rng.integers(0, 12, (rows, 1 + crops))
    every = base[family[:, :1].repeat(1 + crops, 1)]
    for _ in range(11):
        bit = np.uint64(1) << rng.integers(0, 64, every.shape).astype(np.uint64)
        every = np.where(flips > 0, every ^ bit, every)
        flips -= 1
    return every[:, 0].copy(), every[:, 1:].copy()


def distances(whole: Hashes, crops: Hashes) -> npt.NDArray[np.int64]:
    every = np.concatenate([whole[:, None], crops], axis=1)
    one_way = np.stack([np.bitwise_count(w ^ every).min(axis=1) for w in whole]).astype(
        np.int64
    )
    return np.minimum(one_way, one_way.T)


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 60),
    crops=st.sampled_from([0, 2]),
    most=st.integers(0, MOST_BITS),
)
def test_greedy_is_brute_force(seed: int, rows: int, crops: int, most: int):
    whole, parts = drawn(seed, rows, crops)
    between = distances(whole, parts) if rows else np.zeros((0, 0), np.int64)
    copies = near_copies(whole, parts, most)
    staying: list[int] = []
    for row in range(rows):
        near = [(between[row, other], other) for other in staying]
        bits, keeper = min(near, default=(65, -1))
        if bits <= most:
            assert (copies.keeper[row], copies.bits[row]) == (keeper, bits)
        else:
            assert (copies.keeper[row], copies.bits[row]) == (row, 0)
            staying.append(row)


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 60),
    crops=st.sampled_from([0, 2]),
    most=st.integers(0, MOST_BITS),
)
def test_components_are_those_of_all_near_pairs(
    seed: int, rows: int, crops: int, most: int
):
    whole, parts = drawn(seed, rows, crops)
    between = distances(whole, parts)
    labels = connected_components(coo_matrix(between <= most), directed=False)[1]
    first = [int(np.flatnonzero(labels == label)[0]) for label in labels]
    copies = near_copies(whole, parts, most, components=True)
    assert copies.keeper.tolist() == first
    expected = [int(between[row, keeper]) for row, keeper in enumerate(first)]
    assert copies.bits.tolist() == expected


def test_many_equal_rows_go_for_the_first():
    whole = np.full(20_000, 7, np.uint64)
    for components in (False, True):
        copies = near_copies(
            whole, np.empty((20_000, 0), np.uint64), 6, components=components
        )
        assert not copies.keeper.any()


@pytest.mark.parametrize("hashes", [2, 1000, 10**6, 10**8])
@pytest.mark.parametrize("most", [0, 3, 6, 16])
def test_parts_cover_every_difference(hashes: int, most: int):
    """Any `most` bits flipped leave one part within what is looked at there."""
    parts = parts_for(hashes, most)
    looked_at = [
        set(parts.masks[start:end].tolist())
        for start, end in zip(parts.starts[:-1], parts.starts[1:], strict=True)
    ]
    rng = np.random.default_rng(0)
    for _ in range(200):
        flipped = sum(1 << int(bit) for bit in rng.choice(64, most, replace=False))
        assert any(
            (flipped >> int(offset)) % (1 << int(width)) in masks
            for offset, width, masks in zip(
                parts.offset, parts.width, looked_at, strict=True
            )
        )


def test_the_fewest_bits_are_symmetric():
    whole, parts = drawn(3, 30, 4)
    every = np.concatenate([whole[:, None], parts], axis=1)
    between = distances(whole, parts)
    for row in range(30):
        assert fewest_bits(every[row], every).tolist() == between[row].tolist()


def test_a_distance_out_of_reach_is_refused():
    with pytest.raises(ValueError, match="from 0 to 16"):
        near_copies(np.zeros(2, np.uint64), np.empty((2, 0), np.uint64), 17)
