"""Commands over a lake of tables: scan, edges, explain, plan, apply, restore.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from winnow.cli.output import json_argument, print_json, set_argument, show
from winnow.core.words import number_of

if TYPE_CHECKING:
    from winnow.config.lake import LakeConfig
    from winnow.lake.lake_result import LakeResult

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the commands of this file."""
    lake = commands.add_parser(
        "lake", help="which tables are contained in which, and what may go"
    )
    actions = lake.add_subparsers(required=True, metavar="ACTION")
    adds = _add_scan, _add_edges, _add_explain, _add_plan, _add_apply, _add_restore
    for add in adds:
        json_argument(add(actions))


def run(config: LakeConfig, parsed: argparse.Namespace) -> None:
    """Scan a lake, plan its deletions and print what `winnow run` says of it."""
    from winnow import api
    from winnow.cli.progress import make_progress
    from winnow.lake.plan_view import tell_plan

    with make_progress(quiet=parsed.json or parsed.quiet) as progress:
        scanned = api.run(config, progress=progress)
    assert scanned.plan is not None
    if parsed.json:
        print_json({**_summary(scanned), "plan": scanned.plan})
    else:
        show(f"{_tell_summary(scanned)}\n{tell_plan(scanned.plan)}")


def _add_scan(actions: Commands) -> argparse.ArgumentParser:
    scan: argparse.ArgumentParser = actions.add_parser(
        "scan", help="find which tables are contained in which; again: what changed"
    )
    scan.add_argument("lake", metavar="DIR", help="a folder or an fsspec URL")
    scan.add_argument(
        "--out", required=True, metavar="RUN", help="folder of what is found"
    )
    scan.add_argument(
        "--recipe",
        default="table_lake",
        metavar="RECIPE",
        help="settings: a YAML file, or a shipped recipe (table_lake)",
    )
    set_argument(scan, "KEY=VALUE")
    scan.set_defaults(command=_scan)
    return scan


def _add_edges(actions: Commands) -> argparse.ArgumentParser:
    edges: argparse.ArgumentParser = actions.add_parser(
        "edges", help="pairs of tables and what was found of them"
    )
    edges.add_argument("run", metavar="RUN", help="folder of a scan")
    edges.add_argument(
        "--relation",
        nargs="+",
        default=[],
        metavar="RELATION",
        help="duplicate, contained, partial, refuted or incomparable; all by default",
    )
    edges.set_defaults(command=_edges)
    return edges


def _add_explain(actions: Commands) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        "explain", help="why a table is or is not contained in another"
    )
    parser.add_argument("run", metavar="RUN", help="folder of a scan")
    parser.add_argument("child", metavar="CHILD", help="name of a table")
    parser.add_argument(
        "parent", metavar="PARENT", nargs="?", help="all tables by default"
    )
    parser.set_defaults(command=explain)
    return parser


def _add_plan(actions: Commands) -> argparse.ArgumentParser:
    plan: argparse.ArgumentParser = actions.add_parser(
        "plan", help="which tables may be deleted, and how each is rebuilt"
    )
    plan.add_argument("run", metavar="RUN", help="folder of a scan")
    set_argument(plan, "plan.KEY=VALUE", "a price or a promise")
    plan.set_defaults(command=_plan)
    return plan


def _add_apply(actions: Commands) -> argparse.ArgumentParser:
    apply: argparse.ArgumentParser = actions.add_parser(
        "apply", help="move the tables of the plan to a trash folder; deletes nothing"
    )
    apply.add_argument("run", metavar="RUN", help="folder of a planned scan")
    apply.add_argument(
        "--dry-run", action="store_true", help="show the commands; move nothing"
    )
    apply.add_argument(
        "--trash", metavar="DIR", help="a folder or an fsspec URL (RUN/trash)"
    )
    apply.set_defaults(command=_apply)
    return apply


