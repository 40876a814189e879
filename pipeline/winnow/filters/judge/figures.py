"""Figures of scored pairs: areas, precision, calibration, histograms, by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.calibration import (
    brier,
    expected_calibration_error,
    fit_logistic,
    reliability,
)
from winnow.algorithms.filter.ranking_quality import precision_at, rank_auc
from winnow.filters.judge.evaluation_set import EvaluationSet, Ids
from winnow.filters.judge.pair_scores import PairScores

Figures = dict[str, Any]
Floats = npt.NDArray[np.float64]

_BARS = 24
_RECALLS = (1, 5, 10)


def areas(pairs: PairScores) -> Figures:
    """Return the areas under the curve against each kind of wrong pairs."""
    return {
        "auc_random": rank_auc(pairs.right, _known(pairs.random)),
        "auc_hard": rank_auc(pairs.right, pairs.hard),
        "auc_same_cluster": rank_auc(pairs.right, _known(pairs.same_cluster)),
        "auc_swapped": rank_auc(pairs.right, _known(pairs.swapped)),
    }


def precisions(pairs: PairScores, k: int | None) -> Figures:
    """Return how many of the k best of right and as many wrong pairs are right.

    Without k: half of all, which is what a filter keeps of a pool that is half wrong.
    """
    figures: Figures = {}
    for name, wrong in (("", pairs.random), ("_hard", _hardest(pairs))):
        there = ~np.isnan(wrong)
        most = 2 * int(there.sum())
        size = min(k or most // 2, most)
        figures[f"precision_at_k{name}"] = (
            precision_at(pairs.right[there], wrong[there], size) if size else None
        )
        figures[f"k{name}"] = size
    return figures


def _hardest(pairs: PairScores) -> Floats:
    """Return the better scored of each pair's hard wrong captions."""
    return np.asarray(np.fmax(pairs.same_cluster, pairs.swapped))


def recall_figures(places: Ids) -> Figures:
    """Return R@1, 5 and 10 of places from 1."""
    return {f"recall_at_{k}": float((places <= k).mean()) for k in _RECALLS}


def calibration(data: EvaluationSet, pairs: PairScores) -> Figures | None:
    """Return how well a logistic fit of the score predicts right against random pairs.

    Fitted on the images of one half, by uid hash, and measured on the other, both ways.
    None where a half lacks right or wrong pairs.
    """
    there = ~np.isnan(pairs.random)
    scores = np.concatenate([pairs.right, pairs.random[there]])
    right = np.arange(len(scores)) < len(pairs.right)
    rows = np.concatenate([pairs.rows, pairs.rows[there]])
    half = (data.keys("calibration half") & np.uint64(1)).astype(bool)[rows]
    chances = np.empty(len(scores))
    for part in (half, ~half):
        if len(np.unique(right[~part])) < 2 or not part.any():
            return None
        chances[part] = fit_logistic(scores[~part], right[~part])(scores[part])
    whole = fit_logistic(scores, right)
    bins = reliability(chances, right)
    return {
        "slope": whole.slope,
        "offset": whole.offset,
        "even_at": -whole.offset / whole.slope if whole.slope else None,
        "ece": expected_calibration_error(bins),
        "brier": brier(chances, right),
        "bins": [
            {
                "low": part.low,
                "high": part.high,
                "rows": part.rows,
                "predicted": part.predicted,
                "observed": part.observed,
            }
            for part in bins
        ],
    }


def histogram(pairs: PairScores) -> list[Figures]:
    """Return right, random and hard wrong pairs by score, over one range."""
    kinds = {
        "right": pairs.right,
        "random": _known(pairs.random),
        "hard": pairs.hard,
    }
    edges = _edges(np.concatenate(list(kinds.values())))
    counts = {name: np.histogram(s, edges)[0].tolist() for name, s in kinds.items()}
    return [
        {
            "low": float(edges[bar]),
            "high": float(edges[bar + 1]),
            **{name: counts[name][bar] for name in kinds},
        }
        for bar in range(_BARS)
    ]


def _edges(scores: Floats) -> Floats:
    low, high = float(scores.min()), float(scores.max())
    return np.linspace(low, high if high > low else low + 1.0, _BARS + 1)


def by_group(
    pairs: PairScores, group_of: Sequence[str], names: Sequence[str] | None = None
) -> list[Figures]:
    """Return figures of each group of images, the largest first.

    group_of: (n,) names by image. A group's wrong captions come from the whole set.
    `bars` count the right pairs by score, on the edges of the whole set.
    """
    edges = _edges(pairs.right)
    group_of_pair = np.array(group_of, object)[pairs.rows]
    figures = []
    for name in names or sorted(set(group_of)):
        part = pairs.of(group_of_pair == name)
        if not len(part.right):
            continue
        quartiles = np.quantile(part.right, [0.25, 0.5, 0.75]).tolist()
        figures.append(
            {
                "group": name,
                "images": len(np.unique(part.rows)),
                "pairs": len(part.right),
                **areas(part),
                "score_quartiles": quartiles,
                "bars": np.histogram(part.right, edges)[0].tolist(),
            }
        )
    return sorted(figures, key=lambda row: (-row["images"], row["group"]))


def bar_edges(pairs: PairScores) -> list[float]:
    """Return the edges of the bars of `by_group`."""
    return [float(edge) for edge in _edges(pairs.right)]


def with_drops(domains: Sequence[Mapping[str, Any]]) -> list[Figures]:
    """Return domains with how far each lies below the best one."""
    names = ("auc_random", "auc_hard")
    best = {
        n: max((d[n] for d in domains if d[n] == d[n]), default=None) for n in names
    }
    return [
        {
            **domain,
            **{
                f"drop_{n}": None if best[n] is None else best[n] - domain[n]
                for n in names
            },
        }
        for domain in domains
    ]


def _known(scores: Floats) -> Floats:
    return np.asarray(scores[~np.isnan(scores)])
