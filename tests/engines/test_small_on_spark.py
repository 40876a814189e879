"""Relations that are small are the driver's, larger ones Spark's: the same rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import winnow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark import cloudpickle
from winnow.engines.local import LocalEngine
from winnow.engines.spark.engine import SparkEngine
from winnow.engines.spark.session import SparkOptions

from tests.examples import examples
from tests.parity.comparison import assert_same

# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

VECTOR = pa.list_(pa.float16(), 2)
ROWS = pa.schema(
    [
        ("uid", pa.string()),
        ("group", pa.int32()),
        ("key", pa.uint64()),
        ("score", pa.float64()),
        ("flag", pa.bool_()),
        ("size", pa.int64()),
        ("vector", VECTOR),
    ]
)
#: Rows that the driver takes: tables are drawn on both sides of it.
FEW = 30
_FLOATS = [0.5, -1.0, 2.0, float("nan"), None]


def table_of(rows: int, seed: int) -> pa.Table:
    """Return rows of distinct uids, with nulls, ties, NaN and numbers above 2^63."""
    rng = np.random.default_rng(seed)
    flat = pa.array(rng.normal(size=rows * 2).astype(np.float16))
    return pa.table(
        {
            "uid": [f"u{i:03d}" for i in rng.permutation(80)[:rows]],
            "group": rng.integers(0, 5, rows),
            "key": rng.integers(0, 2**64 - 1, rows, dtype=np.uint64),
            "score": [_FLOATS[i] for i in rng.integers(0, len(_FLOATS), rows)],
            "flag": [(True, False, None)[i] for i in rng.integers(0, 3, rows)],
            "size": rng.integers(-(2**60), 2**60, rows) // max(1, rows),
            "vector": pa.FixedSizeListArray.from_arrays(flat, 2),
        }
    ).cast(ROWS)


def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def group_rows(group: pa.Table) -> pa.Table:
    """Return how many rows a group has, and its least uid."""
    values = {
        "group": group["group"][:1],
        "rows": [len(group)],
        "least": [min(group["uid"].to_pylist())],
    }
    return pa.table(values, GROUPED)


GROUPED = pa.schema(
    [("group", pa.int32()), ("rows", pa.int64()), ("least", pa.string())]
)

JOINS = ("inner", "left", "semi", "anti")
VERBS = st.sampled_from(
    [
        *[("join", how) for how in JOINS],
        *[("where", value) for value in (True, False, None)],
        ("union", None),
        ("map", ()),
        ("map", ("group", "uid")),
        ("groups", None),
        ("aggregate", "group"),
        ("aggregate", None),
        ("write", None),
    ]
)


def worked(  # noqa: PLR0911
    engine: Any, frames: list[Any], verb: Any, folder: Path
) -> Any:
    """Return what a verb makes of the last frame, and of the one before it."""
    (name, how), frame = verb, frames[-1]
    other = frames[-2]
    match name:
        case "join":
            right = engine.select(other, {"uid": "uid", "other": "key"})
            return engine.join(frame, right, "uid", how)
        case "where":
            return engine.where(frame, "flag", how)
        case "union":
            columns = {name: name for name in ROWS.names}
            return engine.union(
                [engine.select(frame, columns), engine.select(other, columns)]
            )
        case "map":
            return engine.map_batches(frame, same, engine.schema(frame), order_by=how)
        case "groups":
            return engine.map_groups(frame, "group", group_rows, GROUPED)
        case "aggregate":
            measures = {
                "n": ("uid", "count"),
                "most": ("key", "max"),
                "least": ("uid", "min"),
                "sum": ("size", "sum"),
            }
            return engine.aggregate(frame, how, measures)
        case _:
            engine.write(frame, str(folder), ["uid"])
            return engine.scan(str(folder))


def plain(table: pa.Table) -> list[str]:
    """Return rows that compare, NaN and null too, in an order of their own."""
    return sorted(repr(row) for row in table.to_pylist())


@pytest.fixture(scope="module")
def engines(
    spark: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Any]]:
    """Return the local engine, and Spark that works on tables of both sizes."""
    folder = tmp_path_factory.mktemp("small")
    options = SparkOptions(
        session=spark, partitions=2, driver_rows=FEW, driver_bytes=2**20
    )
    made = [LocalEngine(folder / "l"), SparkEngine(folder / "s", options)]
    yield made
    for engine in made:
        engine.clear()


@settings(
    max_examples=examples(8, 60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    sizes=st.tuples(*[st.sampled_from([0, 1, FEW - 5, FEW + 20])] * 2),
    seed=st.integers(0, 2**16),
    verbs=st.lists(VERBS, min_size=1, max_size=4),
)
def test_verbs_over_small_and_large_tables(
    engines: list[Any],
    tmp_path_factory: pytest.TempPathFactory,
    sizes: Any,
    seed: int,
    verbs: list[Any],
) -> None:
    tables = [table_of(rows, seed + n) for n, rows in enumerate(sizes)]
    results = []
    for engine in engines:
        folder = tmp_path_factory.mktemp("verbs")
        frames = [engine.from_table(table) for table in tables]
        for verb in verbs:
            if set(ROWS.names) - set(engine.schema(frames[-1]).names):
                break  # grouped: the end
            frames[-1] = engine.select(frames[-1], {name: name for name in ROWS.names})
            frames.append(worked(engine, frames, verb, folder / str(len(frames))))
        last = frames[-1]
        names = engine.schema(last).names
        by = [
            (name, number == 1) for number, name in enumerate(names) if name != "vector"
        ]
        table = engine.collect(last, 10**4)
        cut = engine.cut(last, by, max(1, len(table) // 2))
        results.append(
            (engine.schema(last), engine.count(last), plain(table), repr(cut))
        )
    assert results[0] == results[1]


@pytest.mark.slow
def test_a_small_recipe_is_a_job_a_kernel(
    spark: Any,
    planted_pool: Path,
    vector_recipe: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Joins, sorts and counts of few rows are no jobs; the decisions are the same."""
    steps = ["exact", "embed", "cluster", "semantic", "score", "random", "apply"]
    recipe = vector_recipe(planted_pool, tmp_path / "local", steps)
    winnow.run({**recipe, "engine": {"name": "local"}})
    kernels = []
    for verb in ("map_batches", "map_groups"):
        original = getattr(SparkEngine, verb)

        def counted(self: Any, *given: Any, verb: Any = original, **more: Any) -> Any:
            kernels.append(given[1])
            return verb(self, *given, **more)

        monkeypatch.setattr(SparkEngine, verb, counted)
    # The scheduler's own number: a status tracker hears of jobs a while later.
    jobs = spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs
    before = jobs()
    output = {**recipe["output"], "path": str(tmp_path / "spark")}
    winnow.run({**recipe, "output": output}, spark=spark)
    # One more finds out whether workers see the run's folder.
    assert 10 < jobs() - before <= len(kernels) + 1
    assert_same(tmp_path / "local", tmp_path / "spark")