def _add_restore(actions: Commands) -> argparse.ArgumentParser:
    restore: argparse.ArgumentParser = actions.add_parser(
        "restore", help="move tables back from the trash folder"
    )
    restore.add_argument("run", metavar="RUN", help="folder of an applied plan")
    restore.add_argument(
        "tables", metavar="TABLE", nargs="*", help="all of them by default"
    )
    restore.set_defaults(command=_restore)
    return restore


def _scan(parsed: argparse.Namespace) -> None:
    from winnow.lake import workers

    with workers.beside():
        # They load while this process does.
        workers.expect(parsed.lake, parsed.out)
        scanned = _scanned(parsed)
    print_json(_summary(scanned)) if parsed.json else show(_tell_summary(scanned))


def _scanned(parsed: argparse.Namespace) -> LakeResult:
    from winnow import api
    from winnow.cli.progress import make_progress
    from winnow.config.recipes import load_scan

    config = load_scan(parsed.lake, parsed.recipe, parsed.overrides, parsed.out)
    with make_progress(quiet=parsed.json or parsed.quiet) as progress:
        return api.scan(config, progress=progress)


def _summary(scanned: LakeResult) -> dict[str, Any]:
    return {
        "run": str(scanned.path),
        "tables": scanned.tables,
        "bytes": scanned.bytes,
        "reasons": scanned.reasons,
        "relations": scanned.relations,
        "stages": scanned.stages,
        "ignored": scanned.ignored,
    }


def _tell_summary(scanned: LakeResult) -> str:
    from winnow.lake.plan_view import size

    lines = [f"{name}: {reason}" for name, reason in scanned.reasons.items()]
    counts = (f"{count:,} {relation}" for relation, count in scanned.relations.items())
    read = sum(stage["bytes_read"] for stage in scanned.stages)
    if scanned.ignored:
        left = (f"{count:,} {ending}" for ending, count in scanned.ignored.items())
        lines.append(f"files of no table: {', '.join(left)}")
    lines.append(
        f"{number_of(scanned.tables, 'table')} of {size(scanned.bytes)}, "
        f"{size(read)} read; "
        f"pairs: {', '.join(counts) or 'none'}; see {scanned.path}"
    )
    return "\n".join(lines)


def _edges(parsed: argparse.Namespace) -> None:
    from winnow.lake.view import LakeView, edges, tell_edges

    pairs = edges(LakeView(parsed.run), parsed.relation)
    print_json(pairs) if parsed.json else show(tell_edges(pairs))


def explain(parsed: argparse.Namespace) -> None:
    """Print why a table is or is not contained in another, or in any."""
    from winnow.lake import view as lake

    story = lake.explain(lake.LakeView(parsed.run), parsed.child, parsed.parent)
    print_json(story) if parsed.json else show(lake.tell(story))


def stages(parsed: argparse.Namespace) -> None:
    """Print how a scan's pairs became fewer."""
    from winnow.lake.view import LakeView, tell_stages

    rows = LakeView(parsed.run).stages.to_dicts()
    print_json(rows) if parsed.json else show(tell_stages(rows))


def _plan(parsed: argparse.Namespace) -> None:
    from winnow.handles.lake import Lake, plan_scan

    planned = plan_scan(Lake(parsed.run), parsed.overrides)
    print_json(planned) if parsed.json else show(planned)


def _apply(parsed: argparse.Namespace) -> None:
    from winnow.lake.apply import apply_plan, dry_run
    from winnow.lake.plan_view import tell_commands, tell_moved

    if parsed.dry_run:
        commands = dry_run(parsed.run, parsed.trash)
        print_json(commands) if parsed.json else show(tell_commands(commands))
        return
    outcome = apply_plan(parsed.run, parsed.trash)
    print_json(outcome) if parsed.json else show(tell_moved(outcome, "moved"))


def _restore(parsed: argparse.Namespace) -> None:
    from winnow.lake.apply import restore
    from winnow.lake.plan_view import tell_moved

    outcome = restore(parsed.run, parsed.tables)
    print_json(outcome) if parsed.json else show(tell_moved(outcome, "restored"))
