"""The command `search`: a run's rows nearest to a text, a picture or a row.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.numbers import positive
from winnow.cli.output import json_argument, print_json, show

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    search = commands.add_parser(
        "search", help="a run's rows nearest to a text, a picture or a row"
    )
    search.add_argument("run", metavar="RUN", help="folder of a run")
    asked = search.add_mutually_exclusive_group(required=True)
    asked.add_argument("--text", help="words; needs the run's model")
    asked.add_argument(
        "--image", metavar="FILE", help="a picture; needs the run's model"
    )
    asked.add_argument("--like", metavar="UID", help="a row of the run")
    search.add_argument(
        "--where",
        metavar="SQL",
        default="",
        help="only rows for which this holds: over columns of the input, fate, step, "
        "reason, and each step's score or cluster under the step's name",
    )
    search.add_argument(
        "--k", type=positive, default=20, help="at most so many rows (20)"
    )
    among = search.add_mutually_exclusive_group()
    among.add_argument(
        "--kept", action="store_true", help="among the rows that are kept (so anyway)"
    )
    among.add_argument(
        "--all", action="store_true", help="among all rows that have a vector"
    )
    search.add_argument(
        "--modality", choices=("image", "text"), help="whose vectors are searched"
    )
    search.add_argument(
        "--bits",
        type=int,
        choices=(4, 6, 8, 16),
        default=8,
        help="of a number in the lists of large runs (8)",
    )
    json_argument(search)
    search.set_defaults(command=_search)


def _search(parsed: argparse.Namespace) -> None:
    from winnow.search.run_search import RunSearch, tell
    from winnow.search.searched_vectors import Asked, picture

    image = None if parsed.image is None else picture(parsed.image)
    asked = Asked(parsed.text, image, parsed.like)
    run, modality, bits = parsed.run, parsed.modality, parsed.bits
    with RunSearch(run, modality=modality, bits=bits) as opened:
        told = opened.find(
            asked,
            k=parsed.k,
            where=parsed.where,
            rows="all" if parsed.all else "kept",
        )
    print_json(told) if parsed.json else show(tell(told))
