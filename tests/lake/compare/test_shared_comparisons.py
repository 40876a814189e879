"""Rows compared by several processes: the same verdicts, and no table costs others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.config.recipes import load_lake
from winnow.core.worker_pool import WorkerPool
from winnow.lake import workers
from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.compare.verdicts import Verdicts, nothing_looked_up
from winnow.lake.counting import Counting
from winnow.lake.kernels.table_sketch import Sizes

Open = Callable[..., Any]
Write = Callable[..., Path]
#: Samples of some children are less than their rows.
SIZES = Sizes(column=32, row=8, num_perm=0)
STAGES = ("sampled", "verified")


def lake_of(tmp_path: Path, open_lake: Open, write_lake: Write) -> Any:
    """Tables of two kinds, in parts and alone, of which some hold others or nearly."""
    rng = np.random.default_rng(5)
    tables: dict[str, Any] = {}
    for kind in "ab":
        keys = rng.permutation(300)
        whole = pa.table({f"{kind}id": keys, "v": [f"t{k % 7}" for k in keys]})
        tables |= {f"{kind}{i:02}": whole.slice(i, 20 + i) for i in range(14)}
        tables[f"{kind}parts"] = [whole.slice(0, 100), whole.slice(100)]
        tables[f"{kind}more"] = whole.append_column("w", pa.array(keys % 5))
    tables["b07"] = tables["a07"].rename_columns(["bid", "v"])
    tables["empty"] = tables["a00"].slice(0, 0)
    return open_lake(write_lake(tmp_path / "lake", tables))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    """A process beside this one, which leaves all the work to it."""
    monkeypatch.setattr(workers, "available_cores", lambda: 2)
    monkeypatch.setattr(workers, "_TOGETHER", 3)
    monkeypatch.setattr(WorkerPool, "_taken", lambda self: None)
    with workers.beside():
        workers.prepare(workers._MANY_TABLES)
        pool = workers.pool()
        assert pool is not None
        assert os.getpid() not in {*pool.map(process_of, [[1], [2]], list)}
        yield pool


def process_of(_: Any) -> int:
    return os.getpid()


def compared(
    stage: str, lake: Any, sketches: Any, names: Any = None
) -> tuple[Verdicts, dict[int, str]]:
    """Return a stage's verdicts on all pairs, and those that failed with the reason."""
    tables = lake.tables
    if names is not None:
        tables = HashedTables(tables.reader, names)
    config = load_lake("table_lake", ["input.path=lake"])
    counting = Counting(config, lake.engine, tables, None)  # type: ignore[arg-type]
    counting.sketches = sketches
    count = getattr(counting, stage)
    verdicts = nothing_looked_up(len(lake.edges.child))
    numbers = np.arange(len(lake.edges.child))
    for places, some, _ in counting.fenced(numbers, lake.edges, count):
        for column, values in zip(verdicts, some, strict=True):
            column[places] = values
    return verdicts, counting.failed


def concerned(edges: TablePairs, table: int) -> set[int]:
    """Return the pairs that a table is in."""
    pairs = zip(edges.child.tolist(), edges.parent.tolist(), strict=True)
    return {i for i, pair in enumerate(pairs) if table in pair}


def assert_same_but(one: Verdicts, other: Verdicts, left_out: set[int]) -> None:
    kept = np.array([i not in left_out for i in range(len(one.rows))])
    assert kept.sum() > 100
    for mine, theirs in zip(one.take(kept), other.take(kept), strict=True):
        assert mine.tolist() == theirs.tolist()


@pytest.mark.parametrize("stage", STAGES)
def test_verdicts_do_not_depend_on_the_process(
    stage: str,
    tmp_path: Path,
    open_lake: Open,
    write_lake: Write,
    request: pytest.FixtureRequest,
) -> None:
    lake = lake_of(tmp_path, open_lake, write_lake)
    sketches = lake.sketches(SIZES)
    alone = compared(stage, lake, sketches)
    held = int(alone[0].contained(True).sum())
    assert 0 < held < len(alone[0].rows)
    pool = request.getfixturevalue("elsewhere")
    assert workers.pool() is pool
    beside = compared(stage, lake, sketches)
    assert alone[1] == beside[1] == {}
    assert_same_but(beside[0], alone[0], set())


class Deadly(dict[str, str]):
    """Names of a table that a process ends at which takes them in."""

    def __reduce__(self) -> Any:
        return _end, (os.getpid(), dict(self))


def _end(where: int, names: dict[str, str]) -> dict[str, str]:
    if os.getpid() != where:
        os._exit(1)
    return names


@pytest.mark.parametrize("stage", STAGES)
def test_a_process_that_ends_costs_its_table_only(
    stage: str,
    tmp_path: Path,
    open_lake: Open,
    write_lake: Write,
    elsewhere: WorkerPool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake = lake_of(tmp_path, open_lake, write_lake)
    sketches = lake.sketches(SIZES)
    alone, _ = compared(stage, lake, sketches)
    bad = lake.names.index("bparts")
    names = [Deadly(n) if i == bad else n for i, n in enumerate(lake.tables.names)]
    verdicts, failed = compared(stage, lake, sketches, names)
    # A sample is looked up in the parent; what a sketch says of a child is known.
    assert failed
    assert set(failed) <= concerned(lake.edges, bad)
    assert {*failed.values()} == {f"{lake.names[bad]}: {workers.ENDED}"}
    if stage == "verified":
        assert set(failed) == concerned(lake.edges, bad)
    assert_same_but(verdicts, alone, set(failed))


@pytest.mark.parametrize("stage", STAGES)
def test_rows_that_cannot_be_read_cost_their_table_only(
    stage: str,
    tmp_path: Path,
    open_lake: Open,
    write_lake: Write,
    elsewhere: WorkerPool,
) -> None:
    lake = lake_of(tmp_path, open_lake, write_lake)
    sketches = lake.sketches(SIZES)
    alone, _ = compared(stage, lake, sketches)
    (tmp_path / "lake" / "amore.parquet").write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
    bad = lake.names.index("amore.parquet")
    verdicts, failed = compared(stage, lake, sketches)
    assert failed
    assert set(failed) <= concerned(lake.edges, bad)
    assert all("amore.parquet" in reason for reason in failed.values())
    assert_same_but(verdicts, alone, set(failed))
