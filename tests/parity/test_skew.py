"""Pools in which most rows are one cluster, one bucket or one chain: the same rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow

from tests.parity.comparison import assert_same


def texts(rows: int) -> pa.Table:
    """Return texts of which 60 % are edits of one, each of the one before it."""
    rng = np.random.default_rng(2)
    drifting = [f"w{n}" for n in rng.integers(0, 10**6, 60)]
    captions = []
    for _ in range(rows):
        if rng.random() < 0.6:
            drifting[int(rng.integers(60))] = f"w{rng.integers(10**6)}"
            captions.append(" ".join(drifting))
        else:
            captions.append(" ".join(f"w{n}" for n in rng.integers(0, 10**6, 60)))
    return pa.table({"uid": [f"u{i}" for i in rng.permutation(rows)], "text": captions})


@pytest.mark.parametrize(
    ("mode", "partitions"),
    [
        pytest.param("representatives", 3, marks=pytest.mark.slow),
        pytest.param("components", 3, marks=pytest.mark.slow),
        pytest.param("representatives", 17, marks=pytest.mark.soak),
    ],
)
def test_buckets_and_chains_above_the_bound(
    write_shards: Callable[..., Path],
    tmp_path: Path,
    spark: Any,
    mode: str,
    partitions: int,
):
    pool = write_shards(tmp_path / "pool", texts(200))
    recipe: dict[str, Any] = {
        "input": {
            "path": str(pool),
            "columns": {"uid": "uid", "image": None, "text": "text"},
        },
        "steps": ["minhash", "apply"],
        "minhash": {
            "mode": mode,
            "threshold": 0.6,
            "ngram": 2,
            "bands": 4,
            "rows": 3,
            "allow_large_clusters": True,
        },
    }
    for name in ("local", "spark"):
        engine = {"name": name, "driver_rows": 20, "partitions": partitions}
        if name == "local":
            engine = {"name": name}
        output = {"path": str(tmp_path / name), "report": False}
        session = spark if name == "spark" else None
        winnow.run({**recipe, "engine": engine, "output": output}, spark=session)
    assert_same(tmp_path / "local", tmp_path / "spark")
    ledger = pq.ParquetDataset(tmp_path / "local" / "ledger").read()
    dropped = [row for row in ledger.to_pylist() if not row["keep"]]
    assert 60 < len(dropped) < 125
