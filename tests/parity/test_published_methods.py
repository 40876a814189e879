"""Methods named after papers decide on Spark what they decide on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import winnow
from safetensors.numpy import save_file

from tests.datacomp_metadata import SYNSETS, write_wordnet
from tests.parity.comparison import assert_same

pytestmark = pytest.mark.slow

SCORERS = """
import numpy as np

def nearness(batch, centroids):
    flat = batch["image_vector"].flatten().to_numpy().astype(np.float64)
    centres = centroids[batch["cluster"].to_numpy()].astype(np.float64)
    return (flat.reshape(len(batch), -1) * centres).sum(axis=1).round(6)
"""
BOXES = [None, [[4.0, 6.0, 40.0, 18.0]], [[300.0, 0.0, 310.0, 9.0]], [[1.0, 2.0]]]


def on_both(recipe: dict[str, Any], spark: Any, folder: Path) -> None:
    local = {**recipe, "output": {"path": str(folder / "local"), "report": False}}
    winnow.run(local)
    there = {"path": str(folder / "spark"), "report": False}
    engine = {"name": "spark", "partitions": 3}
    winnow.run({**recipe, "output": there, "engine": engine}, spark=spark)
    assert_same(folder / "local", folder / "spark")


def test_over_ready_vectors(
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    vector_recipe: Callable[..., dict[str, Any]],
    spark: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Synsets, a target's clusters, a function of vectors, VAS, VAS-D and a head."""
    table = planted_table(150)
    (tmp_path / "spark_scorers.py").write_text(SCORERS)
    monkeypatch.syspath_prepend(tmp_path)
    spark.sparkContext.addPyFile(str(tmp_path / "spark_scorers.py"))
    wordnet = write_wordnet(tmp_path / "wordnet")
    (tmp_path / "list.txt").write_text("\n".join([*SYNSETS, "n02084071"]) + "\n")
    target = tmp_path / "target.npy"
    np.save(target, np.array(table["iv"].to_pylist()[:12], np.float32))
    head = tmp_path / "head.safetensors"
    save_file({"fc.weight": np.eye(16)[:1]}, head)
    artifacts = ["image_vectors", "clusters", "centroids"]
    steps = ["synsets", "embed", "cluster", "target_clusters", "custom", "score"]
    vas_d = {"method": "vas_d", "options": {"rounds": 3}, "keep_fraction": 0.8}
    recipe = vector_recipe(
        write_shards(tmp_path / "pool", table),
        tmp_path / "unused",
        [*steps, "score_2", "score_3", "apply"],
        synsets={"wordnet": str(wordnet), "synsets": str(tmp_path / "list.txt")},
        target_clusters={"target": str(target)},
        custom={
            "function": "spark_scorers:nearness",
            "artifacts": artifacts,
            "keep_fraction": 0.9,
        },
        score={"method": "vas", "target": str(target), "keep_fraction": 0.9},
        score_2=vas_d,
        score_3={"method": "head", "weights": str(head), "keep_fraction": 0.9},
    )
    on_both(recipe, spark, tmp_path)


def test_balance_and_orders(
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    vector_recipe: Callable[..., dict[str, Any]],
    spark: Any,
    tmp_path: Path,
):
    """Concepts of captions, a tree of clusters, outliers and a greedy order."""
    words = {"concepts": "ngrams", "ngram": 1, "limit": 18}
    recipe = vector_recipe(
        write_shards(tmp_path / "pool", planted_table(150)),
        tmp_path / "unused",
        ["balance", "embed", "cluster", "hierarchy", "outliers", "order", "apply"],
        balance=words,
        hierarchy={"levels": [3, 2], "resampling": 1, "keep_fraction": 0.9},
        outliers={"k": 3, "keep_fraction": 0.9},
        order={"keep_fraction": 0.6},
    )
    on_both(recipe, spark, tmp_path)
    held = planted_table(40, seed=1)
    others = pa.array([f"other {row}".encode() for row in range(len(held))])
    held = held.set_column(held.schema.get_field_index("image"), "image", others)
    write_shards(tmp_path / "held", held)
    how = winnow.Proving(seeds=2, epochs=2)
    proofs = [
        winnow.prove(tmp_path / name, tmp_path / "held", how)
        for name in ("local", "spark")
    ]
    arms = [proof["runs"][0]["arms"] for proof in proofs]
    assert arms[0] == arms[1]


def test_over_pictures_with_masks(
    picture_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    tiny_vit: str,
    spark: Any,
    tmp_path: Path,
):
    boxes = pa.array(BOXES * 4, pa.list_(pa.list_(pa.float64())))
    table = picture_table(16).append_column("boxes", boxes)
    masked = {"method": "alignment_masked", "masks": "boxes", "keep_fraction": 0.5}
    recipe = {
        "input": {"path": str(write_shards(tmp_path / "pool", table, 7))},
        "model": {"name": tiny_vit, "precision": "float32"},
        "steps": ["embed", "score", "apply"],
        "score": masked,
    }
    on_both(recipe, spark, tmp_path)
