"""A proof as plain text."""

from __future__ import annotations

from typing import Any

from winnow.filters.judge.telling import align
from winnow.filters.prove.verdict import words_of


def tell_proof(result: dict[str, Any]) -> str:
    """Return a proof for a terminal: a table for each run, its verdict last."""
    lines = [
        f"{result['proxy']}; {result['seeds']} seeds, judged on "
        f"{result['held_out_rows']:,} rows held out"
    ]
    lines += leak_lines(result)
    for run in result["runs"]:
        names = list(run["against_random"])
        head: tuple[str, ...] = (run["run"], "rows", *map(words_of, names))
        table = [head]
        table += [
            (arm["trained_on"], f"{arm['rows']:,}", *(_value(arm[n]) for n in names))
            for arm in run["arms"]
        ]
        for key, title in (
            ("against_random", "kept less random"),
            ("against_whole", "kept less whole pool"),
        ):
            table.append((title, "", *(_gap(run[key][name]) for name in names)))
        lines += ["", *align(table), f"({run['steps']:,} steps each)"]
    return "\n".join([*lines, "", *(run["verdict"] for run in result["runs"])])


def leak_lines(result: dict[str, Any]) -> list[str]:
    """Say which held-out rows were left out, and which are suspicious."""
    lines = []
    leaks = result["leaks"]
    if leaks["rows"]:
        lines.append(
            f"{leaks['rows']:,} held-out rows stand in the pool with the very same "
            f"content and were left out, among them {leaks['examples'][0]}"
        )
    if result["near_copies"]:
        lines.append(
            f"{result['near_copies']:,} held-out rows have a row of the pool at a "
            "cosine of .99 or more; they stay, and may flatter every selection"
        )
    return lines


def _value(span: dict[str, Any]) -> str:
    return f"{span['mean']:.4f}"


def _gap(span: dict[str, Any]) -> str:
    return f"{span['mean']:+.4f} [{span['low']:+.4f}, {span['high']:+.4f}]"
