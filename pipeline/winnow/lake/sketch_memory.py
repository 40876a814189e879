"""Sketches of tables, kept from one scan of a run to the next."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from winnow.core.run_folder import RunFolder
from winnow.lake.compare.sketched import SKETCHES, Sketches
from winnow.lake.files.saved_parts import SavedParts
from winnow.lake.kernels.table_sketch import Sizes
from winnow.lake.kernels.tables import Table
from winnow.lake.memory import Keys


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
        part = part.combine_chunks()
        names = part["table"].to_pylist()
        if names != sorted(names):
            part = part.sort_by("table")
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
