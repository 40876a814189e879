"""The command `what-if`: a run's decisions under another setting.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.output import examples_argument, json_argument, print_values, show

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    what_if = commands.add_parser(
        "what-if", help="how a run's decisions would differ under another setting"
    )
    what_if.add_argument("run", metavar="RUN", help="folder of a finished run")
    what_if.add_argument(
        "--set",
        action="append",
        required=True,
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="change a setting; may be repeated",
    )
    what_if.add_argument(
        "--embed", action="store_true", help="embed rows that have no vector yet"
    )
    examples_argument(what_if)
    json_argument(what_if)
    what_if.set_defaults(command=_what_if)


def _what_if(parsed: argparse.Namespace) -> None:
    from winnow.cli.progress import make_progress
    from winnow.flows.what_if import tell, what_if
    from winnow.handles.engine import make_engine

    with make_progress(quiet=parsed.json or parsed.quiet) as progress:
        difference = what_if(
            parsed.run,
            parsed.overrides,
            make_engine,
            embed=parsed.embed,
            examples=parsed.examples,
            progress=progress,
        )
    print_values(difference) if parsed.json else show(tell(difference))
