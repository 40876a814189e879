"""Winnow's own ways to score pairs of image and caption."""

from __future__ import annotations

from typing import Literal

from winnow.config.kinds import Score

_TERMS = "winnow.steps.score_terms"
_IMAGE: tuple[Literal["image"], ...] = ("image",)
OWN_SCORES = (
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
)
