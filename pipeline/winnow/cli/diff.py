"""The command `diff`: which rows one run keeps and another not.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.output import examples_argument, json_argument, print_values, show

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    diff = commands.add_parser("diff", help="which rows one run keeps and another not")
    diff.add_argument("run_a", metavar="RUN_A", help="folder of a finished run")
    diff.add_argument("run_b", metavar="RUN_B", help="folder of the run beside it")
    diff.add_argument("--html", metavar="FILE", help="write it as a page, too")
    examples_argument(diff)
    json_argument(diff)
    diff.set_defaults(command=_diff)


def _diff(parsed: argparse.Namespace) -> None:
    from winnow.reports.diff import diff, tell

    difference = diff(parsed.run_a, parsed.run_b, parsed.examples)
    # Whoever gave a URL knows no copy of it.
    difference["runs"] = {"a": parsed.asked_run_a, "b": parsed.asked_run_b}
    if parsed.html:
        from winnow.reports.page.diff_page import write_diff_page

        write_diff_page(parsed.run_a, parsed.run_b, parsed.html)
    print_values(difference) if parsed.json else show(tell(difference))
