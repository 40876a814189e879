"""Every kind of step and of score, said once: what it is, and where its parts are.

Recipes, flows, reports and the app ask here; nothing else lists kinds. Parts are named,
not imported: a report that wants to know what a score means loads no step.

Other packages add theirs by entry points of the groups `winnow.steps` (each names a
`Step`) and `winnow.scores` (a `Score`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from winnow.config.reasons import DECISIONS, QUARANTINE, meaning
from winnow.core.errors import ConfigError
from winnow.core.extensions import Registry, load_part, packages_in

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
    cut: which settings make a score the step's threshold, a function of (step, its
    section, score), as those in `reports.cut_settings`; None: no one setting does.
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


def _own(name: str, section: str | None, rate: int, **more: Any) -> Step:
    """Return a step of Winnow's own, whose file has its name."""
    named = f"winnow.config.{section}" if section else None
    version = more.pop("version", 1)
    more["reasons"] = DECISIONS.get(name, {})
    return Step(name, version, f"winnow.steps.{name}", named, rate, **more)


_REMEDIES = "winnow.reports.remedies"
_LEAST = "winnow.steps.least_budget"
_CUTS = "winnow.reports.cut_settings"
_DRAW = "draw by uid hash"

# Rates as measured by benchmarks/scale.py (1 M × 256) and, for what reads images, on
# the clip art of the tests.
STEPS: Registry[Step] = Registry(
    "winnow.steps",
    Step,
    (
        _own(INDEX, None, 100_000, version=2),
        _own(
            EXACT,
            "steps:ExactConfig",
            50_000,
            version=3,
            shown=Shown(graded=False, remedy=f"{_REMEDIES}:exact"),
        ),
        _own(
            "decontaminate",
            "filter_steps:DecontaminateConfig",
            500,
            version=3,
            shown=Shown(
                twins="in an evaluation set", remedy=f"{_REMEDIES}:decontaminate"
            ),
        ),
        _own(
            "rules",
            "steps:RulesConfig",
            20_000,
            version=2,
            shown=Shown(graded=False, one_cut=False, remedy=f"{_REMEDIES}:rules"),
        ),
        _own(
            "image_quality",
            "image_steps:ImageQualityConfig",
            200,
            shown=Shown(
                graded=False,
                one_cut=False,
                remedy="winnow.steps.image_quality:remedy",
            ),
        ),
        _own(
            "perceptual_hash",
            "image_steps:PerceptualHashConfig",
            150,
            shown=Shown(
                "share of equal bits with the row kept for it",
                remedy="winnow.steps.perceptual_hash:remedy",
            ),
        ),
        _own(
            "minhash",
            "steps:MinhashConfig",
            50_000,
            version=2,
            shown=Shown(
                "Jaccard similarity to the row kept for it",
                texts=True,
                remedy=f"{_REMEDIES}:minhash",
                cut=f"{_CUTS}:threshold",
            ),
        ),
        _own(
            "quality",
            "text_steps:QualityConfig",
            3_000,
            shown=Shown(graded=False, one_cut=False),
        ),
        _own(
            "lines",
            "text_steps:LinesConfig",
            20_000,
            shown=Shown("part of the text in repeated lines", high_first=False),
        ),
        _own(
            "overlap",
            "text_steps:OverlapConfig",
            10_000,
            shown=Shown(
                "part of the text's passages that test items have",
                high_first=False,
                twins="in an evaluation set",
            ),
        ),
        _own(
            "substring",
            "text_steps:SubstringConfig",
            20_000,
            shown=Shown("part of the text in repeated passages", high_first=False),
        ),
        _own(
            "embed",
            "steps:EmbedConfig",
            100,
            version=3,
            gives={
                "image_vectors": "embed (with image among its modalities)",
                "text_vectors": "embed (with text among its modalities)",
            },
        ),
        _own(
            "cluster",
            "steps:ClusterConfig",
            50_000,
            gives=dict.fromkeys(("clusters", "centroids"), "cluster"),
        ),
        _own(
            "semantic",
            "steps:SemanticConfig",
            100_000,
            version=4,
            shown=Shown(
                "similarity to the nearest earlier row",
                note="Where a row's nearest earlier row had gone itself, this is the "
                "similarity to the nearest one that was kept.",
                remedy=f"{_REMEDIES}:semantic",
                cut=f"{_CUTS}:epsilon",
            ),
        ),
        _own(
            "prototypes",
            "steps:PrototypesConfig",
            500_000,
            version=2,
            shown=Shown(
                "distance to the nearest centroid",
                ranked=True,
                remedy=f"{_LEAST}:prototypes",
            ),
        ),
        _own(
            "complexity",
            "steps:ComplexityConfig",
            500_000,
            version=2,
            shown=Shown(
                "distance to the cluster's centroid", remedy=f"{_LEAST}:complexity"
            ),
        ),
        _own(
            SCORE,
            "filter_steps:ScoreConfig",
            200_000,
            gives={"scores": "score (with keep_fraction: 1.0 to keep all rows)"},
            shown=Shown(
                "alignment of image and caption, or what `method` names",
                ranked=True,
                remedy=f"{_REMEDIES}:best",
                cut=f"{_CUTS}:without_budget",
                alone=True,
            ),
        ),
        _own(
            "soft_cap",
            "filter_steps:SoftCapConfig",
            100_000,
            shown=Shown(remedy=f"{_REMEDIES}:soft_cap"),
        ),
        _own(
            "random",
            "steps:RandomConfig",
            300_000,
            shown=Shown(
                _DRAW, ranked=True, high_first=False, remedy=f"{_REMEDIES}:best"
            ),
        ),
        _own(
            "uniform",
            "steps:UniformConfig",
            300_000,
            shown=Shown(_DRAW, high_first=False, remedy=f"{_LEAST}:uniform"),
        ),
        _own(
            "balance",
            "balance_steps:BalanceConfig",
            30_000,
            shown=Shown(
                "best place among the rows of its concepts",
                ranked=True,
                high_first=False,
                remedy="winnow.reports.concept_remedy:balance",
            ),
        ),
        _own(
            "hierarchy",
            "balance_steps:HierarchyConfig",
            300_000,
            shown=Shown(
                "draw by uid hash, or distance to the centroid",
                one_cut=False,
                high_first=False,
                remedy=f"{_LEAST}:hierarchy",
            ),
        ),
        _own(
            "order",
            "balance_steps:OrderConfig",
            2_000,
            shown=Shown(
                "amount that the row added when it was chosen",
                ranked=True,
                remedy=f"{_REMEDIES}:best",
            ),
        ),
        _own(
            "outliers",
            "balance_steps:OutliersConfig",
            20_000,
            shown=Shown(
                "mean cosine to the nearest neighbours",
                ranked=True,
                remedy=f"{_REMEDIES}:best",
            ),
        ),
        _own(
            "where",
            "column_steps:WhereConfig",
            200_000,
            shown=Shown(graded=False, one_cut=False, remedy=f"{_REMEDIES}:where"),
        ),
        _own(
            "top",
            "column_steps:TopConfig",
            200_000,
            shown=Shown(
                "number in the pool",
                ranked=True,
                remedy=f"{_REMEDIES}:best",
                cut=f"{_CUTS}:without_budget",
                alone=True,
            ),
        ),
        _own(
            "target_clusters",
            "filter_steps:TargetClustersConfig",
            20_000,
            shown=Shown("images of the target in the row's cluster", graded=False),
        ),
        _own(
            "synsets",
            "column_steps:SynsetsConfig",
            50_000,
            shown=Shown(graded=False, one_cut=False),
        ),
        _own(
            "custom",
            "steps:CustomConfig",
            10_000,
            shown=Shown(
                ranked=True,
                remedy=f"{_REMEDIES}:best",
                cut=f"{_CUTS}:without_budget",
                alone=True,
            ),
        ),
        _own(OVERRIDES, None, 300_000, shown=Shown(remedy=f"{_REMEDIES}:overrides")),
        _own(APPLY, "steps:ApplyConfig", 20_000),
    ),
)

