"""A run whose captions and folders attack the pages that show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

STEPS = ["exact", "minhash", "embed", "cluster", "semantic", "score"]
STEPS += ["cluster", "complexity", "apply"]


@pytest.fixture(scope="session")
def hostile_run(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
    make_picture: Callable[..., bytes],
) -> Path:
    """Return a run of 120 rows with duplicates of each kind and rows set aside."""
    table = planted_table(120)
    pictures = [make_picture(i - i % 7 if i % 7 == 1 else i) for i in range(len(table))]
    captions = [f"<script>alert({i})</script> picture{i}" for i in range(len(table))]
    captions[5] = "one two three four five six seven eight nine ten"
    captions[6] = "one two three four five six seven eight nine <b>eleven</b>"
    captions[21] = captions[20]
    names = [["cat", "dog", '"><img src=x>'][i % 3] for i in range(len(table))]
    table = (
        table.set_column(2, "image", pa.array(pictures))
        .set_column(1, "text", pa.array(captions))
        .append_column("category", pa.array(names))
    )
    # A uid that is there twice: the second row is set aside.
    table = pa.concat_tables([table, table.slice(3, 1)])
    folder = tmp_path_factory.mktemp("hostile")
    pool = folder / "a 'pool' \"of\" <b>files"
    minhash = {"ngram": 2, "threshold": 0.6}
    write_shards(pool, table)
    path: Path = winnow(
        pool,
        folder / "run",
        STEPS,
        minhash=minhash,
        cluster={"k": 4},
        cluster_2={"k": 3},
    ).path
    return path


@pytest.fixture(scope="session")
def hostile_page(hostile_run: Path) -> Path:
    from winnow.reports.page.report import write_report

    return write_report(hostile_run)
