"""The stages of a scan as they begin and end: pairs left over, bytes, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from winnow.config.lake import LakeConfig
from winnow.core.engine import Engine
from winnow.core.marker import Marker
from winnow.core.meter import Meter
from winnow.core.progress import Progress
from winnow.core.run_folder import RunFolder
from winnow.lake.files.table_files import Surveyed
from winnow.lake.kernels.tables import STAGES
from winnow.lake.memory import Keys
from winnow.lake.pair_memory import PairMemory
from winnow.lake.run import hashed_tables
from winnow.lake.scope import Scope
from winnow.lake.sketch_memory import SketchMemory
from winnow.lake.stages import Stages, sizes_of
from winnow.lake.texts import Ints, add_rebuilds, add_witnesses


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

    def of_partial(self, stages: Stages) -> None:
        """Run the stage `partial`."""
        meter = self.started("partial", len(stages.findings.refuted()))
        suggested, near, read = stages.partial()
        self.finished("partial", (suggested, near), read, meter)

    def of_texts(
        self,
        stages: Stages,
        folder: RunFolder,
        contained: int,
        searched: Ints | None = None,
    ) -> None:
        """Find witnesses, and the queries of `contained` pairs; see `add_rebuilds`."""
        meter = self.started("witness", len(stages.findings.refuted()))
        pairs, read = add_witnesses(stages)
        self.finished("witness", (pairs, pairs), read, meter)
        meter = self.started("rebuild", contained)
        read = add_rebuilds(stages, folder, searched)
        self.finished("rebuild", (contained, contained), read, meter)


def stages_of(
    config: LakeConfig,
    folder: RunFolder,
    engine: Engine,
    surveyed: Sequence[Surveyed],
    keys: Keys,
    scope: Scope | None = None,
) -> Stages:
    """Return the stages of a scan of some tables; with a `scope` they are a few."""
    tables = [table for table, _ in surveyed]
    hashed = hashed_tables(config, tables)
    few = scope is not None
    return Stages(
        config,
        engine,
        hashed,
        [
            {key: statistics[name] for key, name in names.items()}
            for (_, statistics), names in zip(surveyed, hashed.names, strict=True)
        ],
        SketchMemory(folder, keys, tables, sizes_of(config), few=few),
        PairMemory(folder, keys, tables, few=few),
        scope,
    )
