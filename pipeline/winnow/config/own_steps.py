"""Winnow's own kinds of steps, each said once, in the order of recipes' sections."""

from __future__ import annotations

from typing import Any

from winnow.config.kinds import APPLY, EXACT, INDEX, OVERRIDES, SCORE, Shown, Step
from winnow.config.reasons import DECISIONS


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
OWN_STEPS = (
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
            twins="in an evaluation set",
            remedy=f"{_REMEDIES}:decontaminate",
            cut=f"{_CUTS}:evaluation_distance",
            alone=True,
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
            cut=f"{_CUTS}:bits",
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
        shown=Shown(
            "part of the text in repeated lines",
            high_first=False,
            cut=f"{_CUTS}:drop_share",
            alone=True,
        ),
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
        shown=Shown(
            "part of the text in repeated passages",
            high_first=False,
            cut=f"{_CUTS}:drop_share",
            alone=True,
        ),
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
        version=2,
        gives=dict.fromkeys(("clusters", "centroids"), "cluster"),
    ),
    _own(
        "semantic",
        "steps:SemanticConfig",
        100_000,
        version=6,
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
            _DRAW,
            ranked=True,
            high_first=False,
            remedy=f"{_REMEDIES}:best",
            cut=f"{_CUTS}:budget",
            alone=True,
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
            cut=f"{_CUTS}:place",
            whole=True,
            alone=True,
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
            cut=f"{_CUTS}:budget",
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
            cut=f"{_CUTS}:without_budget",
            alone=True,
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
    _own(APPLY, "steps:ApplyConfig", 20_000, version=2),
)
