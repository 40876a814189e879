"""Which settings of a recipe make a score the threshold of a step.

Each function takes a threshold that was moved, and returns changes as `--set` reads
them; none where no setting does it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Bits of a perceptual hash.
_BITS = 64


@dataclass(frozen=True)
class Moved:
    """A step's threshold as it would be.

    step: what the recipe calls it. section: its settings of today. cut: the score.
    kept: how many rows that have a score pass it.
    """

    step: str
    section: Mapping[str, Any]
    cut: float
    kept: int = 0

    def to(self, setting: str, value: object) -> str:
        """Return a change of one of the step's settings."""
        return f"{self.step}.{setting}={value}"


def epsilon(moved: Moved) -> list[str]:
    """Return the distance whose cosine is the cut.

    >>> epsilon(Moved("semantic", {}, 0.9))
    ['semantic.epsilon=0.1']
    """
    return [moved.to("epsilon", _short(1.0 - moved.cut))]


def threshold(moved: Moved) -> list[str]:
    """Return the cut as the threshold.

    >>> threshold(Moved("minhash", {}, 0.75))
    ['minhash.threshold=0.75']
    """
    return [moved.to("threshold", _short(moved.cut))]


def without_budget(moved: Moved) -> list[str]:
    """Return the cut as the threshold, and take a budget away, which would cut again.

    >>> without_budget(Moved("score", {"keep_fraction": 0.8}, 0.25))
    ['score.keep_fraction=null', 'score.threshold=0.25']
    """
    budgets = [
        moved.to(name, "null")
        for name in ("keep_fraction", "keep_count")
        if moved.section.get(name) is not None
    ]
    return [*budgets, *threshold(moved)]


def budget(moved: Moved) -> list[str]:
    """Return the number of rows that pass, where a budget is all that cuts.

    >>> budget(Moved("random", {"keep_fraction": 0.5}, 0.25, kept=40))
    ['random.keep_fraction=null', 'random.keep_count=40']
    """
    count = moved.to("keep_count", moved.kept)
    if moved.section.get("keep_fraction") is None:
        return [count]
    return [moved.to("keep_fraction", "null"), count]


def place(moved: Moved) -> list[str]:
    """Return the cut as the rows that each concept keeps, where no budget cuts, too.

    >>> place(Moved("balance", {"limit": 10}, 7.0))
    ['balance.limit=7']
    """
    budgets = (moved.section.get(name) for name in ("keep_fraction", "keep_count"))
    if moved.cut < 1 or any(given is not None for given in budgets):
        return []
    return [moved.to("limit", int(moved.cut))]


def bits(moved: Moved) -> list[str]:
    """Return how many bits of two hashes may differ for that share of equal ones.

    >>> bits(Moved("perceptual_hash", {}, 0.9))
    ['perceptual_hash.max_bits=6']
    """
    # A share of equal bits is a number of 64ths, exactly.
    most = math.floor(_BITS * (1.0 - moved.cut))
    return [moved.to("max_bits", most)] if most >= 0 else []


def drop_share(moved: Moved) -> list[str]:
    """Return the cut as the part of a text from which it is dropped.

    >>> drop_share(Moved("lines", {"action": "drop"}, 0.25))
    ['lines.drop_share=0.25']
    """
    return [moved.to("drop_share", _short(moved.cut))] if moved.cut >= 0 else []


def evaluation_distance(moved: Moved) -> list[str]:
    """Return the distance of the one criterion that a step compares by.

    >>> evaluation_distance(Moved("decontaminate", {"by": ["image_vectors"]}, 0.9))
    ['decontaminate.max_distance=0.1']
    """
    match list(moved.section.get("by", ())):
        case ["image_vectors"]:
            return [moved.to("max_distance", _short(1.0 - moved.cut))]
        case ["perceptual_hash"]:
            return bits(moved)
    return []


def _short(value: float) -> str:
    """Return a number without the dust of its last bits."""
    return f"{value:.12g}"
