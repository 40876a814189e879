"""What earlier scans of a run worked out, as far as it still holds.

Remembered are the catalogue, the sketches of each table and whatever was read of a pair
of tables. A table is known by the fingerprint of its files, so that nothing of a
changed table is believed; all of it only under the settings that it depends on and by
the same code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.config.lake import LakeConfig
from winnow.core.hashing import fingerprint
from winnow.core.run_folder import RunFolder
from winnow.lake.compare.hashed_tables import TablePairs
from winnow.lake.compare.sketched import SKETCHES, Sketches
from winnow.lake.compare.verdicts import Verdicts, nothing_looked_up
from winnow.lake.files.saved_parts import SavedParts
from winnow.lake.files.saved_tables import SavedTables, as_table
from winnow.lake.files.table_files import Surveyed
from winnow.lake.kernels.containment import Verdict
from winnow.lake.kernels.table_sketch import Sizes
from winnow.lake.kernels.tables import Table

Ints = npt.NDArray[np.int64]
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


#: Raised when what is remembered of a table, or of two, is found or kept otherwise.
_VERSION = 2


class Keys(NamedTuple):
    """Under which settings each part of the memory holds."""

    catalogue: str
    sketches: str
    pairs: str
    derived: str


def keys_of(config: LakeConfig, folder: RunFolder) -> Keys:
    """Return the keys of a recipe."""
    lake = config.input.path
    location = lake if "://" in lake else os.path.abspath(lake)
    texts = {glob: options.model_dump() for glob, options in config.csv.items()}
    catalogue = [_VERSION, location, list(texts.items())]
    sketches = [
        *catalogue,
        config.column_names,
        sorted(config.ignore_columns),
        config.sketch.model_dump(),
        config.content.model_dump(),
        config.partial.enabled,
    ]
    pairs = [
        *sketches,
        config.semantics,
        config.partial.model_dump(),
        config.rebuild.model_dump(),
        # Queries name the side files that a plan puts there.
        os.path.abspath(folder.path),
    ]
    derived = [*pairs, config.derived.model_dump()]
    keys = (catalogue, sketches, pairs, derived)
    return Keys(*(fingerprint(json.dumps(key)) for key in keys))


class Catalogue:
    """Tables and the statistics of their footers."""

    def __init__(self, folder: RunFolder, keys: Keys) -> None:
        self._saved = SavedParts(folder.artifacts("catalogue"), keys.catalogue)
        self.known = SavedTables(self._saved.load())

    def remember(self, surveyed: Sequence[Surveyed]) -> None:
        """Keep these tables, and no others."""
        if len(surveyed) == len(self.known) and not any(
            self.read(one) for one in surveyed
        ):
            return
        self._saved.settle(as_table(surveyed))

    def add(self, opened: Sequence[Surveyed]) -> None:
        """Keep these tables beside those that are known; the rest is not written."""
        if opened:
            self._saved.append(as_table(opened))
            self._saved.fold("name")

    def read(self, surveyed: Surveyed) -> bool:
        """Whether a table had to be opened: it was not known."""
        return surveyed is not self.known.get(surveyed[0].name)


class SketchMemory:
    """Sketches of tables that did not change."""

    def __init__(
        self,
        folder: RunFolder,
        keys: Keys,
        tables: Sequence[Table],
        sizes: Sizes,
        *,
        few: bool = False,
    ) -> None:
        """Take what is remembered of `tables`: of a `few` of many, only their rows."""
        self._saved = SavedParts(folder.artifacts("sketches"), keys.sketches)
        self._names = [table.identity for table in tables]
        self._versions = [table.fingerprint for table in tables]
        self._few = few
        self._parts: list[pa.Table] = [] if few else self._saved.load()
        self._sizes = sizes
        self._grew = False

    def extend(self, tables: Sequence[Table]) -> None:
        """Take in tables in other forms."""
        self._names += [table.identity for table in tables]
        self._versions += [table.fingerprint for table in tables]

    def known(self) -> Sketches:
        """Return what is known of the tables as they are now."""
        number = {name: i for i, name in enumerate(self._names)}
        if self._few:
            self._parts = self._saved.lookup("table", self._names)
        newest: list[pa.Table] = []
        seen: set[str] = set()
        for part in reversed(self._parts):
            names, versions = (part[n].to_pylist() for n in ("table", "version"))
            current = [
                i
                for i, (name, version) in enumerate(zip(names, versions, strict=True))
                if name not in seen
                and name in number
                and self._versions[number[name]] == version
            ]
            seen |= {names[i] for i in current}
            newest.append(part.take(pa.array(current, pa.int64())))
        sketched = pa.concat_tables([_named(SKETCHES.empty_table()), *newest])
        # A table whose rows could not be read is tried again.
        sound = sketched.filter(sketched["reason"].is_null())
        return Sketches.from_named(sound.select(SKETCHES.names), number, self._sizes)

    def remember(self, sketches: Sketches) -> None:
        """Keep the sketches of tables that were read."""
        named = sketches.named(self._names)
        versions = [self._versions[t] for t in sketches.table["table"].to_pylist()]
        part = named.append_column("version", pa.array(versions, pa.string()))
        # Rows are taken from it later, which costs time for each chunk, and looked up
        # by the table's name.
        part = part.combine_chunks().sort_by("table")
        self._saved.append(part)
        self._parts.append(part)
        self._grew = True

    def settle(self) -> None:
        """Put what holds of the tables as they are now into one part."""
        if self._few:
            self._saved.fold("table")
            return
        if not self._grew:
            return
        if len(self._parts) == 1 and not _failed(self._parts[0]):
            # It is what this scan read, all at once.
            return
        known = self.known()
        self._parts, self._grew = [], False
        self.remember(known)
        self._saved.settle(self._parts[0])
        self._grew = False


def _failed(sketches: pa.Table) -> bool:
    """Whether there is a table whose rows could not be read."""
    return bool(sketches["reason"].null_count < len(sketches))


def _named(sketches: pa.Table) -> pa.Table:
    position = SKETCHES.get_field_index("table")
    named = sketches.set_column(position, "table", pa.array([], pa.string()))
    return named.append_column("version", pa.array([], pa.string()))


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
