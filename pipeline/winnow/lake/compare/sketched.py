"""The sketches of a lake on the driver: merged, compared, kept for the next scan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.kernels import kmv
from winnow.lake.kernels.kmv import Kmv, Stack
from winnow.lake.kernels.table_sketch import Sizes, Sketch, SketchesOfTable, merge
from winnow.lake.kernels.tables import ColumnStatistics

_HASHES = pa.list_(pa.uint64())
_NUMBERS = pa.list_(pa.int64())
#: One row per column that was read, and one (`column` null) for a table's rows.
SKETCHES = pa.schema(
    [
        ("table", pa.int32()),
        # The compared name.
        ("column", pa.string()),
        ("rows", pa.int64()),
        ("nulls", pa.int64()),
        ("hi", _HASHES),
        ("lo", _HASHES),
        ("position", _NUMBERS),
        ("repeats", _NUMBERS),
        ("complete", pa.bool_()),
        ("minhash", pa.list_(pa.uint32())),
        # JSON of a ColumnStatistics, where it was asked for.
        ("statistics", pa.string()),
        # Text of which not all is UTF-8.
        ("raw", pa.bool_()),
        # Why the table's rows cannot be read; nothing else is filled then.
        ("reason", pa.string()),
    ]
)
_LISTS = ("hi", "lo", "position", "repeats")


class Refuted(NamedTuple):
    """What sketches say of edges, all `(n,)`."""

    #: Columns (or the rows) of which the parent certainly lacks a value; 0: kept.
    missing: npt.NDArray[np.int64]
    #: Position of a row of the child that the parent lacks; −1 where the edge stays.
    witness: npt.NDArray[np.int64]
    #: The column whose value is missing; None where it is the row as a whole.
    column: Sequence[str | None]


class Sketches:
    """Sketches by table and compared column name, or None for the table's rows."""

    def __init__(self, table: pa.Table, sizes: Sizes) -> None:
        """Take SKETCHES rows; those of parts of a table are merged."""
        self.table = table = _whole(table, sizes)
        self.sizes = sizes
        tables, columns = table["table"].to_pylist(), table["column"].to_pylist()
        reasons = table["reason"].to_pylist()
        #: Tables whose rows cannot be read, with the reason.
        self.unreadable = {
            t: reason for t, reason in zip(tables, reasons, strict=True) if reason
        }
        keys = zip(tables, columns, strict=True)
        #: Columns of text that is not all UTF-8, as (table, compared name).
        self.raw = [
            (t, name)
            for t, name, raw in zip(
                tables, columns, table["raw"].to_pylist(), strict=True
            )
            if raw
        ]
        self._place = {
            key: i for i, key in enumerate(keys) if key[0] not in self.unreadable
        }
        #: The sketches' hashes one after another, in the order of `table`.
        self.stack = _stacked(table)

    @classmethod
    def from_named(
        cls, table: pa.Table, numbers: Mapping[str, int], sizes: Sizes
    ) -> Sketches:
        """Return what `named` made of another scan's; tables without a number are out.

        `sizes` must be the same in both scans.
        """
        known = table.filter(
            pc.is_in(table["table"], pa.array(list(numbers), pa.string()))
        )
        number = [numbers[name] for name in known["table"].to_pylist()]
        position = SKETCHES.get_field_index("table")
        numbered = known.set_column(position, "table", pa.array(number, pa.int32()))
        return cls(numbered.cast(SKETCHES), sizes)

    def named(self, names: Sequence[str]) -> pa.Table:
        """Return the sketches with the tables' names instead of their numbers."""
        table_names = [names[number] for number in self.table["table"].to_pylist()]
        position = SKETCHES.get_field_index("table")
        return self.table.set_column(
            position, "table", pa.array(table_names, pa.string())
        )

    def of(self, chosen: Iterable[tuple[int, str | None]]) -> pa.Table:
        """Return the sketches of some columns (or of rows: None), SKETCHES."""
        return self.table.take(
            pa.array([self._place[key] for key in chosen], pa.int64())
        )

    @property
    def tables(self) -> set[int]:
        """Tables of which anything is sketched: their rows could be read."""
        return {table for table, _ in self._place}

    @property
    def whole(self) -> list[int]:
        """Tables whose rows are sketched as a whole."""
        return [table for table, column in self._place if column is None]

    def __contains__(self, key: tuple[int, str | None]) -> bool:
        return key in self._place

    def place(self, table: int, column: str | None) -> int:
        """Return where a sketch stands in `stack`; KeyError if there is none."""
        return self._place[table, column]

    def sought(self, table: int, column: str | None) -> int:
        """Return where a sketch stands in `stack`; -1 if there is none."""
        return self._place.get((table, column), -1)

    def kmv(self, table: int, column: str | None) -> Kmv:
        """Return the hashes kept of a column, or of the rows; KeyError if none are."""
        i = self._place[table, column]
        return kmv.one_of(self.stack, i)

    def distinct(self, table: int, column: str | None) -> int:
        """Return the number of distinct values (null is one), estimated if need be."""
        return self.kmv(table, column).distinct

    def minhash(self, table: int, column: str | None) -> npt.NDArray[np.uint32]:
        """Return the MinHash values `(num_perm,)` of a column, or of the rows."""
        values: npt.NDArray[np.uint32] = self.minhashes[self._place[table, column]]
        return values

    @cached_property
    def minhashes(self) -> npt.NDArray[np.uint32]:
        """The MinHash values of every sketch `(m, num_perm)`; 0 where there is none."""
        column = self.table["minhash"].combine_chunks()
        values = np.zeros((len(column), self.sizes.num_perm), np.uint32)
        values[column.is_valid().to_numpy(zero_copy_only=False)] = (
            pc.list_flatten(column).to_numpy().reshape(-1, self.sizes.num_perm)
        )
        return values

    @cached_property
    def distinct_values(self) -> npt.NDArray[np.int64]:
        """How many distinct values every sketch stands for `(m,)`; see `distinct`."""
        counts = np.diff(self.stack.bounds)
        for i in np.flatnonzero(~self.stack.complete).tolist():
            counts[i] = kmv.one_of(self.stack, i).distinct
        return counts

    @cached_property
    def statistics(self) -> dict[int, dict[str, ColumnStatistics]]:
        """The bounds that were found, by table and compared name."""
        texts = self.table["statistics"].to_pylist()
        keys = [key for key, i in self._place.items() if texts[i]]
        plain = json.loads(f"[{','.join(texts[self._place[key]] for key in keys)}]")
        statistics: dict[int, dict[str, ColumnStatistics]] = {}
        for (table, column), one in zip(keys, plain, strict=True):
            if column is not None:
                known = ColumnStatistics.from_json(one)
                statistics.setdefault(table, {})[column] = known
        return statistics

    def refute(
        self, tables: HashedTables, edges: TablePairs, bag: bool = False
    ) -> Refuted:
        """Look the children's hashes up in the parents' sketches, column by column.

        Where both have the same columns their rows are looked up, too. An edge with an
        unreadable table is kept: it is not refuted.
        """
        owner, names, pairs = self._pairs(tables, edges)
        compared = kmv.compare(self.stack, pairs[0], pairs[1], bag)
        count = len(edges.child)
        lacking = np.flatnonzero(compared.missing)
        missing = np.bincount(owner[lacking], minlength=count)
        # A column says more than the row as a whole, the one with most missing most.
        of_rows = np.array([name is None for name in names], np.bool_)[lacking]
        order = np.lexsort((lacking, -compared.missing[lacking], of_rows))
        ordered = lacking[order]
        refuted, first = np.unique(owner[ordered], return_index=True)
        witness = np.full(count, -1)
        column: list[str | None] = [None] * count
        witness[refuted] = compared.witness[ordered[first]]
        for edge, lookup in zip(refuted.tolist(), ordered[first].tolist(), strict=True):
            column[edge] = names[lookup]
        return Refuted(missing, witness, column)

    def shares(
        self, places: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Estimate how much of one sketch's values another has: (share, sample size).

        places: where both of each pair stand, see `sought`. The sample are the hashes
        of the first that the second would have to keep.
        """
        compared = kmv.compare(self.stack, *places)
        return 1 - compared.missing / np.maximum(
            compared.looked_up, 1
        ), compared.looked_up

    def _pairs(
        self, tables: HashedTables, edges: TablePairs
    ) -> tuple[npt.NDArray[np.int64], list[str | None], npt.NDArray[np.int64]]:
        """Return which sketches to compare: (edge, column name, places (2, n))."""
        owner, names, children, parents = [], [], [], []
        known: dict[int, list[tuple[str | None, int]]] = {}
        for i, (child, parent) in enumerate(zip(*map(_plain, edges), strict=True)):
            if child not in known:
                known[child] = self._of_child(tables, child)
            same = len(tables.names[child]) == len(tables.names[parent])
            for name, a in known[child]:
                b = self._place.get((parent, name))
                if b is not None and (same or name is not None):
                    owner.append(i)
                    names.append(name)
                    children.append(a)
                    parents.append(b)
        places = np.array([children, parents], np.int64).reshape(2, -1)
        return np.array(owner, np.int64), names, places

    def _of_child(
        self, tables: HashedTables, child: int
    ) -> list[tuple[str | None, int]]:
        """Return the sketches of a table with their places: columns, then the rows."""
        names: list[str | None] = [*tables.names_of(child), None]
        return [(n, self._place[child, n]) for n in names if (child, n) in self._place]


def _plain(numbers: npt.NDArray[np.int64]) -> list[int]:
    plain: list[int] = numbers.tolist()
    return plain


def as_table(sketches: Iterable[tuple[int, SketchesOfTable]]) -> pa.Table:
    """Return the sketches of tables as SKETCHES."""
    numbered = list(sketches)
    kept = [one for _, one in numbered]
    sizes = np.array([len(one.columns) for one in kept], np.int64)
    stacks = [one.stack for one in kept]
    lengths = _joined([np.diff(stack.bounds) for stack in stacks], np.int64)
    minhash = _joined([one.minhash.reshape(-1) for one in kept], np.uint32)
    each = len(minhash) // max(int(sizes.sum()), 1)
    columns: dict[str, Any] = {
        "table": np.repeat(np.array([n for n, _ in numbered], np.int32), sizes),
        "column": _of_all(one.columns for one in kept),
        "rows": np.repeat(np.array([one.rows for one in kept], np.int64), sizes),
        "nulls": _of_all(one.nulls for one in kept),
        "raw": _of_all(one.raw for one in kept),
        "complete": _joined([stack.complete for stack in stacks], np.bool_),
        "statistics": [_as_json(s) for s in _of_all(one.statistics for one in kept)],
        "reason": [None] * int(sizes.sum()),
    }
    lists = {name: _lists(stacks, name, lengths) for name in _LISTS}
    lists["minhash"] = _list_array(minhash, np.full(int(sizes.sum()), each))
    arrays = [
        lists[field.name]
        if field.name in lists
        else pa.array(columns[field.name], field.type)
        for field in SKETCHES
    ]
    return pa.table(arrays, schema=SKETCHES)


def _of_all(values: Iterable[Iterable[Any]]) -> list[Any]:
    return list(chain.from_iterable(values))


def _joined(arrays: Sequence[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays])


def _lists(
    stacks: Sequence[Stack], name: str, lengths: npt.NDArray[np.int64]
) -> pa.Array:
    dtype = SKETCHES.field(name).type.value_type.to_pandas_dtype()
    return _list_array(_joined([getattr(s, name) for s in stacks], dtype), lengths)


def _list_array(
    values: npt.NDArray[Any], lengths: npt.NDArray[np.int64]
) -> pa.ListArray:
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values))


def _as_json(statistics: ColumnStatistics | None) -> str | None:
    return None if statistics is None else json.dumps(statistics.to_json())


def as_unreadable(table: int, reason: str) -> pa.Table:
    """Return what stands for a table whose rows cannot be read, as SKETCHES."""
    return pa.Table.from_pylist([{"table": table, "reason": reason}], SKETCHES)


def _sketch(row: Mapping[str, Any]) -> Sketch:
    hi, lo = (np.array(row[name], np.uint64) for name in ("hi", "lo"))
    position, repeats = (np.array(row[n], np.int64) for n in ("position", "repeats"))
    text = row["statistics"]
    return Sketch(
        row["column"],
        row["rows"],
        row["nulls"],
        Kmv(hi, lo, position, repeats, row["complete"]),
        np.array(row["minhash"], np.uint32),
        ColumnStatistics.from_json(json.loads(text)) if text else None,
        row["raw"],
    )


def _whole(table: pa.Table, sizes: Sizes) -> pa.Table:
    """Merge the sketches of parts of one table, as a cluster makes them."""
    tables, columns = table["table"].to_pylist(), table["column"].to_pylist()
    reasons = table["reason"].to_pylist()
    unreadable = {t for t, reason in zip(tables, reasons, strict=True) if reason}
    if not unreadable and len({*zip(tables, columns, strict=True)}) == len(table):
        return table  # as nearly always
    places: dict[tuple[int, str | None], list[int]] = {}
    for i, key in enumerate(zip(tables, columns, strict=True)):
        if reasons[i] or key[0] not in unreadable:
            places.setdefault(key, []).append(i)
    split = [rows for rows in places.values() if len(rows) > 1 and not reasons[rows[0]]]
    merged = [
        (
            tables[rows[0]],
            SketchesOfTable.of_one(
                merge([_sketch(r) for r in table.take(rows).to_pylist()], sizes)
            ),
        )
        for rows in split
    ]
    single = [rows[0] for rows in places.values() if len(rows) == 1 or reasons[rows[0]]]
    rest = table.take(pa.array(single, pa.int64()))
    return pa.concat_tables([rest, as_table(merged)])


def _stacked(table: pa.Table) -> Stack:
    lists = [table[name].combine_chunks() for name in _LISTS]
    sizes = pc.fill_null(pc.list_value_length(lists[0]), 0).to_numpy()
    hi, lo, position, repeats = (pc.list_flatten(v).to_numpy() for v in lists)
    complete = table["complete"].fill_null(True).to_numpy()
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return Stack(ends, hi, lo, position, repeats, complete)
