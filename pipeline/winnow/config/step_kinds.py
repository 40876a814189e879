"""Every kind of step and of score by its name, Winnow's own and those of others.

Recipes, flows, reports and the app ask here; nothing else lists kinds. Winnow's own
stand in `own_steps` and `own_scores`; other packages add theirs by entry points of the
groups `winnow.steps` (each names a `Step`) and `winnow.scores` (a `Score`).
"""

from __future__ import annotations

from collections.abc import Iterable

from winnow.config.kinds import (
    APPLY,
    EXACT,
    INDEX,
    OVERRIDES,
    SCORE,
    Score,
    Shown,
    Step,
)
from winnow.config.own_scores import OWN_SCORES
from winnow.config.own_steps import OWN_STEPS
from winnow.config.reasons import QUARANTINE, meaning
from winnow.core.errors import ConfigError
from winnow.core.extensions import Registry, packages_in

__all__ = [
    "APPLY",
    "EXACT",
    "INDEX",
    "OVERRIDES",
    "SCORE",
    "SCORES",
    "STEPS",
    "Score",
    "Shown",
    "Step",
    "has_section",
    "meant",
    "packages_of",
    "score_of",
    "sections",
    "shown",
    "step_of",
]

STEPS: Registry[Step] = Registry("winnow.steps", Step, OWN_STEPS)
SCORES: Registry[Score] = Registry("winnow.scores", Score, OWN_SCORES)


def step_of(kind: str) -> Step:
    """Return a kind of step; raises ConfigError if there is none of that name."""
    step = STEPS.get(kind)
    if step is None:
        raise ConfigError(f"there is no step '{kind}'; is its package installed?")
    return step


def score_of(method: str) -> Score:
    """Return a kind of score; raises ConfigError if there is none of that name."""
    score = SCORES.get(method)
    if score is None:
        raise ConfigError(f"there is no score '{method}'; is its package installed?")
    return score


def shown(kind: str) -> Shown:
    """Return how to tell of a step, also where its package is no longer installed."""
    step = STEPS.get(kind)
    return Shown() if step is None else step.shown


def meant(kind: str, reason: str) -> str | None:
    """Return what a reason of a step's decisions or rejects means, in a sentence."""
    step = STEPS.get(kind)
    return meaning(reason, {**QUARANTINE, **(step.reasons if step else {})})


def packages_of(kinds: Iterable[str], methods: Iterable[str]) -> list[str]:
    """Return the packages of others that these steps and scores stand in.

    An engine whose workers are elsewhere sends them along, and whatever package adds a
    format: which one the pool has is not known yet.
    """
    parts = [step_of(kind).module for kind in kinds]
    for method in methods:
        score = score_of(method).score
        parts.append(score if isinstance(score, str) else score.__module__)
    names = {part.partition(":")[0].partition(".")[0] for part in parts}
    names |= packages_in("winnow.formats")
    return sorted(names - {"winnow"})


def has_section(kind: str) -> bool:
    """Whether recipes may hold a section of this name, for a step of this kind."""
    return kind in STEPS and kind not in (INDEX, OVERRIDES)


def sections() -> list[str]:
    """Return the names that steps have in recipes."""
    return [name for name in STEPS.names() if name not in (INDEX, OVERRIDES)]
