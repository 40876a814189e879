"""What a run hands on: kept shards, DataComp's subset file, the quarantine."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.core.task import Task, set_task
from winnow.formats import outputs
from winnow.formats.outputs import (
    ShardSize,
    ShardWriter,
    datacomp_subset,
    join_subset,
    write_kept,
    write_quarantine,
    write_subset,
)
from winnow.formats.pool_formats import PARQUET, format_of
from winnow.formats.reader import SampleReader
from winnow.formats.shard_discovery import find_shards, read_footers

GOLDEN = "139e4a9b22a614771f06c700a8ebe150"


def rich_table(rows: int) -> pa.Table:
    """Every kind of column that a pool may carry, with nulls."""

    def some(values: list, kind: pa.DataType) -> pa.Array:
        return pa.array([None if i % 5 == 4 else v for i, v in enumerate(values)], kind)

    n = range(rows)
    utc = dt.UTC
    columns = {
        "uid": pa.array([f"{i:032x}" for i in n]),
        "image": some([bytes([i % 256]) * 40 for i in n], pa.large_binary()),
        "long": some([f"text {i}" for i in n], pa.large_string()),
        "kind": some(["ab"[i % 2] for i in n], pa.string()).dictionary_encode(),
        "price": some([decimal.Decimal(i) / 4 for i in n], pa.decimal128(9, 2)),
        "when": some(
            [dt.datetime(2020, 1, 1, i % 24, tzinfo=utc) for i in n],
            pa.timestamp("us", "Europe/Berlin"),
        ),
        "day": some([dt.date(2020, 1, 1 + i % 28) for i in n], pa.date32()),
        "nothing": pa.nulls(rows),
        "nested": some(
            [{"a": [i, None], "b": {"c": f"{i}"}} for i in n],
            pa.struct(
                [("a", pa.list_(pa.int8())), ("b", pa.struct([("c", pa.string())]))]
            ),
        ),
        "map": some([[("k", i)] for i in n], pa.map_(pa.string(), pa.int64())),
        "vector": some([[i, 1.5] for i in n], pa.list_(pa.float32(), 2)),
        "half": some([float(i % 9) for i in n], pa.float16()),
        "flag": some([i % 2 == 0 for i in n], pa.bool_()),
        "small": pa.array([i % 200 for i in n], pa.uint8()),
    }
    columns["small"] = pa.array([i % 200 for i in n], pa.uint8())
    table = pa.table(columns)
    field = pa.field("small", pa.uint8(), nullable=False, metadata={"unit": "mm"})
    schema = table.schema.set(table.schema.get_field_index("small"), field)
    return table.cast(schema.with_metadata({"made by": "a test", "huggingface": "{}"}))


def references(rows: dict[str, list[int]]) -> Iterator[pa.RecordBatch]:
    for source in sorted(rows):
        yield pa.RecordBatch.from_pydict(
            {
                "uid": [f"{source}{r}" for r in rows[source]],
                "source": [source] * len(rows[source]),
                "row": pa.array(rows[source], pa.int64()),
                "reason": ["because"] * len(rows[source]),
                "step": ["rules"] * len(rows[source]),
            }
        )


def kept(folder: Path, rows: dict[str, list[int]], size: ShardSize) -> list[pa.Table]:
    paths = {f.stem: str(f) for f in sorted(folder.glob("*.parquet"))}
    schema = pq.ParquetFile(next(iter(paths.values()))).schema_arrow
    out = folder / "kept"
    reader = SampleReader(str(folder), paths)
    written = write_kept(
        references(rows),
        reader=reader,
        schema=schema,
        folder=str(out),
        unread=str(folder / "unread"),
        size=size,
    )
    told = [row for batch in written for row in batch.to_pylist()]
    tables = [pq.ParquetFile(file).read() for file in sorted(out.glob("*.parquet"))]
    assert [(t["rows"]) for t in told] == [len(table) for table in tables]
    return tables


def test_every_kind_of_column_travels_untouched(tmp_path: Path):
    table = rich_table(50)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=13)
    wanted = [0, 3, 4, 13, 14, 40, 49]
    (stored,) = kept(tmp_path, {"a": wanted}, ShardSize(100, 2**30))
    source = pq.ParquetFile(tmp_path / "a.parquet").read()
    assert stored.schema.equals(source.schema, check_metadata=True)
    assert stored.equals(source.take(wanted))


def test_shards_whose_columns_stand_in_another_order_are_kept_alike(tmp_path: Path):
    table = pa.table({"uid": ["a", "b"], "n": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table.select(["n", "uid"]), tmp_path / "b.parquet")
    (stored,) = kept(tmp_path, {"a": [1], "b": [0]}, ShardSize(100, 2**30))
    assert stored.to_pylist() == [{"uid": "b", "n": 2}, {"uid": "a", "n": 1}]


@pytest.mark.parametrize(
    ("rows", "shards"),
    [(1, 60), (7, 9), (59, 2), (60, 1), (61, 1)],
)
def test_a_shard_is_full_at_its_rows(tmp_path: Path, rows: int, shards: int):
    for number, name in enumerate("abc"):
        table = pa.table({"n": list(range(20 * number, 20 * number + 20))})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=6)
    tables = kept(tmp_path, {n: list(range(20)) for n in "abc"}, ShardSize(rows, 2**30))
    assert [len(table) for table in tables[:-1]] == [rows] * (shards - 1)
    assert pa.concat_tables(tables)["n"].to_pylist() == list(range(60))


def test_a_shard_is_full_at_its_bytes(tmp_path: Path):
    table = pa.table({"image": [b"x" * 10_000] * 100})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    tables = kept(tmp_path, {"a": list(range(100))}, ShardSize(10**9, 200_000))
    assert sum(len(t) for t in tables) == 100
    assert all(t.nbytes < 2 * 200_000 for t in tables)
    assert len(tables) >= 4


def test_nothing_kept_leaves_one_empty_shard_of_the_same_schema(tmp_path: Path):
    pq.write_table(rich_table(5), tmp_path / "a.parquet")
    (stored,) = kept(tmp_path, {}, ShardSize(100, 2**30))
    assert len(stored) == 0
    assert stored.schema == pq.ParquetFile(tmp_path / "a.parquet").schema_arrow


def test_quarantine_holds_the_raw_row_where_it_can_be_read(tmp_path: Path):
    table = rich_table(20)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    reader = SampleReader(str(tmp_path), {"a": str(tmp_path / "a.parquet")})
    written = write_quarantine(
        references({"a": [2, 4, 19]}),
        reader=reader,
        schema=pq.ParquetFile(tmp_path / "a.parquet").schema_arrow,
        folder=str(tmp_path / "q"),
        bad_files=(("broken.parquet", "not a Parquet file"),),
    )
    assert [batch.num_rows for batch in written] == [1]
    (file,) = (tmp_path / "q").glob("*.parquet")
    bad, *rows = pq.ParquetFile(file).read().to_pylist()
    assert (bad["source"], bad["row"], bad["raw"]) == ("broken.parquet", None, None)
    assert bad["reason"] == "not a Parquet file"
    source = table.to_pylist()
    for row, number in zip(rows, [2, 4, 19], strict=True):
        assert (row["uid"], row["source"], row["row"]) == (f"a{number}", "a", number)
        assert (row["reason"], row["step"]) == ("because", "rules")
        assert row["raw"] == source[number]


def test_golden_uid_of_the_datacomp_format():
    subset = datacomp_subset(pa.array([GOLDEN]))
    assert subset.dtype == np.dtype("u8,u8")
    assert subset.tolist() == [(1413649363202610295, 2235693070683988304)]


def test_subset_is_sorted_as_datacomp_sorts_it():
    rng = np.random.default_rng(0)
    uids = [rng.bytes(16).hex() for _ in range(200)] + ["f" * 32, "0" * 32]
    subset = datacomp_subset(pa.array(uids))
    expected = np.array([(int(u[:16], 16), int(u[16:], 16)) for u in uids], "u8,u8")
    expected.sort()
    np.testing.assert_array_equal(subset, expected)


@pytest.mark.parametrize("uid", ["row-1", GOLDEN[:-1], GOLDEN + "0", GOLDEN[:-1] + "g"])
def test_no_subset_for_other_uids(uid: str):
    assert datacomp_subset(pa.array([GOLDEN, uid])) is None


def test_no_row_at_all_is_an_empty_subset():
    subset = datacomp_subset(pa.array([], pa.string()))
    assert subset is not None
    assert (len(subset), subset.dtype) == (0, np.dtype("u8,u8"))


def subset_of(folder: Path, tasks: list[list[pa.RecordBatch]]) -> pa.Table:
    """Write each task's stretch; return WRITTEN, the last task first."""
    written = []
    for number, batches in enumerate(tasks):
        set_task(Task(number))
        written += write_subset(iter(batches), folder=str(folder))
    set_task(Task())
    return pa.Table.from_batches(written[::-1])


