"""Commands that ask for what is alike: `near`, `duplicates`.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.index import INDEX_HELP, settings_argument, settings_of
from winnow.cli.numbers import finite, positive
from winnow.cli.output import json_argument, print_json, show

Commands = Any

# Below this share of rows found, `near` says what it misses.
_SURE = 0.9


def add_commands(commands: Commands) -> None:
    """Register the commands of this file."""
    _add_near(commands)
    _add_duplicates(commands)


def _add_near(commands: Commands) -> None:
    near = commands.add_parser(
        "near", help="what an index holds near a text, a picture or a row"
    )
    near.add_argument("index", metavar="INDEX", help=INDEX_HELP)
    asked = near.add_mutually_exclusive_group(required=True)
    asked.add_argument("--text", help="a text; for sets, their elements as words")
    asked.add_argument(
        "--image", metavar="FILE", help="a picture, of an index of vectors"
    )
    asked.add_argument(
        "--uid",
        action="append",
        help="an indexed row, which is left out of the answer; may be repeated",
    )
    near.add_argument(
        "--k", type=positive, default=10, help="at most so many rows (10)"
    )
    near.add_argument(
        "--min-jaccard",
        type=finite,
        default=0.5,
        metavar="J",
        help="only rows of at least this Jaccard similarity of shingles, 0 to 1 (0.5)",
    )
    settings_argument(near)
    json_argument(near)
    near.set_defaults(command=_near)


def _add_duplicates(commands: Commands) -> None:
    duplicates = commands.add_parser(
        "duplicates", help="the largest clusters of duplicates that a run found"
    )
    duplicates.add_argument("run", metavar="RUN", help="folder of a run")
    duplicates.add_argument("--step", help="only this step's clusters")
    duplicates.add_argument(
        "--top", type=positive, default=10, help="so many clusters (10)"
    )
    json_argument(duplicates)
    duplicates.set_defaults(command=_duplicates)


def _near_vectors(parsed: argparse.Namespace) -> None:
    from winnow.flows.vector_index import near
    from winnow.search.searched_vectors import Asked, picture

    image = picture(parsed.image) if parsed.image else None
    told = []
    for uid in parsed.uid or [None]:
        rows = near(parsed.index, Asked(parsed.text, image, uid), k=parsed.k)
        told += [({"asked": uid} if uid else {}) | row for row in rows]
    if parsed.json:
        print_json({"rows": told})
        return
    for row in told:
        of = f"{row['asked']}: " if len(parsed.uid or ()) > 1 else ""
        show(f"{of}{row['cosine']:.4f}  {row['uid']}  {row['source']}")
    if not told:
        show("the index holds no other row")


def _near(parsed: argparse.Namespace) -> None:
    from winnow.core.errors import ConfigError
    from winnow.flows.near_index import ask, chance
    from winnow.indexes.opened import is_of_vectors

    if is_of_vectors(parsed.index):
        _near_vectors(parsed)
        return
    if parsed.image:
        raise ConfigError(f"--image: {parsed.index} is an index of texts")
    told = []
    for uid in parsed.uid or [None]:
        rows = ask(
            parsed.index,
            text=parsed.text,
            uid=uid,
            k=parsed.k,
            min_jaccard=parsed.min_jaccard,
            settings=settings_of(parsed),
        )
        told += [({"asked": uid} if uid else {}) | row for row in rows]
    least = parsed.min_jaccard
    share = chance(parsed.index, least)
    if parsed.json:
        print_json({"rows": told, "min_jaccard": least, "found_share": share})
        return
    for row in told:
        beginning = " ".join(row["text"].split())[:100]
        of = f"{row['asked']}: " if len(parsed.uid or ()) > 1 else ""
        show(f"{of}{row['jaccard']:.3f}  {row['uid']}  {beginning}")
    if not told:
        show(f"nothing of at least {least:g}")
    if share < _SURE:
        show(f"(this index finds {share:.0%} of the rows of a similarity of {least:g})")


def _duplicates(parsed: argparse.Namespace) -> None:
    from winnow.reports.duplicates import duplicates, tell
    from winnow.reports.run_view import RunView

    told = duplicates(RunView(parsed.run), parsed.step, parsed.top)
    print_json(told) if parsed.json else show(tell(told))
