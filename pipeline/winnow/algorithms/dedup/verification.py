"""Candidate pairs to proven removals: every dropped row is near a row that stays.

Buckets only propose. A pair counts once its exact Jaccard similarity, over the hashes
of all shingles, reaches the threshold. What follows from the proven pairs is decided
row by row, smallest first (the caller sorts the rows by who is preferred as keeper):

- `representatives`: a row is dropped if one of its proven, smaller neighbours is kept;
  its keeper is the smallest of those. Nothing is dropped through a chain.
- `components`: a row is dropped unless it is the smallest of its component.

Which pairs are proposed. In a round, every bucket compares one centre with its members:
the smallest row still standing that has not been its centre (of a component that has
had none, as long as there is one). A bucket whose members are alike is done after one
round; members unlike the centre meet the next one in the next round. After `rounds`
rounds a bucket has had as many centres, so there are at most `rounds` pairs per
(row, band): linear in the rows even where a template puts all of them in one bucket.
Pairs that only a later centre would have shown are missed and both rows kept: this
bounds recall, never precision. A row whose keeper was itself dropped in a later round
is compared with the keeper's keeper, and stands in its buckets again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from numba import uint64

from winnow.algorithms.dedup.banding import Buckets
from winnow.algorithms.dedup.components import components
from winnow.algorithms.dedup.hash_sets import cleared, slot_of
from winnow.algorithms.dedup.stars import elect, stars
from winnow.numeric.compiled import compiled

Semantics = Literal["representatives", "components"]

#: Exact similarity of rows `left[i]` and `right[i]`.
Similarity = Callable[
    [npt.NDArray[np.uint32], npt.NDArray[np.uint32]], npt.NDArray[np.float64]
]

#: Label of each of n rows by the ends of edges: the smallest row of its component.
Components = Callable[
    [int, npt.NDArray[np.uint32], npt.NDArray[np.uint32]], npt.NDArray[np.int64]
]

#: A row of each of n rows, or −1: of 32 bits wherever n allows it.
Labels = npt.NDArray[np.int32] | npt.NDArray[np.int64]

#: Members, keepers and bands of pairs, sorted by (member, keeper).
_Proposed = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.int16]]

#: Band of a pair that no bucket proposed, but a common twin.
NO_BAND = -1


#: Keys in a hash table at a time, at most 80 bytes each.
_KEYS_AT_ONCE = 2**20


class Pairs(NamedTuple):
    """Compared pairs, `keeper` below `member`, sorted by (member, keeper).

    `band` is one in which the two collide: that of the bucket that proposed the pair
    first, the lowest where several did in the same round.
    """

    member: npt.NDArray[np.uint32]
    keeper: npt.NDArray[np.uint32]
    band: npt.NDArray[np.int16]
    jaccard: npt.NDArray[np.float64]


class Verification(NamedTuple):
    """What becomes of each of n rows, and every pair that was compared.

    A kept row is its own `keeper`, with `jaccard` NaN and `band` NO_BAND. `jaccard` is
    that of (row, keeper), exact; with `components` it may lie below the threshold, or
    be NaN where the two were never compared.
    """

    keeper: Labels
    jaccard: npt.NDArray[np.float64]
    band: npt.NDArray[np.int16]
    pairs: Pairs


NO_PAIRS = Pairs(
    np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0, np.int16), np.zeros(0)
)


def decide(  # noqa: PLR0913 - candidates, how they are judged, and how often
    buckets: Buckets,
    rows: int,
    similarity: Similarity,
    threshold: float,
    *,
    semantics: Semantics = "representatives",
    rounds: int = 8,
    known: Pairs = NO_PAIRS,
    components: Components = components,
) -> Verification:
    """Return what becomes of rows 0 … `rows` - 1, which keepers are preferred by.

    `similarity` is asked for every pair at most once, and not for pairs in `known`
    (the pairs of an earlier verdict, say of a lower threshold); the outcome is the same
    as without them. `components` joins the proven pairs, whose number it may mind. The
    outcome depends on the set of buckets alone, not on their order.
    Raises ValueError for an unknown semantics and a threshold outside (0, 1].
    """
    if semantics not in get_args(Semantics):
        known_names = ", ".join(get_args(Semantics))
        raise ValueError(f"unknown semantics '{semantics}'; known: {known_names}")
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold must lie in (0, 1], not {threshold}")
    kind = np.int32 if rows <= np.iinfo(np.int32).max else np.int64
    everyone: Any = np.arange(rows, dtype=kind)
    labels = keeper = everyone
    active = np.arange(len(buckets.band), dtype=np.int64)
    was_centre = np.zeros(len(buckets.members), dtype=np.bool_)
    pairs = NO_PAIRS
    for _ in range(rounds):
        # What a function made on its way is freed before pairs are compared: of each
        # pair several times what the pair itself takes.
        active, keys, band = _starred(buckets, active, labels, was_centre, rounds)
        if semantics == "representatives":
            orphans = _orphans(*_proven(pairs, threshold), keeper)
            keys = np.concatenate([keys, orphans])
            band = np.append(band, np.full(len(orphans), NO_BAND, band.dtype))
            del orphans
        if not len(keys):
            break
        fresh = _fresh(keys, band, pairs)
        del keys, band
        pairs = _united(pairs, _compared(fresh, similarity, known))
        del fresh
        before = labels
        if semantics == "components":
            labels = keeper = components(rows, *_proven(pairs, threshold)).astype(kind)
        else:
            keeper = everyone.copy()
            _represent(*_proven(pairs, threshold), keeper)
            labels = np.where(keeper == everyone, keeper, -1)
            if (labels > before).any():
                active = np.arange(len(buckets.band), dtype=np.int64)
        del before
    return _verdict(keeper, pairs)


def _starred(
    buckets: Buckets,
    active: npt.NDArray[np.int64],
    labels: Labels,
    was_centre: npt.NDArray[np.bool_],
    rounds: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.int16]]:
    """Return the active buckets with a pair to compare, the pairs' keys and bands."""
    active, centres, count = elect(buckets, active, labels, was_centre, rounds)
    return active, *stars(buckets, active, centres, labels, count)


