"""Published rules for the quality of a text: Gopher's and FineWeb's, one by one.

Sources: Rae et al. 2021 (Gopher, arXiv 2112.11446), §A.1.1 for quality and table A1 for
repetition; Penedo et al. 2024 (FineWeb, arXiv 2406.17557), §3.5, for lines. Decisions
are those of datatrove's filters over the same words. Words are runs of letters and
digits, with an apostrophe or a point inside, runs of one equal sign, and single
characters of scripts without spaces; datatrove asks a tokeniser of the language, whose
words differ in few texts (see the tests).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from typing import NamedTuple

from winnow.algorithms.dedup.spaceless_scripts import RANGES

#: The eight words of which an English text has two; Gopher, §A.1.1.
STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))

_SPACELESS = "".join(f"{chr(first)}-{chr(last)}" for first, last in RANGES)
_WORD = re.compile(r"\w+(?:['’.]\w+)*|([^\w\s])\1*")
_MIXED_WORD = re.compile(
    rf"[{_SPACELESS}]|(?:(?![{_SPACELESS}])\w)+(?:['’.](?:(?![{_SPACELESS}])\w)+)*"
    rf"|([^\w\s])\1*"
)
_ANY_SPACELESS = re.compile(f"[{_SPACELESS}]")
_PARAGRAPHS, _LINES = re.compile(r"\n{2,}"), re.compile(r"\n+")
#: Characters that end a sentence: property Sentence_Terminal of Unicode 16.
_TERMINAL = """
0021 002E 003F 0589 061D-061F 06D4 0700-0702 07F9 0837 0839 083D-083E 0964-0965
104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D6 17D9-17DA 1803 1809 1944-1945
1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 2E2E
2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9
AA5D-AA5F AAF0-AAF1 ABEB FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59
10F86-10F89 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF
11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642
1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44
16A6E-16A6F 16AF5 16B37-16B38 16B44 16E98 1BC9F 1DA88
"""


def _code_points(ranges: str) -> tuple[str, ...]:
    bounds = [part.split("-") for part in ranges.split()]
    return tuple(
        chr(code)
        for part in bounds
        for code in range(int(part[0], 16), int(part[-1], 16) + 1)
    )


TERMINAL = _code_points(_TERMINAL)


class Failure(NamedTuple):
    """The first rule that a text fails: its name, what was measured, the limit."""

    rule: str
    value: float
    limit: float


class QualityLimits(NamedTuple):
    """Limits of all rules; None switches a rule off.

    The published ones are the defaults of `config.text_steps.QualityConfig`.

    Shares are of a text's characters where they say so, otherwise of its lines,
    paragraphs or words. `top_ngrams` and `repeated_ngrams` are (n, most) pairs.
    """

    # Gopher, table A1.
    repeated_paragraphs: float | None
    repeated_paragraph_chars: float | None
    repeated_lines: float | None
    repeated_line_chars: float | None
    top_ngrams: tuple[tuple[int, float], ...]
    repeated_ngrams: tuple[tuple[int, float], ...]
    # Gopher, §A.1.1.
    min_words: int | None
    max_words: int | None
    min_word_length: float | None
    max_word_length: float | None
    max_symbols: float | None
    max_bullet_lines: float | None
    max_ellipsis_lines: float | None
    min_alphabetic: float | None
    min_stop_words: int | None
    # FineWeb, §3.5.
    min_ended_lines: float | None
    max_short_lines: float | None
    short_line: int
    max_repeated_chars: float | None
    max_newlines: float | None


def words_of(text: str) -> list[str]:
    """Return the words of a text, signs among them."""
    pattern = _MIXED_WORD if _ANY_SPACELESS.search(text) else _WORD
    return [match.group() for match in pattern.finditer(text)]


class Measured:
    """A text and what is measured of it, each once."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> list[str]:
        """All words."""
        return words_of(self.text)

    @cached_property
    def plain_words(self) -> list[str]:
        """Words that are not signs alone."""
        return [word for word in self.words if not all(map(_is_sign, word))]

    @cached_property
    def written_lines(self) -> list[str]:
        """Lines that are not blank."""
        return [line for line in self.text.split("\n") if line.strip()]


Rule = Callable[[Measured, QualityLimits], Iterator[Failure]]


def first_failure(
    text: str | None, groups: Sequence[str], limits: QualityLimits
) -> Failure | None:
    """Return the first rule that a text fails, or None.

    groups: names of GROUPS, tried in this order. A text of white space alone fails as
    `empty`.
    """
    if text is None or not text.strip():
        return Failure("empty", 0.0, 0.0)
    measured = Measured(text)
    for group in groups:
        failure = next(GROUPS[group](measured, limits), None)
        if failure is not None:
            return failure
    return None


