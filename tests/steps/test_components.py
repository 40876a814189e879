"""Both ways to components against networkx, each other, and lost checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.core.errors import RunError
from winnow.engines.local import LocalEngine
from winnow.engines.spark.engine import SparkEngine
from winnow.engines.spark.session import SparkOptions
from winnow.steps import components
from winnow.steps.components import EDGES, component_labels, connected_components

from tests.examples import examples

Graph = list[tuple[int, int]]


def chain(nodes: int, rng: np.random.Generator) -> Graph:
    """Return a path through nodes whose numbers are in no order, with gaps."""
    names = rng.permutation(nodes).astype(np.int64) * 7 + 2**40
    return list(zip(names[:-1].tolist(), names[1:].tolist(), strict=True))


def random_graph(nodes: int, edges: int, rng: np.random.Generator) -> Graph:
    ends = rng.integers(0, nodes, (edges, 2))
    return [(int(a), int(b)) for a, b in ends]


def wheel(spokes: int) -> Graph:
    """Return one hub with many spokes, and a second one hanging on a spoke."""
    return [(spokes, i) for i in range(spokes)] + [
        (spokes + 1 + i, spokes // 2) for i in range(spokes)
    ]


def graphs() -> dict[str, Graph]:
    rng = np.random.default_rng(5)
    return {
        "chain": chain(3000, rng),
        "chains": [
            (a + k * 2**20, b + k * 2**20) for k in range(4) for a, b in chain(90, rng)
        ],
        "sparse": random_graph(900, 700, rng),
        "dense": random_graph(300, 2000, rng),
        "wheel": wheel(400),
        "loops": [(3, 3), (5, 5), (5, 9), (9, 5), (1, 1)],
        "none": [],
    }


GRAPHS = graphs()


def oracle(edges: Iterable[tuple[int, int]]) -> dict[int, int]:
    graph = nx.Graph(list(edges))
    return {node: min(part) for part in nx.connected_components(graph) for node in part}


def labels(engine: Any, edges: Graph, folder: Path) -> dict[int, int]:
    ends = np.array(edges, np.int64).reshape(-1, 2)
    frame = engine.from_table(pa.table([ends[:, 0], ends[:, 1]], schema=EDGES))
    component = connected_components(engine, frame, folder)
    rows = engine.collect(component, 10**6).to_pylist()
    named = {row["node"]: row["component"] for row in rows}
    assert len(named) == len(rows)
    return named


def by_stars(folder: Path) -> LocalEngine:
    return LocalEngine(folder / "scratch", driver_rows=0)


@given(
    edges=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60),
    on_driver=st.sampled_from([0, 5, 100]),
)
@settings(max_examples=examples(15, 25))
def test_labels_are_the_same_above_and_below_the_bound(
    edges: Graph, on_driver: int, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("labels")
    ends = np.array(edges, np.uint32).reshape(-1, 2)
    engine = LocalEngine(folder / "scratch", driver_rows=on_driver)
    component = component_labels(
        engine, 41, (ends[:, 0], ends[:, 1]), folder / "rounds"
    )
    expected = {node: node for node in range(41)} | oracle(edges)
    assert dict(enumerate(component.tolist())) == expected


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("on_driver", [10**6, 0], ids=["driver", "stars"])
def test_both_ways_find_networkx_components(name: str, on_driver: int, tmp_path: Path):
    engine = LocalEngine(tmp_path / "scratch", driver_rows=on_driver)
    component = labels(engine, GRAPHS[name], tmp_path / "rounds")
    assert component == oracle(GRAPHS[name])


def test_stars_go_over_to_the_driver_once_few_enough_edges_are_left(tmp_path: Path):
    edges = GRAPHS["dense"]
    nodes = len(oracle(edges))
    engine = LocalEngine(tmp_path / "scratch", driver_rows=nodes)
    assert labels(engine, edges, tmp_path / "rounds") == oracle(edges)


def test_a_long_chain_takes_rounds_in_the_logarithm_of_its_length(tmp_path: Path):
    labels(by_stars(tmp_path), GRAPHS["chain"], tmp_path / "rounds")
    (last, *_) = sorted((tmp_path / "rounds").iterdir(), reverse=True)
    # Two halves a round; 3,000 nodes are 11.6 doublings.
    assert int(last.name.removeprefix("round-")) < 2 * 20


def lose_the_fourth(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a part of the fourth round's edges go before they are read."""
    whole = components._Rounds._read

    def read(self: Any, place: Path) -> Any:
        if self.number == 4:
            if lost == "folder":
                shutil.rmtree(place / "edges")
            elif lost == "part":
                next((place / "edges").glob("*.parquet")).unlink()
            else:
                (place / "rows.json").unlink()
        return whole(self, place)

    monkeypatch.setattr(components._Rounds, "_read", read)


@pytest.mark.parametrize("lost", ["folder", "part", "marker"])
def test_a_lost_checkpoint_is_an_error(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lose_the_fourth(lost, monkeypatch)
    with pytest.raises(RunError, match="edges are lost"):
        labels(by_stars(tmp_path), GRAPHS["sparse"], tmp_path / "rounds")


def test_a_part_that_goes_while_a_round_reads_it_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stars = components._small_star

    def star(engine: Any, down: Any) -> Any:
        for part in (tmp_path / "rounds").rglob("*.parquet"):
            part.unlink()
        return stars(engine, down)

    monkeypatch.setattr(components, "_small_star", star)
    with pytest.raises(OSError, match="No such file"):
        labels(by_stars(tmp_path), GRAPHS["sparse"], tmp_path / "rounds")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "on_driver"),
    [
        # On the driver, edges of any graph are one table: shapes matter to stars.
        *[("chain", 0), ("sparse", 0), ("wheel", 0), ("sparse", 10**6)],
        *(pytest.param(n, 10**6, marks=pytest.mark.soak) for n in ("chain", "wheel")),
    ],
)
def test_both_ways_on_spark(name: str, on_driver: int, spark: Any, tmp_path: Path):
    options = SparkOptions(partitions=3, session=spark, driver_rows=on_driver)
    engine = SparkEngine(tmp_path / "s", options)
    component = labels(engine, GRAPHS[name], tmp_path / "rounds")
    assert component == oracle(GRAPHS[name])
    engine.clear()


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["folder", "part", "marker"])
def test_a_checkpoint_lost_on_spark_is_an_error(
    lost: str, spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lose_the_fourth(lost, monkeypatch)
    options = SparkOptions(partitions=3, session=spark, driver_rows=0)
    engine = SparkEngine(tmp_path / "s", options)
    with pytest.raises(RunError, match="edges are lost"):
        labels(engine, GRAPHS["sparse"], tmp_path / "rounds")
    engine.clear()
