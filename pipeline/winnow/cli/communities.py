"""Command `communities`: what belongs to a few rows of an index.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.numbers import finite, positive
from winnow.cli.output import json_argument, print_json, show

Commands = Any

# Below this share of rows found, the command says what it misses.
_SURE = 0.9


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    parser = commands.add_parser(
        "communities", help="what belongs to a few rows of an index, in order"
    )
    parser.add_argument("index", metavar="INDEX", help="folder of an index")
    parser.add_argument(
        "--seeds", nargs="+", required=True, metavar="UID", help="indexed rows"
    )
    parser.add_argument(
        "--order",
        choices=["agglomerative", "pagerank", "similarity"],
        default="agglomerative",
        help="as rows join, by personalised PageRank, or by similarity to the seeds",
    )
    parser.add_argument(
        "--size", type=positive, default=50, help="at most so many rows"
    )
    parser.add_argument(
        "--candidates", type=positive, default=500, help="rows that are ordered"
    )
    parser.add_argument(
        "--min-jaccard",
        type=finite,
        default=0.0,
        metavar="J",
        help="least similarity to a seed",
    )
    parser.add_argument("--draw", metavar="FILE", help="an SVG of the community")
    json_argument(parser)
    parser.set_defaults(command=_communities)


def _communities(parsed: argparse.Namespace) -> None:
    from winnow.flows.communities import Growth, community

    told = community(
        parsed.index,
        parsed.seeds,
        Growth(parsed.order, parsed.size, parsed.candidates, parsed.min_jaccard),
        drawing=parsed.draw,
    )
    if parsed.json:
        print_json(told)
        return
    for row in told["rows"]:
        beginning = " ".join(row["text"].split())[:80]
        show(
            f"{row['rank']:>4}  {row['score']:.4f}  {row['similarity']:.3f}  "
            f"{row['uid']}  {beginning}"
        )
    show(
        f"{len(told['rows'])} of {told['candidates']:,} candidates, {told['order']}; "
        "columns: score, mean similarity to the seeds"
    )
    if told["found_share"] < _SURE:
        share = told["found_share"]
        show(f"(of rows as similar as the last one to a seed, {share:.0%} are found)")
