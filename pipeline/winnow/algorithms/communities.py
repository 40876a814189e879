"""Local communities: the order in which vertices join a few given ones.

Chamberlain, Levy-Kramer, Humby and Deisenroth 2018 (PLoS ONE 13(1), arXiv 1601.03958):
vertices are joined by the Jaccard similarity of their neighbourhoods; a community grows
from seed vertices over the similarities among the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

#: Scores that differ by less are equal: they are sums in another order.
_DECIMALS = 12


def by_similarity(similarity: Floats, seeds: int) -> tuple[Ids, Floats]:
    """Return the other vertices by their mean similarity to the seeds, and it.

    similarity: (m, m) symmetric, 0 to 1, the seeds first; equal scores in the order
    given. Returns positions (m − seeds,) and their scores (m − seeds,).

    Raises ValueError unless there are seeds and the matrix is square.
    """
    _check(similarity, seeds)
    scores = np.round(similarity[seeds:, :seeds].mean(axis=1), _DECIMALS)
    return _descending(scores, seeds)


def by_agglomeration(similarity: Floats, seeds: int) -> tuple[Ids, Floats]:
    """Return the other vertices as they join, and each one's similarity when it did.

    The one that joins next has the largest mean similarity to all that have joined, the
    seeds included. Arguments, ties and errors as of `by_similarity`.
    """
    _check(similarity, seeds)
    sums = similarity[:, :seeds].sum(axis=1)
    outside = np.ones(len(similarity), bool)
    outside[:seeds] = False
    order, scores = [], []
    for joined in range(seeds, len(similarity)):
        means = np.where(outside, np.round(sums / joined, _DECIMALS), -1.0)
        nearest = int(np.argmax(means))
        order.append(nearest)
        scores.append(float(means[nearest]))
        outside[nearest] = False
        sums = sums + similarity[:, nearest]
    return np.array(order, np.int64), np.array(scores)


def by_pagerank(
    similarity: Floats, seeds: int, damping: float = 0.85
) -> tuple[Ids, Floats]:
    """Return the other vertices by personalised PageRank from the seeds, and it.

    A walker follows edges in proportion to their similarity with probability `damping`
    and starts again at a seed otherwise, also where there is no edge: the stationary
    distribution, by a direct solve. Arguments, ties and errors as of `by_similarity`.
    """
    _check(similarity, seeds)
    size = len(similarity)
    weights = similarity - np.diag(np.diag(similarity))
    start = np.zeros(size)
    start[:seeds] = 1 / seeds
    out = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.where(out > 0, weights / out, start)
    ranks = np.linalg.solve(np.eye(size) - damping * steps.T, (1 - damping) * start)
    return _descending(np.round(ranks[seeds:], _DECIMALS), seeds)


def layout(similarity: Floats, rounds: int = 200) -> Floats:
    """Return positions (m, 2) in the unit square: the more similar, the nearer.

    Fruchterman & Reingold 1991 from a circle, so the same for the same similarities.
    """
    size = len(similarity)
    angles = 2 * np.pi * np.arange(size) / max(size, 1)
    places = np.column_stack([np.cos(angles), np.sin(angles)])
    length = 1 / np.sqrt(max(size, 1))
    for number in range(rounds):
        apart = places[:, None] - places[None, :]
        distance = np.maximum(np.sqrt((apart**2).sum(axis=2)), 1e-3)
        force = length**2 / distance**2 - similarity * distance / length
        np.fill_diagonal(force, 0.0)
        moves = (apart * force[:, :, None]).sum(axis=1)
        reach = np.maximum(np.sqrt((moves**2).sum(axis=1, keepdims=True)), 1e-9)
        places = places + moves / reach * np.minimum(reach, 0.2 * (1 - number / rounds))
    lowest, extent = places.min(axis=0), np.ptp(places, axis=0)
    ranks = places.argsort(axis=0).argsort(axis=0) / max(size - 1, 1)
    # Mostly by rank: in a dense middle names would cover one another.
    scaled: Floats = 0.2 * (places - lowest) / np.maximum(extent, 1e-9) + 0.8 * ranks
    return scaled


def _descending(scores: Floats, seeds: int) -> tuple[Ids, Floats]:
    order = np.argsort(-scores, kind="stable")
    return order + seeds, scores[order]


def _check(similarity: Floats, seeds: int) -> None:
    square: Sequence[int] = similarity.shape
    if len(square) != 2 or square[0] != square[1] or not 0 < seeds <= square[0]:
        raise ValueError(f"similarities of shape {square} with {seeds} seeds")
