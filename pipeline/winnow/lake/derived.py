"""Tables that lie in several others together, or in one under other names.

Looked for are tables that no other holds by itself, one of each kind of duplicates.
What sketches suggest is proven on all rows, as every containment is.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.run_folder import RunFolder
from winnow.lake.compare import renames, unions
from winnow.lake.compare.hashed_tables import TablePairs
from winnow.lake.compare.rebuild import query_of
from winnow.lake.compare.row_hashes import RowHashes
from winnow.lake.compare.united import renamed, united
from winnow.lake.files.saved_parts import SavedParts
from winnow.lake.kernels.tables import DERIVED
from winnow.lake.run import side_file
from winnow.lake.stages import Stages

Ints = npt.NDArray[np.int64]

_log = logging.getLogger(__name__)

_REMEMBERED = pa.schema([("key", pa.string()), ("outcome", pa.string())])
#: What is known of a suggestion: None if it does not hold.
_Outcome = dict[str, Any] | None


class DerivedMemory:
    """What was found of suggestions none of whose tables changed."""

    def __init__(self, folder: RunFolder, key: str) -> None:
        self._saved = SavedParts(folder.artifacts("derived"), key)
        rows = [row for part in self._saved.load() for row in part.to_pylist()]
        self._known = {row["key"]: json.loads(row["outcome"]) for row in rows}
        self._used: dict[str, _Outcome] = {}

    def knows(self, key: str) -> bool:
        """Whether the outcome of a suggestion is known."""
        return key in self._known or key in self._used

    def outcome(self, key: str, work_out: Callable[[], _Outcome]) -> _Outcome:
        """Return what is known, worked out now if nothing is."""
        if key in self._used:
            return self._used[key]
        known = self._known[key] if key in self._known else work_out()
        self._used[key] = known
        return known

    def settle(self) -> None:
        """Keep what was asked for since, and nothing else."""
        if self._used != self._known:
            rows = [{"key": k, "outcome": json.dumps(o)} for k, o in self._used.items()]
            self._saved.settle(pa.Table.from_pylist(rows, _REMEMBERED))


@dataclass
class DerivedTables:
    """The search of one scan."""

    stages: Stages
    folder: RunFolder
    memory: DerivedMemory
    #: How many suggestions there were, and stored bytes that were read for them.
    suggested: int = 0
    read: int = 0
    _hashes: RowHashes = field(init=False)

    #: (n,) Each table in its own form, by its number in any; the first duplicate of it.
    _base: Ints = field(init=False)
    #: The number of a child under its parent's names, of pairs that were proven.
    _proven: dict[tuple[int, int], int] = field(default_factory=dict)
    _group: Ints = field(init=False)

    def __post_init__(self) -> None:
        tables, findings = self.stages.tables, self.stages.findings
        self._hashes = RowHashes(tables)
        self._base = tables.own_numbers()
        mutual = findings.edges.take(findings.mutual())
        self._group = self._base.copy()
        np.minimum.at(self._group, self._base[mutual.child], self._base[mutual.parent])
        self._group = self._group[self._base]

    def table(self) -> pa.Table:
        """Return DERIVED, sorted by child."""
        config = self.stages.config.derived
        rows: list[dict[str, Any]] = []
        # Both add tables to those that are compared; what is asked of them comes first.
        alone = self._alone()
        if config.unions:
            rows += self._unions(alone)
        if config.renamed:
            rows += self._renamed(alone)
        rows.sort(key=lambda row: (row["child"], row["kind"], row["parents"]))
        return pa.Table.from_pylist(rows, DERIVED)

    def _alone(self) -> list[int]:
        """Return tables with rows that no other holds, the first of duplicates."""
        findings, lake = self.stages.findings, self.stages.tables.reader.tables
        held = findings.contained
        child, parent = findings.edges.child[held], findings.edges.parent[held]
        inside = set(self._base[child][self._group[child] != self._group[parent]])
        return [
            number
            for number, table in enumerate(lake[: len(self._base)])
            if table.rows and number not in inside and self._group[number] == number
        ]

    def _unions(self, alone: Sequence[int]) -> Iterator[dict[str, Any]]:
        findings, edges = self.stages.findings, self.stages.findings.edges
        usable = ~findings.contained & ~findings.incomparable
        usable &= np.isin(self._base[edges.child], list(alone))
        usable &= self._group[edges.child] != self._group[edges.parent]
        pairs = edges.take(usable)
        tables, sketches = self.stages.tables, self.stages.sketches
        for together in unions.suggested(tables, sketches, pairs, self.stages.bounds):
            row = self._known("union", together, partial(self._union, together))
            if row is not None:
                yield row

    def _union(self, together: unions.Together) -> _Outcome:
        compared = self.stages.tables.names_of(together.child)
        self.read += self.stages.tables.bytes_of(
            dict.fromkeys((together.child, *together.parents), compared)
        )
        parents = unions.covered(self._hashes, together, self.stages.bag)
        if parents is None:
            return None
        tables = self.stages.tables
        whole = self._whole(together.child, parents)
        query = self._query(together.child, united(tables, parents), parents)
        held = f"{len(parents)} tables hold all of its rows together"
        return {
            "kind": "concatenation" if whole else "union",
            "parents": [tables.reader.tables[p].name for p in parents],
            "rebuild_sql": query,
            "reason": f"{held}, each with all of its own" if whole else held,
        }

    def _whole(self, child: int, parents: Sequence[int]) -> bool:
        """Whether every row of these parents is one of the child's, too."""
        findings = self.stages.findings
        mine = findings.contained & (findings.edges.parent == child)
        return set(parents) <= set(findings.edges.child[mine].tolist())

    def _renamed(self, alone: Sequence[int]) -> Iterator[dict[str, Any]]:
        tables, sketches = self.stages.tables, self.stages.sketches
        pairs = renames.suggested(tables, sketches, alone, self._group)
        self._prove(pairs)
        for pair in pairs:
            row = self._known("renamed", _ends(pair), partial(self._rename, pair))
            if row is not None:
                yield row

    def _prove(self, pairs: Sequence[renames.Options]) -> None:
        """Compare all rows of the pairs for which some names hold, those not known."""
        tables = self.stages.tables
        edges: list[tuple[renames.Options, int]] = []
        for pair in pairs:
            if self.memory.knows(self._key("renamed", _ends(pair))):
                continue
            read = {t: tables.names_of(t) for t in (pair.child, pair.parent)}
            self.read += tables.bytes_of(read)
            try:
                names = renames.names_of(tables, self.stages.sketches, pair)
            except Exception:  # whatever it is: one table never costs the others
                _log.warning("no names of %s", pair, exc_info=True)
                continue
            if names is not None:
                mine = tables.names[pair.child]
                columns = {held: mine[name] for name, held in names.items()}
                edges.append((pair, renamed(tables, pair.child, columns)))
        ends = [(view, pair.parent) for pair, view in edges]
        verdicts = self.stages.counting.whole(
            TablePairs(*np.array(ends, np.int64).reshape(-1, 2).T)
        )
        held = verdicts.contained(self.stages.bag) & verdicts.exact
        for (pair, view), proven in zip(edges, held.tolist(), strict=True):
            if proven:
                self._proven[pair.child, pair.parent] = view

    def _rename(self, pair: renames.Options) -> _Outcome:
        tables = self.stages.tables
        view = self._proven.get((pair.child, pair.parent))
        if view is None:
            return None
        columns = tables.names[view]
        held = tables.names[pair.parent]
        told = {held[key]: name for key, name in sorted(columns.items())}
        changed = [f"{n} is {o} there" for o, n in told.items() if o != n]
        return {
            "kind": "renamed",
            "parents": [tables.reader.tables[pair.parent].name],
            "columns": json.dumps(columns, sort_keys=True, ensure_ascii=False),
            "rebuild_sql": self._query(view, pair.parent, (pair.parent,)),
            "reason": f"all of its rows are in the parent: {', '.join(changed)}",
        }

    def _known(
        self, kind: str, together: unions.Together, work_out: Callable[[], _Outcome]
    ) -> dict[str, Any] | None:
        """Return a row of DERIVED for a suggestion that holds."""
        self.suggested += 1
        child = self.stages.tables.reader.tables[together.child]
        try:
            outcome = self.memory.outcome(self._key(kind, together), work_out)
        except Exception:  # whatever it is: one table never costs the others
            self.stages.engine.clear()
            _log.warning("%s of %s", kind, child.name, exc_info=True)
            return None
        if outcome is None:
            return None
        row = {"child": child.name, "child_rows": child.rows}
        return {**dict.fromkeys(DERIVED.names), **outcome, **row}

    def _key(self, kind: str, together: unions.Together) -> str:
        lake = self.stages.tables.reader.tables
        ends = [lake[number] for number in (together.child, *together.parents)]
        text = json.dumps([kind, *([t.identity, t.fingerprint] for t in ends)])
        encoded = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(encoded, digest_size=16).hexdigest()

    def _query(self, child: int, parent: int, parents: Sequence[int]) -> str | None:
        lake = self.stages.tables.reader.tables
        names = [lake[number].name for number in parents]
        versions = {lake[n].name: lake[n].fingerprint for n in (child, *parents)}
        positions_file = side_file(self.folder, versions, lake[child].name, names)
        try:
            return query_of(self._hashes, child, parent, positions_file)
        except Exception:
            # SQL has no notation for a value, or no way to read a file.
            return None


def _ends(pair: renames.Options) -> unions.Together:
    return unions.Together(pair.child, (pair.parent,))
