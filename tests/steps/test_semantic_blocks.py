"""Clusters divided into blocks: the rows that whole clusters give, to the last bit."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark import cloudpickle
from winnow.algorithms.dedup import blockwise
from winnow.config.steps import SemanticConfig
from winnow.core.errors import RunError
from winnow.core.vectors import to_column
from winnow.engines.local import LocalEngine
from winnow.engines.parts import plain_schema
from winnow.engines.spark.engine import SparkEngine
from winnow.engines.spark.session import SparkOptions
from winnow.steps import (
    large_clusters,
    semantic,
    semantic_blocks,
    semantic_tasks,
    vector_layout,
)
from winnow.steps.vector_blocks import Uids

from tests.examples import examples
from tests.stretches import StretchedEngine

# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SEMANTICS = ["greedy", "reference", "components"]
ORDERS = ["hard", "easy", "random"]
PLAIN = plain_schema(semantic._OUT)


def members(sizes: list[int], seed: int, dim: int = 6) -> pa.Table:
    """Return clusters of random rows, copies and chains of ever further copies."""
    rng = np.random.default_rng(seed)
    rows = sum(sizes)
    vectors = rng.normal(size=(rows, dim))
    for row in range(1, rows):
        kind = rng.integers(0, 4)
        if kind:
            source = rng.integers(0, row) if kind < 3 else row - 1
            noise = 0.0 if kind == 1 else 0.12
            vectors[row] = vectors[source] + noise * rng.normal(size=dim)
    halves = vectors.astype(np.float16)
    shuffled = rng.permutation(rows)
    table = pa.table(
        {
            "uid": [f"ü{i:04d}" for i in rng.permutation(rows)],
            "vector": to_column(halves),
            "cluster": pa.array(
                np.repeat(np.arange(len(sizes)) * 3, sizes), pa.int32()
            ),
            # Ties, so that uids count.
            "distance": np.round(rng.random(rows), 2),
        }
    )
    return table.take(pa.array(shuffled))


def whole(table: pa.Table, config: SemanticConfig) -> pa.Table:
    """Return the rows of each cluster taken whole."""
    decided_clusters = [
        semantic.deduplicate_cluster(
            table.filter(pc.equal(table["cluster"], cluster)).combine_chunks(),
            config=config,
            salt="0:semantic",
        )
        for cluster in pc.unique(table["cluster"])
    ]
    return pa.concat_tables(decided_clusters).cast(PLAIN).sort_by("uid")


def divided(
    table: pa.Table, config: SemanticConfig, size: int, engine: Any, folder: Path
) -> tuple[pa.Table, Any]:
    """Return the rows of the same clusters in blocks of `size` rows."""
    context: Any = SimpleNamespace(
        engine=engine, config=config, seed=0, step="semantic", parts=folder
    )
    frame = engine.from_table(table)
    large = large_clusters.divide(context, frame, len(table), size)
    neighbours = semantic_blocks.neighbours_of(large)
    out = decided(large, neighbours, config)
    return out, large


def decided(large: Any, neighbours: Any, config: SemanticConfig) -> pa.Table:
    selection = semantic_blocks.select_large(large, neighbours, config)
    frame = semantic_blocks.decided_rows(
        large,
        neighbours,
        selection,
        lambda rows: semantic.decision_rows(rows, epsilon=config.epsilon),
        semantic._OUT,
    )
    return large.engine.collect(frame, 10**6).sort_by("uid")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "HEIGHT", 5)
    monkeypatch.setattr(blockwise, "WIDTH", 7)
    monkeypatch.setattr(semantic_tasks, "_READ_ROWS", 11)
    monkeypatch.setattr(large_clusters, "_SEARCHES", 3)
    monkeypatch.setattr(vector_layout, "_BUCKETS", 2)
    # Of six numbers in float16: five rows.
    monkeypatch.setattr(vector_layout, "_SORTED_BYTES", 60)


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1, 3, 8, 17, 200]),
    how=st.sampled_from(list(itertools.product(SEMANTICS, ORDERS))),
    epsilon=st.sampled_from([0.0, 0.01, 0.05, 0.4, 1.3]),
    on_driver=st.sampled_from([0, 10**6]),
    calls=st.sampled_from([1, 2, 5]),
)
@settings(max_examples=examples(15, 40))
def test_blocks_of_any_size_decide_as_a_whole_cluster(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    seed: int,
    size: int,
    how: tuple[str, str],
    epsilon: float,
    on_driver: int,
    calls: int,
):
    table = members(sizes, seed)
    config = SemanticConfig(epsilon=epsilon, semantics=how[0], order=how[1])
    folder = tmp_path_factory.mktemp("blocks")
    # Components above the bound are joined where the links lie.
    engine = StretchedEngine(folder / "scratch", calls, driver_rows=on_driver)
    decisions, _ = divided(table, config, size, engine, folder)
    assert decisions.equals(whole(table, config))


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_something_is_dropped_and_chains_are_open(semantics: str, tmp_path: Path):
    """The property above is about rows that blocks have to settle."""
    table = members([150], 4)
    config = SemanticConfig(epsilon=0.05, semantics=semantics)
    engine = LocalEngine(tmp_path / "scratch")
    decisions, large = divided(table, config, 20, engine, tmp_path)
    keep = decisions["keep"].to_numpy(zero_copy_only=False)
    assert 20 < keep.sum() < 120
    assert len(set(large.tasks()["block"].to_pylist())) == 8
    twins = dict(
        zip(decisions["uid"].to_pylist(), decisions["twin"].to_pylist(), strict=True)
    )
    kept = set(decisions["uid"].filter(decisions["keep"]).to_pylist())
    dropped = set(twins) - kept
    assert sum(twins[uid] in dropped for uid in dropped) > 5


def test_stored_neighbours_of_another_run_are_found_by_name(tmp_path: Path):
    table = members([90, 40], 8)
    config = SemanticConfig(epsilon=0.05)
    engine = LocalEngine(tmp_path / "scratch")
    decisions, large = divided(table, config, 16, engine, tmp_path)
    names = ["uid", "similarity", "twin"]
    stored = engine.from_table(decisions.select(names).take(pa.array(range(130))[::-1]))
    known = semantic_blocks.known_neighbours(large, stored)
    other = SemanticConfig(epsilon=0.2, semantics="components")
    assert decided(large, known, other).equals(whole(table, other))
    fewer = engine.from_table(decisions.select(names).slice(1))
    with pytest.raises(RunError, match="not those of these rows"):
        semantic_blocks.known_neighbours(large, fewer)


@pytest.mark.parametrize("loss", ["gone", "short"])
def test_a_lost_block_is_an_error(loss: str, tmp_path: Path):
    table = members([60], 2)
    engine = LocalEngine(tmp_path / "scratch")
    _, large = divided(table, SemanticConfig(), 16, engine, tmp_path)
    (file,) = (tmp_path / "blocks" / "rows").glob("*.f16")
    file.unlink() if loss == "gone" else file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises((FileNotFoundError, RunError), match=r"\.f16"):
        semantic_blocks.neighbours_of(large)


def test_rows_of_blocks_are_read_in_any_order(tmp_path: Path):
    table = members([200, 30, 7], 4)
    engine = LocalEngine(tmp_path / "scratch")
    _, large = divided(table, SemanticConfig(), 16, engine, tmp_path)
    blocks, random = large.blocks, np.random.default_rng(1)
    given = dict(
        zip(table["uid"].to_pylist(), table["vector"].to_pylist(), strict=True)
    )
    names = Uids(blocks)
    for count in (0, 1, 60, 237):
        some = np.sort(random.choice(237, count, replace=False))
        mixed = random.permutation(np.concatenate([some, some[:9]]))
        assert names.of(mixed).to_pylist() == [
            names.of(np.array([number]))[0].as_py() for number in mixed
        ]
        vectors = [given[uid] for uid in names.of(some).to_pylist()]
        assert blocks.chosen(some).tolist() == vectors
    assert sorted(names.of(np.arange(237)).to_pylist()) == sorted(given)


def test_rows_that_the_kernel_gives_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = np.arange(60, dtype=np.float16).reshape(20, 3)
    (tmp_path / "rows.f16").write_bytes(rows.data)
    whole = os.preadv
    # As of 2 GiB and more: some bytes, not even of whole rows.
    monkeypatch.setattr(
        vector_layout.os, "preadv", lambda f, into, at: whole(f, [into[0][:7]], at)
    )
    wanted = np.array([3, 17, 4, 5, 0])
    assert np.array_equal(
        vector_layout.vectors_at(tmp_path / "rows.f16", wanted, 3), rows[wanted]
    )
    with pytest.raises(RunError, match=r"rows\.f16: ends before its row 22"):
        vector_layout.vectors_at(tmp_path / "rows.f16", np.array([19, 21]), 3)


def test_rows_that_lie_side_by_side_are_of_one_cluster(tmp_path: Path):
    table = members([90, 30, 7], 5)
    engine = StretchedEngine(tmp_path / "scratch", 3)
    _, large = divided(table, SemanticConfig(), 16, engine, tmp_path)
    blocks = large.blocks
    rows, labels, vectors = blocks.by_label(0, blocks.places[-1])
    numbers = rows.numbers
    assert blocks.vectors(rows.places).tolist() == vectors.tolist()
    assert sorted(numbers.tolist()) == list(range(127))
    assert vectors.tolist() == blocks.chosen(numbers).tolist()
    assert labels.tolist() == blocks.labels(numbers).tolist()
    given = dict(
        zip(table["uid"].to_pylist(), table["cluster"].to_pylist(), strict=True)
    )
    assert labels.tolist() == [
        given[uid] for uid in Uids(blocks).of(numbers).to_pylist()
    ]
    # Three clusters, each at most once in the file of each of three calls.
    assert (np.diff(labels) != 0).sum() < 9
    some, its_labels, _ = blocks.by_label(3, 5)
    assert some.numbers.tolist() == numbers[3:5].tolist()
    assert some.places.tolist() == [3, 4]
    assert its_labels.tolist() == labels[3:5].tolist()


def test_no_task_has_more_rows_than_a_block(tmp_path: Path):
    table = members([200, 30], 3)
    engine = LocalEngine(tmp_path / "scratch")
    _, large = divided(table, SemanticConfig(), 16, engine, tmp_path)
    wanted = np.random.default_rng(0).random(230) < 0.3
    for flags in (None, wanted):
        counted = np.ones(230, bool) if flags is None else flags
        seen = np.zeros(230, int)
        tasks = large.tasks(flags).to_pylist()
        for task in tasks:
            rows = slice(task["start"], task["stop"])
            assert 0 < counted[rows].sum() <= 16
            if task["left"] == task["start"]:
                seen[rows] += counted[rows]
        assert (seen == counted).all()
        for first, last in large.blocks.clusters:
            mine = [task for task in tasks if first <= task["start"] < last]
            for block in {task["block"] for task in mine}:
                lefts = sorted(
                    (t["left"], t["left_stop"]) for t in mine if t["block"] == block
                )
                assert lefts[0][0] == first
                assert all(a[1] == b[0] for a, b in itertools.pairwise(lefts))


@pytest.mark.parametrize(
    ("semantics", "partitions"),
    [
        pytest.param("components", 3, marks=pytest.mark.slow),
        pytest.param("greedy", 7, marks=pytest.mark.slow),
        pytest.param("reference", 1, marks=pytest.mark.slow),
        pytest.param("greedy", 3, marks=pytest.mark.soak),
        pytest.param("greedy", 17, marks=pytest.mark.soak),
    ],
)
def test_blocks_on_spark(semantics: str, partitions: int, spark: Any, tmp_path: Path):
    table = members([150, 7], 4)
    config = SemanticConfig(epsilon=0.05, semantics=semantics)
    options = SparkOptions(partitions=partitions, session=spark, driver_rows=20)
    engine = SparkEngine(tmp_path / "scratch", options)
    decisions, _ = divided(table, config, 30, engine, tmp_path)
    assert decisions.equals(whole(table, config))
    engine.clear()
