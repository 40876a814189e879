"""Where captions that repeat land in a filter's ranking.

A caption that hundreds of images carry says nothing about any of them. Captions are
grouped by their text without case and with digits alike, so that a template with a date
is one group.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import numpy as np

from winnow.algorithms.filter.ranking_quality import rank_auc
from winnow.filters.judge.evaluation_set import EvaluationSet
from winnow.filters.judge.pair_scores import PairScores

#: Captions that more images carry are boilerplate.
REPEATS = 20
#: Chance of an informative caption to outrank one of a group: below it, the score does
#: not separate the group; from the second on, it does.
_POOR, _GOOD = 0.65, 0.8
_BUDGETS = (0.15, 0.3, 0.5)
_DIGITS = re.compile(r"\d+")


def template(caption: str) -> str:
    """Return what captions of one group have in common."""
    return " ".join(_DIGITS.sub("#", caption.casefold()).split())


def caption_groups(
    data: EvaluationSet, pairs: PairScores, repeats: int = REPEATS
) -> dict[str, Any]:
    """Return each group of captions that more than `repeats` images carry.

    For each: rows, an example, the median place of its scores in the ranking of all
    right pairs (1 is the top), the share of it among the best 15, 30 and 50 %, the
    chance that an informative caption outranks it (`informative_above`, 0.5: the score
    cannot tell them apart), and a verdict. `informative` are all other captions.
    """
    forms = [template(text) for text in data.texts]
    form_of_pair = np.array([forms[text] for text in pairs.texts.tolist()], object)
    counts = Counter(form_of_pair.tolist())
    often = sorted((f for f, n in counts.items() if n > repeats), key=lambda f: f)
    informative = ~np.isin(form_of_pair, np.array(often, object))
    places = _places(pairs)
    good = pairs.right[informative]
    groups = []
    for form in sorted(often, key=lambda f: (-counts[f], f)):
        inside = form_of_pair == form
        above = rank_auc(good, pairs.right[inside])
        groups.append(
            {
                "caption": form,
                "example": min(data.texts[t] for t in pairs.texts[inside].tolist()),
                "rows": int(inside.sum()),
                **_landing(places[inside]),
                "informative_above": above,
                "verdict": _verdict(above),
            }
        )
    every = rank_auc(good, pairs.right[~informative])
    merged = [g["caption"] for g in groups if not g["informative_above"] >= _POOR]
    return {
        "more_than": repeats,
        "informative_rows": int(informative.sum()),
        "informative": _landing(places[informative]),
        "boilerplate_rows": int((~informative).sum()),
        "boilerplate": _landing(places[~informative]),
        "informative_above_boilerplate": every,
        "verdict": _verdict(every),
        "not_separated": merged,
        "rows_not_separated": sum(counts[form] for form in merged),
        "groups": groups,
    }


def _places(pairs: PairScores) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return which share of all pairs scores lower, ties half: (m,) in [0, 1]."""
    ordered = np.sort(pairs.right)
    below = np.searchsorted(ordered, pairs.right, "left")
    up_to = np.searchsorted(ordered, pairs.right, "right")
    return np.asarray((below + up_to) / (2 * len(ordered)))


def _landing(places: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    if not len(places):
        return {"median_place": None, "quartile_places": None, "among_best": {}}
    low, middle, high = np.quantile(places, [0.25, 0.5, 0.75]).tolist()
    return {
        "median_place": middle,
        "quartile_places": [low, high],
        "among_best": {
            f"{budget:g}": float((places >= 1 - budget).mean()) for budget in _BUDGETS
        },
    }


def _verdict(above: float) -> str:
    if math.isnan(above):
        return "nothing to compare with"
    if above < 0.5:
        return "ranked above informative captions"
    if above < _POOR:
        return "not separated"
    return "separated" if above >= _GOOD else "partly separated"
