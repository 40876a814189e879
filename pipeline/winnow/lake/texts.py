"""What a scan adds to its verdicts: a witness row, a query that gives a table back."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from winnow.core.run_folder import RunFolder
from winnow.lake import workers
from winnow.lake.compare.hashed_tables import TablePairs
from winnow.lake.compare.read_texts import (
    RebuildPair,
    WitnessRows,
    one_query,
    queries_of,
    witnesses_of,
)
from winnow.lake.compare.row_hashes import RowHashes
from winnow.lake.kernels.tables import Table
from winnow.lake.run import side_file
from winnow.lake.stages import Stages

_log = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]

#: A compared name, or None for the whole row; and the position of the row.
_Place = tuple[str | None, int]

_MB = 1e6
#: What a pair counts as at least, in MB: opening and matching take their time, too.
_LEAST = 0.5
#: Queries that are found between two notes of them.
_NOTED = 256
#: Queries, or tables whose rows are witnesses, that are asked for at a time.
_TOGETHER = 16


def add_witnesses(stages: Stages) -> tuple[int, int]:
    """Read rows (or values) that parents lack; return how many pairs and bytes."""
    rows = {pair: position for pair, position in stages.missing_rows if position >= 0}
    read = _add(
        stages, "row", {pair: (None, position) for pair, position in rows.items()}
    )
    values = {
        pair: (column, position)
        for pair, column, position in stages.missing_values
        if position >= 0 and pair not in rows
    }
    return len(rows) + len(values), read + _add(stages, "value", values)


def _add(stages: Stages, what: str, places: Mapping[int, _Place]) -> int:
    pairs = np.array(sorted(places), np.int64)
    edges = stages.findings.edges.take(pairs)
    known, texts = stages.pair_memory.texts(what, edges)
    new = np.flatnonzero(~known)
    wanted: dict[tuple[int, str | None], list[int]] = defaultdict(list)
    for i in new.tolist():
        wanted[int(edges.child[i]), places[int(pairs[i])][0]].append(i)
    positions = {
        key: np.array([places[int(pairs[i])][1] for i in some])
        for key, some in wanted.items()
    }
    read = sum(_read(stages, *key, rows) for key, rows in positions.items())
    told = _witnesses(stages, positions)
    for (key, some), rows in zip(wanted.items(), told, strict=True):
        if isinstance(rows, str):
            # A verdict without its witness is a verdict; the scan goes on.
            name = stages.tables.reader.tables[key[0]].name
            _log.warning("no witness of %s: %s", name, rows)
            continue
        back = np.unique(positions[key], return_inverse=True)[1]
        for i, number in zip(some, back.tolist(), strict=True):
            texts[i] = rows[number]
    learned = [texts[i] for i in new.tolist()]
    stages.pair_memory.remember_texts(what, edges.take(new), learned)
    stages.findings.tell(pairs, "witness", texts)
    return read


def _witnesses(
    stages: Stages, positions: Mapping[tuple[int, str | None], Ints]
) -> list[list[str] | str]:
    """Return the rows at the distinct positions of each, or why they cannot be read."""
    tables = stages.tables
    sought = [
        WitnessRows(
            tables.reader.tables[child], tables.names[child], column, np.unique(rows)
        )
        for (child, column), rows in positions.items()
    ]
    work = partial(witnesses_of, options=tables.reader.storage_options)
    pieces = workers.pieces(sought, _TOGETHER)
    told = workers.mapped(work, pieces, _untold)
    return [one for some in told for one in some]


def _untold(_: WitnessRows) -> list[list[str] | str]:
    return [workers.ENDED]


def _read(stages: Stages, child: int, column: str | None, positions: Ints) -> int:
    stored_names = stages.tables.names[child]
    names = list(stored_names.values()) if column is None else [stored_names[column]]
    return stages.tables.reader.bytes_of_rows(child, positions, names)


def add_rebuilds(
    stages: Stages, folder: RunFolder, searched: Ints | None = None
) -> int:
    """Find the query of each contained table; return how many bytes were read, at most.

    searched: which of the contained pairs to look for the shortest query of; by default
    `searched_pairs` of all of them. A query may read a side file that only `winnow lake
    plan` writes, and only for a table that it deletes.
    """
    pairs = np.flatnonzero(stages.findings.contained)
    edges = stages.findings.edges.take(pairs)
    stored = np.array([table.bytes for table in stages.tables.reader.tables], np.int64)
    size = stored[edges.child] + stored[edges.parent]
    if searched is None:
        base = stages.tables.own_numbers()
        ends = TablePairs(base[edges.child], base[edges.parent])
        searched = searched_pairs(ends, size, stages.config.rebuild.search_mb)
    texts: list[str | None] = [None] * len(pairs)
    read = 0
    for some in np.array_split(searched, -(-len(searched) // _NOTED) or 1):
        known, queries = stages.pair_memory.texts("rebuild", edges.take(some))
        new = np.flatnonzero(~known)
        told = _queries(stages, folder, edges.take(some[new]), searched=True)
        for i, query in zip(new.tolist(), told, strict=True):
            queries[i] = query
        read += int(size[some[new]].sum())
        stages.pair_memory.remember_texts("rebuild", edges.take(some[new]), told)
        for i, text in zip(some.tolist(), queries, strict=True):
            texts[i] = text
    rest = np.setdiff1d(np.arange(len(pairs)), searched)
    told = _queries(stages, folder, edges.take(rest), searched=False)
    for i, text in zip(rest.tolist(), told, strict=True):
        texts[i] = text
    stages.findings.tell(pairs, "rebuild_sql", texts)
    return read


def searched_pairs(edges: TablePairs, size: Ints, most_mb: float) -> Ints:
    """Return the pairs whose shortest query is looked for; the graph alone decides.

    edges: contained pairs by the order of their tables' names; size: stored bytes of
    both tables of each. Each child's smallest pair comes before any second one of a
    child, small pairs before large ones.
    """
    order = np.lexsort((edges.parent, edges.child, size))
    _, first = np.unique(edges.child[order], return_index=True)
    later = np.ones(len(order), np.bool_)
    later[first] = False
    order = order[np.argsort(later, kind="stable")]
    cost = np.cumsum(np.maximum(size[order], _LEAST * _MB))
    chosen: Ints = order[cost <= most_mb * _MB]
    return chosen


def _queries(
    stages: Stages, folder: RunFolder, edges: TablePairs, *, searched: bool
) -> list[str | None]:
    """Return the query of each pair."""
    lake, names = stages.tables.reader.tables, stages.tables.names
    pairs = []
    for pair in zip(*(side.tolist() for side in edges), strict=True):
        child, parent = lake[pair[0]], lake[pair[1]]
        path = os.fspath(_side_file(folder, child, parent))
        named = names[pair[0]], names[pair[1]]
        pairs.append(RebuildPair((child, parent), named, path, searched))
    work = partial(queries_of, options=stages.tables.reader.storage_options)
    told = workers.mapped(work, workers.pieces(pairs, _TOGETHER), _no_query)
    return [query for some in told for query in some]


def _no_query(_: RebuildPair) -> list[str | None]:
    return [None]


def rebuild_text(
    hashes: RowHashes, folder: RunFolder, pair: TablePairs, *, searched: bool
) -> str | None:
    """Return the query of a pair, the shortest if it is `searched`."""
    child, parent = int(pair.child[0]), int(pair.parent[0])
    lake = hashes.tables.reader.tables
    path = os.fspath(_side_file(folder, lake[child], lake[parent]))
    return one_query(hashes, child, parent, path, searched=searched)


def _side_file(folder: RunFolder, child: Table, parent: Table) -> Path:
    versions = {table.name: table.fingerprint for table in (child, parent)}
    return side_file(folder, versions, child.name, [parent.name])
