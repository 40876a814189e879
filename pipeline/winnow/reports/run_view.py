"""Read access to a finished (or unfinished) run."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from winnow.config.lock_file import read_lock
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder
from winnow.reports.stored_tables import has_table, table_files


class RunView:
    """A run's markers, ledger and artifacts as polars frames."""

    def __init__(self, path: str | Path) -> None:
        """Open a run; raises RunError if the folder holds none."""
        self.folder = RunFolder(path)
        self.markers: list[Marker] = self.folder.markers()
        self._checked = set[str]()

    @cached_property
    def finished(self) -> bool:
        """Whether the run has come to its end; its manifest is written last."""
        return self.folder.finished

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved recipe."""
        return read_lock(self.folder.path)

    def ledger(self, step: str) -> pl.LazyFrame:
        """Return the decisions of one step."""
        return self._table(step, self.folder.ledger(step))

    def rejects(self, step: str) -> pl.LazyFrame:
        """Return (uid, reason) of the rows that a step quarantined."""
        return self.artifact(step, "rejects")

    def artifact(self, step: str, name: str) -> pl.LazyFrame:
        """Return a table that a step has stored."""
        return self._table(step, self.folder.artifacts(step) / name)

    def has_artifact(self, step: str, name: str) -> bool:
        """Whether a step has stored this table."""
        return has_table(self.folder, self.markers, step, name)

    def _table(self, step: str, folder: Path) -> pl.LazyFrame:
        """Return a table of a step; raises RunError if it is not as it was written."""
        below = folder.relative_to(self.folder.path).as_posix() + "/"
        if below not in self._checked:
            for marker in self.markers:
                if marker.step == step:
                    self.folder.require_whole(marker, below)
            self._checked.add(below)
        return pl.scan_parquet(table_files(self.folder, folder), glob=False)
