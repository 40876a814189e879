"""All figures with an outside anchor in one table, and what got slower since the last.

    python benchmarks/table.py [--only NAME …] [--page docs/benchmarks.md]

Runs each script of SCRIPTS in a process of its own, one after the other. Their ratios
go into the page, beside what was asked and the machine's load; a second table names
those that are worse than the page's last by more than a tenth. The last are kept in
`benchmarks/last.json`, which goes into the repository with the page.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from figures import FILE

HERE = Path(__file__).parent
LAST = HERE / "last.json"
#: About 28 minutes on two quiet cores.
SCRIPTS = {
    "limits": ["--rows", "200000"],
    "cores": ["--rounds", "2"],
    "embed": ["--images", "256", "--rounds", "3"],
    "large_images": ["--sides", "1024", "--images", "128", "--rounds", "1"],
    "semantic": [],
    "semantic_pool": ["8000", "60000"],
    "search": ["100000"],
    "minhash": ["--rounds", "3"],
    "text_processes": ["--rounds", "3"],
    "near_index": [],
    "communities": [],
    "allocate_budget": [],
}
#: By how much a ratio may be worse before it is told.
NOISE = 1.1
Figure = dict[str, Any]
HEAD = """\
# Benchmarks

Written by `make bench`: each figure is a ratio or a share, against something that is
not Winnow, in the same process or in alternating runs; in bold where it is not what was
asked. Absolute times, and what takes longer to measure, stand in
[Measured](measurements.md). {machine}, Python {python}.

| what | figure | asked | load | date | `benchmarks/…` |
|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs/benchmarks.md")
    given = parser.parse_args()
    last: dict[str, Figure] = json.loads(LAST.read_text()) if LAST.exists() else {}
    now = dict(last)
    failed = []
    for name in given.only:
        print(f"== {name}", flush=True)
        try:
            figures = measured(name)
        except subprocess.CalledProcessError:
            failed.append(name)
            continue
        now |= {figure["name"]: figure for figure in figures}
        now = {name: now[name] for name in sorted(now, key=lambda n: order(now[n]))}
        # What is measured stays, whatever comes of the others.
        given.page.write_text(page(now, last))
        LAST.write_text(json.dumps(now, indent=1) + "\n")
    print(f"-> {given.page}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def order(figure: Figure) -> int:
    return list(SCRIPTS).index(figure["command"].split()[0])


def measured(name: str) -> list[Figure]:
    """Run a script; return what it noted, and with which command."""
    with tempfile.NamedTemporaryFile("r") as noted:
        command = [sys.executable, str(HERE / f"{name}.py"), *SCRIPTS[name]]
        subprocess.run(command, check=True, env={**os.environ, FILE: noted.name})
        lines = noted.read().splitlines()
    told = {"command": " ".join([name, *SCRIPTS[name]]), "date": str(today())}
    return [{**json.loads(line), **told} for line in lines]


def today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def page(now: dict[str, Figure], last: dict[str, Figure]) -> str:
    """Return the page of both tables."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    lines = [
        HEAD.format(machine=machine, python=platform.python_version()),
        *(row(figure) for figure in now.values()),
        "",
        "## What got worse since the last table",
        "",
    ]
    worse = [name for name in now if is_worse(now[name], last.get(name))]
    if not worse:
        return "\n".join([*lines, "Nothing, by more than a tenth.", ""])
    lines += ["| what | last | now |", "|---|---|---|"]
    lines += [
        f"| {name} | {last[name]['value']:.2f} | {now[name]['value']:.2f} |"
        for name in worse
    ]
    return "\n".join([*lines, ""])


def row(figure: Figure) -> str:
    asked, value = figure["asked"] or "", figure["value"]
    told = f"{value:.2f}" if is_met(figure) else f"**{value:.2f}**"
    where = f"{figure['load']} | {figure['date']} | `{figure['command']}`"
    return f"| {figure['name']} | {told} | {asked} | {where} |"


def is_met(figure: Figure) -> bool:
    if not figure["asked"]:
        return True
    sign, limit = figure["asked"].split()
    value = figure["value"]
    return bool(value <= float(limit) if sign == "<=" else value >= float(limit))


def is_worse(now: Figure, last: Figure | None) -> bool:
    """Whether a figure is worse than the last by more than noise."""
    if last is None:
        return False
    ratio = now["value"] / last["value"]
    return bool(ratio < 1 / NOISE if now["larger_is_better"] else ratio > NOISE)


if __name__ == "__main__":
    main()
