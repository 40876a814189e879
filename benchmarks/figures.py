"""Figures that a benchmark notes, for `make bench` to put into one table.

`record` appends a line of JSON to the file that $WINNOW_FIGURES names; without it
nothing is noted, and a benchmark only prints.
"""

from __future__ import annotations

import json
import os
import time

FILE = "WINNOW_FIGURES"


def record(name: str, value: float, *, asked: str | None = None) -> None:
    """Note a figure.

    name: what over what; the better one is the smaller, unless `asked` begins with >.
    value: a ratio, or a number with its unit in the name.
    asked: what an issue asked for, such as `<= 1.1`; None where nothing was.
    """
    if file := os.environ.get(FILE):
        load = round(os.getloadavg()[0], 1)
        figure = {"name": name, "value": value, "asked": asked, "load": load}
        with open(file, "a") as noted:
            noted.write(json.dumps({**figure, "cpu": time.process_time()}) + "\n")
