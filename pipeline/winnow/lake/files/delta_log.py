"""Delta tables: which files are active, by the log.

Bounds are taken from the Parquet footers and never from the log: there strings are cut
to 32 characters and instants to milliseconds, the greatest too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa

from winnow.core.extras import require
from winnow.core.inside import resolve_inside
from winnow.lake.files.files import Entry, Files
from winnow.lake.files.snapshots import BorrowedFiles, NeedsLog, Snapshot
from winnow.table_logs.delta import kept_rows, mapping_mode, require_known

if TYPE_CHECKING:
    import deltalake

_LOG = "_delta_log"


def snapshot(files: Files, location: str, entries: Sequence[Entry]) -> Snapshot:
    """Return the newest version; `entries` are the files below the table's folder.

    Raises ValueError if the log is damaged, or the table needs what is not supported:
    a feature that is not known, files outside its folder, NeedsLog for mapped column
    names or deletion vectors. Raises MissingExtraError where the library that reads
    logs is not installed.
    """
    require("delta", f"the Delta table {location}")
    from deltalake.exceptions import DeltaError

    try:
        return _snapshot(files, location, entries)
    except DeltaError as error:
        raise ValueError(str(error)) from error


def _snapshot(files: Files, location: str, entries: Sequence[Entry]) -> Snapshot:
    with _opened(files, location, entries) as table:
        require_known(table)
        mode = mapping_mode(table)
        if mode != "none":
            raise NeedsLog(f"its column names are mapped (by {mode})")
        if kept_rows(table):
            raise NeedsLog("rows of it are deleted by deletion vectors")
        actions = pa.table(table.get_add_actions(flatten=False)).combine_chunks()
        schema = pa.schema(table.schema())
    paths = [unquote(path) for path in actions["path"].to_pylist()]
    outside = [path for path in paths if path.startswith("/") or "://" in path]
    if outside:
        raise BorrowedFiles(outside)
    constants = _partition_values(actions, schema)
    return Snapshot(schema, tuple(sorted(zip(paths, constants, strict=True))))


@contextmanager
def _opened(
    files: Files, location: str, entries: Sequence[Entry]
) -> Iterator[deltalake.DeltaTable]:
    """Open a table; of a remote one only a copy of the log.

    The library has storage options of its own; whatever fsspec can open is read so.
    """
    import deltalake

    if files.is_local(location):
        yield deltalake.DeltaTable(files.filesystem(location)[1])
        return
    with tempfile.TemporaryDirectory() as copy:
        for entry in entries:
            _, log, name = entry.name.rpartition(f"{_LOG}/")
            if not log:
                continue
            target = resolve_inside([copy], os.path.join(copy, _LOG), name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            fs, inner = files.filesystem(entry.path)
            fs.get_file(inner, target)
        yield deltalake.DeltaTable(copy)


def _partition_values(
    actions: pa.Table, schema: pa.Schema
) -> list[tuple[tuple[str, pa.Scalar], ...]]:
    if "partition" not in actions.column_names:
        return [()] * len(actions)
    partition = pa.Table.from_struct_array(actions["partition"])
    return [
        tuple(
            (name, partition[name][row].cast(schema.field(name).type))
            for name in partition.column_names
        )
        for row in range(len(partition))
    ]
