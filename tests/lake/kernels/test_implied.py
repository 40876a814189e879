"""Implied containments, held to the same by sparse matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from winnow.lake.kernels.implied import implied


def by_matrices(child, parent, begins, ends, tables: int):
    ones = np.ones(len(child), np.int64)
    graph = sp.csr_array((ones, (child, parent)), shape=(tables, tables))
    count, node = connected_components(graph, directed=True, connection="strong")
    small = np.zeros((count, count), np.int64)
    small[node[child], node[parent]] = 1
    reached = small @ small + small + np.eye(count, dtype=np.int64)
    return reached[node[begins], node[ends]] > 0


@pytest.mark.parametrize("seed", range(40))
def test_pairs_are_those_of_matrices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = int(rng.integers(2, 30))
    edges = rng.integers(0, tables, (2, int(rng.integers(0, 3 * tables))))
    child, parent = edges[:, edges[0] != edges[1]]
    begins, ends = (side.ravel() for side in np.indices((tables, tables)))
    expected = by_matrices(child, parent, begins, ends, tables)
    assert (implied(child, parent, begins, ends) == expected).all()


def test_a_chain_of_many_tables_needs_no_recursion() -> None:
    chain = np.arange(50_000)
    around = implied(chain, (chain + 1) % 50_000, chain[:1], chain[-2:-1])
    assert around.tolist() == [True]  # each is in each other: one node
    child, parent = chain[:-1], chain[1:]
    pairs = np.array([0, 0, 0, 5]), np.array([1, 2, 3, 4])
    assert implied(child, parent, *pairs).tolist() == [True, True, False, False]


def test_nothing_implies_nothing() -> None:
    none = np.zeros(0, np.int64)
    assert implied(none, none, none, none).tolist() == []
    assert implied(none, none, np.array([0]), np.array([1])).tolist() == [False]
