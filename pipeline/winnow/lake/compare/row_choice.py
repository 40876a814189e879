"""Which of a parent's rows a child is, said in the fewest words that SQL has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.lake.compare.hashed_tables import HashedTables
from winnow.lake.files.rebuild_sql import ChosenRows, Where
from winnow.lake.kernels.row_order import sort_keys
from winnow.lake.kernels.row_selection import Condition, Matches, condition, tightest
from winnow.lake.kernels.tables import Family, Table

#: Values of the parent that are looked at together for a condition.
_BLOCK_VALUES = 1 << 23
#: More conditions than these say less than positions.
_MOST_CONDITIONS = 3


def leaf_batches(
    tables: HashedTables,
    table: int,
    names: list[str] | None = None,
    *,
    presence: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Yield leaf columns of a table, all of them by default, in the order of rows."""
    whole = tables.reader.tables[table]
    names = [column.name for column in whole.columns] if names is None else names
    for part in range(len(whole.parts)):
        for _, batch in tables.reader.batches(
            table, part, None, names, presence=presence
        ):
            yield batch


@dataclass(frozen=True)
class RowChoice:
    """The search in one parent."""

    tables: HashedTables
    parent: int

    @property
    def _table(self) -> Table:
        return self.tables.reader.tables[self.parent]

    @property
    def _names(self) -> list[str]:
        columns = self._table.columns
        return [c.name for c in columns if c.family is not Family.NESTED]

    def of(self, matches: Matches) -> ChosenRows | None:
        """Return what chooses the child's rows, or None if only positions do."""
        if not len(matches.child):
            return ChosenRows(run=(0, 0))
        selection = self._in_order(matches)
        return self._sorted(matches) if selection is None else selection

    def _in_order(self, matches: Matches) -> ChosenRows | None:
        """Return what chooses the child's rows where they stand in its order."""
        if matches.exact and len(matches.positions) == matches.rows:
            return ChosenRows()
        where = self._where(matches)
        if where is not None:
            return ChosenRows(where=(where,))
        run = matches.block()
        if run is not None:
            return ChosenRows(run=run)
        several = self._several(matches) if matches.exact else ()
        return ChosenRows(where=several) if several else None

    def _sorted(self, matches: Matches) -> ChosenRows | None:
        """Return what chooses the child's rows, and by which columns it sorts them."""
        if not np.array_equal(np.sort(matches.child), np.sort(matches.numbers)):
            return None
        rows = self._in_order(replace(matches, child=matches.numbers))
        if rows is None:
            return None
        sources = pa.array(matches.sources())

        def columns() -> Iterator[tuple[str, pa.ChunkedArray]]:
            for name in self._names:
                for _, column in self._columns([name]):
                    yield name, column.take(sources)

        keys = sort_keys(matches.sources(), columns)
        return None if keys is None else replace(rows, order=keys)

    def _several(self, matches: Matches) -> tuple[Where, ...]:
        """Return conditions that choose the child's rows together, () if none do."""
        rules: dict[str, Condition] = {}
        outside: dict[str, npt.NDArray[np.uint8]] = {}
        others = np.setdiff1d(np.arange(matches.rows), matches.positions)
        for name in self._names:
            for _, column in self._columns([name]):
                rule = tightest(column, matches)
                if rule is not None:
                    rules[name] = rule[0]
                    outside[name] = np.packbits(rule[1][others])
        left = np.packbits(np.ones(len(others), np.bool_))
        chosen: list[str] = []
        while left.any() and len(chosen) < _MOST_CONDITIONS:
            kept = {
                n: int(np.bitwise_count(left & m).sum()) for n, m in outside.items()
            }
            best = min(kept, key=lambda n: kept[n], default=None)
            if best is None or best in chosen:
                return ()
            chosen.append(best)
            left &= outside[best]
        if left.any():
            return ()
        return tuple(Where(n, rules[n].values, rules[n].bounds) for n in chosen)

    def _where(self, matches: Matches) -> Where | None:
        """Return the shortest condition, of the first column that has it."""
        width = max(1, _BLOCK_VALUES // max(1, self._table.rows))
        best, shortest = None, 0
        for start in range(0, len(self._names), width):
            for name, column in self._columns(self._names[start : start + width]):
                rule = condition(column, matches)
                if rule and (best is None or rule.length < shortest):
                    best = Where(name, rule.values, rule.bounds)
                    shortest = rule.length
            if best is not None and shortest <= 1:
                break
        return best

    def _columns(self, names: list[str]) -> Iterator[tuple[str, pa.ChunkedArray]]:
        batches = list(leaf_batches(self.tables, self.parent, names))
        for number, name in enumerate(names):
            chunks = [batch.column(number) for batch in batches]
            # A part whose text is no UTF-8, or of another width: no condition on it.
            if len({chunk.type for chunk in chunks}) == 1:
                yield name, pa.chunked_array(chunks)
