"""Tables whose log says which of their files count: Delta, Iceberg; Hudi is refused.

Read as plain files such a table would give deleted rows back. A table is a pool at the
version that the log ends with when the run begins; the manifest holds which.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import InputError
from winnow.core.extras import require
from winnow.core.inside import resolve_inside
from winnow.formats.constants import WithConstants, with_constants
from winnow.formats.file_access import is_local
from winnow.formats.parquet_shards import ParquetFormat
from winnow.formats.shard_protocol import (
    FoundPool,
    Listing,
    ShardFooter,
    ShardFormat,
    Unreadable,
)
from winnow.table_logs.iceberg import IcebergTable, is_iceberg

_LOG = "_delta_log"


class TableFormat(ParquetFormat):
    """The Parquet files of one version of a table, with the columns of its schema."""

    endings: tuple[str, ...] = ()

    def __init__(
        self, schema: pa.Schema | None = None, version: int | str | None = None
    ) -> None:
        self.schema, self.version = schema, version

    def recognises(self, head: bytes) -> bool:
        """A file by itself is no table."""
        return False

    def footer(self, path: str) -> ShardFooter:
        """Return a file's rows and the table's columns, which it may lack some of."""
        footer = super().footer(path)
        schema = footer.schema if self.schema is None else self.schema
        return ShardFooter(footer.rows, schema, footer.mark)

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table), with the columns that the table has."""
        known = self.schema if schema is None else schema
        yield from super().read_rows(path, rows, columns, known)

    def suffix(self, path: str) -> str:
        """Return the ending of names of kept shards."""
        return ".parquet"

    def pinned(self) -> dict[str, Any]:
        """Return the table's version and columns."""
        assert self.schema is not None
        text = base64.b64encode(self.schema.serialize().to_pybytes()).decode()
        return {"version": self.version, "schema": text}

    def restored(self, pinned: Mapping[str, Any]) -> ShardFormat:
        """Return the format as it was when it was `pinned`."""
        if "schema" not in pinned:
            return self
        data = pa.py_buffer(base64.b64decode(pinned["schema"]))
        kind = type(self)(pa.ipc.read_schema(data), pinned["version"])
        return with_constants(kind, pinned)

    def of_version(
        self, schema: pa.Schema, version: int | str, physical: Sequence[str]
    ) -> Self:
        """Return the format of one version, without the columns of its partitions."""
        fields = [field for field in schema if field.name in physical]
        return type(self)(pa.schema(fields), version)


class DeltaFormat(TableFormat):
    """Delta tables, by their log."""

    name = "delta"
    title = "Delta table"

    def claims(self, listing: Listing) -> FoundPool | None:
        """Return the files of a Delta table's newest version.

        Raises InputError for a damaged log and for what is not supported: deletion
        vectors, mapped column names, files outside the table's folder.
        MissingExtraError where the library that reads logs is not installed.
        """
        if not any(listing.below(file)[0] == _LOG for file in listing.files):
            return None
        require("delta", f"the Delta table {listing.folder}")
        from deltalake.exceptions import DeltaError

        try:
            with _delta(listing) as table:
                return self._found(listing, table)
        except DeltaError as error:
            raise InputError(
                f"input.path: the Delta table {listing.folder} cannot be read: "
                f"{str(error)[:200]}"
            ) from error

    def seal(self, folder: Path, schema: pa.Schema) -> None:
        """Write a log, so that the folder of kept rows is a Delta table."""
        import deltalake

        deltalake.convert_to_deltalake(os.fspath(folder), mode="ignore")

    def _found(self, listing: Listing, table: Any) -> FoundPool:
        _refuse_unsupported(listing, table)
        actions = pa.table(table.get_add_actions(flatten=False)).combine_chunks()
        schema = pa.schema(table.schema())
        names = [unquote(path) for path in actions["path"].to_pylist()]
        outside = [name for name in names if name.startswith("/") or "://" in name]
        if outside:
            raise _unsupported(listing, f"a file lies outside its folder: {outside[0]}")
        files = [f"{listing.folder.rstrip('/')}/{name}" for name in names]
        parts = table.metadata().partition_columns
        kind: ShardFormat = self.of_version(
            schema, table.version(), [n for n in schema.names if n not in parts]
        )
        if parts:
            values = {
                listing.path(file): {
                    n: None if v is None else str(v) for n, v in row.items()
                }
                for file, row in zip(
                    files, actions["partition"].to_pylist(), strict=True
                )
            }
            added = pa.schema([schema.field(name) for name in parts])
            kind = WithConstants(kind, added, values)
        if not files:
            raise InputError(f"input.path: the Delta table {listing.folder} is empty")
        return FoundPool(kind, files)


