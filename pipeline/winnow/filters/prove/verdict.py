"""What a proof comes to: differences to chance and to the whole pool, and a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from winnow.filters.prove.arms import TrainedArm, difference

Result = dict[str, Any]


def compared(name: str, arms: Sequence[TrainedArm], main: str, budget: int) -> Result:
    """Return (kept, random, whole) arms with differences and a line of verdict."""
    kept, random, whole = arms
    against = difference(kept, random, drawn=True)
    gap = against[main]
    if gap["better"]:
        verdict = "better than random at this budget"
    elif gap["high"] < 0:
        verdict = "not shown (worse than random at this budget)"
    else:
        verdict = "not shown to be better than random at this budget"
    return {
        "arms": [arm.summary() for arm in arms],
        "against_random": against,
        "against_whole": difference(kept, whole, drawn=False),
        "better": gap["better"],
        "verdict": (
            f"{name}: {verdict} of {budget:,} rows: {words_of(main)} "
            f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
        ),
    }


def words_of(metric: str) -> str:
    """Return what a figure is called."""
    named = {"auc_random": "AUC", "accuracy": "accuracy"}
    return named.get(metric, metric.replace("_", " "))
