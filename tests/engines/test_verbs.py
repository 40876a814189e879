"""Every verb on every engine: one body, the same rows. Spark is a real cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark import cloudpickle
from winnow.core.errors import InputError, RunError
from winnow.engines.local import LocalEngine
from winnow.engines.spark.engine import SparkEngine
from winnow.engines.spark.session import SparkOptions

# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

DIM = 3
VECTOR = pa.list_(pa.float16(), DIM)
ROWS = pa.schema(
    [
        ("uid", pa.string()),
        ("group", pa.int32()),
        ("key", pa.uint64()),
        ("score", pa.float64()),
        ("flag", pa.bool_()),
        ("vector", VECTOR),
        ("blob", pa.binary()),
        ("list", pa.list_(pa.uint64())),
    ]
)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """Return 400 rows in no order, with nulls, ties and numbers above 2^63."""
    rng, count = np.random.default_rng(3), 400
    flat = pa.array(rng.normal(size=count * DIM).astype(np.float16))
    score = np.round(rng.random(count), 1)
    return pa.table(
        {
            "uid": [f"ü{i:03d}" for i in rng.permutation(count)],
            "group": rng.integers(0, 7, count),
            "key": rng.integers(0, 2**64 - 1, count, dtype=np.uint64),
            "score": pa.array(score, mask=score < 0.2),
            "flag": [(True, False, None)[i % 3] for i in range(count)],
            "vector": pa.FixedSizeListArray.from_arrays(
                flat, DIM, mask=pa.array(np.arange(count) % 50 == 0)
            ),
            "blob": [bytes([i % 256]) * (i % 4) for i in range(count)],
            "list": pa.array(
                [[i, 2**64 - 1 - i][: i % 3] or None for i in range(count)],
                pa.list_(pa.uint64()),
            ),
        }
    ).cast(ROWS)


ENGINES = [
    "local",
    pytest.param("spark", marks=pytest.mark.cluster),
    pytest.param("spark-data", marks=pytest.mark.cluster),
    *(
        pytest.param(name, marks=[pytest.mark.cluster, pytest.mark.soak])
        for name in ("spark-3", "spark-1", "spark-data-3", "spark-data-1")
    ),
]


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Spark with what is small in the driver's hands, or every relation its own."""
    scratch = tmp_path_factory.mktemp("verbs") / "scratch"
    name, *more = request.param.split("-")
    if name == "local":
        made: Any = LocalEngine(scratch, group_bytes=4_000)
    else:
        options = SparkOptions(
            partitions=next((int(word) for word in more if word.isdigit()), None),
            session=request.getfixturevalue("spark"),
            group_bytes=4_000,
            **({"driver_bytes": 0} if "data" in more else {}),
        )
        made = SparkEngine(scratch, options)
    yield made
    made.clear()
    assert not scratch.exists()


def by_uid(engine: Any, frame: Any) -> pa.Table:
    return engine.collect(frame, 10**6).sort_by("uid")


