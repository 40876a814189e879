"""Rebuild queries that were run, for other tables that hold the same.

A lake has thousands of copies and few kinds of them. What a query gives back depends on
the query and on the parent's bytes; so it gives another table back, too, if that holds
the same rows in the same order, bit for bit, in columns of the same names and types.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from winnow.core.sql_text import literal
from winnow.lake.compare.rebuild import Rebuild, files_of
from winnow.lake.compare.replayed import stored_bits
from winnow.lake.files.sql_source import leaf_paths
from winnow.lake.prices import Edge
from winnow.lake.run import LakeRun
from winnow.lake.safety import Contents


class ProvenRebuilds:
    """Queries that gave a table back, by what both its file and its parent's hold."""

    def __init__(self, run: LakeRun, strict: bool) -> None:
        self._run, self._strict = run, strict
        self._contents = Contents(files_of(run.tables), run.table)
        #: The query, and the parent's path in it.
        self._by_bytes: dict[tuple[str | None, ...], tuple[str, str]] = {}
        #: Children that were had back, and the queries, by parent and form.
        self._alike: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
        self._rows: dict[str, str] = {}

    def of(self, edge: Edge) -> Rebuild | None:
        """Return the query that is known to give the child back, None if none is."""
        parent = literal(self._run.table(edge.parent).location)
        key = self._contents.of(edge.child), self._contents.of(edge.parent)
        if key in self._by_bytes:
            sql, path = self._by_bytes[key]
            return Rebuild(sql.replace(path, parent))
        form = self._form(edge)
        for child, sql in self._alike.get(form, ()) if form else ():
            if self._rows_of(child) == self._rows_of(edge.child):
                self._by_bytes[key] = sql, parent
                return Rebuild(sql)
        return None

    def add(self, edge: Edge) -> None:
        """Remember an edge's query, which was run."""
        key = self._contents.of(edge.child), self._contents.of(edge.parent)
        if edge.rebuild is None or edge.rebuild.side_file or None in key:
            return
        path = self._run.table(edge.parent).location
        self._by_bytes[key] = edge.rebuild.sql, literal(path)
        form = self._form(edge)
        if form is not None:
            self._alike.setdefault(form, []).append((edge.child, edge.rebuild.sql))

    def _form(self, edge: Edge) -> tuple[Any, ...] | None:
        """Return what a query depends on but for the rows; None: more than is told."""
        tables, number = self._run.tables, self._run.number
        pair = number[edge.child], number[edge.parent]
        child = self._run.table(edge.child)
        if None in (self._contents.of(edge.child), self._contents.of(edge.parent)):
            return None
        if (
            child.parts[0].dialect
            or self._run.numbers(edge.source, self._strict) != pair
        ):
            return None
        columns = tuple(
            (c.name, str(c.type), c.family, c.metadata) for c in child.columns
        )
        paths = tuple(leaf_paths(files_of(tables), child).values())
        return edge.parent, child.rows, columns, paths

    def _rows_of(self, name: str) -> str:
        """Return a digest of a table's rows, in their order."""
        if name not in self._rows:
            digest = hashlib.blake2b()
            for hashes in stored_bits(self._run.tables, self._run.number[name]):
                digest.update(np.column_stack((hashes.hi, hashes.lo)).tobytes())
            self._rows[name] = digest.hexdigest()
        return self._rows[name]
