"""Locality-sensitive hashing of MinHash signatures: bands, keys and buckets.

b bands of r values each: two sets of Jaccard similarity s agree in at least one band
with probability 1 − (1 − sʳ)ᵇ. Source: J. Leskovec, A. Rajaraman, J. Ullman, "Mining
of Massive Datasets", section 3.4; choice of (b, r) as in datasketch 2.0.0.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.numeric.compiled import compiled

#: Rows are told apart by the low bits of a 64-bit sort key.
MAX_ROWS = 1 << 32


def collision_probability(similarity: float, bands: int, rows: int) -> float:
    """Return the probability that sets of this Jaccard similarity share a band."""
    return float(1 - (1 - similarity ** float(rows)) ** float(bands))


def optimal_bands(
    threshold: float, num_perm: int, weights: tuple[float, float] = (0.5, 0.5)
) -> tuple[int, int]:
    """Return (bands, rows) of the least weighted error, as datasketch chooses them.

    `weights` are those of false positives and of false negatives: the areas below the
    collision probability up to the threshold and above it from there on. Raises
    ValueError where the best choice has a single band, and for a threshold or weights
    outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"the threshold must lie in [0, 1], not {threshold}")
    if any(not 0 <= weight <= 1 for weight in weights) or sum(weights) != 1:
        raise ValueError(f"weights must lie in [0, 1] and sum to 1, not {weights}")
    # A third of what a run that needs no weights would import.
    from scipy.integrate import quad

    best, chosen = float("inf"), (0, 0)
    for bands in range(1, num_perm + 1):
        for rows in range(1, num_perm // bands + 1):
            shape = (bands, rows)
            wrong = quad(collision_probability, 0.0, threshold, args=shape)[0]
            missed = quad(_miss_probability, threshold, 1.0, args=shape)[0]
            error = wrong * weights[0] + missed * weights[1]
            if error < best:
                best, chosen = error, shape
    if chosen[0] < 2:
        raise ValueError(
            f"threshold {threshold} with {num_perm} permutations leaves one band; "
            "use more permutations or a lower threshold"
        )
    return chosen


def _miss_probability(similarity: float, bands: int, rows: int) -> float:
    return 1 - collision_probability(similarity, bands, rows)


def bands_for_recall(
    threshold: float, num_perm: int, recall: float = 0.94
) -> tuple[int, int]:
    """Return (bands, rows) with the longest bands that still reach `recall`.

    Pairs exactly at the threshold collide with at least this probability; pairs above
    it more often. For use with verification, which takes the false positives out again.
    Raises ValueError where not even bands of one row reach it.
    """
    for rows in range(num_perm // 2, 0, -1):
        bands = num_perm // rows
        if collision_probability(threshold, bands, rows) >= recall:
            return bands, rows
    raise ValueError(
        f"{num_perm} permutations cannot reach recall {recall} at {threshold}"
    )


def band_key(signature: npt.NDArray[Any], band: int, rows: int) -> bytes:
    """Return the key under which datasketch's MinHashLSH files a signature (K,)."""
    return bytes(signature[band * rows : (band + 1) * rows].byteswap().data)


@compiled
def _digest(
    signatures: npt.NDArray[Any], rows: int, out: npt.NDArray[np.uint64]
) -> None:
    for i in range(out.shape[0]):
        for band in range(out.shape[1]):
            # fmix64's multipliers; each step is a bijection of the value taken in.
            h = uint64(band + 1) * uint64(0x9E3779B97F4A7C15)
            for j in range(band * rows, (band + 1) * rows):
                h = (h ^ uint64(signatures[i, j])) * uint64(0xFF51AFD7ED558CCD)
                h ^= h >> uint64(32)
            h *= uint64(0xC4CEB9FE1A85EC53)
            out[i, band] = h ^ (h >> uint64(29))


def band_digests(
    signatures: npt.NDArray[Any], bands: int, rows: int
) -> npt.NDArray[np.uint64]:
    """Return a 64-bit digest of every band of `signatures` (n, K), `(n, bands)`.

    Signatures with equal band keys have equal digests; digests of different bands are
    of different families. Raises ValueError if the bands need more than K values.
    """
    if bands < 1 or rows < 1 or bands * rows > signatures.shape[1]:
        raise ValueError(
            f"{bands} bands of {rows} rows do not fit {signatures.shape[1]} values"
        )
    out = np.empty((len(signatures), bands), dtype=np.uint64)
    _digest(signatures, rows, out)
    return out


class Buckets(NamedTuple):
    """Rows that agree in a band: bucket i holds `members[bounds[i] : bounds[i + 1]]`.

    Ordered by band; members ascend; every bucket has at least two.
    """

    bounds: npt.NDArray[np.int64]
    members: npt.NDArray[np.uint32]
    band: npt.NDArray[np.int16]


def buckets(
    digests: npt.NDArray[np.uint64],
    present: npt.NDArray[np.bool_] | None = None,
    threads: int = 1,
) -> Buckets:
    """Group the rows of `digests` (n, bands) that share a digest, band by band.

    `present` masks rows that belong in no bucket (empty sets, which agree with each
    other everywhere). One sort of 8 bytes a row at a time per thread. Raises ValueError
    for 2³² rows or more.
    """
    if len(digests) >= MAX_ROWS:
        raise ValueError(f"{len(digests)} rows are too many to bucket at once")
    rows = np.arange(len(digests), dtype=np.uint64)
    if present is not None:
        rows = rows[present]
    bits = np.uint64(max(len(digests) - 1, 1).bit_length())

    def of_band(band: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        column = np.ascontiguousarray(digests[:, band])
        # The digest's high bits with the row in its low ones: half the memory of an
        # argsort, several times its speed, and members ascend within a bucket.
        order = column.copy() if present is None else column[rows]
        order >>= bits
        order <<= bits
        order |= rows
        order.sort()
        sizes, members = _runs(order, column, bits)
        return sizes, members

    columns = range(digests.shape[1])
    if min(threads, len(columns)) < 2:
        # What a thread of its own frees, the C library keeps for the next such thread.
        bands = [of_band(band) for band in columns]
    else:
        with ThreadPoolExecutor(threads) as pool:
            bands = list(pool.map(of_band, columns))
    sizes = np.concatenate([np.zeros(1, np.int64), *(sizes for sizes, _ in bands)])
    band = np.repeat(np.arange(len(bands)), [len(sizes) for sizes, _ in bands])
    none = np.zeros(0, dtype=np.uint32)
    members = np.concatenate([none, *(members for _, members in bands)])
    return Buckets(np.cumsum(sizes), members, band.astype(np.int16))


@compiled
def _runs(
    order: npt.NDArray[np.uint64], digests: npt.NDArray[np.uint64], bits: np.uint64
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Return the sizes and the members of the runs of two or more equal digests."""
    members, sizes = 0, 0
    for i in range(1, len(order)):
        if order[i] >> bits == order[i - 1] >> bits:
            fresh = i < 2 or order[i - 2] >> bits != order[i] >> bits
            members += 2 if fresh else 1
            sizes += 1
    out = np.empty(members, dtype=np.uint32)
    lengths = np.empty(sizes, dtype=np.int64)
    low = (uint64(1) << bits) - uint64(1)
    filled = runs = first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and order[last] >> bits == order[first] >> bits:
            last += 1
        if last - first > 1:
            filled, runs = _split(
                order[first:last] & low, digests, out, filled, lengths, runs
            )
        first = last
    return lengths[:runs], out[:filled]


@compiled
def _split(
    rows: npt.NDArray[np.uint64],
    digests: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint32],
    filled: int,
    lengths: npt.NDArray[np.int64],
    runs: int,
) -> tuple[int, int]:
    """Append the rows of equal digests: one run, unless only the high bits agree."""
    left = len(rows)
    while left > 1:
        digest, begin, others = digests[rows[0]], filled, 0
        for i in range(left):
            if digests[rows[i]] == digest:
                out[filled] = rows[i]
                filled += 1
            else:
                rows[others] = rows[i]
                others += 1
        if filled - begin > 1:
            lengths[runs] = filled - begin
            runs += 1
        else:
            filled = begin
        left = others
    return filled, runs


class Edges(NamedTuple):
    """Pairs of rows, `keeper` below `member`, with the first band they share."""

    member: npt.NDArray[np.uint32]
    keeper: npt.NDArray[np.uint32]
    band: npt.NDArray[np.int16]


def star_edges(buckets: Buckets) -> Edges:
    """Return each bucket's star, (member, smallest member), every pair once.

    Fewer edges than memberships, where all pairs would be quadratic in a bucket.
    Sorted by (member, keeper).
    """
    sizes = np.diff(buckets.bounds)
    centre = np.repeat(buckets.members[buckets.bounds[:-1]], sizes)
    band = np.repeat(buckets.band, sizes)
    others = centre != buckets.members
    return distinct_edges(buckets.members[others], centre[others], band[others])


def distinct_edges(
    member: npt.NDArray[np.uint32],
    keeper: npt.NDArray[np.uint32],
    band: npt.NDArray[np.int16],
) -> Edges:
    """Return every pair once, with its first band, sorted by (member, keeper)."""
    pair = member.astype(np.uint64) << np.uint64(32) | keeper
    pair, first = np.unique(pair, return_index=True)
    return Edges(
        (pair >> np.uint64(32)).astype(np.uint32), pair.astype(np.uint32), band[first]
    )
