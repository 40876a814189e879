"""The stages of a lake's scan: each settles pairs of tables by as little as it can.

Schema and min-max read footers only; the sketch pass reads the columns that pairs still
name, once; samples and content read the tables of the pairs that are left. What an
earlier scan worked out of tables that did not change is not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.config.lake import LakeConfig
from winnow.core.engine import Engine
from winnow.core.errors import RunError
from winnow.lake import told
from winnow.lake.compare import partial, sketches
from winnow.lake.compare.exactness import Exactness
from winnow.lake.compare.findings import Findings
from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.compare.rebuild import files_of
from winnow.lake.compare.sketched import Sketches
from winnow.lake.compare.sketches import Wanted
from winnow.lake.compare.verdicts import Verdicts
from winnow.lake.consistency import contradicted
from winnow.lake.counting import Counted, Counting, chunks
from winnow.lake.kernels.min_max import refuting_keys
from winnow.lake.kernels.schema_graph import SchemaEdges, candidate_edges
from winnow.lake.kernels.table_sketch import Sizes
from winnow.lake.kernels.tables import ColumnStatistics
from winnow.lake.pair_memory import PairMemory
from winnow.lake.scope import Scope, in_text
from winnow.lake.sketch_memory import SketchMemory

Ints = npt.NDArray[np.int64]
Statistics = Sequence[Mapping[str, ColumnStatistics]]

_MB = 1e6


@dataclass
class Stages:
    """A scan while it happens."""

    config: LakeConfig
    engine: Engine
    tables: HashedTables
    #: Statistics of the footers, by table and compared name.
    statistics: Statistics
    sketch_memory: SketchMemory
    pair_memory: PairMemory
    #: None: all pairs of all tables.
    scope: Scope | None = None
    sketches: Sketches = field(init=False)
    findings: Findings = field(init=False)
    #: Where the sketches of a refuted pair's child say the missing value stands:
    #: (pair, compared name or None for the row, position).
    missing_values: list[tuple[int, str | None, int]] = field(default_factory=list)
    #: Likewise for pairs whose rows were compared: (pair, position).
    missing_rows: list[tuple[int, int]] = field(default_factory=list)
    #: Statistics as footers and sketches have them together.
    bounds: Statistics = field(init=False)
    #: What is sketched of each table, once footers have spoken.
    wanted: list[Wanted] = field(init=False)
    _schema: SchemaEdges = field(init=False)
    #: Pairs that an earlier scan settled, see `Scope`.
    _settled: TablePairs = field(init=False)
    counting: Counting = field(init=False)
    exactness: Exactness = field(init=False)

    def __post_init__(self) -> None:
        self.exactness = Exactness(files_of(self.tables))
        self.counting = Counting(
            self.config, self.engine, self.tables, self.pair_memory
        )

    @property
    def bag(self) -> bool:
        """Whether rows count as often as they occur."""
        return self.config.semantics == "bag"

    @property
    def sizes(self) -> Sizes:
        """Sizes of the sketches."""
        return sizes_of(self.config)

    def schema(self) -> int:
        """Find the pairs whose column names are contained; return the bytes read."""
        edges = candidate_edges(
            [
                {column.name: column.family for column in table.columns}
                for table in self.tables.reader.tables
            ],
            self.config.column_names == "folded",
            self.config.ignore_columns,
        )
        everything = np.arange(len(edges))
        decided, settled = (
            (everything, everything[:0])
            if self.scope is None
            else self.scope.divided(edges)
        )
        before = len(self.tables.reader.tables)
        edges, self.statistics = in_text(
            self.tables, edges.take(np.concatenate([decided, settled])), self.statistics
        )
        self.sketch_memory.extend(self.tables.reader.tables[before:])
        self.pair_memory.extend(self.tables.reader.tables[before:])
        ends = edges.child[len(decided) :], edges.parent[len(decided) :]
        self._settled = TablePairs(*ends)
        self._schema = edges = edges.take(everything[: len(decided)])
        self.findings = Findings(TablePairs(edges.child, edges.parent))
        incomparable = np.flatnonzero(edges.incomparable >= 0)
        reasons = told.incomparable(self.tables, edges.take(incomparable))
        self.findings.cannot_compare(incomparable, "schema", reasons)
        return 0

    def min_max(self) -> int:
        """Refute pairs by the bounds in footers; return the bytes read."""
        self._by_bounds("min_max", self.statistics, "")
        return 0

    def sketch(self) -> int:
        """Sketch what is left to compare, refute by it; return the bytes read."""
        read = self._sketch_tables()
        self._without_unreadable()
        sketched = self.sketches.statistics
        self.bounds = [
            {**known, **sketched.get(i, {})} for i, known in enumerate(self.statistics)
        ]
        self._by_bounds("sketch", self.bounds, ", as its sketch pass found")
        pairs = self.findings.open()
        refuted = self.sketches.refute(self.tables, self._edges(pairs), self.bag)
        lost = np.flatnonzero(refuted.missing)
        reasons = told.missing(self.tables, self._edges(pairs), refuted, lost)
        self.findings.refute(pairs[lost], "sketch", reasons)
        self.missing_values += [
            (int(pairs[i]), refuted.column[i], int(refuted.witness[i]))
            for i in lost.tolist()
        ]
        return read

    def sample(self) -> int:
        """Look the rows that the sketches keep up in the parents; return bytes read."""
        pairs = self.findings.open()
        verdicts, read = self._counted("sample", pairs, self.counting.sampled)
        pairs, verdicts = self._sound(pairs, verdicts, "sample")
        self._settle_exact(pairs[verdicts.exact], verdicts.take(verdicts.exact))
        lost = ~verdicts.exact & ~verdicts.contained(self.bag)
        some = verdicts.take(lost)
        kind = "rows" if self.bag else "distinct rows"
        reasons = [
            f"{count - there:,} of {count:,} sampled {kind} are not in the parent"
            for count, there in some.counts(self.bag)
        ]
        self._refute_rows(pairs[lost], "sample", reasons, some)
        return read

    def content(self) -> int:
        """Compare all rows of the pairs that are left; return the bytes read."""
        pairs = self.findings.open()
        verdicts, read = self._counted("content", pairs, self.counting.verified)
        self._settle_exact(*self._sound(pairs, verdicts, "content"))
        return read

    def partial(self) -> tuple[int, int, int]:
        """Count how much of a nearly contained child its parent holds.

        Returns how many pairs were suggested and found, and the bytes read.
        """
        if not self.config.partial.enabled:
            return 0, 0, 0
        pairs = self.findings.refuted()
        pairs = pairs[np.isnan(self.findings.containment[pairs])]
        chosen = partial.candidates(
            self.tables, self.sketches, self._edges(pairs), self.config.partial
        )
        pairs = pairs[chosen]
        suggested = len(pairs)
        verdicts, read = self._counted("partial", pairs, self.counting.measured)
        pairs, verdicts = self._sound(pairs, verdicts, "partial")
        share = verdicts.containment(self.bag)
        near = verdicts.exact & (share >= self.config.partial.min_containment)
        self.findings.count_partial(pairs[near], share[near])
        positions = verdicts.witness(self.bag)[near].tolist()
        self.missing_rows += zip(pairs[near].tolist(), positions, strict=True)
        return suggested, int(near.sum()), read

    def _edges(self, pairs: Ints) -> TablePairs:
        return self.findings.edges.take(pairs)

    def _by_bounds(self, stage: str, statistics: Statistics, how: str) -> None:
        pairs = self.findings.open()
        some = self._schema.take(pairs)
        keys = refuting_keys(some, statistics, self.bag)
        lost = np.flatnonzero(keys >= 0)
        reasons, witnesses = told.by_bounds(
            self.tables, some.take(lost), keys[lost], statistics, self.bag
        )
        self.findings.refute(pairs[lost], stage, [f"{text}{how}" for text in reasons])
        self.findings.tell(pairs[lost], "witness", witnesses)

    def look_at_bounds(self) -> None:
        """Say in `wanted` what is to be sketched, since footers have spoken."""
        pairs = self.findings.open()
        partial_too = self.config.partial.enabled and self.config.partial.read_all
        if partial_too or self.config.derived.unions:
            pairs = np.flatnonzero(~self.findings.incomparable)
        ends = zip(self._edges(pairs), self._settled, strict=True)
        wanted = sketches.wanted_of(
            self.tables,
            TablePairs(*map(np.concatenate, ends)),
            sketches.unknown_bounds(self.statistics),
            sketches.unsure_texts(self.tables, self.config.input.check_text_mb * _MB),
        )
        if self.config.derived.renamed:
            wanted = sketches.with_all(self.tables, wanted)
        if self.scope is not None:
            base, sketched = self.tables.own_numbers(), self.scope.sketched
            wanted = [item for item in wanted if sketched[base[item.table]]]
        self.wanted = wanted

    def _sketch_tables(self) -> int:
        """Sketch the tables that open pairs name, noting what is done as it goes."""
        self.look_at_bounds()
        read, kept = sketches.divided(self.wanted, self.sketch_memory.known())
        sketched = [kept]
        for some in chunks(read, lambda w: self.tables.bytes_of({w.table: w.columns})):
            new = sketches.sketch_tables(self.engine, self.tables, some, self.sizes)
            self.engine.clear()
            self.sketch_memory.remember(new)
            sketched.append(new.table)
        self.sketches = self.counting.sketches = Sketches(
            pa.concat_tables(sketched), self.sizes
        )
        return self.tables.bytes_of({item.table: item.columns for item in read})

    def _without_unreadable(self) -> None:
        """Settle the pairs of tables whose rows cannot be read."""
        broken = self.sketches.unreadable
        if not broken:
            return
        open_pairs = self.findings.open()
        pairs = zip(open_pairs.tolist(), *self._edges(open_pairs), strict=True)
        lost = {
            i: name
            for i, *pair in pairs
            if (name := next((t for t in map(int, pair) if t in broken), None))
            is not None
        }
        reasons = [
            f"{self.tables.reader.tables[t].name}: {broken[t]}" for t in lost.values()
        ]
        self.findings.cannot_compare(np.array([*lost], np.int64), "sketch", reasons)

    def _counted(
        self,
        what: str,
        pairs: Ints,
        count: Callable[[TablePairs], Iterator[Counted]],
    ) -> tuple[Verdicts, int]:
        return self.counting.counted(what, pairs, self._edges(pairs), count)

    def _sound(
        self, counted: Ints, verdicts: Verdicts, stage: str
    ) -> tuple[Ints, Verdicts]:
        """Settle the pairs that failed as incomparable; return the others."""
        failed, self.counting.failed = self.counting.failed, {}
        if not failed:
            return counted, verdicts
        pairs = np.array([*failed], np.int64)
        self.findings.cannot_compare(pairs, stage, [*failed.values()])
        sound = ~np.isin(counted, pairs)
        return counted[sound], verdicts.take(sound)

    def consistent(self) -> int:
        """Let rows decide where verdicts contradict each other; return bytes read.

        Raises RunError if a contradiction is left: nothing of the scan can be trusted.
        """
        pairs = contradicted(self.findings)
        if not len(pairs):
            return 0
        self.findings.reopen(pairs)
        counted, read = self._counted("content", pairs, self.counting.verified)
        self._settle_exact(*self._sound(pairs, counted, "content"))
        left = contradicted(self.findings)
        if len(left):
            tables = self.tables.reader.tables
            child, parent = (tables[int(side[0])].name for side in self._edges(left))
            raise RunError(
                f"{child} is not in {parent}, although other verdicts of the scan say"
                " so; please report it, and scan into a new folder"
            )
        return read

    def _settle_exact(self, pairs: Ints, verdicts: Verdicts) -> None:
        """Settle pairs all of whose rows were compared."""
        exactness = self.exactness
        held = verdicts.contained(self.bag)
        kind = "rows" if self.bag else "distinct rows"
        self.findings.confirm(
            pairs[held],
            [
                f"all {count:,} {kind} are in the parent"
                f"{told.inexact(self.tables, self.findings.edges, pair, exactness)}"
                if count
                else "it has no rows"
                for pair, (count, _) in zip(
                    pairs[held].tolist(),
                    verdicts.take(held).counts(self.bag),
                    strict=True,
                )
            ],
        )
        lost = verdicts.take(~held)
        reasons = [
            f"{count - there:,} of {count:,} {kind} are not in the parent"
            for count, there in lost.counts(self.bag)
        ]
        self._refute_rows(pairs[~held], "content", reasons, lost)
        self.findings.containment[pairs[~held]] = lost.containment(self.bag)

    def _refute_rows(
        self, pairs: Ints, stage: str, reasons: Sequence[str], verdicts: Verdicts
    ) -> None:
        self.findings.refute(pairs, stage, reasons)
        witness = verdicts.witness(self.bag).tolist()
        self.missing_rows += zip(pairs.tolist(), witness, strict=True)


def sizes_of(config: LakeConfig) -> Sizes:
    """Return the sizes of a recipe's sketches."""
    num_perm = config.sketch.num_perm if config.partial.enabled else 0
    return Sizes(config.sketch.kmv, config.content.sample_rows, num_perm)
