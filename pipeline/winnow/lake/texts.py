"""What a scan adds to its verdicts: a witness row, a query that gives a table back."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from winnow.core.run_folder import RunFolder
from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.compare.rebuild import query_by_side_file, query_of
from winnow.lake.compare.row_hashes import RowHashes
from winnow.lake.compare.witness import row_witnesses, value_witnesses
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
_NOTED = 64


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
    read = 0
    for (child, column), some in wanted.items():
        positions = np.array([places[int(pairs[i])][1] for i in some])
        read += _read(stages, child, column, positions)
        unique, back = np.unique(positions, return_inverse=True)
        try:
            rows = (
                row_witnesses(stages.tables, child, unique)
                if column is None
                else value_witnesses(stages.tables, child, column, unique)
            )
        except Exception:
            # A verdict without its witness is a verdict; the scan goes on.
            _log.warning("no witness of %s", child, exc_info=True)
            continue
        for i, number in zip(some, back.tolist(), strict=True):
            texts[i] = rows[number]
    learned = [texts[i] for i in new.tolist()]
    stages.pair_memory.remember_texts(what, edges.take(new), learned)
    stages.findings.tell(pairs, "witness", texts)
    return read


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
    read, hashes = 0, RowHashes(stages.tables)
    for some in np.array_split(searched, -(-len(searched) // _NOTED) or 1):
        known, queries = stages.pair_memory.texts("rebuild", edges.take(some))
        for i in np.flatnonzero(~known).tolist():
            pair = edges.take(some[i : i + 1])
            queries[i] = rebuild_text(stages.tables, folder, pair, hashes)
            read += int(size[some[i]])
        new = np.flatnonzero(~known)
        stages.pair_memory.remember_texts(
            "rebuild", edges.take(some[new]), [queries[i] for i in new.tolist()]
        )
        for i, text in zip(some.tolist(), queries, strict=True):
            texts[i] = text
    for i in np.setdiff1d(np.arange(len(pairs)), searched).tolist():
        pair = edges.take(np.array([i]))
        texts[i] = rebuild_text(stages.tables, folder, pair, None)
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


def rebuild_text(
    tables: HashedTables,
    folder: RunFolder,
    pair: TablePairs,
    hashes: RowHashes | None,
) -> str | None:
    """Return the query of a pair, the shortest if there are `hashes` to look for it."""
    child, parent = int(pair.child[0]), int(pair.parent[0])
    lake = tables.reader.tables
    versions = {lake[i].name: lake[i].fingerprint for i in (child, parent)}
    positions_file = side_file(folder, versions, lake[child].name, [lake[parent].name])
    try:
        if hashes is not None:
            return query_of(hashes, child, parent, positions_file)
        return query_by_side_file(tables, child, parent, os.fspath(positions_file))
    except Exception:
        # SQL has no notation for a value, or no way to read a file: there is no query.
        return None
