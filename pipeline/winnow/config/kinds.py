"""What is said of a kind of step, and of a kind of score.

Parts of these objects are named, not imported: a report that wants to know what a score
means loads no step.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from winnow.core.extensions import load_part

#: The step that every run begins with; it has no section of its own.
INDEX = "index"
#: Steps that named queries ask for.
EXACT, SCORE = "exact", "score"
#: The step before `apply` in a run that has a file of overrides; no section either.
OVERRIDES = "overrides"
#: The step that writes the result; it stands last.
APPLY = "apply"


@dataclass(frozen=True)
class Shown:
    """How reports tell of a step's decisions.

    scale: what the score is, in words. graded: whether scores are worth a histogram.
    one_cut: whether one threshold holds for all rows.
    ranked: whether `explain` says how many rows score higher.
    high_first: whether high scores are kept, where no `keep_high` or `keep` says so.
    twins: where the row that a dropped one is like stands.
    texts: whether what it drops are texts to be shown side by side.
    note: what the page adds to the step's section.
    remedy: which setting would have kept a row, a function of (run, marker, entry), as
    those in `reports.remedies` (or in the step's room, where it has to count again),
    that returns words or None.
    cut: which settings make a score the step's threshold, a function of a
    `reports.cut_settings.Moved`, as those there; None: no one setting does.
    whole: whether the threshold is a whole number.
    alone: whether a row's decision follows from its own score and the threshold, and
    from no other row's decision.
    """

    scale: str = "score"
    graded: bool = True
    one_cut: bool = True
    ranked: bool = False
    high_first: bool = True
    twins: Literal["in the run", "in an evaluation set"] = "in the run"
    texts: bool = False
    note: str = ""
    remedy: Any = None
    cut: Any = None
    whole: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Step:
    """One kind of step.

    name: what recipes and ledgers call it.
    version: raised when the step decides otherwise for the same rows and settings; runs
    made under another version are made again.
    module: name of the module with `contract(config)`, `run(context)` and, where work
    of an earlier run may be taken over, `reuse(config)`.
    section: its settings, a model that derives from `config.section.StepConfig`, itself
    or by name (`module:Class`). None: it has no section.
    rate: rows per second on two cores, for `winnow plan`; an order of magnitude.
    gives: for each artifact it provides, what a recipe has to say to have it.
    reasons: for each reason that it gives in the ledger, what that means.
    """

    name: str
    version: int
    module: str
    section: Any = None
    rate: int = 100_000
    gives: Mapping[str, str] = field(default_factory=dict)
    shown: Shown = Shown()
    reasons: Mapping[str, str] = field(default_factory=dict)

    def contract(self, config: Any) -> Any:
        """Return what the step reads and provides under given settings."""
        return load_part(f"{self.module}:contract")(config)

    def run(self, context: Any) -> Any:
        """Run the step."""
        return load_part(f"{self.module}:run")(context)

    def reuse(self, config: Any) -> Any:
        """Return when work of an earlier run still holds; None: never."""
        load_part(f"{self.module}:run")
        find = getattr(sys.modules[self.module], "reuse", None)
        return None if find is None else find(config)


@dataclass(frozen=True)
class Score:
    """One way for the step `score` to score pairs of image and caption.

    name: what `score.method` calls it.
    version: raised when it scores the same pairs otherwise.
    score: a function of (context, pairs, term) that returns `steps.score_terms.Scored`.
    options: model of `score.options`, itself or by name. None: it has no options.
    variant: what has to be embedded beside the pairs: their images mirrored, their
    captions without digits, their images without what is under `score.masks`.
    target: whether it needs `score.target`.
    weights: whether it needs `score.weights`.
    draws: whether it depends on the recipe's seed.
    reads: the modalities whose vectors it is made of, unless its options' `on` says.
    """

    name: str
    version: int
    score: Any
    options: Any = None
    variant: Literal["mirrored", "no_digits", "masked"] | None = None
    target: bool = False
    weights: bool = False
    draws: bool = False
    reads: tuple[Literal["image", "text"], ...] = ("image", "text")
