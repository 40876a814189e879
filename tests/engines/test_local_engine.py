"""The local engine's verbs against plain-Python oracles."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from winnow.core.errors import ConfigError, RunError
from winnow.core.vectors import to_column
from winnow.engines import by_parts, local, open_engine
from winnow.engines.local import LocalEngine

from tests.examples import examples

EXAMPLES = settings(
    max_examples=examples(15, 40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
UID = pa.field("uid", pa.string())
ROWS = pa.schema([("uid", pa.string()), ("key", pa.int64()), ("value", pa.float64())])


@pytest.fixture
def engine(tmp_path: Path) -> LocalEngine:
    return LocalEngine(tmp_path / "scratch")


def rows_of(engine: LocalEngine, frame: Any) -> list[dict[str, Any]]:
    return engine.collect(frame, 10**6).to_pylist()


def sorted_rows(engine: LocalEngine, frame: Any) -> list[dict[str, Any]]:
    return sorted(rows_of(engine, frame), key=repr)


def table_of(count: int, seed: int = 0, keys: int = 5) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "uid": [f"u{i:04d}" for i in rng.permutation(count)],
            "key": pa.array(rng.integers(0, keys, count), pa.int64()),
            "value": pa.array([None if v < 0.1 else v for v in rng.random(count)]),
        },
        schema=ROWS,
    )


def test_an_unknown_engine_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="unknown engine 'dask'"):
        open_engine("dask", scratch=tmp_path, group_bytes=1)


@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_table_comes_back_as_it_went(engine: LocalEngine, count: int):
    table = table_of(count)
    frame = engine.from_table(table)
    assert engine.collect(frame, count).equals(table)
    assert engine.count(frame) == count
    assert engine.schema(frame) == ROWS


def test_vectors_keep_their_type_through_every_verb(
    engine: LocalEngine, tmp_path: Path
):
    vector = pa.FixedSizeListArray.from_arrays(
        pa.array(np.arange(12, dtype=np.float16)), 3
    )
    table = pa.table({"uid": ["a", "b", "c", "d"], "vector": vector})
    frame = engine.map_batches(engine.from_table(table), same, table.schema)
    engine.write(frame, str(tmp_path / "out"), ["uid"])
    read = engine.scan(str(tmp_path / "out"))
    assert engine.schema(read).field("vector").type == pa.list_(pa.float16(), 3)
    assert engine.collect(read, 9).equals(table)


def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def remember(
    batches: Iterator[pa.RecordBatch], *, seen: list[str]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        seen += batch.column("uid").to_pylist()
        yield batch


@pytest.mark.parametrize("count", [0, 1, 40_000])
def test_map_batches_streams_every_row_once_in_the_asked_order(
    engine: LocalEngine, count: int
):
    table, seen = table_of(count), []
    frame = engine.map_batches(
        engine.from_table(table),
        partial(remember, seen=seen),
        ROWS,
        order_by=("key", "uid"),
    )
    expected = table.sort_by([("key", "ascending"), ("uid", "ascending")])
    assert seen == expected["uid"].to_pylist()
    assert engine.collect(frame, count).equals(expected)


def summed(group: pa.Table) -> pa.Table:
    (key,) = set(group["key"].to_pylist())
    values = sorted(v for v in group["value"].to_pylist() if v is not None)
    return pa.table(
        {"key": [key], "rows": [len(group)], "total": [sum(values)]},
        schema=SUMMED,
    )


SUMMED = pa.schema([("key", pa.int64()), ("rows", pa.int64()), ("total", pa.float64())])


@EXAMPLES
@given(
    count=st.integers(0, 300),
    keys=st.integers(1, 40),
    group_bytes=st.sampled_from([1, 200, 2_000, 10**9]),
    seed=st.integers(0, 9),
)
def test_map_groups_sees_each_group_whole_whatever_spills(
    tmp_path: Path, count: int, keys: int, group_bytes: int, seed: int
):
    table = table_of(count, seed, keys)
    engine = LocalEngine(tmp_path / "scratch", group_bytes)
    frame = engine.map_groups(engine.from_table(table), "key", summed, SUMMED)
    expected = [
        summed(table.filter(pa.compute.equal(table["key"], key))).to_pylist()[0]
        for key in sorted(set(table["key"].to_pylist()))
    ]
    assert sorted_rows(engine, frame) == sorted(expected, key=repr)
    engine.clear()


@pytest.fixture
def few_files() -> Iterator[None]:
    """Allow the process 500 more open files; a usual limit is 1,024 in all."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    now = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (now + 500, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_files")
