"""A scan of what changed: pairs of unchanged tables keep what was found of them.

What is found of a pair depends on its two tables alone, but for three things. Which
refuted pairs are counted (`partial`) depends on which columns of both are sketched, and
that on all pairs of a table: so pairs of tables of which other columns are sketched now
are decided again. The queries that are looked for share one budget. And verdicts must
not contradict each other; where they do, all is decided anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.lake import LakeConfig
from winnow.core.engine import Engine
from winnow.core.run_folder import RunFolder
from winnow.core.task import with_aside
from winnow.lake.compare.hashed_tables import TablePairs
from winnow.lake.compare.row_hashes import RowHashes
from winnow.lake.consistency import contradictions
from winnow.lake.earlier import EarlierScan, graph_of
from winnow.lake.files.catalogue import Changes
from winnow.lake.files.saved_tables import SavedTables
from winnow.lake.files.table_files import Surveyed
from winnow.lake.kept_pairs import AlikeTables, KeptPairs
from winnow.lake.kernels.tables import DERIVED
from winnow.lake.logged_stages import add_texts, count_partial, stages_of
from winnow.lake.memory import Keys
from winnow.lake.results import reasons_of, tables_of
from winnow.lake.run import hashed_tables
from winnow.lake.scope import Scope
from winnow.lake.stage_log import StageLog
from winnow.lake.stages import Stages
from winnow.lake.texts import rebuild_text, searched_pairs

Ints = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]

#: Up to so many changed tables, or this share of all, it is worth it.
_FEW, _SHARE = 64, 8


@dataclass(frozen=True)
class DecidedAnew:
    """What a rescan found, for all tables."""

    stages: Stages
    results: dict[str, pa.Table]
    graph: pa.Table
    #: Names of the tables that changed.
    changed: set[str]
    #: Whether the graph is another than before.
    new: bool


@dataclass
class Rescan:
    """Decides anew what changes of a lake's tables touch."""

    config: LakeConfig
    folder: RunFolder
    engine: Engine
    log: StageLog
    known: SavedTables
    keys: Keys

    def decided(self, earlier: EarlierScan, changed: Changes) -> DecidedAnew | None:
        """Return what holds now; None if a scan of all tables has to say it.

        Raises DamagedPart if what is remembered of tables cannot be read.
        """
        look = _Look(self, earlier, changed)
        few = max(_FEW, len(look.names) // _SHARE)
        if int(look.changed.sum()) > few:
            return None
        return look.decided()


@dataclass
class _Look:
    rescan: Rescan
    earlier: EarlierScan
    changes: Changes

    def __post_init__(self) -> None:
        self.opened: dict[str, Surveyed] = {t[0].name: t for t in self.changes.opened}
        self.names = sorted({*self.changes.same, *self.opened})
        self.number = {name: i for i, name in enumerate(self.names)}
        self.pairs = KeptPairs(self.earlier, self.names)
        before = self.earlier.tables
        stood = pc.is_in(pa.array(self.names, pa.string()), before["table"])
        self.changed = ~stood.to_numpy(zero_copy_only=False)
        for name, (table, _) in self.opened.items():
            # What could not be read before, and cannot now, is no change.
            told = {"fingerprint": table.fingerprint, "reason": table.reason}
            self.changed[self.number[name]] = (
                table.reason is None or self._row_before(name) != told
            )
        self.changed[self.pairs.failed()] = True
        self.pairs.drop(self.changed)

    def _row_before(self, name: str) -> dict[str, str | None] | None:
        """Return what was found of a table before, or None."""
        tables = self.earlier.tables
        row = pc.index(tables["table"], name).as_py()
        if row < 0:
            return None
        (told,) = tables.slice(row, 1).select(["fingerprint", "reason"]).to_pylist()
        return dict(told)

    def decided(self) -> DecidedAnew | None:
        stages = self._bounded()
        findings = stages.findings
        log = self.rescan.log
        funnel = self.pairs
        before = len(self.names) * (len(self.names) - 1)
        for name in ("schema", "min_max", "sketch", "sample", "content"):
            meter = log.started(name, before)
            # By its footers the tables were chosen.
            read = 0 if name in ("schema", "min_max") else getattr(stages, name)()
            after = funnel.left_after(name) + findings.left_after(name)
            log.finished(name, (before, after), read, meter)
            before = after
        count_partial(log, stages)
        ends = self._numbered(findings.edges, stages)
        if len(contradictions(*self.pairs.with_findings(ends, findings))):
            return None
        held = np.flatnonzero(findings.contained)
        searched, others = self._searched(ends.take(held), stages)
        add_texts(log, stages, self.rescan.folder, before, searched)
        return self._merged(stages, others)

    def _bounded(self) -> Stages:
        """Return stages of the tables that matter, once footers have spoken."""
        near = AlikeTables(self.earlier.graph, self.names).of(
            [self._keys(i) for i in np.flatnonzero(self.changed).tolist()]
        )
        touched = self.changed | near | self.pairs.lost_ends()
        stages = self._stages(touched, np.empty(0, np.int64))
        if not self.rescan.config.partial.enabled:
            return stages
        other = self._sketched_otherwise(stages, touched & ~self.changed)
        again = self.pairs.suggestible(other)
        if not len(again):
            return stages
        ends = self.pairs.ends.take(again)
        self.pairs.decide_again(again)
        touched[ends.child] = touched[ends.parent] = True
        return self._stages(touched, again)

    def _keys(self, number: int) -> tuple[str, ...]:
        table, _ = self._surveyed(number)
        return hashed_tables(self.rescan.config, [table]).names_of(0)

    def _surveyed(self, number: int) -> Surveyed:
        name = self.names[number]
        return self.opened[name] if name in self.opened else self.rescan.known[name]

    def _stages(self, touched: _Mask, again: Ints) -> Stages:
        """Run the stages that read footers on all pairs of changed tables.

        touched (n,): tables whose sketches are asked for; again: more pairs.
        """
        # Pairs that footers left open say what else of their tables is sketched.
        settled = self.pairs.open_of(touched, self.rescan.config.partial.read_all)
        chosen = touched.copy()
        for side in (self.pairs.ends.take(settled), self.pairs.ends.take(again)):
            chosen[side.child] = chosen[side.parent] = True
        self.chosen, self.touched = np.flatnonzero(chosen), touched
        local = np.full(len(self.names), -1)
        local[self.chosen] = np.arange(len(self.chosen))

        def placed(some: Ints) -> TablePairs:
            ends = self.pairs.ends.take(some)
            return TablePairs(local[ends.child], local[ends.parent])

        scope = Scope(
            self.changed[self.chosen],
            touched[self.chosen],
            placed(again),
            placed(settled),
        )
        surveyed = [self._surveyed(i) for i in self.chosen.tolist()]
        rescan = self.rescan
        stages = stages_of(
            rescan.config, rescan.folder, rescan.engine, surveyed, rescan.keys, scope
        )
        stages.schema()
        stages.min_max()
        stages.look_at_bounds()
        return stages

    def _sketched_otherwise(self, stages: Stages, some: _Mask) -> _Mask:
        """Return which of some tables other columns are sketched of than before."""
        names = {self.names[i] for i in np.flatnonzero(some).tolist()}
        graph = self.earlier.graph
        there = pc.is_in(graph["table"], pa.array(sorted(names), pa.string()))
        numbers = [
            i
            for i, number in enumerate(self.chosen.tolist())
            if self.names[number] in names
        ]
        now = graph_of(stages, numbers)
        one, other = (_sketched(rows) for rows in (graph.filter(there), now))
        mask = np.zeros(len(self.names), np.bool_)
        for name in names:
            mask[self.number[name]] = one.get(name) != other.get(name)
        return mask

    def _numbered(self, edges: TablePairs, stages: Stages) -> TablePairs:
        """Return pairs of the scan's tables by their numbers in the lake."""
        base = stages.tables.own_numbers()
        return TablePairs(*(self.chosen[base[side]] for side in edges))

    def _searched(self, held: TablePairs, stages: Stages) -> tuple[Ints, Ints]:
        """Return which new pairs have their query looked for, and which kept others.

        The latter are those of which it was, and is not now, or the other way about.
        """
        most = self.rescan.config.rebuild.search_mb
        kept = self.pairs.contained()
        ends = self.pairs.ends.take(kept)
        both = TablePairs(*map(np.concatenate, zip(ends, held, strict=True)))
        size = self._sizes
        chosen = searched_pairs(both, size[both.child] + size[both.parent], most)
        was = self.pairs.searched_before(most)
        now = kept[chosen[chosen < len(kept)]]
        return chosen[chosen >= len(kept)] - len(kept), np.setxor1d(
            self.pairs.standing(was), now
        )

    @cached_property
    def _sizes(self) -> Ints:
        sizes = self.pairs.sizes(self.names)
        for name, (table, _) in self.opened.items():
            sizes[self.number[name]] = table.bytes
        return sizes

    def _queries(self, others: Ints) -> list[str | None]:
        """Return the queries of kept pairs whose turn it is now, or not any more."""
        if not len(others):
            return []
        was = set(self.pairs.searched_before(self.rescan.config.rebuild.search_mb))
        texts = []
        for pair in others.tolist():
            ends = [int(side[pair]) for side in self.pairs.ends]
            tables = hashed_tables(
                self.rescan.config, [self._surveyed(number)[0] for number in ends]
            )
            one, other = tables.paired(0, 1) or (0, 1)
            edge = TablePairs(np.array([one]), np.array([other]))
            hashes, searched = RowHashes(tables), pair not in was
            folder = self.rescan.folder
            texts.append(rebuild_text(hashes, folder, edge, searched=searched))
        return texts

    def _merged(self, stages: Stages, others: Ints) -> DecidedAnew:
        """Return the results for the whole lake."""
        # Both mostly are Arrow's, which needs no turn of Python's.
        (tables, graph), (edges, new) = with_aside(
            lambda: self._with_touched(stages),
            lambda: self._edges(stages, others),
        )
        results = {"edges": edges, "derived": DERIVED.empty_table(), "tables": tables}
        changed = {self.names[i] for i in np.flatnonzero(self.changed).tolist()}
        return DecidedAnew(stages, results, graph, changed, new)

    def _edges(self, stages: Stages, others: Ints) -> tuple[pa.Table, bool]:
        """Return EDGES of the whole lake, and whether they are others than before."""
        partial = self.rescan.config.partial
        edges = stages.findings.as_table(
            stages.tables, partial.min_containment if partial.enabled else None
        )
        return self.pairs.merged(
            edges,
            self._numbered(stages.findings.edges, stages),
            others,
            self._queries(others),
        )

    def _with_touched(self, stages: Stages) -> tuple[pa.Table, pa.Table]:
        """Return TABLES and GRAPH of the whole lake."""
        chosen = [
            i for i, number in enumerate(self.chosen.tolist()) if self.touched[number]
        ]
        lake = stages.tables.reader.tables[: len(self.chosen)]
        rows = tables_of(lake, reasons_of(stages), stages).take(
            pa.array(chosen, pa.int64())
        )
        left = [name for i, name in enumerate(self.names) if not self.touched[i]]
        return (
            _with_rows(self.earlier.tables, left, rows),
            _with_rows(self.earlier.graph, left, graph_of(stages, chosen)),
        )


def _with_rows(before: pa.Table, left: Sequence[str], rows: pa.Table) -> pa.Table:
    """Return the rows of unchanged tables and those of others, sorted by table."""
    kept = before.filter(pc.is_in(before["table"], pa.array(left, pa.string())))
    both = pa.concat_tables([kept, rows.cast(kept.schema)]).combine_chunks()
    order = pc.sort_indices(both, [("table", "ascending")])
    return both.take(order)


def _sketched(graph: pa.Table) -> dict[str, set[tuple[object, ...]]]:
    """Return what is sketched of each table, in whatever form."""
    told: dict[str, set[tuple[object, ...]]] = {}
    for row in graph.to_pylist():
        if row["sketched"] or row["rows"]:
            one = row["identity"], tuple(row["sketched"]), row["rows"]
            told.setdefault(row["table"], set()).add(one)
    return told