def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Mark each row with the call that it came to, and its place there."""
    from winnow.core.task import current_task

    first = 0
    for batch in batches:
        task = pa.array([current_task().number] * len(batch), pa.int64())
        places = pa.array(range(first, first + len(batch)), pa.int64())
        first += len(batch)
        yield (
            batch.select(["uid", "group"])
            .append_column("task", task)
            .append_column("place", places)
        )


NUMBERED = pa.schema(
    [
        ("uid", pa.string()),
        ("group", pa.int32()),
        ("task", pa.int64()),
        ("place", pa.int64()),
    ]
)


def summed(group: pa.Table) -> pa.Table:
    """Return one row of a group: its key, rows, and uids joined in order."""
    (key,) = set(group["group"].to_pylist())
    uids = "".join(sorted(group["uid"].to_pylist()))
    return pa.table({"group": [key], "rows": [len(group)], "uids": [uids]}, SUMMED)


SUMMED = pa.schema([("group", pa.int32()), ("rows", pa.int64()), ("uids", pa.string())])


def refused(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        raise InputError(f"no such thing\nas row '{batch.column('uid')[0]}'")
    yield from batches


def test_every_type_comes_back_as_it_went(engine: Any, rows: pa.Table, tmp_path: Path):
    frame = engine.map_batches(engine.from_table(rows), same, ROWS)
    assert engine.schema(frame) == ROWS
    assert engine.count(frame) == len(rows)
    assert by_uid(engine, frame).equals(rows.sort_by("uid"))
    assert engine.write(frame, str(tmp_path / "step=x"), ["uid"]) == len(rows)
    read = engine.scan(str(tmp_path / "step=x"))
    assert engine.schema(read) == ROWS
    assert by_uid(engine, read).equals(rows.sort_by("uid"))
    parts = sorted((tmp_path / "step=x").iterdir())
    assert [part.name for part in parts] == [
        f"part-{number:05d}.parquet" for number in range(len(parts))
    ]
    for part in parts:
        collected = pq.ParquetFile(part).read()
        assert collected.equals(collected.sort_by("uid"))
        assert collected.schema == ROWS
    assert not list(tmp_path.glob("*.tmp"))


def test_order_divides_the_rows_into_stretches(engine: Any, rows: pa.Table):
    frame = engine.map_batches(
        engine.from_table(rows), numbered, NUMBERED, order_by=("group", "uid")
    )
    collected = engine.collect(frame, len(rows)).sort_by(
        [("task", "ascending"), ("place", "ascending")]
    )
    expected = rows.sort_by([("group", "ascending"), ("uid", "ascending")])
    assert collected["uid"].to_pylist() == expected["uid"].to_pylist()


def test_rows_that_belong_together_reach_one_call(engine: Any, rows: pa.Table):
    frame = engine.map_batches(
        engine.from_table(rows),
        numbered,
        NUMBERED,
        order_by=("group", "uid"),
        together="group",
    )
    collected = engine.collect(frame, len(rows))
    tasks = collected.group_by("group").aggregate([("task", "count_distinct")])
    assert tasks["task_count_distinct"].to_pylist() == [1] * len(tasks)
    ordered = collected.sort_by([("task", "ascending"), ("place", "ascending")])
    for task in set(collected["task"].to_pylist()):
        of_task = ordered.filter(pc.equal(ordered["task"], task))
        pairs = list(
            zip(of_task["group"].to_pylist(), of_task["uid"].to_pylist(), strict=True)
        )
        assert pairs == sorted(pairs)


def test_groups_come_whole(engine: Any, rows: pa.Table):
    frame = engine.map_groups(engine.from_table(rows), "group", summed, SUMMED)
    expected: dict[int, list[str]] = {}
    for row in rows.to_pylist():
        expected.setdefault(row["group"], []).append(row["uid"])
    collected = engine.collect(frame, 100).sort_by("group").to_pylist()
    assert collected == [
        {"group": key, "rows": len(uids), "uids": "".join(sorted(uids))}
        for key, uids in sorted(expected.items())
    ]


@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
def test_joins_of_a_frame_with_its_own_rows(engine: Any, rows: pa.Table, how: str):
    frame = engine.map_batches(engine.from_table(rows), same, ROWS)
    chosen = engine.where(frame, "flag", True)
    right = engine.select(chosen, {"uid": "uid", "other": "key"})
    if how in ("semi", "anti"):
        right = engine.select(right, {"uid": "uid"})
    left = engine.select(frame, {"score": "score", "uid": "uid"})
    collected = by_uid(engine, engine.join(left, right, "uid", how)).to_pylist()
    expected = []
    for row in rows.sort_by("uid").to_pylist():
        hit, out = row["flag"] is True, {"score": row["score"], "uid": row["uid"]}
        if how == "inner" and hit:
            expected.append({**out, "other": row["key"]})
        elif how == "left":
            expected.append({**out, "other": row["key"] if hit else None})
        elif how == ("semi" if hit else "anti"):
            expected.append(out)
    assert collected == expected


def test_where_knows_null_and_union_keeps_all(engine: Any, rows: pa.Table):
    frame = engine.from_table(rows)
    parts = [engine.where(frame, "flag", value) for value in (True, False, None)]
    sizes = [engine.count(part) for part in parts]
    flags = rows["flag"].to_pylist()
    assert sizes == [flags.count(value) for value in (True, False, None)]
    assert by_uid(engine, engine.union(parts)).equals(rows.sort_by("uid"))
    twice = engine.union([frame, engine.from_table(rows)])
    assert engine.count(twice) == 2 * len(rows)


def test_aggregates_of_unsigned_numbers_and_text(engine: Any, rows: pa.Table):
    measures = {"n": ("uid", "count"), "most": ("key", "max"), "least": ("uid", "min")}
    frame = engine.from_table(rows)
    collected = engine.collect(engine.aggregate(frame, "group", measures), 100)
    expected = rows.group_by("group").aggregate(
        [("uid", "count"), ("key", "max"), ("uid", "min")]
    )
    columns = ["group", "n", "most", "least"]
    assert (
        collected.sort_by("group").select(columns).to_pylist()
        == expected.rename_columns(columns).sort_by("group").to_pylist()
    )
    (whole,) = engine.collect(engine.aggregate(frame, None, measures), 1).to_pylist()
    assert whole["n"] == len(rows)
    assert whole["most"] == max(rows["key"].to_pylist())


def test_sums_of_integers_are_exact(engine: Any, rows: pa.Table):
    large = np.arange(len(rows), dtype=np.int64) + 2**53
    table = pa.table({"group": rows["group"], "n": large})
    frame = engine.aggregate(engine.from_table(table), "group", {"n": ("n", "sum")})
    collected = {r["group"]: r["n"] for r in engine.collect(frame, 100).to_pylist()}
    expected: dict[int, int] = {}
    for group, number in zip(rows["group"].to_pylist(), large.tolist(), strict=True):
        expected[group] = expected.get(group, 0) + number
    assert collected == expected


@pytest.mark.parametrize("down", [True, False])
def test_the_cut_is_the_row_of_that_rank(engine: Any, rows: pa.Table, down: bool):
    frame = engine.map_batches(engine.from_table(rows), same, ROWS)

    def key(row: dict[str, Any]) -> tuple[bool, float, str]:
        missing = row["score"] is None
        score = 0.0 if missing else row["score"]
        return missing, -score if down else score, row["uid"]

    ranked = sorted(rows.to_pylist(), key=key)
    by = [("score", down), ("uid", False)]
    for count in (1, 137, 380, len(rows)):
        row = ranked[count - 1]
        wanted = {"score": row["score"], "uid": row["uid"]}
        assert engine.cut(frame, by, count) == wanted
    assert engine.cut(frame, by, 0) is None
    assert engine.cut(frame, by, len(rows) + 1) is None


def test_nothing_comes_back_as_nothing(engine: Any, tmp_path: Path):
    frame = engine.from_table(ROWS.empty_table())
    for mapped in (
        engine.map_batches(frame, same, ROWS, order_by=("uid",)),
        engine.map_groups(frame, "group", same, ROWS),
        engine.join(frame, engine.select(frame, {"uid": "uid"}), "uid", "semi"),
    ):
        assert engine.count(mapped) == 0
    assert engine.write(frame, str(tmp_path / "o"), ["uid"]) == 0
    read = engine.scan(str(tmp_path / "o"), ["key", "vector"])
    assert engine.schema(read).names == ["key", "vector"]
    assert engine.collect(read, 0).num_rows == 0
    assert engine.cut(frame, [("uid", False)], 1) is None


def test_more_rows_than_are_allowed_do_not_come(engine: Any, rows: pa.Table):
    with pytest.raises(RunError, match="more than the 399 rows"):
        engine.collect(engine.from_table(rows), len(rows) - 1)


def test_an_error_of_ours_comes_as_it_was_raised(engine: Any, rows: pa.Table):
    frame = engine.from_table(rows.slice(7, 1))
    uid = rows["uid"][7].as_py()
    with pytest.raises(InputError) as raised:
        engine.count(engine.map_batches(frame, refused, ROWS))
    assert str(raised.value) == f"no such thing\nas row '{uid}'"


def kept_twice(
    batches: Iterator[pa.RecordBatch], *, folder: str
) -> Iterator[pa.RecordBatch]:
    """Leave a file for each call, and fail each partition's first try."""
    from pathlib import Path

    from winnow.core.task import current_task

    task = current_task()
    earlier = list(Path(folder).glob(f"{task.number}-*"))
    Path(folder, f"{task.number}-{task.attempt}").touch()
    for batch in batches:
        yield batch
        if not earlier:
            raise RuntimeError("lost on purpose")


@pytest.mark.parametrize("driver_bytes", [0, 2**20])
def test_a_task_that_is_tried_again_leaves_no_double_rows(
    spark: Any, rows: pa.Table, tmp_path: Path, driver_bytes: int
):
    options = SparkOptions(partitions=3, session=spark, driver_bytes=driver_bytes)
    made = SparkEngine(tmp_path / "s", options)
    (tmp_path / "tries").mkdir()
    kernel = partial(kept_twice, folder=str(tmp_path / "tries"))
    frame = made.map_batches(made.from_table(rows), kernel, ROWS, order_by=("uid",))
    assert made.write(frame, str(tmp_path / "o"), ["uid"]) == len(rows)
    assert by_uid(made, made.scan(str(tmp_path / "o"))).equals(rows.sort_by("uid"))
    assert len(list((tmp_path / "tries").iterdir())) > 3
    made.clear()