def uid_batch(uids: list[str], counts: list[int] | None = None) -> pa.RecordBatch:
    columns = {"uid": pa.array(uids, pa.string())}
    if counts is not None:
        columns["count"] = pa.array(counts, pa.int64())
    return pa.RecordBatch.from_pydict(columns)


def test_stretches_of_a_subset_join_to_the_file_of_all(tmp_path: Path):
    rng = np.random.default_rng(1)
    uids = sorted(rng.bytes(16).hex() for _ in range(12))
    counts = [1, 3, 2, 1, 1, 1, 4, 1, 1, 1, 1, 2]
    batches = [uid_batch(uids[i : i + 3], counts[i : i + 3]) for i in (0, 3, 6, 9)]
    written = subset_of(tmp_path, [batches[:2], batches[2:3], [], batches[3:]])
    assert join_subset(tmp_path, written, tmp_path / "subset.npy")
    whole = datacomp_subset(pa.array(np.repeat(uids, counts)))
    np.save(tmp_path / "whole.npy", whole)
    stored = (tmp_path / "subset.npy").read_bytes()
    assert stored == (tmp_path / "whole.npy").read_bytes()


def test_no_file_if_one_task_meets_another_kind_of_uid(tmp_path: Path):
    tasks = [[uid_batch([GOLDEN])], [uid_batch([GOLDEN]), uid_batch(["row-1"])]]
    written = subset_of(tmp_path, tasks)
    assert not join_subset(tmp_path, written, tmp_path / "subset.npy")
    assert not (tmp_path / "subset.npy").exists()


