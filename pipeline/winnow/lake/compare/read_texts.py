"""What a scan adds to verdicts, read by the process that has the time.

Loads nothing of a scan's settings and stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from winnow.lake.compare.hashed_tables import HashedTables
from winnow.lake.compare.rebuild import query_by_side_file, query_of
from winnow.lake.compare.row_hashes import RowHashes
from winnow.lake.compare.witness import row_witnesses, value_witnesses
from winnow.lake.files.reader import TableReader
from winnow.lake.files.words import in_words
from winnow.lake.kernels.tables import Table


class WitnessRows(NamedTuple):
    """Rows of a table that are to be told as witnesses."""

    table: Table
    names: Mapping[str, str]
    #: A compared name, or None for the whole row.
    column: str | None
    positions: npt.NDArray[np.int64]


def witnesses_of(
    sought: Sequence[WitnessRows], *, options: Mapping[str, Any]
) -> list[list[str] | str]:
    """Return rows of some tables as JSON objects, or why they cannot be read."""
    told: list[list[str] | str] = []
    for table, names, column, positions in sought:
        tables = HashedTables(TableReader([table], options), [names])
        try:
            told.append(
                row_witnesses(tables, 0, positions)
                if column is None
                else value_witnesses(tables, 0, column, positions)
            )
        except Exception as error:  # whatever it is: the others can be told
            told.append(in_words(error))
    return told


class RebuildPair(NamedTuple):
    """A child and its parent, of which the child is to be had back."""

    tables: tuple[Table, Table]
    names: tuple[Mapping[str, str], Mapping[str, str]]
    #: Where the positions of rows would stand.
    side_file: str
    #: Whether the shortest query is looked for.
    searched: bool


def queries_of(
    pairs: Sequence[RebuildPair], *, options: Mapping[str, Any]
) -> list[str | None]:
    """Return the query of each pair; pairs of one table share what is read of it."""
    lake: list[Table] = []
    names: list[Mapping[str, str]] = []
    numbers: dict[str, int] = {}
    ends = []
    for pair in pairs:
        for table, columns in zip(pair.tables, pair.names, strict=True):
            if numbers.setdefault(table.identity, len(lake)) == len(lake):
                lake.append(table)
                names.append(columns)
        ends.append([numbers[table.identity] for table in pair.tables])
    hashes = RowHashes(HashedTables(TableReader(lake, options), names))
    return [
        one_query(hashes, child, parent, pair.side_file, searched=pair.searched)
        for pair, (child, parent) in zip(pairs, ends, strict=True)
    ]


def one_query(
    hashes: RowHashes, child: int, parent: int, path: str, *, searched: bool
) -> str | None:
    """Return the query of a pair, the shortest if it is `searched`.

    path: where the positions of rows would stand.
    """
    try:
        if searched:
            return query_of(hashes, child, parent, path)
        return query_by_side_file(hashes.tables, child, parent, path)
    except Exception:
        # SQL has no notation for a value, or no way to read a file: there is no query.
        return None
