"""Pairs of an earlier scan: which of them stand, and what they say of their tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.lake.compare.findings import STAGES, Findings
from winnow.lake.compare.hashed_tables import TablePairs
from winnow.lake.earlier import EarlierScan
from winnow.lake.texts import searched_pairs

Ints = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]

#: Stages whose refuted pairs may be suggested for counting.
_UNCOUNTED = ("min_max", "sketch", "sample")


class KeptPairs:
    """The pairs of an earlier scan, by where they stand in its edges.

    A table has its number among the lake's names now, or −1.
    """

    def __init__(self, earlier: EarlierScan, names: Sequence[str]) -> None:
        self._edges, self._tables = earlier.edges, earlier.tables
        self._names = pa.array(names, pa.string())
        self.ends = TablePairs(
            *(self._numbers(self._edges[side]) for side in ("child", "parent"))
        )
        self._relation = _codes(self._edges["relation"], _RELATIONS)
        self._refuted_by = _codes(self._edges["refuted_by"], STAGES)
        self._stage = _codes(self._edges["stage"], STAGES)
        self._kept = (self.ends.child >= 0) & (self.ends.parent >= 0)

    def _numbers(self, names: pa.ChunkedArray) -> Ints:
        return _places(names, self._names)

    def failed(self) -> Ints:
        """Return the tables whose rows, or of pairs of which, could not be read."""
        numbers = self._numbers(self._tables["table"])
        unread = pc.equal(self._tables["readable"], False).fill_null(False)
        unread = pc.and_(
            unread, pc.greater(pc.list_value_length(self._tables["columns"]), 0)
        )
        some = numbers[unread.to_numpy(zero_copy_only=False)]
        broken = (self._relation == _RELATIONS.index("incomparable")) & (
            self._stage != STAGES.index("schema")
        )
        ends = np.union1d(some, self.ends.child[broken])
        return ends[ends >= 0]

    def drop(self, changed: _Mask) -> None:
        """Take back the pairs of changed tables."""
        self._kept &= ~(changed[self.ends.child] | changed[self.ends.parent])

    def decide_again(self, pairs: Ints) -> None:
        """Take back some pairs."""
        self._kept[pairs] = False

    def lost_ends(self) -> _Mask:
        """Return (n,) which tables are in a pair that does not stand."""
        lost = np.zeros(len(self._names), np.bool_)
        for side in self.ends:
            some = side[~self._kept]
            lost[some[some >= 0]] = True
        return lost

    @property
    def _comparable(self) -> _Mask:
        return np.asarray(self._relation != _RELATIONS.index("incomparable"), np.bool_)

    def open_of(self, touched: _Mask, read_all: bool) -> Ints:
        """Return the pairs of some tables that footers left open, or all of them."""
        some = self._kept & self._comparable
        if not read_all:
            some &= self._refuted_by != STAGES.index("min_max")
        return np.flatnonzero(some & self._of(touched))

    def suggestible(self, tables: _Mask) -> Ints:
        """Return the pairs of some tables that may be counted, as sketches suggest."""
        stages = [STAGES.index(name) for name in _UNCOUNTED]
        some = self._kept & self._comparable & np.isin(self._refuted_by, stages)
        return np.flatnonzero(some & self._of(tables))

    def _of(self, tables: _Mask) -> _Mask:
        return np.asarray(tables[self.ends.child] | tables[self.ends.parent], np.bool_)

    def contained(self) -> Ints:
        """Return the pairs that are proven containments."""
        return np.flatnonzero(self._kept & self._held)

    @property
    def _held(self) -> _Mask:
        """Which pairs are containments, whether or not they stand."""
        return np.asarray(
            (self._relation == _RELATIONS.index("contained"))
            | (self._relation == _RELATIONS.index("duplicate")),
            np.bool_,
        )

    def standing(self, pairs: Ints) -> Ints:
        """Return those of some pairs that stand."""
        return pairs[self._kept[pairs]]

    def left_after(self, stage: str) -> int:
        """Return how many pairs a stage left over; see `Findings.left_after`."""
        last = STAGES.index(stage)
        lost = (self._refuted_by >= 0) & (self._refuted_by <= last)
        lost |= ~self._comparable & (self._stage <= last)
        return int((self._kept & ~lost).sum())

    def with_findings(
        self, ends: TablePairs, findings: Findings
    ) -> tuple[TablePairs, _Mask, Ints, npt.NDArray[np.float64]]:
        """Return the pairs that stand and new ones, as `contradictions` takes them."""
        kept = np.flatnonzero(self._kept)
        both = TablePairs(
            *map(np.concatenate, zip(self.ends.take(kept), ends, strict=True))
        )
        held = self._held[kept]
        contained = np.append(held, findings.contained)
        comparable = np.append(self._comparable[kept], ~findings.incomparable)
        share = self._edges["containment"].to_numpy()[kept]
        containment = np.append(share, findings.containment)
        return both, contained, np.flatnonzero(~contained & comparable), containment

    @cached_property
    def _sorted_names(self) -> pa.Array:
        return self._tables["table"].combine_chunks()

    def sizes(self, names: Sequence[str]) -> Ints:
        """Return (n,) the stored bytes of tables by name; 0 for those not known."""
        stored = pc.index_in(pa.array(names, pa.string()), self._sorted_names)
        sizes: Ints = self._tables["bytes"].take(stored).fill_null(0).to_numpy().copy()
        return sizes

    def searched_before(self, most_mb: float) -> Ints:
        """Return the pairs whose shortest query the earlier scan looked for."""
        mask = self._held
        pairs = np.flatnonzero(mask)
        ends = [
            _places(self._edges[side], self._sorted_names)[pairs]
            for side in ("child", "parent")
        ]
        stored = self._tables["bytes"].to_numpy()
        size = stored[ends[0]] + stored[ends[1]]
        chosen: Ints = pairs[searched_pairs(TablePairs(*ends), size, most_mb)]
        return chosen

    def merged(
        self, new: pa.Table, ends: TablePairs, told: Ints, queries: Sequence[str | None]
    ) -> tuple[pa.Table, bool]:
        """Return EDGES of the pairs that stand and of new ones, and whether it differs.

        ends: the new pairs' tables by number; queries: of the kept pairs `told`.
        """
        kept, lost = np.flatnonzero(self._kept), np.flatnonzero(~self._kept)
        differs = self._edges.take(lost).combine_chunks().cast(new.schema) != new
        edges = self._edges
        if len(told):
            differs = True
            column = edges.schema.get_field_index("rebuild_sql")
            texts = edges["rebuild_sql"].to_pylist()
            for row, text in zip(told.tolist(), queries, strict=True):
                texts[row] = text
            edges = edges.set_column(
                column, "rebuild_sql", pa.array(texts, pa.string())
            )
        width = len(self._names)
        before = self.ends.take(kept)
        codes = before.child * width + before.parent
        places = np.searchsorted(codes, ends.child * width + ends.parent)
        # Before which of all pairs, those that do not stand included.
        places = np.append(kept, len(edges))[places]
        return _merged(edges, lost, places, new), bool(differs)


_RELATIONS = ("duplicate", "contained", "partial", "refuted", "incomparable")


def _merged(edges: pa.Table, lost: Ints, places: Ints, new: pa.Table) -> pa.Table:
    """Return sorted rows without some, and with new ones before others.

    lost, places: row numbers, rising.
    """
    parts, start, taken = [], 0, 0
    for stop in np.union1d(lost, places).tolist():
        parts.append(edges.slice(start, stop - start))
        count = int(np.searchsorted(places, stop, "right")) - taken
        parts.append(new.slice(taken, count))
        start, taken = stop, taken + count
        if np.searchsorted(lost, stop) < np.searchsorted(lost, stop, "right"):
            start += 1
    parts.append(edges.slice(start))
    plain = [part.cast(new.schema) for part in parts if len(part)]
    return pa.concat_tables([new.slice(0, 0), *plain])


def _codes(values: pa.ChunkedArray, names: Sequence[str]) -> npt.NDArray[np.int8]:
    return _places(values, pa.array(names, pa.string())).astype(np.int8)


def _places(values: pa.ChunkedArray, among: pa.Array) -> Ints:
    """Return (n,) where each value stands among others; −1 for null and for no place.

    Of values with a dictionary, each that it holds is looked up once.
    """
    if not pa.types.is_dictionary(values.type):
        places = pc.fill_null(pc.index_in(values, among), -1)
        return np.asarray(places.to_numpy(), np.int64)
    parts = [np.empty(0, np.int64)]
    for chunk in values.chunks:
        # One more code stands for null.
        known = pc.fill_null(pc.index_in(chunk.dictionary, among), -1)
        held = np.append(known.to_numpy(), -1).astype(np.int64)
        codes = chunk.indices.fill_null(len(chunk.dictionary))
        parts.append(held[codes.to_numpy(zero_copy_only=False)])
    return np.concatenate(parts)


class AlikeTables:
    """Tables by the names under which their columns are compared."""

    def __init__(self, graph: pa.Table, names: Sequence[str]) -> None:
        tables = graph.filter(pc.equal(graph["table"], graph["identity"]))
        numbers = pc.index_in(tables["table"], pa.array(names, pa.string()))
        self._number = pc.fill_null(numbers, -1).to_numpy().astype(np.int64)
        keys = tables["keys"].combine_chunks()
        self._size = pc.list_value_length(keys).to_numpy()
        self._owner = np.repeat(np.arange(len(tables)), self._size)
        encoded = pc.list_flatten(keys).dictionary_encode()
        self._codes = encoded.indices.to_numpy()
        self._words = encoded.dictionary
        self._tables = len(names)

    def of(self, changed: Iterable[tuple[str, ...]]) -> _Mask:
        """Return (n,) which tables hold all columns of a changed one, or only its."""
        near = np.zeros(self._tables, np.bool_)
        for keys in {keys for keys in changed if keys}:
            known = pc.index_in(pa.array(keys, pa.string()), self._words)
            mine = np.zeros(len(self._words), np.bool_)
            mine[known.drop_null().to_numpy()] = True
            shared = np.bincount(
                self._owner[mine[self._codes]], minlength=len(self._size)
            )
            both = (shared == len(keys)) | ((shared == self._size) & (self._size > 0))
            numbers = self._number[both]
            near[numbers[numbers >= 0]] = True
        return near
