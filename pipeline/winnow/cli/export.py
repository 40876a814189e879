"""The command `export`: what a run keeps, as training code reads it.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.numbers import positive
from winnow.cli.output import json_argument, print_values, show
from winnow.core.words import number_of

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    export = commands.add_parser(
        "export", help="what a run keeps, as training code reads it"
    )
    export.add_argument("run", metavar="RUN", help="folder of a finished run")
    export.add_argument(
        "--to",
        required=True,
        metavar="FORMAT",
        help="webdataset, hf, parquet, uids or clip-retrieval",
    )
    export.add_argument(
        "--out", required=True, metavar="PLACE", help="a new folder; for uids a file"
    )
    export.add_argument(
        "--with-scores", action="store_true", help="add a column for each step's score"
    )
    export.add_argument(
        "--shard-rows",
        type=positive,
        default=10_000,
        metavar="N",
        help="rows of a shard (10,000)",
    )
    json_argument(export)
    export.set_defaults(command=_export)


def _export(parsed: argparse.Namespace) -> None:
    from winnow.reports.export.export import export

    exported = export(
        parsed.run,
        parsed.to,
        parsed.out,
        with_scores=parsed.with_scores,
        shard_rows=parsed.shard_rows,
    )
    if parsed.json:
        print_values(exported)
    else:
        rows = number_of(exported["rows"], "row")
        show(f"{rows} as {exported['to']} in {exported['out']}")
        if exported.get("reencoded"):
            show(f"{exported['reencoded']:,} pictures became PNG, pixel by pixel")
        if exported.get("unreadable"):
            show(f"{exported['unreadable']:,} pictures cannot be decoded: .bin")
