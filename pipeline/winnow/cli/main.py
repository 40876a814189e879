"""The command `winnow`: parses, calls flows and reports, prints.

May import: api, flows, reports, config, engines.open_engine, demo; all of them inside
functions, so that `winnow --help` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from winnow import __version__
from winnow.cli import app, filters, lake, page, reports, submit, texts
from winnow.cli.numbers import natural, positive
from winnow.cli.output import json_argument, print_json, set_argument, show
from winnow.core.errors import ConfigError, WinnowError
from winnow.core.extras import explained, require
from winnow.core.faults import Told, in_words, unexpected
from winnow.core.run_folder import RunFolder, is_scan
from winnow.core.terminal import plain

if TYPE_CHECKING:
    from winnow.config.run import RunConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    0 done, 2 usage, 3 input or machine, 1 other, 130 stopped by Ctrl-C. Whatever is
    raised becomes one sentence on standard error; WINNOW_TRACEBACK=1 shows where.
    """
    parsed = _parser().parse_args(arguments)
    try:
        parsed.command(parsed)
        _tell_of_update(parsed)
    except BrokenPipeError:
        return _without_reader()
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from here")
        return 130
    except Exception as error:
        if os.environ.get("WINNOW_TRACEBACK"):
            raise
        told = _told(error)
        _say(told.text)
        return told.exit_code
    return 0


def _told(error: Exception) -> Told:
    if isinstance(error, ModuleNotFoundError):
        error = explained(error) or error
    if isinstance(error, WinnowError):
        return Told(str(error), error.exit_code)
    return in_words(error) or unexpected(error)


def _say(text: str) -> None:
    # Nobody may be left to read it.
    with contextlib.suppress(OSError):
        print(f"winnow: {plain(text)}", file=sys.stderr, flush=True)


def _without_reader() -> int:
    """Have Python not fail again where it empties what nobody reads."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="winnow",
        description="Decide which training samples are worth keeping, and say why.",
    )
    parser.add_argument("--version", action="version", version=f"winnow {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a recipe, or go on where it stopped")
    _recipe_arguments(run)
    _from_argument(run)
    run.add_argument(
        "--replace",
        action="store_true",
        help="let a run of another recipe or input in --out go once this is done",
    )
    run.add_argument(
        "-q", "--quiet", action="store_true", help="say nothing of the steps"
    )
    run.set_defaults(command=_run)

    plan = commands.add_parser("plan", help="show what a recipe would do; run nothing")
    _recipe_arguments(plan)
    _from_argument(plan)
    plan.set_defaults(command=_plan)

    submit.add_commands(commands, _recipe_arguments)

    steps = commands.add_parser("steps", help="survivor counts, step by step")
    steps.add_argument("run", metavar="RUN", help="folder of a run or of a scan")
    json_argument(steps)
    steps.set_defaults(command=_steps)

    explain = commands.add_parser(
        "explain", help="why a row was kept or dropped, or a table is in another"
    )
    explain.add_argument("run", metavar="RUN", help="folder of a run or of a scan")
    explain.add_argument("uid", metavar="UID", help="uid of a row, or name of a table")
    explain.add_argument("parent", metavar="PARENT", nargs="?", help=argparse.SUPPRESS)
    json_argument(explain)
    explain.set_defaults(command=_explain)

    reports.add_commands(commands)
    texts.add_commands(commands)
    lake.add_commands(commands)
    page.add_commands(commands)
    filters.add_commands(commands)
    app.add_commands(commands)

    init = commands.add_parser("init", help="copy the shipped recipes for editing")
    init.add_argument("folder", metavar="DIR")
    json_argument(init)
    init.set_defaults(command=_init)

    demo = commands.add_parser(
        "demo", help="make a pool with planted defects, prune it, judge the result"
    )
    demo.add_argument("--out", default="winnow-demo", metavar="DIR")
    demo.add_argument("--rows", type=positive, default=3000)
    demo.add_argument("--seed", type=natural, default=0)
    demo.add_argument(
        "--prepare",
        action="store_true",
        help="only make the pool and DIR/recipe.yaml, for `winnow submit`",
    )
    json_argument(demo)
    demo.set_defaults(command=_demo)
    return parser


def _recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a YAML file, or the name of a shipped recipe"
    )
    set_argument(parser)
    parser.add_argument("--out", metavar="RUN", help="folder of the run (output.path)")
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
        lake.run(config, parsed.json)
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
                "run": str(result.path),
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


def _plan(parsed: argparse.Namespace) -> None:
    from winnow.flows.plan import plan, tell
    from winnow.flows.taking_over import runs_to_take_from

    sources = runs_to_take_from(parsed.recipe, parsed.sources)
    planned = plan(_config(parsed), sources)
    print_json(planned) if parsed.json else show(tell(planned))


def _tell_of_update(parsed: argparse.Namespace) -> None:
    """Say of a run that was read whether it is finished, or about to change."""
    if not hasattr(parsed, "run") or is_scan(parsed.run):
        return
    folder = RunFolder(parsed.run)
    steps = folder.under_way()
    if steps is None or (not steps[1] and not folder.finished):
        return
    stand, to_come = (", ".join(names) or "none" for names in steps)
    said = (
        f"an update of {folder.path} is under way; this is the run before it"
        if folder.finished
        else f"{folder.path} is not finished; the same `winnow run` goes on"
    )
    print(f"({said}. Steps that stand: {stand}; to come: {to_come})", file=sys.stderr)


def _steps(parsed: argparse.Namespace) -> None:
    if is_scan(parsed.run):
        lake.stages(parsed)
        return
    from winnow.reports.run_view import RunView
    from winnow.reports.survivors import survivors, tell

    rows = survivors(RunView(parsed.run))
    print_json(rows) if parsed.json else show(tell(rows))


def _explain(parsed: argparse.Namespace) -> None:
    if is_scan(parsed.run):
        parsed.child = parsed.uid
        lake.explain(parsed)
        return
    if parsed.parent is not None:
        raise ConfigError(f"{parsed.parent}: only tables are explained in pairs")
    from winnow.reports.explain import explain, tell
    from winnow.reports.run_view import RunView

    story = explain(RunView(parsed.run), parsed.uid)
    print_json(story) if parsed.json else show(tell(story))


def _init(parsed: argparse.Namespace) -> None:
    from winnow.config.recipes import copy_shipped

    copied = [str(path) for path in copy_shipped(parsed.folder)]
    print_json(copied) if parsed.json else show("\n".join(copied))


def _demo(parsed: argparse.Namespace) -> None:
    from winnow.cli.progress import make_progress
    from winnow.demo.run import prepare_demo, run_demo, tell

    if parsed.prepare:
        recipe = prepare_demo(parsed.out, parsed.rows, parsed.seed)
        print_json({"recipe": str(recipe)}) if parsed.json else show(recipe)
        return
    require("images", "winnow demo")
    with make_progress(quiet=parsed.json) as progress:
        verdict = run_demo(parsed.out, parsed.rows, parsed.seed, progress)
    print_json(verdict) if parsed.json else show(tell(verdict))


if __name__ == "__main__":
    sys.exit(main())