def test_shards_that_differ_in_what_may_be_null_are_written_together(tmp_path: Path):
    for name, nullable in (("a", False), ("b", True)):
        schema = pa.schema([pa.field("text", pa.string(), nullable=nullable)])
        table = pa.table({"text": [name] * 3}, schema=schema)
        pq.write_table(table, tmp_path / f"{name}.parquet")
    shards, schema, _ = read_footers(find_shards(str(tmp_path)))
    size = ShardSize(100, 2**20)
    writer = ShardWriter(tmp_path / "kept", PARQUET, ".parquet", schema, size)
    for shard in shards:
        writer.add(pq.ParquetFile(shard.path).read())
    writer.close()
    ((file, rows),) = writer.written
    assert rows == 6
    assert pq.read_table(tmp_path / "kept" / file)["text"].to_pylist() == [
        *"aaa",
        *"bbb",
    ]


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 9), max_size=8),
    shard=st.integers(1, 12),
    flushed=st.integers(1, 9),
)
def test_shards_hold_all_rows_however_they_come(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    shard: int,
    flushed: int,
):
    """Also where the last rows fill a row group, so that none wait when it ends."""
    folder = tmp_path_factory.mktemp("shards")
    schema = pa.schema([("n", pa.int64())])
    table = pa.table({"n": range(sum(sizes))}, schema=schema)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "_ROW_GROUP_ROWS", flushed)
        size = ShardSize(shard, 2**20)
        writer = ShardWriter(folder, PARQUET, ".parquet", schema, size)
        start = 0
        for rows in sizes:
            writer.add(table.slice(start, rows))
            start += rows
        writer.close()
    files = [pq.read_table(folder / file) for file, _ in writer.written]
    assert pa.concat_tables(files).equals(table)
    assert [len(file) for file in files] == [rows for _, rows in writer.written]
    assert all(len(file) == shard for file in files[:-1])


def test_large_rows_are_read_few_at_a_time(tmp_path: Path):
    big = pa.table({"image": [bytes(3 * 2**20)] * 40, "n": list(range(40))})
    pq.write_table(
        big, tmp_path / "a.parquet", compression="none", use_dictionary=False
    )
    path = str(tmp_path / "a.parquet")
    parts = [
        part
        for _, part in format_of(path).read_rows(path, np.arange(40), ["image", "n"])
    ]
    assert sum(map(len, parts)) == 40
    assert max(map(len, parts)) <= 22
    small = [part for _, part in format_of(path).read_rows(path, np.arange(40), ["n"])]
    assert len(small) == 1
