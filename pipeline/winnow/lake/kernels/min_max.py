"""Containments that bounds and counts alone rule out.

A → B is refuted only by what is certain (R2D2's second stage, made sound for bounds
that are no values): a value that occurs in A lies outside B's outer bounds; the outer
bounds of both are disjoint and A has a value; A has nulls and B none; A has values and
B nulls only. Whatever is unknown keeps the pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from winnow.lake.kernels.schema_graph import SchemaEdges
from winnow.lake.kernels.tables import ColumnStatistics, Family, Value

_Indices = npt.NDArray[np.int64]
_CHUNK = 1 << 18
#: Rank of an unknown upper bound; an unknown lower bound has the rank -1.
_ABOVE_ALL = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Refutation:
    """Why a child cannot be contained in a parent."""

    reason: str
    #: A value of the child that the parent lacks; None if none is known, or if it is
    #: null (`null` says which).
    witness: Value | None = None
    null: bool = False


def refute(
    child: ColumnStatistics, parent: ColumnStatistics, family: Family, bag: bool = False
) -> Refutation | None:
    """Return why the child's column cannot be contained in the parent's, or None.

    Both are of families that can be compared; `family` only puts values in words. With
    `bag` rows count as often as they occur.
    """
    if child.rows and not parent.rows:
        return Refutation("the parent has no rows")
    if bag and child.rows > parent.rows:
        return Refutation(f"{child.rows} rows cannot be among {parent.rows}")
    refutation = _by_nulls(child, parent, bag)
    return (
        refutation
        or _by_values(child, parent, family)
        or _by_gap(child, parent, family)
    )


def refute_edge(
    child: Mapping[str, ColumnStatistics],
    parent: Mapping[str, ColumnStatistics],
    columns: Mapping[str, Family],
    bag: bool = False,
) -> tuple[str, Refutation] | None:
    """Return the first of `columns` that refutes a pair of tables, and why.

    The statistics are by matching key (`schema_graph.matching_names`); `columns` are
    the child's keys.
    """
    for key, family in sorted(columns.items()):
        refutation = refute(child[key], parent[key], family, bag)
        if refutation is not None:
            return key, refutation
    return None


def refuting_keys(
    edges: SchemaEdges,
    statistics: Sequence[Mapping[str, ColumnStatistics]],
    bag: bool = False,
) -> _Indices:
    """Return for each edge the position in `edges.keys` that refutes it, or -1.

    The same verdicts as `refute_edge`, for all edges at once. `statistics[i]` are those
    of table i by matching key; edges must be comparable.
    """
    named = np.zeros(len(statistics), np.bool_)
    named[edges.child] = named[edges.parent] = True
    bounds = _Bounds(
        edges.keys,
        [s if known else {} for s, known in zip(statistics, named, strict=True)],
    )
    refuting = np.full(len(edges), -1, np.int64)
    for start in range(0, len(edges), _CHUNK):
        part = slice(start, start + _CHUNK)
        refuting[part] = bounds.refuting(edges.child[part], edges.parent[part], bag)
    return refuting


def in_words(value: Value, family: Family) -> str:
    """Return a bound as a person would write it; long text is cut."""
    if isinstance(value, bytes):
        text = value.decode(errors="replace") if family is Family.TEXT else value.hex()
        return repr(text if len(text) <= 40 else f"{text[:40]}…")
    if family in _INSTANTS and isinstance(value, int):
        try:
            when = _EPOCH + timedelta(microseconds=value // 1000)
        except OverflowError:
            return f"{value} ns since 1970"
        return _INSTANTS[family](when) + (f"+{value % 1000}ns" if value % 1000 else "")
    return str(value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANTS: Mapping[Family, Callable[[datetime], str]] = {
    Family.DATE: lambda when: when.date().isoformat(),
    Family.NAIVE: lambda when: when.replace(tzinfo=None).isoformat(" "),
    Family.ZONED: lambda when: when.isoformat(" "),
    Family.TIME: lambda when: when.time().isoformat(),
}


def _by_nulls(
    child: ColumnStatistics, parent: ColumnStatistics, bag: bool
) -> Refutation | None:
    if child.nulls and parent.nulls == 0:
        return Refutation("it has nulls, and the parent none", null=True)
    if bag and None not in (child.nulls, parent.nulls):
        more = (child.nulls or 0) > (parent.nulls or 0)
        if more:
            return Refutation(f"{child.nulls} nulls, the parent only {parent.nulls}")
    if child.has_value and parent.vacant:
        return Refutation("the parent has nulls only", child.low_certain)
    return None


def _by_values(
    child: ColumnStatistics, parent: ColumnStatistics, family: Family
) -> Refutation | None:
    for value in (child.low_certain, child.high_certain):
        if value is None:
            continue
        if parent.low is not None and _less(value, parent.low):
            bound, side = parent.low, "below"
        elif parent.high is not None and _less(parent.high, value):
            bound, side = parent.high, "above"
        else:
            continue
        words, limit = in_words(value, family), in_words(bound, family)
        return Refutation(f"{words} is {side} the parent's bound {limit}", value)
    return None


def _by_gap(
    child: ColumnStatistics, parent: ColumnStatistics, family: Family
) -> Refutation | None:
    if not child.has_value:
        return None
    for one, other, side in (
        (parent.high, child.low, "above"),
        (child.high, parent.low, "below"),
    ):
        if one is not None and other is not None and _less(one, other):
            parents = one if side == "above" else other
            words = in_words(parents, family)
            return Refutation(f"all its values are {side} the parent's bound {words}")
    return None


def _less(one: Value, other: Value) -> bool:
    return one < other  # type: ignore[operator]


class _Bounds:
    """Statistics of all tables as arrays; a bound is its rank among those of its key.

    Ranks of exact Python values stay exact where floats of them would not.
    """

    def __init__(
        self,
        keys: Sequence[str],
        statistics: Sequence[Mapping[str, ColumnStatistics]],
    ) -> None:
        position = {key: i for i, key in enumerate(keys)}
        slots = sorted(
            (table, position[key], key)
            for table, columns in enumerate(statistics)
            for key in columns
            if key in position
        )
        known = [statistics[table][key] for table, _, key in slots]
        self._width = len(keys)
        self._key = np.array([key for _, key, _ in slots], np.int64)
        self._table = np.array([table for table, _, _ in slots], np.int64)
        self._rows = np.array([c.rows for c in known], np.int64)
        self._nulls = np.array(
            [-1 if c.nulls is None else c.nulls for c in known], np.int64
        )
        self._has_value = np.array([c.has_value for c in known], bool)
        ranks = _ranks(self._key, known)
        self._low, self._high, self._low_certain, self._high_certain = ranks
        self._first = np.searchsorted(self._table, np.arange(len(statistics) + 1))

    def refuting(self, child: _Indices, parent: _Indices, bag: bool) -> _Indices:
        """Return for each pair the first refuting key of the child, or -1."""
        columns = self._first[child + 1] - self._first[child]
        edge = np.repeat(np.arange(len(child)), columns)
        inside = np.arange(len(edge)) - np.repeat(np.cumsum(columns) - columns, columns)
        one = self._first[child][edge] + inside
        codes = self._table * self._width + self._key
        other = np.searchsorted(codes, parent[edge] * self._width + self._key[one])
        refuted = np.flatnonzero(self._refuted(one, other, bag))
        edges, first = np.unique(edge[refuted], return_index=True)
        keys = np.full(len(child), -1, np.int64)
        keys[edges] = self._key[one[refuted[first]]]
        return keys

    def _refuted(self, a: _Indices, b: _Indices, bag: bool) -> npt.NDArray[np.bool_]:
        """Whether column slot a[i] cannot be contained in slot b[i]."""
        low, high = self._low[b], self._high[b]
        refuted: npt.NDArray[np.bool_] = (self._rows[a] > 0) & (self._rows[b] == 0)
        refuted |= (self._nulls[a] > 0) & (self._nulls[b] == 0)
        vacant = self._nulls[b] == self._rows[b]
        apart = vacant | (self._low[a] > high) | (self._high[a] < low)
        refuted |= self._has_value[a] & apart
        for certain in (self._low_certain[a], self._high_certain[a]):
            refuted |= (certain >= 0) & ((certain < low) | (certain > high))
        if bag:
            refuted |= self._rows[a] > self._rows[b]
            refuted |= (self._nulls[b] >= 0) & (self._nulls[a] > self._nulls[b])
        return refuted


def _ranks(key: _Indices, columns: Sequence[ColumnStatistics]) -> list[_Indices]:
    """Return the ranks of low, high, low_certain and high_certain of each column.

    Equal values of one key have one rank, whatever their Python type. Text and other
    values are never compared, so each are ranked among themselves.
    """
    names = ("low", "high", "low_certain", "high_certain")
    values = [[getattr(column, name) for column in columns] for name in names]
    groups: dict[tuple[int, bool], set[Value]] = defaultdict(set)
    for side in values:
        for k, value in zip(key.tolist(), side, strict=True):
            if value is not None:
                groups[k, isinstance(value, bytes)].add(value)
    rank = {
        group: {value: i for i, value in enumerate(sorted(distinct))}
        for group, distinct in groups.items()
    }
    unknown = {"high": _ABOVE_ALL}
    return [
        np.array(
            [
                unknown.get(name, -1)
                if value is None
                else rank[k, isinstance(value, bytes)][value]
                for k, value in zip(key.tolist(), side, strict=True)
            ],
            np.int64,
        )
        for name, side in zip(names, values, strict=True)
    ]
