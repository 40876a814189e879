"""Rows of pairs counted: sampled, compared whole, or as far as they are shared.

What is counted comes in parts, each with the places of its pairs, their verdicts and
the stored bytes that were read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from winnow.config.lake import LakeConfig
from winnow.core.engine import Engine
from winnow.lake.compare import partial
from winnow.lake.compare.content import content_reads, verify_edges
from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.compare.sample import sample_edges, sample_reads
from winnow.lake.compare.sketched import Sketches
from winnow.lake.compare.verdicts import LostTables, Verdicts, nothing_looked_up
from winnow.lake.files.words import in_words
from winnow.lake.pair_memory import PairMemory

Ints = npt.NDArray[np.int64]
Counted = tuple[Ints, Verdicts, int]

_Item = TypeVar("_Item")
#: Stored bytes that are read between two notes of what was found.
_CHUNK_BYTES = 2 * 2**30


@dataclass
class Counting:
    """What counts the rows of a scan's pairs."""

    config: LakeConfig
    engine: Engine
    tables: HashedTables
    memory: PairMemory
    #: There once the tables are sketched.
    sketches: Sketches = field(init=False)
    #: Pairs that could not be compared just now, with the reason.
    failed: dict[int, str] = field(default_factory=dict)

    def counted(
        self,
        what: str,
        pairs: Ints,
        edges: TablePairs,
        count: Callable[[TablePairs], Iterator[Counted]],
    ) -> tuple[Verdicts, int]:
        """Return verdicts on numbered pairs, and the bytes that were read.

        Those known from before are not worked out again. See `fenced` for what fails.
        """
        known, verdicts = self.memory.counted(what, edges)
        rest, read = np.flatnonzero(~known), 0
        for places, counted, stored in self.fenced(
            pairs[rest], edges.take(rest), count
        ):
            self.engine.clear()
            some = rest[places]
            self.memory.remember_counts(what, edges.take(some), counted)
            for column, values in zip(verdicts, counted, strict=True):
                column[some] = values
            read += stored
        return verdicts, read

    def whole(self, edges: TablePairs) -> Verdicts:
        """Compare all rows of pairs that are none of the scan's; see `fenced`.

        What cannot be compared is not `exact`.
        """
        verdicts = nothing_looked_up(len(edges.child))
        verdicts.exact[:] = False
        for places, counted, _ in self.fenced(
            np.arange(len(edges.child)), edges, self.verified
        ):
            self.engine.clear()
            for column, values in zip(verdicts, counted, strict=True):
                column[places] = values
        self.failed.clear()
        return verdicts

    def fenced(
        self,
        pairs: Ints,
        edges: TablePairs,
        count: Callable[[TablePairs], Iterator[Counted]],
    ) -> Iterator[Counted]:
        """Count numbered pairs so that no table costs the others: what fails is halved.

        A pair that fails by itself, or for a table at which a process ended, is noted
        in `failed`, with the reason.
        """
        waiting = [np.arange(len(pairs))] if len(pairs) else []
        while waiting:
            some = waiting.pop()
            left = some
            try:
                for places, verdicts, stored in count(edges.take(some)):
                    left = np.setdiff1d(left, some[places])
                    yield some[places], verdicts, stored
            except LostTables as lost:
                self.engine.clear()
                sound = self._without(lost, pairs[left], edges.take(left))
                waiting += [left[sound]] if sound.any() else []
            except Exception as error:
                self.engine.clear()
                if len(left) == 1:
                    self.failed[int(pairs[left[0]])] = in_words(error)
                else:
                    waiting += [half for half in np.array_split(left, 2) if len(half)]

    def _without(
        self, lost: LostTables, pairs: Ints, edges: TablePairs
    ) -> npt.NDArray[np.bool_]:
        """Return which pairs have none of the lost tables; the others have failed."""
        sound = np.ones(len(pairs), np.bool_)
        for i, pair in enumerate(zip(*(side.tolist() for side in edges), strict=True)):
            reasons = [lost.reasons[table] for table in pair if table in lost.reasons]
            if reasons:
                self.failed[int(pairs[i])], sound[i] = reasons[0], False
        return sound

    def sampled(self, edges: TablePairs) -> Iterator[Counted]:
        """Look up the rows that the children's sketches keep."""
        verdicts = sample_edges(self.engine, self.tables, self.sketches, edges)
        reads = sample_reads(self.tables, self.sketches, edges)
        yield np.arange(len(edges.child)), verdicts, self.tables.bytes_of(reads)

    def verified(self, edges: TablePairs) -> Iterator[Counted]:
        """Compare all rows."""
        # Pairs whose children have the same columns share what is read.
        together: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for i, child in enumerate(edges.child.tolist()):
            together[self.tables.names_of(child)].append(i)

        def stored(some: list[int]) -> int:
            places = np.array(some)
            return self.tables.bytes_of(content_reads(self.tables, edges.take(places)))

        for groups in chunks(list(together.values()), stored):
            places = np.array([i for some in groups for i in some])
            chosen = edges.take(places)
            verdicts = verify_edges(self.engine, self.tables, chosen)
            reads = content_reads(self.tables, chosen)
            yield places, verdicts, self.tables.bytes_of(reads)

    def measured(self, edges: TablePairs) -> Iterator[Counted]:
        """Count how much of nearly contained children is held."""
        verdicts = partial.measure(
            self.engine,
            self.tables,
            self.sketches,
            edges,
            self.config.partial.min_containment,
        )
        whole = np.array(
            [self.sketches.kmv(c, None).complete for c in edges.child.tolist()]
        )
        read = self.tables.bytes_of(sample_reads(self.tables, self.sketches, edges))
        compared = edges.take(verdicts.exact & ~whole)
        read += self.tables.bytes_of(content_reads(self.tables, compared))
        yield np.arange(len(edges.child)), verdicts, read


def chunks(
    items: Iterable[_Item], size: Callable[[_Item], int]
) -> Iterator[list[_Item]]:
    """Yield runs of items of about `_CHUNK_BYTES` together."""
    some: list[_Item] = []
    total = 0
    for item in items:
        some.append(item)
        total += size(item)
        if total >= _CHUNK_BYTES:
            yield some
            some, total = [], 0
    if some:
        yield some
