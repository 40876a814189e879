"""The stages of a scan of some tables, and those whose work is outside `Stages`."""

from __future__ import annotations

from collections.abc import Sequence

from winnow.config.lake import LakeConfig
from winnow.core.engine import Engine
from winnow.core.run_folder import RunFolder
from winnow.lake.files.table_files import Surveyed
from winnow.lake.memory import Keys
from winnow.lake.pair_memory import PairMemory
from winnow.lake.run import hashed_tables
from winnow.lake.scope import Scope
from winnow.lake.sketch_memory import SketchMemory
from winnow.lake.stage_log import StageLog
from winnow.lake.stages import Stages, sizes_of
from winnow.lake.texts import Ints, add_rebuilds, add_witnesses


def count_partial(log: StageLog, stages: Stages) -> None:
    """Run the stage `partial`."""
    meter = log.started("partial", len(stages.findings.refuted()))
    suggested, near, read = stages.partial()
    log.finished("partial", (suggested, near), read, meter)


def add_texts(
    log: StageLog,
    stages: Stages,
    folder: RunFolder,
    contained: int,
    searched: Ints | None = None,
) -> None:
    """Find witnesses, and the queries of `contained` pairs; see `add_rebuilds`."""
    meter = log.started("witness", len(stages.findings.refuted()))
    pairs, read = add_witnesses(stages)
    log.finished("witness", (pairs, pairs), read, meter)
    meter = log.started("rebuild", contained)
    read = add_rebuilds(stages, folder, searched)
    log.finished("rebuild", (contained, contained), read, meter)


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
