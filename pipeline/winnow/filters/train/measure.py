"""The held-out AUC: right captions against those of other images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.hashing import keys

Floats = npt.NDArray[np.floating[Any]]


def auc(higher: Floats, lower: Floats) -> float:
    """Return the chance that a draw of `higher` exceeds one of `lower`; ties half.

    Exact, in O((n + m) log m): the Mann-Whitney statistic over n·m.
    """
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left")
    up_to = np.searchsorted(ordered, higher, "right")
    return float((below + up_to).sum(dtype=np.int64) / 2 / len(lower) / len(higher))


def wrong_partners(
    uids: Sequence[str], captions: Sequence[Sequence[str]], each: int = 5
) -> list[tuple[int, int]]:
    """Return up to `each` other rows for every row, none with a caption of its own.

    Rows are put in a ring by hash and shifted, so that every caption serves as often
    as a wrong one as it does as a right one.
    """
    ring = np.argsort(keys(uids, "wrong partners"), kind="stable")
    sayings = [frozenset(texts) for texts in captions]
    pairs = []
    for shift in range(1, min(each, len(uids) - 1) + 1):
        for row, other in zip(
            ring.tolist(), np.roll(ring, shift).tolist(), strict=True
        ):
            if not sayings[row] & sayings[other]:
                pairs.append((row, other))
    return pairs


def held_out_auc(
    images: Floats, texts: Floats, wrong: Sequence[tuple[int, int]]
) -> float:
    """Return the AUC of right pairs (row by row) against `wrong` (image, text) ones.

    images, texts: (n, dim) unit vectors. Nothing to compare with gives .5.
    """
    if not len(images) or not wrong:
        return 0.5
    right = np.einsum("ij,ij->i", images, texts, dtype=np.float64)
    one, other = np.array(wrong, np.int64).T
    apart = np.einsum("ij,ij->i", images[one], texts[other], dtype=np.float64)
    return auc(right, apart)
