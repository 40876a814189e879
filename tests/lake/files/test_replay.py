"""Rebuild queries open the files that they read, and no other."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.lake.files.catalogue import LakeSource, discover
from winnow.lake.files.files import Files
from winnow.lake.files.replay import Replay, ReplayError, SharedConnection
from winnow.lake.kernels.tables import Table


@pytest.fixture
def tables(tmp_path: Path) -> list[Table]:
    for number, name in enumerate("abc"):
        pq.write_table(pa.table({"n": [number]}), tmp_path / f"{name}.parquet")
    return list(discover(LakeSource(str(tmp_path))))


def test_queries_of_one_connection_open_its_files_only(tables: list[Table]):
    first, second, other = tables
    shared = SharedConnection([first.location, second.location])
    replay = Replay(Files(), shared)

    def rows(read: Table, parent: Table) -> list[int]:
        sql = f"SELECT n FROM read_parquet('{read.location}')"
        return [n for b in replay.batches(sql, first, parent) for n in b[0].to_pylist()]

    try:
        assert rows(first, first) == [0]
        assert rows(second, second) == [1]
        connection = shared.connection()
        with pytest.raises(ReplayError, match=r"(?i)permission"):
            rows(other, second)
        # A query that reads another parent has a connection of its own.
        assert rows(other, other) == [2]
        with pytest.raises(ReplayError, match=r"(?i)permission"):
            rows(first, other)
        # A query that fails costs the next nothing.
        assert rows(first, first) == [0]
        assert shared.connection() is connection
    finally:
        shared.close()
