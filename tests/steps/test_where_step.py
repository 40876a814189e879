"""Rows chosen by SQL over their columns, and the best by a number of the pool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow as library
from winnow.core.errors import ConfigError, InputError

Winnow = Callable[..., Any]
Write = Callable[..., Path]

CONDITION = "width >= 200 AND (text LIKE '%dog%' OR score > .5)"


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(3)
    rows = 90
    score = rng.random(rows).round(1)
    return pa.table(
        {
            "uid": [f"u{i:02d}" for i in range(rows)],
            "text": rng.choice(["a dog", "cats", "dogs"], rows),
            "width": pa.array(
                rng.integers(100, 400, rows), mask=rng.random(rows) < 0.1
            ),
            "score": pa.array(np.where(score == 0.3, np.nan, score)),
            "whole": rng.integers(0, 9, rows),
        }
    )


@pytest.fixture
def pool(table: pa.Table, write_shards: Write, tmp_path: Path) -> Path:
    return write_shards(tmp_path / "pool", table, 40, 16)


def test_where_keeps_what_duckdb_would(
    winnow: Winnow, pool: Path, table: pa.Table, tmp_path: Path
):
    run = winnow(pool, tmp_path / "run", ["where"], where=CONDITION)
    rows = table
    asked = duckdb.sql(f"SELECT uid, ({CONDITION}) AS holds FROM rows").fetchall()
    assert len(rows) == len(asked)
    assert run.kept("where") == {uid for uid, holds in asked if holds}
    words = {True: "where_true", False: "where_false", None: "where_unknown"}
    reasons = {uid: row["reason"] for uid, row in run.ledger("where").items()}
    assert reasons == {uid: words[holds] for uid, holds in asked}
    dropped = next(uid for uid, holds in asked if holds is False)
    story = library.open(run.path).explain(dropped)
    (entry,) = [entry for entry in story["steps"] if entry["step"] == "where"]
    assert entry["would_be_kept"] == "a where.condition that is not false for it"


def test_another_condition_is_tried_on_a_run(
    winnow: Winnow, pool: Path, tmp_path: Path
):
    run = winnow(pool, tmp_path / "run", ["where"], where="whole < 3")
    tried = library.open(run.path).what_if({"where.condition": "whole < 5"})
    again = winnow(pool, tmp_path / "other", ["where"], where="whole < 5")
    assert tried["kept"]["b"] == len(again.kept("where"))


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("widht > 3", "did you mean 'width'"),
        ("width + 1", "not true or false"),
        ("count(*) > 1", "count_star"),
        ("text > ", "syntax"),
    ],
)
def test_a_wrong_condition_is_told_before_anything_runs(
    winnow: Winnow, pool: Path, tmp_path: Path, condition: str, words: str
):
    with pytest.raises((ConfigError, InputError), match=words):
        winnow(pool, tmp_path / "run", ["where"], where=condition)
    assert not (tmp_path / "run" / "artifacts").exists()


def test_a_value_that_cannot_be_cast_is_told(
    winnow: Winnow, pool: Path, tmp_path: Path
):
    condition = "CAST(text AS INTEGER) > 3"
    with pytest.raises(ConfigError, match="TRY_CAST"):
        winnow(pool, tmp_path / "run", ["where"], where=condition)


@pytest.mark.parametrize("high", [True, False])
def test_top_keeps_the_best_numbers(
    winnow: Winnow, pool: Path, table: pa.Table, tmp_path: Path, high: bool
):
    settings = {"column": "score", "keep_fraction": 0.3, "keep_high": high}
    run = winnow(pool, tmp_path / "run", ["top"], top=settings)
    scores = table["score"].to_numpy()
    known = np.flatnonzero(~np.isnan(scores))
    order = known[np.lexsort((known, -scores[known] if high else scores[known]))]
    assert run.kept("top") == {f"u{i:02d}" for i in order[:27]}
    missing = [r for r in run.ledger("top").values() if r["reason"] == "score_missing"]
    assert len(missing) == len(scores) - len(known)


def test_top_refuses_what_is_no_number(winnow: Winnow, pool: Path, tmp_path: Path):
    with pytest.raises(InputError, match="not numbers"):
        winnow(pool, tmp_path / "a", ["top"], top={"column": "text", "keep_count": 1})
    with pytest.raises(ConfigError, match="keep_fraction"):
        winnow(pool, tmp_path / "b", ["top"], top={"column": "whole"})
    integers = {"column": "whole", "threshold": 4}
    run = winnow(pool, tmp_path / "c", ["top"], top=integers)
    whole = pq.read_table(pool)["whole"].to_numpy()
    assert len(run.kept("top")) == (whole >= 4).sum()