def test_more_groups_than_a_process_may_open_files(tmp_path: Path):
    count = 700
    table = pa.table(
        {
            "uid": [f"{i}" for i in range(count)],
            "key": list(range(count)),
            "value": [1.0] * count,
        },
        schema=ROWS,
    )
    engine = LocalEngine(tmp_path, group_bytes=1)
    frame = engine.map_groups(engine.from_table(table), "key", summed, SUMMED)
    assert engine.count(frame) == count
    assert {row["rows"] for row in rows_of(engine, frame)} == {1}


def few_bytes(tmp_path: Path, seed: int = 0) -> LocalEngine:
    """Return an engine that holds next to nothing in memory."""
    return LocalEngine(tmp_path / f"few-{seed}", group_bytes=[600, 1_500, 9_000][seed])


@EXAMPLES
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.sampled_from([0.0, -0.0, 2.5, float("nan"), float("inf")]),
            st.none() | st.text(alphabet="aé\u4e2d", max_size=3),
        ),
        max_size=60,
    ),
    bounds=st.integers(0, 2),
)
def test_sorting_by_parts_is_sorting(tmp_path: Path, rows: list, bounds: int):
    schema = pa.schema([("x", pa.float64()), ("s", pa.string()), ("n", pa.int64())])
    listed = [{"x": x, "s": s, "n": n} for n, (x, s) in enumerate(rows)]
    table = pa.Table.from_pylist(listed, schema)
    whole, parts = LocalEngine(tmp_path / "whole"), few_bytes(tmp_path, bounds)
    for names in (("x", "s", "n"), ("s", "x", "n")):
        read = []
        for engine in (whole, parts):
            engine.write(engine.from_table(table), str(tmp_path / "out"), names)
            read.append(pq.read_table(tmp_path / "out")["n"].to_pylist())
        assert read[0] == read[1]
    for down in (False, True):
        order = [("s", down), ("n", False)]
        cuts = [
            engine.cut(engine.from_table(table), order, len(rows) // 2)
            for engine in (whole, parts)
        ]
        assert cuts[0] == cuts[1]


def test_what_a_sort_is_divided_by_holds_no_other_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows, kept = 40_000, []
    uids = [f"{n * 0x9E3779B97F4A7C15 % 2**128:032x}" for n in range(rows)]
    borders_of = by_parts._borders

    def borders(frame: Any, key: str, sample: pl.Series, parts: int) -> pl.Series:
        views = sample.to_arrow(compat_level=pl.CompatLevel.newest())
        kept.append((len(sample), views.get_total_buffer_size()))
        return borders_of(frame, key, sample, parts)

    monkeypatch.setattr(by_parts, "_borders", borders)
    engine = LocalEngine(tmp_path, group_bytes=2**20)
    frame = engine.map_batches(
        engine.from_table(pa.table({"uid": uids})), iter, pa.schema([UID])
    )
    engine.write(frame, str(tmp_path / "out"), ["uid"])
    assert pq.read_table(tmp_path / "out")["uid"].to_pylist() == sorted(uids)
    # A string's 32 bytes, and 16 that say where they are.
    assert kept
    assert all(size <= 100 * count for count, size in kept)


@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
def test_joining_by_parts_is_joining(tmp_path: Path, how: str):
    rng = np.random.default_rng(0)
    numbers = [rng.integers(0, 60, size).tolist() for size in (90, 70)]
    left = pa.table({"on": pa.array([None, *numbers[0]], pa.int64()), "l": range(91)})
    right = pa.table({"on": pa.array([None, *numbers[1]], pa.int32()), "r": range(71)})
    whole, parts = LocalEngine(tmp_path / "whole"), few_bytes(tmp_path)
    joined = []
    for engine in (whole, parts):
        frames = engine.from_table(left), engine.from_table(right)
        joined.append(sorted_rows(engine, engine.join(*frames, "on", how)))
    assert joined[0] == joined[1]


def test_grouping_by_parts_is_grouping(tmp_path: Path):
    table, grouped = table_of(300, keys=40), []
    measures: Any = {"rows": ("uid", "count"), "first": ("uid", "min")}
    for engine in (LocalEngine(tmp_path / "whole"), few_bytes(tmp_path)):
        frame = engine.aggregate(engine.from_table(table), "key", measures)
        grouped.append(sorted_rows(engine, frame))
    assert grouped[0] == grouped[1]


LEFT = [("a", 1), ("b", 2), ("b", 3), ("c", 4), (None, 5)]
RIGHT = [("b", 10), ("c", 20), ("c", 30), ("d", 40), (None, 50)]


@pytest.mark.parametrize("empty", ["neither", "left", "right"])
@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
def test_joins_follow_sql(engine: LocalEngine, how: str, empty: str):
    left = [] if empty == "left" else LEFT
    right = [] if empty == "right" else RIGHT

    def frame(rows: list, name: str) -> Any:
        schema = pa.schema([("on", pa.string()), (name, pa.int64())])
        rows = [{"on": k, name: v} for k, v in rows]
        return engine.from_table(pa.Table.from_pylist(rows, schema))

    matches = [(lk, lv, rv) for lk, lv in left for rk, rv in right if lk and lk == rk]
    matched = {(lk, lv) for lk, lv, _ in matches}
    alone = [row for row in left if row not in matched]
    expected = {
        "inner": matches,
        "left": matches + [(k, v, None) for k, v in alone],
        "semi": [row for row in left if row in matched],
        "anti": alone,
    }[how]
    joined = engine.join(frame(left, "l"), frame(right, "r"), "on", how)
    names = ["on", "l", "r"][: 3 if how in ("inner", "left") else 2]
    joined_rows = sorted(
        (tuple(row[n] for n in names) for row in rows_of(engine, joined)), key=repr
    )
    assert joined_rows == sorted(expected, key=repr)


def test_union_and_select_and_where(engine: LocalEngine):
    one = engine.from_table(pa.table({"a": [1, 2, 3], "b": [True, False, None]}))
    both = engine.union([one, one])
    assert engine.count(both) == 6
    named = engine.select(both, {"x": "a", "y": "a"})
    assert engine.schema(named).names == ["x", "y"]
    for value, left in ((True, 1), (False, 2), (None, 3)):
        rows = rows_of(engine, engine.where(both, "b", value))
        assert [row["a"] for row in rows] == [left, left]


@pytest.mark.parametrize("count", [0, 1, 200])
def test_aggregate_counts_and_bounds(engine: LocalEngine, count: int):
    table = table_of(count)
    frame = engine.aggregate(
        engine.from_table(table),
        "key",
        {"rows": ("uid", "count"), "first": ("uid", "min"), "last": ("value", "max")},
    )
    rows = table.to_pylist()
    expected = []
    for key in set(table["key"].to_pylist()):
        group = [row for row in rows if row["key"] == key]
        values = [row["value"] for row in group if row["value"] is not None]
        expected.append(
            {
                "key": key,
                "rows": len(group),
                "first": min(row["uid"] for row in group),
                "last": max(values, default=None),
            }
        )
    assert sorted_rows(engine, frame) == sorted(expected, key=repr)
    whole = engine.aggregate(engine.from_table(table), None, {"n": ("uid", "count")})
    assert rows_of(engine, whole) == [{"n": count}]


@EXAMPLES
@given(
    scores=st.lists(
        st.none() | st.sampled_from([0.0, 0.5, -1.0, 1e300, float("inf")]), max_size=30
    ),
    descending=st.booleans(),
    count=st.integers(0, 35),
    seed=st.integers(0, 9),
)
def test_cut_is_the_counted_row_with_ties_by_uid_and_nulls_last(
    tmp_path: Path, scores: list, descending: bool, count: int, seed: int
):
    engine = LocalEngine(tmp_path)
    order = np.random.default_rng(seed).permutation(len(scores))
    rows = [{"score": scores[i], "uid": f"u{i:02d}"} for i in order]
    schema = pa.schema([("score", pa.float64()), ("uid", pa.string())])
    frame = engine.from_table(pa.Table.from_pylist(rows, schema))
    sign = -1 if descending else 1
    ranked = sorted(
        rows,
        key=lambda r: (
            r["score"] is None,
            0 if r["score"] is None else sign * r["score"],
            r["uid"],
        ),
    )
    expected = ranked[count - 1] if 1 <= count <= len(rows) else None
    assert engine.cut(frame, [("score", descending), ("uid", False)], count) == expected


def test_collect_refuses_more_than_its_bound(engine: LocalEngine):
    frame = engine.from_table(table_of(10))
    assert len(engine.collect(frame, 10)) == 10
    with pytest.raises(RunError, match="more than the 9 rows"):
        engine.collect(frame, 9)


def test_write_sorts_replaces_and_returns_the_rows(engine: LocalEngine, tmp_path: Path):
    out = tmp_path / "out"
    table = table_of(30)
    assert engine.write(engine.from_table(table), str(out), ["uid"]) == 30
    assert engine.write(engine.from_table(table.slice(0, 9)), str(out), ["uid"]) == 9
    (file,) = out.iterdir()
    rows = pq.ParquetFile(file).read()
    assert rows.equals(table.slice(0, 9).sort_by("uid"))
    assert not list(tmp_path.glob("*.tmp"))


def test_an_empty_frame_is_written_with_its_schema(engine: LocalEngine, tmp_path: Path):
    assert (
        engine.write(engine.from_table(table_of(0)), str(tmp_path / "o"), ["uid"]) == 0
    )
    read = engine.scan(str(tmp_path / "o"))
    assert engine.schema(read) == ROWS
    assert engine.count(read) == 0


def test_the_same_rows_in_another_order_give_the_same_bytes(tmp_path: Path):
    written = []
    for seed in range(3):
        engine = LocalEngine(tmp_path / f"s{seed}", group_bytes=10 ** (5 + seed))
        table = table_of(50_000)
        order = np.random.default_rng(seed).permutation(len(table))
        frame = engine.join(
            engine.from_table(table.take(order)),
            engine.from_table(table.select(["uid"])),
            "uid",
            "semi",
        )
        engine.write(frame, str(tmp_path / f"o{seed}"), ["uid"])
        files = sorted((tmp_path / f"o{seed}").iterdir())
        written.append([(file.name, file.read_bytes()) for file in files])
    assert written[0] == written[1] == written[2]


def test_scan_reads_only_the_asked_columns(engine: LocalEngine, tmp_path: Path):
    engine.write(engine.from_table(table_of(5)), str(tmp_path / "o"), ())
    frame = engine.scan(str(tmp_path / "o"), ["value", "uid"])
    assert engine.schema(frame).names == ["value", "uid"]


def test_a_folder_with_equals_signs_adds_no_column(engine: LocalEngine, tmp_path: Path):
    folder = str(tmp_path / "step=x")
    engine.write(engine.from_table(table_of(5)), folder, ())
    assert engine.schema(engine.scan(folder)) == ROWS


def test_a_failing_kernel_fails_the_verb(engine: LocalEngine):
    def broken(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        raise ValueError("broken kernel")
        yield from batches

    with pytest.raises(ValueError, match="broken kernel"):
        engine.map_batches(engine.from_table(table_of(5)), broken, ROWS)


def test_clear_leaves_nothing_behind(engine: LocalEngine, tmp_path: Path):
    engine.map_batches(engine.from_table(table_of(5)), same, ROWS)
    assert any((tmp_path / "scratch").iterdir())
    engine.clear()
    assert not (tmp_path / "scratch").exists()


def test_scratch_files_are_bounded_and_lose_no_row(engine: LocalEngine, tmp_path: Path):
    batch, count, bound = 5 * 2**20, 15, 64 * 2**20
    one = pa.table({"number": [0]})
    schema = pa.schema([("number", pa.int64()), ("value", pa.binary(batch))])

    def large(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        assert sum(map(len, batches)) == 1
        block = pa.array([bytes(batch)], pa.binary(batch))
        for number in range(count):
            yield pa.record_batch([pa.array([number]), block], schema)

    frame = engine.map_batches(engine.from_table(one), large, schema)
    sizes = [file.stat().st_size for file in (tmp_path / "scratch").iterdir()]
    # A file is closed by the batch that fills it.
    assert max(sizes) <= bound + batch
    assert sum(sizes) > count * batch > bound + batch
    numbers = engine.collect(engine.select(frame, {"number": "number"}), 100)
    assert numbers["number"].to_pylist() == list(range(count))


def bits(column: pa.ChunkedArray) -> list[bytes | None]:
    """Return each vector's bytes, so that NaN equals NaN."""
    vectors = column.to_pylist()
    return [v if v is None else np.array(v, np.float16).tobytes() for v in vectors]


@pytest.mark.parametrize("most", [40, 300, 1000])
def test_vectors_are_written_in_their_order(
    engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
):
    monkeypatch.setattr(local, "_PART_ROWS", most)
    rng = np.random.default_rng(most)
    matrix = rng.normal(size=(300, 4)).astype(np.float16)
    matrix[5] = np.nan, np.inf, -0.0, 6e-8
    table = pa.table(
        {
            "uid": [f"{number * 7919 % 300:03d} ü" for number in range(300)],
            "vector": to_column(matrix, np.arange(300) % 9 != 0),
            "good": np.arange(300) % 2 == 0,
        }
    )
    frame = engine.where(engine.from_table(table), "good", value=True)
    names = {"uid": "uid", "vector": "vector"}
    rows = engine.write(engine.select(frame, names), str(tmp_path / "out"), ())
    files = sorted((tmp_path / "out").iterdir())
    assert (rows, len(files)) == (150, -(-150 // most))
    wanted = table.filter(table["good"]).drop_columns("good")
    assert pq.read_metadata(files[0]).num_rows == min(most, 150)
    by_arrow = pa.concat_tables([pq.read_table(file) for file in files])
    scanned = engine.collect(engine.scan(str(tmp_path / "out")), 300)
    assert by_arrow.schema == wanted.schema
    for stored in (by_arrow, scanned):
        assert stored["uid"].equals(wanted["uid"])
        assert bits(stored["vector"]) == bits(wanted["vector"])
    none = engine.where(frame, "good", value=False)
    assert engine.write(engine.select(none, names), str(tmp_path / "none"), ()) == 0
    assert engine.count(engine.scan(str(tmp_path / "none"))) == 0