def _unsupported(listing: Listing, what: str) -> InputError:
    return InputError(
        f"input.path: the Delta table {listing.folder} is not read: {what}. Write its "
        "newest version out as Parquet, or rewrite the table without them"
    )


def _refuse_unsupported(listing: Listing, table: Any) -> None:
    mapping = table.metadata().configuration.get("delta.columnMapping.mode")
    if mapping not in (None, "none"):
        raise _unsupported(listing, f"its column names are mapped (by {mapping})")
    if "deletionVectors" in (table.protocol().reader_features or ()):
        try:
            deleted = len(pa.table(table.deletion_vectors()))
        except Exception as error:
            raise _unsupported(
                listing, "its deletion vectors cannot be read"
            ) from error
        if deleted:
            raise _unsupported(listing, "rows of it are deleted by deletion vectors")


@contextmanager
def _delta(listing: Listing) -> Iterator[Any]:
    """Open a table; of a remote one, a copy of its log.

    The library has options of its own for storage; what fsspec can open is read so.
    """
    import deltalake

    if is_local(listing.fs):
        yield deltalake.DeltaTable(listing.folder)
        return
    with tempfile.TemporaryDirectory() as copy:
        for file in listing.files:
            below = listing.below(file)
            if below[0] != _LOG:
                continue
            target = resolve_inside([copy], copy, "/".join(below))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            listing.fs.get_file(file, target)
        yield deltalake.DeltaTable(copy)


class IcebergFormat(TableFormat):
    """Iceberg tables, by their newest metadata, where pyiceberg is installed."""

    name = "iceberg"
    title = "Iceberg table"

    def claims(self, listing: Listing) -> FoundPool | None:
        """Return the files of an Iceberg table's current snapshot.

        Raises InputError for rows that are deleted by delete files, and for columns
        that were renamed; MissingExtraError where pyiceberg is not installed.
        """
        names = ["/".join(listing.below(file)) for file in listing.files]
        if not is_iceberg(names):
            return None
        require("iceberg", f"the Iceberg table {listing.folder}")
        table = IcebergTable(listing.fs, listing.path(listing.folder), names)
        try:
            held = table.files
        except ValueError as error:
            raise _unread_iceberg(listing, str(error)[:200]) from error
        if not held:
            raise InputError(f"input.path: the Iceberg table {listing.folder} is empty")
        if any(file.deleted for file in held):
            raise _unread_iceberg(listing, "rows of it are deleted by delete files")
        outside = [file.path for file in held if file.name is None]
        if outside:
            said = f"a file lies outside its folder: {outside[0]}"
            raise _unread_iceberg(listing, said)
        kind = self.of_version(table.schema, table.version, table.schema.names)
        root = listing.folder.rstrip("/")
        return FoundPool(kind, sorted(f"{root}/{file.name}" for file in held))

    def footer(self, path: str) -> ShardFooter:
        """Return a file's rows; raises InputError if a column has another name."""
        footer = super().footer(path)
        written = ParquetFormat.footer(self, path).schema
        renamed = [
            f"{field.name} ({name})"
            for field in written
            if (name := _names_by_id(self.schema).get(_field_id(field), field.name))
            != field.name
        ]
        if renamed:
            raise InputError(
                f"{path}: its columns have other names in the table: {renamed[0]}; "
                "rewrite the table's data files"
            )
        return footer


def _unread_iceberg(listing: Listing, what: str) -> InputError:
    return InputError(
        f"input.path: the Iceberg table {listing.folder} is not read: {what}. Rewrite "
        "its data files, or write it out as Parquet"
    )


def _field_id(field: pa.Field) -> bytes | None:
    identity: bytes | None = (field.metadata or {}).get(b"PARQUET:field_id")
    return identity


def _names_by_id(schema: pa.Schema | None) -> dict[bytes | None, str]:
    fields = schema if schema is not None else ()
    named = {_field_id(field): field.name for field in fields}
    named.pop(None, None)
    return named