def _above(rule: str, value: float, limit: float | None) -> Iterator[Failure]:
    if limit is not None and value > limit:
        yield Failure(rule, value, limit)


def _below(rule: str, value: float, limit: float | None) -> Iterator[Failure]:
    if limit is not None and value < limit:
        yield Failure(rule, value, limit)


def _gopher_repetition(text: Measured, limits: QualityLimits) -> Iterator[Failure]:
    size = len(text.text)
    for what, parts, most, most_chars in (
        (
            "paragraph",
            _PARAGRAPHS.split(text.text.strip()),
            limits.repeated_paragraphs,
            limits.repeated_paragraph_chars,
        ),
        (
            "line",
            _LINES.split(text.text),
            limits.repeated_lines,
            limits.repeated_line_chars,
        ),
    ):
        count, chars = _repeated(parts)
        yield from _above(f"gopher_repeated_{what}s", count / len(parts), most)
        yield from _above(f"gopher_repeated_{what}_chars", chars / size, most_chars)
    for n, most in limits.top_ngrams:
        chars = _top_ngram_chars(text.words, n)
        yield from _above(f"gopher_top_{n}_gram", chars / size, most)
    for n, most in limits.repeated_ngrams:
        chars = _repeated_ngram_chars(text.words, n)
        yield from _above(f"gopher_repeated_{n}_grams", chars / size, most)


def _gopher_quality(text: Measured, limits: QualityLimits) -> Iterator[Failure]:
    words, plain = text.words, text.plain_words
    yield from _below("gopher_too_few_words", len(plain), limits.min_words)
    yield from _above("gopher_too_many_words", len(plain), limits.max_words)
    if not plain:
        yield Failure("gopher_too_few_words", 0.0, 1.0)
        return
    length = sum(map(len, plain)) / len(plain)
    yield from _below("gopher_short_words", length, limits.min_word_length)
    yield from _above("gopher_long_words", length, limits.max_word_length)
    hashes = text.text.count("#") / len(words)
    yield from _above("gopher_hashes", hashes, limits.max_symbols)
    ellipses = (text.text.count("...") + text.text.count("…")) / len(words)
    yield from _above("gopher_ellipses", ellipses, limits.max_symbols)
    lines = text.text.splitlines()
    bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines)
    yield from _above("gopher_bullet_lines", bullets, limits.max_bullet_lines)
    ended = sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines)
    yield from _above("gopher_ellipsis_lines", ended, limits.max_ellipsis_lines)
    alphabetic = sum(any(map(str.isalpha, word)) for word in words) / len(words)
    yield from _below("gopher_not_alphabetic", alphabetic, limits.min_alphabetic)
    stops = len(STOP_WORDS.intersection(words))
    yield from _below("gopher_no_stop_words", stops, limits.min_stop_words)


def _fineweb(text: Measured, limits: QualityLimits) -> Iterator[Failure]:
    lines = text.written_lines
    ended = sum(line.endswith(TERMINAL) for line in lines) / len(lines)
    yield from _below("fineweb_unended_lines", ended, limits.min_ended_lines)
    short = sum(len(line) <= limits.short_line for line in lines) / len(lines)
    yield from _above("fineweb_short_lines", short, limits.max_short_lines)
    newlines = text.text.count("\n")
    repeated = _repeated(lines)[1] / (len(text.text) - newlines)
    yield from _above("fineweb_repeated_lines", repeated, limits.max_repeated_chars)
    if text.words:
        share = newlines / len(text.words)
        yield from _above("fineweb_newlines", share, limits.max_newlines)


#: Groups of rules by name.
GROUPS: dict[str, Rule] = {
    "gopher_repetition": _gopher_repetition,
    "gopher_quality": _gopher_quality,
    "fineweb": _fineweb,
}


@cache
def _is_sign(character: str) -> bool:
    return unicodedata.category(character)[0] in "PSC"


def _repeated(parts: Sequence[str]) -> tuple[int, int]:
    """Return how many parts stood there before, and their characters."""
    seen: set[str] = set()
    count = chars = 0
    for part in parts:
        if part in seen:
            count, chars = count + 1, chars + len(part)
        seen.add(part)
    return count, chars


def _top_ngram_chars(words: Sequence[str], n: int) -> int:
    """Return the characters of the commonest n-gram, all its places together."""
    grams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    if not grams:
        return 0
    gram, count = grams.most_common(1)[0]
    return len(gram) * count


def _repeated_ngram_chars(words: Sequence[str], n: int) -> int:
    """Return the characters of n-grams that stood there before, none counted twice."""
    seen: set[str] = set()
    i = chars = 0
    while i <= len(words) - n:
        gram = "".join(words[i : i + n])
        if gram in seen:
            chars, i = chars + len(gram), i + n
        else:
            seen.add(gram)
            i += 1
    return chars
