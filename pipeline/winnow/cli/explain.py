"""The commands `steps` and `explain`: of a run of samples, or of a scan of a lake.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli import lake
from winnow.cli.output import json_argument, print_json, show
from winnow.core.errors import ConfigError
from winnow.core.other_kind import is_scan

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the commands of this file."""
    steps = commands.add_parser("steps", help="survivor counts, step by step")
    steps.add_argument("run", metavar="RUN", help="folder of a run or of a scan")
    json_argument(steps)
    steps.set_defaults(command=_steps)

    explain = commands.add_parser(
        "explain", help="why a row was kept or dropped, or a table is in another"
    )
    explain.add_argument("run", metavar="RUN", help="folder of a run or of a scan")
    explain.add_argument("uid", metavar="UID", help="uid of a row, or name of a table")
    explain.add_argument("parent", metavar="PARENT", nargs="?", help=argparse.SUPPRESS)
    json_argument(explain)
    explain.set_defaults(command=_explain)


def _steps(parsed: argparse.Namespace) -> None:
    if is_scan(parsed.run):
        lake.stages(parsed)
        return
    from winnow.reports.run_view import RunView
    from winnow.reports.survivors import survivors, tell

    rows = survivors(RunView(parsed.run))
    print_json(rows) if parsed.json else show(tell(rows))


def _explain(parsed: argparse.Namespace) -> None:
    if is_scan(parsed.run):
        parsed.child = parsed.uid
        lake.explain(parsed)
        return
    if parsed.parent is not None:
        raise ConfigError(f"{parsed.parent}: only tables are explained in pairs")
    from winnow.reports.explain import explain, tell
    from winnow.reports.run_view import RunView

    story = explain(RunView(parsed.run), parsed.uid)
    print_json(story) if parsed.json else show(tell(story))
