"""Runs that the tests of search and of an index of vectors share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.flows.vector_index import build

MONTH_ROWS, FIRST_MONTH = 300, 140
MONTH_STEPS = ["embed", "cluster", "semantic", "apply"]
MONTH_SEMANTIC = {"epsilon": 0.05, "keeper": ["month asc"]}


@pytest.fixture(scope="package")
def month_table(planted_table: Callable[..., pa.Table]) -> pa.Table:
    """Return planted rows with a column `month`, 1 or 2."""
    # Months in no order of the shards, nor of the names.
    shuffled = np.random.default_rng(3).permutation(MONTH_ROWS)
    month = np.where(shuffled < FIRST_MONTH, 1, 2)
    return planted_table(MONTH_ROWS).append_column("month", pa.array(month))


@pytest.fixture(scope="package")
def months(
    tmp_path_factory: pytest.TempPathFactory,
    month_table: pa.Table,
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
) -> dict[str, Any]:
    """Return runs over all rows, over the first month, and over the second one
    against an index of the first, and that index's folder."""
    folder = tmp_path_factory.mktemp("months")
    first = month_table.filter(pa.compute.equal(month_table["month"], 1))
    second = month_table.filter(pa.compute.equal(month_table["month"], 2))
    pools = {
        name: write_shards(folder / name, rows)
        for name, rows in (("whole", month_table), ("first", first), ("second", second))
    }
    steps = {"whole": [*MONTH_STEPS[:-1], "score", "apply"], "first": MONTH_STEPS}
    runs = {
        name: winnow(
            pools[name], folder / f"{name}-run", steps[name], semantic=MONTH_SEMANTIC
        )
        for name in ("whole", "first")
    }
    index = folder / "index"
    build(str(runs["first"].path), index)
    settings = {**MONTH_SEMANTIC, "index": str(index)}
    again = winnow(
        pools["second"], folder / "second-run", MONTH_STEPS, semantic=settings
    )
    return {**runs, "second": again, "index": index, "pools": pools}


@pytest.fixture(scope="package")
def pictured(
    tmp_path_factory: pytest.TempPathFactory,
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
    make_picture: Callable[..., bytes],
    planted_table: Callable[..., pa.Table],
    tiny_vit: str,
) -> tuple[Any, list[bytes]]:
    """Return a run over 24 pictures by a small model, and the pictures in its order."""
    folder = tmp_path_factory.mktemp("pictured")
    pictures = [make_picture(i) for i in range(24)]
    table = planted_table(24).select(["uid", "text", "width"])
    pool = write_shards(folder / "pool", table.append_column("image", [pictures]))
    model = {"name": tiny_vit, "precision": "float32", "batch_size": 8}
    embed = {"image_column": None, "text_column": None}
    run = winnow(pool, folder / "run", ["embed", "apply"], model=model, embed=embed)
    return run, pictures


def nearest_to_words(run: Any, model: str, words: str) -> str:
    """Return the uid whose stored vector has the largest product with the words'."""
    from winnow.models.encoder import ModelSpec, load_encoder

    encoder = load_encoder(ModelSpec(name=model, precision="float32", batch_size=1))
    query = encoder.encode_texts([words])[0].astype(np.float64)
    stored = run.artifact("embed", "vectors")
    exact = np.array(stored["image_vector"].to_pylist(), np.float64) @ query
    return str(stored["uid"][int(np.argmax(exact))].as_py())
