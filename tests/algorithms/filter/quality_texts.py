"""Texts of many kinds, made by a seed: prose, lists, code, repetition, empty lines."""

from __future__ import annotations

import random

_WORDS = [
    "the",
    "be",
    "to",
    "of",
    "and",
    "that",
    "have",
    "with",
    "a",
    "in",
    "is",
    "it",
    "for",
    "on",
    "as",
    "was",
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
]


def made(count: int = 400) -> list[str]:
    """Return texts; the same ones in every Python."""
    rng = random.Random(7)
    kinds = (_prose, _list, _code, _repeated, _short_lines, _numbers)
    return [kinds[i % len(kinds)](rng) for i in range(count)]


def _sentence(rng: random.Random) -> str:
    words = [_WORDS[rng.randrange(len(_WORDS))] for _ in range(rng.randrange(5, 20))]
    ends = (".", ".", ".", ".", "!", "?", "...", "…", "", ",")
    return " ".join(words).capitalize() + ends[rng.randrange(len(ends))]


def _prose(rng: random.Random) -> str:
    paragraphs = [
        " ".join(_sentence(rng) for _ in range(rng.randrange(1, 8)))
        for _ in range(rng.randrange(1, 6))
    ]
    return ("\n" * rng.randrange(1, 3)).join(paragraphs)


def _list(rng: random.Random) -> str:
    signs = ("- ", "• ", "* ", "")
    lines = [
        signs[rng.randrange(4)] + _sentence(rng)[: rng.randrange(10, 90)]
        for _ in range(rng.randrange(3, 40))
    ]
    return "\n".join(lines)


def _code(rng: random.Random) -> str:
    lines = [
        f"if (x_{rng.randrange(9)} != {rng.randrange(99)}) "
        f"{{ y = '{_sentence(rng)}'; }}" + " # note" * rng.randrange(3)
        for _ in range(rng.randrange(2, 20))
    ]
    return "\n".join(lines)


def _repeated(rng: random.Random) -> str:
    parts = [_sentence(rng) for _ in range(rng.randrange(2, 12))]
    chosen = [parts[rng.randrange(len(parts))] for _ in range(rng.randrange(4, 30))]
    return ("\n", "\n\n", " ")[rng.randrange(3)].join(chosen)


def _short_lines(rng: random.Random) -> str:
    lines = [
        _sentence(rng)[: rng.randrange(1, 45)] for _ in range(rng.randrange(4, 60))
    ]
    lines = [line if rng.random() < 0.9 else "" for line in lines]
    return "\n".join([*lines, "end"])


def _numbers(rng: random.Random) -> str:
    words = [
        str(rng.randrange(10**6)) if rng.random() < 0.4 else _sentence(rng)
        for _ in range(rng.randrange(20, 90))
    ]
    return " ".join(words)
