"""The command `map`: a run's rows laid out in the plane, for the app.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from winnow.cli.numbers import natural, positive
from winnow.cli.output import json_argument, print_json, show

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    layout = commands.add_parser(
        "map",
        help="lay a run's vectors out in the plane, for the map in `winnow ui`",
    )
    layout.add_argument("run", metavar="RUN", help="folder of a run with vectors")
    layout.add_argument(
        "--sample",
        type=positive,
        default=50_000,
        metavar="N",
        help="lay out at most so many rows; others lie between their nearest (50000)",
    )
    layout.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="of its draws (0)"
    )
    json_argument(layout)
    layout.set_defaults(command=_map)


def _map(parsed: argparse.Namespace) -> None:
    from winnow.flows.embedding_map import make_map, tell_map

    def say(words: str) -> None:
        if not (parsed.json or parsed.quiet):
            print(words, file=sys.stderr, flush=True)

    facts = make_map(parsed.run, sample=parsed.sample, seed=parsed.seed, tell=say)
    print_json(facts) if parsed.json else show(tell_map(facts))
