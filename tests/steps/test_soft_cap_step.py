"""Soft-Cap Sampling as a step: exact totals, repetition, and how it is handed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.core.errors import ConfigError

Winnow = Callable[..., Any]
Write = Callable[..., Path]

STEPS = ["embed", "score", "soft_cap"]


def sample(
    winnow: Winnow, pool: Path, out: Path, steps: list[str] = STEPS, **settings: Any
) -> Any:
    seed = settings.pop("seed", 0)
    given = {"temperature": 0.2, **settings}
    score = {"keep_fraction": 1.0}
    return winnow(pool, out, steps, score=score, soft_cap=given, seed=seed)


def repeats(run: Any) -> dict[str, int]:
    table = run.artifact("soft_cap", "repeats")
    return dict(zip(*(table[n].to_pylist() for n in ("uid", "count")), strict=True))


@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({"total": 500}, 500),
        ({"total": 1}, 1),
        ({"total_fraction": 0.29}, 58),
        ({"total_fraction": 2.5, "penalty": 1.0}, 500),
        ({"total": 300, "penalty": 0.0}, 300),
        ({"total": 200, "penalty": float("inf")}, 200),
        ({"total": 50, "penalty": float("inf")}, 50),
    ],
    ids=str,
)
def test_the_total_is_exact(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    batch: int,
    settings: Any,
    total: int,
):
    run = sample(winnow, planted_pool, tmp_path / "r", batch=batch, **settings)
    counts = repeats(run)
    assert sum(counts.values()) == total
    assert min(counts.values()) >= 1
    assert run.kept("soft_cap") == set(counts)
    assert len(run.ledger("soft_cap")) == 200
    assert run.result.kept == len(counts)
    if settings.get("penalty") == float("inf"):
        assert max(counts.values()) == 1


@pytest.mark.parametrize("batch", [1, 40])
def test_the_same_seed_draws_the_same_whatever_the_shards(
    winnow: Winnow,
    write_shards: Write,
    planted_table: Callable[..., pa.Table],
    tmp_path: Path,
    batch: int,
):
    table = planted_table()
    order = np.random.default_rng(0).permutation(len(table))
    one = write_shards(tmp_path / "one", table, 70)
    other = write_shards(tmp_path / "other", table.take(pa.array(order)), 33)
    drawn = [
        repeats(
            sample(winnow, pool, tmp_path / f"{i}", total=333, batch=batch, seed=seed)
        )
        for i, (pool, seed) in enumerate([(one, 0), (other, 0), (one, 1)])
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_better_rows_are_drawn_more_and_a_penalty_evens_them_out(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    means, distinct = [], []
    for number, penalty in enumerate((0.0, 0.5, 5.0)):
        run = sample(
            winnow, planted_pool, tmp_path / f"{number}", total=400, penalty=penalty
        )
        counts, ledger = repeats(run), run.ledger("soft_cap")
        means.append(sum(ledger[u]["score"] * c for u, c in counts.items()) / 400)
        distinct.append(len(counts))
    everyone = np.mean([row["score"] for row in ledger.values()])
    assert means[0] > means[1] > means[2] > everyone - 0.02
    assert distinct[0] < distinct[1] < distinct[2]


def test_repeats_reach_the_subset_and_later_steps_take_rows_out(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    run = sample(
        winnow,
        planted_pool,
        tmp_path / "r",
        [*STEPS, "rules", "apply"],
        total=500,
    )
    drawn, alive = repeats(run), run.kept("rules")
    expected = {uid: count for uid, count in drawn.items() if uid in alive}
    assert set(expected) < set(drawn)
    assert Counter(run.output()["uid"].to_pylist()) == Counter(list(expected))
    subset = np.load(run.path / "subset.npy")
    repeated = Counter(f"{high:016x}{low:016x}" for high, low in subset.tolist())
    assert repeated == expected
    assert (np.sort(subset) == subset).all()
    handed = _read(run.path / "repeats")
    assert dict(zip(handed["uid"], handed["count"], strict=True)) == expected


def _read(folder: Path) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    tables = [pq.ParquetFile(f).read() for f in sorted(folder.glob("*.parquet"))]
    return pa.concat_tables(tables).to_pydict()


def test_without_the_step_nothing_is_left_of_its_repeats(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    out = tmp_path / "r"
    sample(winnow, planted_pool, out, [*STEPS, "apply"], total=50)
    assert (out / "repeats").is_dir()
    score = {"keep_fraction": 1.0}
    winnow(planted_pool, out, ["embed", "score", "apply"], score=score)
    assert not (out / "repeats").exists()
    assert len(np.load(out / "subset.npy")) == 200


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"total": 201, "penalty": float("inf")}, "infinite penalty draws each once"),
        ({"total": 900, "batch": 300}, "only 200 rows have a score"),
        ({"total": 5000, "batch": 2}, "2500 rounds"),
        ({}, "either total"),
        ({"total": 5, "total_fraction": 0.5}, "either total"),
    ],
)
def test_impossible_totals_are_refused(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, settings: Any, error: str
):
    with pytest.raises(ConfigError, match=error):
        sample(winnow, planted_pool, tmp_path / "r", **settings)


def test_it_needs_scores(winnow: Winnow, planted_pool: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'soft_cap' needs scores.*add score"):
        winnow(
            planted_pool, tmp_path / "r", ["embed", "soft_cap"], soft_cap={"total": 5}
        )
