"""The commands `init` and `demo`: what to begin with.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.numbers import natural, positive
from winnow.cli.output import json_argument, print_json, show
from winnow.core.extras import require

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the commands of this file."""
    init = commands.add_parser("init", help="copy the shipped recipes for editing")
    init.add_argument(
        "folder", metavar="DIR", help="where to; a recipe that is there is an error"
    )
    json_argument(init)
    init.set_defaults(command=_init)

    demo = commands.add_parser(
        "demo", help="make a pool with planted defects, prune it, judge the result"
    )
    demo.add_argument(
        "--out",
        default="winnow-demo",
        metavar="DIR",
        help="folder of the pool and of its run (winnow-demo)",
    )
    demo.add_argument(
        "--rows", type=positive, default=3000, help="scenes to draw (3000)"
    )
    demo.add_argument(
        "--seed", type=natural, default=0, help="the same seed, the same pool (0)"
    )
    demo.add_argument(
        "--prepare",
        action="store_true",
        help="only make the pool and DIR/recipe.yaml, for `winnow submit`",
    )
    json_argument(demo)
    demo.set_defaults(command=_demo)


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
    with make_progress(quiet=parsed.json or parsed.quiet) as progress:
        verdict = run_demo(parsed.out, parsed.rows, parsed.seed, progress)
    print_json(verdict) if parsed.json else show(tell(verdict))
