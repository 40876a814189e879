"""The library's entry point: the same behaviour as `winnow run`.

May import: flows, reports, config, engines.open_engine.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config.recipes import load
from pipeline.config.run import RunConfig, parse
from pipeline.core.engine import Engine
from pipeline.core.errors import WinnowError
from pipeline.engines import open_engine
from pipeline.flows import runner
from pipeline.flows.progress import Progress
from pipeline.flows.runner import RunResult

__all__ = ["RunResult", "make_engine", "run"]

_log = logging.getLogger(__name__)


def run(
    config: RunConfig | Mapping[str, Any] | str | Path,
    *,
    progress: Progress | None = None,
) -> RunResult:
    """Run a recipe, given as a path or shipped name, a mapping, or a RunConfig.

    Raises ConfigError, InputError or another WinnowError; see `pipeline.core.errors`.
    """
    if isinstance(config, str | Path):
        config = load(config)
    elif not isinstance(config, RunConfig):
        config = parse(config)
    result = runner.run(config, make_engine, progress)
    if config.output.report:
        _report(result)
    return result


def _report(result: RunResult) -> None:
    """Write the run's page unless it stands; whatever runs a step removes it."""
    if (result.path / "report.html").is_file():
        return
    from pipeline.reports.page.report import write_report

    try:
        write_report(result.path)
    except WinnowError as error:
        # The run is whole all the same; `winnow report RUN` says what is wrong.
        _log.warning("%s: no report.html: %s", result.path, error)


def make_engine(config: RunConfig, scratch: Path) -> Engine:
    """Open the engine that a recipe names."""
    return open_engine(
        config.engine.name,
        scratch=scratch,
        group_bytes=config.engine.group_mb * 2**20,
    )
