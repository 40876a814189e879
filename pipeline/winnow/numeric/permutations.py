"""The three permutation schemes of datasketch 2.0, applied to hashes of shingles.

Source: datasketch 2.0.0, `datasketch/minhash.py` (the schemes' definitions); MinHash:
A. Broder, "On the resemblance and containment of documents" (1997), section 3.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import uint32, uint64, uintp

from winnow.numeric.compiled import compiled

Scheme = Literal["affine32", "legacy", "affine64"]

#: Modulus of the scheme `legacy`, a Mersenne prime.
PRIME = (1 << 61) - 1

#: dtype of a stored signature and its value for the empty set.
STORED: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "affine32": (np.uint32, 2**32 - 1),
    "legacy": (np.uint64, 2**32 - 1),
    "affine64": (np.uint64, 2**64 - 1),
}

# The kernels take eight (or four 64-bit) hashes per pass over the permutations: the
# running minima then stay in a register instead of being loaded and stored for each.


def parameters(
    scheme: Scheme, num_perm: int, seed: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the multipliers and the summands, each `(num_perm,)`, as datasketch does.

    uint32 for `affine32`, else uint64. Raises ValueError for an unknown scheme and for
    `num_perm` < 1.
    """
    if scheme not in get_args(Scheme):
        known = ", ".join(get_args(Scheme))
        raise ValueError(f"unknown permutation scheme '{scheme}'; known: {known}")
    if num_perm < 1:
        raise ValueError(f"num_perm must be at least 1, not {num_perm}")
    random = np.random.RandomState(seed)
    if scheme == "legacy":
        bounds = [(1, PRIME), (0, PRIME)] * num_perm
        draws = [random.randint(*bound, dtype=np.uint64) for bound in bounds]
        pairs = np.array(draws, dtype=np.uint64).reshape(num_perm, 2)
        return pairs[:, 0].copy(), pairs[:, 1].copy()
    kind: Any = STORED[scheme][0]
    width = 32 if scheme == "affine32" else 64
    half = random.randint(0, 1 << (width - 1), num_perm, dtype=kind)
    summands = random.randint(0, 1 << width, num_perm, dtype=kind)
    return half * kind(2) + kind(1), summands


@compiled
def affine32(
    hashes: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.int64],
    factors: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]],
    out: npt.NDArray[np.uint32],
    first: int,
    last: int,
) -> None:
    """Lower rows of `out` (n, K) to the least a·fmix32(h) + b mod 2³² of their hashes.

    Row `first + i` has `hashes[bounds[i] : bounds[i + 1]]`, low halves, and so on to
    row `last - 1`; here and below. The hashes are used up (overwritten).
    """
    a, b = factors
    for i in range(uintp(bounds[last - first])):
        h = uint32(hashes[i])
        h = uint32(uint32(h ^ (h >> uint32(16))) * uint32(0x85EBCA6B))
        h = uint32(uint32(h ^ (h >> uint32(13))) * uint32(0xC2B2AE35))
        hashes[i] = h ^ (h >> uint32(16))
    for row in range(uintp(first), uintp(last)):
        end = uintp(bounds[row - uintp(first) + uintp(1)]) - uintp(1)
        for i in range(uintp(bounds[row - uintp(first)]), end + uintp(1), uintp(8)):
            # A minimum takes no harm from seeing the last hash again.
            h0, h1 = uint32(hashes[i]), uint32(hashes[min(i + uintp(1), end)])
            h2 = uint32(hashes[min(i + uintp(2), end)])
            h3 = uint32(hashes[min(i + uintp(3), end)])
            h4 = uint32(hashes[min(i + uintp(4), end)])
            h5 = uint32(hashes[min(i + uintp(5), end)])
            h6 = uint32(hashes[min(i + uintp(6), end)])
            h7 = uint32(hashes[min(i + uintp(7), end)])
            for k in range(out.shape[1]):
                # Every sum is wrapped: Numba widens uint32 + uint32 to 64 bits.
                x0, x1 = uint32(a[k] * h0 + b[k]), uint32(a[k] * h1 + b[k])
                x2, x3 = uint32(a[k] * h2 + b[k]), uint32(a[k] * h3 + b[k])
                x4, x5 = uint32(a[k] * h4 + b[k]), uint32(a[k] * h5 + b[k])
                x6, x7 = uint32(a[k] * h6 + b[k]), uint32(a[k] * h7 + b[k])
                out[row, k] = min(out[row, k], x0, x1, x2, x3, x4, x5, x6, x7)


@compiled
def affine64(
    hashes: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.int64],
    factors: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]],
    out: npt.NDArray[np.uint64],
    first: int,
    last: int,
) -> None:
    """Lower rows of `out` (n, K) to the least a·fmix64(h) + b mod 2⁶⁴."""
    a, b = factors
    for i in range(uintp(bounds[last - first])):
        h = hashes[i]
        h = (h ^ (h >> uint64(33))) * uint64(0xFF51AFD7ED558CCD)
        h = (h ^ (h >> uint64(33))) * uint64(0xC4CEB9FE1A85EC53)
        hashes[i] = h ^ (h >> uint64(33))
    for row in range(uintp(first), uintp(last)):
        end = uintp(bounds[row - uintp(first) + uintp(1)]) - uintp(1)
        for i in range(uintp(bounds[row - uintp(first)]), end + uintp(1), uintp(4)):
            h0, h1 = hashes[i], hashes[min(i + uintp(1), end)]
            h2 = hashes[min(i + uintp(2), end)]
            h3 = hashes[min(i + uintp(3), end)]
            for k in range(out.shape[1]):
                x0, x1 = a[k] * h0 + b[k], a[k] * h1 + b[k]
                x2, x3 = a[k] * h2 + b[k], a[k] * h3 + b[k]
                out[row, k] = min(out[row, k], x0, x1, x2, x3)


@compiled
def legacy(
    hashes: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.int64],
    factors: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]],
    out: npt.NDArray[np.uint64],
    first: int,
    last: int,
) -> None:
    """Lower rows of `out` to the least ((a·h + b) mod 2⁶⁴) mod (2⁶¹ − 1) mod 2³²."""
    a, b = factors
    for row in range(uintp(first), uintp(last)):
        end = uintp(bounds[row - uintp(first) + uintp(1)]) - uintp(1)
        for i in range(uintp(bounds[row - uintp(first)]), end + uintp(1), uintp(4)):
            h0, h1 = hashes[i], hashes[min(i + uintp(1), end)]
            h2 = hashes[min(i + uintp(2), end)]
            h3 = hashes[min(i + uintp(3), end)]
            for k in range(out.shape[1]):
                x0, x1 = _reduced(a[k] * h0 + b[k]), _reduced(a[k] * h1 + b[k])
                x2, x3 = _reduced(a[k] * h2 + b[k]), _reduced(a[k] * h3 + b[k])
                out[row, k] = min(out[row, k], x0, x1, x2, x3)


@compiled(inline="always")
def _reduced(x: Any) -> Any:
    """Return the low half of x mod 2⁶¹ − 1, without a branch or a division.

    x = high·2⁶¹ + low is congruent to z = high + low ≤ 2⁶¹ + 6, which is at most one
    modulus too large; adding (z + 1) >> 61 takes it off in the low 61 bits.
    """
    z = (x & uint64(PRIME)) + (x >> uint64(61))
    return (z + ((z + uint64(1)) >> uint64(61))) & uint64(0xFFFFFFFF)
