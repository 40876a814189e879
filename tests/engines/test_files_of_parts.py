"""A part of many rows lies in several files, of which one is mapped at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.engines import scratch
from winnow.engines.local import LocalEngine
from winnow.engines.scratch import LocalFrame

ROWS = 50_000
SUMMED = pa.schema([("key", pa.int64()), ("rows", pa.int64()), ("total", pa.int64())])


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"key": rng.integers(0, 7, ROWS), "n": rng.permutation(ROWS)})


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    """An engine of few bytes, whose every batch fills a file."""
    monkeypatch.setattr(scratch, "SPILL_BYTES", 1)
    monkeypatch.setattr(scratch, "SPLIT_BYTES", 1)
    return LocalEngine(tmp_path / "scratch", group_bytes=300_000)


def files_of(tmp_path: Path) -> int:
    return len(list((tmp_path / "scratch").glob("*.arrow")))


def test_sorted(tmp_path: Path, parts: LocalEngine, table: pa.Table):
    parts.write(parts.from_table(table), str(tmp_path / "out"), ["n"])
    assert pq.read_table(tmp_path / "out")["n"].to_pylist() == list(range(ROWS))


def test_a_column_of_one_number_and_of_none_is_no_single_value(
    tmp_path: Path, parts: LocalEngine
):
    numbers = np.where(np.arange(ROWS) % 2 == 0, np.nan, 1.0)
    table = pa.table({"x": numbers, "n": np.arange(ROWS)})
    parts.write(parts.from_table(table), str(tmp_path / "out"), ["x", "n"])
    expected = [*range(1, ROWS, 2), *range(0, ROWS, 2)]
    assert pq.read_table(tmp_path / "out")["n"].to_pylist() == expected


@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
def test_joined(tmp_path: Path, parts: LocalEngine, table: pa.Table, how: Any):
    right = pa.table({"n": np.arange(0, ROWS, 3), "m": np.arange(0, ROWS, 3)})
    frames = parts.from_table(table), parts.from_table(right)
    joined = parts.collect(parts.join(*frames, "n", how), ROWS)
    third = {row: row % 3 == 0 for row in range(ROWS)}
    kept = {"inner": True, "semi": True, "anti": False}.get(how)
    expected = [row for row in range(ROWS) if kept in (None, third[row])]
    assert sorted(joined["n"].to_pylist()) == expected
    if how == "left":
        pairs = zip(joined["n"].to_pylist(), joined["m"].to_pylist(), strict=True)
        assert all(m == (n if third[n] else None) for n, m in pairs)


def test_grouped(tmp_path: Path, parts: LocalEngine, table: pa.Table):
    frame = parts.aggregate(parts.from_table(table), "key", {"total": ("n", "sum")})
    keys, numbers = (table[name].to_numpy() for name in ("key", "n"))
    expected = {key: int(numbers[keys == key].sum()) for key in range(7)}
    rows = parts.collect(frame, 7).to_pylist()
    assert {row["key"]: row["total"] for row in rows} == expected


def test_groups(tmp_path: Path, parts: LocalEngine, table: pa.Table):
    files = []

    def summed(group: pa.Table) -> pa.Table:
        files.append(files_of(tmp_path))
        row = {
            "key": group["key"][0].as_py(),
            "rows": len(group),
            "total": int(group["n"].to_numpy().sum()),
        }
        return pa.Table.from_pylist([row], SUMMED)

    frame = parts.map_groups(parts.from_table(table), "key", summed, SUMMED)
    keys, numbers = (table[name].to_numpy() for name in ("key", "n"))
    expected = [
        {
            "key": key,
            "rows": int((keys == key).sum()),
            "total": int(numbers[keys == key].sum()),
        }
        for key in range(7)
    ]
    assert parts.collect(frame, 7).sort_by("key").to_pylist() == expected
    # Several files a bucket, and those of buckets that are done are gone.
    assert files[0] > max(14, files[-1])


def test_many_buckets_are_written_in_few_pieces(tmp_path: Path, table: pa.Table):
    """Of rows that come a few at a time: each piece costs as much as many rows do."""
    chunks = [table.slice(start, 500) for start in range(0, ROWS, 500)]
    frame = LocalFrame(pl.concat(pl.from_arrow(c).lazy() for c in chunks), ROWS)
    buckets = scratch.Scratch(tmp_path).scattered(
        frame, lambda batch: batch.column("n").to_numpy() % 100, 100
    )
    for number, (file,) in enumerate(buckets):
        with pa.memory_map(str(file)) as source:
            opened = pa.ipc.open_file(source)
            assert opened.num_record_batches == 1
            rows = opened.read_all()["n"].to_pylist()
        assert rows == [n for n in table["n"].to_pylist() if n % 100 == number]
