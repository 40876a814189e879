"""The stages of a lake's scan: each settles pairs of tables by as little as it can.

Schema and min-max read footers only; the sketch pass reads the columns that pairs still
name, once; samples and content read the tables of the pairs that are left. What an
earlier scan worked out of tables that did not change is not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.config.lake import LakeConfig
from winnow.core.engine import Engine
from winnow.core.errors import RunError
from winnow.lake.compare import partial, sketches
from winnow.lake.compare.findings import Findings
from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.compare.sketched import Refuted, Sketches
from winnow.lake.compare.verdicts import Verdicts, nothing_looked_up
from winnow.lake.compare.witness import bound_witness
from winnow.lake.consistency import contradicted
from winnow.lake.counting import Counted, Counting, chunks
from winnow.lake.files.compared_as_text import may_have_text
from winnow.lake.files.exact_types import same_type
from winnow.lake.kernels.min_max import refute, refuting_keys
from winnow.lake.kernels.schema_graph import SchemaEdges, candidate_edges
from winnow.lake.kernels.table_sketch import Sizes
from winnow.lake.kernels.tables import ColumnStatistics, Family, Table
from winnow.lake.memory import PairMemory, SketchMemory

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
    sketches: Sketches = field(init=False)
    findings: Findings = field(init=False)
    #: Where the sketches of a refuted pair's child say the missing value stands:
    #: (pair, compared name or None for the row, position).
    missing_values: list[tuple[int, str | None, int]] = field(default_factory=list)
    #: Likewise for pairs whose rows were compared: (pair, position).
    missing_rows: list[tuple[int, int]] = field(default_factory=list)
    #: Statistics as footers and sketches have them together.
    bounds: Statistics = field(init=False)
    _schema: SchemaEdges = field(init=False)
    _counting: Counting = field(init=False)

    def __post_init__(self) -> None:
        self._counting = Counting(self.config, self.engine, self.tables)

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
        self._schema = edges = self._in_text(edges)
        self.findings = Findings(TablePairs(edges.child, edges.parent))
        incomparable = np.flatnonzero(edges.incomparable >= 0)
        reasons = [self._incomparable(i) for i in incomparable.tolist()]
        self.findings.cannot_compare(incomparable, "schema", reasons)
        return 0

    def _in_text(self, edges: SchemaEdges) -> SchemaEdges:
        """Compare inferred columns by their text where their types do not agree."""
        tables = self.tables.reader.tables
        inferred = np.array([may_have_text(table) for table in tables], np.bool_)
        lines = np.array([table.format == "jsonl" for table in tables], np.bool_)
        some = inferred[edges.child] | inferred[edges.parent]
        some &= (edges.incomparable >= 0) | (lines[edges.child] & lines[edges.parent])
        before = len(tables)
        child, parent, lost = (
            side.copy() for side in (edges.child, edges.parent, edges.incomparable)
        )
        for i in np.flatnonzero(some).tolist():
            pair = self.tables.paired(int(child[i]), int(parent[i]))
            if pair is not None:
                child[i], parent[i], lost[i] = *pair, -1
        new = list(tables[before:])
        original = {number: table for (table, _), number in self.tables.others.items()}
        self.statistics = [
            *self.statistics,
            *(
                _of_text(
                    self.statistics[original[number]], self.tables.names[number], table
                )
                for number, table in enumerate(new, before)
            ),
        ]
        self.sketch_memory.extend(new)
        self.pair_memory.extend(new)
        return SchemaEdges(child, parent, lost, edges.keys)

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
        reasons = [self._missing(int(pairs[i]), refuted, i) for i in lost.tolist()]
        self.findings.refute(pairs[lost], "sketch", reasons)
        self.missing_values += [
            (int(pairs[i]), refuted.column[i], int(refuted.witness[i]))
            for i in lost.tolist()
        ]
        return read

    def sample(self) -> int:
        """Look the rows that the sketches keep up in the parents; return bytes read."""
        pairs = self.findings.open()
        verdicts, read = self._counted("sample", pairs, self._counting.sampled)
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
        verdicts, read = self._counted("content", pairs, self._counting.verified)
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
        verdicts, read = self._counted("partial", pairs, self._counting.measured)
        pairs, verdicts = self._sound(pairs, verdicts, "partial")
        share = verdicts.containment(self.bag)
        near = verdicts.exact & (share >= self.config.partial.min_containment)
        self.findings.count_partial(pairs[near], share[near])
        positions = verdicts.witness(self.bag)[near].tolist()
        self.missing_rows += zip(pairs[near].tolist(), positions, strict=True)
        return suggested, int(near.sum()), read

    def _edges(self, pairs: Ints) -> TablePairs:
        return self.findings.edges.take(pairs)

    def _incomparable(self, i: int) -> str:
        key = self._schema.keys[self._schema.incomparable[i]]
        one, other = (
            self.tables.reader.tables[t].column(self.tables.names[t][key]).family
            for t in (int(self._schema.child[i]), int(self._schema.parent[i]))
        )
        return f"column {key}: {one} in the child, {other} in the parent"

    def _by_bounds(self, stage: str, statistics: Statistics, how: str) -> None:
        pairs = self.findings.open()
        keys = refuting_keys(self._schema.take(pairs), statistics, self.bag)
        lost = np.flatnonzero(keys >= 0)
        reasons, witnesses = [], []
        told: dict[tuple[Any, ...], str | None] = {}
        for i, k in zip(pairs[lost].tolist(), keys[lost].tolist(), strict=True):
            key = self._schema.keys[k]
            child, parent = int(self._schema.child[i]), int(self._schema.parent[i])
            name = self.tables.names[child][key]
            family = self.tables.reader.tables[child].column(name).family
            refutation = refute(
                statistics[child][key], statistics[parent][key], family, self.bag
            )
            assert refutation is not None
            reasons.append(f"column {name}: {refutation.reason}{how}")
            # Few values of a child witness against all of its parents.
            value = child, k, refutation.null, refutation.witness
            if value not in told:
                told[value] = bound_witness(name, refutation, family)
            witnesses.append(told[value])
        self.findings.refute(pairs[lost], stage, reasons)
        self.findings.tell(pairs[lost], "witness", witnesses)

    def _sketch_tables(self) -> int:
        """Sketch the tables that open pairs name, noting what is done as it goes."""
        pairs = self.findings.open()
        partial_too = self.config.partial.enabled and self.config.partial.read_all
        if partial_too or self.config.derived.unions:
            pairs = np.flatnonzero(~self.findings.incomparable)
        wanted = sketches.wanted_of(
            self.tables,
            self._edges(pairs),
            sketches.unknown_bounds(self.statistics),
            sketches.unsure_texts(self.tables, self.config.input.check_text_mb * _MB),
        )
        if self.config.derived.renamed:
            wanted = sketches.with_all(self.tables, wanted)
        read, kept = sketches.divided(wanted, self.sketch_memory.known())
        sketched = [kept]
        for some in chunks(read, lambda w: self.tables.bytes_of({w.table: w.columns})):
            new = sketches.sketch_tables(self.engine, self.tables, some, self.sizes)
            self.engine.clear()
            self.sketch_memory.remember(new)
            sketched.append(new.table)
        self.sketches = self._counting.sketches = Sketches(
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

    def _missing(self, pair: int, refuted: Refuted, i: int) -> str:
        column, others = refuted.column[i], int(refuted.missing[i]) - 1
        if column is None:
            return "a row in its sketch is not in the parent"
        name = self.tables.names[int(self._schema.child[pair])][column]
        more = f"; likewise in {others} more" if others else ""
        return f"column {name}: a value in its sketch is not in the parent{more}"

    def _counted(
        self,
        what: str,
        pairs: Ints,
        count: Callable[[TablePairs], Iterator[Counted]],
    ) -> tuple[Verdicts, int]:
        """Return verdicts on pairs, those known from before not worked out again."""
        edges = self._edges(pairs)
        known, verdicts = self.pair_memory.counted(what, edges)
        rest, read = np.flatnonzero(~known), 0
        if len(rest):
            numbers = pairs[rest]
            for places, counted, stored in self._counting.fenced(
                numbers, lambda some: count(self._edges(numbers[some]))
            ):
                self.engine.clear()
                some = rest[places]
                self.pair_memory.remember_counts(what, edges.take(some), counted)
                for column, values in zip(verdicts, counted, strict=True):
                    column[some] = values
                read += stored
        return verdicts, read

    def _sound(
        self, counted: Ints, verdicts: Verdicts, stage: str
    ) -> tuple[Ints, Verdicts]:
        """Settle the pairs that failed as incomparable; return the others."""
        failed, self._counting.failed = self._counting.failed, {}
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
        counted, read = self._counted("content", pairs, self._counting.verified)
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

    def compared_whole(self, edges: TablePairs) -> Verdicts:
        """Compare all rows of pairs that are none of the scan's; see `fenced`.

        What cannot be compared is not `exact`.
        """
        verdicts = nothing_looked_up(len(edges.child))
        verdicts.exact[:] = False

        def count(some: Ints) -> Iterator[Counted]:
            yield from self._counting.verified(edges.take(some))

        for places, counted, _ in self._counting.fenced(
            np.arange(len(edges.child)), count
        ):
            self.engine.clear()
            for column, values in zip(verdicts, counted, strict=True):
                column[places] = values
        self._counting.failed.clear()
        return verdicts

    def _settle_exact(self, pairs: Ints, verdicts: Verdicts) -> None:
        """Settle pairs all of whose rows were compared."""
        held = verdicts.contained(self.bag)
        kind = "rows" if self.bag else "distinct rows"
        self.findings.confirm(
            pairs[held],
            [
                f"all {count:,} {kind} are in the parent{self._other_type(pair)}"
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

    def _other_type(self, pair: int) -> str:
        """Say which column, the first by name, has equal values in another type."""
        edges, tables = self.findings.edges, self.tables
        ends = [int(side[pair]) for side in edges]
        names = [tables.names[table] for table in ends]
        for key in sorted(names[0]):
            one, other = (
                tables.reader.tables[table].column(by[key])
                for table, by in zip(ends, names, strict=True)
            )
            known = Family.NULL not in (one.family, other.family)
            if known and not same_type(one.type, other.type):
                types = f"{one.type} → {other.type}"
                return f"; column {one.name} is equal by value, type {types}"
        return ""

    def _refute_rows(
        self, pairs: Ints, stage: str, reasons: Sequence[str], verdicts: Verdicts
    ) -> None:
        self.findings.refute(pairs, stage, reasons)
        witness = verdicts.witness(self.bag).tolist()
        self.missing_rows += zip(pairs.tolist(), witness, strict=True)


def _of_text(
    statistics: Mapping[str, ColumnStatistics], names: Mapping[str, str], table: Table
) -> dict[str, ColumnStatistics]:
    """Return a table's statistics without the bounds of columns now read as text."""
    read = {name for name, _ in table.forms}
    return {
        key: ColumnStatistics(known.rows, known.nulls) if names[key] in read else known
        for key, known in statistics.items()
    }


def sizes_of(config: LakeConfig) -> Sizes:
    """Return the sizes of a recipe's sketches."""
    num_perm = config.sketch.num_perm if config.partial.enabled else 0
    return Sizes(config.sketch.kmv, config.content.sample_rows, num_perm)
