"""Near copies by Hamming distance, each row against earlier ones: multi-index hashing.

A 64-bit hash is cut into parts. Two hashes that differ in at most d bits differ in few
bits of one part at least (pigeonhole), so every one within d stands in some bucket of
that part which is looked at: nothing is missed, and each candidate is verified by its
whole hash. Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index
Hashing" (CVPR 2012), with the radii of their §3, proposition 2.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from winnow.algorithms.dedup.components import flatten, root_of
from winnow.numeric.compiled import compiled

Hashes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]

#: The largest distance that is searched for: beyond, most buckets would be looked at.
MOST_BITS = 16
# Buckets of a part: as many as there are hashes, within these bounds.
_LEAST_WIDTH, _MOST_WIDTH = 8, 20


class HashParts(NamedTuple):
    """How hashes are cut: where parts begin, how wide they are, what is looked at.

    `masks[starts[i]:starts[i + 1]]` are the differences that part i may have.
    """

    offset: npt.NDArray[np.uint64]
    width: npt.NDArray[np.uint64]
    masks: npt.NDArray[np.uint64]
    starts: Ids


def parts_for(hashes: int, most: int) -> HashParts:
    """Return how to cut this number of hashes to find all within `most` bits."""
    width = int(np.clip(np.log2(max(hashes, 2)), _LEAST_WIDTH, _MOST_WIDTH))
    count = -(-64 // width)
    widths = [64 // count + (number < 64 % count) for number in range(count)]
    radius, over = divmod(most, count)
    # All parts but the first `over + 1` may be looked at within one bit less.
    radii = [radius if number <= over else radius - 1 for number in range(count)]
    used = [number for number in range(count) if radii[number] >= 0]
    masks = [_within(widths[number], radii[number]) for number in used]
    offsets = np.cumsum([0, *widths])[used]
    return HashParts(
        offsets.astype(np.uint64),
        np.array(widths, np.uint64)[used],
        np.array([mask for each in masks for mask in each], np.uint64),
        np.cumsum([0, *map(len, masks)]),
    )


def _within(width: int, radius: int) -> list[int]:
    return [
        sum(1 << bit for bit in bits)
        for weight in range(radius + 1)
        for bits in combinations(range(width), weight)
    ]


@compiled
def differing_bits(left: Any, right: Any) -> Any:
    """Return in how many bits two 64-bit numbers differ."""
    # Counting the bits of a word in parallel; LLVM makes one instruction of it.
    word = left ^ right
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    twos = np.uint64(0x3333333333333333)
    word = (word & twos) + ((word >> np.uint64(2)) & twos)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


class Copies(NamedTuple):
    """For each row the row that stays for it (itself, if it stays), and their bits."""

    keeper: Ids
    bits: Ids


def near_copies(
    whole: Hashes, crops: Hashes, most: int, *, components: bool = False
) -> Copies:
    """Return which rows are near copies of an earlier one, in the order given.

    whole: (n,) hashes. crops: (n, c), hashes of parts of each picture, c may be 0; two
    rows are near if the whole of one is within `most` bits of the whole or a part of
    the other. Rows are taken in order: one that is near a row that stays goes for the
    nearest such row, of equally near ones the first. components: chains of near rows
    go together for the first row of the chain.

    Memory: 12 to 40 bytes for each hash. Raises ValueError for a distance that is not
    in 0 … MOST_BITS.
    """
    if not 0 <= most <= MOST_BITS:
        raise ValueError(f"most: {most} bits; from 0 to {MOST_BITS}")
    rows = len(whole)
    every = np.concatenate([whole[:, None], crops], axis=1)
    keeper, bits = np.arange(rows), np.zeros(rows, np.int64)
    indexes = _index(most, every.size), _index(most, rows)
    if components:
        _chain(every, most, *indexes, keeper)
        flatten(keeper)
        _distances(every, keeper, bits)
    else:
        _greedy(every, most, *indexes, keeper, bits)
    return Copies(keeper, bits)


def _index(most: int, entries: int) -> Any:
    """Return an empty index: parts, bucket heads, links, values, owners."""
    parts = parts_for(entries, most)
    heads = np.full((len(parts.offset), 1 << int(parts.width.max())), -1, np.int32)
    links = np.empty((len(parts.offset), entries), np.int32)
    return (
        *parts,
        heads,
        links,
        np.empty(entries, np.uint64),
        np.empty(entries, np.int32),
    )


def fewest_bits(row: Hashes, others: Hashes) -> Ids:
    """Return in how many bits each other picture differs from one: (m,).

    row: (1 + c,), the hash of the whole and those of its parts. others: (m, 1 + c).
    """
    whole = np.bitwise_count(row[0] ^ others).min(axis=1)
    parts = np.bitwise_count(row[None, :] ^ others[:, :1]).min(axis=1)
    return np.asarray(np.minimum(whole, parts), np.int64)


@compiled
def _insert(index: Any, entry: Any, value: Any, owner: Any) -> None:
    offset, width, _, _, heads, links, values, owners = index
    values[entry], owners[entry] = value, owner
    for part in range(len(offset)):
        one = np.uint64(1)
        bucket = (value >> offset[part]) & ((one << width[part]) - one)
        links[part, entry] = heads[part, bucket]
        heads[part, bucket] = entry


@compiled
def _nearest(index: Any, value: Any, best: Any, first: Any) -> Any:
    """Return the fewest bits that differ, at most `best`, and the first such owner."""
    offset, width, masks, starts, heads, links, values, owners = index
    one = np.uint64(1)
    for part in range(len(offset)):
        bucket = (value >> offset[part]) & ((one << width[part]) - one)
        for number in range(starts[part], starts[part + 1]):
            entry = heads[part, bucket ^ masks[number]]
            while entry >= 0:
                bits = differing_bits(value, values[entry])
                owner = np.int64(owners[entry])
                if bits < best or (bits == best and (first < 0 or owner < first)):
                    best, first = bits, owner
                entry = links[part, entry]
    return best, first


@compiled
def _greedy(
    every: Hashes, most: int, crops: Any, wholes: Any, keeper: Ids, bits: Ids
) -> None:
    """Let each row go that is near one that stays; fill in `keeper` and `bits`."""
    rows, hashes = every.shape
    entry = 0
    staying = 0
    for row in range(rows):
        best, first = _nearest(crops, every[row, 0], np.int64(most), np.int64(-1))
        for crop in range(1, hashes):
            best, first = _nearest(wholes, every[row, crop], best, first)
        if first >= 0:
            keeper[row], bits[row] = first, best
            continue
        for crop in range(hashes):
            _insert(crops, entry, every[row, crop], row)
            entry += 1
        if hashes > 1:
            _insert(wholes, staying, every[row, 0], row)
            staying += 1


@compiled
def _join_near(index: Any, value: Any, most: int, row: Any, parents: Ids) -> None:
    """Join a row to every owner within `most` bits."""
    offset, width, masks, starts, heads, links, values, owners = index
    one = np.uint64(1)
    for part in range(len(offset)):
        bucket = (value >> offset[part]) & ((one << width[part]) - one)
        for number in range(starts[part], starts[part + 1]):
            entry = heads[part, bucket ^ masks[number]]
            while entry >= 0:
                if differing_bits(value, values[entry]) <= most:
                    a = root_of(parents, np.int64(row))
                    b = root_of(parents, np.int64(owners[entry]))
                    parents[max(a, b)] = min(a, b)
                entry = links[part, entry]


@compiled
def _same(every: Hashes, left: Any, right: Any) -> Any:
    for hash_number in range(every.shape[1]):
        if every[left, hash_number] != every[right, hash_number]:
            return False
    return True


@compiled
def _chain(every: Hashes, most: int, crops: Any, wholes: Any, keeper: Ids) -> None:
    """Join all near rows; `keeper` becomes a forest whose roots are first rows."""
    rows, hashes = every.shape
    entry = 0
    inserted = 0
    for row in range(rows):
        first = _nearest(crops, every[row, 0], np.int64(0), np.int64(-1))[1]
        if first >= 0 and _same(every, row, first):
            # Whatever is near this row is near that one.
            keeper[row] = first
            continue
        _join_near(crops, every[row, 0], most, row, keeper)
        for crop in range(1, hashes):
            _join_near(wholes, every[row, crop], most, row, keeper)
        for crop in range(hashes):
            _insert(crops, entry, every[row, crop], row)
            entry += 1
        if hashes > 1:
            _insert(wholes, inserted, every[row, 0], row)
            inserted += 1


@compiled
def _distances(every: Hashes, keeper: Ids, bits: Ids) -> None:
    """Fill in the fewest bits in which each row differs from its keeper."""
    for row in range(len(keeper)):
        other = keeper[row]
        best = differing_bits(every[row, 0], every[other, 0])
        for crop in range(1, every.shape[1]):
            best = min(best, differing_bits(every[row, crop], every[other, 0]))
            best = min(best, differing_bits(every[row, 0], every[other, crop]))
        bits[row] = best
