"""Held-out figures as means over images, so that images can be drawn again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.ranking_quality import recalls

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

#: Wrong captions that each image is compared with.
STRANGERS = 16
_BLOCK_ROWS = 512


def auc_by_image(right: Floats, wrong: Floats) -> Floats:
    """Return each image's part in the AUC, whose mean is the AUC: (n,).

    right: (n,) scores of images with their own captions; wrong: (n, k) with others',
    NaN where there is none. The parts are V10 + V01 − AUC of the images (DeLong et al.
    1988): how an image's right score does against all wrong ones, and how its wrong
    scores do against all right ones.
    """
    known = ~np.isnan(wrong)
    strangers = np.sort(wrong[known])
    v10 = _share_below(strangers, right)
    counts = known.sum(axis=1)
    above = np.where(known, 1 - _share_below(np.sort(right), wrong), 0.0).sum(axis=1)
    auc = float(v10.mean())
    # An image whose wrong captions are fewer counts by how many it has.
    return np.asarray(v10 + above * (len(right) / max(1, int(counts.sum()))) - auc)


def _share_below(ordered: Floats, values: Floats) -> Floats:
    """Return which share of ordered scores lies below each value, ties half."""
    lower = np.searchsorted(ordered, values, "left")
    upper = np.searchsorted(ordered, values, "right")
    return np.asarray((lower + upper) / (2 * max(1, len(ordered))))


def next_strangers(groups: Ids, order: Ids, count: int = STRANGERS) -> Ids:
    """Return for each row `count` others of other groups, −1 where there are none.

    groups: (n,), rows of one group are right for each other; order: (n,), a
    permutation in which the next ones are taken, so that it alone decides. (n, count).
    """
    rows = len(groups)
    strangers = np.full((rows, count), -1, np.int64)
    filled = np.zeros(rows, np.int64)
    place_of = np.empty(rows, np.int64)
    place_of[order] = np.arange(rows)
    for shift in range(1, rows):
        other = order[(place_of + shift) % rows]
        fits = np.flatnonzero((groups != groups[other]) & (filled < count))
        strangers[fits, filled[fits]] = other[fits]
        filled[fits] += 1
        if (filled == count).all():
            break
    return strangers


def pair_figures(
    images: npt.NDArray[np.float32],
    texts: npt.NDArray[np.float32],
    groups: Ids,
    strangers: Ids,
) -> dict[str, Floats]:
    """Return held-out figures of unit vectors of pairs, each by image: (n,).

    `auc_random`: right captions above those of `strangers` (see `next_strangers`).
    `recall_at_1`, `_5`, `_10`: whether an image finds a caption of its group among the
    first so many of all captions; a caption that ties counts as before.
    """
    right = np.einsum("ij,ij->i", images, texts).astype(np.float64)
    wrong = np.einsum("ij,ikj->ik", images, texts[strangers]).astype(np.float64)
    wrong[strangers < 0] = np.nan
    places = np.concatenate(
        [
            recalls(
                images[start : start + _BLOCK_ROWS] @ texts.T,
                groups[start : start + _BLOCK_ROWS, None] == groups[None, :],
            )
            for start in range(0, len(images), _BLOCK_ROWS)
        ]
    )
    return {
        "auc_random": auc_by_image(right, wrong),
        **{f"recall_at_{k}": (places <= k).astype(np.float64) for k in (1, 5, 10)},
    }
