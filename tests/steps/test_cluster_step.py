"""Clusters: stated training sample, exact assignment, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

Winnow = Callable[..., Any]
Write = Callable[..., Path]
STEPS = ["embed", "cluster"]


def facts(run: Any) -> dict[str, Any]:
    (marker,) = [m for m in run.result.steps if m.step == "cluster"]
    return marker.facts


def assigned(run: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, clusters, distances (rows by uid) and centroids."""
    vectors = run.artifact("embed", "vectors").sort_by("uid")
    clusters = run.artifact("cluster", "clusters").sort_by("uid")
    assert vectors["uid"].equals(clusters["uid"])
    return (
        np.array(vectors["image_vector"].to_pylist(), np.float64),
        clusters["cluster"].to_numpy(),
        clusters["distance"].to_numpy(),
        np.load(run.path / "artifacts" / "cluster" / "centroids.npy"),
    )


def test_each_row_goes_to_its_nearest_centroid(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    run = winnow(planted_pool, tmp_path / "r", STEPS, cluster={"k": 6})
    vectors, cluster, distance, centroids = assigned(run)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centroids = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    expected = 1 - vectors @ centroids.T.astype(np.float64)
    np.testing.assert_array_equal(cluster, expected.argmin(axis=1))
    np.testing.assert_allclose(distance, expected.min(axis=1), atol=1e-6)
    sizes = run.artifact("cluster", "sizes").to_pylist()
    counts = np.bincount(cluster, minlength=6)
    assert {r["cluster"]: r["size"] for r in sizes} == {
        c: n for c, n in enumerate(counts.tolist()) if n
    }


def test_k_follows_the_stated_rule_and_the_sample_is_in_the_manifest(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    auto = winnow(planted_pool, tmp_path / "a", STEPS, cluster={"k": "auto"})
    assert facts(auto)["k"] == round(200**0.5)
    assert facts(auto)["training_rows"] == 200
    few = winnow(planted_pool, tmp_path / "b", STEPS, cluster={"train_rows": 40})
    assert facts(few)["training_rows"] == 40
    assert len(few.artifact("cluster", "clusters")) == 200


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_more_clusters_than_rows(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
    rows: int,
):
    pool = write_shards(tmp_path / "p", planted_table(rows))
    steps = [*STEPS, "semantic", "complexity", "apply"]
    run = winnow(
        pool,
        tmp_path / "r",
        steps,
        cluster={"k": 50},
        complexity={"keep_fraction": 1.0},
    )
    assert facts(run)["k"] <= rows
    assert facts(run)["k_asked"] == 50
    assert len(run.output()) == run.result.kept >= 1


@pytest.mark.parametrize("k", [1, 4, "auto"])
def test_identical_vectors(
    winnow: Winnow, write_shards: Write, tmp_path: Path, k: int | str
):
    rows = [[0.5, -0.25, 1.0]] * 40
    table = pa.table({"uid": [f"u{i}" for i in range(40)], "iv": rows, "tv": rows})
    pool = write_shards(tmp_path / "p", table)
    steps = [*STEPS, "prototypes", "complexity", "uniform"]
    run = winnow(pool, tmp_path / "r", steps, cluster={"k": k})
    _, cluster, distance, _ = assigned(run)
    np.testing.assert_allclose(distance, 0, atol=1e-6)
    assert len(set(cluster.tolist())) == 1
    assert [m.kept for m in run.result.steps] == [40, 40, 40, 20, 10, 5]


def test_clustering_again_sees_the_survivors_only(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    steps = [*STEPS, "semantic", "cluster", "prototypes"]
    run = winnow(planted_pool, tmp_path / "r", steps, semantic={"epsilon": 0.03})
    again = set(run.artifact("cluster_2", "clusters")["uid"].to_pylist())
    assert again == run.kept("semantic")
    assert set(run.ledger("prototypes")) == again


def test_text_vectors_may_be_clustered(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    image = winnow(planted_pool, tmp_path / "i", STEPS)
    text = winnow(planted_pool, tmp_path / "t", STEPS, cluster={"modality": "text"})
    assert not image.artifact("cluster", "clusters").equals(
        text.artifact("cluster", "clusters")
    )


def test_the_seed_changes_centroids_and_nothing_else_does(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    one, same, other = (
        assigned(winnow(planted_pool, tmp_path / f"{i}", STEPS, seed=seed))[3]
        for i, seed in enumerate((0, 0, 1))
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
