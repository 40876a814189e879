"""The command `submit`: a recipe on a Spark cluster.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from winnow.cli.run import recipe_arguments

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    submit = commands.add_parser(
        "submit", help="run a recipe on a Spark cluster, or go on where it stopped"
    )
    recipe_arguments(submit)
    submit.add_argument(
        "--master",
        required=True,
        metavar="URL",
        help="spark://HOST:PORT, k8s://URL, yarn or local[N]",
    )
    submit.add_argument(
        "--spark-conf",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of Spark; may be repeated",
    )
    submit.add_argument(
        "--archive",
        metavar="FILE",
        help="a packed environment (venv-pack) for workers that lack the dependencies",
    )
    submit.add_argument(
        "--dry-run", action="store_true", help="show the command; run nothing"
    )
    submit.set_defaults(command=_submit)


def _submit(parsed: argparse.Namespace) -> None:
    import shlex

    from winnow.engines.spark import submission

    asked = submission.Submission(
        parsed.recipe,
        parsed.master,
        _passed_on(parsed),
        submission.spark_settings(parsed.spark_conf),
        parsed.archive,
    )
    words = submission.command(asked, parsed.overrides, parsed.engine or "spark")
    if parsed.dry_run:
        print(shlex.join(words))
        return
    tell = _Json() if parsed.json else sys.stdout.write
    submission.submit(words, submission.environment(parsed.archive), tell)


def _passed_on(parsed: argparse.Namespace) -> list[str]:
    words = ["--engine", parsed.engine or "spark"]
    for override in parsed.overrides:
        words += ["--set", override]
    if parsed.out:
        words += ["--out", parsed.out]
    return [*words, "--json"] if parsed.json else words


class _Json:
    """Passes a driver's result on; what it says before goes to standard error.

    spark-submit joins a driver's two streams.
    """

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, line: str) -> None:
        self._begun = self._begun or line.startswith("{")
        stream = sys.stdout if self._begun else sys.stderr
        stream.write(line)
        stream.flush()
