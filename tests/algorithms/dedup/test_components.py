"""Union-find against networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup.components import components, flatten, join

from tests.examples import examples


@settings(max_examples=examples(60, 200), deadline=None)
@given(st.data(), st.integers(1, 60), st.sampled_from([np.uint32, np.int64]))
def test_components_equal_networkx(data, nodes, kind):
    node = st.integers(0, nodes - 1)
    edges = data.draw(st.lists(st.tuples(node, node), max_size=80))
    graph = nx.empty_graph(nodes)
    graph.add_edges_from(edges)
    wanted = np.empty(nodes, dtype=np.int64)
    for members in nx.connected_components(graph):
        wanted[list(members)] = min(members)
    left, right = np.array(edges, dtype=kind).reshape(-1, 2).T
    np.testing.assert_array_equal(components(nodes, left, right), wanted)
    # In pieces and backwards: the same forest in the end.
    parents = np.arange(nodes)
    for edge in reversed(edges):
        join(parents, np.array(edge[1:]), np.array(edge[:1]))
    flatten(parents)
    np.testing.assert_array_equal(parents, wanted)


def test_a_long_path_is_one_component():
    nodes = 200_000
    order = np.random.default_rng(0).permutation(nodes - 1)
    parents = components(nodes, order, order + 1)
    assert not parents.any()


@pytest.mark.parametrize("end", [3, -1])
def test_an_edge_to_nowhere_is_refused(end):
    with pytest.raises(ValueError, match="3 nodes"):
        components(3, np.array([0]), np.array([end]))
