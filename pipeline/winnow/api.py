"""The library's entry point: the same behaviour as `winnow run`.

May import: flows, reports, config, engines.open_engine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from winnow.config.lake import LakeConfig
from winnow.config.recipes import load_any, load_lake, parse_any, spark_text
from winnow.config.run import RunConfig
from winnow.core.engine import Engine
from winnow.core.errors import ConfigError, WinnowError
from winnow.core.run_folder import is_scan
from winnow.engines import open_engine
from winnow.engines.spark.session import SparkOptions
from winnow.models.checkpoint import LOCAL_DIR

# Each flow is imported when it is run: a scan of tables needs no model, a run of
# samples no solver.
if TYPE_CHECKING:
    from winnow.config.filter_train import FilterTrainConfig
    from winnow.core.progress import Progress
    from winnow.filters.train.record import FilterResult
    from winnow.flows.runner import RunResult
    from winnow.lake.scan import LakeResult
    from winnow.pages.database import ViewDatabase

__all__ = [
    "FilterResult",
    "LakeResult",
    "RunResult",
    "make_engine",
    "plan",
    "run",
    "scan",
    "train_filter",
]

Config = RunConfig | LakeConfig

_RESULTS = {
    "FilterResult": "filter_train",
    "LakeResult": "table_lake",
    "RunResult": "runner",
}

_log = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    if name in _RESULTS:
        return getattr(import_module(f"winnow.flows.{_RESULTS[name]}"), name)
    raise AttributeError(f"module 'winnow.api' has no attribute '{name}'")


@overload
def run(
    config: RunConfig, *, progress: Progress | None = None, spark: Any = None
) -> RunResult: ...
@overload
def run(
    config: LakeConfig, *, progress: Progress | None = None, spark: Any = None
) -> LakeResult: ...
@overload
def run(
    config: Mapping[str, Any] | str | Path,
    *,
    progress: Progress | None = None,
    spark: Any = None,
) -> RunResult | LakeResult: ...


def run(
    config: Config | Mapping[str, Any] | str | Path,
    *,
    progress: Progress | None = None,
    spark: Any = None,
) -> RunResult | LakeResult:
    """Run a recipe, given as a path or shipped name, a mapping, or a config.

    A lake of tables is scanned and its deletions planned; none is deleted. With a
    SparkSession in `spark` the run takes place there, whatever engine it names.
    Raises ConfigError, InputError or another WinnowError; see `winnow.core.errors`.
    """
    if isinstance(config, str | Path):
        config = load_any(config)
    elif not isinstance(config, Config):
        config = parse_any(config)
    if isinstance(config, LakeConfig):
        from winnow.lake import scan as table_lake

        found = table_lake.run(config, partial(make_engine, spark=spark), progress)
        if config.output.report:
            _write_report(found.path)
        return found
    from winnow.flows import runner

    result = runner.run(config, partial(make_engine, spark=spark), progress)
    if config.output.report:
        _report(result)
    return result


def _report(result: RunResult) -> None:
    """Write the run's page unless it stands; whatever runs a step removes it."""
    if not (result.path / "report.html").is_file():
        _write_report(result.path)


def _write_report(path: Path) -> None:
    try:
        write_report(path)
    except WinnowError as error:
        # The run is whole all the same; `winnow report RUN` says what is wrong.
        _log.warning("%s: no report.html: %s", path, error)


def write_report(
    run: str | Path, out: str | Path | None = None, columns: Sequence[str] = ()
) -> Path:
    """Write the page of a run or of a scan and return where.

    run: the folder of either.
    out: another file than `report.html` in that folder.
    columns: what to look for bias in: columns of the pool, `language`, `aspect` or
    `source`; without any, the usual ones that the pool has.

    Raises RunError if the folder holds no run, ConfigError for an unknown column.
    """
    if is_scan(run):
        from winnow.lake.page import report as lake_report

        if columns:
            raise ConfigError("--columns: tables of a lake are not checked for bias")
        return lake_report.write_report(run, out)
    from winnow.reports.page import report

    return report.write_report(run, out, columns)


def open_database(run: str | Path, *, seconds: float | None = None) -> ViewDatabase:
    """Open the views of a run or of a scan for queries in SQL.

    seconds: a query that takes longer is stopped. None: no such limit.

    Raises RunError if the folder holds neither.
    """
    if is_scan(run):
        from winnow.lake.database import LakeDatabase

        return LakeDatabase(run, seconds=seconds)
    from winnow.reports.database import RunDatabase

    return RunDatabase(run, seconds=seconds)


def scan(config: LakeConfig, *, progress: Progress | None = None) -> LakeResult:
    """Scan a lake of tables; see `winnow.lake.scan.scan`."""
    from winnow.lake import scan as table_lake
    from winnow.pages import charts

    if config.output.report:
        charts.start()
    found = table_lake.scan(config, make_engine, progress)
    if config.output.report:
        _write_report(found.path)
    return found


def plan(run: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Plan a scanned lake's deletions; see `winnow.lake.plan.plan_lake`."""
    from winnow.lake import plan as lake_plan

    found = lake_plan.plan_lake(str(run), overrides)
    if load_lake(Path(run) / "config.lock.yaml").output.report:
        _write_report(Path(run))
    return found


def train_filter(
    config: FilterTrainConfig | Mapping[str, Any] | str | Path,
    *,
    tell: Callable[[str], None] | None = None,
) -> FilterResult:
    """Train a filter by a recipe, given as a path or shipped name, mapping or config.

    The same call after a crash goes on; `tell` gets a line at each measurement (None:
    the log does). Raises ConfigError, InputError, or TrainingError for a loss that is
    no longer finite.
    """
    from winnow.config import filter_train
    from winnow.filters.train import run as flow

    if isinstance(config, str | Path):
        config = filter_train.load(config)
    elif not isinstance(config, filter_train.FilterTrainConfig):
        config = filter_train.parse(config)
    return flow.train_filter(config, tell or _log.info)


def make_engine(config: Config, scratch: Path, spark: Any = None) -> Engine:
    """Open the engine that a recipe names, or Spark if there is a session."""
    engine = config.engine
    name = engine.name if spark is None else "spark"
    return open_engine(
        name,
        scratch=scratch,
        group_bytes=engine.group_mb * 2**20,
        driver_rows=engine.driver_rows,
        spark=_spark_options(config, spark) if name == "spark" else None,
    )


def _spark_options(config: Config, session: Any) -> SparkOptions:
    engine = config.engine
    return SparkOptions(
        partitions=engine.partitions,
        batch_rows=engine.batch_rows,
        group_bytes=engine.group_mb * 2**20,
        driver_rows=engine.driver_rows,
        scratch=engine.scratch,
        conf={name: spark_text(value) for name, value in engine.spark.items()},
        ship=_model_files(config) if isinstance(config, RunConfig) else (),
        session=session,
    )


def _model_files(config: RunConfig) -> list[str]:
    """Return the folders and files of local models, for the workers to be sent."""
    sections = (config.section(step) for step in config.steps)
    own = (getattr(section, "model", None) for section in sections)
    found: dict[str, None] = {}
    for model in (config.model, *own):
        if model is None:
            continue
        local = model.name.startswith(LOCAL_DIR)
        path = model.name.removeprefix(LOCAL_DIR) if local else model.pretrained
        # A step that needs a model that is not there has said so by now.
        if path and Path(path).exists():
            found[path] = None
    return list(found)
