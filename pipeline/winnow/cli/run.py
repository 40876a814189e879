"""The commands `run` and `plan`, and the arguments of every command of a recipe.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winnow.cli import lake
from winnow.cli.output import json_argument, print_json, set_argument, show

if TYPE_CHECKING:
    from winnow.config.run import RunConfig

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the commands of this file."""
    run = commands.add_parser("run", help="run a recipe, or go on where it stopped")
    recipe_arguments(run)
    _from_argument(run)
    run.add_argument(
        "--replace",
        action="store_true",
        help="let a run of another recipe or input in --out go once this is done",
    )
    run.set_defaults(command=_run)

    plan = commands.add_parser("plan", help="show what a recipe would do; run nothing")
    recipe_arguments(plan)
    _from_argument(plan)
    plan.set_defaults(command=_plan)


def recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command of a recipe takes: the recipe and what changes it."""
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a YAML file, or the name of a shipped recipe"
    )
    set_argument(parser)
    parser.add_argument(
        "--out",
        metavar="RUN",
        help="folder of the run, or its URL, as in s3://bucket/run (output.path)",
    )
    parser.add_argument(
        "--engine",
        "--engine-conf",
        metavar="ENGINE",
        help="local, spark, or a YAML file of engine settings (conf/engine/)",
    )
    json_argument(parser)


def _from_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        action="append",
        default=[],
        metavar="RUN",
        dest="sources",
        help="take over what this run has done already; may be repeated",
    )


def _config(parsed: argparse.Namespace) -> RunConfig:
    from winnow.config.recipes import load

    return load(parsed.recipe, parsed.overrides, parsed.out, parsed.engine)


def _run(parsed: argparse.Namespace) -> None:
    from winnow import api
    from winnow.cli.progress import make_progress
    from winnow.config.lake import LakeConfig
    from winnow.config.recipes import load_any
    from winnow.flows.taking_over import runs_to_take_from

    config = load_any(parsed.recipe, parsed.overrides, parsed.out, parsed.engine)
    if isinstance(config, LakeConfig):
        lake.run(config, parsed)
        return
    with make_progress(quiet=parsed.json or parsed.quiet) as progress:
        result = api.run(
            config,
            progress=progress,
            from_runs=runs_to_take_from(parsed.recipe, parsed.sources),
            replace=parsed.replace,
        )
    if parsed.json:
        print_json(
            {
                "run": result.url or str(result.path),
                "rows": result.rows,
                "kept": result.kept,
                "dropped": result.dropped,
                "quarantined": result.quarantined,
                "ran": result.ran,
            }
        )
        return
    show(result)
    from winnow.reports.losses import tell_losses

    for line in tell_losses(result.path):
        show(line)
    for line in _next(result.path, result.url):
        show(line)


def _next(run: Path, url: str) -> list[str]:
    """Return where the run's page is, and what to do next."""
    import shlex

    name = shlex.quote(url or str(run))
    page = run / "report.html"
    seen = [f"page: {page.resolve().as_uri()}"] if page.is_file() and not url else []
    return [*seen, f"next: winnow ui {name}", f"      winnow query {name}"]


def _plan(parsed: argparse.Namespace) -> None:
    from winnow.flows.plan import plan, tell
    from winnow.flows.taking_over import runs_to_take_from

    sources = runs_to_take_from(parsed.recipe, parsed.sources)
    planned = plan(_config(parsed), sources)
    print_json(planned) if parsed.json else show(tell(planned))
