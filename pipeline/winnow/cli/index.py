"""Commands over an index of what earlier runs kept: `index …`.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.output import json_argument, print_json, show
from winnow.core.words import number_of

Commands = Any

INDEX_HELP = "folder of an index"


def add_commands(commands: Commands) -> None:
    """Register the commands of this file."""
    index = commands.add_parser("index", help="build an index of texts, or add to one")
    actions = index.add_subparsers(required=True, metavar="ACTION")

    build = actions.add_parser("build", help="index a run's kept rows, or a pool")
    build.add_argument(
        "source",
        metavar="RUN_OR_INPUT",
        help="folder of a finished run, or shards: a folder, a file or a glob",
    )
    build.add_argument("--out", required=True, metavar="INDEX", help="an empty folder")
    build.add_argument(
        "--vectors",
        choices=("image", "text"),
        help="of a run: index the vectors of its kept rows instead of texts",
    )
    _row_arguments(build)
    json_argument(build)
    build.set_defaults(command=_build)

    add = actions.add_parser("add", help="append shards, or the kept rows of runs")
    add.add_argument("index", metavar="INDEX", help=INDEX_HELP)
    add.add_argument(
        "sources",
        metavar="SHARDS",
        nargs="+",
        help="folders, files or globs of shards, or folders of finished runs",
    )
    _row_arguments(add)
    add.add_argument(
        "--same-name",
        choices=["add", "error"],
        default="add",
        help="what a name does that the index has with another text: a second row of "
        "that name, or an error",
    )
    json_argument(add)
    add.set_defaults(command=_add)
    _upkeep(actions)


def _upkeep(actions: Commands) -> None:
    """Register what an index needs while it lives."""
    taken = actions.add_parser("remove", help="take rows out of an index by their uids")
    taken.add_argument("index", metavar="INDEX", help=INDEX_HELP)
    taken.add_argument(
        "--uid", action="append", default=[], help="uid of a row; may be repeated"
    )
    taken.add_argument("--uids", metavar="FILE", help="a file with a uid on each line")
    json_argument(taken)
    taken.set_defaults(command=_remove)
    for name, command, told in (
        ("show", _show, "what an index holds, and what went into it"),
        ("compact", _compact, "merge an index's segments, drop removed rows"),
        ("check", _check, "read every byte of an index and name what is damaged"),
        ("repair", _repair, "make a damaged index whole, as far as its texts allow"),
    ):
        parser = actions.add_parser(name, help=told)
        parser.add_argument("index", metavar="INDEX", help=INDEX_HELP)
        json_argument(parser)
        parser.set_defaults(command=command)


def _row_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uid", metavar="COLUMN", help="column that names a row")
    parser.add_argument("--column", metavar="COLUMN", help="column of the texts")
    settings_argument(parser)


def settings_argument(parser: argparse.ArgumentParser) -> None:
    """Register `--set` for settings of an index of texts."""
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
    from winnow.flows.near_index import NamedColumns, build

    if parsed.vectors:
        _build_of_vectors(parsed)
        return
    with make_progress(quiet=parsed.json or parsed.quiet) as progress:
        progress.started("index", 0)
        told = build(
            parsed.source,
            parsed.out,
            columns=NamedColumns(parsed.uid, parsed.column),
            settings=settings_of(parsed),
            advance=progress.advanced,
        )
    _tell_counts(told, parsed)


def _add(parsed: argparse.Namespace) -> None:
    from winnow.cli.progress import make_progress
    from winnow.flows.near_index import NamedColumns, add
    from winnow.indexes.opened import is_of_vectors

    if is_of_vectors(parsed.index):
        _add_vectors(parsed)
        return
    with make_progress(quiet=parsed.json or parsed.quiet) as progress:
        progress.started("index", 0)
        told = add(
            parsed.index,
            parsed.sources,
            columns=NamedColumns(parsed.uid, parsed.column),
            settings=settings_of(parsed),
            same_name=parsed.same_name,
            advance=progress.advanced,
        )
    _tell_counts(told, parsed)


def _build_of_vectors(parsed: argparse.Namespace) -> None:
    from winnow.flows.vector_index import build, tell_added

    _refuse_texts_only(parsed)
    told = build(parsed.source, parsed.out, modality=parsed.vectors)
    print_json(told) if parsed.json else show(tell_added(told))


def _add_vectors(parsed: argparse.Namespace) -> None:
    from winnow.flows.vector_index import add, tell_added

    _refuse_texts_only(parsed)
    told = add(parsed.index, parsed.sources)
    print_json(told) if parsed.json else show(tell_added(told))


def _refuse_texts_only(parsed: argparse.Namespace) -> None:
    """Raise ConfigError for options that say nothing of an index of vectors."""
    from winnow.core.errors import ConfigError

    given = {"--uid": parsed.uid, "--column": parsed.column, "--set": parsed.settings}
    for name, value in given.items():
        if value:
            raise ConfigError(f"{name}: an index of vectors takes a run's as they are")


def _remove(parsed: argparse.Namespace) -> None:
    from pathlib import Path

    from winnow.core.errors import ConfigError, InputError
    from winnow.flows.near_index import discard
    from winnow.handles.text_index import tell_removed

    uids = list(parsed.uid)
    if parsed.uids:
        try:
            uids += Path(parsed.uids).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"--uids: {parsed.uids} cannot be read ({error})"
            ) from error
    if not uids:
        raise ConfigError("index remove: name rows with --uid or --uids")
    told = discard(parsed.index, uids)
    print_json(told) if parsed.json else show(tell_removed(told))


def _show(parsed: argparse.Namespace) -> None:
    from winnow.flows.near_index import describe

    told = describe(parsed.index)
    if parsed.json:
        print_json(told)
        return
    rows = number_of(told["rows"], "row")
    show(f"{told['index']}: {rows} in {number_of(told['segments'], 'segment')}")
    for name, value in told["settings"].items():
        show(f"  {name}: {value}")
    for addition in told["additions"]:
        names = "" if addition["named"] else ", rows named by their content"
        rows = number_of(addition["rows"], "row")
        show(f"{rows} of {', '.join(addition['sources'])}{names}")


def _compact(parsed: argparse.Namespace) -> None:
    from winnow.flows.near_index import compact
    from winnow.handles.text_index import tell_compacted

    told = compact(parsed.index)
    print_json(told) if parsed.json else show(tell_compacted(told))


def _check(parsed: argparse.Namespace) -> None:
    from winnow.core.errors import InputError
    from winnow.flows.near_index import check_index

    faults = check_index(parsed.index)
    if parsed.json:
        print_json({"damaged": faults})
    if faults:
        raise InputError("\n".join(faults))
    if not parsed.json:
        show("sound: every file is what was written")


def _repair(parsed: argparse.Namespace) -> None:
    from winnow.flows.near_index import repair_index

    told = repair_index(parsed.index)
    if parsed.json:
        print_json(told)
        return
    show(f"index.json: {told['state']}")
    for name in told["rebuilt"]:
        show(f"{name}: digests made again from its texts")
    for name in told["set_aside"]:
        show(f"{name}: its texts are damaged; set aside as damaged-{name}")
    if told["removed_rows_back"]:
        back = told["removed_rows_back"]
        show(f"{back:,} rows that had been removed are back: remove them again")
    if told["lost_rows"]:
        again = ", ".join(told["add_again"]) or "where they came from is not known"
        show(f"{told['lost_rows']:,} rows are lost; add again: {again}")


def _tell_counts(told: dict[str, Any], parsed: argparse.Namespace) -> None:
    if parsed.json:
        print_json(told)
        return
    from winnow.handles.text_index import tell_added

    show(tell_added(told))


def settings_of(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given."""
    from winnow.config.recipes import settings

    return settings(parsed.settings)
