"""A rebuild query's rows compared with those of the table that it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from winnow.lake.compare.hashed_tables import HashedTables
from winnow.lake.compare.rebuild import Rebuild, files_of
from winnow.lake.compare.row_choice import leaf_batches
from winnow.lake.files.exact_types import bits
from winnow.lake.files.replay import Replay, ReplayError, SharedConnection
from winnow.lake.kernels.murmur3 import Hashes
from winnow.lake.kernels.row_hash import hash_batch
from winnow.lake.kernels.tables import Family

_NOTHING = Hashes(np.empty(0, np.uint64), np.empty(0, np.uint64))


class Replayed:
    """Rows that rebuild queries gave, kept while other tables ask for the same."""

    #: Rows of one query, and queries, that are kept: 64 MB at most.
    _SMALL, _KEPT = 1 << 15, 128

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], list[Hashes]] = {}
        self.shared: SharedConnection | None = None

    @contextmanager
    def opening(self, paths: Iterable[str]) -> Iterator[None]:
        """Run the queries that read these local files in one connection, meanwhile."""
        self.shared = SharedConnection(paths)
        try:
            yield
        finally:
            self.shared.close()
            self.shared = None

    def of(
        self, key: tuple[object, ...], rows: int, run: Callable[[], Iterator[Hashes]]
    ) -> Iterable[Hashes]:
        """Yield the hashes of a query's rows; about so many `rows` are expected."""
        if rows > self._SMALL:
            return run()
        if key not in self._kept:
            self._kept[key] = list(run())
            if len(self._kept) > self._KEPT:
                self._kept.pop(next(iter(self._kept)))
        return self._kept[key]


def difference(
    tables: HashedTables,
    child: int,
    parent: int,
    rebuild: Rebuild,
    strict: bool = False,
    replayed: Replayed | None = None,
) -> str | None:
    """Run the query; return how its rows differ from the child's, None if equal.

    Compared are all columns, ignored ones too, by value, in the order of the rows; as
    `strict` also the types and the bits, see `exact_types`. A query that `replayed`
    has run for the same columns is not run again. Raises UnreadableTable if the child
    cannot be read.
    """
    table = tables.reader.tables[child]
    families = [column.family for column in table.columns]
    replayed = replayed or Replayed()
    replay = Replay(files_of(tables), replayed.shared)
    hashed = _hash_bits if strict else hash_batch

    def run() -> Iterator[Hashes]:
        whole = tables.reader.tables[parent]
        for batch in replay.batches(
            rebuild.sql, table, whole, rebuild.side_file, strict
        ):
            yield hashed(batch, families)

    columns = tuple((c.name, str(c.type), c.family) for c in table.columns)
    key = rebuild.sql, rebuild.side_file, strict, columns
    stored = (
        hashed(batch, families) for batch in leaf_batches(tables, child, presence=True)
    )
    try:
        rebuilt = replayed.of(key, table.rows, run)
        row = _first_difference(stored, iter(rebuilt))
    except ReplayError as error:
        return f"the rebuild query fails: {error}"
    return None if row is None else f"the rebuild query gives another row {row:,}"


def stored_bits(tables: HashedTables, table: int) -> Iterator[Hashes]:
    """Yield the hashes of a table's rows by the bits of all of its columns.

    How many come at once depends on the file. Raises UnreadableTable.
    """
    families = [column.family for column in tables.reader.tables[table].columns]
    for batch in leaf_batches(tables, table, presence=True):
        yield _hash_bits(batch, families)


def _hash_bits(batch: pa.RecordBatch, families: Sequence[Family]) -> Hashes:
    """Hash rows so that −0.0 is not 0.0, and one NaN not another."""
    columns = [bits(column) for column in batch.columns]
    names = batch.schema.names
    return hash_batch(pa.RecordBatch.from_arrays(columns, names=names), families)


def _first_difference(
    stored: Iterator[Hashes], rebuilt: Iterator[Hashes]
) -> int | None:
    """Return the first row in which two streams differ, one being shorter included."""
    row, one, other = 0, _NOTHING, _NOTHING
    while True:
        one = one if len(one.hi) else next(stored, one)
        other = other if len(other.hi) else next(rebuilt, other)
        n = min(len(one.hi), len(other.hi))
        if n == 0:
            return row if len(one.hi) or len(other.hi) else None
        differs = (one.hi[:n] != other.hi[:n]) | (one.lo[:n] != other.lo[:n])
        if differs.any():
            return row + int(differs.argmax())
        row += n
        one = Hashes(one.hi[n:], one.lo[n:])
        other = Hashes(other.hi[n:], other.lo[n:])
