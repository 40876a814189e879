"""Kept rows for a torch DataLoader; imported when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import distributed
from torch.utils.data import IterableDataset, get_worker_info

from winnow.core.run_log import about_row
from winnow.models.images import decode_rgb
from winnow.reports.database import RunDatabase
from winnow.reports.export.kept_rows import KeptRows, RowsWanted
from winnow.reports.export.selected import tables_of


class KeptDataset(IterableDataset[dict[str, Any]]):
    """The kept rows of a run as dictionaries, for `torch.utils.data.DataLoader`.

    run: the run's folder.
    columns: of the input, by name; `uid` always comes. None: all of them.
    decode: give pictures as PIL images (RGB, upright); otherwise as encoded bytes.

    Workers share the rows among them, and so do the processes of a distributed
    training. Rows come in the order of the input; for another, shuffle in a buffer.

    Raises RunError if the run is not finished, ConfigError for an unknown column.

    >>> from torch.utils.data import DataLoader
    >>> kept = run.to_torch(["text"])
    >>> sum(len(batch["uid"]) for batch in DataLoader(kept, batch_size=8)) == len(kept)
    True
    """

    def __init__(
        self, run: Path, columns: Sequence[str] | None = None, *, decode: bool = True
    ) -> None:
        self._run, self._decode = run, decode
        self._columns = None if columns is None else tuple(columns)
        with RunDatabase(run) as database:
            self._rows = KeptRows(database, RowsWanted(self._columns)).draws()

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with RunDatabase(self._run) as database:
            rows = KeptRows(database, RowsWanted(self._columns, share=_share()))
            image = rows.columns.image if self._decode else None
            for table in tables_of(rows):
                for row in table.to_pylist():
                    if image is not None and row[rows.name(image)] is not None:
                        with about_row(str(row["uid"])):
                            row[rows.name(image)] = decode_rgb(row[rows.name(image)])
                    yield row


def _share() -> tuple[int, int]:
    """Return which share of the rows this worker of this process reads, of how many."""
    worker = get_worker_info()
    number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
    together = distributed.is_available() and distributed.is_initialized()
    rank = distributed.get_rank() if together else 0
    ranks = distributed.get_world_size() if together else 1
    return rank * workers + number, ranks * workers
