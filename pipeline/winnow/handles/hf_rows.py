"""Kept rows as Hugging Face's `datasets` holds them: a mapped file of Arrow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from winnow.core.extras import require_package
from winnow.handles.memory_kinds import mapped_dataset
from winnow.reports.database import RunDatabase
from winnow.reports.export.kept_rows import KeptRows, RowsWanted
from winnow.reports.export.tables import hf_tables

if TYPE_CHECKING:
    import datasets


def as_dataset(run: Path, *, scores: bool) -> datasets.Dataset:
    """Return a run's kept rows, written batch by batch to a file that is mapped.

    Raises MissingExtraError if `datasets` is not installed, and what KeptRows raises.
    """
    require_package("datasets", "Run.to_hf")
    with RunDatabase(run) as database:
        schema, tables = hf_tables(KeptRows(database, RowsWanted(scores=scores)))
        batches = (b for table in tables for b in table.cast(schema).to_batches())
        dataset: datasets.Dataset = mapped_dataset(schema, batches)
        return dataset
