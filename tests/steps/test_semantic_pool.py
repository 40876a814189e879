"""Duplicates across clusters: pools compared whole, and in groups, by brute force."""

from __future__ import annotations

import itertools
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark import cloudpickle
from winnow.algorithms.cosine import cosines
from winnow.algorithms.prune.assignment import nearest_centroid
from winnow.config.steps import SemanticConfig
from winnow.core.vectors import to_column
from winnow.engines.local import LocalEngine
from winnow.engines.spark.engine import SparkEngine
from winnow.engines.spark.session import SparkOptions
from winnow.steps import semantic, semantic_blocks, semantic_pool

from tests.examples import examples
from tests.stretches import StretchedEngine

# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SEMANTICS = ["greedy", "reference", "components"]


def pool(
    rows: int, clusters: int, seed: int, dim: int = 5
) -> tuple[pa.Table, np.ndarray]:
    """Return rows with their clusters, many of them near copies, and the centroids."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, dim))
    for row in range(1, rows):
        kind = rng.integers(0, 4)
        if kind:
            source = rng.integers(0, row) if kind < 3 else row - 1
            noise = 0.0 if kind == 1 else 0.15
            vectors[row] = vectors[source] + noise * rng.normal(size=dim)
    halves = vectors.astype(np.float16)
    centroids = rng.normal(size=(clusters, dim)).astype(np.float32)
    cluster, distance = nearest_centroid(halves, centroids)
    table = pa.table(
        {
            "uid": [f"u{i:04d}" for i in rng.permutation(rows)],
            "vector": to_column(halves),
            "cluster": cluster,
            "distance": np.round(distance, 1),
        }
    )
    return table, centroids


def margins_of(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return each row's distance to the border with each cluster, 0 for its own."""
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    units = centroids.astype(float)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    to_all = rows @ units.T
    mine = to_all.argmax(axis=1)
    gaps = np.linalg.norm(units[mine][:, None] - units[None], axis=2)
    gaps[np.arange(len(rows)), mine] = 1.0
    return (to_all.max(axis=1)[:, None] - to_all) / gaps


def brute_force(
    table: pa.Table, centroids: np.ndarray, margin: float, semantics: str, least: float
) -> dict[str, tuple[bool, str | None]]:
    """Return whether each row is kept, and its kept twin, over all pairs in a group."""
    distance = table["distance"].to_numpy()
    uids = table["uid"].to_pylist()
    order = sorted(range(len(table)), key=lambda i: (-distance[i], uids[i]))
    vectors = np.array(table["vector"].to_pylist(), np.float16)[order]
    names = [uids[i] for i in order]
    near = margins_of(vectors.astype(float), centroids) <= margin
    together = (near.astype(int) @ near.T.astype(int)) > 0
    n = len(names)
    left, right = np.divmod(np.arange(n * n), n)
    similar = cosines(vectors[left], vectors[right]).reshape(n, n)
    similar[~together] = -np.inf
    keep, twin = [True] * n, list(range(n))
    root = list(range(n))
    for j in range(n):
        above = [i for i in range(j) if similar[i, j] > least]
        if semantics == "components":
            for i in above:
                low, high = sorted((root[i], root[j]))
                root = [low if r == high else r for r in root]
        elif semantics == "greedy":
            above = [i for i in above if keep[i]]
        if above and semantics != "components":
            keep[j] = False
            twin[j] = max(above, key=lambda i: (similar[i, j], -i))
    if semantics == "components":
        keep, twin = [root[j] == j for j in range(n)], root
    return {
        names[j]: (keep[j], names[twin[j]] if not keep[j] and keep[twin[j]] else None)
        for j in range(n)
    }


def context_of(
    table: pa.Table, centroids: np.ndarray, config: Any, engine: Any, folder: Path
) -> Any:
    """Return what the step is given of a pool."""
    np.save(folder / "centroids.npy", centroids)
    return SimpleNamespace(
        engine=engine,
        config=config,
        seed=0,
        step="semantic",
        rows=len(table),
        parts=folder / "parts",
        folder=folder,
        artifacts={"centroids": folder / "centroids.npy"},
        reusable=None,
    )


