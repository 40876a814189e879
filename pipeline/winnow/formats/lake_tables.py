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
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import InputError
from winnow.core.extras import require
from winnow.core.inside import resolve_inside
from winnow.formats.constants import WithConstants, same_path, with_constants
from winnow.formats.file_access import is_local
from winnow.formats.parquet_shards import ParquetFormat
from winnow.formats.shard_protocol import (
    FoundPool,
    Listing,
    ShardFooter,
    ShardFormat,
    Unreadable,
)
from winnow.formats.table_rows import TableRows, restored_rows
from winnow.table_logs.delta import (
    kept_rows,
    mapping_mode,
    require_known,
    told_fields,
)
from winnow.table_logs.iceberg import IcebergTable, is_iceberg
from winnow.table_logs.stored_columns import stored_name, without_numbers

_LOG = "_delta_log"
#: What the names of files of deletion vectors begin with.
_VECTORS = "deletion_vector_"


class TableFormat(ParquetFormat):
    """The Parquet files of one version of a table, with the columns of its schema."""

    endings: tuple[str, ...] = ()

    def __init__(
        self,
        schema: pa.Schema | None = None,
        version: int | str | None = None,
        stored: TableRows | None = None,
    ) -> None:
        self.schema, self.version = schema, version
        self.stored = TableRows() if stored is None else stored
        self.sql_reads_it = not self.stored

    def recognises(self, head: bytes) -> bool:
        """A file by itself is no table."""
        return False

    def footer(self, path: str) -> ShardFooter:
        """Return a file's rows and the table's columns, which it may lack some of.

        Raises InputError if the file has fewer rows than the log deletes of it.
        """
        footer = super().footer(path)
        schema = footer.schema if self.schema is None else self.schema
        gone = self.stored.gone(path)
        if len(gone) and gone[-1] >= footer.rows:
            raise InputError(
                f"{path}: row {gone[-1]:,} of it is deleted, but it has "
                f"{footer.rows:,}; the table is damaged"
            )
        mark = f"{footer.mark}{self.stored.mark(path)}"
        return ShardFooter(footer.rows - len(gone), schema, mark)

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table), with the columns that the table has.

        `rows` counts those that are left of a file.
        """
        known = self.schema if schema is None else schema
        inner = self.stored.in_file(path, rows)
        if not self.stored.fields or known is None:
            yield from super().read_rows(path, inner, columns, known)
            return
        wanted = pa.schema([known.field(name) for name in columns])
        written = super().footer(path).schema
        stored = self.stored.names_in_file(written, columns)
        if not stored:
            # A table without columns has no rows either.
            nothing = pa.table({})
            yield 0, self.stored.as_table_has(nothing, path, wanted, len(rows))
            return
        for start, part in super().read_rows(path, inner, stored):
            if isinstance(part, Unreadable):
                types = dict(zip(wanted.names, wanted.types, strict=True))
                yield start, Unreadable(part.rows, part.reason, types)
            else:
                yield (
                    start,
                    self.stored.as_table_has(part, path, wanted, len(part)),
                )

    def suffix(self, path: str) -> str:
        """Return the ending of names of kept shards."""
        return ".parquet"

    def beside(self, other: ShardFormat) -> ShardFormat:
        """Return what reads the files of both tables.

        Raises InputError for tables of different columns: no file says its own.
        """
        if not isinstance(other, TableFormat):
            return self
        same = self.schema is not None and self.schema.equals(other.schema)
        if not same or list(self.stored.fields) != list(other.stored.fields):
            raise InputError(
                f"input.path: a {self.title} beside another with other columns, or "
                "other names of them in its files; write both out as Parquet"
            )
        stored = self.stored.beside(other.stored)
        return type(self)(self.schema, self.version, stored)

    def pinned(self) -> dict[str, Any]:
        """Return the table's version and columns, and which rows of files are gone."""
        assert self.schema is not None
        text = base64.b64encode(self.schema.serialize().to_pybytes()).decode()
        return {
            "version": self.version,
            "schema": text,
            **({"rows": self.stored.pinned()} if self.stored else {}),
        }

    def restored(self, pinned: Mapping[str, Any]) -> ShardFormat:
        """Return the format as it was when it was `pinned`."""
        if "schema" not in pinned:
            return self
        data = pa.py_buffer(base64.b64decode(pinned["schema"]))
        stored = restored_rows(pinned.get("rows", {}))
        kind = type(self)(pa.ipc.read_schema(data), pinned["version"], stored)
        return with_constants(kind, pinned)


