"""The public face: what `import winnow` gives, and what the command line calls.

Each function reads a recipe or opens what one has left; products do the work, and are
imported when they are asked for: a scan of tables needs no model, a run no solver.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from winnow.config.any_recipe import read_recipe
from winnow.config.lake import LakeConfig
from winnow.config.recipes import load_scan
from winnow.config.run import RunConfig
from winnow.config.settings import as_overrides
from winnow.core.errors import ConfigError, WinnowError
from winnow.core.inside import is_url
from winnow.core.other_kind import is_scan
from winnow.handles.engine import make_engine

if TYPE_CHECKING:
    from winnow.config.filter_train import FilterTrainConfig
    from winnow.core.progress import Progress
    from winnow.handles.facts import Facts
    from winnow.handles.finished_run import FinishedRun
    from winnow.handles.finished_scan import FinishedScan
    from winnow.handles.lake import Lake
    from winnow.handles.run import Run
    from winnow.lake.scan import LakeEngineFactory
    from winnow.pages.database import ViewDatabase

Settings = Mapping[str, Any]
PathLike = str | os.PathLike[str]
#: A path, the name of a shipped recipe, or a recipe's values.
Recipe = str | Path | Mapping[str, Any]

_log = logging.getLogger(__name__)


@overload
def run(
    recipe: RunConfig,
    set: Settings | None = None,
    *,
    progress: Progress | None = None,
    spark: Any = None,
    from_runs: Sequence[PathLike] = (),
    replace: bool = False,
) -> FinishedRun: ...
@overload
def run(
    recipe: LakeConfig,
    set: Settings | None = None,
    *,
    progress: Progress | None = None,
    spark: Any = None,
    from_runs: Sequence[PathLike] = (),
    replace: bool = False,
) -> FinishedScan: ...
@overload
def run(
    recipe: Recipe,
    set: Settings | None = None,
    *,
    progress: Progress | None = None,
    spark: Any = None,
    from_runs: Sequence[PathLike] = (),
    replace: bool = False,
) -> Any: ...


def run(
    recipe: Recipe | RunConfig | LakeConfig,
    set: Settings | None = None,
    *,
    progress: Progress | None = None,
    spark: Any = None,
    from_runs: Sequence[PathLike] = (),
    replace: bool = False,
) -> FinishedRun | FinishedScan:
    """Run a recipe, or go on where it stopped; a finished run is left alone.

    recipe: a YAML file, the name of a shipped recipe, its values, or `load_recipe`'s.
    set: settings to change, by dotted key (`{"input.path": "pool"}`) or by section.
        `input.path` may also be the samples themselves, in memory: an Arrow table (or
        what has Arrow's C stream), a frame of polars, pandas or Spark, a list of
        dictionaries, a `datasets.Dataset`. They are written into the run's folder once,
        and `Run.kept_in_kind` gives back what is kept as what was given.
    progress: told of every step: an object with `started`, `advanced`, `finished` and,
        if it wants to know what a step is about, `doing`. On Spark it is told from
        another thread, too.
    spark: a SparkSession to run on, whatever engine the recipe names. None: of a frame
        of Spark, its own.
    from_runs: folders of runs to take over what they have done already. The run whose
        lock file the recipe is need not be named.
    replace: whether the run of another recipe or input, which the folder holds, may go;
        it stays until this one is finished.

    Of a recipe of samples it returns a FinishedRun, whose `run` opens it. A recipe of
    tables is scanned and its deletions planned, none of them carried out; it returns a
    FinishedScan, whose `lake` opens that. Raises ConfigError or InputError before any
    work if the recipe cannot run on this input, RunError if the folder holds another
    run or a process writes it.

    >>> result = winnow.run(recipe, set={"output.path": "runs/half",
    ...                                  "score.keep_fraction": 0.5})
    >>> result.rows
    60
    >>> result.run.steps().column_names[:3]
    ['step', 'rows_in', 'kept']
    """
    from winnow.handles.memory_pool import pool_in_memory

    given = pool_in_memory(recipe, set)
    if given is not None:
        with given.written() as settings:
            finished: FinishedRun = run(
                given.recipe,
                settings,
                progress=progress,
                spark=spark or given.spark,
                from_runs=from_runs,
                replace=replace,
            )
            return finished
    config, factory = _read(recipe, set), partial(make_engine, spark=spark)
    if isinstance(config, LakeConfig):
        return _run_lake(config, factory, progress)
    if not isinstance(config, RunConfig):
        raise ConfigError(f"flow: {config.flow}: train this recipe by train_filter")
    from winnow.flows import runner
    from winnow.flows.taking_over import runs_to_take_from
    from winnow.handles.finished_run import FinishedRun

    with _work_folder(config) as work:
        result = runner.run(
            config,
            factory,
            progress,
            sources=runs_to_take_from(recipe, from_runs),
            replace_other=replace,
            work=work,
        )
        # Whatever runs a step removes the page.
        if config.output.report and not Path(result.path, "report.html").is_file():
            _write_report(result.path)
    return FinishedRun(**vars(result))


def _run_lake(
    config: LakeConfig, factory: LakeEngineFactory, progress: Progress | None
) -> FinishedScan:
    from winnow.handles.finished_scan import FinishedScan
    from winnow.lake import scan as table_lake

    scanned = table_lake.run(config, factory, progress)
    if config.output.report:
        _write_report(scanned.path)
    return FinishedScan(**vars(scanned))


def _read(
    recipe: Recipe | RunConfig | LakeConfig, set: Settings | None
) -> RunConfig | LakeConfig | FilterTrainConfig:
    return read_recipe(recipe, as_overrides(set))


@contextmanager
def _work_folder(config: RunConfig) -> Iterator[Path | None]:
    """Yield where a run at a URL is made, and publish it; None for a folder."""
    if not is_url(config.output.path):
        yield None
        return
    from winnow.stores.copies import updating

    with updating(config.output.path, config.engine.scratch) as folder:
        yield folder


def plan(
    recipe: Recipe | RunConfig,
    set: Settings | None = None,
    *,
    from_runs: Sequence[PathLike] = (),
) -> Facts:
    """Return what a recipe of samples would do, and about how long; run nothing.

    recipe: as for `run`.
    set: settings to change, as for `run`.
    from_runs: folders of runs to take over from, as for `run`.

    `steps` says of each step what it reads and writes, at most how many rows enter it,
    `seconds` on two cores, `bytes` of disk, whether it is `done` already,
    and from which run it would be `taken_from`. Raises
    ConfigError or InputError as `run` does; of tables, see `scan` and `Lake.plan`.

    >>> planned = winnow.plan(recipe)
    >>> [step["step"] for step in planned["steps"]][:3]
    ['index', 'exact', 'embed']
    """
    from winnow.flows.plan import plan as plan_run
    from winnow.flows.plan import tell
    from winnow.flows.taking_over import runs_to_take_from
    from winnow.handles.facts import Facts

    config = read_recipe(recipe, as_overrides(set))
    if not isinstance(config, RunConfig):
        raise ConfigError("plan takes a recipe of samples; a lake is scanned first")
    sources = runs_to_take_from(recipe, from_runs)
    return Facts(plan_run(config, sources), tell)


def open(path: PathLike) -> Run:
    """Open a run, finished or not, to be read.

    path: the run's folder, or its URL on an object store.

    Raises RunError if it holds none.

    >>> winnow.open("runs/first").kept().column_names[:3]
    ['uid', 'text', 'image']
    """
    from winnow.handles.run import Run

    return Run(path)


def open_lake(path: PathLike) -> Lake:
    """Open a scan of a lake of tables.

    path: the scan's folder.

    Raises RunError if it holds none.

    >>> winnow.open_lake("runs/lake").edges(["contained"])["parent"].to_pylist()
    ['whole.parquet']
    """
    from winnow.handles.lake import Lake

    return Lake(path)


def scan(
    lake: PathLike | LakeConfig,
    out: PathLike | None = None,
    *,
    recipe: str | Path = "table_lake",
    set: Settings | None = None,
    progress: Progress | None = None,
) -> FinishedScan:
    """Find which tables of a lake are contained in which; again: what changed.

    lake: a folder or an fsspec URL (or a whole recipe from `load_recipe`, which says
        all else).
    out: folder of what is found.
    recipe: settings: a YAML file, or a shipped recipe.
    set: settings to change, by dotted key: `{"ignore_columns": ["id"]}`.
    progress: told of every stage, as for `run`.

    Raises ConfigError for wrong settings and for a folder that lies in the lake,
    InputError if the lake is not there or changes while it is read, RunError if the
    folder is in use or holds something else.

    >>> found = winnow.scan("lake", "runs/lake")
    >>> found.tables
    2
    """
    from winnow.lake import workers

    if isinstance(lake, LakeConfig):
        config = lake
    elif out is None:
        raise ConfigError("scan: name the folder of what is found with out=")
    else:
        config = load_scan(
            os.fspath(lake), str(recipe), as_overrides(set), os.fspath(out)
        )
    with workers.beside():
        workers.expect(config.input.path, config.output.path)
        return _scanned(config, progress)


def _scanned(config: LakeConfig, progress: Progress | None) -> FinishedScan:
    from winnow.handles.finished_scan import FinishedScan
    from winnow.lake import scan as table_lake
    from winnow.pages import (
        drawing as charts,
    )

    if config.output.report:
        charts.start()
    scanned = table_lake.scan(config, make_engine, progress)
    if config.output.report:
        _write_report(scanned.path)
    return FinishedScan(**vars(scanned))


def load_recipe(
    recipe: Recipe, set: Settings | None = None
) -> RunConfig | LakeConfig | FilterTrainConfig:
    """Return a recipe of any flow, checked, every default filled in; run nothing.

    recipe: a YAML file, the name of a shipped recipe, or its values.
    set: settings to change, as for `run`.

    Raises ConfigError that names the key, and the nearest one there is.

    >>> winnow.load_recipe("image_text", {"input.path": "pool"}).steps[:2]
    ('exact', 'rules')
    """
    return read_recipe(recipe, as_overrides(set))


def write_report(
    run: PathLike, out: PathLike | None = None, columns: Sequence[str] = ()
) -> Path:
    """Write the page of a run or of a scan and return where.

    run: the folder of either, or the URL of a run.
    out: another file than `report.html` in that folder.
    columns: what to look for bias in, as for `Run.report`.

    Raises RunError if the folder holds neither, ConfigError for an unknown column.
    """
    if is_url(os.fspath(run)) and out is None:
        from winnow.stores.copies import updating

        with updating(os.fspath(run)) as folder:
            return write_report(folder, None, columns)
    if is_scan(run):
        if columns:
            raise ConfigError("--columns: tables of a lake are not checked for bias")
        from winnow.lake.page import report as lake_page

        return lake_page.write_report(Path(run), out if out is None else Path(out))
    return open(run).report(out, columns)


def _write_report(path: Path) -> None:
    try:
        write_report(path)
    except WinnowError as error:
        # The run is whole all the same; `winnow report RUN` says what is wrong.
        _log.warning("%s: no report.html: %s", path, error)


def open_database(run: PathLike, *, seconds: float | None = None) -> ViewDatabase:
    """Open the views of a run or of a scan for queries in SQL.

    seconds: a query that takes longer is stopped. None: no such limit.

    Raises RunError if the folder holds neither.
    """
    from winnow.stores.copies import local_run

    run = local_run(run)
    if is_scan(run):
        from winnow.lake.database import LakeDatabase

        return LakeDatabase(Path(run), seconds=seconds)
    from winnow.reports.database import RunDatabase

    return RunDatabase(Path(run), seconds=seconds)
