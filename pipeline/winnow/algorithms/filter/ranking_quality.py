"""How well scores rank: right pairs above wrong ones, own captions above others'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]


def rank_auc(higher: Floats, lower: Floats) -> float:
    """Return the chance that a draw of `higher` exceeds one of `lower`, ties half.

    The area under the receiver operating characteristic (Mann & Whitney 1947), exact
    from counts: Σ (2·below + equal) is a sum of integers. higher: (n,), lower: (m,),
    finite. NaN if either is empty. Raises ValueError for NaN among the scores.
    """
    for scores in (higher, lower):
        if np.isnan(scores).any():
            raise ValueError("a score is NaN: leave rows without a score out")
    if not len(higher) or not len(lower):
        return float("nan")
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left").sum(dtype=np.int64)
    up_to = np.searchsorted(ordered, higher, "right").sum(dtype=np.int64)
    return int(below + up_to) / (2 * len(higher) * len(lower))


def precision_at(right: Floats, wrong: Floats, k: int) -> float:
    """Return the share of right ones among the k best of all scores.

    Of scores that tie at the cut as many of each kind count as chance gives, so the
    order of rows does not matter. Raises ValueError unless 1 ≤ k ≤ n + m.
    """
    every = np.concatenate([right, wrong])
    if not 1 <= k <= len(every):
        raise ValueError(f"k is {k}; it must lie within 1 and {len(every)}")
    cut = np.partition(every, len(every) - k)[len(every) - k]
    above = int((every > cut).sum())
    sure, tied = int((right > cut).sum()), int((right == cut).sum())
    ties = int((every == cut).sum())
    return (sure + (k - above) * tied / ties) / k


def recalls(
    similarities: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]
) -> Ids:
    """Return the place of each query's best right answer, from 1: (n,) int64.

    similarities: (n, m) of n queries to m candidates; right: (n, m), which candidates
    are right. R@k is the share of places up to k. A candidate that ties with the right
    answer stands before it, so a constant score recalls nothing. 0 for a query without
    a right answer.
    """
    best = np.where(right, similarities, -np.inf).max(axis=1)
    before = ((similarities >= best[:, None]) & ~right).sum(axis=1)
    return np.asarray(np.where(right.any(axis=1), before + 1, 0), np.int64)


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's correlation of two scores of the same rows, ties averaged.

    NaN for fewer than two rows, or if either score is constant.
    """
    if len(first) < 2:
        return float("nan")
    one, other = rankdata(first), rankdata(second)
    one, other = one - one.mean(), other - other.mean()
    width = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / width if width else float("nan")


def jaccard(first: Sequence[str], second: Sequence[str]) -> float:
    """Return |A ∩ B| / |A ∪ B| of two selections; 1 for two empty ones."""
    one, other = set(first), set(second)
    return len(one & other) / len(one | other) if one | other else 1.0
