"""Kept rows as Hugging Face's `datasets` holds them: a mapped file of Arrow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from winnow.core.extras import require_package
from winnow.reports.database import RunDatabase
from winnow.reports.export.kept_rows import KeptRows, RowsWanted
from winnow.reports.export.tables import hf_tables

if TYPE_CHECKING:
    import datasets

#: Folders of mapped files; they go with the process, whatever still maps them.
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def as_dataset(run: Path, *, scores: bool) -> datasets.Dataset:
    """Return a run's kept rows, written batch by batch to a file that is mapped.

    Raises MissingExtraError if `datasets` is not installed, and what KeptRows raises.
    """
    require_package("datasets", "Run.to_hf")
    import datasets

    folder = tempfile.TemporaryDirectory(prefix="winnow-hf-")
    file = Path(folder.name) / "kept.arrow"
    with RunDatabase(run) as database:
        schema, tables = hf_tables(KeptRows(database, RowsWanted(scores=scores)))
        with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, schema) as sink:
            for table in tables:
                sink.write_table(table.cast(schema))
    _FOLDERS.append(folder)
    return datasets.Dataset.from_file(str(file))
