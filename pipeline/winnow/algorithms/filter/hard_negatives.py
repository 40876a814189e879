"""Wrong captions that are hard to tell from right ones.

Two kinds: the caption of another image of the same cluster, and the image's own caption
with one word changed. Which caption and which word follow from the rows' keys, so they
do not depend on the order of rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

NUMBERS = (
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
)  # fmt: skip
#: What stands before a noun. "One" is left out: it is a pronoun as often as a number.
_BEFORE_NOUNS = "a an the his her its their some several many no"
_OTHERS = (
    "and or of in on at by to for from with without into onto over under near behind "
    "beside between through along across around up down out off as is are was were be "
    "being has have that this these those there it he she they who which while one "
    "another other each both all not wearing"
)
_DETERMINERS = frozenset((*_BEFORE_NOUNS.split(), *NUMBERS))
_FUNCTION_WORDS = _DETERMINERS | frozenset(_OTHERS.split())
# In groups that consist of one repeated caption nearly every try would fail.
_MOST_TRIES = 256
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What can take a word's place: sorted nouns and numbers of some captions."""

    nouns: tuple[str, ...]
    numbers: tuple[str, ...]


def vocabulary(captions: Iterable[str]) -> Vocabulary:
    """Return the nouns and numbers of captions, in lower case.

    A noun is taken to be a content word that a function word or the end follows and
    that stands first or second after an article, possessive or number ("dog" in "a
    brown dog on the beach"): a rule of thumb that knows no grammar. A caption without
    such a word gives all its content words.
    """
    nouns: set[str] = set()
    numbers: set[str] = set()
    for caption in captions:
        words = [m.lower() for m in _WORD.findall(caption)]
        numbers.update(word for word in words if _is_number(word))
        nouns.update(words[word_index] for word_index in noun_places(words))
    return Vocabulary(tuple(sorted(nouns)), tuple(sorted(numbers)))


def noun_places(words: Sequence[str]) -> list[int]:
    """Return where the nouns of a caption are taken to be; words in lower case."""
    content = [
        i
        for i, word in enumerate(words)
        if word not in _FUNCTION_WORDS and len(word) > 2 and not _is_number(word)
    ]
    heads = [
        i
        for i in content
        if (i + 1 == len(words) or words[i + 1] in _FUNCTION_WORDS)
        and any(words[j] in _DETERMINERS for j in range(max(0, i - 2), i))
    ]
    return heads or content


def swapped(caption: str, others: Vocabulary, right: set[str], key: int) -> str | None:
    """Return `caption` with a number or a noun replaced by one of `others`.

    A number is changed where there is one, else a noun; never to a word of `right`,
    the words (lower case) of all captions that are right for the image. `key` chooses
    among what is possible. None if nothing is.
    """
    matches = list(_WORD.finditer(caption))
    words = [match[0].lower() for match in matches]
    numbers = [i for i, word in enumerate(words) if _is_number(word)]
    free = [word for word in others.numbers if word not in right]
    if numbers and not free:
        free = [word for word in NUMBERS[:4] if word not in right]
    places = numbers
    if not numbers or not free:
        places = noun_places(words)
        free = [word for word in others.nouns if word not in right]
    if not places or not free:
        return None
    match = matches[places[key % len(places)]]
    word = free[key // 64 % len(free)]
    word = word.capitalize() if match[0][:1].isupper() else word
    return caption[: match.start()] + word + caption[match.end() :]


def words_of(captions: Iterable[str]) -> set[str]:
    """Return all words of captions, in lower case."""
    return {word.lower() for caption in captions for word in _WORD.findall(caption)}


def _is_number(word: str) -> bool:
    return word in NUMBERS or word.isdigit()


def strangers(keys: Keys, groups: Ids, captions: Sequence[frozenset[int]]) -> Ids:
    """Return for each row another one of its group none of whose captions is its own.

    keys: (n,) unique numbers that order a group; groups: (n,); captions: the ids of
    each row's captions. The partner is the next row in the group's cycle whose captions
    are all others. Returns (n,) rows, −1 where there is none (among the next 255).
    """
    partner = np.full(len(keys), -1, np.int64)
    order = np.lexsort((keys, groups))
    borders = np.flatnonzero(np.diff(groups[order])) + 1
    for members in np.split(order, borders):
        _pair_up(members.tolist(), captions, partner)
    return partner


def _pair_up(
    members: list[int], captions: Sequence[frozenset[int]], partner: Ids
) -> None:
    for position, row in enumerate(members):
        for step in range(1, min(len(members), _MOST_TRIES)):
            other = members[(position + step) % len(members)]
            if captions[row].isdisjoint(captions[other]):
                partner[row] = other
                break
