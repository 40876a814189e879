"""The command `analyze`: a pool as one page, before anything is pruned.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.numbers import natural
from winnow.cli.output import json_argument, print_json, set_argument, show

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the commands of this file."""
    analyze = commands.add_parser(
        "analyze",
        help="look at a pool before anything is pruned: what is in it, what would go",
    )
    analyze.add_argument(
        "pool", nargs="+", metavar="POOL", help="folders, files, globs or URLs"
    )
    analyze.add_argument(
        "--out",
        default="runs/analysis",
        metavar="RUN",
        help="folder of the analysis (default: runs/analysis)",
    )
    analyze.add_argument(
        "--model",
        metavar="MODEL",
        help="compare and cluster by this model: an open_clip name, or a folder",
    )
    analyze.add_argument(
        "--sample",
        type=natural,
        default=10_000,
        metavar="N",
        help="rows looked at, drawn by uid hash; 0: all (default: 10000)",
    )
    analyze.add_argument(
        "--replace", action="store_true", help="let another run in --out go"
    )
    set_argument(analyze)
    json_argument(analyze)
    analyze.set_defaults(command=_analyze)


def _analyze(parsed: argparse.Namespace) -> None:
    import shlex
    from pathlib import Path

    from winnow.cli.progress import make_progress
    from winnow.config.recipes import settings
    from winnow.handles.analysing import analyze

    with make_progress(quiet=parsed.json or parsed.quiet) as progress:
        facts = analyze(
            parsed.pool,
            parsed.out,
            model=parsed.model,
            sample=parsed.sample or None,
            set=settings(parsed.overrides),
            progress=progress,
            replace=parsed.replace,
        )
    if parsed.json:
        print_json(facts)
        return
    show(facts)
    run = shlex.quote(parsed.out)
    show(f"\npage: {Path(facts['page']).resolve().as_uri()}")
    show(f"next: winnow ui {run}\n      winnow query {run}")
