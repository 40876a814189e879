"""Ranks and means of clusters that no call sees whole."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.prune.ranking import rank
from winnow.core.schemas import CLUSTERS
from winnow.engines.spark.engine import SparkEngine
from winnow.engines.spark.session import SparkOptions
from winnow.steps.cluster_ranks import rank_in_clusters, uniform

from tests.stretches import StretchedEngine


def clusters(rows: int, seed: int) -> pa.Table:
    """Return clusters of very unequal size, with ties among distances."""
    rng = np.random.default_rng(seed)
    # As `cluster` makes them: 1 − cosine, in float64.
    distance = 1.0 - rng.choice(rng.uniform(-1, 1, max(1, rows // 2)), rows)
    return pa.table(
        {
            "uid": [f"é{i:04d}" for i in rng.permutation(rows)],
            "cluster": rng.choice([7, 0, 2**31 - 1, 3], rows, p=[0.6, 0.2, 0.1, 0.1]),
            "distance": distance,
        }
    ).cast(CLUSTERS)


def ranked(engine: Any, table: pa.Table, keep: Any) -> tuple[pa.Table, pa.Table]:
    frame = engine.from_table(table)
    context: Any = SimpleNamespace(
        engine=engine, scan=lambda _: frame, samples=frame, seed=3, step="prototypes"
    )
    rows, statistics = rank_in_clusters(context, keep)
    return engine.collect(rows, 10**6).sort_by("uid"), statistics


def check(table: pa.Table, keep: str, rows: pa.Table, statistics: pa.Table) -> None:
    assert len(rows) == len(table)
    whole = {cluster: [] for cluster in table["cluster"].to_pylist()}
    for row in table.to_pylist():
        whole[row["cluster"]].append(row)
    expected = {}
    for members in whole.values():
        uids = [row["uid"] for row in members]
        values = np.array([row["distance"] for row in members])
        if keep == "random":
            values = uniform(uids, "3:prototypes")
        places = rank(values, uids, descending=keep == "hard")
        for uid, value, place in zip(uids, values, places, strict=True):
            expected[uid] = (value, place)
    ranks = {row["uid"]: (row["value"], row["rank"]) for row in rows.to_pylist()}
    assert ranks == expected
    assert statistics["cluster"].to_pylist() == sorted(whole)
    for row in statistics.to_pylist():
        distances = [Fraction(r["distance"]) for r in whole[row["cluster"]]]
        assert row["size"] == len(distances)
        assert row["mean"] == float(sum(distances) / len(distances))


@given(
    rows=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
    calls=st.sampled_from([1, 2, 9, 40]),
    keep=st.sampled_from(["hard", "easy", "random"]),
)
def test_ranks_and_exact_means_whatever_a_call_sees(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    seed: int,
    calls: int,
    keep: Any,
):
    table = clusters(rows, seed)
    engine = StretchedEngine(tmp_path_factory.mktemp("ranks"), calls)
    check(table, keep, *ranked(engine, table, keep))


def test_a_mean_of_many_rows_is_the_nearest_number(tmp_path: Path):
    rng = np.random.default_rng(0)
    distance = 1.0 - rng.uniform(-1, 1, 3_000)
    table = pa.table(
        {
            "uid": [str(i) for i in range(len(distance))],
            "cluster": np.zeros(len(distance), np.int32),
            "distance": distance,
        }
    )
    _, statistics = ranked(StretchedEngine(tmp_path, 3), table, "hard")
    # fsum is exact before its one rounding.
    assert statistics["mean"].to_pylist() == pytest.approx(
        [math.fsum(distance) / len(distance)], rel=2**-52
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "keep", ["hard", pytest.param("random", marks=pytest.mark.soak)]
)
def test_ranks_on_spark(keep: Any, spark: Any, tmp_path: Path):
    table = clusters(500, 1)
    engine = SparkEngine(tmp_path / "s", SparkOptions(partitions=7, session=spark))
    check(table, keep, *ranked(engine, table, keep))
    engine.clear()
