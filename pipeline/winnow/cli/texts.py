"""Commands over near-duplicate text: `index build`, `index add`, `near`, `duplicates`.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

Commands = Any

# Below this share of rows found, `near` says what it misses.
_SURE = 0.9


def add_commands(commands: Commands, json_argument: Callable[..., None]) -> None:
    """Register the commands of this file."""
    index = commands.add_parser("index", help="build an index of texts, or add to one")
    actions = index.add_subparsers(required=True, metavar="ACTION")

    build = actions.add_parser("build", help="index a run's kept rows, or a pool")
    build.add_argument("source", metavar="RUN_OR_INPUT")
    build.add_argument("--out", required=True, metavar="INDEX", help="an empty folder")
    _row_arguments(build)
    json_argument(build)
    build.set_defaults(command=_build)

    add = actions.add_parser("add", help="append shards, or the kept rows of runs")
    add.add_argument("index", metavar="INDEX")
    add.add_argument("sources", metavar="SHARDS", nargs="+")
    _row_arguments(add)
    json_argument(add)
    add.set_defaults(command=_add)

    near = commands.add_parser("near", help="what an index holds near a text or a row")
    near.add_argument("index", metavar="INDEX")
    asked = near.add_mutually_exclusive_group(required=True)
    asked.add_argument("--text", help="a text; for sets, their elements as words")
    asked.add_argument("--uid", help="an indexed row, which is left out of the answer")
    near.add_argument("--k", type=int, default=10, help="at most so many rows")
    near.add_argument("--min-jaccard", type=float, default=0.5, metavar="J")
    _settings_argument(near)
    json_argument(near)
    near.set_defaults(command=_near)

    duplicates = commands.add_parser(
        "duplicates", help="the largest clusters of duplicates that a run found"
    )
    duplicates.add_argument("run", metavar="RUN", help="folder of a run")
    duplicates.add_argument("--step", help="only this step's clusters")
    duplicates.add_argument("--top", type=int, default=10, help="so many clusters")
    json_argument(duplicates)
    duplicates.set_defaults(command=_duplicates)


def _row_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uid", metavar="COLUMN", help="column that names a row")
    parser.add_argument("--column", metavar="COLUMN", help="column of the texts")
    _settings_argument(parser)


def _settings_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="a setting of the minhash section; may be repeated. An index that is "
        "there refuses others than its own",
    )


def _build(parsed: argparse.Namespace) -> None:
    from winnow.cli.progress import make_progress
    from winnow.flows.near_index import Columns, build

    with make_progress(quiet=parsed.json) as progress:
        found = build(
            parsed.source,
            parsed.out,
            columns=Columns(parsed.uid, parsed.column),
            settings=_settings(parsed),
            advance=progress.advanced,
        )
    _tell_counts(found, parsed)


def _add(parsed: argparse.Namespace) -> None:
    from winnow.cli.progress import make_progress
    from winnow.flows.near_index import Columns, add

    with make_progress(quiet=parsed.json) as progress:
        found = add(
            parsed.index,
            parsed.sources,
            columns=Columns(parsed.uid, parsed.column),
            settings=_settings(parsed),
            advance=progress.advanced,
        )
    _tell_counts(found, parsed)


def _tell_counts(found: dict[str, Any], parsed: argparse.Namespace) -> None:
    if parsed.json:
        _print_json(found)
        return
    from winnow.handles.text_index import tell_added

    print(tell_added(found))


def _near(parsed: argparse.Namespace) -> None:
    from winnow.flows.near_index import ask, chance

    found = ask(
        parsed.index,
        text=parsed.text,
        uid=parsed.uid,
        k=parsed.k,
        min_jaccard=parsed.min_jaccard,
        settings=_settings(parsed),
    )
    if parsed.json:
        _print_json(found)
        return
    for row in found:
        beginning = " ".join(row["text"].split())[:100]
        print(f"{row['jaccard']:.3f}  {row['uid']}  {beginning}")
    least = parsed.min_jaccard
    if not found:
        print(f"nothing of at least {least:g}")
    share = chance(parsed.index, least)
    if share < _SURE:
        print(
            f"(this index finds {share:.0%} of the rows of a similarity of {least:g})"
        )


def _duplicates(parsed: argparse.Namespace) -> None:
    from winnow.reports.duplicates import duplicates, tell
    from winnow.reports.run_view import RunView

    found = duplicates(RunView(parsed.run), parsed.step, parsed.top)
    _print_json(found) if parsed.json else print(tell(found))


def _settings(parsed: argparse.Namespace) -> dict[str, Any]:
    from winnow.config.recipes import settings

    return settings(parsed.settings)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
