"""Commands over a lake of tables: `lake plan`, `lake apply`, `lake restore`.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

Commands = Any


def add_commands(commands: Commands, json_argument: Callable[..., None]) -> None:
    """Register the commands of this file."""
    lake = commands.add_parser(
        "lake", help="which tables are contained in which, and what may go"
    )
    actions = lake.add_subparsers(required=True, metavar="ACTION")
    for add in (_add_plan, _add_apply, _add_restore):
        json_argument(add(actions))


def _add_plan(actions: Commands) -> argparse.ArgumentParser:
    plan: argparse.ArgumentParser = actions.add_parser(
        "plan", help="which tables may be deleted, and how each is rebuilt"
    )
    plan.add_argument("run", metavar="RUN", help="folder of a scan")
    plan.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="plan.KEY=VALUE",
        dest="overrides",
        help="change a price or a promise; may be repeated",
    )
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


def _plan(parsed: argparse.Namespace) -> None:
    from pipeline.flows.lake_plan import plan_lake
    from pipeline.reports.lake_plan import tell_plan

    found = plan_lake(parsed.run, parsed.overrides)
    _print_json(found) if parsed.json else print(tell_plan(found))


def _apply(parsed: argparse.Namespace) -> None:
    from pipeline.flows.lake_apply import apply_plan, dry_run
    from pipeline.reports.lake_plan import tell_commands, tell_moved

    if parsed.dry_run:
        commands = dry_run(parsed.run, parsed.trash)
        _print_json(commands) if parsed.json else print(tell_commands(commands))
        return
    found = apply_plan(parsed.run, parsed.trash)
    _print_json(found) if parsed.json else print(tell_moved(found, "moved"))


def _restore(parsed: argparse.Namespace) -> None:
    from pipeline.flows.lake_apply import restore
    from pipeline.reports.lake_plan import tell_moved

    found = restore(parsed.run, parsed.tables)
    _print_json(found) if parsed.json else print(tell_moved(found, "restored"))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
