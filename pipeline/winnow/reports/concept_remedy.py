"""Which setting of `balance` would have kept a row, and whose rows it stands among."""

from __future__ import annotations

import math
from typing import Any

from winnow.core.marker import Marker
from winnow.reports.remedies import Entry, best
from winnow.reports.run_view import RunView


def balance(run: RunView, marker: Marker, entry: Entry) -> str | None:
    """Return the limit, the budget or both that reach the row."""
    step, score = marker.step, entry["score"]
    if score is None:
        return f"{step}.concepts with something that its caption has"
    places = run.artifact(step, "places").filter(uid=entry["uid"]).collect()
    number = places["concept"].min()
    concept: dict[str, Any]
    (concept,) = (
        run.artifact(step, "concepts").filter(concept=number).collect().to_dicts()
    )
    options = []
    limit = run.config[step]["limit"]
    if limit is not None and score > limit:
        options.append(f"{step}.limit at least {math.ceil(score)}")
    if (budget := best(run, marker, entry)) is not None:
        options.append(budget)
    if not options:
        return None
    standing = f"row {math.ceil(score):,} of {concept['rows']:,} of '{concept['name']}'"
    return " and ".join(options) + f"; it is {standing}"
