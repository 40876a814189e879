"""The command `tune`: settings chosen by what their selections train.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.numbers import finite
from winnow.cli.output import json_argument, print_json, say, show, silent
from winnow.cli.prove import proof_arguments, proving

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    tune = commands.add_parser(
        "tune", help="choose settings by what the rows that they keep train"
    )
    tune.add_argument(
        "recipe", metavar="RECIPE", help="a YAML file, a shipped recipe, or a run"
    )
    tune.add_argument(
        "--budget", type=finite, required=True, metavar="F", help="the share to keep"
    )
    tune.add_argument(
        "--over",
        action="append",
        required=True,
        metavar="SECTION.KEY=V1,V2",
        help="values to try; may be repeated, all combinations are tried",
    )
    proof_arguments(tune)
    tune.add_argument(
        "--from",
        action="append",
        default=[],
        metavar="RUN",
        dest="from_runs",
        help="take over what a run has; may be repeated",
    )
    tune.add_argument(
        "--out", required=True, metavar="FOLDER", help="recipe.yaml and tune.json"
    )
    json_argument(tune)
    tune.set_defaults(command=_tune)


def _tune(parsed: argparse.Namespace) -> None:
    from winnow.cli.progress import make_progress
    from winnow.core.outputs import require_folder
    from winnow.filters.prove.tune import Tuning
    from winnow.flows.taking_over import runs_to_take_from
    from winnow.handles.proof import tune

    require_folder(parsed.out, "--out")
    tuning = Tuning(
        parsed.budget,
        _over(parsed.over),
        proving(parsed),
        runs_to_take_from(None, parsed.from_runs),
    )
    quiet = parsed.json or parsed.quiet
    with make_progress(quiet=quiet) as progress:
        result = tune(
            parsed.recipe,
            parsed.held_out,
            tuning,
            out=parsed.out,
            progress=progress,
            tell=silent if quiet else say,
        )
    print_json(result) if parsed.json else show(result)


def _over(given: list[str]) -> dict[str, list[object]]:
    from winnow.core.errors import ConfigError

    over: dict[str, list[object]] = {}
    for asked in given:
        key, separator, values = asked.partition("=")
        if not separator or not key or not values:
            raise ConfigError(
                f"--over {asked}: write SECTION.KEY=V1,V2, as in "
                "semantic.epsilon=.03,.05"
            )
        over[key] = list(values.split(","))
    return over
