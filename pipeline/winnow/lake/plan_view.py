"""A deletion plan, and what was done of it, in words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from winnow.core.words import number_of


def tell_plan(plan: Mapping[str, Any]) -> str:
    """Return a plan as text."""
    lines = []
    for row in plan["plan"]:
        if row["action"] == "delete":
            lines.append(
                f"delete  {row['table']}  {size(row['bytes_saved'])}, "
                f"from {row['parent']} in {row['rebuild_seconds']:,.3g} s"
            )
        else:
            lines.append(f"keep    {row['table']}  {row['reason']}")
    lines.append(
        f"{plan['deleted']:,} of {number_of(plan['tables'], 'table')} can go: "
        f"{size(plan['bytes_saved'])} and {plan['cost_saved']:,.4g} per period saved"
    )
    if plan["gap"]:
        lines.append(
            f"the solver ran out of time; a plan up to {plan['gap']:.2%} cheaper may "
            "exist"
        )
    if plan["deleted"]:
        lines.append(f"next: winnow lake apply {shlex.quote(plan['run'])} --dry-run")
    return "\n".join(lines)


def tell_commands(commands: list[dict[str, Any]]) -> str:
    """Return what `apply` would do as text."""
    lines = []
    for entry in commands:
        lines.append(f"# {entry['table']} is had back by: {entry['rebuild_sql']}")
        lines.append(entry["command"])
    return "\n".join(lines) or "nothing to move"


def tell_moved(outcome: Mapping[str, Any], done: str) -> str:
    """Return what `apply` (`moved`) or `restore` (`restored`) did as text."""
    lines = [f"{done}  {table}" for table in outcome[done]]
    lines += [f"left  {kept['table']}: {kept['reason']}" for kept in outcome["kept"]]
    where = f" to {outcome['trash']}" if "trash" in outcome else ""
    tables = number_of(len(outcome[done]), "table")
    stay = len(outcome["kept"])
    left = f", {number_of(stay, 'table')} left where they are" if stay else ""
    before = len(outcome.get("before", ()))
    earlier = f", {before:,} moved before" if before else ""
    lines.append(f"{tables} {done}{where}{left}{earlier}")
    return "\n".join(lines)


def size(count: int) -> str:
    """Return bytes with a unit."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if abs(value) < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.3g} {unit}"
