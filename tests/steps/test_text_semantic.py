"""Semantic duplicates of text-only pools: an encoder's text tower, ready vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

Winnow = Callable[..., Any]
Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def recipe() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "conf/text_semantic.yaml").read_text())


def decided(winnow: Winnow, pool: Path, out: Path, **sections: Any) -> Any:
    shipped = recipe()
    columns = {"uid": "uid", "image": None, "text": "text"}
    sections = {
        **{name: shipped[name] for name in ("minhash", "embed", "cluster", "semantic")},
        **sections,
    }
    given = {"path": str(pool), "columns": columns}
    return winnow(pool, out, shipped["steps"], input=given, **sections)


def test_ready_vectors_of_texts_against_brute_force(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((120, 16))
    # Every fourth row is a little beside the row before it.
    vectors[1::4] = vectors[::4] + 0.05 * rng.standard_normal((30, 16))
    table = pa.table(
        {
            "uid": [f"u{i:03d}" for i in range(120)],
            "text": [f"text {i} of {rng.integers(10**9)}" for i in range(120)],
            "vector": pa.array(vectors.tolist(), pa.list_(pa.float32())),
        }
    )
    pool = write_shards(tmp_path / "p", table, 50, 10)
    run = decided(
        winnow,
        pool,
        tmp_path / "r",
        embed={"modalities": ["text"], "text_column": "vector", "image_column": None},
        cluster={"modality": "text", "k": 1},
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = {
        (f"u{i:03d}", f"u{j:03d}")
        for i, j in zip(*np.nonzero(np.triu(unit @ unit.T, 1) > 0.96), strict=True)
    }
    ledger = run.ledger("semantic")
    gone = {uid for uid, row in ledger.items() if not row["keep"]}
    assert len(gone) == 30
    pairs = {tuple(sorted((uid, ledger[uid]["kept_twin"]))) for uid in gone}
    assert pairs == near
    assert set(run.output()["uid"].to_pylist()) == set(ledger) - gone


def test_an_encoder_takes_texts_of_equal_tokens_for_one(
    winnow: Winnow, write_shards: Write, tmp_path: Path, tiny_resnet: str
):
    texts = [f"a picture of {word} and more" for word in ("cats", "dogs", "boats")]
    texts += [text.upper() for text in texts]
    uids = list("abcdef")
    pool = write_shards(tmp_path / "p", pa.table({"uid": uids, "text": texts}))
    run = decided(
        winnow,
        pool,
        tmp_path / "r",
        # Nothing is equal to the step before; the tower lowers case.
        minhash={"normalise": []},
        model={"name": tiny_resnet},
        embed={"modalities": ["text"], "text_column": None, "image_column": None},
        cluster={"modality": "text", "k": 1},
        semantic={"modality": "text", "epsilon": 1e-4},
    )
    ledger = run.ledger("semantic")
    twins = {
        tuple(sorted((u, r["kept_twin"]))) for u, r in ledger.items() if not r["keep"]
    }
    assert twins == {("a", "d"), ("b", "e"), ("c", "f")}
