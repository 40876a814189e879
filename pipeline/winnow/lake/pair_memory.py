"""What was read of pairs of tables, kept from one scan of a run to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.run_folder import RunFolder
from winnow.lake.compare.hashed_tables import TablePairs
from winnow.lake.compare.verdicts import Verdicts, nothing_looked_up
from winnow.lake.files.saved_parts import SavedParts
from winnow.lake.kernels.containment import Verdict
from winnow.lake.kernels.tables import Table
from winnow.lake.memory import Keys

_Bools = npt.NDArray[np.bool_]

_PAIRS = pa.schema(
    [
        ("child", pa.string()),
        ("parent", pa.string()),
        ("child_version", pa.string()),
        ("parent_version", pa.string()),
        # sample, content or partial with counts; witness or rebuild with a text.
        ("what", pa.string()),
        *((name, pa.int64()) for name in Verdict._fields),
        ("exact", pa.bool_()),
        ("text", pa.string()),
    ]
)
_COUNTS = (*Verdict._fields, "exact")
#: What is known, and of which child and parent.
_Key = tuple[str, int, int]


class PairMemory:
    """What was read of pairs of tables neither of which changed."""

    def __init__(
        self,
        folder: RunFolder,
        keys: Keys,
        tables: Sequence[Table],
        *,
        few: bool = False,
    ) -> None:
        """Take what is remembered of `tables`: nothing of a `few` of many.

        Pairs of which a table changed are new, and to look for others costs more than
        to read them.
        """
        self._saved = SavedParts(folder.artifacts("pairs"), keys.pairs)
        self._names = [table.identity for table in tables]
        self._versions = [table.fingerprint for table in tables]
        self._few = few
        parts = [] if few else self._saved.load()
        self._rows = [row for part in parts for row in part.to_pylist()]
        self._held = self._holding()
        # More than one: a scan was stopped before it put them into one.
        self._grew = len(parts) > 1

    def extend(self, tables: Sequence[Table]) -> None:
        """Take in tables in other forms."""
        if tables:
            self._names += [table.identity for table in tables]
            self._versions += [table.fingerprint for table in tables]
            self._held = self._holding()

    def _holding(self) -> dict[_Key, Any]:
        """Return what still holds of the tables as they are now."""
        held: dict[_Key, Any] = {}
        number = {name: i for i, name in enumerate(self._names)}
        for row in self._rows:
            child, parent = number.get(row["child"]), number.get(row["parent"])
            if child is None or parent is None:
                continue
            versions = self._versions[child], self._versions[parent]
            if versions == (row["child_version"], row["parent_version"]):
                held[row["what"], child, parent] = _value(row)
        return held

    def counted(self, what: str, edges: TablePairs) -> tuple[_Bools, Verdicts]:
        """Return which pairs are known, and verdicts that hold for those."""
        remembered = [self._held.get(key) for key in _keys(what, edges)]
        known = np.array([one is not None for one in remembered], np.bool_)
        verdicts = nothing_looked_up(len(remembered))
        rows = [one for one in remembered if one is not None]
        if rows:
            for column, values in zip(verdicts, zip(*rows, strict=True), strict=True):
                column[known] = values
        return known, verdicts

    def remember_counts(self, what: str, edges: TablePairs, verdicts: Verdicts) -> None:
        """Keep verdicts, at once on disk."""
        columns = (column.tolist() for column in verdicts)
        self._add(what, edges, zip(*columns, strict=True))

    def texts(self, what: str, edges: TablePairs) -> tuple[_Bools, list[str | None]]:
        """Return which pairs are known, and their texts."""
        values = [self._held.get(key) for key in _keys(what, edges)]
        known = np.array([one is not None for one in values], np.bool_)
        return known, [one[0] if one is not None else None for one in values]

    def remember_texts(
        self, what: str, edges: TablePairs, texts: Sequence[str | None]
    ) -> None:
        """Keep texts, at once on disk."""
        self._add(what, edges, ((text,) for text in texts))

    def settle(self) -> None:
        """Put what holds of the tables as they are now into one part."""
        if self._few and self._held:
            self._saved.append(self._as_table(self._held))
            self._saved.fold()
        elif self._grew and not self._few:
            self._saved.settle(self._as_table(self._held))

    def _add(
        self, what: str, edges: TablePairs, values: Iterable[tuple[Any, ...]]
    ) -> None:
        new = dict(zip(_keys(what, edges), values, strict=True))
        if new:
            self._held |= new
            if not self._few:
                self._saved.append(self._as_table(new))
            self._grew = True

    def _as_table(self, held: Mapping[_Key, tuple[Any, ...]]) -> pa.Table:
        columns: dict[str, list[Any]] = {name: [] for name in _PAIRS.names}
        for (what, child, parent), value in held.items():
            counts, text = (value, None) if len(value) > 1 else (_NONE, value[0])
            row = (
                self._names[child],
                self._names[parent],
                self._versions[child],
                self._versions[parent],
                what,
                *counts,
                text,
            )
            for column, one in zip(columns.values(), row, strict=True):
                column.append(one)
        return pa.table(columns, schema=_PAIRS)


_NONE = (None,) * len(_COUNTS)


def _value(row: Mapping[str, Any]) -> tuple[Any, ...]:
    if row["exact"] is None:
        return (row["text"],)
    return tuple(row[name] for name in _COUNTS)


def _keys(what: str, edges: TablePairs) -> Iterable[_Key]:
    pairs = zip(edges.child.tolist(), edges.parent.tolist(), strict=True)
    return ((what, child, parent) for child, parent in pairs)
