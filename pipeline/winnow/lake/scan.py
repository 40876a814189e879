"""The table flow: which tables of a lake are contained in which, stage by stage.

    RUN/edges.parquet     a row per pair whose column names are contained, with proof
    RUN/derived.parquet   a row per table that several hold together, or one renamed
    RUN/tables.parquet    a row per table, readable or not
    RUN/stages.parquet    how the pairs became fewer, and what that cost
    RUN/artifacts/        what the next scan need not work out again

Nothing is deleted here; `lake_plan` says what may go and `lake_apply` moves it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from winnow.config.lake import LakeConfig
from winnow.config.lock_file import lock_text, read_lock
from winnow.core.collector import seldom_collected
from winnow.core.engine import Engine
from winnow.core.errors import ConfigError, InputError, RunError
from winnow.core.inside import is_url, lies_in
from winnow.core.progress import Progress, Silent, watched
from winnow.core.run_folder import RunFolder, remove, write_text
from winnow.core.run_log import EVENTS, LoggedProgress, logged
from winnow.core.saved_files import DamagedError
from winnow.core.task import with_aside
from winnow.core.versions import versions
from winnow.lake import workers
from winnow.lake.earlier import EarlierScan, earlier_scan
from winnow.lake.files.catalogue import changes
from winnow.lake.lake_result import LakeResult
from winnow.lake.memory import Catalogue, Keys, keys_of
from winnow.lake.source import lake_of
from winnow.lake.stage_log import StageLog

if TYPE_CHECKING:
    from winnow.lake.settling import Settling

#: Makes the engine, given a folder for its scratch files.
LakeEngineFactory = Callable[[LakeConfig, Path], Engine]


def run(
    config: LakeConfig, make_engine: LakeEngineFactory, progress: Progress | None = None
) -> LakeResult:
    """Scan a lake and plan its deletions: what `winnow run` does with its recipe."""
    # The solver takes a while to import, and a scan alone needs none.
    from winnow.lake.plan import plan_lake

    result = scan(config, make_engine, progress)
    plan = plan_lake(str(result.path))
    return LakeResult(**{**vars(result), "plan": plan})


def scan(
    config: LakeConfig, make_engine: LakeEngineFactory, progress: Progress | None = None
) -> LakeResult:
    """Find which tables of a lake are contained in which; write what was found.

    Only tables that changed since an earlier scan of this run are read, and those that
    a changed one is compared with for the first time; the same command goes on where an
    earlier one stopped. Raises InputError if the lake does not exist or changes while
    it is read, ConfigError if the run's folder lies in the lake, RunError if it is in
    use or holds something else.
    """
    folder = RunFolder(config.output.path)
    if lies_in(str(folder.path), config.input.path):
        raise ConfigError(
            f"the run's folder {folder.path} lies in the lake {config.input.path}; "
            "choose a folder outside it with --out"
        )
    with folder.locked(), logged(folder.path):
        folder.refuse_run_of_samples()
        _refuse_other_lake(config, folder)
        write_text(folder.file("config.lock.yaml"), lock_text(config))
        engine = make_engine(config, folder.scratch("engine"))
        EVENTS.info("%s, %s", config.input.path, versions())
        told = LoggedProgress(progress or Silent())
        with watched(told, 0, engine.tasks), workers.beside(), seldom_collected():
            return _Scan(config, folder, engine, StageLog(told)).run()


def _refuse_other_lake(config: LakeConfig, folder: RunFolder) -> None:
    """Raise RunError if the folder holds a scan of another lake."""
    try:
        before = read_lock(folder.path).get("input")
    except DamagedError:
        return  # there is none, or it is written again
    old = before.get("path") if isinstance(before, dict) else None
    if isinstance(old, str) and _same(old) != _same(config.input.path):
        raise RunError(
            f"{folder.path} holds a scan of another lake, {old}, and perhaps its "
            "tables in the trash; choose another folder with --out, or restore and "
            "remove that one"
        )


def _no_tables(config: LakeConfig, ignored: dict[str, int]) -> InputError:
    """Return what to say of a lake without tables, whose scan would say nothing."""
    left = ", ".join(f"{count:,} {ending}" for ending, count in ignored.items())
    source = config.input
    chosen = [*source.include, *source.exclude] != ["**"]
    globs = ", or input.include and input.exclude leave them all out" if chosen else ""
    return InputError(
        f"{source.path}: there is no table in it{globs}"
        f"{f'; its files: {left}' if left else ''}. Is it the right folder?"
    )


def _same(lake: str) -> str:
    return lake if is_url(lake) else os.path.realpath(os.path.expanduser(lake))


@dataclass(frozen=True)
class _Scan:
    config: LakeConfig
    folder: RunFolder
    engine: Engine
    log: StageLog

    def run(self) -> LakeResult:
        """Run every stage, write what was found and return what it comes to."""
        keys = keys_of(self.config, self.folder)
        meter = self.log.started("catalogue", 0)
        memory = Catalogue(self.folder, keys)
        lake = lake_of(self.config, self.folder)
        changed, (earlier, settling) = with_aside(
            lambda: changes(lake, memory.known, memory.folders(lake)),
            lambda: self._meanwhile(keys),
        )
        read = sum(part.surveyed_bytes for t, _ in changed.opened for part in t.parts)
        tables = len(changed.opened) + len(changed.same)
        if not tables:
            raise _no_tables(self.config, changed.ignored)
        pairs = tables * (tables - 1)
        self.log.finished("catalogue", (pairs, pairs), read, meter)
        result = settling.settled(memory, changed, earlier)
        memory.remember_folders(lake, changed.folders)
        remove(self.folder.file(".work"))
        return result

    def _meanwhile(self, keys: Keys) -> tuple[EarlierScan | None, Settling]:
        """Return what is needed once a lake is listed and its tables are opened.

        A million edges take a while to read, and what compares tables to load.
        """
        from winnow.lake.settling import Settling

        # For its first array of a list pyarrow loads pandas, where it is installed.
        pa.array([], pa.null())
        settling = Settling(self.config, self.folder, self.engine, self.log, keys)
        return earlier_scan(self.folder, keys, self.config), settling
