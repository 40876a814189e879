"""Which pairs of sets MinHash LSH suggests, for pairs that are known beforehand.

b bands of r values each: two sets of Jaccard similarity s agree in a band with
probability 1 − (1 − sʳ)ᵇ. LSH Ensemble chooses b and r by the ratio of the sets' sizes:
where one has q values and the other x, a share t of the one is s = t / (1 + x/q − t).
Its paper groups sets by size, since an index is built before it is asked; here each
pair has its own ratio, as if every size were a partition. Bands are compared as they
are: no hashes of them collide.

Source: E. Zhu, F. Nargesian, K. Pu, R. Miller, "LSH Ensemble: Internet-Scale Domain
Search", PVLDB 9(12), 2016, section 5; ratios and lengths of bands as in datasketch 2.0.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]
Signatures = npt.NDArray[np.uint32]
#: Of false positives and of false negatives.
Weights = tuple[float, float]

#: Ratios for which bands are chosen; a pair takes those of the next larger one.
_RATIOS = np.exp(np.linspace(-5, 5, 10))
#: Bands of LSH Ensemble have at most so many values.
_LONGEST = 8
# Exact for polynomials of a degree up to 143, such as those of 128 values.
_PLACES, _SHARES = np.polynomial.legendre.leggauss(72)
#: Values that are compared at a time.
_CHUNK = 1 << 24


def similar(
    signatures: Signatures, one: _Ints, other: _Ints, threshold: float, weights: Weights
) -> _Mask:
    """Return which pairs of rows of `signatures` (m, K) share a band, `(n,)`.

    The bands are those of the least weighted error about a Jaccard similarity of
    `threshold`; `weights` are those of false positives and of false negatives.
    """
    bands = similarity_bands(threshold, signatures.shape[1], weights)
    return _share_a_band(signatures, one, other, bands)


def containing(
    signatures: Signatures,
    sizes: _Ints,
    pairs: tuple[_Ints, _Ints],
    threshold: float,
    weights: Weights,
) -> _Mask:
    """Return for which pairs LSH Ensemble suggests that the other contains the one.

    signatures, sizes: MinHash values `(m, K)` and distinct values `(m,)` of the sets;
    pairs: which of them to compare, both `(n,)`; threshold: the share of the one that
    is looked for.
    """
    one, other = pairs
    chosen = containment_bands(threshold, signatures.shape[1], weights)
    ratio = sizes[other] / np.maximum(sizes[one], 1)
    ratio_class = np.minimum(np.searchsorted(_RATIOS, ratio), len(_RATIOS) - 1)
    suggested = np.zeros(len(one), np.bool_)
    for i in np.unique(ratio_class):
        members = np.flatnonzero(ratio_class == i)
        suggested[members] = _share_a_band(
            signatures, one[members], other[members], chosen[i]
        )
    return suggested


@lru_cache(maxsize=64)
def similarity_bands(
    threshold: float, num_perm: int, weights: Weights
) -> tuple[int, int]:
    """Return (bands, rows) for a threshold of the Jaccard similarity."""
    below, above = _nodes(0.0, threshold), _nodes(threshold, 1.0)
    return _best(below, above, weights, (num_perm, num_perm))


@lru_cache(maxsize=64)
def containment_bands(
    threshold: float, num_perm: int, weights: Weights
) -> tuple[tuple[int, int], ...]:
    """Return (bands, rows) for a threshold of the containment, by ratio of the sizes.

    The error of a ratio is integrated over containments that it allows.
    """

    def at(ratio: float) -> tuple[int, int]:
        most = min(ratio, 1.0)
        middle = min(threshold, most)
        below, above = (
            (share / (1 + ratio - share), weight)
            for share, weight in (_nodes(0.0, middle), _nodes(middle, most))
        )
        return _best(below, above, weights, (num_perm, _LONGEST))

    return tuple(at(float(ratio)) for ratio in _RATIOS)


#: Similarities, and how much of an integral each stands for.
_Nodes = tuple[_Floats, _Floats]


def _nodes(low: float, high: float) -> _Nodes:
    """Return the nodes of Gauss and Legendre's rule between two bounds."""
    half = (high - low) / 2
    return low + half * (_PLACES + 1), half * _SHARES


def _best(
    below: _Nodes, above: _Nodes, weights: Weights, most: tuple[int, int]
) -> tuple[int, int]:
    """Return (bands, rows) of the least weighted error, the fewest bands among equals.

    below, above: similarities that are to be left out and to be found; most: values of
    a signature, and of a band.
    """
    num_perm, longest = most
    choices: list[tuple[float, int, int]] = []
    for rows in range(1, min(longest, num_perm) + 1):
        bands = np.arange(1, num_perm // rows + 1)
        left_out, missed = ((1 - s**rows) ** bands[:, None] for s, _ in (below, above))
        wrong = (1 - left_out) @ below[1]
        errors = wrong * weights[0] + (missed @ above[1]) * weights[1]
        choices += zip(
            errors.tolist(), bands.tolist(), [rows] * len(bands), strict=True
        )
    return min(choices)[1:]


def _share_a_band(
    signatures: Signatures, one: _Ints, other: _Ints, shape: tuple[int, int]
) -> _Mask:
    bands, rows = shape
    values = signatures[:, : bands * rows]
    shared = np.zeros(len(one), np.bool_)
    step = max(1, _CHUNK // max(1, values.shape[1]))
    for start in range(0, len(one), step):
        part = slice(start, start + step)
        same = values[one[part]] == values[other[part]]
        shared[part] = same.reshape(-1, bands, rows).all(axis=2).any(axis=1)
    return shared
