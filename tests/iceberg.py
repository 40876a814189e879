"""Iceberg tables for tests: a catalogue of their own, and delete files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class Warehouse:
    """Tables in a folder, by a catalogue that lies beside it."""

    def __init__(self, folder: Path) -> None:
        from pyiceberg.catalog.sql import SqlCatalog

        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._catalog = SqlCatalog(
            "c",
            uri=f"sqlite:///{folder.parent}/{folder.name}.db",
            warehouse=str(folder),
        )
        self._catalog.create_namespace("n")

    def table(self, name: str, schema: pa.Schema) -> Any:
        """Make an empty table in a folder of this name."""
        return self._catalog.create_table(
            f"n.{name}", schema, location=str(self.folder / name)
        )


def delete_file(table: Any, content: str, rows: list[Any]) -> None:
    """Commit a delete file, which pyiceberg itself does not write.

    content: POSITION_DELETES of rows of the first data file, or EQUALITY_DELETES of
    rows with these values of the table's first column.
    """
    from pyiceberg.manifest import (
        DataFile,
        DataFileContent,
        FileFormat,
        ManifestContent,
        ManifestEntry,
        ManifestEntryStatus,
        ManifestWriterV2,
    )
    from pyiceberg.table.update.snapshot import _FastAppendFiles
    from pyiceberg.typedef import Record

    (task, *_) = table.scan().plan_files()
    path = f"{table.location()}/data/deletes-{content}-{len(rows)}.parquet"
    values = {"file_path": [task.file.file_path] * len(rows), "pos": rows}
    if content == "EQUALITY_DELETES":
        first = table.schema().fields[0]
        number = {"PARQUET:field_id": str(first.field_id)}
        column = pa.array(rows)
        field = pa.field(first.name, column.type, metadata=number)
        pq.write_table(pa.table([column], schema=pa.schema([field])), path)
    else:
        pq.write_table(pa.table(values), path)
    file = DataFile.from_args(
        content=DataFileContent[content],
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=len(rows),
        file_size_in_bytes=Path(path).stat().st_size,
        column_sizes={},
        value_counts={},
        null_value_counts={},
        nan_value_counts={},
        lower_bounds={},
        upper_bounds={},
        key_metadata=None,
        split_offsets=None,
        equality_ids=[1] if content == "EQUALITY_DELETES" else None,
        sort_order_id=None,
    )
    file.spec_id = table.metadata.default_spec_id

    class Deletes(ManifestWriterV2):
        def content(self) -> ManifestContent:
            return ManifestContent.DELETES

        @property
        def _meta(self) -> dict[str, str]:
            return {**super()._meta, "content": "deletes"}

    class WithDeletes(_FastAppendFiles):
        def _manifests(self) -> list[Any]:
            writer = Deletes(
                table.spec(),
                table.schema(),
                self.new_manifest_output(),
                self.snapshot_id,
                "null",
            )
            with writer:
                writer.add(
                    ManifestEntry.from_args(
                        status=ManifestEntryStatus.ADDED,
                        snapshot_id=self.snapshot_id,
                        sequence_number=None,
                        file_sequence_number=None,
                        data_file=file,
                    )
                )
            return [writer.to_manifest_file(), *self._existing_manifests()]

    from pyiceberg.table.snapshots import Operation

    with table.transaction() as transaction:
        WithDeletes(
            operation=Operation.APPEND, transaction=transaction, io=table.io
        ).commit()
