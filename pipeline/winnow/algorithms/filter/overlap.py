"""Passages that texts share with test sets: runs of words, runs of characters.

Sources: Brown et al. 2020 (GPT-3, arXiv 2005.14165), appendix C: 13 words in a row,
case and punctuation aside; OpenAI 2023 (GPT-4, arXiv 2303.08774), appendix C: 50
characters in a row, with nothing but letters and digits left. Here every run of a test
item counts, not a sample of them. Passages are compared by 64-bit hashes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.dedup.minhash import shingle_sets, sketched

Hashes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]
Kind = Literal["words", "characters"]

_RULES = ("nfkc", "case", "punctuation")
_OTHER = re.compile(r"[\W_]+")


class PassageIndex(NamedTuple):
    """Hashes of all passages of test items, ascending, and the first item of each."""

    hashes: Hashes
    owners: Ids


class Shared(NamedTuple):
    """What n texts share with an index.

    `share` (n,) is the part of a text's distinct passages that the index has, 0 where a
    text has none; `owner` (n,) the item of the first of them, -1 where there is none.
    """

    share: npt.NDArray[np.float64]
    owner: Ids


def letters_and_digits(text: str) -> str:
    """Return a text's letters and digits, case folded, as NFKC."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _OTHER.sub("", unicodedata.normalize("NFKC", folded))


def passages_of(texts: pa.Array, kind: Kind, length: int) -> tuple[Ids, Hashes]:
    """Return `(bounds, hashes)` of each text's passages of so many words or characters.

    Each once, in the order of the text; none of a shorter text. Words are those of
    `unit: auto`, so a character each in scripts without spaces.
    """
    if kind == "words":
        bounds, hashes = shingle_sets(
            texts, ngram=length, unit="auto", normalise=_RULES
        )
        units = sketched(
            texts, num_perm=1, token_hash="xxh32", unit="auto", normalise=_RULES
        ).units
    else:
        plain = [letters_and_digits(text or "") for text in texts.to_pylist()]
        bounds, hashes = shingle_sets(
            pa.array(plain, pa.large_string()), ngram=length, unit="char"
        )
        units = np.array([len(text) for text in plain], np.int32)
    # A shorter text is one shingle, all there is of it.
    counts = np.diff(bounds)
    long_enough = units >= length
    hashes = hashes[np.repeat(long_enough, counts)]
    counts[~long_enough] = 0
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), hashes


def passage_index(items: Iterable[pa.Array], kind: Kind, length: int) -> PassageIndex:
    """Return the index of blocks of items, numbered through from 0.

    Of a passage that several items have, the first item counts.
    """
    hashes = [np.zeros(0, np.uint64)]
    owners = [np.zeros(0, np.int64)]
    first = 0
    for block in items:
        bounds, passages = passages_of(block, kind, length)
        hashes.append(passages)
        owners.append(np.repeat(np.arange(first, first + len(block)), np.diff(bounds)))
        first += len(block)
    every, position = np.unique(np.concatenate(hashes), return_index=True)
    return PassageIndex(every, np.concatenate(owners)[position])


def shared_passages(
    texts: pa.Array, kind: Kind, length: int, index: PassageIndex
) -> Shared:
    """Return what each text shares with an index of the same kind and length."""
    share = np.zeros(len(texts))
    owner = np.full(len(texts), -1, np.int64)
    bounds, hashes = passages_of(texts, kind, length)
    if not len(index.hashes) or not len(hashes):
        return Shared(share, owner)
    slot = np.minimum(np.searchsorted(index.hashes, hashes), len(index.hashes) - 1)
    shared = index.hashes[slot] == hashes
    row = np.repeat(np.arange(len(texts)), np.diff(bounds))
    counts = np.bincount(row, minlength=len(texts))
    hits = np.bincount(row[shared], minlength=len(texts))
    share = hits / np.maximum(counts, 1)
    # Ascending rows: the first hit of each.
    rows, first = np.unique(row[shared], return_index=True)
    owner[rows] = index.owners[slot[shared][first]]
    return Shared(share, owner)
