"""What stands in an evaluation set too: perceptual hashes, runs of words.

The perceptual hash is the usual one of the discrete cosine transform: a picture shrunk
to 32 × 32 grey pixels, its 8 × 8 lowest frequencies, one bit for each: whether it lies
above their median (Zauner 2010, "Implementation and Benchmarking of Perceptual Image
Hash Functions", §3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from winnow.algorithms.dedup.multi_index import differing_bits
from winnow.algorithms.dedup.perceptual_hash import low_frequencies, packed
from winnow.algorithms.dedup.text_normalisation import normalised
from winnow.core.hashing import keys
from winnow.numeric.compiled import compiled

Hashes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]

#: Side of the grey square that is hashed.
SIDE = 32
_RULES = ("nfkc", "case", "punctuation")


def perceptual_hashes(squares: npt.NDArray[np.uint8]) -> Hashes:
    """Return the 64-bit hash of each grey square: (n, 32, 32) uint8 to (n,) uint64.

    The constant term, which only says how bright the picture is, is left out of the
    median and its bit is 0.
    """
    if squares.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"squares of shape {squares.shape}: (n, {SIDE}, {SIDE})")
    terms = low_frequencies(squares).reshape(len(squares), -1)[:, 1:]
    bits = np.zeros((len(squares), 64), np.bool_)
    bits[:, 1:] = terms > np.median(terms, axis=1, keepdims=True)
    return packed(bits)


def nearest_hash(hashes: Hashes, others: Hashes) -> tuple[Ids, Ids]:
    """Return in how many bits each hash differs from the nearest other one, and which.

    hashes: (n,), others: (m,), m > 0. Returns (n,) int64 each; of equally near ones the
    first. Raises ValueError if there is no other.
    """
    if not len(others):
        raise ValueError("there is no other hash to compare with")
    bits = np.empty(len(hashes), np.int64)
    rows = np.empty(len(hashes), np.int64)
    _nearest(hashes, others, bits, rows)
    return bits, rows


@compiled
def _nearest(hashes: Hashes, others: Hashes, bits: Ids, rows: Ids) -> None:
    for r in range(len(hashes)):
        best, which = np.int64(65), np.int64(-1)
        for c in range(len(others)):
            differing = differing_bits(hashes[r], others[c])
            if differing < best:
                best, which = differing, np.int64(c)
        bits[r], rows[r] = best, which


def word_runs(caption: str | None, words: int) -> list[str]:
    """Return every run of `words` words of a caption; none of a shorter one.

    Words are what whitespace separates once case and punctuation are gone (NFKC).
    """
    parts = normalised(caption or "", _RULES).split()
    return [
        " ".join(parts[start : start + words])
        for start in range(len(parts) - words + 1)
    ]


def run_index(captions: Iterable[str | None], words: int) -> tuple[Hashes, Ids]:
    """Return the hashes of all runs of `words` words, sorted, and whose they are.

    Of a run that several captions have, the first caption counts.
    """
    hashes: list[Hashes] = []
    owners: list[Ids] = []
    for number, caption in enumerate(captions):
        runs = keys(word_runs(caption, words))
        hashes.append(runs)
        owners.append(np.full(len(runs), number))
    if not hashes:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    unique, first = np.unique(np.concatenate(hashes), return_index=True)
    return unique, np.concatenate(owners)[first]


def shared_runs(
    captions: Sequence[str | None], words: int, index: tuple[Hashes, Ids]
) -> tuple[npt.NDArray[np.float64], Ids]:
    """Return which share of each caption's runs an index has, and whose run that is.

    Returns (n,) float64, 0 for a caption without a run, and (n,) int64: the owner of
    the caption's first run that stands there, −1 if none does.
    """
    known, owners = index
    share, owner = np.zeros(len(captions)), np.full(len(captions), -1, np.int64)
    for number, caption in enumerate(captions):
        hashes = keys(word_runs(caption, words))
        if not len(hashes) or not len(known):
            continue
        position = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        shared = known[position] == hashes
        share[number] = shared.mean()
        if shared.any():
            owner[number] = owners[position[np.argmax(shared)]]
    return share, owner
