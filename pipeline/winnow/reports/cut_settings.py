"""Which settings of a recipe make a score the threshold of a step.

Each function takes a step's name, its section and the score, and returns changes as
`--set` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Section = Mapping[str, Any]


def epsilon(step: str, section: Section, cut: float) -> list[str]:
    """Return the distance whose cosine is the cut.

    >>> epsilon("semantic", {}, 0.9)
    ['semantic.epsilon=0.1']
    """
    return [f"{step}.epsilon={_short(1.0 - cut)}"]


def threshold(step: str, section: Section, cut: float) -> list[str]:
    """Return the cut as the threshold.

    >>> threshold("minhash", {}, 0.75)
    ['minhash.threshold=0.75']
    """
    return [f"{step}.threshold={_short(cut)}"]


def without_budget(step: str, section: Section, cut: float) -> list[str]:
    """Return the cut as the threshold, and take a budget away, which would cut again.

    >>> without_budget("score", {"keep_fraction": 0.8}, 0.25)
    ['score.keep_fraction=null', 'score.threshold=0.25']
    """
    budgets = [
        f"{step}.{name}=null"
        for name in ("keep_fraction", "keep_count")
        if section.get(name) is not None
    ]
    return [*budgets, *threshold(step, section, cut)]


def _short(value: float) -> str:
    """Return a number without the dust of its last bits."""
    return f"{value:.12g}"
