"""Tables that grow part by part while a scan runs, so that none is worked out twice."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.core.integrity import checksum, is_unchanged
from winnow.core.parquet_footer import DamagedFooter, footer_bytes, sound_chunks
from winnow.core.run_folder import remove

_KEY = b"winnow.key"
_HASHES = (pa.list_(pa.uint64()), pa.list_(pa.uint32()))
#: Rows that are read together where some are looked up.
_GROUP_ROWS = 4096
#: Parts beyond which the small ones become one.
_MOST_PARTS = 16


class DamagedPart(OSError):
    """A part is not as it was written."""


class SavedParts:
    """A folder of Parquet parts that hold under one key: settings and code version.

    A part's name ends with the checksum of its bytes.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key.encode()

    def load(self) -> list[pa.Table]:
        """Return the parts, oldest first; those of another key are removed.

        So are those that are not as they were written: what they held is worked out
        again.
        """
        remove(self._unfinished)
        parts = []
        for path in sorted(self._folder.glob("part-*.parquet")):
            try:
                whole = is_unchanged(path, path.stem.rpartition("-")[2])
                table = _read(path) if whole else None
            except (OSError, pa.ArrowException):
                table = None
            if table is None or (table.schema.metadata or {}).get(_KEY) != self._key:
                remove(path)
            else:
                parts.append(table.replace_schema_metadata(None))
        return parts

    def names(self) -> list[str]:
        """Return the parts' names, which tell their contents."""
        return sorted(path.name for path in self._folder.glob("part-*.parquet"))

    def lookup(self, column: str, values: Collection[str]) -> list[pa.Table]:
        """Return the rows with some values of a text column, the oldest part first.

        Of a part that is sorted by the column little more is read than these rows; its
        pages carry checksums of their own. Raises DamagedPart.
        """
        wanted = sorted(values)
        parts = []
        for path in sorted(self._folder.glob("part-*.parquet")):
            try:
                parts.append(self._looked_up(path, column, wanted))
            except (OSError, pa.ArrowException, DamagedFooter) as error:
                raise DamagedPart(f"{path} is damaged") from error
        return parts

    def _looked_up(self, path: Path, column: str, wanted: Sequence[str]) -> pa.Table:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if (file.schema_arrow.metadata or {}).get(_KEY) != self._key:
                return file.schema_arrow.remove_metadata().empty_table()
            number = file.schema_arrow.get_field_index(column)
            groups = [
                i
                for i, chunks in enumerate(_chunks(path, file))
                if _may_hold(chunks[number], wanted)
            ]
            table = file.read_row_groups(groups).replace_schema_metadata(None)
        return table.filter(pc.is_in(table[column], pa.array(wanted, pa.string())))

    def fold(self, column: str | None = None) -> None:
        """Put small parts into one if there are many; the first part stays.

        Of rows with one value of a `column` those of the newest part are kept.
        """
        paths = sorted(self._folder.glob("part-*.parquet"))
        if len(paths) <= _MOST_PARTS:
            return
        kept: list[pa.Table] = []
        seen: set[str] = set()
        for part in reversed(self.load()[1:]):
            table = part
            if column is not None:
                values = table[column].to_pylist()
                table = table.filter(pa.array([v not in seen for v in values]))
                seen |= set(values)
            kept.append(table)
        self._write(pa.concat_tables(kept[::-1]))
        for path in paths[1:]:
            remove(path)

    def append(self, table: pa.Table) -> None:
        """Write one more part; it is whole or not there."""
        self._write(table)

    def settle(self, table: pa.Table) -> None:
        """Write a part that takes the place of all before it."""
        before = sorted(self._folder.glob("part-*.parquet"))
        self._write(table)
        for path in before:
            remove(path)

    @property
    def _unfinished(self) -> Path:
        return self._folder / "part.tmp"

    def _next(self) -> int:
        names = [path.stem for path in self._folder.glob("part-*.parquet")]
        return max((int(name.split("-")[1]) for name in names), default=-1) + 1

    def _write(self, table: pa.Table) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = self._unfinished
        keyed = table.replace_schema_metadata({_KEY: self._key})
        # Hashes hardly repeat: only texts gain by a dictionary, and all else is smaller
        # when it is packed.
        texts = [field.name for field in keyed.schema if pa.types.is_string(field.type)]
        pq.write_table(
            keyed,
            beside,
            compression=_packed(keyed.schema),
            use_dictionary=texts,
            row_group_size=_GROUP_ROWS,
            write_page_checksum=True,
        )
        name = f"part-{self._next():06d}-{checksum(beside)}.parquet"
        os.replace(beside, self._folder / name)


def _read(path: Path) -> pa.Table:
    """Return a part, without what pyarrow loads for datasets of many files."""
    with pq.ParquetFile(path) as file:
        return file.read()


def _chunks(path: Path, file: pq.ParquetFile) -> list[list[pq.ColumnChunkMetaData]]:
    with path.open("rb") as source:
        return sound_chunks(footer_bytes(source), file.metadata)


def _packed(schema: pa.Schema) -> dict[str, str]:
    """Return how each column is packed: hashes not, since they are random numbers."""
    return {
        name: "none" if field.type in _HASHES else "zstd"
        for field in schema
        for name in (field.name, f"{field.name}.list.element")
    }


def _may_hold(chunk: pq.ColumnChunkMetaData, wanted: Sequence[str]) -> bool:
    """Whether bounds of a text column leave room for one of some sorted values."""
    bounds = chunk.statistics
    if bounds is None or not bounds.has_min_max:
        return True
    i = bisect_left(wanted, bounds.min)
    return i < len(wanted) and wanted[i] <= bounds.max
