"""The command `weigh`: weights of scores, learned by what their mixture trains.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.output import json_argument, print_json, say, show, silent
from winnow.cli.prove import held_out_arguments

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    weigh = commands.add_parser(
        "weigh", help="learn the weights of scores by what their mixture trains"
    )
    weigh.add_argument(
        "run", metavar="RUN", help="a finished run that mixes scores, or has several"
    )
    held_out_arguments(weigh)
    weigh.add_argument(
        "--step", metavar="STEP", help="the score step to weigh; default: all of them"
    )
    weigh.add_argument("--out", metavar="FOLDER", help="weigh.json")
    json_argument(weigh)
    weigh.set_defaults(command=_weigh)


def _weigh(parsed: argparse.Namespace) -> None:
    from winnow.cli.progress import make_progress
    from winnow.core.outputs import require_folder
    from winnow.filters.prove.weigh import Weighing
    from winnow.handles.proof import weigh

    if parsed.out:
        require_folder(parsed.out, "--out")
    quiet = parsed.json or parsed.quiet
    with make_progress(quiet=quiet) as progress:
        result = weigh(
            parsed.run,
            parsed.held_out,
            Weighing(parsed.seeds, parsed.step),
            out=parsed.out,
            progress=progress,
            tell=silent if quiet else say,
        )
    print_json(result) if parsed.json else show(result)
