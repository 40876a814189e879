"""A sort by runs in files gives what one stable sort of all rows gives."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from winnow.engines import local
from winnow.engines.external_sort import SortOrder, sorted_rows

NAMES = ("name", "number")


@pytest.fixture
def new_file(tmp_path: Path) -> Callable[[], Path]:
    numbers = itertools.count()
    return lambda: tmp_path / f"{next(numbers)}.arrow"


def table_of(rows: int, seed: int) -> pa.Table:
    """Return few names and numbers, often the same, null and NaN among them."""
    rng = np.random.default_rng(seed)
    names = [
        None if n == 0 else f"a name of some length {n}"
        for n in rng.integers(0, 6, rows)
    ]
    numbers = [
        None if n == 0 else float("nan") if n == 1 else float(n)
        for n in rng.integers(0, 7, rows)
    ]
    return pa.table(
        {
            "name": pa.array(names, pa.string()),
            "number": pa.array(numbers, pa.float64()),
            "row": pa.array(np.arange(rows)),
        }
    )


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.integers(0, 200),
    seed=st.integers(0, 5),
    batch=st.integers(1, 40),
    run_bytes=st.sampled_from([1, 900, 4_000, 10**9]),
    descending=st.tuples(st.booleans(), st.booleans()),
    nulls_last=st.booleans(),
)
def test_runs_merge_to_one_stable_sort(
    new_file: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    seed: int,
    batch: int,
    run_bytes: int,
    descending: tuple[bool, bool],
    nulls_last: bool,
) -> None:
    table = table_of(rows, seed)
    monkeypatch.setattr("winnow.engines.external_sort._BATCH_ROWS", 7)
    order = SortOrder(NAMES, descending, nulls_last)
    batches = iter(table.to_batches(max_chunksize=batch))
    parts = list(sorted_rows(batches, order, new_file, run_bytes))
    expected = pl.DataFrame(table).sort(
        NAMES, descending=descending, nulls_last=nulls_last, maintain_order=True
    )
    given_rows = [row for part in parts for row in part["row"].to_list()]
    assert given_rows == expected["row"].to_list()
    # No range is much more than a run: a batch of every run at most.
    assert not parts or max(map(len, parts)) <= max(rows, 1)
    assert not list(new_file().parent.glob("*.arrow"))


def test_what_is_in_memory_is_a_run_whatever_the_rows(
    new_file: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("winnow.engines.external_sort._BATCH_ROWS", 100)
    rng = np.random.default_rng(0)
    numbers = rng.permutation(40_000)
    batches = (
        pa.RecordBatch.from_pydict({"number": numbers[start : start + 100]})
        for start in range(0, len(numbers), 100)
    )
    run_rows = 2_000
    parts = list(sorted_rows(batches, SortOrder(["number"]), new_file, 8 * run_rows))
    assert pl.concat(parts)["number"].to_list() == list(range(len(numbers)))
    runs = len(numbers) // run_rows
    assert max(map(len, parts)) <= run_rows + 100 * runs


def test_the_engine_sorts_and_cuts_by_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_RUN_BYTES", 1)
    monkeypatch.setattr(local, "_BATCH_ROWS", 50)
    small = local.LocalEngine(tmp_path / "scratch", group_bytes=4_000)
    whole = local.LocalEngine(tmp_path / "other")
    table = table_of(1_000, 3)
    by = [("number", True), ("row", False)]
    for place in (1, 137, 1_000, 1_001):
        rows = [e.cut(e.from_table(table), by, place) for e in (small, whole)]
        assert repr(rows[0]) == repr(rows[1])
    for name, engine in (("small", small), ("whole", whole)):
        frame = engine.from_table(table)
        assert engine.write(frame, str(tmp_path / name), ["name", "row"]) == 1_000
    small_rows, whole_rows = (
        pl.read_parquet(tmp_path / name / "*.parquet") for name in ("small", "whole")
    )
    assert small_rows.equals(whole_rows, null_equal=True)
