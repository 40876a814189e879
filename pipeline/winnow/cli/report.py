"""The command `report`: a run as one page.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.output import json_argument, print_json, show

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the commands of this file."""
    report = commands.add_parser("report", help="write a run's page, report.html")
    report.add_argument("run", metavar="RUN", help="folder of a run or of a scan")
    report.add_argument(
        "--columns",
        type=_names,
        default=(),
        metavar="A,B,…",
        help="what to look for bias in: columns of the pool, language, aspect, source",
    )
    report.add_argument("--out", metavar="FILE", help="another file than the run's own")
    json_argument(report)
    report.set_defaults(command=_report)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _report(parsed: argparse.Namespace) -> None:
    from winnow.api import write_report

    page = write_report(parsed.asked_run, parsed.out, parsed.columns)
    written = {"page": str(page), "bytes": page.stat().st_size}
    print_json(written) if parsed.json else show(f"{page}: {written['bytes']:,} bytes")
