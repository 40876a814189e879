"""Tables that grow part by part while a scan runs, so that none is worked out twice."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.integrity import checksum
from winnow.core.run_folder import remove

_KEY = b"winnow.key"


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
                whole = checksum(path) == path.stem.rpartition("-")[2]
                table = pq.read_table(path) if whole else None
            except (OSError, pa.ArrowException):
                table = None
            if table is None or (table.schema.metadata or {}).get(_KEY) != self._key:
                remove(path)
            else:
                parts.append(table.replace_schema_metadata(None))
        return parts

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
        # Hashes hardly repeat: only texts gain by a dictionary.
        texts = [field.name for field in keyed.schema if pa.types.is_string(field.type)]
        pq.write_table(keyed, beside, compression="zstd", use_dictionary=texts)
        name = f"part-{self._next():06d}-{checksum(beside)}.parquet"
        os.replace(beside, self._folder / name)