def _proven(
    pairs: Pairs, threshold: float
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Return members and keepers of the pairs that reach the threshold."""
    proven = pairs.jaccard >= threshold
    return pairs.member[proven], pairs.keeper[proven]


def _chosen(pairs: Pairs, which: npt.NDArray[Any]) -> Pairs:
    member, keeper, band, jaccard = pairs
    return Pairs(member[which], keeper[which], band[which], jaccard[which])


def _fresh(
    keys: npt.NDArray[np.uint64], band: npt.NDArray[np.int16], pairs: Pairs
) -> _Proposed:
    """Return each proposed pair that is not among `pairs`."""
    key, band = _distinct(keys, band)
    order = np.argsort(key)
    key, band = key[order], band[order]
    if len(pairs.member):
        fresh = _found(key, _key(pairs.member, pairs.keeper)) < 0
        key, band = key[fresh], band[fresh]
    member, keeper = (key >> np.uint64(32)).astype(np.uint32), key.astype(np.uint32)
    return member, keeper, band


def _compared(fresh: _Proposed, similarity: Similarity, known: Pairs) -> Pairs:
    """Return the pairs with their similarities."""
    member, keeper, band = fresh
    if not len(member):
        return NO_PAIRS
    if not len(known.member):
        return Pairs(member, keeper, band, similarity(member, keeper))
    known_index = _found(_key(member, keeper), _key(known.member, known.keeper))
    asked = known_index < 0
    jaccard = np.empty(len(member))
    jaccard[~asked] = known.jaccard[known_index[~asked]]
    if asked.any():
        jaccard[asked] = similarity(member[asked], keeper[asked])
    return Pairs(member, keeper, band, jaccard)


def _united(pairs: Pairs, fresh: Pairs) -> Pairs:
    """Return pairs of both, sorted by (member, keeper) as each of them is."""
    if not len(fresh.member) or not len(pairs.member):
        return fresh if len(fresh.member) else pairs
    merged = Pairs(
        np.concatenate([pairs.member, fresh.member]),
        np.concatenate([pairs.keeper, fresh.keeper]),
        np.concatenate([pairs.band, fresh.band]),
        np.concatenate([pairs.jaccard, fresh.jaccard]),
    )
    return _chosen(merged, np.argsort(_key(merged.member, merged.keeper)))


def _distinct(
    keys: npt.NDArray[np.uint64], band: npt.NDArray[np.int16]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int16]]:
    """Return every key once, with its lowest band; any band before none."""
    pieces = max(1, -(-len(keys) // _KEYS_AT_ONCE))
    tables = []
    for piece in range(pieces):
        some = np.flatnonzero(keys % np.uint64(pieces) == piece)
        table, lowest = _lowest_bands(keys[some], band[some])
        filled = np.flatnonzero(table)
        tables.append((table[filled], lowest[filled]))
    distinct, lowest = (np.concatenate(part) for part in zip(*tables, strict=True))
    return distinct, lowest


@compiled
def _lowest_bands(
    keys: npt.NDArray[np.uint64], band: npt.NDArray[np.int16]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int16]]:
    """Return a hash table of the keys, and the lowest band of each slot's key."""
    table, mask = cleared(np.empty(64, dtype=np.uint64), len(keys))
    lowest = np.empty(mask + 1, dtype=np.int16)
    for i in range(len(keys)):
        slot = slot_of(table, mask, keys[i])
        if table[slot] == 0:
            table[slot], lowest[slot] = keys[i], band[i]
        elif band[i] != NO_BAND and not 0 <= lowest[slot] <= band[i]:
            lowest[slot] = band[i]
    return table[: mask + 1], lowest


def _key(member: npt.NDArray[Any], keeper: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    key: npt.NDArray[np.uint64] = member.astype(np.uint64) << np.uint64(32)
    return key | keeper.astype(np.uint64)


def _found(
    wanted: npt.NDArray[np.uint64], ascending: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Return where each wanted key is in `ascending`, or -1."""
    if not len(ascending):
        return np.full(len(wanted), -1, dtype=np.int64)
    position = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return np.where(ascending[position] == wanted, position, -1)


def _verdict(keeper: Labels, pairs: Pairs) -> Verification:
    jaccard = np.full(len(keeper), np.nan)
    band = np.full(len(keeper), NO_BAND, dtype=np.int16)
    dropped = np.flatnonzero(keeper != np.arange(len(keeper)))
    pair = _found(_key(dropped, keeper[dropped]), _key(pairs.member, pairs.keeper))
    dropped, pair = dropped[pair >= 0], pair[pair >= 0]
    jaccard[dropped], band[dropped] = pairs.jaccard[pair], pairs.band[pair]
    return Verification(keeper, jaccard, band, pairs)


@compiled
def _represent(
    member: npt.NDArray[np.uint32],
    keeper: npt.NDArray[np.uint32],
    out: Labels,
) -> None:
    """Set `out` (n,), at first each row itself, to the keepers of dropped rows.

    Pairs come sorted by (member, keeper), so keepers are decided before their members
    and the first that is kept is the smallest.
    """
    for i in range(len(member)):
        row, other = member[i], keeper[i]
        if out[row] == row and out[other] == other:
            out[row] = other


@compiled
def _orphans(
    member: npt.NDArray[np.uint32],
    keeper: npt.NDArray[np.uint32],
    settled: Labels,
) -> npt.NDArray[np.uint64]:
    """Return the keys of (kept row, keeper of its dropped twin), given proven pairs."""
    keys = np.empty(len(member), dtype=np.uint64)
    count = 0
    for i in range(len(member)):
        if settled[member[i]] == member[i] and settled[keeper[i]] != keeper[i]:
            keys[count] = uint64(member[i]) << uint64(32)
            keys[count] |= uint64(settled[keeper[i]])
            count += 1
    return keys[:count]