def in_groups(
    table: pa.Table,
    centroids: np.ndarray,
    size: int,
    config: Any,
    engine: Any,
    folder: Path,
) -> tuple[dict[str, tuple[bool, str | None]], dict[str, float]]:
    """Return the same of the step's own way with large pools, and its facts."""
    folder.mkdir(exist_ok=True)
    context = context_of(table, centroids, config, engine, folder)
    large, facts = semantic_pool.group_pool(context, engine.from_table(table), size)
    neighbours = semantic_blocks.neighbours_of(large)
    selection = semantic_pool.select_in_groups(large, neighbours, config)
    frame = semantic_blocks.decided_rows(
        large,
        neighbours,
        selection,
        lambda rows: semantic.decision_rows(rows, epsilon=config.epsilon),
        semantic._OUT,
    )
    rows = engine.collect(frame, 10**6).to_pylist()
    assert len(rows) == len(table)
    return {row["uid"]: (row["keep"], row["kept_twin"]) for row in rows}, facts


@given(
    rows=st.integers(1, 90),
    clusters=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([3, 17, 200]),
    semantics=st.sampled_from(SEMANTICS),
    epsilon=st.sampled_from([0.0, 0.02, 0.1, 0.4]),
    calls=st.sampled_from([1, 3]),
    margin=st.sampled_from([0.0, 0.1, 0.3]),
    at_once=st.sampled_from([2, 4096]),
)
@settings(max_examples=examples(15, 30))
def test_groups_decide_as_brute_force_over_pairs_in_a_group(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    clusters: int,
    seed: int,
    size: int,
    semantics: str,
    epsilon: float,
    calls: int,
    margin: float,
    at_once: int,
):
    folder = tmp_path_factory.mktemp("groups")
    table, centroids = pool(rows, clusters, seed)
    config = SemanticConfig(epsilon=epsilon, semantics=semantics)
    engine = StretchedEngine(folder / "scratch", calls)
    with pytest.MonkeyPatch.context() as patch:
        probes = semantic_pool.Probes(margin, 1.0, 0, 0, 0.9)
        patch.setattr(semantic_pool, "_measured", lambda *_: probes)
        patch.setattr(semantic_pool, "_OPEN_ROWS", at_once)
        decided, _ = in_groups(table, centroids, size, config, engine, folder / "r")
    expected = brute_force(table, centroids, margin, semantics, 1.0 - epsilon)
    assert decided == expected


def held_bytes(rows: int, folder: Path) -> int:
    """Return the bytes of what the driver keeps of a pool that is decided in groups."""
    table, centroids = pool(rows, 8, 1)
    folder.mkdir()
    context = context_of(
        table,
        centroids,
        SemanticConfig(epsilon=0.05),
        LocalEngine(folder / "s"),
        folder,
    )
    large, _ = semantic_pool.group_pool(context, context.engine.from_table(table), 500)
    neighbours = semantic_blocks.neighbours_of(large)
    choice = semantic_pool.select_in_groups(large, neighbours, context.config)
    return len(pickle.dumps((large.blocks, neighbours, choice)))


