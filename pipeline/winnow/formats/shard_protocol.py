"""What a kind of shard can do; one implementation per file format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class ShardFooter:
    """What is known of a shard before its rows are read."""

    rows: int
    schema: pa.Schema
    #: Differs between contents of one size and time, as far as that costs nothing.
    mark: str


@dataclass(frozen=True)
class Unreadable:
    """A stretch of rows that cannot be read, and why."""

    rows: int
    reason: str
    types: Mapping[str, pa.DataType]


class Sink(Protocol):
    """One shard that is being written."""

    def write(self, table: pa.Table) -> None:
        """Append rows, in batches of a bounded size."""

    def close(self) -> None:
        """Finish the file."""


class ShardFormat(Protocol):
    """How shards of one format are read and written."""

    name: str
    #: What names of its files end in, in lower case.
    endings: tuple[str, ...]
    #: Whether a run's SQL opens the files itself, instead of a copy of their rows.
    sql_reads_it: bool

    def footer(self, path: str) -> ShardFooter:
        """Return a shard's footer; raises InputError if the file is not whole."""

    def merged(
        self, schema: pa.Schema, first: str, other: pa.Schema, path: str
    ) -> pa.Schema:
        """Return the one schema of two shards; raises InputError if there is none."""

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one shard.

        `schema` is the pool's, where a file does not say its own.
        """

    def whole(self, schema: pa.Schema) -> list[str]:
        """Return the columns that make up a whole row, to be handed on untouched."""

    def sink(self, file: Path, schema: pa.Schema) -> Sink:
        """Open a shard for writing rows of the columns `whole`."""

    def suffix(self, path: str) -> str:
        """Return the ending of names of shards like this one."""
