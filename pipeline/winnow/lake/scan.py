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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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
from winnow.lake.derived import DerivedMemory, DerivedTables
from winnow.lake.earlier import EarlierScan, earlier_scan, graph_of, remember_scan
from winnow.lake.files.catalogue import Changes, changes, whole
from winnow.lake.files.saved_parts import DamagedPart
from winnow.lake.kernels.tables import DERIVED
from winnow.lake.memory import Catalogue, Keys, keys_of
from winnow.lake.rescan import Rescan
from winnow.lake.results import is_new, reasons_of, tables_of, write_results
from winnow.lake.run import lake_of
from winnow.lake.stage_log import StageLog, stages_of
from winnow.lake.stages import Stages

#: Makes the engine, given a folder for its scratch files.
LakeEngineFactory = Callable[[LakeConfig, Path], Engine]


@dataclass(frozen=True)
class LakeResult:
    """What a scan found; `plan` is what `plan_lake` returned if it was asked for."""

    path: Path
    tables: int
    #: Stored bytes of the tables.
    bytes: int
    #: Tables that cannot be read or only in part, with the reason.
    reasons: dict[str, str]
    #: Pairs by relation.
    relations: dict[str, int]
    stages: list[dict[str, Any]]
    plan: dict[str, Any] | None = None
    #: Files that are no table's, by their ending.
    ignored: dict[str, int] = field(default_factory=dict)


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


@dataclass
class _Scan:
    config: LakeConfig
    folder: RunFolder
    engine: Engine
    log: StageLog
    #: Files that are no table's, by their ending.
    ignored: dict[str, int] = field(default_factory=dict)
    keys: Keys = field(init=False)

    def run(self) -> LakeResult:
        """Run every stage, write what was found and return what it comes to."""
        self.keys = keys_of(self.config, self.folder)
        meter = self.log.started("catalogue", 0)
        memory = Catalogue(self.folder, self.keys)
        lake = lake_of(self.config, self.folder)
        earlier: list[EarlierScan | None] = []
        # A million edges are read while the lake is listed.
        changed = with_aside(
            lambda: changes(lake, memory.known, memory.folders(lake)),
            lambda: earlier.append(earlier_scan(self.folder, self.keys, self.config)),
        )
        self.ignored = changed.ignored
        read = sum(part.surveyed_bytes for t, _ in changed.opened for part in t.parts)
        tables = len(changed.opened) + len(changed.same)
        if not tables:
            raise _no_tables(self.config, self.ignored)
        pairs = tables * (tables - 1)
        self.log.finished("catalogue", (pairs, pairs), read, meter)
        result = self._again(memory, changed, earlier.pop())
        result = result or self._anew(memory, changed)
        memory.remember_folders(lake, changed.folders)
        remove(self.folder.file(".work"))
        return result

    def _again(
        self, memory: Catalogue, changed: Changes, earlier: EarlierScan | None
    ) -> LakeResult | None:
        """Decide the pairs of changed tables only; None if that cannot be done."""
        if earlier is None:
            return None
        before = list(self.log.rows)
        rescan = Rescan(
            self.config, self.folder, self.engine, self.log, memory.known, self.keys
        )
        try:
            decided = rescan.decided(earlier, changed)
        except DamagedPart:
            decided = None
        finally:
            self.engine.clear()
        if decided is None:
            self.log.rows = before
            return None
        result = self._written(decided.results, decided.graph, new=decided.new)
        memory.add([one for one in changed.opened if one[0].name in decided.changed])
        decided.stages.sketch_memory.settle()
        decided.stages.pair_memory.settle()
        return result

    def _anew(self, memory: Catalogue, changed: Changes) -> LakeResult:
        """Decide all pairs, of whatever is remembered of unchanged tables."""
        surveyed = whole(changed, memory.known)
        stages = stages_of(self.config, self.folder, self.engine, surveyed, self.keys)
        try:
            self._settle(stages, len(surveyed), partial(memory.remember, surveyed))
            derived = self._derived(stages)
        finally:
            self.engine.clear()
        near = self.config.partial
        edges = stages.findings.as_table(
            stages.tables, near.min_containment if near.enabled else None
        )
        results = {"edges": edges, "derived": derived}
        new = is_new(self.folder, results)
        lake_tables = [table for table, _ in surveyed]
        results["tables"] = tables_of(lake_tables, reasons_of(stages), stages)
        result = self._written(results, graph_of(stages, range(len(surveyed))), new=new)
        stages.sketch_memory.settle()
        stages.pair_memory.settle()
        return result

    def _written(
        self, results: Mapping[str, pa.Table], graph: pa.Table, *, new: bool
    ) -> LakeResult:
        relations = write_results(
            self.folder, self.config, results, self.log.rows, self.ignored, new=new
        )
        remember_scan(self.folder, self.keys, self.config, graph)
        tables = results["tables"]
        partly = tables.filter(tables["reason"].is_valid())
        names, reasons = (partly[n].to_pylist() for n in ("table", "reason"))
        return LakeResult(
            self.folder.path,
            len(tables),
            pc.sum(tables["bytes"], min_count=0).as_py(),
            dict(zip(names, reasons, strict=True)),
            relations,
            self.log.rows,
            ignored=self.ignored,
        )

    def _settle(
        self, stages: Stages, tables: int, remember: Callable[[], None]
    ) -> None:
        """Settle all pairs; `remember` the tables while other processes read them."""
        before = tables * (tables - 1)
        for name in ("schema", "min_max", "sketch", "sample", "content"):
            meter = self.log.started(name, before)
            if name == "sketch":
                read = with_aside(stages.sketch, remember)
            else:
                read = getattr(stages, name)()
            findings = stages.findings
            after = len(findings.open()) + int(findings.contained.sum())
            if name == "sample":
                # A child that its sketch holds whole was compared as a whole.
                after += len(findings.refuted_in("content"))
            self.log.finished(name, (before, after), read, meter)
            before = after
        self.log.of_partial(stages)
        stages.consistent()
        self.log.of_texts(stages, self.folder, before)

    def _derived(self, stages: Stages) -> pa.Table:
        """Return DERIVED."""
        config = self.config.derived
        if not (config.unions or config.renamed):
            return DERIVED.empty_table()
        memory = DerivedMemory(self.folder, self.keys.derived)
        search = DerivedTables(stages, self.folder, memory)
        meter = self.log.started("derived", 0)
        derived = search.table()
        memory.settle()
        pairs = search.suggested, len(derived)
        self.log.finished("derived", pairs, search.read, meter)
        return derived
