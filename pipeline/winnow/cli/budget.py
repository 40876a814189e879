"""The command `budget`: the share to keep for a number of samples seen.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.numbers import positive
from winnow.cli.output import json_argument, print_json, say, show, silent
from winnow.cli.prove import judging_arguments

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    budget = commands.add_parser(
        "budget", help="the share to keep for the samples that a training will see"
    )
    budget.add_argument("run", metavar="RUN", help="a finished run that ranks rows")
    budget.add_argument(
        "--samples-seen",
        type=positive,
        nargs="+",
        required=True,
        metavar="N",
        help="samples that the training will see, repetitions counted",
    )
    judging_arguments(budget)
    budget.add_argument(
        "--buckets",
        type=positive,
        metavar="P",
        help="parts of equal size by rank, 2 to 10; default: as many as have 640 rows",
    )
    budget.add_argument("--out", metavar="FOLDER", help="budget.json")
    json_argument(budget)
    budget.set_defaults(command=_budget)


def _budget(parsed: argparse.Namespace) -> None:
    from winnow.cli.progress import make_progress
    from winnow.core.outputs import require_folder
    from winnow.filters.prove.prove import Proving
    from winnow.filters.prove.spend import Spending
    from winnow.handles.proof import budget

    if parsed.out:
        require_folder(parsed.out, "--out")
    how = Proving(parsed.label, parsed.probe, parsed.seeds)
    quiet = parsed.json or parsed.quiet
    with make_progress(quiet=quiet) as progress:
        result = budget(
            parsed.run,
            parsed.held_out,
            Spending(parsed.samples_seen, parsed.buckets, how),
            out=parsed.out,
            progress=progress,
            tell=silent if quiet else say,
        )
    print_json(result) if parsed.json else show(result)
