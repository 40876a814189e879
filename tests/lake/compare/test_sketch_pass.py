"""The sketch pass: what is read, merged, found of bounds, and cannot be read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from winnow.lake import workers
from winnow.lake.compare import hashed_tables
from winnow.lake.compare.content import content_reads
from winnow.lake.compare.sample import sample_reads
from winnow.lake.compare.sketched import Sketches
from winnow.lake.compare.sketches import (
    sketch_batches,
    sketch_reads,
    sketch_tables,
    wanted_of,
)
from winnow.lake.files import table_files
from winnow.lake.kernels.table_sketch import Sizes
from winnow.lake.kernels.tables import ColumnStatistics

SIZES = Sizes(column=32, row=64, num_perm=16)
Lake = Any
Open = Callable[..., Lake]
Write = Callable[..., Path]


def numbers(rows: int, start: int = 0) -> pa.Table:
    keys = np.arange(start, start + rows)
    return pa.table({"id": keys, "kind": keys % 3, "name": [f"n{k}" for k in keys]})


def test_only_what_an_edge_compares_is_read(
    tmp_path: Path, open_lake: Open, write_lake: Write
) -> None:
    whole = numbers(50)
    tables = {
        "child": whole.select(["id", "kind"]),
        "parent": whole,
        "apart": pa.table({"z": [1]}),
    }
    write_lake(tmp_path / "lake", tables)
    lake = open_lake(tmp_path / "lake")
    wanted = wanted_of(lake.tables, lake.edges, {2: ["id", "name"]})
    reads = {lake.names[item.table]: item[1:] for item in wanted}
    both = ("id", "kind")
    assert reads == {
        "child.parquet": (both, both, ()),
        "parent.parquet": (both, (), ("id",)),
    }


def test_ignored_and_folded_names_are_compared_names(
    tmp_path: Path, open_lake: Open, write_lake: Write
) -> None:
    upper = pa.table({"ID": [1, 2], "Name": ["a", "b"], "row": [0, 1]})
    lower = pa.table({"name": ["b", "a"], "id": [2, 1], "row": [8, 9]})
    write_lake(tmp_path / "lake", {"upper": upper, "lower": lower})
    lake = open_lake(tmp_path / "lake", ignored=["ROW"], folded=True)
    refuted = lake.sketches(SIZES).refute(lake.tables, lake.edges)
    assert refuted.missing.tolist() == [0, 0]
    assert lake.tables.names_of(0) == ("id", "name")


def test_a_refuted_edge_names_a_column_and_a_row(
    tmp_path: Path, open_lake: Open, write_lake: Write
) -> None:
    child = numbers(20).set_column(1, "kind", pa.array([0] * 7 + [5] + [1] * 12))
    write_lake(tmp_path / "lake", {"child": child, "parent": numbers(30)})
    lake = open_lake(tmp_path / "lake")
    sketches = lake.sketches(SIZES)
    edge = lake.edge("child.parquet", "parent.parquet")
    refuted = sketches.refute(lake.tables, edge)
    # Rows are compared, too, since the columns are the same; the column tells more.
    assert refuted.column == ["kind"]
    assert refuted.witness.tolist() == [7]
    assert refuted.missing.tolist() == [2]


def test_sketches_do_not_depend_on_how_a_table_is_divided(
    tmp_path: Path,
    open_lake: Open,
    write_lake: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = numbers(3000)
    parts = [table.slice(0, 1100), table.slice(1100, 900), table.slice(2000)]
    write_lake(tmp_path / "one", {"a": table, "b": table}, rows=5000)
    write_lake(tmp_path / "two", {"a": parts, "b": table}, rows=300)
    reads = []
    for name in ("one", "two"):
        monkeypatch.setattr(hashed_tables, "_TASK_BYTES", 0 if name == "two" else 1e9)
        lake = open_lake(tmp_path / name)
        wanted = {w.table: w for w in wanted_of(lake.tables, lake.edges, {0: ["id"]})}
        tasks = lake.tables.tasks([0])
        # As on a cluster: every task in a worker of its own, and in any order.
        batches = tasks.to_batches(max_chunksize=1)[::-1]
        pieces = [
            piece
            for batch in batches
            for piece in sketch_batches(
                iter([batch]), tables=lake.tables, wanted=wanted, sizes=SIZES
            )
        ]
        assert len(pieces) == {"one": 1, "two": 11}[name]
        reads.append(Sketches(pa.Table.from_batches(pieces), SIZES))
    one, two = (
        sorted(s.table.to_pylist(), key=lambda r: str(r["column"])) for s in reads
    )
    assert one == two
    bounds = ColumnStatistics(3000, 0, 0, 2999, 0, 2999, has_value=True)
    assert reads[1].statistics == {0: {"id": bounds}}
    assert reads[1].kmv(0, "kind").complete
    assert reads[1].distinct(0, "kind") == 3
    assert not reads[1].kmv(0, None).complete


def test_minhash_values_estimate_the_similarity_of_tables(
    tmp_path: Path, open_lake: Open, write_lake: Write
) -> None:
    tables = {"a": numbers(900), "b": numbers(900, start=300)}
    write_lake(tmp_path / "lake", tables)
    lake = open_lake(tmp_path / "lake")
    sketches = lake.sketches(SIZES._replace(num_perm=512))
    one, other = (sketches.minhash(table, None) for table in (0, 1))
    # 600 of 1,200 distinct rows are in both; the deviation of 512 values is 0.022.
    assert np.mean(one == other) == pytest.approx(0.5, abs=0.1)
    named = sketches.minhash(0, "id"), sketches.minhash(0, "kind")
    assert np.mean(named[0] == named[1]) == 0


def test_rows_that_cannot_be_read_are_a_reason_and_stop_nothing(
    tmp_path: Path, open_lake: Open, write_lake: Write
) -> None:
    folder = write_lake(
        tmp_path / "lake", {n: numbers(500) for n in ("broken", "one", "two")}
    )
    path = folder / "broken.parquet"
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    lake = open_lake(folder)
    wanted = wanted_of(lake.tables, lake.edges)
    sketches = sketch_tables(lake.engine, lake.tables, wanted, SIZES)
    assert list(sketches.unreadable) == [0]
    assert "cannot be read" in sketches.unreadable[0]
    assert (1, "id") in sketches
    assert (0, "id") not in sketches
    assert sketches.refute(lake.tables, lake.edges).missing.tolist() == [0] * 6
    # On a cluster, another worker may have read some of it.
    one = sketches.table.filter(pc.equal(sketches.table["table"], 1))
    some = one.set_column(0, "table", pa.array([0] * len(one), pa.int32()))
    both = Sketches(pa.concat_tables([some, sketches.table, sketches.table]), SIZES)
    assert both.unreadable == sketches.unreadable
    assert (0, "id") not in both


def test_each_stage_says_which_columns_it_reads(
    tmp_path: Path, open_lake: Open, write_lake: Write
) -> None:
    whole = numbers(5000)
    tables = {
        "child": whole.select(["id", "kind"]).slice(0, 50),
        "parent": whole,
        "copy": whole.slice(0, 40),
    }
    folder = write_lake(tmp_path / "lake", tables)
    lake = open_lake(folder)
    sketches = lake.sketches(SIZES)
    copied = lake.edge("copy.parquet", "parent.parquet")
    backwards = lake.edge("parent.parquet", "copy.parquet")
    child = lake.edge("child.parquet", "parent.parquet")
    assert content_reads(lake.tables, child) == {0: {"id", "kind"}, 2: {"id", "kind"}}
    assert sample_reads(lake.tables, sketches, child) == {2: {"id", "kind"}}
    assert sample_reads(lake.tables, sketches, copied) == {2: {"id", "kind", "name"}}
    # The copy's rows are all in its sketch.
    assert sample_reads(lake.tables, sketches, backwards) == {}
    stored = pq.ParquetFile(folder / "parent.parquet").metadata
    sizes = [
        stored.row_group(g).column(c).total_compressed_size
        for g in range(stored.num_row_groups)
        for c in (0, 1)
    ]
    assert lake.tables.bytes_of({2: ["id", "kind"]}) == sum(sizes)


def test_an_earlier_scan_is_used_for_what_did_not_change(
    tmp_path: Path, open_lake: Open, write_lake: Write
) -> None:
    tables = {"b": numbers(90), "c": numbers(70), "d": numbers(50).select(["id"])}
    folder = write_lake(tmp_path / "lake", tables)
    lake = open_lake(folder)
    sizes = SIZES._replace(num_perm=0)
    wanted = wanted_of(lake.tables, lake.edges, {0: ["id"]})
    first = sketch_tables(lake.engine, lake.tables, wanted, sizes)
    # A new table comes before the others, one is changed, one is gone.
    (folder / "d.parquet").unlink()
    write_lake(folder, {"a": numbers(60), "c": numbers(80)})
    lake = open_lake(folder)
    numbers_of = {name: n for n, name in enumerate(lake.names) if name[0] == "b"}
    named = first.named(["b.parquet", "c.parquet", "d.parquet"])
    known = Sketches.from_named(named, numbers_of, sizes)
    wanted = wanted_of(lake.tables, lake.edges, {1: ["id"]})
    assert sorted(sketch_reads(wanted, known)) == [0, 2]
    (folder / "b.parquet").write_bytes(b"must not be opened")
    second = sketch_tables(lake.engine, lake.tables, wanted, sizes, known)
    write_lake(folder, {"b": numbers(90)})
    whole = sketch_tables(lake.engine, lake.tables, wanted, sizes)
    order = [("table", "ascending"), ("column", "ascending")]
    assert second.table.sort_by(order) == whole.table.sort_by(order)
    # What was not asked for then is read now.
    more = [item._replace(bounded=("id", "kind")) for item in wanted]
    assert sorted(sketch_reads(more, known)) == [0, 1, 2]


def test_sketches_do_not_depend_on_the_processes_that_make_them(
    tmp_path: Path,
    open_lake: Open,
    write_lake: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = {f"t{i:02}": numbers(30 + i, i % 3) for i in range(40)}
    kind = pa.map_(pa.string(), pa.list_(pa.field("array", pa.int8(), nullable=False)))
    tables |= {f"m{i}": pa.table({"header": pa.nulls(i + 1, kind)}) for i in range(3)}
    folder = write_lake(tmp_path / "lake", tables)
    lake = open_lake(folder)
    (folder / "t05.parquet").write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
    monkeypatch.setattr(workers, "_TOGETHER", 2)
    alone, catalogue = lake.sketches(SIZES), open_lake(folder).tables.reader.tables
    monkeypatch.setattr(workers, "_MANY_TABLES", 40)
    monkeypatch.setattr(workers, "available_cores", lambda: 2)
    monkeypatch.setattr(table_files, "_TOGETHER", 3)
    with workers.beside():
        workers.prepare(39)
        assert workers.pool() is None
        workers.prepare(40)
        pool = workers.pool()
        assert pool is not None
        deadline, seen = time.monotonic() + 60, {os.getpid()}
        while seen == {os.getpid()} and time.monotonic() < deadline:
            seen |= {*pool.map(process_of, [[i] for i in range(9)], abs)}
        assert len(seen) == 2
        beside, again = lake.sketches(SIZES), open_lake(folder).tables.reader.tables
    assert workers.pool() is None
    assert beside.table.equals(alone.table)
    assert [lake.names[i] for i in beside.unreadable] == ["t05.parquet"]
    assert again == catalogue
    columns = [
        [str(c.type) for t in some for c in t.columns] for some in (again, catalogue)
    ]
    assert columns[0] == columns[1]
    assert any("map<" in text for text in columns[0])
    assert [t.name for t in again if t.reason] == ["t05.parquet"]


def process_of(things: Sequence[int]) -> int:
    return os.getpid()
