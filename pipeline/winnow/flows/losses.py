"""A run that loses most of its pool to quarantine is stopped, with the reasons."""

from __future__ import annotations

from collections import Counter

from winnow.config.run import RunConfig
from winnow.core.errors import InputError
from winnow.core.marker import Marker
from winnow.core.progress import Progress, Telling
from winnow.core.run_folder import RunFolder
from winnow.reports.losses import named, quarantine_reasons


class WatchedProgress:
    """Hands on what a run tells, and raises once too many rows are in quarantine.

    progress: who is told. folder: where the run's steps write.
    """

    def __init__(
        self, progress: Progress, config: RunConfig, folder: RunFolder
    ) -> None:
        self._progress, self._folder = progress, folder
        self._limit = config.input.max_quarantined
        self._rows: int | None = None
        self._quarantined = 0
        self._reasons: Counter[str] = Counter()

    def started(self, step: str, rows: int) -> None:
        """A step begins; the first one gets the whole pool."""
        if self._rows is None:
            self._rows = rows
        self._progress.started(step, rows)

    def doing(self, what: str, unit: str) -> None:
        """The running step says what it is about."""
        if isinstance(self._progress, Telling):
            self._progress.doing(what, unit)

    def advanced(self, done: int, total: int) -> None:
        """The running step has worked through so many of its rows."""
        self._progress.advanced(done, total)

    def finished(self, marker: Marker, *, again: bool) -> None:
        """A step is done.

        Raises InputError if more than `input.max_quarantined` of the pool could not be
        used by now.
        """
        self._progress.finished(marker, again=again)
        if not marker.quarantined:
            return
        self._quarantined += marker.quarantined
        self._reasons += quarantine_reasons(self._folder.artifacts(marker.step))
        rows = self._rows or 0
        if self._quarantined > self._limit * rows:
            raise InputError(
                f"{marker.step}: {self._quarantined:,} of {rows:,} rows cannot be used "
                f"({named(self._reasons)}), more than input.max_quarantined "
                f"({self._limit:g}) allows; mend the input, or raise that share and "
                "give the same command again"
            )