_TERMS = "winnow.steps.score_terms"
_IMAGE: tuple[Literal["image"], ...] = ("image",)
SCORES: Registry[Score] = Registry(
    "winnow.scores",
    Score,
    (
        Score("alignment", 1, f"{_TERMS}:alignment"),
        Score(
            "alignment_mirrored",
            1,
            f"{_TERMS}:changed_alignment",
            variant="mirrored",
        ),
        Score(
            "alignment_no_digits",
            1,
            f"{_TERMS}:changed_alignment",
            variant="no_digits",
        ),
        Score(
            "alignment_masked",
            1,
            f"{_TERMS}:changed_alignment",
            variant="masked",
        ),
        Score("neg_clip_loss", 1, f"{_TERMS}:neg_clip_loss_of", draws=True),
        Score("norm_sim", 1, f"{_TERMS}:norm_sim", target=True, reads=_IMAGE),
        Score("vas", 1, f"{_TERMS}:vas", target=True, reads=_IMAGE),
        Score(
            "vas_d",
            1,
            "winnow.steps.vas_d:vas_d",
            options="winnow.config.filter_steps:VasDOptions",
            reads=_IMAGE,
        ),
        Score(
            "head",
            1,
            "winnow.steps.head_score:head",
            options="winnow.config.filter_steps:HeadOptions",
            weights=True,
            reads=_IMAGE,
        ),
    ),
)


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
