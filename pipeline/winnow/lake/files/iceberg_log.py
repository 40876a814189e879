"""Iceberg tables: which files are active, by their newest metadata.

Bounds are taken from the Parquet footers and never from manifests, where texts are cut
to 16 characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from winnow.lake.files.files import Entry, Files
from winnow.lake.files.snapshots import BorrowedFiles, NeedsLog, Snapshot

if TYPE_CHECKING:
    from winnow.table_logs.iceberg import IcebergFile


def snapshot(files: Files, location: str, entries: Sequence[Entry]) -> Snapshot:
    """Return the newest version; `entries` are the files below the table's folder.

    Raises ValueError if the metadata is damaged or names what pyiceberg does not read,
    BorrowedFiles, NeedsLog for delete files and for columns whose names, or values,
    stand in the metadata. Raises MissingExtraError where pyiceberg is not installed.
    """
    # As in `formats.iceberg`.
    from winnow.table_logs.iceberg import IcebergTable

    fs, _ = files.filesystem(location)
    root = location.rstrip("/") + "/"
    names = [entry.path.removeprefix(root) for entry in entries]
    table = IcebergTable(fs, location, names)
    outside = [file.path for file in table.files if file.name is None]
    if outside:
        raise BorrowedFiles(outside)
    by_log = next((file for file in table.files if not _by_itself(file)), None)
    if by_log is not None:
        raise NeedsLog(f"rows of {by_log.name} are told by its metadata alone")
    active = [str(file.name) for file in table.files]
    gone = sorted({*active} - {*names})
    if gone:
        raise ValueError(f"a file that its metadata names is gone: {gone[0]}")
    for name in active:
        if not table.tells_itself(_schema(files, root + name)):
            raise NeedsLog(f"columns of {name} are told by its metadata alone")
    return Snapshot(table.schema, tuple((name, ()) for name in active))


def _by_itself(file: IcebergFile) -> bool:
    return file.format == "PARQUET" and not file.deleted


def _schema(files: Files, path: str) -> pa.Schema:
    with files.parquet(path) as file:
        return file.schema_arrow