class DeltaFormat(TableFormat):
    """Delta tables, by their log."""

    name = "delta"
    title = "Delta table"

    def claims(self, listing: Listing) -> FoundPool | None:
        """Return the files of a Delta table's newest version.

        Raises InputError for a damaged log and for what is not supported: features
        that are not known, files outside the table's folder. MissingExtraError where
        the library that reads logs is not installed.
        """
        if not any(listing.below(file)[0] == _LOG for file in listing.files):
            return None
        require("delta", f"the Delta table {listing.folder}")
        from deltalake.exceptions import DeltaError

        try:
            with _delta(listing) as table:
                return self._found(listing, table)
        except ValueError as error:
            raise _unsupported(listing, str(error)) from error
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
        require_known(table)
        actions = pa.table(table.get_add_actions(flatten=False)).combine_chunks()
        schema, mode = without_numbers(pa.schema(table.schema())), mapping_mode(table)
        names = [unquote(path) for path in actions["path"].to_pylist()]
        outside = [name for name in names if name.startswith("/") or "://" in name]
        if outside:
            raise ValueError(f"a file lies outside its folder: {outside[0]}")
        if not names:
            raise InputError(f"input.path: the Delta table {listing.folder} is empty")
        files = [f"{listing.folder.rstrip('/')}/{name}" for name in names]
        paths = [listing.path(file) for file in files]
        parts = table.metadata().partition_columns
        told = [f for f in told_fields(table) if f["name"] not in parts]
        rows = TableRows(
            mode, told if mode != "none" else (), _deleted(table, names, paths)
        )
        columns = [field for field in schema if field.name not in parts]
        kind: ShardFormat = type(self)(pa.schema(columns), table.version(), rows)
        if parts:
            stored = {
                field["name"]: stored_name(field, mode) for field in told_fields(table)
            }
            of_files = zip(paths, actions["partition"].to_pylist(), strict=True)
            values = {
                path: {
                    name: _text(row.get(name, row.get(stored[name]))) for name in parts
                }
                for path, row in of_files
            }
            added = pa.schema([schema.field(name) for name in parts])
            kind = WithConstants(kind, added, values)
        return FoundPool(kind, files)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _deleted(
    table: Any, names: Sequence[str], paths: Sequence[str]
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the numbers of deleted rows by path; names: of files below the table."""
    kept = kept_rows(table)
    root = unquote(urlparse(table.table_uri).path)
    deleted = {}
    for name, path in zip(names, paths, strict=True):
        mask = kept.get(os.path.realpath(os.path.join(root, name)))
        if mask is not None:
            gone = np.flatnonzero(~mask.to_numpy(zero_copy_only=False))
            deleted[same_path(path)] = gone.astype(np.int64)
    return deleted


def _unsupported(listing: Listing, what: str) -> InputError:
    return InputError(
        f"input.path: the Delta table {listing.folder} is not read: {what}. Write its "
        "newest version out as Parquet, or rewrite the table without them"
    )


@contextmanager
def _delta(listing: Listing) -> Iterator[Any]:
    """Open a table; of a remote one, a copy of its log and its deletion vectors.

    The library has options of its own for storage; what fsspec can open is read so.
    """
    import deltalake

    if is_local(listing.fs):
        yield deltalake.DeltaTable(listing.folder)
        return
    with tempfile.TemporaryDirectory() as copy:
        for file in listing.files:
            below = listing.below(file)
            vectors = below[-1].startswith(_VECTORS) and below[-1].endswith(".bin")
            if below[0] != _LOG and not vectors:
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

        Raises InputError for damaged metadata, for delete files that are not read, and
        for files outside its folder; MissingExtraError where pyiceberg is not
        installed.
        """
        names = ["/".join(listing.below(file)) for file in listing.files]
        if not is_iceberg(names):
            return None
        require("iceberg", f"the Iceberg table {listing.folder}")
        table = IcebergTable(listing.fs, listing.path(listing.folder), names)
        try:
            return self._found(listing, table)
        except ValueError as error:
            raise _unread_iceberg(listing, str(error)[:200]) from error

    def _found(self, listing: Listing, table: IcebergTable) -> FoundPool:
        held = table.files
        if not held:
            raise InputError(f"input.path: the Iceberg table {listing.folder} is empty")
        outside = [file.path for file in held if file.name is None]
        if outside:
            raise ValueError(f"a file lies outside its folder: {outside[0]}")
        other = [file for file in held if file.format != "PARQUET"]
        if other:
            raise ValueError(f"{other[0].name} is {other[0].format}, not Parquet")
        root = listing.folder.rstrip("/")
        files = {file.path: f"{root}/{file.name}" for file in held}
        deleted = {
            same_path(listing.path(files[path])): gone
            for path, gone in table.deleted.items()
        }
        constants = {
            same_path(listing.path(files[path])): {
                name: str(value.as_py()) for name, value in values.items()
            }
            for path, values in table.constants.items()
        }
        fields = table.fields if table.renamed or constants else ()
        rows = TableRows("id", fields, deleted, constants)
        kind = type(self)(table.schema, table.version, rows)
        return FoundPool(kind, sorted(files.values()))


def _unread_iceberg(listing: Listing, what: str) -> InputError:
    return InputError(
        f"input.path: the Iceberg table {listing.folder} is not read: {what}. Rewrite "
        "its data files, or write it out as Parquet"
    )