def test_a_row_more_takes_a_byte_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A flag; its name and place, and what was found of it, are in files."""
    probes = semantic_pool.Probes(0.05, 1.0, 0, 0, 0.9)
    monkeypatch.setattr(semantic_pool, "_measured", lambda *_: probes)
    few, many = (held_bytes(n, tmp_path / str(n)) for n in (1_000, 5_000))
    assert 1 <= (many - few) / 4_000 < 1.5


@pytest.mark.parametrize("dim", [5, 130])
def test_recall_is_that_of_all_pairs(
    dim: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Few rows form few pairs, and so more are searched: of 400, all.
    monkeypatch.setattr(semantic_pool, "_SAMPLE_ROWS", 40)
    monkeypatch.setattr(semantic_pool, "_SAMPLE_PAIRS", 10**6)
    table, centroids = pool(400, 8, 3, dim)
    engine = StretchedEngine(tmp_path / "scratch", 2)
    config = SemanticConfig(epsilon=0.05)
    _, facts = in_groups(table, centroids, 50, config, engine, tmp_path / "r")
    # All are searched, so the recall is exact, each pair counted twice.
    vectors = np.array(table["vector"].to_pylist(), np.float16)
    margins = margins_of(vectors.astype(float), centroids)
    near = margins <= facts["probe_margin"]
    left, right = np.array(list(itertools.permutations(range(400), 2))).T
    alike = cosines(vectors[left], vectors[right]) >= 0.9
    left, right, pairs = left[alike], right[alike], alike.sum()
    met = (near[left] & near[right]).any(axis=1).sum()
    assert (facts["probe_pairs"], facts["probe_rows"]) == (pairs, 400)
    assert facts["probe_recall"] == met / pairs
    assert facts["groups_per_row"] == near.sum() / 400
    assert pairs > 200


@pytest.mark.parametrize("whole", [True, False])
def test_no_kept_row_is_like_another_across_clusters(
    winnow: Callable[..., Any],
    planted_pool: Path,
    tmp_path: Path,
    whole: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    steps = ["embed", "cluster", "semantic", "apply"]
    if not whole:
        monkeypatch.setattr(semantic, "WHOLE_ROWS", 10)
        # However far a row is from a border, it is counted to the cluster.
        probes = semantic_pool.Probes(2.0, 1.0, 0, 0, 0.8)
        monkeypatch.setattr(semantic_pool, "_measured", lambda *_: probes)
    given = {"cluster": {"k": 7}, "semantic": {"epsilon": 0.2}}
    run = winnow(planted_pool, tmp_path / "run", steps, **given)
    vectors = {
        row["uid"]: row["image_vector"]
        for row in run.artifact("embed", "vectors").to_pylist()
    }
    kept = sorted(run.kept("semantic"))
    units = np.array([vectors[uid] for uid in kept], float)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    similar = units @ units.T - 2 * np.eye(len(kept))
    assert similar.max() <= 0.8 + 1e-9
    ledger = run.ledger("semantic")
    names = {uid: i for i, uid in enumerate(kept)}
    for uid, row in ledger.items():
        if not row["keep"]:
            mine = np.array(vectors[uid], float)
            cosine = units[names[row["kept_twin"]]] @ mine / np.linalg.norm(mine)
            assert cosine == pytest.approx(row["score"], abs=1e-9)
    assert 0 < len(kept) < len(ledger)


def test_another_epsilon_takes_over_groups_and_neighbours(
    winnow: Callable[..., Any],
    planted_pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(semantic, "WHOLE_ROWS", 10)
    steps = ["embed", "cluster", "semantic"]
    out = tmp_path / "changed"
    winnow(planted_pool, out, steps, semantic={"epsilon": 0.01})
    fresh = winnow(planted_pool, tmp_path / "f", steps, semantic={"epsilon": 0.08})
    monkeypatch.delattr(semantic_pool, "_measured")
    changed = winnow(planted_pool, out, steps, semantic={"epsilon": 0.08})
    assert changed.result.ran == ["semantic"]
    assert changed.ledger_table("semantic").equals(fresh.ledger_table("semantic"))
    (marker,) = [m for m in changed.result.steps if m.step == "semantic"]
    assert marker.facts["neighbours_reused"] is True
    assert marker.facts["probe_rows"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "semantics", ["greedy", pytest.param("components", marks=pytest.mark.soak)]
)
def test_groups_on_spark(semantics: str, spark: Any, tmp_path: Path):
    table, centroids = pool(300, 6, 5)
    config = SemanticConfig(epsilon=0.05, semantics=semantics)
    options = SparkOptions(partitions=3, session=spark, driver_rows=20)
    there = SparkEngine(tmp_path / "spark", options)
    here = StretchedEngine(tmp_path / "local", 2)
    on_spark = in_groups(table, centroids, 40, config, there, tmp_path / "a")
    assert on_spark == in_groups(table, centroids, 40, config, here, tmp_path / "b")
    there.clear()
