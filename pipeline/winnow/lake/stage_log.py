"""The stages of a scan as they begin and end: pairs left over, bytes, seconds."""

from __future__ import annotations

from typing import Any

from winnow.core.marker import Marker
from winnow.core.meter import Meter
from winnow.core.progress import Progress
from winnow.lake.kernels.tables import STAGES


class StageLog:
    """Tells a progress of stages, and keeps a row of STAGES for each."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.rows: list[dict[str, Any]] = []

    def started(self, stage: str, pairs: int) -> Meter:
        """Say that a stage begins."""
        self._progress.started(stage, pairs)
        return Meter()

    def finished(
        self, stage: str, pairs: tuple[int, int], read: int, meter: Meter
    ) -> None:
        """Say that a stage is over: pairs before and after it, bytes read."""
        seconds, peak = meter.read()
        row = (stage, *pairs, seconds, read)
        self.rows.append(dict(zip(STAGES.names, row, strict=True)))
        marker = Marker(
            stage, stage, "", "", *pairs, 0, True, seconds=seconds, peak_rss_mb=peak
        )
        self._progress.finished(marker, again=False)
