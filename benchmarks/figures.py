"""Figures that a benchmark notes, for `make bench` to put into one table.

`record` appends a line of JSON to the file that $WINNOW_FIGURES names; without it
nothing is noted, and a benchmark only prints.
"""

from __future__ import annotations

import json
import os

FILE = "WINNOW_FIGURES"


def record(
    name: str, value: float, *, asked: str | None = None, larger_is_better: bool = False
) -> None:
    """Note a figure.

    name: what over what.
    value: a ratio or a share.
    asked: what an issue asked for, such as `<= 1.1`; None where nothing was.
    larger_is_better: where nothing was asked, which way is worse.
    """
    if file := os.environ.get(FILE):
        load = round(os.getloadavg()[0], 1)
        figure = {
            "name": name,
            "value": round(value, 4),
            "asked": asked,
            "larger_is_better": asked.startswith(">") if asked else larger_is_better,
            "load": load,
        }
        with open(file, "a") as noted:
            noted.write(json.dumps(figure) + "\n")
