"""Tables that lie in several others together: suggested by sketches, counted exactly.

What is held in memory is a number for each row of the child, and a count for each of
its distinct rows and each parent that has some of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.compare.row_hashes import RowHashes
from winnow.lake.compare.sketched import Sketches
from winnow.lake.kernels.covers import absent_everywhere, apart, cover
from winnow.lake.kernels.families import value_type
from winnow.lake.kernels.murmur3 import joined
from winnow.lake.kernels.row_selection import ChildRows
from winnow.lake.kernels.tables import ColumnStatistics

Ints = npt.NDArray[np.int64]


class Together(NamedTuple):
    """A child, and tables that can be read as one and may hold it together."""

    child: int
    parents: tuple[int, ...]


def suggested(
    tables: HashedTables,
    sketches: Sketches,
    edges: TablePairs,
    statistics: Sequence[Mapping[str, ColumnStatistics]],
) -> list[Together]:
    """Return which children may lie in several of their parents together.

    edges: pairs whose columns can be compared, none of them a containment. A child is
    left out for certain: some value or row that its sketches keep is in no parent. So
    is a parent: by the `statistics` of a column, it has no row of the child.
    """
    edges = edges.take(_meeting(tables, edges, statistics))
    groups = [
        Together(child, tuple(parents))
        for (child, _), parents in _alike(tables, edges).items()
        if len(parents) > 1
    ]
    return [
        group
        for group in groups
        if _sketched(tables, sketches, group)
        and not any(
            absent_everywhere(
                sketches.kmv(group.child, name),
                [sketches.kmv(parent, name) for parent in group.parents],
            )
            for name in _looked_up(tables, sketches, group)
        )
    ]


def covered(hashes: RowHashes, group: Together, bag: bool) -> tuple[int, ...] | None:
    """Return the parents that hold every row of the child together, or None.

    They come in the order in which the child's rows name them first. As `bag` they
    hold each row at least as often as the child. Raises UnreadableTable.
    """
    compared = hashes.tables.names_of(group.child)
    child = ChildRows(joined([rows for _, rows in hashes.of(group.child, compared)]))
    wanted = np.bincount(child.numbers)
    if not bag:
        wanted = np.ones_like(wanted)
    held: dict[int, Ints] = {}
    for parent in group.parents:
        counts = np.zeros_like(wanted)
        for _, rows in hashes.of(parent, compared):
            numbers = child.numbers_of(rows)
            counts += np.bincount(numbers[numbers >= 0], minlength=len(counts))
        if counts.any():
            held[parent] = np.minimum(counts, wanted).astype(np.int32)
    chosen = cover(wanted, held)
    if chosen is None or len(chosen) < 2:
        return None
    _, first = np.unique(child.numbers, return_index=True)
    return tuple(sorted(chosen, key=lambda t: (int(first[held[t] > 0].min()), t)))


def _meeting(
    tables: HashedTables,
    edges: TablePairs,
    statistics: Sequence[Mapping[str, ColumnStatistics]],
) -> npt.NDArray[np.bool_]:
    """Return which pairs bounds do not tell apart, `(n,)`."""
    exact = [
        [
            key
            for key, name in names.items()
            if not pa.types.is_floating(value_type(table.column(name).type))
        ]
        for table, names in zip(tables.reader.tables, tables.names, strict=True)
    ]
    return np.array(
        [
            not any(
                key in statistics[child]
                and key in statistics[parent]
                and apart(statistics[child][key], statistics[parent][key])
                for key in exact[child]
            )
            for child, parent in zip(*(side.tolist() for side in edges), strict=True)
        ],
        np.bool_,
    )


def _alike(
    tables: HashedTables, edges: TablePairs
) -> dict[tuple[int, object], list[int]]:
    """Return each child's parents, those that can be read as one together."""
    groups: dict[tuple[int, object], list[int]] = defaultdict(list)
    for child, parent in zip(edges.child.tolist(), edges.parent.tolist(), strict=True):
        table, names = tables.reader.tables[parent], tables.names[parent]
        if not table.rows:
            continue
        text = any(part.dialect for part in table.parts)
        kind = (table.format, table.columns, table.forms) if text else ()
        columns = tuple(
            (key, names[key], table.column(names[key]).family)
            for key in tables.names_of(child)
        )
        groups[child, (kind, columns)].append(parent)
    return groups


def _sketched(tables: HashedTables, sketches: Sketches, group: Together) -> bool:
    keys = tables.names_of(group.child)
    return all((t, k) in sketches for t in (group.child, *group.parents) for k in keys)


def _looked_up(
    tables: HashedTables, sketches: Sketches, group: Together
) -> list[str | None]:
    """Return the columns whose sketches say something, and None for the rows."""
    names: list[str | None] = [*tables.names_of(group.child)]
    same = all(
        len(tables.names[p]) == len(names) and (p, None) in sketches
        for p in group.parents
    )
    return [*names, None] if same and (group.child, None) in sketches else names
