"""The first synset of a word, from WordNet's own database files.

Lemmas as NLTK's `wordnet.synsets(word)` finds them: nouns, then verbs, adjectives,
adverbs; of each the word itself, its irregular forms, or what its endings stand for.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from winnow.core.errors import InputError

#: Parts of speech in NLTK's order, with the endings that stand for others.
_ENDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "noun": (
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "verb": (
        ("s", ""),
        ("ies", "y"),
        ("es", "e"),
        ("es", ""),
        ("ed", "e"),
        ("ed", ""),
        ("ing", "e"),
        ("ing", ""),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}


class Wordnet:
    """First synsets and irregular forms, in memory: some 30 MB for WordNet 3.0."""

    def __init__(self, folder: str) -> None:
        """Read index.* and *.exc; raises InputError if one is missing or no such."""
        self._first = {pos: _read_index(folder, pos) for pos in _ENDINGS}
        self._irregular = {pos: _read_exceptions(folder, pos) for pos in _ENDINGS}

    def first_synset(self, word: str) -> int | None:
        """Return the offset of a word's first synset; None if WordNet lacks it."""
        word = word.lower()
        for pos, endings in _ENDINGS.items():
            forms = self._irregular[pos].get(word)
            if forms is None:
                forms = [
                    word[: -len(old)] + new
                    for old, new in endings
                    if word.endswith(old)
                ]
            for form in (word, *forms):
                offset = self._first[pos].get(form)
                if offset is not None:
                    return offset
        return None


@cache
def open_wordnet(folder: str) -> Wordnet:
    """Return the database in a folder, read once in each process."""
    return Wordnet(folder)


def read_synsets(file: str) -> frozenset[int]:
    """Return the offsets in a list of synsets; raises InputError for a faulty line."""
    offsets = set()
    for number, line in enumerate(_lines(Path(file)), 1):
        digits = line.strip().lstrip("nvasr")
        if not digits.isdecimal():
            raise InputError(
                f"{file}, line {number}: '{line.strip()[:40]}' is no synset; write "
                "n02084071, one to a line"
            )
        offsets.add(int(digits))
    return frozenset(offsets)


def _read_index(folder: str, pos: str) -> dict[str, int]:
    file, first = Path(folder) / f"index.{pos}", {}
    for line in _lines(file):
        if line.startswith(" "):
            continue
        # lemma pos synsets pointers [pointer]… senses tagged offset…
        words = line.split()
        try:
            first[words[0]] = int(words[6 + int(words[3])])
        except (IndexError, ValueError) as error:
            raise InputError(f"{file}: no index of WordNet: '{line[:60]}'") from error
    return first


def _read_exceptions(folder: str, pos: str) -> dict[str, list[str]]:
    lines = (line.split() for line in _lines(Path(folder) / f"{pos}.exc"))
    return {words[0]: words[1:] for words in lines if words}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
