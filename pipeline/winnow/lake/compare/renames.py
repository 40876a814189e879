"""Tables whose rows lie in another under other column names: matched by sketches.

Values are hashed without their column's name, so that a column's sketch is the same
whatever it is called. Suggested are pairs that share the smallest hash of the child's
most telling column; each column then has the parent's columns that its sketch does not
rule out, and a sample of rows decides which of them it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from winnow.lake.compare.hashed_tables import HashedTables
from winnow.lake.compare.sketched import Sketches
from winnow.lake.kernels import kmv
from winnow.lake.kernels.families import comparable
from winnow.lake.kernels.murmur3 import Hashes, joined
from winnow.lake.kernels.renaming import assignment
from winnow.lake.kernels.tables import Column

Ints = npt.NDArray[np.int64]

#: Rows of a child that are looked up to tell its columns apart.
_SAMPLE = 256
#: A table of one column, or of fewer distinct rows, lies in others by chance.
_LEAST_COLUMNS, _LEAST_ROWS = 2, 8


class Options(NamedTuple):
    """A pair of tables, and what the columns of the child may be in the parent."""

    child: int
    parent: int
    #: In compared names: the child's columns, the most telling first; the parent's,
    #: those that are most alike first.
    columns: Mapping[str, Sequence[str]]


def suggested(
    tables: HashedTables, sketches: Sketches, some: Sequence[int], same: Ints
) -> list[Options]:
    """Return which of some tables may lie in which others under other names.

    same (n,): tables of one number hold the same rows and are not compared.
    """
    children = {
        table: ordered
        for table in some
        if (ordered := _by_telling(tables, sketches, table)) is not None
    }
    holders = _holders(tables, sketches, some)
    pairs = [
        (child, parent)
        for child, (telling, *_) in children.items()
        for parent in _with_smallest(sketches, holders, child, telling)
        if same[child] != same[parent]
        and len(tables.names[parent]) >= len(tables.names[child])
    ]
    options = (_options(tables, sketches, *pair, children[pair[0]]) for pair in pairs)
    return [one for one in options if one is not None]


def names_of(
    tables: HashedTables, sketches: Sketches, pair: Options
) -> dict[str, str] | None:
    """Return the parent's compared name of each of the child's, by a sample of rows.

    None if no assignment of columns holds for the sample. Raises UnreadableTable.
    """
    names = list(pair.columns)
    positions = np.sort(sketches.kmv(pair.child, None).position[:_SAMPLE])
    child = _rows_at(tables, pair.child, names, positions)
    held = sorted({column for some in pair.columns.values() for column in some})
    key = names[0]
    parent = _rows_with(tables, pair.parent, held, pair.columns[key], child[key].hi)
    return assignment(pair.columns, child, parent)


def _by_telling(
    tables: HashedTables, sketches: Sketches, table: int
) -> list[str] | None:
    """Return a table's columns, those of most values first; None if it says little."""
    names = tables.names_of(table)
    if len(names) < _LEAST_COLUMNS or (table, None) not in sketches:
        return None
    if sketches.distinct(table, None) < _LEAST_ROWS:
        return None
    return sorted(names, key=lambda name: (-sketches.distinct(table, name), name))


def _holders(
    tables: HashedTables, sketches: Sketches, some: Iterable[int]
) -> tuple[npt.NDArray[np.uint64], Ints]:
    """Return the first halves of all hashes that columns keep, rising, and of whom."""
    stack = sketches.stack
    hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for table in some:
        for name in tables.names[table]:
            if (table, name) in sketches:
                kept = kmv.one_of(stack, sketches.place(table, name)).hi
                hashes.append(kept)
                owners.append(np.full(len(kept), table))
    joined, owner = np.concatenate(hashes), np.concatenate(owners)
    order = np.argsort(joined, kind="stable")
    return joined[order], owner[order]


def _with_smallest(
    sketches: Sketches,
    holders: tuple[npt.NDArray[np.uint64], Ints],
    child: int,
    column: str,
) -> list[int]:
    """Return the tables of which a column keeps the smallest hash of the child's."""
    smallest = sketches.kmv(child, column).hi[:1]
    ends = (np.searchsorted(holders[0], smallest, side) for side in ("left", "right"))
    start, stop = (int(end[0]) for end in ends)
    parents: list[int] = np.unique(holders[1][start:stop]).tolist()
    return [parent for parent in parents if parent != child]


def _options(
    tables: HashedTables,
    sketches: Sketches,
    child: int,
    parent: int,
    ordered: Sequence[str],
) -> Options | None:
    """Return the columns that sketches do not rule out; None if one has none."""
    columns = {key: _column(tables, parent, key) for key in tables.names_of(parent)}
    options: dict[str, Sequence[str]] = {}
    for name in ordered:
        mine = _column(tables, child, name)
        keys = [
            key
            for key, other in columns.items()
            if comparable(mine.family, other.family) and (parent, key) in sketches
        ]
        one = np.full(len(keys), sketches.place(child, name), np.int64)
        other = np.array([sketches.place(parent, key) for key in keys], np.int64)
        kept = np.flatnonzero(kmv.compare(sketches.stack, one, other).missing == 0)
        held = [keys[i] for i in kept.tolist()]
        if not held:
            return None
        options[name] = sorted(
            held, key=lambda k: (k != name, columns[k].type != mine.type, k)
        )
    return Options(child, parent, options)


def _column(tables: HashedTables, table: int, name: str) -> Column:
    return tables.reader.tables[table].column(tables.names[table][name])


def _rows_at(
    tables: HashedTables, table: int, names: Sequence[str], positions: Ints
) -> dict[str, Hashes]:
    """Return the hashes of some rows by column; positions (n,) rise."""
    parts: dict[str, list[Hashes]] = defaultdict(list)
    for task in tables.reads(table):
        for block in tables.blocks(task, names):
            ends = [block.first, block.first + len(block.batch)]
            low, high = np.searchsorted(positions, ends)
            if low < high:
                rows = positions[low:high] - block.first
                for name, hashes in zip(names, block.hashes(), strict=True):
                    parts[name].append(Hashes(hashes.hi[rows], hashes.lo[rows]))
    return {name: joined(parts[name]) for name in names}


def _rows_with(
    tables: HashedTables,
    table: int,
    names: Sequence[str],
    keys: Sequence[str],
    wanted: npt.NDArray[np.uint64],
) -> dict[str, Hashes]:
    """Return the hashes by column of rows with a wanted value in one of `keys`."""
    parts: dict[str, list[Hashes]] = defaultdict(list)
    for task in tables.reads(table):
        for block in tables.blocks(task, names):
            hashes = dict(zip(names, block.hashes(), strict=True))
            some = np.any([np.isin(hashes[k].hi, wanted) for k in keys], axis=0)
            for name, column in hashes.items():
                parts[name].append(Hashes(column.hi[some], column.lo[some]))
    return {name: joined(parts[name]) for name in names}
