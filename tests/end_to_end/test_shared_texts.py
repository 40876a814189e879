"""Near-duplicates of real docstrings: the same rows, however the pool is divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.config.recipes import find, read


def _decisions(
    folder: Path, texts: pa.Table, shards: int, mode: str
) -> tuple[pl.DataFrame, int]:
    pool = folder / f"pool-{shards}"
    if not pool.is_dir():
        pool.mkdir()
        shuffled = texts.take(np.random.default_rng(shards).permutation(len(texts)))
        for number, rows in enumerate(np.array_split(np.arange(len(texts)), shards)):
            part = shuffled.slice(rows[0], len(rows))
            pq.write_table(part, pool / f"{number:04d}.parquet")
    run = folder / f"run-{shards}-{mode}"
    recipe = read(find("text_dedup"))
    recipe["input"]["path"] = str(pool)
    recipe["output"]["path"] = str(run)
    recipe["minhash"]["mode"] = mode
    result = winnow.run(recipe)
    ledger = pl.read_parquet(run / "ledger/step=minhash/*.parquet")
    return ledger.sort("uid"), result.dropped


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["representatives", "components"])
def test_partitions_and_row_order_change_no_decision(
    shared: Path, tmp_path: Path, mode: str
) -> None:
    files = sorted((shared / "data/texts").glob("*.parquet"))
    texts = pa.concat_tables(pq.read_table(file) for file in files)
    one, dropped = _decisions(tmp_path, texts, 1, mode)
    assert dropped > 2_000
    for shards in (7, 200):
        other, _ = _decisions(tmp_path, texts, shards, mode)
        assert one.equals(other)
