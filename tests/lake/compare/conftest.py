"""Small lakes on disk, read by the catalogue, with brute force to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.engine import Engine
from winnow.engines import open_engine
from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.compare.sketched import Sketches
from winnow.lake.compare.sketches import sketch_tables, wanted_of
from winnow.lake.files.catalogue import LakeSource, discover
from winnow.lake.files.reader import TableReader
from winnow.lake.kernels.schema_graph import candidate_edges, matching_names
from winnow.lake.kernels.table_sketch import Sizes


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine("local", scratch=tmp_path / "scratch", group_bytes=2**20)
    yield engine
    engine.clear()


@dataclass(frozen=True)
class SmallLake:
    """A lake's tables, their schema edges, and how to decide them by brute force."""

    tables: HashedTables
    edges: TablePairs
    engine: Engine

    @property
    def names(self) -> list[str]:
        return [table.name for table in self.tables.reader.tables]

    def edge(self, child: str, parent: str) -> TablePairs:
        numbers = [np.array([self.names.index(n)]) for n in (child, parent)]
        return TablePairs(numbers[0], numbers[1])

    def sketches(self, sizes: Sizes) -> Sketches:
        wanted = wanted_of(self.tables, self.edges)
        return sketch_tables(self.engine, self.tables, wanted, sizes)


@pytest.fixture
def open_lake(engine: Engine) -> Callable[..., SmallLake]:
    """Return open(folder, ignored=(), folded=False) -> SmallLake."""

    def opened(
        folder: Path, ignored: Sequence[str] = (), folded: bool = False
    ) -> SmallLake:
        tables = discover(LakeSource(str(folder)))
        families = [{c.name: c.family for c in table.columns} for table in tables]
        candidates = candidate_edges(families, folded, ignored)
        comparable = candidates.incomparable < 0
        names = [matching_names(columns, folded, ignored) for columns in families]
        return SmallLake(
            HashedTables(TableReader(tables), names),
            TablePairs(candidates.child[comparable], candidates.parent[comparable]),
            engine,
        )

    return opened


def write_table(place: Path, table: pa.Table, writer: str, rows: int) -> None:
    """Write a file with row groups of so many rows."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if writer == "pyarrow":
        pq.write_table(table, place, row_group_size=rows)
    elif writer == "polars":
        pl.DataFrame(table).write_parquet(place, row_group_size=rows)
    elif writer == "duckdb":
        import duckdb

        with duckdb.connect() as connection:
            connection.register("stored", table)
            connection.execute(
                f"COPY stored TO '{place}' (FORMAT parquet, ROW_GROUP_SIZE {rows})"
            )
    else:
        raise ValueError(writer)


@pytest.fixture
def write_lake() -> Callable[..., Path]:
    """Return write(folder, {name: table}, writer="pyarrow", rows=…) -> folder.

    A table given as a list becomes a folder of parts.
    """

    def write(
        folder: Path,
        tables: Mapping[str, pa.Table | list[pa.Table]],
        writer: str = "pyarrow",
        rows: int = 1000,
    ) -> Path:
        for name, table in tables.items():
            if isinstance(table, list):
                for number, part in enumerate(table):
                    path = folder / name / f"part-{number:03d}.parquet"
                    write_table(path, part, writer, rows)
            else:
                write_table(folder / f"{name}.parquet", table, writer, rows)
        return folder

    return write
