"""Communities around seeds: planted ones, against exact neighbourhoods and networkx."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import networkx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.algorithms.communities import (
    by_agglomeration,
    by_pagerank,
    by_similarity,
    layout,
)
from winnow.cli.main import main
from winnow.core.errors import ConfigError, InputError
from winnow.flows.communities import Growth, community
from winnow.flows.near_index import build

COMMUNITIES, SIZE = 8, 25
#: Recall first, as in the paper: J of .045 has an even chance.
SETTINGS = {"unit": "element", "num_perm": 1000, "bands": 500, "rows": 2}


def planted(seed: int = 0) -> dict[str, set[str]]:
    """Return vertices and their neighbours: most of their own community's, some not."""
    rng = np.random.default_rng(seed)
    vertices = {}
    for number in range(COMMUNITIES):
        own = [f"c{number}_{i}" for i in range(60)]
        for member in range(SIZE):
            near = rng.choice(own, 20, replace=False)
            far = [f"anyone_{i}" for i in rng.integers(0, 4000, 20)]
            vertices[f"v{number}_{member:02d}"] = {*near.tolist(), *far}
    return vertices


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return planted()


@pytest.fixture(scope="module")
def index(graph: dict[str, set[str]], tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    lists = [sorted(neighbours) for neighbours in graph.values()]
    table = pa.table({"uid": list(graph), "text": lists})
    pq.write_table(table, folder / "vertices.parquet")
    build(str(folder / "vertices.parquet"), folder / "index", settings=SETTINGS)
    return folder / "index"


def exact(graph: dict[str, set[str]], names: list[str]) -> np.ndarray:
    sets = [graph[name] for name in names]
    return np.array([[len(a & b) / len(a | b) for b in sets] for a in sets])


@pytest.mark.parametrize("order", ["similarity", "agglomerative", "pagerank"])
def test_a_planted_community_is_found(
    graph: dict[str, set[str]], index: Path, order: Any
):
    seeds = ["v3_00", "v3_07", "v3_19"]
    told = community(index, seeds, Growth(order, size=SIZE - 3))
    members = {row["uid"] for row in told["rows"]}
    truth = {name for name in graph if name.startswith("v3_")} - set(seeds)
    assert len(members & truth) >= 0.95 * len(truth)
    scores = [row["score"] for row in told["rows"]]
    if order != "agglomerative":
        assert scores == sorted(scores, reverse=True)
    for row in told["rows"]:
        similarity = exact(graph, [row["uid"], *seeds])[0, 1:].mean()
        assert row["similarity"] == pytest.approx(similarity, abs=1e-12)


def test_the_exact_neighbourhood_method_ranks_the_same(
    graph: dict[str, set[str]], index: Path
):
    seeds = ["v5_01", "v5_02"]
    told = community(index, seeds, Growth("similarity", size=20))
    names = [*seeds, *sorted(set(graph) - set(seeds))]
    to_seeds = exact(graph, names)[:, :2].mean(axis=1)
    best = sorted(range(2, len(names)), key=lambda i: (-round(to_seeds[i], 12), i))
    assert [row["uid"] for row in told["rows"]] == [names[i] for i in best[:20]]


def test_pagerank_is_networkxs(graph: dict[str, set[str]]):
    names = [name for name in graph if name.startswith(("v1_", "v2_"))]
    similarity = exact(graph, names)
    order, scores = by_pagerank(similarity, 2)
    weighted = networkx.Graph()
    weighted.add_nodes_from(range(len(names)))
    for a in range(len(names)):
        for b in range(a):
            weighted.add_edge(a, b, weight=similarity[a, b])
    ranks = networkx.pagerank(
        weighted, alpha=0.85, personalization={0: 1, 1: 1}, tol=1e-14, max_iter=1000
    )
    np.testing.assert_allclose(scores, [ranks[i] for i in order], atol=1e-11)
    assert (np.diff(scores) <= 0).all()


def test_agglomeration_joins_the_nearest_to_all_that_joined():
    rng = np.random.default_rng(2)
    similarity = rng.random((9, 9)).round(1)
    similarity = (similarity + similarity.T) / 2
    order, scores = by_agglomeration(similarity, 2)
    joined = [0, 1]
    for row, score in zip(order.tolist(), scores, strict=True):
        means = {
            i: round(similarity[i, joined].mean(), 12)
            for i in range(9)
            if i not in joined
        }
        assert row == min(i for i in means if means[i] == max(means.values()))
        assert score == pytest.approx(means[row])
        joined.append(row)


def test_edgeless_vertices_and_wrong_arguments():
    ranks = by_pagerank(np.eye(4), 1)
    assert ranks[1].tolist() == [0, 0, 0]
    assert by_similarity(np.eye(3), 2)[0].tolist() == [2]
    for wrong, seeds in ((np.ones((2, 3)), 1), (np.eye(3), 0), (np.eye(3), 4)):
        with pytest.raises(ValueError, match="seeds"):
            by_similarity(wrong, seeds)
    assert layout(np.eye(1)).shape == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"seeds": []}, ConfigError),
        ({"seeds": ["v1_00", "v1_00"]}, ConfigError),
        ({"seeds": ["nobody"]}, InputError),
        ({"seeds": ["v1_00"], "order": "random"}, ConfigError),
        ({"seeds": ["v1_00"], "min_jaccard": 2.0}, ConfigError),
        ({"seeds": ["v1_00"], "candidates": 10**6}, ConfigError),
    ],
)
def test_what_cannot_be_is_told(index: Path, arguments: dict, error: type):
    grown = {name: arguments[name] for name in arguments if name != "seeds"}
    with pytest.raises(error):
        community(index, arguments["seeds"], Growth(**grown))


def test_the_command_prints_and_draws(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    seeds = ["--seeds", "v2_00", "v2_01"]
    drawing = tmp_path / "community.svg"
    line = ["communities", str(index), *seeds, "--size", "5", "--draw", str(drawing)]
    assert main([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in told["rows"]] == [1, 2, 3, 4, 5]
    assert main(line) == 0
    assert told["rows"][0]["uid"] in capsys.readouterr().out
    texts = "".join(ElementTree.parse(drawing).getroot().itertext())
    for name in ("v2_00", *(row["uid"] for row in told["rows"])):
        assert name in texts
    assert main(["communities", str(index), "--seeds", "nobody"]) == 3
