"""The command `prove`: what runs' kept rows train, beside chance and the whole pool.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from winnow.cli.numbers import above_zero, positive
from winnow.cli.output import json_argument, print_json, say, show, silent

if TYPE_CHECKING:
    from winnow.filters.prove.prove import Proving

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    prove = commands.add_parser(
        "prove", help="whether what runs keep trains better than random rows"
    )
    prove.add_argument(
        "runs", metavar="RUN", nargs="+", help="folders of finished runs of one pool"
    )
    proof_arguments(prove)
    prove.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="of `winnow filter train`, to train a whole model; default: linear heads "
        "on the run's vectors",
    )
    prove.add_argument("--out", metavar="FOLDER", help="prove.json and report.html")
    json_argument(prove)
    prove.set_defaults(command=_prove)


def proof_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is trained and judged, and for how long."""
    judging_arguments(parser)
    parser.add_argument(
        "--epochs",
        type=above_zero,
        default=10.0,
        metavar="N",
        help="how often heads see the kept rows (10); all take as many steps",
    )


def judging_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is trained and judged."""
    held_out_arguments(parser)
    parser.add_argument(
        "--label", metavar="COLUMN", help="of classes: recognised by name, or learned"
    )
    parser.add_argument(
        "--probe", action="store_true", help="learn --label, though there are captions"
    )


def held_out_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is judged on, and how often."""
    parser.add_argument(
        "--held-out",
        required=True,
        metavar="DATA",
        help="data that no run saw, with the pool's columns; or a run of it",
    )
    parser.add_argument(
        "--seeds", type=positive, default=5, help="trainings of each selection (5)"
    )


def proving(parsed: argparse.Namespace) -> Proving:
    """Return what the arguments of `proof_arguments` ask for."""
    from winnow.filters.prove.prove import Proving

    return Proving(parsed.label, parsed.probe, parsed.seeds, parsed.epochs)


def _prove(parsed: argparse.Namespace) -> None:
    from dataclasses import replace

    from winnow.cli.progress import make_progress
    from winnow.config.filter_train import load
    from winnow.core.outputs import require_folder
    from winnow.handles.proof import prove

    if parsed.out:
        require_folder(parsed.out, "--out")
    recipe = None if parsed.recipe is None else load(parsed.recipe)
    quiet = parsed.json or parsed.quiet
    with make_progress(quiet=quiet) as progress:
        result = prove(
            parsed.runs,
            parsed.held_out,
            replace(proving(parsed), recipe=recipe),
            out=parsed.out,
            progress=progress,
            tell=silent if quiet else say,
        )
    print_json(result) if parsed.json else show(result)
