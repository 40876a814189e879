"""Tables that grow part by part while a scan runs, so that none is worked out twice."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.run_folder import remove, replace

_KEY = b"winnow.key"


class SavedParts:
    """A folder of Parquet parts that hold under one key: settings and code version."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key.encode()

    def load(self) -> list[pa.Table]:
        """Return the parts, oldest first; those of another key are removed.

        So are those that cannot be read: what they held is worked out again.
        """
        parts = []
        for path in sorted(self._folder.glob("part-*.parquet")):
            try:
                table = pq.read_table(path)
            except (OSError, pa.ArrowException):
                table = None
            if table is None or (table.schema.metadata or {}).get(_KEY) != self._key:
                remove(path)
            else:
                parts.append(table.replace_schema_metadata(None))
        return parts

    def append(self, table: pa.Table) -> None:
        """Write one more part; it is whole or not there."""
        self._write(table, self._next())

    def settle(self, table: pa.Table) -> None:
        """Write a part that takes the place of all before it."""
        before = sorted(self._folder.glob("part-*.parquet"))
        self._write(table, self._next())
        for path in before:
            remove(path)

    def _next(self) -> Path:
        names = [path.stem for path in self._folder.glob("part-*.parquet")]
        last = max((int(name.removeprefix("part-")) for name in names), default=-1)
        return self._folder / f"part-{last + 1:06d}.parquet"

    def _write(self, table: pa.Table, path: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".tmp")
        keyed = table.replace_schema_metadata({_KEY: self._key})
        # Hashes hardly repeat: only texts gain by a dictionary.
        texts = [field.name for field in keyed.schema if pa.types.is_string(field.type)]
        pq.write_table(keyed, beside, compression="zstd", use_dictionary=texts)
        replace(beside, path)
